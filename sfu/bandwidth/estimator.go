package bandwidth

import (
	"math"
	"time"
)

// State is what the estimate does.
type State string

// The states, a closed set (draft-ietf-rmcat-gcc-02 section 5.5).
const (
	StateIncrease State = "increase"
	StateHold     State = "hold"
	StateDecrease State = "decrease"
)

// Source is where the estimate comes from.
type Source string

// The sources, a closed set, best first.
const (
	SourceTransportWide Source = "transport-wide"
	SourceREMB          Source = "remb"
	SourceReport        Source = "report" // the loss in receiver reports
	SourceNone          Source = "none"   // the viewer has reported nothing: the estimate is where it started
)

// EstimateReason is what moved the estimate last, or holds it.
type EstimateReason string

// The reasons of an estimate, a closed set.
const (
	EstimateStart    EstimateReason = "start"
	EstimateGrowing  EstimateReason = "growing"
	EstimateDelay    EstimateReason = "delay"    // a queue grew
	EstimateLoss     EstimateReason = "loss"     // packets are lost
	EstimateProbe    EstimateReason = "probe"    // a probe measured it
	EstimateUnproved EstimateReason = "unproved" // too little is sent to prove more
	EstimateSilence  EstimateReason = "silence"  // the viewer's reports have stopped
	EstimateREMB     EstimateReason = "remb"
)

const (
	// decreaseFactor leaves the link room to empty its queue.
	decreaseFactor = 0.9
	// growth is the multiplicative increase per second, 8 % (draft-ietf-rmcat-gcc-02 section 5.5), used far from the link's known capacity.
	growth = 1.08
	// near is how far from the known capacity the increase is additive, one packet of packetBits per response time.
	near       = 0.15
	packetBits = 1200 * 8
	// responseTime is what a round trip takes beyond the network: the reports' interval.
	responseTime = 100 * time.Millisecond
	// proof is how far the estimate may grow beyond what has arrived: more is for probes to find.
	proof = 1.2
	// settle is how long after a decrease the estimate holds still.
	settleHold = 600 * time.Millisecond
	// congestedFor is how long an overused link counts as congested.
	congestedFor = 400 * time.Millisecond
	// freshFor is how long an estimate is good to step up on, after it has last been borne out.
	freshFor     = 10 * time.Second
	freshPortion = 0.8
	// silenceAfter and silenceEvery are when and how often a link without reports is believed less, by silenceFactor.
	silenceAfter  = time.Second
	silenceEvery  = 500 * time.Millisecond
	silenceFactor = 0.8
	// sourceFor is how long a better source is kept after it was last heard.
	sourceFor = 5 * time.Second
	// restAfter is a pause in sending after which the queues of old are forgotten.
	restAfter = 2 * time.Second
	// busySlots and busyWindow bound the time over which a link with a queue is measured, in slots of the meter: 100 and 400 ms.
	busySlots  = 4
	busyWindow = 16
	// rembDrop is the step down of the viewer's own estimate that means congestion. Its being below what is sent does not: it grows slowly after a step up.
	rembDrop = 0.95
	// quietFor is how long a link without measurable probes must be free of trouble to try a higher rung.
	quietFor = 8 * time.Second
)

// estimator is the estimate of what the link carries.
type estimator struct {
	bitrate    float64
	least      float64
	most       float64
	state      State
	reason     EstimateReason
	source     Source
	roundTrip  int64
	delay      delay
	loss       loss
	sending    meter // by our clock
	delivering meter // by the viewer's
	capacity   float64

	updated      int64 // last growth
	overusedAt   int64
	decreasedAt  int64
	confirmedAt  int64 // last time that the estimate was borne out
	heardAt      int64 // last transport-wide report
	rembAt       int64
	lastREMB     float64
	reportAt     int64
	sentAt       int64
	unheardSince int64 // first packet sent after the last report
	silencedAt   int64
	newest       int64 // round trip of the packet reported last
}

func (e *estimator) reset(cfg Config, now int64) {
	e.bitrate, e.least, e.most = float64(cfg.StartBitrate), float64(cfg.MinBitrate), float64(cfg.MaxBitrate)
	e.state, e.reason, e.source = StateHold, EstimateStart, SourceNone
	e.updated, e.loss.opened = now, now
	e.overusedAt, e.decreasedAt, e.confirmedAt = now-int64(time.Hour), now-int64(time.Hour), now-int64(time.Hour)
	e.heardAt, e.rembAt, e.reportAt = e.confirmedAt, e.confirmedAt, e.confirmedAt
	e.sentAt = now
}

