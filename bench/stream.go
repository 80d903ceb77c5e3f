package bench

import "time"

// The synthetic stream. Its pictures hold nothing, but parameter sets, slice headers and fragmentation are those of a
// 1280 × 720 constrained baseline stream, which is all that a depacketizer looks at.
const (
	maxPayloadBytes = 1200 // RTP payload of a video packet; encoders keep below 1,200 to pass tunnels
	keyframeFactor  = 6    // a keyframe is this many times as large as an average delta frame
	minFrameBytes   = 64   // slice header and stamp

	videoClock = 90000 // Hz
	audioClock = 48000 // Hz

	audioInterval = 20 * time.Millisecond // an Opus packet, 50 per second
	audioBytes    = 160                   // mean payload: 64 kbit/s

	nalSlice = 0x41 // nal_ref_idc 2, type 1
	nalIDR   = 0x65 // nal_ref_idc 3, type 5
	nalSTAPA = 0x78 // RFC 6184 section 5.7.1
	nalFUA   = 28   // RFC 6184 section 5.8

	opusTOC = 0xfc // CELT, fullband, 20 ms, stereo, one frame (RFC 6716 section 3.1)
)

// sps is profile 42e01f (constrained baseline, level 3.1), 80 × 45 macroblocks, pic_order_cnt_type 2 (H.264 section 7.3.2.1.1).
var sps = []byte{0x67, 0x42, 0xe0, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xe4}

// pps is CAVLC, one slice group, deblocking control present (H.264 section 7.3.2.2).
var pps = []byte{0x68, 0xce, 0x3c, 0x80}

// sizeSteps vary the sizes of delta frames and audio packets, in sixteenths of the mean. They average 16.
var sizeSteps = [16]int{8, 12, 15, 9, 20, 17, 11, 24, 13, 18, 16, 10, 22, 14, 25, 22}

// Stream describes what every publisher sends.
type Stream struct {
	BitrateBps int           `json:"bitrate_bps"`   // of the video's frames
	FPS        int           `json:"fps"`           // frames per second
	GOP        time.Duration `json:"gop_ns"`        // from keyframe to keyframe
	Burst      int           `json:"burst_packets"` // packets of a frame sent back to back before a pause; 0 = the whole frame
}

func (s Stream) frameInterval() time.Duration { return time.Second / time.Duration(s.FPS) }

func (s Stream) gopFrames() int { return max(1, int(s.GOP/s.frameInterval())) }

// videoSource makes frames.
type videoSource struct {
	gop, deltaBytes int
	frames          int // made so far
	arena           []byte
	payloads        [][]byte
}

func newVideoSource(s Stream) *videoSource {
	gop := s.gopFrames()
	mean := s.BitrateBps / 8 / s.FPS
	return &videoSource{gop: gop, deltaBytes: mean * gop / (gop - 1 + keyframeFactor)}
}

// next makes the payloads of the next frame, which are valid until the call after. Their last stampBytes are the caller's.
func (v *videoSource) next() (payloads [][]byte, keyframe bool) {
	keyframe = v.frames%v.gop == 0
	size := v.deltaBytes * sizeSteps[v.frames%len(sizeSteps)] / 16
	header := byte(nalSlice)
	v.arena, v.payloads = v.arena[:0], v.payloads[:0]
	if keyframe {
		size, header = v.deltaBytes*keyframeFactor, nalIDR
		v.add(parameterSets())
	}
	v.fragment(header, max(size, minFrameBytes))
	v.frames++
	return v.payloads, keyframe
}

// parameterSets is the STAP-A of both, padded by a stamp's room in a filler unit, since every payload ends with a stamp.
func parameterSets() []byte {
	b := []byte{nalSTAPA}
	for _, unit := range [][]byte{sps, pps, fillerUnit()} {
		b = append(append(b, 0, byte(len(unit))), unit...)
	}
	return b
}

// fillerUnit is filler data (H.264 section 7.3.2.7), which decoders skip.
func fillerUnit() []byte { return append([]byte{0x0c}, filler[:stampBytes]...) }

func (v *videoSource) add(payload []byte) {
	start := len(v.arena)
	v.arena = append(v.arena, payload...)
	v.payloads = append(v.payloads, v.arena[start:len(v.arena):len(v.arena)])
}

// fragment adds one NAL unit of size bytes: alone when it fits a packet, else in fragments of equal size but for the last.
//
//	| FU indicator: F, NRI, 28 | FU header: S, E, R, type | slice data |
func (v *videoSource) fragment(header byte, size int) {
	slice := v.sliceHeader(header)
	if size <= maxPayloadBytes {
		v.add(pad(append([]byte{header}, slice...), size))
		return
	}
	const room = maxPayloadBytes - 2
	left := size - 1 // the NAL header is told by the FU headers
	for first := true; left > 0; first = false {
		n := min(left, room)
		if rest := left - n; rest > 0 && rest < stampBytes {
			n -= stampBytes // leave the last fragment room for its stamp
		}
		left -= n
		fu := header & 0x1f
		payload := []byte{header&0xe0 | nalFUA, fu}
		if first {
			payload[1] |= 0x80
			payload = append(payload, slice...)
		}
		if left == 0 {
			payload[1] |= 0x40
		}
		v.add(pad(payload, n+2))
	}
}

// sliceHeader begins the slice data: first_mb_in_slice 0, slice_type 7 or 5, pps 0, frame_num in four bits (H.264 section 7.3.3).
func (v *videoSource) sliceHeader(header byte) []byte {
	if header == nalIDR {
		return []byte{0x88, 0x84}
	}
	number := byte(v.frames % v.gop % 16)
	return []byte{0x9a | number>>3, number<<5 | 0x1f}
}

// filler is slice data without zero bytes.
var filler = func() (b [maxPayloadBytes]byte) {
	x := uint32(1)
	for i := range b {
		x ^= x << 13 // xorshift, Marsaglia 2003
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x) | 1
	}
	return b
}()

func pad(b []byte, size int) []byte { return append(b, filler[:size-len(b)]...) }

// audioSource makes Opus packets.
type audioSource struct {
	packets int
	buf     [audioBytes * 2]byte
}

// next is the payload of the next packet, valid until the call after.
func (a *audioSource) next() []byte {
	size := audioBytes * sizeSteps[a.packets%len(sizeSteps)] / 16
	a.packets++
	return pad(append(a.buf[:0], opusTOC), size)
}
