package client

import (
	"encoding/binary"
	"strings"

	"github.com/pion/rtp/codecs"

	"rheomesh/clip/bitstream"
)

// facts are what the payload of one RTP packet says about the frame that it belongs to.
type facts struct {
	start         bool // it is certainly the first packet of its frame
	keyframe      bool // the frame, if complete, is a keyframe
	sets          sets // parameter sets inside
	width, height int  // of the picture; zeros if not said here
}

// sets are the parameter sets of H.264 and H.265 as bits.
type sets uint8

const (
	setVPS sets = 1 << iota
	setSPS
	setPPS
)

// format is how a codec travels in RTP.
type format struct {
	classify func(payload []byte) facts // nil: every packet is a frame that decodes alone
	needs    sets                       // parameter sets without which a keyframe does not decode
}

// formatOf returns the format of a codec. Codecs not listed are sound: every packet decodes alone.
func formatOf(mimeType string) format {
	switch encodingName(mimeType) {
	case "vp8":
		return format{classify: classifyVP8}
	case "vp9":
		return format{classify: classifyVP9}
	case "av1":
		return format{classify: classifyAV1}
	case "h264":
		return format{classify: classifyH264, needs: setSPS | setPPS}
	case "h265":
		return format{classify: classifyH265, needs: setVPS | setSPS | setPPS}
	}
	return format{}
}

// encodingName is the codec's name in an rtpmap, in lower case: "vp8" of "video/VP8".
func encodingName(mimeType string) string {
	_, name, _ := strings.Cut(strings.ToLower(mimeType), "/")
	return name
}

// classifyVP8 reads the payload descriptor (RFC 7741 §4.2) and the frame header behind it.
func classifyVP8(payload []byte) facts {
	var packet codecs.VP8Packet
	frame, err := packet.Unmarshal(payload)
	if err != nil || packet.S != 1 || packet.PID != 0 {
		return facts{}
	}
	picture, _ := bitstream.VP8(frame) // a broken header is a frame that is no keyframe
	return facts{start: true, keyframe: picture.Keyframe, width: picture.Width, height: picture.Height}
}

// classifyVP9 reads the payload descriptor (RFC 9628 §4.2). The frame meant is the whole picture with all
// its spatial layers, so its size is that of the highest.
func classifyVP9(payload []byte) facts {
	var packet codecs.VP9Packet
	frame, err := packet.Unmarshal(payload)
	if err != nil || !packet.B || packet.SID != 0 {
		return facts{}
	}
	f := facts{start: true, keyframe: !packet.P}
	if top := len(packet.Width) - 1; packet.V && packet.Y && top >= 0 {
		f.width, f.height = int(packet.Width[top]), int(packet.Height[top])
	} else if picture, err := bitstream.VP9(frame); err == nil {
		f.width, f.height = picture.Width, picture.Height
	}
	return f
}

// classifyAV1 reads the aggregation header: N marks the first packet of a coded video sequence, which is
// a keyframe (AV1 RTP §4.4).
func classifyAV1(payload []byte) facts {
	first := len(payload) > 0 && payload[0]&0x08 != 0
	return facts{start: first, keyframe: first}
}

// H.264 packet types beyond NAL units (RFC 6184 §5.2).
const (
	h264STAPA = 24
	h264FUA   = 28
)

// classifyH264 looks into single NAL units, aggregates and fragments (RFC 6184 §5.6 to §5.8).
func classifyH264(payload []byte) (f facts) {
	if len(payload) < 2 {
		return f
	}
	switch bitstream.H264Type(payload[0]) {
	case h264STAPA:
		for nal := range aggregated(payload[1:]) {
			f.h264(nal)
		}
	case h264FUA:
		fragment := []byte{payload[1] & 0x1f} // the type is that of the NAL unit, the rest does not matter
		first := payload[1]&0x80 != 0
		if first && len(payload) > 2 {
			fragment = append(fragment, payload[2])
		}
		f.h264(fragment)
		f.start = f.start && first
	default:
		f.h264(payload)
	}
	return f
}

// aggregated yields the NAL units of an aggregate, each behind its size in two bytes.
func aggregated(units []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(units) > 2 {
			size := int(binary.BigEndian.Uint16(units))
			if size == 0 || size > len(units)-2 || !yield(units[2:2+size]) {
				return
			}
			units = units[2+size:]
		}
	}
}

// h264 adds what one NAL unit says.
func (f *facts) h264(nal []byte) {
	switch bitstream.H264Type(nal[0]) {
	case bitstream.H264SPSNAL:
		f.start = true
		f.sets |= setSPS
		if sps, err := bitstream.ParseSPS(nal); err == nil {
			f.width, f.height = sps.Width, sps.Height
		}
	case bitstream.H264PPSNAL:
		f.sets |= setPPS
	case bitstream.H264AUD:
		f.start = true
	case bitstream.H264IDR:
		f.keyframe = true
		f.start = f.start || bitstream.H264FirstSlice(nal)
	case bitstream.H264Slice:
		f.start = f.start || bitstream.H264FirstSlice(nal)
	}
}

// H.265 NAL unit types (ITU-T H.265 table 7-1) and packet types (RFC 7798 §4.4).
const (
	h265FirstIRAP, h265LastIRAP  = 16, 23 // pictures at which decoding can begin
	h265VPS, h265SPS, h265PPS    = 32, 33, 34
	h265AUD                      = 35
	h265Aggregate, h265Fragments = 48, 49
	h265LastSlice                = 31
)

// classifyH265 looks into single NAL units, aggregates and fragments (RFC 7798 §4.4).
func classifyH265(payload []byte) (f facts) {
	if len(payload) < 3 {
		return f
	}
	switch kind := payload[0] >> 1 & 0x3f; kind {
	case h265Aggregate:
		for nal := range aggregated(payload[2:]) {
			if len(nal) > 2 {
				f.h265(nal[0]>>1&0x3f, nal[2]&0x80 != 0)
			}
		}
	case h265Fragments:
		first := payload[2]&0x80 != 0
		f.h265(payload[2]&0x3f, first && len(payload) > 3 && payload[3]&0x80 != 0)
		f.start = f.start && first
	default:
		f.h265(kind, payload[2]&0x80 != 0)
	}
	return f
}

// h265 adds what one NAL unit says; firstSlice is the first bit of its slice header, if it is a slice
// (first_slice_segment_in_pic_flag, ITU-T H.265 §7.3.6.1).
func (f *facts) h265(kind byte, firstSlice bool) {
	switch {
	case kind == h265VPS:
		f.start, f.sets = true, f.sets|setVPS
	case kind == h265SPS:
		f.sets |= setSPS
	case kind == h265PPS:
		f.sets |= setPPS
	case kind == h265AUD:
		f.start = true
	case kind <= h265LastSlice:
		f.start = f.start || firstSlice
		f.keyframe = f.keyframe || kind >= h265FirstIRAP && kind <= h265LastIRAP
	}
}