// sent counts a packet out. Hot path.
func (e *estimator) sent(bytes int, now int64) {
	e.sending.add(now/1000, bytes)
	if now-e.sentAt > int64(restAfter) {
		e.delay.rest()
	}
	e.sentAt = now
	if e.unheardSince == 0 {
		e.unheardSince = now
	}
}

// heard notes that a transport-wide report came.
func (e *estimator) heard(now int64) {
	e.heardAt, e.unheardSince, e.source = now, 0, SourceTransportWide
}

// arrived takes a packet's times in microseconds, of two clocks. Hot path.
func (e *estimator) arrived(sent, arrival, now int64, bytes int, probe bool) {
	e.delivering.add(arrival, bytes)
	e.newest = (now - sent) * 1000
	if probe {
		e.delay.base(sent, arrival)
		return
	}
	e.loss.arrived++
	e.delay.add(sent, arrival)
}

func (e *estimator) lost()  { e.loss.lost++ }
func (e *estimator) found() { e.loss.lost-- }

// update moves the estimate after a report.
func (e *estimator) update(now int64) {
	if e.source != SourceTransportWide {
		return
	}
	if e.roundTrip == 0 {
		e.roundTrip = e.newest
	}
	e.roundTrip = max(e.roundTrip+(e.newest-e.roundTrip)/8, 1)
	delivered := e.delivering.rate()
	if delivered >= freshPortion*e.bitrate {
		e.confirmedAt = now
	}
	cut := e.loss.close(now) && e.loss.excess() > lossCut
	carried := e.carried()
	switch {
	case carried > 0 && e.delay.overused():
		e.overused(carried, now)
	case cut:
		e.decrease(max(e.bitrate*(1-e.loss.fraction/2), decreaseFactor*delivered), EstimateLoss, now)
		e.overusedAt = now
	case e.delay.least < busyQueue && !e.congested(now) && delivered > e.bitrate && e.loss.excess() <= lossHold:
		e.state, e.bitrate, e.reason = StateIncrease, min(delivered, e.most), EstimateGrowing // what arrives without a queue is carried
	case now-e.decreasedAt < int64(settleHold) || e.delay.trend.under || e.delay.queue > leastQueue || e.loss.excess() > lossHold:
		e.state = StateHold
	default:
		e.grow(delivered, now)
	}
	e.updated = now
}

// carried is the link's capacity for this viewer: what arrived while its queue was never empty. 0 when that was not for long enough, as with the queue of one
// keyframe on a link that is wide enough.
func (e *estimator) carried() float64 {
	if !e.delay.busy {
		return 0
	}
	return e.delivering.since(e.delay.busyFrom, busySlots, busyWindow)
}

// overused brings the estimate below the capacity, which is smoothed unless it has changed by a third.
func (e *estimator) overused(carried float64, now int64) {
	e.overusedAt = now
	if e.capacity == 0 || math.Abs(carried-e.capacity) > e.capacity/3 {
		e.capacity = carried
	} else {
		e.capacity += (carried - e.capacity) / 4
	}
	e.decrease(decreaseFactor*e.capacity, EstimateDelay, now)
}

func (e *estimator) decrease(to float64, reason EstimateReason, now int64) {
	e.state, e.decreasedAt = StateDecrease, now
	if to >= e.bitrate {
		return
	}
	e.bitrate, e.reason, e.confirmedAt = max(to, e.least), reason, now
}

// grow adds what the time since the last update allows, as far as delivery bears it out.
func (e *estimator) grow(delivered float64, now int64) {
	bound := proof * delivered
	if bound <= e.bitrate {
		e.state = StateHold
		if e.reason == EstimateGrowing {
			e.reason = EstimateUnproved
		}
		return
	}
	seconds := min(float64(now-e.updated)/float64(time.Second), 1)
	next := e.bitrate * math.Pow(growth, seconds)
	if math.Abs(e.bitrate-e.capacity) < near*e.capacity {
		next = e.bitrate + packetBits*seconds*float64(time.Second)/float64(e.roundTrip+int64(responseTime))
	}
	e.state, e.reason = StateIncrease, EstimateGrowing
	e.bitrate = min(next, bound, e.most)
}

