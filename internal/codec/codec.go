// Package codec looks into RTP payloads just as far as forwarding needs: does a keyframe start here, to which layer does
// the packet belong, how large is the picture. It never decodes.
//
// Inspect is the one entry; each codec's payload format has a file of its own. A payload comes from the network, cut
// anywhere and full of lies, so every read is bounded, and what cannot be read is simply not told.
package codec

import "strings"

// Codec is a payload format by its SDP encoding name. The zero value is Unknown.
type Codec uint8

// The codecs that are forwarded.
const (
	Unknown Codec = iota
	H264          // RFC 6184
	H265          // RFC 7798
	VP8           // RFC 7741
	VP9           // RFC 9628
	AV1           // AOMedia, RTP Payload Format For AV1 (v1.0)
	Opus          // RFC 7587
	PCMU          // RFC 3551 section 4.5.14
	PCMA          // RFC 3551 section 4.5.14
	G722          // RFC 3551 section 4.5.2
	RED           // RFC 2198, redundant audio
)

// names by Codec, spelled as registered with IANA.
var names = [...]string{
	Unknown: "unknown", H264: "H264", H265: "H265", VP8: "VP8", VP9: "VP9", AV1: "AV1",
	Opus: "opus", PCMU: "PCMU", PCMA: "PCMA", G722: "G722", RED: "red",
}

// String returns the encoding name as it stands in an a=rtpmap line.
func (c Codec) String() string {
	if int(c) >= len(names) {
		return names[Unknown]
	}
	return names[c]
}

// Parse finds the codec of an encoding name; case does not matter (RFC 4855 section 3).
func Parse(name string) (Codec, bool) {
	for c := H264; int(c) < len(names); c++ {
		if strings.EqualFold(name, names[c]) {
			return c, true
		}
	}
	return Unknown, false
}

// Kind is what a track carries. The zero value belongs to Unknown codecs.
type Kind uint8

// The media kinds, as in an SDP m-line.
const (
	Audio Kind = iota + 1
	Video
)

// String returns the media name of the m-line.
func (k Kind) String() string {
	switch k {
	case Audio:
		return "audio"
	case Video:
		return "video"
	default:
		return "unknown"
	}
}

// Kind returns what the codec carries.
func (c Codec) Kind() Kind {
	switch c {
	case H264, H265, VP8, VP9, AV1:
		return Video
	case Opus, PCMU, PCMA, G722, RED:
		return Audio
	default:
		return 0
	}
}
