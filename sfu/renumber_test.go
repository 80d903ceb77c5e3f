package sfu

import (
	"testing"

	"github.com/stretchr/testify/require"

	"rheomesh/internal/codec"
)

// A layer's own frame numbers become the viewer's next ones, in the payload and at the place where they stand, and wrap as they do.
func TestFrameNumbersGoOn(t *testing.T) {
	// VP8 descriptor with X, S; I, L, T; PictureID; TL0PICIDX; TID (RFC 7741 section 4.2).
	long := []byte{0x90, 0xe0, 0x80 | 0x12, 0x34, 0x05, 0x20, 0x11, 0x00}
	short := []byte{0x90, 0xe0, 0x7e, 0xff, 0x20, 0x11, 0x00}
	for _, row := range []struct {
		name    string
		payload []byte
		segment segment
		want    []byte
	}{
		{"15 bits", long, segment{pictureShift: 1, tl0Shift: 2}, []byte{0x90, 0xe0, 0x80 | 0x12, 0x35, 0x07, 0x20, 0x11, 0x00}},
		{"15 bits wrap", long, segment{pictureShift: 0x7fff - 0x1234 + 1}, []byte{0x90, 0xe0, 0x80, 0x00, 0x05, 0x20, 0x11, 0x00}},
		{"7 bits wrap", short, segment{pictureShift: 3, tl0Shift: 1}, []byte{0x90, 0xe0, 0x01, 0x00, 0x20, 0x11, 0x00}},
		{"none", []byte{0x10, 0x11}, segment{pictureShift: 3, tl0Shift: 1}, []byte{0x10, 0x11}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var info codec.Info
			codec.Inspect(codec.VP8, row.payload, &info)
			numbers, got := frameNumbers(&info), append([]byte(nil), row.payload...)
			row.segment.apply(&numbers, 0, got)
			require.Equal(t, row.want, got)
		})
	}
}
