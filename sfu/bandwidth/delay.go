package bandwidth

import "math"

// Delays are in microseconds, and one-way: with an unknown offset between the two clocks, which the baseline takes out.
const (
	// baselineMicros is half the memory of the least delay. It is short enough for clocks that drift by 100 ppm to add 2 ms only, long enough to see the queue
	// empty.
	baselineMicros = 10_000_000
	// standingMicros is half the window of the least queue.
	standingMicros = 250_000
	// groupMicros joins packets sent in one go (draft-ietf-rmcat-gcc-02 section 5.2).
	groupMicros = 5_000
	// briefMicros is half the window of the queue that is taken for the present one.
	briefMicros = 30_000
	// busyQueue is the queue from which on the link is taken to be sending without a pause, so that what arrives shows its capacity.
	busyQueue = 12_000
	// leastQueue must stand before a gradient is believed: less is jitter.
	leastQueue = 25_000
	// standingQueue is too much even when it does not grow.
	standingQueue = 120_000
	// suddenQueue, after suddenMicros without an empty queue, needs no gradient to be believed.
	suddenQueue  = 150_000
	suddenMicros = 150_000
	// A queue that has stood for plateauFor within plateauMicros, whatever was sent, is no queue but a longer way.
	plateauMicros = 10_000
	plateauFor    = 4_000_000
	// strangeDelay is a step of the delay that only a clock that was set explains.
	strangeDelay = 5_000_000
)

// trailingMin is the least value of the last one to two windows.
type trailingMin struct {
	started           bool
	opened            int64
	current, previous int64
}

func (t *trailingMin) add(at, value, window int64) int64 {
	switch {
	case !t.started || at-t.opened >= 2*window:
		*t = trailingMin{started: true, opened: at, current: value, previous: value}
	case at-t.opened >= window:
		t.previous, t.current, t.opened = t.current, value, at
	default:
		t.current = min(t.current, value)
	}
	return min(t.current, t.previous)
}

// delay follows the queueing delay of the packets that arrive, and its gradient.
type delay struct {
	baseline trailingMin
	brief    trailingMin
	standing trailingMin
	queue    int64 // least of the last moment, so that jitter does not count
	least    int64 // of the last half second
	busy     bool  // there is a queue that has not been empty …
	busyFrom int64 // … since this arrival

	plateau, plateauFrom int64

	groupSent, groupDelay, groupArrival int64
	grouped                             bool
	trend                               trend
}

// add takes one packet; media only, as a probe's own queue is meant. Hot path.
func (d *delay) add(sent, arrival int64) {
	oneWay := arrival - sent
	if d.grouped && (oneWay-d.groupDelay > strangeDelay || d.groupDelay-oneWay > strangeDelay) {
		*d = delay{}
	}
	queue := oneWay - d.baseline.add(arrival, oneWay, baselineMicros)
	d.queue = d.brief.add(arrival, queue, briefMicros)
	d.least = d.standing.add(arrival, queue, standingMicros)
	d.busy = d.busy && queue >= busyQueue
	if !d.busy && d.queue >= busyQueue {
		d.busy, d.busyFrom = true, arrival
	}
	d.settle(arrival, oneWay-queue)
	d.group(sent, arrival, oneWay)
}

// settle takes a longer way for what it is.
func (d *delay) settle(arrival, base int64) {
	switch {
	case d.least < busyQueue || d.least < d.plateau || d.least > d.plateau+plateauMicros:
		d.plateau, d.plateauFrom = d.least, arrival
	case arrival-d.plateauFrom > plateauFor:
		base += d.least
		d.baseline = trailingMin{started: true, opened: arrival, current: base, previous: base}
		d.rest()
	}
}

// group closes a burst when the next one begins.
func (d *delay) group(sent, arrival, oneWay int64) {
	switch {
	case !d.grouped:
		d.grouped, d.groupSent = true, sent
	case sent < d.groupSent:
		return // overtaken: it says nothing new of the queue
	case sent-d.groupSent > groupMicros:
		d.trend.add(d.groupArrival, d.groupDelay)
		d.groupSent = sent
	}
	d.groupDelay, d.groupArrival = oneWay, arrival
}

