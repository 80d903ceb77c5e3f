package sublayer

import "math/bits"

// Selector chooses packets of one stream for one viewer. Make one with Start, give it every packet of the log once, in the order of the log. It is not safe
// for concurrent use.
type Selector struct {
	runs

	// Layers.
	aimed           Target // the target from the next picture on
	target, current Target
	intact          uint8 // spatial layers of which this viewer can decode the next frame
	present         uint8 // spatial layers that came since the newest keyframe
	highest         uint8 // temporal layer that came
	mixed           bool  // layers below are needed although they say that they are not
	starved         uint8 // pictures in a row of which nothing was sent
	blocked         uint8 // pictures of a temporal layer to be sent that could not be begun with
	wantsKey        bool

	// The input.
	head         uint64 // highest number
	keyAfter     uint64 // highest number before the newest keyframe
	headKept     bool
	headFrame    frameID
	begun        bool
	adopted      bool // the picture of the next packet may have been begun before there was a selector
	pictureShift uint16
	pictures     [picturesKept]picture
	newest       uint8 // picture

	described describedState
}

// frameID tells one layer's frame from the next.
type frameID struct {
	timestamp uint32
	spatial   uint8
}

// Start begins with an input at packet in, a keyframe's first, under the viewer's number out. The selector may have had another input before, whose numbers
// can still be found. Target and current layers begin as t.
func (s *Selector) Start(in, out uint64, t Target) {
	r := s.runs
	*s = Selector{runs: r, aimed: t, target: t, current: t, intact: 1, head: in - 1}
	s.restart(out)
}

// Adopt begins in the middle of an input, of which everything from in to last went out, in under the number out. A viewer needs no
// selector before its first target below All.
func (s *Selector) Adopt(in, out, last uint64) {
	s.Start(in, out, All)
	s.begin(in, 0, All, 1<<8-1)
	s.next = out + (last + 1 - in)
	s.head, s.headKept, s.begun, s.adopted = last, true, true, true
	s.intact, s.described.intact = 1<<8-1, evenBits
}

// Aim sets the target. It takes effect as soon as the stream allows, and never in the middle of a picture.
func (s *Selector) Aim(t Target) { s.aimed = t }

// Target is what was aimed at last.
func (s *Selector) Target() Target { return s.aimed }

// Current is what is being sent. Above the layers that the stream has, its ids mean nothing.
func (s *Selector) Current() Target { return s.current }

// WantsKeyframe reports whether the target can be reached only at a keyframe, as far as the packets so far tell.
func (s *Selector) WantsKeyframe() bool { return s.wantsKey }

// Whole reports that everything is sent and nothing else is aimed at: a viewer in this state can do without a selector, from the packet after the
// newest one on.
func (s *Selector) Whole() bool {
	return s.aimed == All && s.target == All && s.current.Decode < 0 && !s.wantsKey && s.current.Temporal >= s.highest && s.headKept && s.wholeSpatial()
}

func (s *Selector) wholeSpatial() bool {
	if s.present&^s.intact != 0 {
		return false
	}
	return s.intact == 1<<8-1 || bits.OnesCount8(s.intact+1) == 1 && s.current.Spatial+1 >= uint8(bits.Len8(s.intact))
}

// Next is the number for the viewer after the newest one, the shift of PictureIDs and the highest input number: what a segment without a
// selector goes on with.
func (s *Selector) Next() (out uint64, pictureShift uint16, head uint64) {
	return s.next, s.pictureShift, s.head
}

// Find tells what went out under a number; false when it is too old or was never in use. The caller must not send a packet again that it has not yet given to
// Take.
func (s *Selector) Find(out uint64) (Origin, bool) { return s.origin(out) }

// Take decides about a packet: its extended sequence number, timestamp, marker bit and layers. Hot path.
func (s *Selector) Take(seq uint64, timestamp uint32, marker bool, l *Layers) Decision {
	if int64(seq-s.head) <= 0 {
		return s.takeLate(seq, timestamp, marker, l)
	}
	if s.adopted {
		s.adopted = false
	} else if timestamp != s.headFrame.timestamp || !s.begun {
		s.target = s.aimed
	}
	shift, before, intact := s.pictureShift, s.current, s.intact
	id := frameID{timestamp, l.Spatial}
	keep := s.decide(timestamp, l, seq == s.head+1)
	if missing := seq - s.head - 1; missing > 0 && (keep || s.headKept || id != s.headFrame) {
		if !s.open {
			s.begin(s.head+1, shift, before, intact)
		}
		s.next += missing
	}
	s.head, s.headKept, s.headFrame, s.begun = seq, keep, id, true
	if !keep {
		s.open = false
		return Decision{}
	}
	if newest := s.at(s.added - 1); !s.open || newest.sent != s.current || newest.pictureShift != s.pictureShift || newest.intact != s.intact {
		s.begin(seq, s.pictureShift, s.current, s.intact)
	}
	out := s.next
	s.next++
	return Decision{Out: out, PictureShift: s.pictureShift, Verdict: Keep, Marker: markerOf(marker, l, s.current.Spatial)}
}

// takeLate decides about a packet whose number was passed over. It changes nothing of what is being sent.
func (s *Selector) takeLate(seq uint64, timestamp uint32, marker bool, l *Layers) Decision {
	r, out := s.holding(seq)
	if r == nil || s.isFilled(out) {
		return Decision{}
	}
	d := Decision{Out: out, PictureShift: r.pictureShift, Verdict: Keep, Marker: markerOf(marker, l, r.sent.Spatial)}
	if !s.decideLate(seq, timestamp, l, r) {
		s.fill(out)
		d.Verdict, d.Marker = Fill, false
	}
	return d
}

// decide says whether the next packet in order is sent; adjacent says that none is missing before it.
func (s *Selector) decide(timestamp uint32, l *Layers, adjacent bool) bool {
	if s.describes(l) {
		s.described.used = true
		return s.described.decide(s, timestamp, l)
	}
	if s.described.used {
		return s.headKept // padding between the frames
	}
	return s.decideLayers(timestamp, l, adjacent)
}

// decideLate says whether a late packet is sent, which lies in a run.
func (s *Selector) decideLate(seq uint64, timestamp uint32, l *Layers, r *run) bool {
	if s.describes(l) {
		return s.described.decideLate(l, r.sent.Decode)
	}
	return !s.described.used && s.decideLateLayers(seq, timestamp, l, r)
}

// describes reports whether the packet's dependency descriptor decides.
func (s *Selector) describes(l *Layers) bool {
	return l.has(Described) && (s.target.Decode >= 0 || s.current.Decode >= 0 || s.target == All)
}
