package codec

import "math/bits"

// OBU types (AV1 specification section 6.2.2).
const (
	av1SequenceHeader = 1
	av1FrameHeader    = 3
	av1Frame          = 6
)

// inspectAV1 reads the aggregation header and the OBU elements behind it (RTP Payload Format For AV1, sections 4.3 and 4.4).
//
//	 0 1 2 3 4 5 6 7
//	+-+-+-+-+-+-+-+-+
//	|Z|Y| W |N|-|-|-|
//	+-+-+-+-+-+-+-+-+
//
// Z: the first element goes on with an OBU of the packet before. W: the number of elements, 0 when every one has its
// length before it; with W set the last has none. N: first packet of a coded video sequence.
func inspectAV1(p []byte, info *Info) {
	continued, count := p[0]&0x80 != 0, int(p[0]>>4&3)
	info.Keyframe = p[0]&0x08 != 0 && !continued
	layered := false
	p = p[1:]
	for i := 1; len(p) > 0; i++ {
		size := uint64(len(p))
		if i != count {
			var n int
			if size, n = leb128(p); n == 0 || size > uint64(len(p)-n) {
				return
			}
			p = p[n:]
		}
		if i > 1 || !continued {
			layered = inspectOBU(p[:size], layered, info)
		}
		p = p[size:]
	}
}

// inspectOBU reads one OBU, or the start of one. Layer ids are taken from the first OBU that has them; layered says that one had.
//
//	 0 1 2 3 4 5 6 7   0 1 2 3 4 5 6 7
//	+-+-+-+-+-+-+-+-+ +-+-+-+-+-+-+-+-+
//	|F| Type  |X|S|-| | TID |SID|  -  |  the second byte only with X
//	+-+-+-+-+-+-+-+-+ +-+-+-+-+-+-+-+-+
func inspectOBU(obu []byte, layered bool, info *Info) bool {
	if len(obu) == 0 {
		return layered
	}
	head, body := obu[0], obu[1:]
	if head&0x04 != 0 {
		if len(body) == 0 {
			return layered
		}
		if !layered {
			info.Temporal, info.Spatial, info.Layered, layered = body[0]>>5, body[0]>>3&3, true, true
		}
		body = body[1:]
	}
	if head&0x02 != 0 { // a size, which the payload format asks to leave out but not all senders do
		_, n := leb128(body)
		if n == 0 {
			return layered
		}
		body = body[n:]
	}
	switch head >> 3 & 0x0f {
	case av1SequenceHeader:
		info.Keyframe, info.ParameterSet, info.FrameStart = true, true, true
		av1Sequence(body, info)
	case av1FrameHeader, av1Frame:
		info.FrameStart = true
	}
	return layered
}

// leb128 reads a little-endian base 128 number (AV1 specification section 4.10.5) and returns how many bytes it took, or 0
// when it is cut or longer than eight.
func leb128(p []byte) (v uint64, n int) {
	for n < len(p) && n < 8 {
		v |= uint64(p[n]&0x7f) << (7 * n)
		n++
		if p[n-1]&0x80 == 0 {
			return v, n
		}
	}
	return 0, 0
}

// av1Sequence reads the largest picture size and the number of spatial layers from a sequence header (AV1 specification
// section 5.5.1).
func av1Sequence(header []byte, info *Info) {
	r := bitReader{data: header}
	r.bits(4) // seq_profile, still_picture
	layers := 0
	if r.flag() { // reduced_still_picture_header
		r.bits(5) // seq_level_idx
	} else {
		layers = r.av1OperatingPoints()
	}
	widthBits, heightBits := uint8(r.bits(4))+1, uint8(r.bits(4))+1
	width, height := uint64(r.bits(widthBits))+1, uint64(r.bits(heightBits))+1
	if r.overrun {
		return
	}
	info.SpatialLayers = uint8(layers)
	info.setSize(width, height)
}

// av1OperatingPoints passes over timing, decoder model and operating points. It returns the number of spatial layers of
// the first operating point, which is the whole stream, or 0 when the stream has no layers.
func (r *bitReader) av1OperatingPoints() int {
	decoderModel, delayBits := false, 0
	if r.flag() { // timing_info_present_flag
		r.skip(64)    // num_units_in_display_tick, time_scale
		if r.flag() { // equal_picture_interval
			r.ue() // num_ticks_per_picture_minus_1: uvlc (section 4.10.3) is Exp-Golomb
		}
		if decoderModel = r.flag(); decoderModel {
			delayBits = int(r.bits(5)) + 1
			r.skip(32 + 5 + 5) // num_units_in_decoding_tick, lengths of removal and presentation times
		}
	}
	displayDelay := r.flag() // initial_display_delay_present_flag
	layers := 0
	for i, last := 0, int(r.bits(5)); i <= last; i++ { // operating_points_cnt_minus_1
		idc := r.bits(12) // temporal layers in the low eight bits, spatial above (section 6.4.1)
		if i == 0 {
			layers = bits.Len32(idc >> 8)
		}
		if r.bits(5) > 7 { // seq_level_idx
			r.bits(1) // seq_tier
		}
		if decoderModel && r.flag() {
			r.skip(2*delayBits + 1) // decoder and encoder buffer delay, low_delay_mode_flag
		}
		if displayDelay && r.flag() {
			r.bits(4) // initial_display_delay_minus_1
		}
	}
	return layers
}
