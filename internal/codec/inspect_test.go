package codec_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"rheomesh/internal/codec"
)

// unhex decodes a payload drawn in hex; spaces are for the reader.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	require.NoError(t, err)
	return b
}

func TestNames(t *testing.T) {
	for _, row := range []struct {
		name string
		want codec.Codec
		kind string
		text string
	}{
		{"H264", codec.H264, "video", "H264"},
		{"h265", codec.H265, "video", "H265"},
		{"vp8", codec.VP8, "video", "VP8"},
		{"VP9", codec.VP9, "video", "VP9"},
		{"AV1", codec.AV1, "video", "AV1"},
		{"OPUS", codec.Opus, "audio", "opus"},
		{"PCMU", codec.PCMU, "audio", "PCMU"},
		{"pcma", codec.PCMA, "audio", "PCMA"},
		{"G722", codec.G722, "audio", "G722"},
		{"RED", codec.RED, "audio", "red"},
		{"rtx", codec.Unknown, "unknown", "unknown"},
		{"unknown", codec.Unknown, "unknown", "unknown"},
		{"", codec.Unknown, "unknown", "unknown"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, ok := codec.Parse(row.name)
			assert.Equal(t, row.want, got)
			assert.Equal(t, row.want != codec.Unknown, ok)
			assert.Equal(t, row.text, got.String())
			assert.Equal(t, row.kind, got.Kind().String())
		})
	}
	assert.Equal(t, "unknown", codec.Codec(200).String())
}

const (
	sps320 = "64000dacd94141fb011000000300100000030320f1429960" // High, 320x240, without the NAL header
	none   = int32(-1)
)

