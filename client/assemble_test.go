package client

import (
	"testing"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"rheomesh/clip"
)

func newTestTrack(t *testing.T) *webrtc.TrackLocalStaticRTP {
	t.Helper()
	track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8}, "v", "s")
	require.NoError(t, err)
	return track
}

// VP8 payloads: descriptor, then the frame.
var (
	vp8Key   = []byte{0x10, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 160, 0, 90, 0}
	vp8Delta = []byte{0x10, 0x11, 0, 0}
	vp8More  = []byte{0x00, 9, 9, 9}
)

func TestAssembler(t *testing.T) {
	type verdict struct{ complete, decodable, keyframe bool }
	good, broken := verdict{true, true, false}, verdict{}
	key, undecodable := verdict{true, true, true}, verdict{true, false, false}
	tests := []struct {
		name    string
		packets []*packet
		want    []verdict
	}{
		{"keyframe in one packet", []*packet{made(1, 0, true, vp8Key...)}, []verdict{key}},
		{"keyframe in three", []*packet{made(1, 0, false, vp8Key...), made(2, 0, false, vp8More...), made(3, 0, true, vp8More...)}, []verdict{key}},
		{"delta frames follow", []*packet{made(1, 0, true, vp8Key...), made(2, 1, false, vp8Delta...), made(3, 1, true, vp8More...)}, []verdict{key, good}},
		{"begins with a delta", []*packet{made(1, 0, true, vp8Delta...), made(2, 1, true, vp8Key...)}, []verdict{undecodable, key}},
		{"begins inside a frame", []*packet{made(1, 0, true, vp8More...), made(2, 1, true, vp8Key...)}, []verdict{broken, key}},
		{"loses the middle", []*packet{made(1, 0, false, vp8Key...), made(3, 0, true, vp8More...)}, []verdict{{false, false, true}}},
		{"loses the end", []*packet{made(1, 0, false, vp8Key...), made(3, 1, true, vp8Delta...)}, []verdict{{false, false, true}, undecodable}},
		{"loses the start", []*packet{made(1, 0, true, vp8Key...), made(3, 1, true, vp8More...), made(4, 2, true, vp8Delta...)}, []verdict{key, broken, undecodable}},
		{"loses a whole frame", []*packet{made(1, 0, true, vp8Key...), made(3, 2, true, vp8Delta...), made(4, 3, true, vp8Key...)}, []verdict{key, undecodable, key}},
		{"no marker", []*packet{made(1, 0, false, vp8Key...), made(2, 1, true, vp8Delta...)}, []verdict{key, good}},
		{"padding between", []*packet{made(1, 0, true, vp8Key...), made(2, 0, false), made(3, 1, true, vp8Delta...)}, []verdict{key, good}},
		{"lost padding", []*packet{made(1, 0, true, vp8Key...), made(3, 0, false), made(4, 1, true, vp8Delta...)}, []verdict{key, undecodable}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			frames, _ := assembled(t, webrtc.MimeTypeVP8, test.packets...)
			var got []verdict
			for _, frame := range frames {
				got = append(got, verdict{frame.Complete, frame.Decodable, frame.Keyframe})
			}
			assert.Equal(t, test.want, got)
		})
	}
}

func TestAssemblerNeedsParameterSets(t *testing.T) {
	sps, pps, idr := []byte{0x67, 0x42, 0xc0, 0x1f}, []byte{0x68, 1}, []byte{0x65, 0x88, 1}
	tests := []struct {
		name    string
		packets []*packet
		want    []bool // decodable
	}{
		{"in the frame", []*packet{made(1, 0, false, sps...), made(2, 0, false, pps...), made(3, 0, true, idr...)}, []bool{true}},
		{"missing", []*packet{made(1, 0, true, idr...)}, []bool{false}},
		{"one missing", []*packet{made(1, 0, false, sps...), made(2, 0, true, idr...)}, []bool{false}},
		{"from before", []*packet{made(1, 0, false, sps...), made(2, 0, false, pps...), made(3, 0, true, idr...), made(5, 2, true, idr...)}, []bool{true, true}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			frames, _ := assembled(t, webrtc.MimeTypeH264, test.packets...)
			var got []bool
			for _, frame := range frames {
				got = append(got, frame.Decodable)
			}
			assert.Equal(t, test.want, got)
		})
	}
}

