package codec

import "encoding/binary"

// Info is what one RTP payload tells.
//
// Several packets of one frame may have FrameStart or Keyframe set (parameter sets travel in packets of their own, and each
// spatial layer starts a frame): packets with one RTP timestamp belong together, and the first of them that has the
// flag is the place to start.
type Info struct {
	// Keyframe: a keyframe, or the parameter sets before it, starts in this packet, so a decoder can begin here. A decoder
	// of H264 or H265 also needs parameter sets: begin at the packet of the same timestamp that has them, if there is one.
	// In audio every packet is one.
	Keyframe bool
	// ParameterSet: the packet holds a parameter set (SPS, PPS, VPS) or an AV1 sequence header.
	ParameterSet bool
	// FrameStart: the packet holds the first bytes of a frame, or what may only stand before them. In SVC it is one layer's frame.
	FrameStart bool
	// FrameEnd: the packet ends a layer's frame (VP9 only; elsewhere the marker bit ends the picture).
	FrameEnd bool
	// SwitchPoint: from this frame on, a viewer of the temporal layers below may go up to this one (VP8 Y bit, VP9 U bit, H265 TSA and STSA).
	SwitchPoint bool
	// SwitchAbove: frames that follow in temporal layers above this one depend on none before it in those layers, so a viewer may go up to any
	// of them (VP9 U bit in the lowest layer, H265 TSA).
	SwitchAbove bool
	// Predicted: the frame depends on earlier pictures (VP9 P bit).
	Predicted bool
	// InterLayer: the frame depends on the spatial layer below in the same picture (VP9 D bit).
	InterLayer bool
	// NotInterLayer: no spatial layer above depends on the frame in the same picture (VP9 Z bit).
	NotInterLayer bool
	// Flexible: the packet tells its frame's references (VP9 F bit).
	Flexible bool
	// Layered: the layer ids are what the packet tells. Without it they are 0, and a packet in the middle of a frame belongs to the layers of its
	// start: H264 tells them in NAL units of their own, AV1 at the start of an OBU.
	Layered bool

	Spatial, Temporal uint8 // layer ids, 0 when the payload tells none
	SpatialLayers     uint8 // in the stream, where the packet tells (VP9 scalability structure, AV1 sequence header); otherwise 0
	// References are how many pictures back those are on which the frame depends, in its own spatial layer (VP9 P_DIFF, 1..127); 0 after the last.
	References    [3]uint8
	Width, Height uint16 // pixels of the largest layer, where the packet tells (parameter sets, VP8 and VP9 keyframes); otherwise 0

	// The frame numbers of VP8 and VP9, which must go on without a jump when a viewer changes layers or loses frames on
	// purpose. Offsets count from the start of the payload; 0 means absent, for the first byte is never a number.
	PictureID       int32 // 7 or 15 bits, -1 when absent
	PictureIDOffset uint8 // of the byte with the M bit
	PictureIDLong   bool  // 15 bits in two bytes
	TL0PicIdx       uint8
	TL0PicIdxOffset uint8
	SizesOffset     uint8 // of the sizes of all spatial layers, 0 when there are none; see LayerSize
	KeyIdx          uint8 // VP8, 5 bits
	KeyIdxOffset    uint8 // of the byte TID (2) | Y | KEYIDX (5)
}

// Inspect overwrites info with what the RTP payload tells; payload is without RTP header and padding. It keeps nothing of
// payload, and a payload that cannot be read, or of an Unknown codec, tells nothing. hot path.
func Inspect(c Codec, payload []byte, info *Info) {
	*info = Info{PictureID: -1}
	if len(payload) == 0 {
		return
	}
	switch c {
	case H264:
		inspectH264(payload, info)
	case H265:
		inspectH265(payload, info)
	case VP8:
		inspectVP8(payload, info)
	case VP9:
		inspectVP9(payload, info)
	case AV1:
		inspectAV1(payload, info)
	case Opus, PCMU, PCMA, G722, RED:
		info.Keyframe, info.FrameStart = true, true
	case Unknown:
	}
}

// LayerSize is the picture size in pixels of one spatial layer, read from the payload that told info; false when it does not tell sizes by layer. Only
// VP9's scalability structure does (RFC 9628 section 4.2.1).
func (info *Info) LayerSize(payload []byte, spatial uint8) (width, height uint16, ok bool) {
	at := int(info.SizesOffset) + 4*int(spatial)
	if info.SizesOffset == 0 || spatial >= info.SpatialLayers || at+4 > len(payload) {
		return 0, 0, false
	}
	return binary.BigEndian.Uint16(payload[at:]), binary.BigEndian.Uint16(payload[at+2:]), true
}

// setSize records a picture size, unless a broken header claims one that no codec here has.
func (info *Info) setSize(width, height uint64) {
	if width == 0 || height == 0 || width > 1<<16-1 || height > 1<<16-1 {
		return
	}
	info.Width, info.Height = uint16(width), uint16(height)
}
