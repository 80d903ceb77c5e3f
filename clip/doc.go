// Package clip holds the sources that our publishers send: a built-in test clip of four seconds, and
// files given by the user. A Source is an endless loop over coded samples; it hands out bytes and says
// how long they last, and leaves pacing to the sender.
//
// The clip is rendered by make.sh and embedded: 640x360, 320x180 and 160x90 in VP8, 640x360 in H.264
// constrained baseline, and stereo Opus, 30 frames per second with a keyframe each second. It shows a
// clock with milliseconds, a bar that moves round without a jump at the loop's seam, a lamp that is lit
// for the first 100 ms of each second while the sound clicks, and a clock for machines:
//
//	(48,300)                                               on a picture of 640x360
//	  ┌──┐ ┌──┐ ┌──┐ ┌──┐ ┌──┐ ┌──┐ ┌──┐ ┌──┐ ┌──┐ ┌──┐
//	  │██│ │b6│ │b5│ │b4│ │b3│ │b2│ │b1│ │b0│ │ p│ │  │    cells of 40x40, pitch 56
//	  └──┘ └──┘ └──┘ └──┘ └──┘ └──┘ └──┘ └──┘ └──┘ └──┘
//
// The first cell is always white and the last always black. Between them are the seven bits of the
// frame's number in the loop, most significant first, white for one, and a bit p that makes the number
// of white cells among those eight even. Smaller pictures show the same at a half and a quarter of the
// size. A reader samples the middle of each cell against a threshold between the two markers.
package clip

import "time"

// The clip in time.
const (
	Frames           = 120                              // video frames in one loop
	FrameRate        = 30                               // frames per second
	KeyframeInterval = 30                               // frames from keyframe to keyframe: one second
	Length           = Frames * time.Second / FrameRate // one loop
)

// Geometry of the machine-readable clock, in pixels of a picture of ClockWidth x ClockHeight. Scale by
// the ratio of widths for another size.
const (
	ClockWidth  = 640
	ClockHeight = 360
	CellLeft    = 48  // left edge of cell 0
	CellTop     = 300 // upper edge of all cells
	CellSize    = 40  // width and height of a cell
	CellPitch   = 56  // from the left edge of a cell to that of the next
	Cells       = 10  // white marker, seven bits, parity, black marker
	ClockBits   = 7   // bits of the frame's number, from cell 1
)
