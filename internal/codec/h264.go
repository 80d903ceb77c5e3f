package codec

import (
	"encoding/binary"
	"encoding/hex"
)

// NAL unit types (H.264 table 7-1, RFC 6184 section 5.2).
const (
	h264Slice  = 1
	h264IDR    = 5
	h264SEI    = 6
	h264SPS    = 7
	h264PPS    = 8
	h264AUD    = 9
	h264Prefix = 14 // before each slice of the base layer, with what its header has no room for
	h264SVC    = 20 // slice of an enhancement layer
	h264STAPA  = 24
	h264FUA    = 28

	h264ScalingListDefault = 8 // H.264 section 7.3.2.1.1.1
)

// inspectH264 reads a payload of packetization mode 0 or 1 (RFC 6184 section 5.4): a NAL unit, an aggregate or a fragment.
//
//	+-+-+-+-+-+-+-+-+
//	|F|NRI|  Type   |
//	+-+-+-+-+-+-+-+-+
func inspectH264(p []byte, info *Info) {
	switch typ := p[0] & 0x1f; typ {
	case h264STAPA: // 16-bit size before each unit (RFC 6184 section 5.7.1)
		for p = p[1:]; len(p) > 2; {
			end := 2 + int(binary.BigEndian.Uint16(p))
			if end == 2 || end > len(p) {
				return
			}
			inspectH264Unit(p[2]&0x1f, p[3:end], info)
			p = p[end:]
		}
	case h264FUA: // |S|E|R| Type | behind the indicator (RFC 6184 section 5.8)
		if len(p) > 1 && p[1]&0x80 != 0 {
			inspectH264Unit(p[1]&0x1f, p[2:], info)
		}
	default:
		inspectH264Unit(typ, p[1:], info)
	}
}

// inspectH264Unit reads one NAL unit, or the start of one, without its header byte.
func inspectH264Unit(typ uint8, body []byte, info *Info) {
	switch typ {
	case h264Slice:
		info.FrameStart = info.FrameStart || h264FirstSlice(body)
	case h264IDR:
		// A keyframe in several slices starts at the first only.
		if h264FirstSlice(body) {
			info.FrameStart, info.Keyframe = true, true
		}
	case h264SPS:
		info.FrameStart, info.Keyframe, info.ParameterSet = true, true, true
		info.setSize(h264Size(body))
	case h264PPS:
		info.FrameStart, info.ParameterSet = true, true
	case h264SEI, h264AUD:
		info.FrameStart = true
	case h264Prefix, h264SVC: // each slice has one, so none starts a frame
		h264Layers(body, info)
	}
}

// h264Layers reads the three bytes that extend the NAL header of SVC (H.264 section G.7.3.1.1, RFC 6190 section 1.1.3). Those of multiview coding,
// without the first bit, are not SVC's.
//
//	+---------------+---------------+---------------+
//	|0|1|2|3|4|5|6|7|0|1|2|3|4|5|6|7|0|1|2|3|4|5|6|7|
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|R|I|   PRID    |N| DID |  QID  | TID |U|D|O| RR|
//	+---------------+---------------+---------------+
func h264Layers(body []byte, info *Info) {
	if len(body) < 3 || body[0]&0x80 == 0 {
		return
	}
	info.Layered = true
	info.Spatial, info.Temporal = body[1]>>4&7, body[2]>>5
}

// h264FirstSlice reports whether first_mb_in_slice is 0, which Exp-Golomb writes as a single 1 bit (H.264 section 7.3.3).
func h264FirstSlice(body []byte) bool {
	return len(body) > 0 && body[0]&0x80 != 0
}

