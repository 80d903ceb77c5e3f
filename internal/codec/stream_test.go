package codec_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"rheomesh/internal/codec"
)

// The files in testdata are six frames of ffmpeg's testsrc2 at 150x82, a keyframe every third.
const (
	streamWidth, streamHeight = 150, 82
	streamFrames, streamGroup = 6, 3
	streamMTU                 = 100 // bytes; small, so that every keyframe takes several packets
)

// ivfFrames reads the frames of an IVF file: 32 bytes of file header, then 12 of frame header with the size first.
func ivfFrames(t testing.TB, name string) [][]byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	var frames [][]byte
	for b = b[32:]; len(b) > 0; {
		end := 12 + int(binary.LittleEndian.Uint32(b))
		frames = append(frames, b[12:end])
		b = b[end:]
	}
	return frames
}

// annexBFrames splits a byte stream at its access unit delimiters, with which the encoders were told to begin each frame, and
// leaves them out.
func annexBFrames(t testing.TB, name string, delimiter ...byte) [][]byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	delimiter = append([]byte{0, 0, 0, 1}, delimiter...)
	var frames [][]byte
	for _, frame := range bytes.Split(b, delimiter)[1:] {
		frames = append(frames, frame[bytes.Index(frame, []byte{0, 0, 1}):])
	}
	return frames
}

type stream struct {
	name      string
	codec     codec.Codec
	frames    func(testing.TB) [][]byte
	payloader rtp.Payloader
}

func streams() []stream {
	ivf := func(name string) func(testing.TB) [][]byte {
		return func(t testing.TB) [][]byte { return ivfFrames(t, name) }
	}
	h264 := func(t testing.TB) [][]byte { return annexBFrames(t, "testsrc.h264", 9) }
	h265 := func(t testing.TB) [][]byte { return annexBFrames(t, "testsrc.h265", 35<<1, 1) }
	initial := func() uint16 { return 0x7ffe } // picture ids wrap within the stream
	return []stream{
		{"H264", codec.H264, h264, &codecs.H264Payloader{}},
		{"H264 without aggregation", codec.H264, h264, &codecs.H264Payloader{DisableStapA: true}},
		{"H265", codec.H265, h265, &codecs.H265Payloader{}},
		{"H265 without aggregation", codec.H265, h265, &codecs.H265Payloader{SkipAggregation: true}},
		{"VP8", codec.VP8, ivf("vp8.ivf"), &codecs.VP8Payloader{}},
		{"VP8 with picture ids", codec.VP8, ivf("vp8.ivf"), &codecs.VP8Payloader{EnablePictureID: true}},
		{"VP9 flexible", codec.VP9, ivf("vp9.ivf"), &codecs.VP9Payloader{FlexibleMode: true, InitialPictureIDFn: initial}},
		{"VP9 not flexible", codec.VP9, ivf("vp9.ivf"), &codecs.VP9Payloader{InitialPictureIDFn: initial}},
		{"AV1", codec.AV1, ivf("av1.ivf"), &codecs.AV1Payloader{}},
	}
}

// payloads packetizes a stream into its frames' payloads.
func (s stream) payloads(t testing.TB) [][][]byte {
	t.Helper()
	var out [][][]byte
	for _, frame := range s.frames(t) {
		out = append(out, s.payloader.Payload(streamMTU, frame))
	}
	require.Len(t, out, streamFrames)
	return out
}

func TestInspectFindsKeyframesOfRealStreams(t *testing.T) {
	for _, s := range streams() {
		t.Run(s.name, func(t *testing.T) {
			for n, payloads := range s.payloads(t) {
				wantKey := n%streamGroup == 0
				var sized bool
				require.NotEmpty(t, payloads)
				for i, payload := range payloads {
					var info codec.Info
					codec.Inspect(s.codec, payload, &info)
					if i == 0 {
						assert.True(t, info.FrameStart, "frame %d starts with its first packet", n)
						assert.Equal(t, wantKey, info.Keyframe, "frame %d", n)
					}
					if i == len(payloads)-1 && i > 0 {
						assert.False(t, info.FrameStart, "frame %d does not start with its last packet", n)
						assert.False(t, info.Keyframe, "frame %d", n)
					}
					if !wantKey {
						assert.False(t, info.Keyframe, "frame %d packet %d", n, i)
						assert.False(t, info.ParameterSet, "frame %d packet %d", n, i)
						assert.Zero(t, info.Width, "frame %d packet %d", n, i)
					}
					if info.Width != 0 {
						sized = true
						assert.Equal(t, [2]uint16{streamWidth, streamHeight}, [2]uint16{info.Width, info.Height})
					}
				}
				assert.Equal(t, wantKey, sized, "frame %d tells its size", n)
			}
		})
	}
}

