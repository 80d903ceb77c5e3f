// Package bitstream reads the few facts that a sender and a player need from coded pictures: whether a
// picture is a keyframe, how large it is, and how fast the pictures follow each other. It is a leaf:
// functions of bytes, no state, and no input makes it panic.
//
// The package is deliberately apart from the server's own codec parsing, so that our clients judge a
// server by other code than the server itself uses.
package bitstream

import (
	"errors"
	"fmt"

	"github.com/pion/rtp/codecs/vp9"
)

// ErrShort says that the bytes end before the fact that was asked for.
var ErrShort = errors.New("bitstream too short")

// ErrInvalid says that the bytes are not of the claimed format.
var ErrInvalid = errors.New("bitstream invalid")

// Picture is what a coded picture says about itself. Width and Height are in pixels, and zero when the
// picture does not carry them.
type Picture struct {
	Keyframe      bool
	Width, Height int
}

// VP8 reads the uncompressed data chunk of a VP8 frame (RFC 6386 §9.1).
func VP8(frame []byte) (Picture, error) {
	if len(frame) < 3 {
		return Picture{}, fmt.Errorf("vp8 frame tag: %w", ErrShort)
	}
	if frame[0]&1 != 0 { // the bit is inverted: 0 is a keyframe
		return Picture{}, nil
	}
	if len(frame) < 10 {
		return Picture{}, fmt.Errorf("vp8 keyframe header: %w", ErrShort)
	}
	if frame[3] != 0x9d || frame[4] != 0x01 || frame[5] != 0x2a {
		return Picture{}, fmt.Errorf("vp8 start code: %w", ErrInvalid)
	}
	// Fourteen bits of size; the upper two ask the renderer to scale.
	return Picture{
		Keyframe: true,
		Width:    int(frame[7]&0x3f)<<8 | int(frame[6]),
		Height:   int(frame[9]&0x3f)<<8 | int(frame[8]),
	}, nil
}

// VP9 reads the uncompressed header of a VP9 frame.
func VP9(frame []byte) (Picture, error) {
	var header vp9.Header
	if err := header.Unmarshal(frame); err != nil {
		return Picture{}, fmt.Errorf("vp9 header: %w: %w", ErrInvalid, err)
	}
	if header.ShowExistingFrame || header.NonKeyFrame {
		return Picture{}, nil
	}
	return Picture{Keyframe: true, Width: int(header.Width()), Height: int(header.Height())}, nil
}

// AV1 OBU types (AV1 specification §6.2.2).
const av1SequenceHeader = 1

// AV1 reads a temporal unit in the low-overhead format, where every OBU carries its size. A unit with a
// sequence header is a keyframe: encoders for streaming put one before each and nowhere else.
func AV1(unit []byte) (Picture, error) {
	for len(unit) > 0 {
		header := unit[0]
		kind, extended, sized := header>>3&0x0f, header&4 != 0, header&2 != 0
		if header&0x80 != 0 {
			return Picture{}, fmt.Errorf("av1 obu forbidden bit: %w", ErrInvalid)
		}
		if kind == av1SequenceHeader {
			return Picture{Keyframe: true}, nil
		}
		if !sized {
			return Picture{}, nil // the last OBU may run to the end
		}
		skip := 1
		if extended {
			skip = 2
		}
		size, n := leb128(unit[min(skip, len(unit)):])
		if n == 0 || uint64(len(unit)-skip-n) < size {
			return Picture{}, fmt.Errorf("av1 obu size: %w", ErrShort)
		}
		unit = unit[skip+n+int(size):]
	}
	return Picture{}, nil
}

// leb128 reads an unsigned little-endian base-128 number of at most eight bytes (AV1 specification
// §4.10.5) and how many bytes it took; 0 bytes means that it does not end.
func leb128(b []byte) (value uint64, n int) {
	for n < min(len(b), 8) {
		value |= uint64(b[n]&0x7f) << (7 * n)
		n++
		if b[n-1]&0x80 == 0 {
			return value, n
		}
	}
	return 0, 0
}
