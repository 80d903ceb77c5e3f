package bandwidth

import "time"

// MaxRungs is how many rungs a viewer's ladder can have: four layers with four temporal steps each.
const MaxRungs = 16

const (
	// upFactor is the headroom that a higher rung needs over its mean rate: keyframes and resent packets come on top.
	upFactor = 1.15
	// downFactor is the part of a rung's need below which it is left. What lies between the two factors is the hysteresis.
	downFactor = 0.95
	// downHold is how long the estimate must stay too low before a rung is left, on a link that is not congested.
	downHold = time.Second
	// urgentHold replaces downHold where the link is congested or the estimate is below urgentFactor of the need: another's burst passes in it. With a long queue,
	// or where queues are not seen, nothing is waited for.
	urgentHold   = 600 * time.Millisecond
	urgentFactor = 0.8
	// upHold is how long the estimate must permit a higher rung, and upPause the least time after any change.
	upHold  = 500 * time.Millisecond
	upPause = 1500 * time.Millisecond
	// failedWithin makes a step down a failure of the step up before it, which doubles the time until the next try, from backoffFirst to backoffMost.
	failedWithin = 20 * time.Second
	backoffFirst = 8 * time.Second
	backoffMost  = 2 * time.Minute
	// forgiveAfter is how long a rung must last for its failures to be forgotten.
	forgiveAfter = 40 * time.Second
	// trialPause is the time between two tries of a higher rung where no probe can be measured.
	trialPause = 8 * time.Second
	// trialGrace is how long a rung that is being tried is left for congestion only: the estimate takes that long to follow, at 8 % a second.
	trialGrace = 12 * time.Second
	// settleDown is the time that a step down is given to work before the next one.
	settleDown = 700 * time.Millisecond
)

// Rung is something that can be sent: a layer, or a temporal part of it.
type Rung struct {
	ID            int // the caller's name for it, not negative
	Bitrate       int // measured, bit/s; 0 when it is not being sent by the publisher
	Width, Height int // 0 when unknown
	FrameShare    float64
}

// Caps is what a viewer allows. The zero value allows everything.
type Caps struct {
	Pinned              bool // Rung is insisted on, whatever the link carries
	Rung                int
	MaxWidth, MaxHeight int     // 0: no limit
	MaxBitrate          int     // 0: no limit
	MaxFrameShare       float64 // 0: no limit
}

func (c Caps) permit(r Rung) bool {
	return (c.MaxWidth == 0 || r.Width <= c.MaxWidth) && (c.MaxHeight == 0 || r.Height <= c.MaxHeight) &&
		(c.MaxBitrate == 0 || r.Bitrate <= c.MaxBitrate) && (c.MaxFrameShare == 0 || r.FrameShare <= c.MaxFrameShare)
}

// Reason says why a rung was chosen.
type Reason string

// The reasons of a choice, a closed set.
const (
	ReasonBest      Reason = "best"      // there is none better
	ReasonBandwidth Reason = "bandwidth" // the link does not carry the next one
	ReasonCongested Reason = "congested" // the link is overfull: the choice has just been lowered for it
	ReasonProbing   Reason = "probing"   // the link is being tried for the next one
	ReasonSettling  Reason = "settling"  // the link carries the next one, which is about to be taken
	ReasonLimit     Reason = "limit"     // the viewer's caps exclude the next one
	ReasonSelected  Reason = "selected"  // the viewer insists on it
	ReasonInactive  Reason = "inactive"  // the next one, or every one, is not being sent by the publisher
)

// Choice is which rung to send.
type Choice struct {
	ID     int // of the rung, -1 when there is none
	Reason Reason
	Urgent bool // the rung above overfills the link: stop it now, not at the next keyframe
}