// h264Size reads the cropped picture size from a sequence parameter set without its NAL header (H.264 section 7.3.2.1.1);
// zeros when it is cut.
func h264Size(sps []byte) (width, height uint64) {
	r := bitReader{data: sps, escaped: true}
	profile := r.bits(8)
	r.skip(16) // constraint flags, level
	r.ue()     // seq_parameter_set_id
	chroma := uint64(1)
	if h264HighProfile(profile) {
		chroma = r.h264ChromaAndScaling()
	}
	r.ue() // log2_max_frame_num_minus4
	r.h264SkipPictureOrder()
	r.ue()      // max_num_ref_frames
	r.bits(1)   // gaps_in_frame_num_value_allowed_flag
	w := r.ue() // pic_width_in_mbs_minus1
	h := r.ue() // pic_height_in_map_units_minus1
	fields := uint64(2)
	if r.flag() { // frame_mbs_only_flag
		fields = 1
	} else {
		r.bits(1) // mb_adaptive_frame_field_flag
	}
	r.bits(1) // direct_8x8_inference_flag
	var crop [4]uint64
	if r.flag() {
		for i := range crop { // left, right, top, bottom
			crop[i] = r.ue()
		}
	}
	if r.overrun || chroma > 3 {
		return 0, 0
	}
	unitX, unitY := chromaUnits(chroma)
	return cropped(16*(w+1), unitX*(crop[0]+crop[1])), cropped(16*fields*(h+1), unitY*fields*(crop[2]+crop[3]))
}

// h264HighProfile reports whether sequence parameter sets of the profile tell the chroma format (H.264 section 7.3.2.1.1).
func h264HighProfile(profile uint32) bool {
	switch profile {
	case 100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135:
		return true
	default:
		return false
	}
}

// h264ChromaAndScaling reads what only high profiles have, and returns ChromaArrayType.
func (r *bitReader) h264ChromaAndScaling() uint64 {
	chroma := r.ue() // chroma_format_idc
	lists := 8
	separate := false
	if chroma == 3 {
		lists = 12
		separate = r.flag() // separate_colour_plane_flag
	}
	r.ue()        // bit_depth_luma_minus8
	r.ue()        // bit_depth_chroma_minus8
	r.bits(1)     // qpprime_y_zero_transform_bypass_flag
	if r.flag() { // seq_scaling_matrix_present_flag
		for i := range lists {
			if r.flag() {
				r.h264SkipScalingList(i)
			}
		}
	}
	if separate {
		return 0
	}
	return chroma
}

// h264SkipScalingList passes over one scaling list: six of 16 numbers, then those of 64 (H.264 section 7.3.2.1.1.1).
func (r *bitReader) h264SkipScalingList(i int) {
	size := 16
	if i >= 6 {
		size = 64
	}
	last, next := int64(h264ScalingListDefault), int64(h264ScalingListDefault)
	for range size {
		if next != 0 {
			next = (last + r.se()) & 0xff
		}
		if next != 0 {
			last = next
		}
	}
}

// h264SkipPictureOrder passes over pic_order_cnt_type and what follows from it.
func (r *bitReader) h264SkipPictureOrder() {
	switch r.ue() {
	case 0:
		r.ue() // log2_max_pic_order_cnt_lsb_minus4
	case 1:
		r.bits(1)                               // delta_pic_order_always_zero_flag
		r.se()                                  // offset_for_non_ref_pic
		r.se()                                  // offset_for_top_to_bottom_field
		for n := min(r.ue(), 255); n > 0; n-- { // num_ref_frames_in_pic_order_cnt_cycle is at most 255
			r.se()
		}
	}
}

// chromaUnits returns how many luma samples a cropping step spans in x and y (H.264 table 6-1, H.265 table 6-1): 4:2:0, 4:2:2, or else 1.
func chromaUnits(chroma uint64) (x, y uint64) {
	switch chroma {
	case 1:
		return 2, 2
	case 2:
		return 2, 1
	default:
		return 1, 1
	}
}

// cropped subtracts, giving 0 for a crop of everything or more.
func cropped(size, crop uint64) uint64 {
	if crop >= size {
		return 0
	}
	return size - crop
}

// H264ProfileLevelID returns the profile-level-id of a sequence parameter set with its NAL header: profile, constraint flags
// and level in hex, as in an a=fmtp line (RFC 6184 section 8.1). It is empty when sps is none.
func H264ProfileLevelID(sps []byte) string {
	if len(sps) < 4 || sps[0]&0x1f != h264SPS {
		return ""
	}
	return hex.EncodeToString(sps[1:4])
}
