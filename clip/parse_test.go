package clip

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// keyframe is the smallest VP8 keyframe that parses: tag, start code, 160x90.
var keyframe = []byte{0x10, 0, 0, 0x9d, 0x01, 0x2a, 160, 0, 90, 0}

type ivfFrame struct {
	tick uint64
	data []byte
}

func ivf(fourCC string, rate, scale uint32, frames ...ivfFrame) []byte {
	file := append([]byte("DKIF\x00\x00\x20\x00"+fourCC), make([]byte, 20)...)
	binary.LittleEndian.PutUint32(file[16:], rate)
	binary.LittleEndian.PutUint32(file[20:], scale)
	for _, frame := range frames {
		file = binary.LittleEndian.AppendUint32(file, uint32(len(frame.data)))
		file = binary.LittleEndian.AppendUint64(file, frame.tick)
		file = append(file, frame.data...)
	}
	return file
}

func TestParseIVF(t *testing.T) {
	delta := []byte{0x11, 0, 0}
	tests := []struct {
		name string
		file []byte
		want []time.Duration // nil: refused
	}{
		{"steady", ivf("VP80", 10, 1, ivfFrame{0, keyframe}, ivfFrame{1, delta}), []time.Duration{1e8, 1e8}},
		{"uneven", ivf("VP80", 10, 1, ivfFrame{0, keyframe}, ivfFrame{3, delta}, ivfFrame{4, delta}), []time.Duration{3e8, 1e8, 1e8}},
		{"one frame", ivf("VP80", 10, 1, ivfFrame{7, keyframe}), []time.Duration{defaultInterval}},
		{"starts late", ivf("VP80", 10, 1, ivfFrame{5, keyframe}, ivfFrame{6, delta}), []time.Duration{1e8, 1e8}},
		{"ntsc", ivf("VP80", 30000, 1001, ivfFrame{0, keyframe}, ivfFrame{1, delta}), []time.Duration{33366666, 33366667}},
		{"no frames", ivf("VP80", 30, 1), nil},
		{"time stands", ivf("VP80", 30, 1, ivfFrame{1, keyframe}, ivfFrame{1, delta}), nil},
		{"time runs back", ivf("VP80", 30, 1, ivfFrame{1, keyframe}, ivfFrame{0, delta}), nil},
		{"time leaps", ivf("VP80", 30, 1, ivfFrame{0, keyframe}, ivfFrame{1 << 40, delta}), nil},
		{"unknown codec", ivf("XXXX", 30, 1, ivfFrame{0, keyframe}), nil},
		{"no time base", ivf("VP80", 0, 1, ivfFrame{0, keyframe}), nil},
		{"damaged frame", ivf("VP80", 30, 1, ivfFrame{0, []byte{0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0}}), nil},
		{"not ivf", []byte("RIFF"), nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			source, err := parseIVF(test.file)
			if test.want == nil {
				require.ErrorIs(t, err, ErrFormat)
				return
			}
			require.NoError(t, err)
			var got []time.Duration
			for _, sample := range source.samples {
				got = append(got, sample.duration)
			}
			assert.Equal(t, test.want, got)
		})
	}
}

func TestParseIVFCodecs(t *testing.T) {
	for fourCC, want := range map[string]string{
		"VP80": webrtc.MimeTypeVP8, "VP90": webrtc.MimeTypeVP9, "AV01": webrtc.MimeTypeAV1,
	} {
		t.Run(fourCC, func(t *testing.T) {
			assert.Equal(t, want, ivfCodec[fourCC].codec.MimeType)
		})
	}
}

// TestParseH264Grouping feeds streams that are gathered by their slices alone, and with delimiters.
func TestParseH264Grouping(t *testing.T) {
	sps, pps := "\x67\x42\xc0\x1f\xda\x02\x80\xbf\xe5\xc0\x44\x00\x00\x03\x00\x04\x00\x00\x03\x00\xf0\x3c\x60\xca\x80", "\x68\xce\x0b\x2c\x80"
	idr, idr2 := "\x65\x88\x84", "\x65\x40\x84" // the second slice begins at another macroblock
	slice, aud := "\x41\x9a\x02", "\x09\xf0"
	tests := []struct {
		name string
		nals []string
		want [][]int // NAL unit types of each picture
	}{
		{"by slices", []string{sps, pps, idr, slice, slice}, [][]int{{7, 8, 5}, {1}, {1}}},
		{"by sets", []string{sps, pps, idr, sps, pps, idr}, [][]int{{7, 8, 5}, {7, 8, 5}}},
		{"by delimiters", []string{aud, sps, pps, idr, aud, slice}, [][]int{{9, 7, 8, 5}, {9, 1}}},
		{"two slices in a picture", []string{sps, pps, idr, idr2, slice}, [][]int{{7, 8, 5, 5}, {1}}},
		{"no slice at the end", []string{sps, pps, idr, sps}, [][]int{{7, 8, 5}}},
		{"no sets", []string{idr, slice}, nil},
		{"no pictures", []string{sps, pps}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var file []byte
			for _, nal := range test.nals {
				file = append(file, "\x00\x00\x00\x01"+nal...)
			}
			source, err := parseH264(file)
			if test.want == nil {
				require.ErrorIs(t, err, ErrFormat)
				return
			}
			require.NoError(t, err)
			var got [][]int
			for _, sample := range source.samples {
				got = append(got, nalTypes(sample.data))
			}
			assert.Equal(t, test.want, got)
		})
	}
}

