package codec_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"rheomesh/internal/codec"
)

func TestInspectLayers(t *testing.T) {
	for _, row := range []struct {
		name    string
		codec   codec.Codec
		payload string
		want    codec.Info
	}{
		{"H264 prefix unit of temporal layer 2", codec.H264, "6e 80 00 47", codec.Info{Layered: true, Temporal: 2, PictureID: none}},
		{"H264 prefix unit and slice in one packet", codec.H264, "78 0004 6e800027 0002 419a", codec.Info{Layered: true, Temporal: 1, FrameStart: true, PictureID: none}},
		{"H264 slice of an enhancement layer", codec.H264, "74 80 20 67 88", codec.Info{Layered: true, Spatial: 2, Temporal: 3, PictureID: none}},
		{"H264 prefix unit of multiview coding", codec.H264, "6e 00 00 47", codec.Info{PictureID: none}},
		{"H264 prefix unit cut", codec.H264, "6e 80 00", codec.Info{PictureID: none}},
		{"H265 TSA", codec.H265, "0602 80", codec.Info{Layered: true, Temporal: 1, FrameStart: true, SwitchPoint: true, SwitchAbove: true, PictureID: none}},
		{"H265 STSA", codec.H265, "0a03 80", codec.Info{Layered: true, Temporal: 2, FrameStart: true, SwitchPoint: true, PictureID: none}},
		{"H265 second slice of an STSA", codec.H265, "0803 00", codec.Info{Layered: true, Temporal: 2, SwitchPoint: true, PictureID: none}},
		{"H265 fragment middle of a TSA", codec.H265, "6202 02 ff", codec.Info{Layered: true, Temporal: 1, SwitchPoint: true, SwitchAbove: true, PictureID: none}},
		{"VP9 switch point in the lowest layer", codec.VP9, "68 10 07 86", codec.Info{Layered: true, Predicted: true, FrameStart: true, SwitchPoint: true, SwitchAbove: true, TL0PicIdx: 7, TL0PicIdxOffset: 2, PictureID: none}},
		{
			"VP9 three references", codec.VP9, "58 05 07 fe 86",
			codec.Info{Layered: true, Predicted: true, Flexible: true, FrameStart: true, References: [3]uint8{2, 3, 127}, PictureID: none},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			var got codec.Info
			codec.Inspect(row.codec, unhex(t, row.payload), &got)
			assert.Equal(t, row.want, got)
		})
	}
}

func TestLayerSize(t *testing.T) {
	payload := unhex(t, "0a 58 0140 00b4 0280 0168 0500 02d0 02 00 04 01 82")
	var info codec.Info
	codec.Inspect(codec.VP9, payload, &info)
	for spatial, want := range [][2]uint16{{320, 180}, {640, 360}, {1280, 720}} {
		width, height, ok := info.LayerSize(payload, uint8(spatial))
		assert.True(t, ok)
		assert.Equal(t, want, [2]uint16{width, height})
	}
	_, _, ok := info.LayerSize(payload, 3)
	assert.False(t, ok)
	codec.Inspect(codec.VP9, unhex(t, "0a 20 82"), &info)
	_, _, ok = info.LayerSize(payload, 0)
	assert.False(t, ok)
}