func TestInspect(t *testing.T) {
	for _, row := range []struct {
		name    string
		codec   codec.Codec
		payload string
		want    codec.Info
	}{
		{"audio is always a keyframe", codec.Opus, "fc", codec.Info{Keyframe: true, FrameStart: true, PictureID: none}},
		{"redundant audio too", codec.RED, "6f", codec.Info{Keyframe: true, FrameStart: true, PictureID: none}},
		{"empty audio tells nothing", codec.Opus, "", codec.Info{PictureID: none}},
		{"unknown codec tells nothing", codec.Unknown, "6588", codec.Info{PictureID: none}},

		{"H264 IDR", codec.H264, "6588", codec.Info{Keyframe: true, FrameStart: true, PictureID: none}},
		{"H264 second slice of an IDR", codec.H264, "6542", codec.Info{PictureID: none}},
		{"H264 slice", codec.H264, "419a", codec.Info{FrameStart: true, PictureID: none}},
		{"H264 second slice", codec.H264, "4142", codec.Info{PictureID: none}},
		{"H264 SPS", codec.H264, "67" + sps320, codec.Info{Keyframe: true, ParameterSet: true, FrameStart: true, Width: 320, Height: 240, PictureID: none}},
		{"H264 PPS", codec.H264, "68ee3c80", codec.Info{ParameterSet: true, FrameStart: true, PictureID: none}},
		{"H264 SEI", codec.H264, "0605", codec.Info{FrameStart: true, PictureID: none}},
		{"H264 filler", codec.H264, "0cff", codec.Info{PictureID: none}},
		{"H264 aggregate of SPS and PPS", codec.H264, "78 0019 67" + sps320 + "0004 68ee3c80", codec.Info{Keyframe: true, ParameterSet: true, FrameStart: true, Width: 320, Height: 240, PictureID: none}},
		{"H264 aggregate of PPS and IDR", codec.H264, "78 0004 68ee3c80 0002 6588", codec.Info{Keyframe: true, ParameterSet: true, FrameStart: true, PictureID: none}},
		{"H264 aggregate of slices", codec.H264, "78 0002 419a 0002 4142", codec.Info{FrameStart: true, PictureID: none}},
		{"H264 aggregate with an empty unit", codec.H264, "78 0000 0002 6588", codec.Info{PictureID: none}},
		{"H264 aggregate with a unit too long", codec.H264, "78 0003 6588", codec.Info{PictureID: none}},
		{"H264 fragment start of an IDR", codec.H264, "7c85 88", codec.Info{Keyframe: true, FrameStart: true, PictureID: none}},
		{"H264 fragment middle of an IDR", codec.H264, "7c05 88", codec.Info{PictureID: none}},
		{"H264 fragment end of an IDR", codec.H264, "7c45 88", codec.Info{PictureID: none}},
		{"H264 fragment start of a slice", codec.H264, "5c81 9a", codec.Info{FrameStart: true, PictureID: none}},
		{"H264 fragment of a second slice of an IDR", codec.H264, "7c85 42", codec.Info{PictureID: none}},

		{"H265 IDR_W_RADL", codec.H265, "2601 af", codec.Info{Layered: true, Keyframe: true, FrameStart: true, PictureID: none}},
		{"H265 CRA", codec.H265, "2a01 80", codec.Info{Layered: true, Keyframe: true, FrameStart: true, PictureID: none}},
		{"H265 second segment of an IDR", codec.H265, "2601 2f", codec.Info{Layered: true, PictureID: none}},
		{"H265 reserved IRAP", codec.H265, "2c01 80", codec.Info{Layered: true, FrameStart: true, PictureID: none}},
		{"H265 trailing picture of temporal layer 2", codec.H265, "0203 80", codec.Info{Layered: true, FrameStart: true, Temporal: 2, PictureID: none}},
		{"H265 TID 0 is forbidden and read as the lowest", codec.H265, "0200 80", codec.Info{Layered: true, FrameStart: true, PictureID: none}},
		{"H265 header cut", codec.H265, "26", codec.Info{PictureID: none}},
		{"H265 slice cut", codec.H265, "2601", codec.Info{Layered: true, PictureID: none}},
		{"H265 prefix SEI", codec.H265, "4e01", codec.Info{Layered: true, FrameStart: true, PictureID: none}},
		{"H265 VPS", codec.H265, "4001 0c", codec.Info{Layered: true, Keyframe: true, ParameterSet: true, FrameStart: true, PictureID: none}},
		{"H265 PPS", codec.H265, "4401 c1", codec.Info{Layered: true, ParameterSet: true, FrameStart: true, PictureID: none}},
		{"H265 suffix SEI", codec.H265, "5001 c1", codec.Info{Layered: true, PictureID: none}},
		{"H265 aggregate of PPS and IDR", codec.H265, "6001 0003 4401c1 0003 2601af", codec.Info{Layered: true, Keyframe: true, ParameterSet: true, FrameStart: true, PictureID: none}},
		{"H265 aggregate with a unit too short", codec.H265, "6001 0001 26 0003 2601af", codec.Info{Layered: true, PictureID: none}},
		{"H265 fragment start of an IDR", codec.H265, "6201 93 af", codec.Info{Layered: true, Keyframe: true, FrameStart: true, PictureID: none}},
		{"H265 fragment middle of an IDR", codec.H265, "6201 13 af", codec.Info{Layered: true, PictureID: none}},

		{"VP8 keyframe", codec.VP8, "10 d00200 9d012a 4001 f000", codec.Info{Layered: true, Keyframe: true, FrameStart: true, Width: 320, Height: 240, PictureID: none}},
		{"VP8 keyframe with scaling bits", codec.VP8, "10 d00200 9d012a 4041 f080", codec.Info{Layered: true, Keyframe: true, FrameStart: true, Width: 320, Height: 240, PictureID: none}},
		{"VP8 keyframe without its start code", codec.VP8, "10 d00200 9d012b 4001 f000", codec.Info{Layered: true, Keyframe: true, FrameStart: true, PictureID: none}},
		{"VP8 delta frame", codec.VP8, "10 d1", codec.Info{Layered: true, FrameStart: true, PictureID: none}},
		{"VP8 second partition", codec.VP8, "11 d0", codec.Info{Layered: true, PictureID: none}},
		{"VP8 continuation", codec.VP8, "00 d0", codec.Info{Layered: true, PictureID: none}},
		{"VP8 descriptor alone", codec.VP8, "10", codec.Info{Layered: true, PictureID: none}},
		{"VP8 short picture id", codec.VP8, "9080 11 d1", codec.Info{Layered: true, FrameStart: true, PictureID: 17, PictureIDOffset: 2}},
		{
			"VP8 all fields", codec.VP8, "90f0 ffff 2a b1 d1",
			codec.Info{
				Layered: true, FrameStart: true, SwitchPoint: true, Temporal: 2, PictureID: 32767, PictureIDOffset: 2, PictureIDLong: true,
				TL0PicIdx: 42, TL0PicIdxOffset: 4, KeyIdx: 17, KeyIdxOffset: 5,
			},
		},
		{"VP8 key index without a layer", codec.VP8, "9010 ff d1", codec.Info{Layered: true, FrameStart: true, KeyIdx: 31, KeyIdxOffset: 2, PictureID: none}},
		{"VP8 layer without a key index", codec.VP8, "9020 40 d1", codec.Info{Layered: true, FrameStart: true, Temporal: 1, PictureID: none}},
		{"VP8 picture id cut", codec.VP8, "90f0 ff", codec.Info{Layered: true, PictureID: none}},
		{"VP8 flags cut", codec.VP8, "90", codec.Info{Layered: true, PictureID: none}},
		{"VP8 layer index cut", codec.VP8, "9040", codec.Info{Layered: true, PictureID: none}},
		{"VP8 key index cut", codec.VP8, "9010", codec.Info{Layered: true, PictureID: none}},

		{"VP9 keyframe", codec.VP9, "0c 82 498342 00 13f0 0ef0", codec.Info{Layered: true, Keyframe: true, FrameStart: true, FrameEnd: true, Width: 320, Height: 240, PictureID: none}},
		{"VP9 keyframe of profile 1", codec.VP9, "08 a2 498342 00 027e 01de", codec.Info{Layered: true, Keyframe: true, FrameStart: true, Width: 320, Height: 240, PictureID: none}},
		{"VP9 keyframe of profile 2, 10 bits", codec.VP9, "08 92 498342 00 09f8 0778", codec.Info{Layered: true, Keyframe: true, FrameStart: true, Width: 320, Height: 240, PictureID: none}},
		{"VP9 keyframe of profile 1, RGB", codec.VP9, "08 a2 498342 e0 13f0 0ef0", codec.Info{Layered: true, Keyframe: true, FrameStart: true, Width: 320, Height: 240, PictureID: none}},
		{"VP9 keyframe without its sync code", codec.VP9, "08 82 498343 00 13f0 0ef0", codec.Info{Layered: true, Keyframe: true, FrameStart: true, PictureID: none}},
		{"VP9 delta frame", codec.VP9, "48 86", codec.Info{Layered: true, Predicted: true, FrameStart: true, PictureID: none}},
		{"VP9 delta frame of a sender without P", codec.VP9, "08 86", codec.Info{Layered: true, FrameStart: true, PictureID: none}},
		{"VP9 shows an earlier frame", codec.VP9, "08 8a", codec.Info{Layered: true, FrameStart: true, PictureID: none}},
		{"VP9 delta frame of profile 3", codec.VP9, "08 b2", codec.Info{Layered: true, FrameStart: true, PictureID: none}},
		{"VP9 descriptor alone", codec.VP9, "08", codec.Info{Layered: true, PictureID: none}},
		{"VP9 keyframe, not its start", codec.VP9, "04 86", codec.Info{Layered: true, FrameEnd: true, PictureID: none}},
		{
			"VP9 layers, not flexible", codec.VP9, "a8 ffff 5420 86",
			codec.Info{Layered: true, FrameStart: true, SwitchPoint: true, Temporal: 2, Spatial: 2, PictureID: 32767, PictureIDOffset: 1, PictureIDLong: true, TL0PicIdx: 32, TL0PicIdxOffset: 4},
		},
		{"VP9 layers, flexible with references", codec.VP9, "f8 05 24 03 02 86", codec.Info{Layered: true, Predicted: true, Flexible: true, References: [3]uint8{1, 1}, FrameStart: true, Temporal: 1, Spatial: 2, PictureID: 5, PictureIDOffset: 1}},
		{"VP9 lowest layer of a keyframe", codec.VP9, "28 00 07 82", codec.Info{Layered: true, Keyframe: true, FrameStart: true, PictureID: none, TL0PicIdx: 7, TL0PicIdxOffset: 2}},
		{"VP9 upper layer of a keyframe", codec.VP9, "28 03 07 86", codec.Info{Layered: true, InterLayer: true, FrameStart: true, Spatial: 1, PictureID: none, TL0PicIdx: 7, TL0PicIdxOffset: 2}},
		{
			"VP9 structure of three layers", codec.VP9, "0a 58 0140 00b4 0280 0168 0500 02d0 02 00 04 01 82",
			codec.Info{Layered: true, SizesOffset: 2, Keyframe: true, FrameStart: true, SpatialLayers: 3, Width: 1280, Height: 720, PictureID: none},
		},
		{"VP9 structure without sizes", codec.VP9, "0a 20 82", codec.Info{Layered: true, Keyframe: true, FrameStart: true, SpatialLayers: 2, PictureID: none}},
		{"VP9 structure with references cut", codec.VP9, "0a 08 01 0c 01", codec.Info{Layered: true, SpatialLayers: 1, PictureID: none}},
		{"VP9 structure missing", codec.VP9, "0a", codec.Info{Layered: true, PictureID: none}},
		{"VP9 structure with sizes cut", codec.VP9, "0a 10 0140 00", codec.Info{Layered: true, PictureID: none}},
		{"VP9 structure without its picture count", codec.VP9, "0a 08", codec.Info{Layered: true, SpatialLayers: 1, PictureID: none}},
		{"VP9 structure with pictures cut", codec.VP9, "0a 08 02 00", codec.Info{Layered: true, SpatialLayers: 1, PictureID: none}},
		{"VP9 at most three references", codec.VP9, "58 01 01 01 86", codec.Info{Layered: true, Predicted: true, Flexible: true, FrameStart: true, PictureID: none}},
		{"VP9 references cut", codec.VP9, "58 01", codec.Info{Layered: true, Predicted: true, Flexible: true, PictureID: none}},
		{"VP9 picture id cut", codec.VP9, "88 ff", codec.Info{Layered: true, PictureID: none}},
		{"VP9 layers cut", codec.VP9, "28", codec.Info{Layered: true, PictureID: none}},
		{"VP9 base layer index cut", codec.VP9, "28 02", codec.Info{Layered: true, Spatial: 1, PictureID: none}},

		{"AV1 new sequence", codec.AV1, "18 30 10", codec.Info{Keyframe: true, FrameStart: true, PictureID: none}},
		{"AV1 new sequence cannot be a continuation", codec.AV1, "98 30 10", codec.Info{PictureID: none}},
		{"AV1 frame", codec.AV1, "10 30 10", codec.Info{FrameStart: true, PictureID: none}},
		{"AV1 frame with layers", codec.AV1, "10 34 48 10", codec.Info{Layered: true, FrameStart: true, Temporal: 2, Spatial: 1, PictureID: none}},
		{"AV1 continuation, then a frame with layers", codec.AV1, "a0 01 ff 34 28 10", codec.Info{Layered: true, FrameStart: true, Temporal: 1, Spatial: 1, PictureID: none}},
		{"AV1 tile group", codec.AV1, "10 20 10", codec.Info{PictureID: none}},
		{"AV1 size field in the OBU", codec.AV1, "10 32 01 10", codec.Info{FrameStart: true, PictureID: none}},
		{"AV1 empty element, then a frame", codec.AV1, "20 00 30 10", codec.Info{FrameStart: true, PictureID: none}},
		{"AV1 layer ids cut", codec.AV1, "10 34", codec.Info{PictureID: none}},
		{"AV1 size field cut", codec.AV1, "10 32", codec.Info{PictureID: none}},
		{"AV1 every element with its length", codec.AV1, "00 02 20ff 02 30ff", codec.Info{FrameStart: true, PictureID: none}},
		{"AV1 element too long", codec.AV1, "00 05 30", codec.Info{PictureID: none}},
		{"AV1 length without an end", codec.AV1, "00 ffffffffffffffffff 30", codec.Info{PictureID: none}},
		{"AV1 length beyond 63 bits", codec.AV1, "00 ffffffffffffff7f 30", codec.Info{PictureID: none}},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := codec.Info{Keyframe: true, Width: 1, SpatialLayers: 9} // must be overwritten
			codec.Inspect(row.codec, unhex(t, row.payload), &got)
			assert.Equal(t, row.want, got)
		})
	}
}