// ladder holds the rungs and where the viewer stands.
type ladder struct {
	rungs [MaxRungs]Rung
	count int
	caps  Caps
	audio float64 // bit/s reserved

	current   int // ID, -1 before the first choice
	changed   int64
	rose      int64 // when the last step up was taken, 0 if a step down followed
	lowSince  int64 // since when the estimate has been too low for the rung, 0 if it is not
	highSince int64 // since when it has permitted a higher one
	urgent    bool
	trial     bool // the last step up was a try
	backoff   int64
	notBefore int64 // next step up
}

func (l *ladder) reset(now int64) {
	l.current, l.changed = -1, now
	l.backoff = int64(backoffFirst)
}

func (l *ladder) setRungs(rungs []Rung) { l.count = copy(l.rungs[:], rungs) }

// setCaps replaces the caps. A viewer that no longer insists on a rung is given what fits like one that has just come: where it stood says nothing of its link.
func (l *ladder) setCaps(caps Caps) {
	if l.caps.Pinned && !caps.Pinned {
		l.current = -1
	}
	l.caps = caps
}

// need is the rate that sending a rung takes.
func (l *ladder) need(i int) float64 { return float64(l.rungs[i].Bitrate) + l.audio }

func (l *ladder) usable(i int) bool { return l.rungs[i].Bitrate > 0 && l.caps.permit(l.rungs[i]) }

// position is the index of the current rung, -1 when it is gone or no longer permitted.
func (l *ladder) position() int {
	for i := range l.count {
		if l.rungs[i].ID == l.current && l.usable(i) {
			return i
		}
	}
	return -1
}

// fitting is the highest usable rung that needs no more than rate, else the lowest usable one, else -1.
func (l *ladder) fitting(rate, factor float64) int {
	lowest := -1
	for i := l.count - 1; i >= 0; i-- {
		if !l.usable(i) {
			continue
		}
		if l.need(i)*factor <= rate {
			return i
		}
		lowest = i
	}
	return lowest
}

// above is the next usable rung over i, -1 when there is none.
func (l *ladder) above(i int) int {
	for j := i + 1; j < l.count; j++ {
		if l.usable(j) {
			return j
		}
	}
	return -1
}

// below is the next usable rung under i, -1 when there is none.
func (l *ladder) below(i int) int {
	for j := i - 1; j >= 0; j-- {
		if l.usable(j) {
			return j
		}
	}
	return -1
}

// floor is the rate that the current rung is owed whatever the estimate, in bit/s, for as long as it is the current one. The lowest is owed nothing, unless it is
// insisted on or on trial: below it there is no rung to go to, only packets to leave out.
func (l *ladder) floor(now int64) float64 {
	for i := range l.count {
		if l.rungs[i].ID == l.current && (l.caps.Pinned || l.trying(now) || l.below(i) >= 0) {
			return l.need(i)
		}
	}
	return 0
}

// wants is the rate that would have to be proved for the next rung, 0 when there is nothing to prove.
func (l *ladder) wants(e *estimator, now int64) float64 {
	at := l.position()
	if at < 0 || l.caps.Pinned || now < l.notBefore {
		return 0
	}
	next := l.above(at)
	if next < 0 || (e.fresh(now) && e.bitrate >= l.need(next)*upFactor) {
		return 0
	}
	return l.need(next) * upFactor
}

// choose moves to the rung that fits, in one step, when it is time.
func (l *ladder) choose(e *estimator, probing bool, now int64) Choice {
	if l.caps.Pinned && l.pin() {
		return Choice{ID: l.current, Reason: ReasonSelected}
	}
	at := l.position()
	if at < 0 {
		at = l.fitting(e.bitrate, 1)
		if at < 0 {
			l.current = -1
			return Choice{ID: -1, Reason: ReasonInactive}
		}
		l.move(at, now)
	}
	at = l.lower(at, e, now)
	at = l.raise(at, e, now)
	return Choice{ID: l.current, Reason: l.reason(at, e, probing, now), Urgent: l.urgent && now-l.changed < int64(downHold)}
}