// hole makes the measure of what a busy link carries begin anew, as a report is missing.
func (d *delay) hole() { d.busy = false }

// base keeps the least delay alive from packets that are not media.
func (d *delay) base(sent, arrival int64) {
	if d.grouped {
		d.baseline.add(arrival, arrival-sent, baselineMicros)
	}
}

// rest forgets the gradient after a pause.
func (d *delay) rest() {
	d.trend.clear()
	d.busy, d.least, d.queue = false, 0, 0
	d.standing, d.brief = trailingMin{}, trailingMin{}
}

// overused reports whether the queue grows, or stands too high.
func (d *delay) overused() bool {
	return d.trend.over && d.queue > leastQueue || d.least > standingQueue || d.busy && d.queue > suddenQueue && d.groupArrival-d.busyFrom > suddenMicros
}

// The filter and detector of the gradient: a line through the last groups, compared with a threshold that adapts to the link's jitter. The threshold's
// constants are those of draft-ietf-rmcat-gcc-02 sections 5.4 and 5.5.
const (
	trendGroups    = 20
	trendSmoothing = 0.9
	trendGain      = 4.0
	trendDeltas    = 60 // beyond this many groups the slope is not weighed up further
	thresholdFirst = 12.5
	thresholdLeast = 6.0
	thresholdMost  = 600.0
	thresholdUp    = 0.0087
	thresholdDown  = 0.039
	thresholdSkip  = 15.0 // a step beyond the threshold by more than this is a spike, which does not teach it
	overuseMillis  = 10.0
)

type trendPoint struct{ at, delay float64 } // milliseconds

// trend is the slope of the smoothed one-way delay.
type trend struct {
	points    [trendGroups]trendPoint
	count     int // since clear
	firstAt   int64
	firstWay  int64
	lastAt    float64
	smoothed  float64
	slope     float64
	threshold float64
	above     float64 // milliseconds since the slope came over the threshold
	crossings int
	over      bool
	under     bool
}

func (t *trend) clear() { *t = trend{threshold: t.threshold} }

// add takes a group of packets.
func (t *trend) add(arrival, oneWay int64) {
	if t.count == 0 {
		t.firstAt, t.firstWay = arrival, oneWay
	}
	at, way := float64(arrival-t.firstAt)/1000, float64(oneWay-t.firstWay)/1000
	t.smoothed = trendSmoothing*t.smoothed + (1-trendSmoothing)*way
	t.points[t.count%trendGroups] = trendPoint{at, t.smoothed}
	t.count++
	step := at - t.lastAt
	t.lastAt = at
	if t.count < trendGroups {
		return
	}
	slope := t.fit()
	t.detect(slope, max(step, 0))
	t.slope = slope
}

// fit is the least-squares slope through the points.
func (t *trend) fit() float64 {
	var meanAt, meanDelay float64
	for i := range t.points {
		meanAt += t.points[i].at
		meanDelay += t.points[i].delay
	}
	meanAt, meanDelay = meanAt/trendGroups, meanDelay/trendGroups
	var above, below float64
	for i := range t.points {
		offset := t.points[i].at - meanAt
		above += offset * (t.points[i].delay - meanDelay)
		below += offset * offset
	}
	if below == 0 {
		return t.slope
	}
	return above / below
}

func (t *trend) detect(slope, step float64) {
	if t.threshold == 0 {
		t.threshold = thresholdFirst
	}
	weighed := slope * trendGain * float64(min(t.count, trendDeltas))
	t.under = weighed < -t.threshold
	if weighed <= t.threshold {
		t.above, t.crossings, t.over = 0, 0, false
	} else {
		t.above += step
		t.crossings++
		t.over = t.above > overuseMillis && t.crossings > 1 && (t.over || slope >= t.slope)
	}
	t.adapt(math.Abs(weighed), step)
}

func (t *trend) adapt(weighed, step float64) {
	if weighed > t.threshold+thresholdSkip {
		return
	}
	k := thresholdUp
	if weighed < t.threshold {
		k = thresholdDown
	}
	t.threshold += k * (weighed - t.threshold) * min(step, 100)
	t.threshold = min(max(t.threshold, thresholdLeast), thresholdMost)
}