// Sequence parameter sets as x264 and x265 write them.
func TestInspectSizeOfParameterSets(t *testing.T) {
	for _, row := range []struct {
		name          string
		codec         codec.Codec
		sps           string
		width, height uint16
	}{
		{"H264 baseline, cropped", codec.H264, "6742c01fda014016faac0440000003004000000c83c60ca8", 1278, 718},
		{"H264 main, cropped", codec.H264, "674d4028eca0280113d4b808800000030080000019078c18cb", 1278, 1080},
		{"H264 main, interlaced", codec.H264, "674d4028eca0280227abc044000003000400000300c87c58b658", 1278, 1080},
		{"H264 high", codec.H264, "67640028acd940500227a97011000003000100000300320f183196", 1278, 1080},
		{"H264 high, interlaced", codec.H264, "67640028acd94050044f57808800000300080000030190f8b16cb0", 1278, 1080},
		{"H264 high, cut", codec.H264, "6764000dacd9", 0, 0},
		{"H264 high 10", codec.H264, "676e001fa6cb402802df5580880000030008000003019078c195", 1278, 718},
		{"H264 high 4:2:2", codec.H264, "677a001fbcb402802df57808800000030080000019078c1950", 1278, 718},
		{"H264 high 4:2:2, interlaced", codec.H264, "677a0020bce80500bbd4560220000003002000000643e2c5d4", 1278, 718},
		{"H264 high 4:4:4", codec.H264, "67f4001f9196805005beef011000000300100000030320f1832a", 1278, 718},
		{"H264 high 4:4:4, interlaced", codec.H264, "67f40020919d00a0177b8ac044000003000400000300c87c58ba80", 1278, 718},
		{"H265 main", codec.H265, "42010101600000030090000003000003005da00280802d1d56595952930bc05a020000030002000003003210", 1278, 718},
		{"H265 4:2:2", codec.H265, "4201010408000003009d0800000300005db00280802d1d5e595952930bc05a020000030002000003003210", 1278, 718},
		{"H265 4:4:4", codec.H265, "42010104080000 03009e0800000300005d9000501005a3bbcb2b2a5261780b4040000003004000000642", 1278, 718},
		{"H265 main 10", codec.H265, "42010102200000030090000003000003005da00280802d1d536595952930bc05a02000000300200000030321", 1278, 718},
		{"H265 temporal sub-layers", codec.H265, "42010201600000030090000003000003005d0000a00280802d1d5659594aca94985e02d0100000030010000003019080", 1278, 718},
	} {
		t.Run(row.name, func(t *testing.T) {
			var info codec.Info
			codec.Inspect(row.codec, unhex(t, row.sps), &info)
			assert.Equal(t, row.width, info.Width)
			assert.Equal(t, row.height, info.Height)
			assert.True(t, info.ParameterSet)
		})
	}
}

