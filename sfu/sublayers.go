package sfu

import (
	"rheomesh/internal/depdesc"
	"rheomesh/internal/rtpx"
	"rheomesh/sfu/sublayer"
)

// thin sends what the selector keeps of a stream that the viewer gets less than all of. Hot path of such viewers.
func (f *forwarder) thin(p *Packet, s *segment, now int64) {
	before := f.nextOut
	d := f.take(p, s, now)
	f.nextOut, _, f.lastIn = f.selector.Next()
	// A packet that comes late is the newest all the same when everything after it was dropped.
	newest := d.Out >= before || int32(s.timestamp(p.Header.Timestamp)-f.lastTS) > 0
	if d.Verdict == sublayer.Keep && newest {
		f.sentNewest(p, s, outgoing{marker: d.Marker, pictureShift: d.PictureShift})
	}
	if f.selector.WantsKeyframe() {
		f.layer.requestKeyframe(now)
	}
}

// take lets the selector decide about a packet, and does so. Hot path of viewers that are sent less than all.
func (f *forwarder) take(p *Packet, s *segment, now int64) sublayer.Decision {
	d := f.selector.Take(p.Seq, p.Header.Timestamp, p.Header.Marker, &p.Layers)
	switch d.Verdict {
	case sublayer.Keep:
		f.emit(p, s, outgoing{seq: d.Out, marker: d.Marker, pictureShift: d.PictureShift}, now)
	case sublayer.Fill:
		f.fill(p, s, d.Out, now)
	case sublayer.Drop:
	}
	return d
}

// thinLate takes a packet from before the newest segment. The viewer has a number for it only if the segment before is of the same layer and was thinned: the selector
// has kept one free.
func (f *forwarder) thinLate(p *Packet, now int64) {
	if s := f.segments.before(); s != nil && s.thinned && s.layer == f.layer && p.Seq >= s.inSeq && !f.segments.newest().thinned {
		f.take(p, s, now)
	}
}

// fill sends padding under a number that was kept free for a packet which the viewer does not get after all. Without RTX it is the same to the last bit whenever it
// is sent.
func (f *forwarder) fill(p *Packet, s *segment, out uint64, now int64) {
	format := &s.formats[p.Header.PayloadType]
	if !format.known {
		return
	}
	f.pad(s, &rtpx.Rewrite{PayloadType: format.pt, Timestamp: s.timestamp(p.Header.Timestamp), SSRC: f.ssrc}, out, 1, now)
}

// aimSelector brings the selector in line with what the viewer should get of the current layer. A viewer who gets all of it has none.
func (f *forwarder) aimSelector() {
	s := f.segments.newest()
	if s == nil || f.openAt || f.waiting || s.layer != f.layer {
		return // the next segment begins with it
	}
	if s.thinned {
		f.selector.Aim(f.aimed)
		return
	}
	if f.aimed == sublayer.All {
		return
	}
	f.makeSelector()
	f.selector.Adopt(s.inSeq, s.outSeq, f.lastIn)
	f.selector.Aim(f.aimed)
	s.thinned = true
}

func (f *forwarder) makeSelector() {
	if f.selector == nil {
		f.selector = new(sublayer.Selector)
	}
}

// thicken goes on without the selector once the viewer gets everything: behind p, which has just been sent, a segment with plain numbers begins.
func (f *forwarder) thicken(s *segment) {
	next := *s
	out, shift, head := f.selector.Next()
	next.inSeq, next.outSeq, next.thinned = head+1, out, false
	next.pictureShift -= shift
	next.renumber = next.pictureShift != 0 || next.tl0Shift != 0
	f.segments.add(next)
}

// origin finds the packet that went out under one of a segment's numbers, and how.
func (f *forwarder) origin(s *segment, out uint64) (p *Packet, sent outgoing, filled bool) {
	if !s.thinned {
		p = s.layer.log.BySeq(s.inSeq + (out - s.outSeq))
		if p == nil {
			return nil, outgoing{}, false
		}
		return p, outgoing{seq: out, marker: p.Header.Marker}, false
	}
	from, ok := f.selector.Find(out)
	if !ok {
		return nil, outgoing{}, false
	}
	if p = s.layer.log.BySeq(from.In); p == nil {
		return nil, outgoing{}, false
	}
	// What came after the viewer had left the layer was never decided about, and is of no use any more.
	filled = from.Filled || s.end != 0 && p.Position >= s.end
	return p, outgoing{seq: out, marker: !filled && from.Marker(p.Header.Marker, &p.Layers), pictureShift: from.PictureShift}, filled
}

// continueFrames is what must be added to the frame numbers of a segment that begins at p. A decoder takes none that is not ahead of the last one; encodings of one
// picture that count together, as Chromium's do, stay as they are.
func (f *forwarder) continueFrames(previous *segment, p *Packet) (shift uint16) {
	if p.Layers.Flags&sublayer.Described == 0 {
		return 0
	}
	if ahead := int16(p.Layers.Frame + previous.frameShift - f.lastFrame); ahead > 0 {
		return previous.frameShift
	}
	return f.lastFrame + 1 - p.Layers.Frame
}

// shiftFrame changes the frame number in a header that was made for the viewer. Hot path of viewers who have changed to an encoding that counts for itself.
func (f *forwarder) shiftFrame(header []byte, shift uint16) {
	h, err := rtpx.Parse(header)
	if err != nil || f.describedID == 0 {
		return
	}
	if value, ok := rtpx.Extension(header, h, f.describedID); ok {
		depdesc.ShiftNumber(value, shift)
	}
}

// outgoing is under which numbers a packet goes to the viewer.
type outgoing struct {
	seq          uint64
	marker       bool
	pictureShift uint16 // taken from the PictureID, for frames that were left out
}
