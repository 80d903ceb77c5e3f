package codec

import "encoding/binary"

// inspectVP9 reads the payload descriptor (RFC 9628 section 4.2) and, where a keyframe starts, its uncompressed header.
//
//	     0 1 2 3 4 5 6 7
//	    +-+-+-+-+-+-+-+-+
//	    |I|P|L|F|B|E|V|Z|
//	    +-+-+-+-+-+-+-+-+
//	I:  |M| PICTURE ID  |
//	    +-+-+-+-+-+-+-+-+
//	M:  | EXTENDED PID  |
//	    +-+-+-+-+-+-+-+-+
//	L:  | TID |U| SID |D|
//	    +-+-+-+-+-+-+-+-+
//	!F: |   TL0PICIDX   |  with L
//	    +-+-+-+-+-+-+-+-+
//	FP: | P_DIFF      |N|  up to 3 times
//	    +-+-+-+-+-+-+-+-+
//	V:  | SS            |
//	    | ..            |
//	    +-+-+-+-+-+-+-+-+
func inspectVP9(p []byte, info *Info) {
	flags, at := p[0], 1
	predicted, flexible, begin := flags&0x40 != 0, flags&0x10 != 0, flags&0x08 != 0
	info.Predicted, info.Flexible, info.NotInterLayer, info.Layered = predicted, flexible, flags&0x01 != 0, true
	if flags&0x80 != 0 {
		if at = pictureID(p, at, info); at == 0 {
			return
		}
	}
	if flags&0x20 != 0 {
		if at = vp9Layers(p, at, flexible, info); at == 0 {
			return
		}
	}
	if flexible && predicted {
		if at = vp9References(p, at, info); at == 0 {
			return
		}
	}
	if flags&0x02 != 0 {
		if at = vp9Structure(p, at, info); at == 0 {
			return
		}
	}
	frame := p[at:]
	info.FrameStart, info.FrameEnd = begin && len(frame) > 0, flags&0x04 != 0
	// Layers above the lowest of a keyframe also have P clear, but need the lowest. Some senders never set P, so the frame has the last word.
	info.Keyframe = info.FrameStart && !predicted && info.Spatial == 0 && !vp9Delta(frame)
	if info.Keyframe && info.Width == 0 {
		info.setSize(vp9Size(frame))
	}
}

// vp9Layers reads the layer indices at p[at] and returns the offset behind them, or 0 when they are cut.
func vp9Layers(p []byte, at int, flexible bool, info *Info) int {
	if at >= len(p) {
		return 0
	}
	info.Temporal, info.SwitchPoint, info.Spatial = p[at]>>5, p[at]&0x10 != 0, p[at]>>1&7
	info.InterLayer, info.SwitchAbove = p[at]&1 != 0, info.SwitchPoint && info.Temporal == 0
	at++
	if flexible {
		return at
	}
	if at >= len(p) {
		return 0
	}
	info.TL0PicIdx, info.TL0PicIdxOffset = p[at], uint8(at)
	return at + 1
}

// vp9References reads the reference indices at p[at], at most three, and returns the offset behind them, or 0 when they are cut.
func vp9References(p []byte, at int, info *Info) int {
	for i := range info.References {
		if at >= len(p) {
			return 0
		}
		info.References[i] = p[at] >> 1
		at++
		if p[at-1]&1 == 0 {
			return at
		}
	}
	return at
}

// vp9Structure reads the scalability structure at p[at] (RFC 9628 section 4.2.1) and returns the offset behind it, or 0 when
// it is cut. | N_S (3) |Y|G| RSV (3) |, with Y: N_S+1 sizes, with G: N_G pictures of | TID (3) |U| R (2) | RSV (2) | and R references.
func vp9Structure(p []byte, at int, info *Info) int {
	if at >= len(p) {
		return 0
	}
	head := p[at]
	layers := int(head>>5) + 1
	at++
	if head&0x10 != 0 {
		if at+4*layers > len(p) {
			return 0
		}
		info.SizesOffset = uint8(at)
		at += 4 * layers
		info.setSize(uint64(binary.BigEndian.Uint16(p[at-4:])), uint64(binary.BigEndian.Uint16(p[at-2:])))
	}
	info.SpatialLayers = uint8(layers)
	if head&0x08 == 0 {
		return at
	}
	if at >= len(p) {
		return 0
	}
	pictures := int(p[at])
	at++
	for range pictures {
		if at >= len(p) {
			return 0
		}
		at += 1 + int(p[at]>>2&3)
	}
	if at > len(p) {
		return 0
	}
	return at
}

// vp9Delta reports whether the frame's uncompressed header says that it is no keyframe (VP9 bitstream specification section 6.2).
func vp9Delta(frame []byte) bool {
	r := bitReader{data: frame}
	marked, _ := r.vp9FrameMarker()
	return marked && r.bits(2) != 0 // show_existing_frame, frame_type: 0 is a keyframe
}

// vp9FrameMarker reads the first fields of an uncompressed header, and whether it is one.
func (r *bitReader) vp9FrameMarker() (marked bool, profile uint32) {
	marked = r.bits(2) == 2 // frame_marker
	profile = r.bits(1) | r.bits(1)<<1
	if profile == 3 {
		r.bits(1) // reserved_zero
	}
	return marked, profile
}

// vp9Size reads the size from a keyframe's uncompressed header (VP9 bitstream specification section 6.2); zeros when it is cut.
func vp9Size(frame []byte) (width, height uint64) {
	const syncCode = 0x498342 // section 6.2.1
	r := bitReader{data: frame}
	marked, profile := r.vp9FrameMarker()
	r.bits(4) // show_existing_frame, frame_type, show_frame, error_resilient_mode
	if !marked || r.bits(24) != syncCode {
		return 0, 0
	}
	r.vp9SkipColor(profile)
	width, height = uint64(r.bits(16))+1, uint64(r.bits(16))+1
	if r.overrun {
		return 0, 0
	}
	return width, height
}

// vp9SkipColor passes over color_config (VP9 bitstream specification section 6.2.2).
func (r *bitReader) vp9SkipColor(profile uint32) {
	const rgb = 7 // CS_RGB
	if profile >= 2 {
		r.bits(1) // ten_or_twelve_bit
	}
	if r.bits(3) != rgb { // color_space
		r.bits(1) // color_range
		if profile&1 != 0 {
			r.bits(3) // subsampling_x, subsampling_y, reserved_zero
		}
		return
	}
	if profile&1 != 0 {
		r.bits(1) // reserved_zero
	}
}
