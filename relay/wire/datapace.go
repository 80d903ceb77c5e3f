package wire

import "time"

// Constants of the pace.
const (
	startWindow    = 32 << 10              // bytes, of a new stream and after an outage
	leastPackets   = 4                     // that may be on their way whatever happens
	mostWindow     = 4 << 20               // bytes; the receiver's room is less
	queueDelay     = 10 * time.Millisecond // a round trip that is longer than the least by this, or a quarter, means that a queue has built up, which media waits in too
	baseLife       = 10 * time.Second      // the least round trip is of the last one or two of these
	startLoss      = 0.02                  // share of a round's bytes that ends the quick start
	paceFrom       = 2 * time.Millisecond  // shorter round trips are not paced: the acknowledgements come as often as a timer would
	paceBurst      = 4 * time.Millisecond  // what may go at once
	granularity    = 2 * time.Millisecond  // datagrams may be swapped on the path for this long
	askAfter       = 10 * time.Millisecond // on top of the round trip, for the other node's scheduler
	askAtMost      = 200 * time.Millisecond
	defaultDataRTT = 50 * time.Millisecond // before the first sample
)

// pace decides how many bytes may be on their way. It gives way to media, which does not give way to it: it grows by a little each round trip as long as the path's queue
// stays short, and shrinks by a fifth when it does not, or by what share was lost, at most half. Loss that is not for want of room, as on a bad radio link, does not starve it: at 5 %
// it balances where what it gains in a round makes up for that. All of it is about rounds: the datagrams that were on their way when the last round ended.
type pace struct {
	packet int // bytes of a full datagram
	window int
	quick  bool // doubles each round, until the first sign that it is enough

	smoothed, variation, latest time.Duration // RFC 6298 section 2
	base, nextBase              time.Duration // least round trip, and of the present interval
	baseAt                      int64

	roundEnd              uint64
	roundRTT              time.Duration // least of the round
	ackedBytes, lostBytes int
	full                  bool // the window was used up in the round
	tokens                float64
	refilled              int64
}

func newPace(packet int) pace { return pace{packet: packet, window: startWindow, quick: true} }

func (p *pace) roundTrip() time.Duration {
	if p.smoothed == 0 {
		return defaultDataRTT
	}
	return p.smoothed
}

// sample takes a measured round trip.
func (p *pace) sample(rtt time.Duration, now int64) {
	rtt = max(rtt, time.Microsecond)
	p.latest = rtt
	if p.smoothed == 0 {
		p.smoothed, p.variation = rtt, rtt/2
	} else {
		p.variation += ((p.smoothed - rtt).Abs() - p.variation) / 4
		p.smoothed += (rtt - p.smoothed) / 8
	}
	if p.roundRTT == 0 || rtt < p.roundRTT {
		p.roundRTT = rtt
	}
	if p.nextBase == 0 || rtt < p.nextBase {
		p.nextBase = rtt
	}
	if p.base == 0 || rtt < p.base {
		p.base = rtt
	}
	if now-p.baseAt > int64(baseLife) {
		p.base, p.nextBase, p.baseAt = p.nextBase, 0, now
	}
}

// lossDelay is after how long a datagram is lost, when a later one was acknowledged.
func (p *pace) lossDelay() int64 {
	rtt := max(p.roundTrip(), p.latest)
	return int64(rtt + max(rtt/8, granularity))
}

// askDelay is how long to wait for an acknowledgement before asking for the n-th time.
func (p *pace) askDelay(asked int) int64 {
	delay := p.roundTrip() + max(4*p.variation, granularity) + askAfter
	if grown := delay << min(asked, 8); asked > 0 {
		return int64(max(delay, min(grown, askAtMost)))
	}
	return int64(delay)
}

// acked notes acknowledged bytes; settled is the highest number that was, next the next one to be used.
func (p *pace) acked(bytes int, settled, next uint64) {
	p.ackedBytes += bytes
	if p.quick && p.full {
		p.window = min(p.window+bytes, mostWindow)
	}
	if settled >= p.roundEnd {
		p.endRound()
		p.roundEnd = next
	}
}

func (p *pace) lost(bytes int) { p.lostBytes += bytes }

// endRound draws the conclusions of a round.
func (p *pace) endRound() {
	share := float64(p.lostBytes) / float64(max(p.ackedBytes+p.lostBytes, 1))
	slow := p.roundRTT > p.base+max(queueDelay, p.base/4)
	if slow || share > startLoss {
		p.quick = false
	}
	switch {
	case slow:
		p.window -= p.window / 5
	case p.full && !p.quick:
		p.window += 2*p.packet + p.window/32
	}
	p.window -= int(float64(p.window) * min(share, 0.5))
	p.window = min(max(p.window, leastPackets*p.packet), mostWindow)
	p.ackedBytes, p.lostBytes, p.roundRTT, p.full = 0, 0, 0, false
}

// restart forgets the window after an outage.
func (p *pace) restart() { p.window = min(p.window, startWindow) }

// rate is bytes per nanosecond: a quarter more than the window in a round trip, so that pacing is not what limits.
func (p *pace) rate() float64 { return 1.25 * float64(p.window) / float64(p.smoothed) }

// wait is how long a datagram must wait for its turn, so that a window does not go out in one burst; 0 is now.
func (p *pace) wait(now int64) int64 {
	if p.smoothed < paceFrom {
		return 0
	}
	burst := max(p.rate()*float64(paceBurst), float64(leastPackets*p.packet))
	p.tokens = min(p.tokens+p.rate()*float64(now-p.refilled), burst)
	p.refilled = now
	if p.tokens > 0 {
		return 0
	}
	return int64((float64(p.packet)-p.tokens)/p.rate()) + 1
}

// sent takes a datagram off what may go now.
func (p *pace) sent(bytes int) { p.tokens -= float64(bytes) }
