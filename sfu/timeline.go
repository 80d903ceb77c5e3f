package sfu

import (
	"math/rand/v2"
	"time"
)

// plausibleSkew is how far the publisher's sender reports may differ from arrival about the time between two packets. Beyond it they are of
// different clocks, or old.
const plausibleSkew = 500 * time.Millisecond

// continueTime makes a segment's timestamps go on from the last one sent by the time that has passed.
func (f *forwarder) continueTime(next, previous *segment, p *Packet) {
	anchor := p
	newest := f.layer.log.At(f.layer.log.Head() - 1)
	if f.catching && newest != nil && (newest.Arrival-p.born() > int64(catchUpAge) || previous != nil && p.Arrival < f.lastTime) {
		next.catchUp, next.liveTS = true, newest.Header.Timestamp+f.ticks(newest.Age)
		anchor = newest
	}
	if previous == nil {
		next.tsOffset = rand.Uint32()
	} else {
		next.tsOffset = f.lastTS + f.ticks(f.passed(previous, anchor)) - next.timestamp(anchor.Header.Timestamp)
	}
	f.timeline.steady(f, next, anchor)
	if first := f.lastTS + f.ticks(int64(time.Millisecond)); previous != nil && int32(next.timestamp(p.Header.Timestamp)-first) < 0 {
		next.tsOffset += first - next.timestamp(p.Header.Timestamp)
	}
}

// timeline is what a viewer's timestamps were at a moment of the publisher's clock. From it on they keep to that clock: what one switch is wrong by, the next one makes good.
type timeline struct {
	track     *Track
	taken     int64 // nanoseconds
	timestamp uint32
}

// steady moves a segment to where the publisher's clock says, if sender reports tell that it belongs near where it is; the first segment of a track for which they do
// sets the clock.
func (t *timeline) steady(f *forwarder, next *segment, anchor *Packet) {
	taken, known := f.layer.taken(anchor.Header.Timestamp, f.clockRate)
	if !known {
		return
	}
	is := next.timestamp(anchor.Header.Timestamp)
	if t.track != f.layer.track {
		*t = timeline{track: f.layer.track, taken: taken, timestamp: is}
		return
	}
	astray := int32(t.timestamp + f.ticks(taken-t.taken) - is)
	if most := int32(f.ticks(int64(plausibleSkew))); astray < most && astray > -most {
		next.tsOffset += uint32(astray)
	}
}

// ticks are nanoseconds in units of the track's clock.
func (f *forwarder) ticks(ns int64) uint32 {
	rate, second := int64(f.clockRate), int64(time.Second)
	return uint32(ns/second*rate + ns%second*rate/second)
}

// passed is the time in nanoseconds from the newest packet sent to p: by the publisher's clock if its sender reports tell, otherwise by arrival.
func (f *forwarder) passed(previous *segment, p *Packet) int64 {
	byArrival := p.Arrival - f.lastTime
	from, known := previous.layer.taken(f.lastTS-previous.tsOffset, f.clockRate)
	to, also := f.layer.taken(p.Header.Timestamp, f.clockRate)
	if !known || !also || previous.layer.track != f.layer.track || previous.catchUp {
		return byArrival
	}
	if skew := to - from - byArrival; skew > int64(plausibleSkew) || skew < -int64(plausibleSkew) {
		return byArrival
	}
	return to - from
}

// taken is when the picture with a timestamp was taken, in nanoseconds of the publisher's clock; false before its first sender report.
func (l *Layer) taken(timestamp, clockRate uint32) (int64, bool) {
	r := l.report.Load()
	if r == nil {
		return 0, false
	}
	since := int64(int32(timestamp-r.rtpTime)) * int64(time.Second) / int64(clockRate)
	return int64(r.ntp>>32)*int64(time.Second) + int64(r.ntp&0xffffffff)*int64(time.Second)>>32 + since, true
}
