package sublayer

import "rheomesh/internal/depdesc"

// evenBits has the lower bit of each pair: decode targets in the form in which indications are packed.
const evenBits = 0x5555555555555555

// describedState is what is known of a stream with dependency descriptors.
type describedState struct {
	intact uint64 // decode targets, two bits each, of which this viewer can decode the next frame
	seen   uint64 // frames of which a packet came; bit 0 is the newest, bit i the one i before
	missed uint64 // frames that were dropped; not those that are missing
	newest uint16 // frame number
	begun  bool
	used   bool // the stream has descriptors
}

// framesKept is how many frames are remembered, the newest included.
const framesKept = 64

// indication is what a frame is to a decode target.
func (l *Layers) indication(target int8) depdesc.DTI {
	return depdesc.DTI(l.DTIs >> (2 * uint8(target) & 63) & 3)
}

// startsOver reports whether the frame begins a stream anew.
func (l *Layers) startsOver() bool { return l.has(Attached) && l.Diffs == 0 }

// decide decides about the next packet in order. Hot path.
func (d *describedState) decide(s *Selector, timestamp uint32, l *Layers) bool {
	step := l.Frame - d.newest
	switch {
	case !d.begun || l.startsOver() && (step >= framesKept && -step >= framesKept):
		d.begun, d.newest, d.seen, d.missed = true, l.Frame, 0, 0
	case int16(step) > 0:
		if step > 1 && s.current.Decode >= 0 { // frames that others than the current target need may be among those missing
			d.intact &= 1 << (2 * uint8(s.current.Decode) & 63)
		}
		d.seen, d.missed, d.newest = d.seen<<step, d.missed<<step, l.Frame
	case -step >= framesKept:
		return false
	}
	bit := uint64(1) << (d.newest - l.Frame)
	if d.seen&bit != 0 {
		return d.missed&bit == 0
	}
	d.seen |= bit
	keep := d.begin(s, timestamp, l)
	if !keep {
		d.missed |= bit
		if l.has(Numbered) {
			s.pictureShift++
		}
	}
	return keep
}

// decideLate decides about a packet out of order.
func (d *describedState) decideLate(l *Layers, sent int8) bool {
	if !d.begun { // everything was sent until now
		return l.neededFor(sent)
	}
	back := d.newest - l.Frame
	if back >= framesKept {
		return false
	}
	bit := uint64(1) << back
	if d.seen&bit == 0 {
		d.seen |= bit
		if !l.neededFor(sent) || uint64(l.Diffs)&(d.missed>>back>>1) != 0 {
			d.missed |= bit
		}
	}
	return d.missed&bit == 0
}

// neededFor reports whether a viewer of a decode target, or of all with -1, gets the frame.
func (l *Layers) neededFor(target int8) bool {
	return target < 0 || l.indication(target) != depdesc.NotPresent
}

// begin decides about a frame.
func (d *describedState) begin(s *Selector, timestamp uint32, l *Layers) bool {
	// What is missing, or further back than can be told, may have been dropped.
	had := (d.seen &^ d.missed) >> (d.newest - l.Frame) >> 1
	decodable := uint64(l.Diffs)&^had == 0
	if l.startsOver() {
		d.intact, s.wantsKey, s.blocked = 0, false, 0
	}
	if s.current != s.target {
		d.turn(s, l, decodable, timestamp != s.headFrame.timestamp)
	}
	present, switches := (l.DTIs|l.DTIs>>1)&evenBits, l.DTIs>>1&^l.DTIs&evenBits
	if !l.neededFor(s.current.Decode) {
		d.intact &^= present
		return false
	}
	if decodable {
		d.intact |= switches
	}
	return true
}

// turn goes over to the target when the frame allows it: the viewer has all of it already, or can begin with it here.
func (d *describedState) turn(s *Selector, l *Layers, decodable, newPicture bool) {
	want := s.target.Decode
	var ready, here bool
	if want < 0 {
		here = l.startsOver()
	} else {
		ready = newPicture && d.intact>>(2*uint8(want)&63)&1 != 0
		here = l.indication(want) == depdesc.Switch
	}
	if ready || here && decodable {
		s.current, s.wantsKey, s.blocked = s.target, false, 0
		return
	}
	s.wantsKey = s.wantsKey || here
	if s.blocked++; s.blocked >= blockedLimit {
		s.blocked, s.wantsKey = 0, true
	}
}
