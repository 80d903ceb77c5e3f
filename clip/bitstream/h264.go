package bitstream

import "fmt"

// H.264 NAL unit types that matter here (ITU-T H.264 table 7-1).
const (
	H264Slice  = 1 // coded slice of a picture that is not an IDR picture
	H264IDR    = 5 // coded slice of an IDR picture
	H264SEI    = 6 // supplemental enhancement information
	H264SPSNAL = 7 // sequence parameter set
	H264PPSNAL = 8 // picture parameter set
	H264AUD    = 9 // access unit delimiter
)

// H264Type returns the NAL unit type in the first byte of a NAL unit.
func H264Type(header byte) int { return int(header & 0x1f) }

// H264FirstSlice reports whether nal is the first slice of a picture: its first_mb_in_slice, an
// Exp-Golomb code at the start of the slice header, is zero, and so begins with a one
// (ITU-T H.264 §7.3.3).
func H264FirstSlice(nal []byte) bool { return len(nal) > 1 && nal[1]&0x80 != 0 }

// SPS is what a sequence parameter set says about the stream. A frame lasts FrameTicks of
// 1/TicksPerSecond seconds; both are zero when the set carries no timing.
type SPS struct {
	Profile, Constraints, Level byte
	Width, Height               int
	FrameTicks                  uint64
	TicksPerSecond              uint32
}

// ProfileLevelID is the value of the SDP parameter profile-level-id (RFC 6184 §8.1).
func (s SPS) ProfileLevelID() string {
	return fmt.Sprintf("%02x%02x%02x", s.Profile, s.Constraints, s.Level)
}

// ParseSPS reads a sequence parameter set with its NAL header (ITU-T H.264 §7.3.2.1.1 and Annex E).
func ParseSPS(nal []byte) (SPS, error) {
	if len(nal) < 4 {
		return SPS{}, fmt.Errorf("h264 sps: %w", ErrShort)
	}
	if H264Type(nal[0]) != H264SPSNAL {
		return SPS{}, fmt.Errorf("h264 sps: %w: nal type %d", ErrInvalid, H264Type(nal[0]))
	}
	r := &bits{data: unescape(nal[1:])}
	sps := SPS{Profile: byte(r.u(8)), Constraints: byte(r.u(8)), Level: byte(r.u(8))}
	r.ue() // seq_parameter_set_id
	chroma := uint(1)
	if highProfile(sps.Profile) {
		chroma = chromaFormat(r)
	}
	skipOrderCount(r)
	r.ue() // max_num_ref_frames
	r.u(1) // gaps_in_frame_num_value_allowed_flag
	dimensions(r, &sps, chroma)
	timing(r, &sps)
	if r.failed {
		return SPS{}, fmt.Errorf("h264 sps: %w", ErrShort)
	}
	return sps, nil
}

// highProfile tells the profiles whose sets carry chroma format and scaling lists.
func highProfile(profile byte) bool {
	switch profile {
	case 100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135:
		return true
	}
	return false
}

// chromaFormat reads chroma_format_idc and skips to the end of the scaling matrices.
func chromaFormat(r *bits) uint {
	chroma := r.ue()
	if chroma == 3 {
		r.u(1) // separate_colour_plane_flag
	}
	r.ue() // bit_depth_luma_minus8
	r.ue() // bit_depth_chroma_minus8
	r.u(1) // qpprime_y_zero_transform_bypass_flag
	if r.u(1) == 0 {
		return chroma
	}
	lists := 8
	if chroma == 3 {
		lists = 12
	}
	for i := range lists {
		if r.u(1) == 1 {
			skipScalingList(r, i)
		}
	}
	return chroma
}

// skipScalingList passes over one list: the first six are 4x4, the others 8x8.
func skipScalingList(r *bits, index int) {
	size := 16
	if index >= 6 {
		size = 64
	}
	last, next := 8, 8
	for range size {
		if next != 0 {
			next = (last + r.se() + 256) % 256
		}
		if next != 0 {
			last = next
		}
	}
}

