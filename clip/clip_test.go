package clip

import (
	"bytes"
	"math"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"rheomesh/clip/bitstream"
)

func TestVideo(t *testing.T) {
	tests := []struct {
		name          string
		open          func() *Source
		codec         string
		width, height int
	}{
		{"vp8 large", func() *Source { return VP8(Large) }, webrtc.MimeTypeVP8, 640, 360},
		{"vp8 medium", func() *Source { return VP8(Medium) }, webrtc.MimeTypeVP8, 320, 180},
		{"vp8 small", func() *Source { return VP8(Small) }, webrtc.MimeTypeVP8, 160, 90},
		{"h264", H264, webrtc.MimeTypeH264, 640, 360},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			source := test.open()
			width, height := source.Size()
			assert.Equal(t, test.codec, source.Codec().MimeType)
			assert.Equal(t, [2]int{test.width, test.height}, [2]int{width, height})
			assert.Equal(t, Frames, source.Samples())
			assert.Equal(t, Length, source.Length())
			for i := range 2*Frames + 1 { // past the seam, twice
				data, duration, keyframe := source.Next()
				require.NotEmpty(t, data)
				require.Equal(t, i%KeyframeInterval == 0, keyframe, "frame %d", i)
				require.InDelta(t, float64(time.Second)/FrameRate, float64(duration), 1, "frame %d", i)
			}
		})
	}
}

func TestLoopWraps(t *testing.T) {
	for name, source := range map[string]*Source{"video": VP8(Small), "audio": Opus()} {
		t.Run(name, func(t *testing.T) {
			first, _, _ := source.Next()
			for range source.Samples() - 1 {
				source.Next()
			}
			again, _, _ := source.Next()
			assert.Equal(t, first, again)
		})
	}
}

func TestSourcesAreIndependent(t *testing.T) {
	one := VP8(Small)
	first, _, _ := one.Next()
	one.Next()
	two, _, _ := VP8(Small).Next()
	assert.Equal(t, first, two)
}

func TestSkipToKeyframe(t *testing.T) {
	tests := []struct {
		name string
		at   int // samples taken before the skip
		want int // index of the sample that follows
	}{
		{"stands at a keyframe", 0, 0},
		{"just behind one", 1, 30},
		{"just before one", 29, 30},
		{"wraps", 91, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			source := VP8(Small)
			for range test.at {
				source.Next()
			}
			source.SkipToKeyframe()
			data, _, keyframe := source.Next()
			assert.True(t, keyframe)
			assert.True(t, bytes.Equal(source.samples[test.want].data, data), "not sample %d", test.want)
		})
	}
}

// TestH264Constrained holds the stream to what a peer that offers 42e01f can decode: baseline with the
// constraints of set 1, level at most 3.1, parameter sets in front of each IDR picture, one reference
// order without delay.
func TestH264Constrained(t *testing.T) {
	source := H264()
	assert.Contains(t, source.Codec().SDPFmtpLine, "packetization-mode=1")
	for i := range Frames {
		data, _, keyframe := source.Next()
		kinds := nalTypes(data)
		if !keyframe {
			require.Equal(t, []int{bitstream.H264Slice}, kinds, "frame %d", i)
			continue
		}
		require.Equal(t, []int{bitstream.H264SPSNAL, bitstream.H264PPSNAL, bitstream.H264IDR}, kinds, "frame %d", i)
		sps, err := bitstream.ParseSPS(data[4:])
		require.NoError(t, err)
		require.EqualValues(t, 66, sps.Profile)
		require.NotZero(t, sps.Constraints&0x40, "constraint_set1_flag")
		require.LessOrEqual(t, sps.Level, byte(31))
	}
}

// nalTypes lists the NAL unit types of an access unit whose start codes are all of four bytes.
func nalTypes(unit []byte) (kinds []int) {
	for _, nal := range bytes.Split(unit, []byte{0, 0, 0, 1})[1:] {
		kinds = append(kinds, bitstream.H264Type(nal[0]))
	}
	return kinds
}

func TestOpus(t *testing.T) {
	source := Opus()
	assert.Equal(t, webrtc.MimeTypeOpus, source.Codec().MimeType)
	assert.EqualValues(t, 2, source.Codec().Channels)
	assert.Equal(t, 200, source.Samples())
	assert.Equal(t, Length, source.Length())
	for range 400 {
		data, duration, keyframe := source.Next()
		require.NotEmpty(t, data)
		require.Less(t, len(data), 400)
		require.NotZero(t, data[0]&4, "the stereo bit of the table of contents")
		require.Equal(t, 20*time.Millisecond, duration)
		require.True(t, keyframe)
	}
}

func TestEmbeddedSize(t *testing.T) {
	entries, err := media.ReadDir("media")
	require.NoError(t, err)
	total := int64(0)
	for _, entry := range entries {
		info, err := entry.Info()
		require.NoError(t, err)
		total += info.Size()
	}
	assert.Less(t, total, int64(900_000), "the clip is part of every binary")
}

func TestOpenFiles(t *testing.T) {
	tests := []struct {
		name string
		open func(string) (*Source, error)
		file string
		want *Source
	}{
		{"ivf", OpenVideo, "media/180.ivf", VP8(Medium)},
		{"h264", OpenVideo, "media/360.h264", H264()},
		{"ogg", OpenAudio, "media/tone.ogg", Opus()},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			source, err := test.open(test.file)
			require.NoError(t, err)
			assert.Equal(t, test.want.samples, source.samples)
			assert.Equal(t, test.want.codec, source.codec)
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	_, err := OpenVideo("movie.mp4")
	assert.ErrorIs(t, err, ErrFormat)
	_, err = OpenAudio("media/180.ivf")
	assert.ErrorIs(t, err, ErrFormat)
	_, err = OpenVideo("media/missing.ivf")
	assert.ErrorContains(t, err, "missing.ivf")
}

func TestSeconds(t *testing.T) {
	tests := []struct {
		name        string
		tick        uint64
		scale, rate uint32
		want        time.Duration
	}{
		{"zero", 0, 1, 30, 0},
		{"one second", 30, 1, 30, time.Second},
		{"ntsc", 30000, 1001, 30000, 1001 * time.Second},
		{"rounds down", 1, 1, 3, 333333333},
		{"beyond a duration", math.MaxUint64, math.MaxUint32, 1, math.MaxInt64},
		{"just beyond a duration", math.MaxInt64, 1, 1_000_000_000 - 1, math.MaxInt64},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			assert.Equal(t, test.want, seconds(test.tick, test.scale, test.rate))
		})
	}
}