func TestAssemblerSound(t *testing.T) {
	frames, _ := assembled(t, webrtc.MimeTypeOpus, made(1, 0, false, 1), made(2, 960, false, 2), made(4, 2880, false, 3))
	require.Len(t, frames, 3)
	for _, frame := range frames {
		assert.True(t, frame.Decodable && frame.Keyframe && frame.Complete)
		data, err := frame.Data()
		require.NoError(t, err)
		assert.Len(t, data, 1)
	}
}

func TestAssemblerReset(t *testing.T) {
	frames, a := assembled(t, webrtc.MimeTypeVP8, made(1, 0, true, vp8Key...))
	require.True(t, frames[0].Decodable)
	a.reset(webrtc.MimeTypeVP8)
	assert.False(t, a.decoding, "another codec's keyframe does not count")
}

// TestFramesOfTheClip sends the clip through pion's payloaders: all frames must come out as they went in.
func TestFramesOfTheClip(t *testing.T) {
	tests := []struct {
		name          string
		source        *clip.Source
		payloader     rtp.Payloader
		width, height int
	}{
		{"vp8", clip.VP8(clip.Large), &codecs.VP8Payloader{EnablePictureID: true}, 640, 360},
		{"h264", clip.H264(), &codecs.H264Payloader{}, 640, 360},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var packets []*packet
			var sent [][]byte
			for i := range clip.Frames {
				data, _, _ := test.source.Next()
				sent = append(sent, data)
				payloads := test.payloader.Payload(maxPayloadBytes, data)
				for j, payload := range payloads {
					packets = append(packets, made(uint64(len(packets)+1), uint32(3000*i), j == len(payloads)-1, payload...))
				}
			}
			frames, _ := assembled(t, test.source.Codec().MimeType, packets...)
			require.Len(t, frames, clip.Frames)
			for i := range frames {
				assert.True(t, frames[i].Decodable, "frame %d", i)
				assert.Equal(t, i%clip.KeyframeInterval == 0, frames[i].Keyframe, "frame %d", i)
				data, err := frames[i].Data()
				require.NoError(t, err)
				assert.Equal(t, sent[i], data, "frame %d", i)
			}
			assert.Equal(t, [2]int{test.width, test.height}, [2]int{frames[0].width, frames[0].height})
			assert.Positive(t, frames[0].Packets())
		})
	}
}

