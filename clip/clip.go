package clip

import (
	"embed"
	"fmt"
	"sync"
)

//go:embed media
var media embed.FS

// Size names one of the sizes in which the clip exists in VP8.
type Size int

// The sizes, from the largest; the three together make a simulcast.
const (
	Large  Size = iota // 640x360
	Medium             // 320x180
	Small              // 160x90
)

// Each file is parsed once, at its first use; the sources share the samples.
var (
	vp8 = [...]func() *Source{
		Large:  embedded("media/360.ivf", parseIVF),
		Medium: embedded("media/180.ivf", parseIVF),
		Small:  embedded("media/90.ivf", parseIVF),
	}
	h264 = embedded("media/360.h264", parseH264)
	opus = embedded("media/tone.ogg", parseOgg)
)

// VP8 returns a new source at the first frame of the clip in VP8.
func VP8(size Size) *Source { return vp8[size]().fork() }

// H264 returns a new source at the first frame of the clip in H.264 constrained baseline, 640x360.
// Parameter sets stand before each keyframe; samples are in the byte stream format of Annex B.
func H264() *Source { return h264().fork() }

// Opus returns a new source at the first packet of the clip's sound: stereo, 20 ms a packet.
func Opus() *Source { return opus().fork() }

// embedded returns a function that parses a file of the clip at its first call. A file that does not
// parse is a defect of the build, so it panics.
func embedded(name string, parse func([]byte) (*Source, error)) func() *Source {
	return sync.OnceValue(func() *Source {
		data, err := media.ReadFile(name)
		if err != nil {
			panic(fmt.Sprintf("clip %s: %v", name, err))
		}
		source, err := parse(data)
		if err != nil {
			panic(fmt.Sprintf("clip %s: %v", name, err))
		}
		return source
	})
}