// probed takes the result of a probe: what the link carried of it.
func (e *estimator) probed(result probeResult, now int64) {
	if result.rate == 0 {
		return
	}
	switch {
	case result.carried && result.rate > e.bitrate:
		e.capacity = 0
		e.bitrate, e.reason, e.state = min(result.rate, e.most), EstimateProbe, StateHold
		e.confirmedAt = now
	case result.carried:
		e.confirmedAt = now
	case result.rate*decreaseFactor > e.bitrate:
		e.capacity = result.rate
		e.bitrate, e.reason, e.state = min(result.rate*decreaseFactor, e.most), EstimateProbe, StateHold
		e.confirmedAt = now
	}
}

// tick lowers the estimate when reports have stopped although packets are being sent.
func (e *estimator) tick(now int64) {
	if e.source != SourceTransportWide || now-e.sentAt > int64(silenceAfter) { // nothing sent, nothing to hear
		return
	}
	if e.unheardFor(now) < int64(silenceAfter)+e.roundTrip || now-e.silencedAt < int64(silenceEvery) {
		return
	}
	e.silencedAt = now
	e.decrease(e.bitrate*silenceFactor, EstimateSilence, now)
	e.confirmedAt = now - int64(freshFor)
}

// remb follows the viewer's own estimate.
func (e *estimator) remb(bitrate uint64, now int64) {
	e.rembAt = now
	if now-e.heardAt < int64(sourceFor) {
		return
	}
	e.source = SourceREMB
	next := min(max(float64(bitrate), e.least), e.most)
	e.state = StateIncrease
	if next < e.bitrate {
		e.state, e.decreasedAt = StateDecrease, now
	}
	if next < rembDrop*e.lastREMB && next < e.sending.rate() {
		e.overusedAt = now
	}
	e.lastREMB = next
	e.bitrate, e.reason, e.confirmedAt = next, EstimateREMB, now
}

// receiverReport steers by loss alone.
func (e *estimator) receiverReport(fractionLost uint8, roundTrip, now int64) {
	if now-e.heardAt < int64(sourceFor) {
		return
	}
	if roundTrip > 0 {
		e.roundTrip = roundTrip
	}
	e.loss.fraction = float64(fractionLost) / 256
	e.reportAt = now
	if now-e.rembAt < int64(sourceFor) {
		return
	}
	e.source = SourceReport
	switch {
	case e.loss.fraction > lossCut:
		e.overusedAt = now
		e.decrease(e.bitrate*(1-e.loss.fraction/2), EstimateLoss, now)
	case e.loss.fraction > lossHold:
		e.state = StateHold
	default:
		e.grow(e.sending.rate(), now)
	}
	e.updated = now
}

// fresh reports whether the estimate is good to step up on.
func (e *estimator) fresh(now int64) bool {
	return (e.source == SourceTransportWide || e.source == SourceREMB) && now-e.confirmedAt < int64(freshFor)
}

// congested reports whether the link is overfull now.
func (e *estimator) congested(now int64) bool { return now-e.overusedAt < int64(congestedFor) }

// trialWorthy reports whether a higher rung may be tried on a link whose probes cannot be measured.
func (e *estimator) trialWorthy(now int64) bool {
	alive := e.source == SourceREMB && now-e.rembAt < int64(sourceFor) || e.source == SourceReport && now-e.reportAt < int64(2*sourceFor)
	return alive && e.loss.fraction <= lossHold && now-e.decreasedAt >= int64(quietFor) && now-e.overusedAt >= int64(quietFor) && e.bitrate >= proof*0.95*e.sending.rate()
}

// probeable reports whether a probe can be measured and would not add to a queue.
func (e *estimator) probeable(now int64) bool {
	return e.source == SourceTransportWide && now-e.heardAt < int64(silenceAfter) && e.unheardFor(now) < int64(silenceAfter) &&
		now-e.overusedAt > int64(time.Second) && e.delay.queue < leastQueue && e.loss.excess() <= lossCut
}

// unheardFor is how long packets have been out without a report.
func (e *estimator) unheardFor(now int64) int64 {
	if e.unheardSince == 0 {
		return 0
	}
	return now - e.unheardSince
}

func (e *estimator) snapshot() Estimate {
	return Estimate{
		Bitrate: int(e.bitrate), Delivered: int(e.delivering.rate()), Sent: int(e.sending.rate()), Loss: e.loss.fraction,
		Queue: time.Duration(e.delay.queue) * time.Microsecond, RoundTrip: time.Duration(e.roundTrip),
		State: e.state, Reason: e.reason, Source: e.source,
	}
}
