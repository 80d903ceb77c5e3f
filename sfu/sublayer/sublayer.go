// Package sublayer chooses, for one viewer, which packets of one stream it gets when it is to get fewer layers than the stream has, and what
// numbers they have.
//
// A stream with layers is one RTP stream: dropping some of its frames leaves holes in its sequence numbers, which the viewer would take for loss. So
// a Selector keeps a list of runs: stretches of the input, lost packets included, that go out with one offset. What is between two runs was dropped
// and has no number. A packet that is missing has its number kept free, because it may come late; when it then turns out to be unwanted, the number is
// filled with a packet of padding. A number, once given, belongs to that packet for ever: the viewer's SRTP nonce depends on it.
//
// The rules. A frame is sent whole or not at all. Fewer temporal layers: from the next picture on. More: at a switch point or keyframe. Fewer spatial
// layers: from the next picture on, unless the stream is such that the lower layer was not sent (K-SVC). More: at a keyframe, or where a frame
// of the layer depends on no earlier picture. With a dependency descriptor its indications say all that, and the frame differences which
// frames can be decoded by this viewer.
//
// Loss and reordering never cost a number. They can cost a frame: without a dependency descriptor, a late frame of a stream with spatial layers is sent or filled by
// what was sent around it, and one that later frames need may be taken for unwanted, which to the viewer is loss.
//
// Nothing here starts a goroutine, locks, allocates or looks at a clock.
package sublayer

import (
	"rheomesh/internal/codec"
	"rheomesh/internal/depdesc"
)

// Flags are what a packet tells about its frame beside its layers.
type Flags uint16

// The flags; see codec.Info for the first eight.
const (
	Keyframe Flags = 1 << iota
	FrameEnd
	SwitchPoint
	SwitchAbove
	Predicted
	InterLayer
	NotInterLayer
	Layered
	// FrameStart: the packet is the first of its layer's frame.
	FrameStart
	// Numbered: frames have numbers that must have no holes (VP8 PictureID).
	Numbered
	// Described: Frame, DTIs and Diffs come from a dependency descriptor.
	Described
	// Attached: a template structure came with the packet.
	Attached
)

// Layers is what a packet tells about its place in a stream with layers. A log keeps it with the packet, so it is the same for all viewers.
type Layers struct {
	DTIs              uint64       // decode target indications; see depdesc.Descriptor
	Diffs             depdesc.Near // the frames on which it depends
	Frame             uint16       // frame number of the dependency descriptor
	Flags             Flags
	Spatial, Temporal uint8
}

// FromInfo takes what the payload tells.
func FromInfo(c codec.Codec, info *codec.Info) Layers {
	l := Layers{Spatial: info.Spatial, Temporal: info.Temporal}
	l.set(Keyframe, info.Keyframe)
	l.set(FrameStart, info.FrameStart)
	l.set(FrameEnd, info.FrameEnd)
	l.set(SwitchPoint, info.SwitchPoint)
	l.set(SwitchAbove, info.SwitchAbove)
	l.set(Predicted, info.Predicted || c != codec.VP9) // others do not tell
	l.set(InterLayer, info.InterLayer)
	l.set(NotInterLayer, info.NotInterLayer)
	l.set(Layered, info.Layered)
	l.set(Numbered, c == codec.VP8 && info.PictureIDOffset != 0)
	return l
}

func (l *Layers) set(f Flags, on bool) {
	if on {
		l.Flags |= f
	}
}

func (l *Layers) has(f Flags) bool { return l.Flags&f != 0 }

// Describe adds what the packet's dependency descriptor tells, which has precedence.
func (l *Layers) Describe(d *depdesc.Descriptor) {
	l.Flags &^= FrameStart | FrameEnd
	l.Flags |= Described
	l.set(FrameStart, d.First)
	l.set(FrameEnd, d.Last)
	l.set(Attached, d.Attached)
	l.Spatial, l.Temporal = d.Spatial, d.Temporal
	l.DTIs, l.Diffs, l.Frame = d.DTIs, d.Diffs, d.Number
}

// All is the target of a viewer that gets everything.
var All = Target{Spatial: 7, Temporal: 7, Decode: -1}

// Target is what a viewer should get.
type Target struct {
	Spatial, Temporal uint8 // the highest layer ids; 7 for all there are
	// Decode is the decode target in a stream with dependency descriptors, -1 in others and for everything. See TargetOf.
	Decode int8
}

// TargetOf is the target for no more than the given layers in a stream with a dependency descriptor; All when the sender has none so low.
func TargetOf(s *depdesc.Structure, spatial, temporal uint8, active uint32) Target {
	i, ok := s.Best(spatial, temporal, active)
	if !ok {
		return All
	}
	l := s.Layer(i)
	return Target{Spatial: l.Spatial, Temporal: l.Temporal, Decode: int8(i)}
}

// Verdict is what happens to a packet.
type Verdict uint8

const (
	Drop Verdict = iota // not sent: it has no number
	Keep                // sent under Decision.Out
	Fill                // not sent, but its number is in use: send a packet of padding under Decision.Out
)

// Decision says what to do with a packet.
type Decision struct {
	Out          uint64 // extended sequence number for the viewer, unless dropped
	PictureShift uint16 // to subtract from a VP8 PictureID, modulo its size
	Verdict      Verdict
	Marker       bool // the marker bit to send
}

// Origin says what went out under a number.
type Origin struct {
	In           uint64 // the packet's extended sequence number in the log
	PictureShift uint16
	Filled       bool // it went out as padding
	top          uint8
}

// Marker is the marker bit that the packet went out with.
func (o Origin) Marker(marker bool, l *Layers) bool { return markerOf(marker, l, o.top) }

// markerOf ends the picture at the end of the highest layer that is kept, as the packets that had the bit are dropped (RFC 9628 section 4.1, RTP Payload
// Format For AV1 section 4.2).
func markerOf(marker bool, l *Layers, top uint8) bool {
	return marker || l.has(FrameEnd) && l.Spatial == top
}