// A keyframe in three slices starts once, wherever the packets are cut.
func TestInspectSlicedKeyframeStartsOnce(t *testing.T) {
	frames := annexBFrames(t, "slices.h264", 9)
	for _, mtu := range []uint16{60, 1200} {
		var keyframes, starts int
		for _, payload := range (&codecs.H264Payloader{}).Payload(mtu, frames[0]) {
			var info codec.Info
			codec.Inspect(codec.H264, payload, &info)
			if info.Keyframe && !info.ParameterSet {
				keyframes++
			}
			if info.FrameStart && !info.ParameterSet {
				starts++
			}
		}
		assert.Equal(t, 1, keyframes, "mtu %d", mtu)
		assert.Equal(t, 1, starts, "mtu %d", mtu)
		assert.Positive(t, bytes.Count(frames[0], []byte{0, 0, 1, 0x65}), "the test stream has more than one slice")
	}
}

func TestInspectPictureIDsOfRealStreams(t *testing.T) {
	for _, s := range streams() {
		if s.codec != codec.VP9 && s.name != "VP8 with picture ids" {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			last := int32(-1)
			for n, payloads := range s.payloads(t) {
				for _, payload := range payloads {
					var info codec.Info
					codec.Inspect(s.codec, payload, &info)
					if s.codec == codec.VP8 && n == 0 {
						continue // pion writes no id 0
					}
					require.GreaterOrEqual(t, info.PictureID, int32(0))
					at := info.PictureIDOffset
					stored := int32(payload[at] & 0x7f)
					if info.PictureIDLong {
						stored = stored<<8 | int32(payload[at+1])
					}
					assert.Equal(t, stored, info.PictureID)
					if last >= 0 {
						assert.Contains(t, []int32{last, (last + 1) & 0x7fff}, info.PictureID)
					}
					last = info.PictureID
				}
			}
		})
	}
}

// No cut of a real payload may panic or make a delta frame a keyframe.
func TestInspectEveryPrefix(t *testing.T) {
	for _, s := range streams() {
		t.Run(s.name, func(t *testing.T) {
			for n, payloads := range s.payloads(t) {
				for _, payload := range payloads {
					for cut := range payload {
						var info codec.Info
						codec.Inspect(s.codec, payload[:cut:cut], &info)
						if cut == 0 {
							assert.Equal(t, codec.Info{PictureID: -1}, info)
						}
						if n%streamGroup != 0 {
							require.False(t, info.Keyframe)
						}
						if info.Width != 0 {
							require.Equal(t, uint16(streamWidth), info.Width)
							require.Equal(t, uint16(streamHeight), info.Height)
						}
					}
				}
			}
		})
	}
}

func TestInspectDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, s := range streams() {
		frames := s.payloads(t)
		var info codec.Info
		assert.Zero(t, testing.AllocsPerRun(10, func() {
			for _, payloads := range frames {
				for _, payload := range payloads {
					codec.Inspect(s.codec, payload, &info)
				}
			}
		}), s.name)
	}
}

func BenchmarkInspect(b *testing.B) {
	for _, s := range streams() {
		b.Run(s.name, func(b *testing.B) {
			var flat [][]byte
			for _, payloads := range s.payloads(b) {
				flat = append(flat, payloads...)
			}
			var info codec.Info
			for i := 0; b.Loop(); i++ {
				codec.Inspect(s.codec, flat[i%len(flat)], &info)
			}
		})
	}
}

func fuzzInspect(f *testing.F, c codec.Codec) {
	for _, s := range streams() {
		if s.codec != c {
			continue
		}
		for _, payloads := range s.payloads(f) {
			f.Add(payloads[0])
		}
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		var info codec.Info
		before := bytes.Clone(payload)
		codec.Inspect(c, payload, &info)
		require.Equal(t, before, payload, "payloads are immutable")
		require.Equal(t, info.Width == 0, info.Height == 0)
		require.Less(t, info.PictureID, int32(1<<15))
		require.Equal(t, info.PictureID >= 0, info.PictureIDOffset > 0)
		for _, at := range []uint8{info.PictureIDOffset, info.TL0PicIdxOffset, info.KeyIdxOffset} {
			require.True(t, at == 0 || int(at) < len(payload), "offset %d of %d", at, len(payload))
		}
		if info.PictureIDLong {
			require.Less(t, int(info.PictureIDOffset)+1, len(payload))
		}
		codec.H264ProfileLevelID(payload)
	})
}

func FuzzInspectH264(f *testing.F) { fuzzInspect(f, codec.H264) }
func FuzzInspectH265(f *testing.F) { fuzzInspect(f, codec.H265) }
func FuzzInspectVP8(f *testing.F)  { fuzzInspect(f, codec.VP8) }
func FuzzInspectVP9(f *testing.F)  { fuzzInspect(f, codec.VP9) }
func FuzzInspectAV1(f *testing.F)  { fuzzInspect(f, codec.AV1) }
