package sdp

import (
	"strconv"
	"strings"
)

// Codec is one payload type of a section.
type Codec struct {
	PT uint8
	// Name is the encoding name in its usual spelling: H264, VP8, opus, rtx …
	Name      string
	ClockRate uint32
	// Channels is 0 for video, 1 for audio that does not say.
	Channels int
	// Fmtp holds the format parameters as offered, "" without.
	Fmtp string
	// Feedback lists RTCP feedback such as "nack pli" (RFC 4585 §4.2).
	Feedback []string
}

// Param returns a format parameter, "" when absent. Names match in any case.
func (c Codec) Param(name string) string {
	for param := range strings.SplitSeq(c.Fmtp, ";") {
		key, value, _ := strings.Cut(param, "=")
		if strings.EqualFold(strings.TrimSpace(key), name) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// APT is the payload type that this one retransmits (RFC 4588 §8.1).
func (c Codec) APT() (uint8, bool) { return parsePT(c.Param("apt")) }

// parsePT reads a payload type: 7 bits (RFC 3550 §5.1).
func parsePT(s string) (uint8, bool) {
	n, err := strconv.ParseUint(s, 10, 7)
	return uint8(n), err == nil
}

// The names that other packages compare with.
const (
	H264 = "H264"
	H265 = "H265"
	VP8  = "VP8"
	VP9  = "VP9"
	AV1  = "AV1"
	Opus = "opus"
	PCMU = "PCMU"
	PCMA = "PCMA"
	G722 = "G722"
	RED  = "red"
	RTX  = "rtx"
)

// spelling maps lower-case encoding names to the usual spelling. Names are
// case-insensitive (RFC 8866 §6.6), but some peers compare them exactly.
var spelling = map[string]string{
	"h264": H264, "h265": H265, "vp8": VP8, "vp9": VP9, "av1": AV1,
	"opus": Opus, "pcmu": PCMU, "pcma": PCMA, "g722": G722,
	"red": RED, "rtx": RTX, "ulpfec": "ulpfec", "flexfec-03": "flexfec-03",
	"telephone-event": "telephone-event", "cn": "CN",
}

// staticCodecs are the payload types that need no rtpmap (RFC 3551 §6).
var staticCodecs = map[uint8]Codec{
	0: {PT: 0, Name: PCMU, ClockRate: 8000, Channels: 1},
	8: {PT: 8, Name: PCMA, ClockRate: 8000, Channels: 1},
	9: {PT: 9, Name: G722, ClockRate: 8000, Channels: 1},
}

// setFormat reads an rtpmap value such as `OPUS/48000/2`, and reports whether
// it could.
func (c *Codec) setFormat(value string, kind Kind) bool {
	name, rest, _ := strings.Cut(value, "/")
	rate, channels, _ := strings.Cut(rest, "/")
	clock, err := strconv.ParseUint(strings.TrimSpace(rate), 10, 32)
	if err != nil || !isToken(name) {
		return false
	}
	if usual, ok := spelling[strings.ToLower(name)]; ok {
		name = usual
	}
	c.Name, c.ClockRate, c.Channels = name, uint32(clock), 0
	if kind == Audio {
		c.Channels = parseChannels(name, channels)
	}
	return true
}

// parseChannels reads a channel count. Opus always says 2, whatever it carries
// (RFC 7587 §7); other audio is mono when silent (RFC 8866 §6.6).
func parseChannels(name, s string) int {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 8)
	switch {
	case name == Opus:
		return 2
	case err != nil || n == 0:
		return 1
	}
	return int(n)
}