// oggPage lays out one page; the checksum is not looked at.
func oggPage(serial byte, lacing []byte, body []byte) []byte {
	page := append([]byte("OggS\x00\x00"), make([]byte, 20)...)
	page[14] = serial
	page = append(page, byte(len(lacing)))
	page = append(page, lacing...)
	return append(page, body...)
}

func TestOggPackets(t *testing.T) {
	long := bytes.Repeat([]byte{7}, 300)
	full := bytes.Repeat([]byte{8}, 255)
	tests := []struct {
		name string
		file []byte
		want [][]byte // nil: refused
	}{
		{"many on a page", oggPage(1, []byte{1, 2}, []byte{1, 2, 3}), [][]byte{{1}, {2, 3}}},
		{"longer than a segment", oggPage(1, []byte{255, 45}, long), [][]byte{long}},
		{"as long as a segment", oggPage(1, []byte{255, 0}, full), [][]byte{full}},
		{"across pages", append(oggPage(1, []byte{255}, long[:255]), oggPage(1, []byte{45}, long[255:])...), [][]byte{long}},
		{"empty last page", append(oggPage(1, []byte{1}, []byte{9}), oggPage(1, []byte{0}, nil)...), [][]byte{{9}}},
		{"ends in a packet", oggPage(1, []byte{255}, full), nil},
		{"body too short", oggPage(1, []byte{4}, []byte{1}), nil},
		{"two streams", append(oggPage(1, []byte{1}, []byte{1}), oggPage(2, []byte{1}, []byte{1})...), nil},
		{"not ogg", []byte("RIFF......................................"), nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			packets, err := oggPackets(test.file)
			if test.want == nil {
				require.ErrorIs(t, err, ErrFormat)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, test.want, packets)
		})
	}
}

func TestOpusDuration(t *testing.T) {
	tests := []struct {
		name   string
		packet []byte
		want   time.Duration // 0: refused
	}{
		{"celt 20 ms", []byte{31 << 3}, 20 * time.Millisecond},
		{"celt 2.5 ms", []byte{28 << 3}, 2500 * time.Microsecond},
		{"silk 60 ms", []byte{3 << 3}, 60 * time.Millisecond},
		{"two frames", []byte{31<<3 | 1}, 40 * time.Millisecond},
		{"six frames", []byte{31<<3 | 3, 6}, 120 * time.Millisecond},
		{"too long", []byte{31<<3 | 3, 7}, 0},
		{"no frames", []byte{31<<3 | 3, 0}, 0},
		{"count missing", []byte{31<<3 | 3}, 0},
		{"empty", nil, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, ok := opusDuration(test.packet)
			assert.Equal(t, test.want != 0, ok)
			if ok {
				assert.Equal(t, test.want, got)
			}
		})
	}
}

// TestEveryPrefix cuts short files at every length: none may panic, and none may yield more than the
// whole file does.
func TestEveryPrefix(t *testing.T) {
	for name, file := range seeds(t) {
		t.Run(name, func(t *testing.T) {
			whole := parseAny(t, file)
			for n := range file {
				assert.LessOrEqual(t, parseAny(t, file[:n]), whole, "prefix of %d bytes", n)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, file := range seeds(f) {
		f.Add(file)
	}
	f.Fuzz(func(t *testing.T, file []byte) { parseAny(t, file) })
}

// seeds are short beginnings of the clip's own files.
func seeds(tb testing.TB) map[string][]byte {
	files := map[string][]byte{"made.ivf": ivf("VP80", 30, 1, ivfFrame{0, keyframe}, ivfFrame{1, keyframe})}
	for name, size := range map[string]int{"90.ivf": 3293, "360.h264": 1500, "tone.ogg": 1357} { // where a sample ends
		data, err := media.ReadFile("media/" + name)
		require.NoError(tb, err)
		files[name] = data[:size]
	}
	return files
}

// parseAny tries every parser and returns how many samples came of it; a source must be able to loop.
func parseAny(t *testing.T, file []byte) (samples int) {
	for _, parse := range []func([]byte) (*Source, error){parseIVF, parseH264, parseOgg} {
		source, err := parse(file)
		if err != nil {
			continue
		}
		for range source.Samples() + 1 {
			_, duration, _ := source.Next()
			require.Positive(t, duration)
		}
		samples += source.Samples()
	}
	return samples
}
