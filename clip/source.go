package clip

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pion/webrtc/v4"
)

// sample is one coded frame or packet. Its bytes are never changed.
type sample struct {
	data     []byte
	duration time.Duration
	keyframe bool
}

// Source is an endless loop over the samples of one medium. It belongs to one goroutine; sources of
// the same clip share their samples, which must not be changed.
type Source struct {
	codec         webrtc.RTPCodecCapability
	width, height int
	samples       []sample
	next          int // index of the sample that Next returns
}

// OpenVideo reads a video file into memory: VP8, VP9 or AV1 in IVF (.ivf), or an H.264 byte stream
// (.h264, .264). A byte stream without timing plays at 30 frames per second.
func OpenVideo(name string) (*Source, error) {
	switch extension(name) {
	case ".ivf":
		return open(name, parseIVF)
	case ".h264", ".264":
		return open(name, parseH264)
	}
	return nil, fmt.Errorf("open video %s: %w: want .ivf or .h264", name, ErrFormat)
}

// OpenAudio reads an audio file into memory: Opus in Ogg (.ogg, .opus).
func OpenAudio(name string) (*Source, error) {
	switch extension(name) {
	case ".ogg", ".opus":
		return open(name, parseOgg)
	}
	return nil, fmt.Errorf("open audio %s: %w: want .ogg", name, ErrFormat)
}

func extension(name string) string { return strings.ToLower(filepath.Ext(name)) }

func open(name string, parse func([]byte) (*Source, error)) (*Source, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	source, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return source, nil
}

// Codec describes the medium as an offer must: MIME type, clock rate, channels and parameters.
func (s *Source) Codec() webrtc.RTPCodecCapability { return s.codec }

// Size is the width and height of the first picture in pixels; zeros for sound, or if unknown.
func (s *Source) Size() (width, height int) { return s.width, s.height }

// Samples is how many samples one loop has.
func (s *Source) Samples() int { return len(s.samples) }

// Length is how long one loop lasts.
func (s *Source) Length() time.Duration {
	var length time.Duration
	for i := range s.samples {
		length += s.samples[i].duration
	}
	return length
}

// Next returns the next sample, how long it lasts, and whether decoding can begin with it; after the
// last it goes on with the first. The bytes are shared and must not be changed. Durations of a loop add
// up without rounding, so a sender that sums them does not drift.
func (s *Source) Next() (data []byte, duration time.Duration, keyframe bool) {
	current := &s.samples[s.next]
	s.next = (s.next + 1) % len(s.samples)
	return current.data, current.duration, current.keyframe
}

// SkipToKeyframe moves on until Next returns a keyframe; a source that stands at one stays.
func (s *Source) SkipToKeyframe() {
	for i := range s.samples {
		if at := (s.next + i) % len(s.samples); s.samples[at].keyframe {
			s.next = at
			return
		}
	}
}

// fork returns a source over the same samples that begins at the first.
func (s *Source) fork() *Source {
	copied := *s
	copied.next = 0
	return &copied
}
