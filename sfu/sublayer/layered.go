package sublayer

import "math/bits"

const (
	picturesKept = 12 // pictures for whose late packets the decision is remembered: 0.4 s at 30 pictures a second
	// starvedLimit is how many pictures in a row nothing is sent of before a keyframe is wanted: the sender has stopped the only layer of which this viewer has all.
	starvedLimit = 3
	// blockedLimit is how many pictures of higher temporal layers pass without a switch point before a keyframe is wanted; patterns repeat within 16.
	blockedLimit = 32
)

// picture is what was decided about the packets with one timestamp.
type picture struct {
	timestamp uint32
	used      bool
	key       bool  // a keyframe is in it
	wanted    bool  // its temporal layer is sent
	top       uint8 // the highest spatial layer that may be sent
	seen      uint8 // spatial layers of which a packet came, by bit
	kept      uint8 // those that are sent
	spoilt    uint8 // those of them that depend on a frame which was given up
	last      uint8 // spatial layer of the newest packet
}

// decideLayers decides by layer ids and switch points. Hot path.
func (s *Selector) decideLayers(timestamp uint32, l *Layers, adjacent bool) bool {
	p := s.pictureAt(timestamp)
	fresh := p == nil
	if !adjacent { // frames of layers above may be among those missing
		s.intact &= 2<<s.current.Spatial - 1
	}
	if fresh {
		p = s.beginPicture(timestamp, l, adjacent)
	}
	if l.has(Layered) || fresh {
		p.last = l.Spatial & 7
	}
	if l.has(Keyframe) && p.last == 0 && !p.key {
		s.beginKeyframe(p)
	}
	bit := uint8(1) << p.last
	s.present |= bit
	if p.seen&bit == 0 {
		p.seen |= bit
		if s.wants(p, p.last, l) {
			p.kept |= bit
		}
	}
	return p.kept&bit != 0
}

// decideLateLayers goes by what was decided for the picture, or else by what was sent around it.
func (s *Selector) decideLateLayers(seq uint64, timestamp uint32, l *Layers, r *run) bool {
	p := s.pictureAt(timestamp)
	if p == nil {
		p = s.insertPicture(timestamp, l, r)
	} else if !l.has(Layered) {
		return p.seen == p.kept // otherwise there is no telling to which layer it belongs
	}
	bit := uint8(1) << (l.Spatial & 7)
	if p.seen&bit != 0 {
		return p.kept&bit != 0
	}
	p.seen |= bit
	if !p.wanted { // nothing that is sent depends on it
		return false
	}
	below := p.seen & (bit >> 1)
	if l.Spatial > p.top || l.has(InterLayer) && below != 0 && p.kept&^p.spoilt&below == 0 || !p.key && s.sparesLate(seq, p.top, l, r) {
		s.giveUp(seq, timestamp, l, r)
		return false
	}
	p.kept |= bit
	return true
}

// insertPicture remembers a picture all of whose packets are late, behind the newest.
func (s *Selector) insertPicture(timestamp uint32, l *Layers, r *run) *picture {
	s.highest = max(s.highest, l.Temporal)
	p := &s.pictures[s.newest]
	s.newest = (s.newest + 1) % picturesKept
	s.pictures[s.newest] = *p
	*p = picture{timestamp: timestamp, used: true, wanted: l.Temporal <= r.sent.Temporal, top: r.sent.Spatial}
	return p
}

// sparesLate reports whether a late frame is left out: others of its layer were, or could be. What the viewer can decode since a keyframe says nothing of frames from
// before it.
func (s *Selector) sparesLate(seq uint64, top uint8, l *Layers, r *run) bool {
	if !l.has(Predicted) {
		return false
	}
	intact := s.intact
	if seq <= s.keyAfter {
		intact = r.intact
	}
	bit := uint8(1) << (l.Spatial & 7)
	based := !l.has(InterLayer) || bit == 1 || r.intact&(bit>>1) != 0
	return r.intact&bit == 0 || !based || l.Spatial != top && top != All.Spatial && (intact&bit == 0 || s.spares(intact, top, l.Spatial, l))
}

// giveUp notes that a late frame of a run is left out, on which frames up to the next keyframe may depend.
func (s *Selector) giveUp(seq uint64, timestamp uint32, l *Layers, r *run) {
	bit := uint8(1) << (l.Spatial & 7)
	lost := bit
	if !l.has(NotInterLayer) {
		lost = -bit // those above too
	}
	if seq <= s.keyAfter {
		s.spoil(r, s.keyAfter, lost)
		return
	}
	s.spoil(r, s.head, lost)
	s.present |= bit
	s.intact &^= lost
	for i := range s.pictures {
		if p := &s.pictures[i]; int32(p.timestamp-timestamp) >= 0 {
			p.spoilt |= lost
		}
	}
}

