package bitstream

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestVP8(t *testing.T) {
	tests := []struct {
		name  string
		frame []byte
		want  Picture
		err   error
	}{
		{"keyframe", []byte{0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01}, Picture{true, 640, 360}, nil},
		{"keyframe with scaling bits", []byte{0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x42, 0x68, 0x81}, Picture{true, 640, 360}, nil},
		{"delta", []byte{0x11, 0, 0}, Picture{}, nil},
		{"wrong start code", []byte{0x10, 0, 0, 0x9d, 0x01, 0x2b, 0, 0, 0, 0}, Picture{}, ErrInvalid},
		{"short keyframe", []byte{0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68}, Picture{}, ErrShort},
		{"empty", nil, Picture{}, ErrShort},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := VP8(test.frame)
			assert.ErrorIs(t, err, test.err)
			assert.Equal(t, test.want, got)
		})
	}
}

func TestVP9(t *testing.T) {
	// Profile 0, keyframe, shown, 8 bit 4:2:0, 640x360.
	key, err := VP9(unhex(t, "824983420027f0167000"))
	require.NoError(t, err)
	assert.Equal(t, Picture{true, 640, 360}, key)

	delta, err := VP9([]byte{0x86, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	require.NoError(t, err)
	assert.False(t, delta.Keyframe)

	_, err = VP9(nil)
	assert.ErrorIs(t, err, ErrInvalid)
}

func TestAV1(t *testing.T) {
	tests := []struct {
		name string
		unit []byte
		key  bool
		err  error
	}{
		{"delimiter, sequence header", []byte{0x12, 0, 0x0a, 1, 0}, true, nil},
		{"delimiter, frame", []byte{0x12, 0, 0x32, 2, 0, 0}, false, nil},
		{"with extension", []byte{0x16, 0, 0, 0x0a, 1, 0}, true, nil},
		{"frame without size", []byte{0x30, 9, 9, 9}, false, nil},
		{"size beyond the end", []byte{0x32, 3, 0, 0}, false, ErrShort},
		{"size does not end", []byte{0x32, 0x80}, false, ErrShort},
		{"extension missing", []byte{0x36}, false, ErrShort},
		{"forbidden bit", []byte{0x92, 0}, false, ErrInvalid},
		{"huge size", []byte{0x32, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, false, ErrShort},
		{"empty", nil, false, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := AV1(test.unit)
			assert.ErrorIs(t, err, test.err)
			assert.Equal(t, test.key, got.Keyframe)
		})
	}
}

// Parameter sets written by x264: constrained baseline without and high with timing and cropping.
const (
	spsBaseline = "6742c01fda0280bfe5c044000003000400000300f03c60ca80"
	spsHigh1080 = "67640028acd940780227e5c044000003000400000300f03c60c658"
)

func TestParseSPS(t *testing.T) {
	tests := []struct {
		name string
		nal  string
		want SPS
	}{
		{"baseline 640x360", spsBaseline, SPS{66, 0xc0, 31, 640, 360, 2, 60}},
		{"high 1920x1080", spsHigh1080, SPS{100, 0, 40, 1920, 1080, 2, 60}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := ParseSPS(unhex(t, test.nal))
			require.NoError(t, err)
			assert.Equal(t, test.want, got)
		})
	}
}

func TestParseSPSRefuses(t *testing.T) {
	_, err := ParseSPS([]byte{0x68, 0, 0, 0})
	assert.ErrorIs(t, err, ErrInvalid)
	whole := unhex(t, spsBaseline)
	for n := range 12 { // the picture size ends later
		_, err := ParseSPS(whole[:n])
		assert.ErrorIs(t, err, ErrShort, "prefix of %d bytes", n)
	}
}

func TestProfileLevelID(t *testing.T) {
	assert.Equal(t, "42e01f", SPS{Profile: 0x42, Constraints: 0xe0, Level: 31}.ProfileLevelID())
}

func TestExpGolomb(t *testing.T) {
	r := &bits{data: []byte{0b1_010_011_0, 0b0100_0010, 0b1_0000000}}
	assert.Equal(t, []uint{0, 1, 2, 3}, []uint{r.ue(), r.ue(), r.ue(), r.ue()})
	assert.Equal(t, -2, r.se())
	r.ue()
	assert.True(t, r.failed, "a run of zeros that does not end")
}

func TestUnescape(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"nothing to do", "010203", "010203"},
		{"one", "00000301", "000001"},
		{"two in a row", "0000030000030000", "000000000000"},
		{"a single zero keeps its three", "000301", "000301"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			assert.Equal(t, test.want, hex.EncodeToString(unescape(unhex(t, test.in))))
		})
	}
}

func FuzzPictures(f *testing.F) {
	f.Add([]byte{0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01})
	f.Add([]byte{0x12, 0, 0x0a, 1, 0})
	for _, sps := range []string{spsBaseline, spsHigh1080} {
		seed, _ := hex.DecodeString(sps)
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = VP8(data)
		_, _ = VP9(data)
		_, _ = AV1(data)
		sps, err := ParseSPS(data)
		if err == nil && (sps.Width < 0 || sps.Height < 0) {
			t.Errorf("size %dx%d", sps.Width, sps.Height)
		}
	})
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	data, err := hex.DecodeString(text)
	require.NoError(t, err)
	return data
}