// pin stands on the rung that the viewer insists on, if it is being sent.
func (l *ladder) pin() bool {
	for i := range l.count {
		if l.rungs[i].ID == l.caps.Rung && l.rungs[i].Bitrate > 0 {
			l.current, l.rose, l.lowSince, l.highSince, l.urgent = l.caps.Rung, 0, 0, 0, false
			return true
		}
	}
	return false
}

func (l *ladder) move(to int, now int64) {
	l.current, l.changed = l.rungs[to].ID, now
	l.lowSince, l.highSince, l.urgent = 0, 0, false
}

// lower steps down when the estimate has been too low for long enough, or at once when the link is congested.
func (l *ladder) lower(at int, e *estimator, now int64) int {
	to := l.fitting(e.bitrate, 1)
	if l.trying(now) {
		if e.congested(now) && l.below(at) >= 0 {
			to = min(to, l.below(at))
		} else {
			to = at
		}
	}
	if to >= at || !l.trying(now) && e.bitrate >= l.need(at)*downFactor {
		l.lowSince = 0
		return at
	}
	if l.lowSince == 0 {
		l.lowSince = now
	}
	low := now - l.lowSince
	urgent := e.congested(now) && (e.delay.queue > suddenQueue || e.source != SourceTransportWide) || low >= int64(urgentHold) && (e.congested(now) || e.bitrate < l.need(at)*urgentFactor)
	if !urgent && low < int64(downHold) {
		return at
	}
	if now-l.changed < int64(settleDown) && l.rose == 0 && l.urgent {
		return at // what was just lowered has not had its effect
	}
	l.blame(now)
	l.move(to, now)
	l.urgent = urgent
	return to
}

// trying reports whether the current rung is on trial.
func (l *ladder) trying(now int64) bool {
	return l.trial && l.rose != 0 && now-l.rose < int64(trialGrace)
}

// blame counts a step down against the step up before it.
func (l *ladder) blame(now int64) {
	failed := l.rose != 0 && now-l.rose < int64(failedWithin)
	l.rose = 0
	if !failed {
		return
	}
	l.notBefore = now + l.backoff
	l.backoff = min(2*l.backoff, int64(backoffMost))
}

// raise steps up when the estimate has permitted it for long enough.
func (l *ladder) raise(at int, e *estimator, now int64) int {
	if l.rose != 0 && now-l.rose > int64(forgiveAfter) {
		l.rose, l.backoff = 0, int64(backoffFirst)
	}
	to := l.permitted(at, e, now)
	if to <= at {
		l.highSince = 0
		return at
	}
	if l.highSince == 0 {
		l.highSince = now
	}
	if now-l.highSince < int64(upHold) || now-l.changed < int64(upPause) || now < l.notBefore {
		return at
	}
	l.trial = !e.fresh(now) || e.bitrate < l.need(to)*upFactor
	l.move(to, now)
	l.rose = now
	return to
}

// permitted is the highest rung that the estimate has room for. Where nothing can be probed, the next rung is tried after a while without trouble.
func (l *ladder) permitted(at int, e *estimator, now int64) int {
	if e.congested(now) {
		return at
	}
	if e.fresh(now) {
		if to := l.fitting(e.bitrate, upFactor); to > at {
			return to
		}
	}
	if e.trialWorthy(now) && now-l.changed >= int64(trialPause) {
		return l.above(at)
	}
	return at
}

func (l *ladder) reason(at int, e *estimator, probing bool, now int64) Reason {
	next := l.above(at)
	switch {
	case next < 0 && at == l.count-1:
		return ReasonBest
	case next < 0:
		return l.excluded(at)
	case l.highSince != 0:
		return ReasonSettling
	case probing:
		return ReasonProbing
	case e.congested(now):
		return ReasonCongested
	}
	return ReasonBandwidth
}

// excluded is why no rung above at is usable.
func (l *ladder) excluded(at int) Reason {
	for i := at + 1; i < l.count; i++ {
		if l.rungs[i].Bitrate > 0 {
			return ReasonLimit
		}
	}
	return ReasonInactive
}
