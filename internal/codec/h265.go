package codec

import "encoding/binary"

// NAL unit types (H.265 table 7-1, RFC 7798 section 4.4).
const (
	h265TSAN      = 2 // temporal sub-layer access, not for reference within its sub-layer
	h265TSAR      = 3 // … for reference
	h265STSAN     = 4 // step-wise temporal sub-layer access
	h265STSAR     = 5
	h265FirstIRAP = 16 // BLA_W_LP
	h265LastIRAP  = 21 // CRA_NUT
	h265LastVCL   = 31
	h265VPS       = 32
	h265SPS       = 33
	h265PPS       = 34
	h265AUD       = 35
	h265PrefixSEI = 39
	h265AP        = 48
	h265FU        = 49
)

// inspectH265 reads a payload without decoding order numbers, which WebRTC does not use (RFC 7798 section 4.4).
//
//	+---------------+---------------+
//	|0|1|2|3|4|5|6|7|0|1|2|3|4|5|6|7|
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|F|   Type    |  LayerId  | TID |
//	+-------------+-----------------+
func inspectH265(p []byte, info *Info) {
	if len(p) < 2 {
		return
	}
	info.Temporal, info.Layered = max(p[1]&7, 1)-1, true // TID counts from 1
	switch typ := p[0] >> 1 & 0x3f; typ {
	case h265AP: // 16-bit size before each unit (RFC 7798 section 4.4.2)
		for p = p[2:]; len(p) > 2; {
			end := 2 + int(binary.BigEndian.Uint16(p))
			if end < 4 || end > len(p) {
				return
			}
			inspectH265Unit(p[2]>>1&0x3f, p[4:end], info)
			p = p[end:]
		}
	case h265FU: // |S|E| FuType | behind the payload header (RFC 7798 section 4.4.3)
		if len(p) < 3 {
			return
		}
		inspectH265Access(p[2]&0x3f, info)
		if p[2]&0x80 != 0 {
			inspectH265Unit(p[2]&0x3f, p[3:], info)
		}
	default:
		inspectH265Unit(typ, p[2:], info)
	}
}

// inspectH265Unit reads one NAL unit, or the start of one, without its header.
func inspectH265Unit(typ uint8, body []byte, info *Info) {
	switch {
	case typ <= h265LastVCL:
		inspectH265Access(typ, info)
		// first_slice_segment_in_pic_flag (H.265 section 7.3.6.1): a keyframe in several slices starts at the first only.
		if len(body) == 0 || body[0]&0x80 == 0 {
			return
		}
		info.FrameStart = true
		info.Keyframe = info.Keyframe || typ >= h265FirstIRAP && typ <= h265LastIRAP
	case typ == h265VPS:
		info.FrameStart, info.Keyframe, info.ParameterSet = true, true, true
	case typ == h265SPS:
		info.FrameStart, info.Keyframe, info.ParameterSet = true, true, true
		info.setSize(h265Size(body))
	case typ == h265PPS:
		info.FrameStart, info.ParameterSet = true, true
	case typ == h265AUD || typ == h265PrefixSEI:
		info.FrameStart = true
	}
}

// inspectH265Access marks a slice of a picture with which decoding of its temporal layer may begin: for TSA with nothing of this and higher layers before it, for
// STSA with nothing of its own (H.265 section 7.4.2.2).
func inspectH265Access(typ uint8, info *Info) {
	if typ >= h265TSAN && typ <= h265STSAR {
		info.SwitchPoint, info.SwitchAbove = true, typ <= h265TSAR
	}
}

// h265Size reads the picture size within the conformance window from a sequence parameter set without its NAL header
// (H.265 section 7.3.2.2.1); zeros when it is cut.
func h265Size(sps []byte) (width, height uint64) {
	r := bitReader{data: sps, escaped: true}
	r.bits(4) // sps_video_parameter_set_id
	subLayers := int(r.bits(3))
	r.bits(1) // sps_temporal_id_nesting_flag
	r.h265SkipProfileTierLevel(subLayers)
	r.ue()           // sps_seq_parameter_set_id
	chroma := r.ue() // chroma_format_idc
	unitX, unitY := chromaUnits(chroma)
	if chroma == 3 {
		r.bits(1) // separate_colour_plane_flag: cropping steps are 1 either way
	}
	w, h := r.ue(), r.ue()
	var crop [4]uint64
	if r.flag() { // conformance_window_flag
		for i := range crop { // left, right, top, bottom
			crop[i] = r.ue()
		}
	}
	if r.overrun {
		return 0, 0
	}
	return cropped(w, unitX*(crop[0]+crop[1])), cropped(h, unitY*(crop[2]+crop[3]))
}

// h265SkipProfileTierLevel passes over profile_tier_level with its sub-layers (H.265 section 7.3.3): 88 bits of profile and
// 8 of level each.
func (r *bitReader) h265SkipProfileTierLevel(subLayers int) {
	r.skip(88 + 8)
	if subLayers == 0 {
		return
	}
	var present [8]struct{ profile, level bool }
	for i := range present { // two flags per sub-layer, then reserved bits up to eight pairs
		profile, level := r.flag(), r.flag()
		if i < subLayers {
			present[i].profile, present[i].level = profile, level
		}
	}
	for _, layer := range present {
		if layer.profile {
			r.skip(88)
		}
		if layer.level {
			r.skip(8)
		}
	}
}