func skipOrderCount(r *bits) {
	r.ue() // log2_max_frame_num_minus4
	switch r.ue() {
	case 0:
		r.ue() // log2_max_pic_order_cnt_lsb_minus4
	case 1:
		r.u(1) // delta_pic_order_always_zero_flag
		r.se() // offset_for_non_ref_pic
		r.se() // offset_for_top_to_bottom_field
		for n := min(r.ue(), 255); n > 0; n-- {
			r.se() // offset_for_ref_frame
		}
	}
}

// dimensions reads the picture size in macroblocks and takes the cropping off.
func dimensions(r *bits, sps *SPS, chroma uint) {
	width := int(min(r.ue(), 1<<14)) + 1
	height := int(min(r.ue(), 1<<14)) + 1
	frameOnly := int(r.u(1))
	if frameOnly == 0 {
		r.u(1) // mb_adaptive_frame_field_flag
	}
	r.u(1) // direct_8x8_inference_flag
	sps.Width, sps.Height = width*16, height*16*(2-frameOnly)
	if r.u(1) == 0 {
		return
	}
	unitX, unitY := 1, 2-frameOnly // ITU-T H.264 equations 7-19 to 7-22
	if chroma == 1 || chroma == 2 {
		unitX = 2
	}
	if chroma == 1 {
		unitY *= 2
	}
	left, right, top, bottom := crop(r), crop(r), crop(r), crop(r)
	sps.Width = max(sps.Width-(left+right)*unitX, 0)
	sps.Height = max(sps.Height-(top+bottom)*unitY, 0)
}

func crop(r *bits) int { return int(min(r.ue(), 1<<14)) }

// timing reads how long a frame lasts from the usability information, when there is one.
func timing(r *bits, sps *SPS) {
	if r.u(1) == 0 { // vui_parameters_present_flag
		return
	}
	if r.u(1) == 1 && r.u(8) == 255 { // aspect_ratio_info_present_flag, Extended_SAR
		r.u(32)
	}
	if r.u(1) == 1 { // overscan_info_present_flag
		r.u(1)
	}
	if r.u(1) == 1 { // video_signal_type_present_flag
		r.u(4)
		if r.u(1) == 1 { // colour_description_present_flag
			r.u(24)
		}
	}
	if r.u(1) == 1 { // chroma_loc_info_present_flag
		r.ue()
		r.ue()
	}
	if r.u(1) == 0 { // timing_info_present_flag
		return
	}
	units, scale := r.u(32), r.u(32)
	if units == 0 || scale == 0 || r.failed {
		return
	}
	// The tick is that of a field, so a frame lasts two (ITU-T H.264 §E.2.1).
	sps.FrameTicks, sps.TicksPerSecond = 2*uint64(units), uint32(scale)
}

// unescape removes the emulation prevention bytes: 00 00 03 becomes 00 00 (ITU-T H.264 §7.4.1).
func unescape(nal []byte) []byte {
	out := make([]byte, 0, len(nal))
	zeros := 0
	for _, b := range nal {
		if zeros >= 2 && b == 3 {
			zeros = 0
			continue
		}
		if zeros++; b != 0 {
			zeros = 0
		}
		out = append(out, b)
	}
	return out
}

// bits reads numbers most significant bit first. After the end it returns zeros and remembers failed.
type bits struct {
	data   []byte
	pos    int // in bits
	failed bool
}

// u reads an unsigned number of n ≤ 32 bits.
func (b *bits) u(n int) uint {
	if b.pos+n > 8*len(b.data) {
		b.failed = true
		return 0
	}
	var value uint
	for range n {
		value = value<<1 | uint(b.data[b.pos/8]>>(7-b.pos%8)&1)
		b.pos++
	}
	return value
}

// ue reads an unsigned Exp-Golomb code (ITU-T H.264 §9.1).
func (b *bits) ue() uint {
	zeros := 0
	for b.u(1) == 0 {
		if zeros++; b.failed || zeros > 32 {
			b.failed = true
			return 0
		}
	}
	return 1<<zeros - 1 + b.u(zeros)
}

// se reads a signed Exp-Golomb code (ITU-T H.264 §9.1.1).
func (b *bits) se() int {
	code := b.ue()
	if code%2 == 1 {
		return int(code/2 + 1)
	}
	return -int(code / 2)
}
