package bandwidth

import "time"

const (
	// probeFor is how long a cluster lasts: short enough that a link that carries half of it queues for as long again only.
	probeFor = 70 * time.Millisecond
	// probePackets is the least number of packets that a cluster is judged by, and probeMost the largest packet asked for.
	probePackets = 6
	probeMost    = 1200
	probeLeast   = 60 // bytes below which no packet is worth sending
	// probeSlice is how far ahead of its rate a cluster may be, so that it starts at once.
	probeSlice = 10 * time.Millisecond
	// probeStep bounds how far one probe reaches beyond the estimate.
	probeStep = 4.0
	// probeExtra makes up for what the measure loses, as packets go out in steps of the caller's clock.
	probeExtra = 1.17
	// probeCarried is the part of the rate that must arrive.
	probeCarried = 0.9
	// probeLost is the part of a cluster that may be lost.
	probeLost = 0.1
	// probeTimeout ends the wait for reports.
	probeTimeout = time.Second
	// After a failure, probes pause for probePause, doubled each time up to probePauseMost. After a success the next follows
	// after probeNext.
	probeNext      = 300 * time.Millisecond
	probePause     = 2 * time.Second
	probePauseMost = 8 * time.Second
)

type probePhase uint8

const (
	probeIdle probePhase = iota
	probeSending
	probeWaiting
)

// probeResult is what the link carried of a cluster.
type probeResult struct {
	rate    float64 // bit/s, 0 when it could not be told
	carried bool    // all of it, but for measure
}

// prober sends clusters and measures them. Packets of media that go out while a cluster does belong to it: padding only fills what they leave.
type prober struct {
	phase    probePhase
	cluster  uint8   // 1 to 63
	want     float64 // to be proved, bit/s
	rate     float64 // sent for it
	opened   int64
	deadline int64
	next     int64
	pause    int64

	sentBytes, sentPackets, gone int

	// Of the packets that arrived, in microseconds. The packets of the first moment set the start only.
	arrivals            int
	bytes               int // without those of the first moment
	firstSent, lastSent int64
	firstAt, lastAt     int64
}

func (p *prober) reset(now int64) {
	p.next, p.pause = now, int64(probePause)
}

func (p *prober) running() bool { return p.phase != probeIdle }

// consider starts a cluster when a rate is wanted that has not been proved.
func (p *prober) consider(want float64, e *estimator, now int64) {
	if want == 0 || p.phase != probeIdle || now < p.next || !e.probeable(now) {
		return
	}
	*p = prober{phase: probeSending, cluster: p.cluster%63 + 1, opened: now, pause: p.pause}
	p.want = min(want, probeStep*e.bitrate)
	p.rate = p.want * probeExtra
}

// due is the size of the packet that the cluster lacks at this time.
func (p *prober) due(now int64) (bytes int, ok bool) {
	if p.phase != probeSending || now-p.opened > int64(probeFor) {
		return 0, false
	}
	lack := p.bytesIn(now-p.opened+int64(probeSlice)) - p.sentBytes
	if lack < probeLeast {
		return 0, false
	}
	return min(lack, p.packetBytes()), true
}

// bytesIn is what the cluster sends in a time.
func (p *prober) bytesIn(elapsed int64) int { return int(p.rate * float64(elapsed) / 8e9) }

// packetBytes is the size of the cluster's packets: small enough for there to be several.
func (p *prober) packetBytes() int {
	return min(max(p.bytesIn(int64(probeFor))/(2*probePackets), 200), probeMost)
}

// nextAt is when due will have something, 0 when it will not.
func (p *prober) nextAt() int64 {
	if p.phase != probeSending {
		return 0
	}
	elapsed := int64(float64(p.sentBytes+probeLeast+1)*8e9/p.rate) - int64(probeSlice)
	if elapsed > int64(probeFor) {
		return 0
	}
	return p.opened + max(elapsed, 0)
}

// sent counts a packet into the running cluster and returns its number, 0 for none. Hot path.
func (p *prober) sent(bytes int, now int64) uint8 {
	if p.phase != probeSending {
		return 0
	}
	if now-p.opened > int64(probeFor) {
		p.close(now)
		return 0
	}
	p.sentBytes += bytes
	p.sentPackets++
	return p.cluster
}

func (p *prober) close(now int64) { p.phase, p.deadline = probeWaiting, now+int64(probeTimeout) }

// arrived, lost and found take the fate of the cluster's packets.
func (p *prober) arrived(cluster uint8, sent, arrival int64, bytes int) {
	if cluster == 0 || cluster != p.cluster || p.phase == probeIdle {
		return
	}
	p.arrivals++
	switch {
	case p.arrivals == 1:
		p.firstSent, p.lastSent, p.firstAt, p.lastAt = sent, sent, arrival, arrival
	case sent <= p.firstSent+1000:
		p.firstAt = max(p.firstAt, arrival)
	default:
		p.bytes += bytes
	}
	p.lastSent, p.lastAt = max(p.lastSent, sent), max(p.lastAt, arrival)
}

func (p *prober) lost(cluster uint8) {
	if cluster != 0 && cluster == p.cluster {
		p.gone++
	}
}

func (p *prober) found(cluster uint8) {
	if cluster != 0 && cluster == p.cluster {
		p.gone--
	}
}

// finish judges the cluster when all of it is accounted for, or time is up.
func (p *prober) finish(now int64) (probeResult, bool) {
	if p.phase == probeSending && now-p.opened > int64(probeFor) {
		p.close(now)
	}
	if p.phase != probeWaiting || (p.arrivals+p.gone < p.sentPackets && now < p.deadline) {
		return probeResult{}, false
	}
	result := p.judge()
	p.phase = probeIdle
	if result.rate >= p.want {
		p.pause, p.next = int64(probePause), now+int64(probeNext)
		return result, true
	}
	p.next = now + p.pause
	p.pause = min(2*p.pause, int64(probePauseMost))
	return result, true
}

func (p *prober) judge() probeResult {
	if p.arrivals < probePackets || p.lastSent == p.firstSent || p.lastAt <= p.firstAt {
		return probeResult{}
	}
	sent := float64(p.bytes) * 8e6 / float64(p.lastSent-p.firstSent)
	arrived := float64(p.bytes) * 8e6 / float64(p.lastAt-p.firstAt)
	missing := float64(p.sentPackets-p.arrivals) / float64(p.sentPackets)
	return probeResult{rate: min(sent, arrived), carried: arrived >= probeCarried*sent && missing <= probeLost}
}
