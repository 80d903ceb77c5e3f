package sdp

import (
	"strconv"
	"strings"
)

// affinity grades how well a receiver that offered one format can decode
// another.
type affinity int

const (
	noMatch affinity = iota
	// sameName: the last resort, H.264 of another packetization-mode. Decoders
	// mostly cope, so trying beats showing nothing.
	sameName
	// sameMode: the payload format agrees, the profile does not.
	sameMode
	// sameProfile: only the level differs.
	sameProfile
	exact
)

// Same reports whether both are one format: equal name, clock rate, channels
// and the parameters that define the format. PT and feedback do not matter.
func (c Codec) Same(other Codec) bool { return match(c, other) == exact }

// Compatible reports whether a viewer that offered b can be expected to decode
// what a publisher sends as a. The H.264 profile is not compared: encoders
// often send another one than they declare, and decoders read the real one
// from the stream.
func Compatible(a, b Codec) bool { return match(a, b) >= sameMode }

// Best picks from a viewer's codecs the one to carry what a publisher sends:
// the same format, else the same profile, else the same payload format, else
// the same name; among equals the one that the viewer listed first.
func Best(offered []Codec, sent Codec) (Codec, bool) {
	best, grade := Codec{}, noMatch
	for _, c := range offered {
		if g := match(sent, c); g > grade {
			best, grade = c, g
		}
	}
	return best, grade > noMatch
}

func match(a, b Codec) affinity {
	if !strings.EqualFold(a.Name, b.Name) || a.ClockRate != b.ClockRate || !sameChannels(a, b) {
		return noMatch
	}
	switch a.Name {
	case H264:
		return matchH264(a, b)
	case VP9:
		// A decoder for 8-bit profiles shows nothing of a 10-bit stream.
		if a.param("profile-id", "0") != b.param("profile-id", "0") {
			return noMatch
		}
	case AV1: // AV1 RTP payload §7.2.1
		if a.param("profile", "0") != b.param("profile", "0") {
			return sameMode
		}
	case H265: // RFC 7798 §7.1
		if a.param("profile-id", "1") != b.param("profile-id", "1") {
			return sameMode
		}
	}
	return exact
}

// sameChannels compares channel counts, where silence means one. Opus streams
// carry their own (RFC 7587 §7).
func sameChannels(a, b Codec) bool {
	return a.Name == Opus || max(a.Channels, 1) == max(b.Channels, 1)
}

// param is Param with the value that absence stands for.
func (c Codec) param(name, absent string) string {
	if value := c.Param(name); value != "" {
		return value
	}
	return absent
}

func matchH264(a, b Codec) affinity {
	if a.param("packetization-mode", "0") != b.param("packetization-mode", "0") { // RFC 6184 §8.1
		return sameName
	}
	profileA, profileB := parseH264Profile(a.Param("profile-level-id")), parseH264Profile(b.Param("profile-level-id"))
	switch {
	case profileA == profileB:
		return exact
	case profileA.name == profileB.name:
		return sameProfile
	}
	return sameMode
}

// h264Profile is a profile-level-id taken apart.
type h264Profile struct {
	// name is the profile that the constraint bits really mean, so that 42e0
	// and 42c0 are one.
	name  string
	level uint8
}

const constrainedBaseline = "constrained-baseline"

// parseH264Profile reads a profile-level-id (RFC 6184 §8.1). Absence stands for
// constrained baseline, as in libwebrtc. Some FFmpeg versions print the
// constraint byte with three digits (422001f): the flag 0x200 there marks
// constrained baseline.
func parseH264Profile(id string) h264Profile {
	if len(id) < 6 {
		return h264Profile{name: constrainedBaseline}
	}
	idc, err1 := strconv.ParseUint(id[:2], 16, 8)
	bits, err2 := strconv.ParseUint(id[2:len(id)-2], 16, 12)
	level, err3 := strconv.ParseUint(id[len(id)-2:], 16, 8)
	if err1 != nil || err2 != nil || err3 != nil {
		return h264Profile{name: strings.ToLower(id)}
	}
	if bits&0x200 != 0 {
		bits = 0x40
	}
	return h264Profile{name: h264ProfileName(uint8(idc), uint8(bits)), level: uint8(level)}
}

// h264ProfileName follows RFC 6184 table 5: profile_idc and the constraint
// flags set0 (0x80), set1 (0x40), set3 (0x10), set4 and set5 (0x0c).
func h264ProfileName(idc, bits uint8) string {
	const set0, set1 = 0x80, 0x40
	switch {
	case idc == 0x42 && bits&set1 != 0,
		idc == 0x4d && bits&set0 != 0,
		idc == 0x58 && bits&set0 != 0 && bits&set1 != 0:
		return constrainedBaseline
	case idc == 0x42, idc == 0x58 && bits&set0 != 0:
		return "baseline"
	case idc == 0x4d:
		return "main"
	case idc == 0x64 && bits == 0x0c:
		return "constrained-high"
	case idc == 0x64:
		return "high"
	}
	return strconv.FormatUint(uint64(idc)<<8|uint64(bits), 16)
}