// bitWriter writes the parameter sets that no encoder at hand produces.
type bitWriter struct {
	bytes []byte
	used  int // bits in the last byte, 0 when a new one is due
}

func (w *bitWriter) bits(n int, v uint64) *bitWriter {
	for n--; n >= 0; n-- {
		if w.used == 0 {
			w.bytes = append(w.bytes, 0)
		}
		w.bytes[len(w.bytes)-1] |= byte(v>>n&1) << (7 - w.used)
		w.used = (w.used + 1) % 8
	}
	return w
}

func (w *bitWriter) ue(values ...uint64) *bitWriter {
	for _, v := range values {
		n := 0
		for ; (v+1)>>n > 1; n++ {
		}
		w.bits(n, 0).bits(n+1, v+1)
	}
	return w
}

func TestInspectH264RareSyntax(t *testing.T) {
	size := func(w *bitWriter) (uint16, uint16) {
		var info codec.Info
		codec.Inspect(codec.H264, append([]byte{0x67}, append(w.bytes, 0x80, 0x80)...), &info)
		return info.Width, info.Height
	}
	high := func() *bitWriter { return new(bitWriter).bits(8, 100).bits(16, 0xff1e).ue(0) }
	tail := func(w *bitWriter) *bitWriter { // poc type 0, one reference, 20 x 15 macroblocks, frames only, no crop
		return w.ue(0, 0, 0, 1).bits(1, 0).ue(19, 14).bits(1, 1).bits(1, 1).bits(1, 0).bits(1, 0)
	}
	t.Run("scaling lists", func(t *testing.T) {
		w := high().ue(1, 0, 0).bits(1, 0).bits(1, 1)
		for i := range 8 {
			switch i {
			case 0: // 16 differences of +1: se(1) is ue(1)
				w.bits(1, 1)
				for range 16 {
					w.ue(1)
				}
			case 1: // "use default": the first difference, -8, gives 0 and nothing follows
				w.bits(1, 1).ue(16)
			case 7:
				w.bits(1, 1)
				for range 64 {
					w.ue(0)
				}
			default:
				w.bits(1, 0)
			}
		}
		width, height := size(tail(w))
		assert.Equal(t, [2]uint16{320, 240}, [2]uint16{width, height})
	})
	t.Run("separate colour planes crop in single samples", func(t *testing.T) {
		w := new(bitWriter).bits(8, 244).bits(16, 0xff1e).ue(0).ue(3).bits(1, 1).ue(0, 0).bits(1, 0).bits(1, 0)
		w.ue(0, 0, 0, 1).bits(1, 0).ue(19, 14).bits(1, 1).bits(1, 1).bits(1, 1).ue(1, 2, 3, 4)
		width, height := size(w)
		assert.Equal(t, [2]uint16{317, 233}, [2]uint16{width, height})
	})
	t.Run("picture order type 1", func(t *testing.T) {
		w := new(bitWriter).bits(8, 66).bits(16, 0xc01e).ue(0)
		w.ue(0, 1).bits(1, 0).ue(3, 4, 2, 5, 6).ue(1).bits(1, 0).ue(19, 14).bits(1, 1).bits(1, 1).bits(1, 0).bits(1, 0)
		width, height := size(w)
		assert.Equal(t, [2]uint16{320, 240}, [2]uint16{width, height})
	})
	t.Run("more crop than picture", func(t *testing.T) {
		w := new(bitWriter).bits(8, 66).bits(16, 0xc01e).ue(0)
		w.ue(0, 0, 0, 1).bits(1, 0).ue(0, 0).bits(1, 1).bits(1, 1).bits(1, 1).ue(4, 4, 0, 0)
		width, height := size(w)
		assert.Zero(t, width)
		assert.Zero(t, height)
	})
	t.Run("absurd size", func(t *testing.T) {
		w := new(bitWriter).bits(8, 66).bits(16, 0xc01e).ue(0)
		w.ue(0, 0, 0, 1).bits(1, 0).ue(1<<32-2, 14).bits(1, 1).bits(1, 1).bits(1, 0).bits(1, 0)
		width, height := size(w)
		assert.Zero(t, width)
		assert.Zero(t, height)
	})
}