// pictureAt finds a picture, the newest at once.
func (s *Selector) pictureAt(timestamp uint32) *picture {
	for i := range uint8(picturesKept) {
		if p := &s.pictures[(s.newest+picturesKept-i)%picturesKept]; p.used && p.timestamp == timestamp {
			return p
		}
	}
	return nil
}

// beginPicture decides about temporal layers, and about fewer spatial ones.
func (s *Selector) beginPicture(timestamp uint32, l *Layers, adjacent bool) *picture {
	s.countStarved(&s.pictures[s.newest])
	s.newest = (s.newest + 1) % picturesKept
	p := &s.pictures[s.newest]
	*p = picture{timestamp: timestamp, used: true, wanted: s.beginTemporal(l)}
	if !p.wanted && l.has(Numbered) {
		s.pictureShift++
	}
	// What is missing before the picture's first packet belongs to the pictures before, for which nothing may change any more.
	if adjacent || l.has(FrameStart) && l.Spatial == 0 {
		s.beginSpatial()
	}
	p.top = s.current.Spatial
	return p
}

// countStarved looks back at a whole picture.
func (s *Selector) countStarved(p *picture) {
	if !p.wanted || p.kept != 0 {
		s.starved = 0
		return
	}
	if s.starved++; s.starved >= starvedLimit {
		s.starved, s.wantsKey = 0, true
	}
}

// beginTemporal moves the temporal layer as far as the picture allows, and reports whether the picture is sent.
func (s *Selector) beginTemporal(l *Layers) bool {
	s.highest = max(s.highest, l.Temporal)
	s.current.Temporal = min(s.current.Temporal, s.target.Temporal)
	if l.Temporal > s.current.Temporal {
		if l.Temporal > s.target.Temporal {
			return false
		}
		if l.Temporal != s.current.Temporal+1 || !l.has(SwitchPoint) {
			if s.blocked++; s.blocked >= blockedLimit {
				s.blocked, s.wantsKey = 0, true
			}
			return false
		}
		s.current.Temporal, s.blocked = l.Temporal, 0
	}
	if l.has(SwitchAbove) {
		s.current.Temporal = s.target.Temporal
	}
	return true
}

// beginSpatial goes to the layer nearest to the target that this viewer can decode.
func (s *Selector) beginSpatial() {
	within := s.intact & (2<<s.target.Spatial - 1)
	if within&s.present != 0 {
		within &= s.present
	}
	if within != 0 {
		s.current.Spatial = uint8(bits.Len8(within)) - 1
	} else if s.target.Spatial < s.current.Spatial {
		s.wantsKey = true // in K-SVC the lower layer is not sent between keyframes
	}
}

// beginKeyframe takes up the whole target.
func (s *Selector) beginKeyframe(p *picture) {
	s.current = s.target
	s.intact, s.present, s.mixed, s.wantsKey, s.starved, s.blocked = 1, 1, false, false, 0, 0
	s.keyAfter = s.head
	p.key, p.wanted, p.top = true, true, s.current.Spatial
	p.kept |= p.seen & 1
}

// wants decides about a spatial layer's frame in a picture.
func (s *Selector) wants(p *picture, spatial uint8, l *Layers) bool {
	bit := uint8(1) << spatial
	if !p.wanted {
		return false
	}
	sync := p.key || !l.has(Predicted)
	below := p.seen & (bit >> 1) // one that was lost may yet come
	based := !l.has(InterLayer) || below == 0 || p.kept&^p.spoilt&below != 0
	switch {
	case spatial > p.top && (spatial > s.target.Spatial || !sync && s.intact&bit == 0 || !based):
		s.wantsKey = s.wantsKey || spatial <= s.target.Spatial
		s.intact &^= bit
		return false
	case spatial > p.top:
		s.current.Spatial, p.top = spatial, spatial
	case !based || !sync && s.intact&bit == 0:
		s.mixed = s.mixed || !based
		s.wantsKey = s.wantsKey || !based || spatial == p.top
		s.intact &^= bit
		return false
	case !sync && s.spares(s.intact, p.top, spatial, l):
		s.intact &^= bit
		return false
	}
	if sync {
		s.intact |= bit
	}
	return true
}

// spares reports whether a frame below the highest layer sent can be left out: no layer above depends on it (K-SVC), and there is one that is intact.
func (s *Selector) spares(intact, top, spatial uint8, l *Layers) bool {
	above := intact >> (spatial + 1)
	return spatial < top && s.target.Spatial != All.Spatial && l.has(NotInterLayer) && l.has(Predicted) && !s.mixed && above&(1<<(top-spatial)-1) != 0
}