func TestClassify(t *testing.T) {
	tests := []struct {
		name, codec string
		payload     []byte
		want        facts
	}{
		{"vp8 keyframe", webrtc.MimeTypeVP8, vp8Key, facts{start: true, keyframe: true, width: 160, height: 90}},
		{"vp8 delta", webrtc.MimeTypeVP8, vp8Delta, facts{start: true}},
		{"vp8 second partition", webrtc.MimeTypeVP8, []byte{0x11, 0, 0, 0}, facts{}},
		{"vp9 keyframe", webrtc.MimeTypeVP9, []byte{0x08, 0x82, 0x49, 0x83, 0x42, 0x00, 0x27, 0xf0, 0x16, 0x70, 0x00}, facts{start: true, keyframe: true, width: 640, height: 360}},
		{"vp9 inter", webrtc.MimeTypeVP9, []byte{0x48, 0x86, 0, 0}, facts{start: true}},
		{"vp9 continued", webrtc.MimeTypeVP9, []byte{0x00, 1, 2}, facts{}},
		{"vp9 structure", webrtc.MimeTypeVP9, []byte{0x2a, 0x00, 0x00, 0x30, 0x01, 0x40, 0x00, 0xb4, 0x02, 0x80, 0x01, 0x68, 1, 1}, facts{start: true, keyframe: true, width: 640, height: 360}},
		{"av1 sequence", webrtc.MimeTypeAV1, []byte{0x18, 0x0a}, facts{start: true, keyframe: true}},
		{"av1 other", webrtc.MimeTypeAV1, []byte{0x10, 0x32}, facts{}},
		{"h264 slice", webrtc.MimeTypeH264, []byte{0x41, 0x9a}, facts{start: true}},
		{"h264 later slice", webrtc.MimeTypeH264, []byte{0x41, 0x40}, facts{}},
		{"h264 idr", webrtc.MimeTypeH264, []byte{0x65, 0x88}, facts{start: true, keyframe: true}},
		{"h264 pps", webrtc.MimeTypeH264, []byte{0x68, 1}, facts{sets: setPPS}},
		{"h264 delimiter", webrtc.MimeTypeH264, []byte{0x09, 0xf0}, facts{start: true}},
		{"h264 aggregate", webrtc.MimeTypeH264, []byte{0x78, 0, 4, 0x67, 0x42, 0xc0, 0x1f, 0, 2, 0x68, 1, 0, 2, 0x65, 0x88}, facts{start: true, keyframe: true, sets: setSPS | setPPS}},
		{"h264 aggregate cut short", webrtc.MimeTypeH264, []byte{0x78, 0, 9, 0x67}, facts{}},
		{"h264 aggregate of nothing", webrtc.MimeTypeH264, []byte{0x78, 0, 0, 0x67}, facts{}},
		{"h264 first fragment", webrtc.MimeTypeH264, []byte{0x7c, 0x85, 0x88}, facts{start: true, keyframe: true}},
		{"h264 next fragment", webrtc.MimeTypeH264, []byte{0x7c, 0x05, 0x88}, facts{keyframe: true}},
		{"h265 idr", webrtc.MimeTypeH265, []byte{19 << 1, 1, 0x80}, facts{start: true, keyframe: true}},
		{"h265 trailing", webrtc.MimeTypeH265, []byte{1 << 1, 1, 0x80}, facts{start: true}},
		{"h265 sps", webrtc.MimeTypeH265, []byte{33 << 1, 1, 0}, facts{sets: setSPS}},
		{"h265 delimiter", webrtc.MimeTypeH265, []byte{35 << 1, 1, 0}, facts{start: true}},
		{"h265 aggregate", webrtc.MimeTypeH265, []byte{48 << 1, 1, 0, 3, 32 << 1, 1, 0, 0, 3, 33 << 1, 1, 0, 0, 3, 34 << 1, 1, 0}, facts{start: true, sets: setVPS | setSPS | setPPS}},
		{"h265 first fragment", webrtc.MimeTypeH265, []byte{49 << 1, 1, 0x80 | 19, 0x80}, facts{start: true, keyframe: true}},
		{"h265 next fragment", webrtc.MimeTypeH265, []byte{49 << 1, 1, 19, 0x80}, facts{keyframe: true}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			classify := formatOf(test.codec).classify
			assert.Equal(t, test.want, classify(test.payload))
			for n := range test.payload {
				classify(test.payload[:n]) // no prefix may panic
			}
		})
	}
}

func FuzzClassify(f *testing.F) {
	for _, seed := range [][]byte{vp8Key, {0x78, 0, 4, 0x67, 0x42, 0xc0, 0x1f}, {0x7c, 0x85, 0x88}, {48 << 1, 1, 0, 3, 32 << 1, 1, 0}, {0x2a, 0, 0, 0x30, 1, 0x40}} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		for _, codec := range []string{webrtc.MimeTypeVP8, webrtc.MimeTypeVP9, webrtc.MimeTypeAV1, webrtc.MimeTypeH264, webrtc.MimeTypeH265} {
			facts := formatOf(codec).classify(payload)
			if facts.width < 0 || facts.height < 0 {
				t.Errorf("%s: %dx%d", codec, facts.width, facts.height)
			}
			frame := Frame{Codec: codec, packets: []*packet{made(1, 0, true, payload...)}}
			_, _ = frame.Data()
		}
	})
}