// Two sub-layers that have profile and level of their own, a conformance window, and 4:2:2 chroma.
func TestInspectH265SubLayers(t *testing.T) {
	w := new(bitWriter).bits(8, 0x42).bits(8, 1).bits(4, 0).bits(3, 2).bits(1, 1)
	profile := func() *bitWriter { return w.bits(8, 1).bits(32, 1<<31|1<<30).bits(32, 0xffffffff).bits(16, 0xffff) }
	profile().bits(8, 93)
	w.bits(2, 3).bits(2, 1).bits(12, 0) // the first has both, the second a level only
	profile().bits(8, 60)
	w.bits(8, 90)
	w.ue(0, 2, 640, 368).bits(1, 1).ue(1, 2, 3, 5)
	var info codec.Info
	codec.Inspect(codec.H265, append(w.bytes, 0x80), &info)
	assert.Equal(t, [2]uint16{640 - 6, 368 - 8}, [2]uint16{info.Width, info.Height})
}

func TestInspectAV1SequenceHeader(t *testing.T) {
	inspect := func(w *bitWriter) (info codec.Info) {
		codec.Inspect(codec.AV1, append([]byte{0x18, 0x08}, w.bytes...), &info)
		return info
	}
	size := func(w *bitWriter) *bitWriter { return w.bits(4, 9).bits(4, 8).bits(10, 639).bits(9, 359) }
	t.Run("timing, decoder model and three spatial layers", func(t *testing.T) {
		w := new(bitWriter).bits(3, 0).bits(2, 0)
		w.bits(1, 1).bits(32, 1).bits(32, 30).bits(1, 1).ue(2)    // timing
		w.bits(1, 1).bits(5, 9).bits(32, 1).bits(5, 3).bits(5, 3) // decoder model, delays of 10 bits
		w.bits(1, 1).bits(5, 1)                                   // display delay, two operating points
		w.bits(12, 0x703).bits(5, 9).bits(1, 1).bits(1, 1).bits(21, 5).bits(1, 1).bits(4, 2)
		w.bits(12, 0x101).bits(5, 1).bits(1, 0).bits(1, 0)
		got := inspect(size(w))
		assert.Equal(t, codec.Info{Keyframe: true, ParameterSet: true, FrameStart: true, SpatialLayers: 3, Width: 640, Height: 360, PictureID: none}, got)
	})
	t.Run("reduced still picture", func(t *testing.T) {
		got := inspect(size(new(bitWriter).bits(3, 0).bits(2, 3).bits(5, 0)))
		assert.Equal(t, [2]uint16{640, 360}, [2]uint16{got.Width, got.Height})
	})
	t.Run("cut", func(t *testing.T) {
		got := inspect(new(bitWriter).bits(3, 0).bits(2, 3).bits(5, 0).bits(4, 15).bits(4, 15).bits(16, 9))
		assert.Equal(t, codec.Info{Keyframe: true, ParameterSet: true, FrameStart: true, PictureID: none}, got)
	})
}

func TestH264ProfileLevelID(t *testing.T) {
	assert.Equal(t, "42c01f", codec.H264ProfileLevelID(unhex(t, "6742c01fda")))
	assert.Equal(t, "64000d", codec.H264ProfileLevelID(unhex(t, "2764000d")))
	assert.Empty(t, codec.H264ProfileLevelID(unhex(t, "6742c0")), "cut")
	assert.Empty(t, codec.H264ProfileLevelID(unhex(t, "6842c01f")), "not an SPS")
	assert.Empty(t, codec.H264ProfileLevelID(nil))
}
