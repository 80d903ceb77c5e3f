package sdp

import (
	"slices"
	"strings"
)

// carried are the codecs that we forward, in the order that errors list them.
// Their helpers rtx and red are negotiated along with them; FEC, comfort noise
// and telephone events are not.
var carried = map[Kind][]string{
	Audio: {Opus, PCMU, PCMA, G722},
	Video: {H264, H265, VP8, VP9, AV1},
}

// AnswerSetup chooses our DTLS role (RFC 8842 §5.3). An offer that leaves the
// choice makes us active, the side that speaks first, unless preferPassive.
// FFmpeg offers passive, against RFC 9725 §4.4.4, so we have to be able to be
// either.
func AnswerSetup(offer Setup, preferPassive bool) Setup {
	switch offer {
	case SetupActive:
		return SetupPassive
	case SetupPassive:
		return SetupActive
	case SetupActPass:
	}
	if preferPassive {
		return SetupPassive
	}
	return SetupActive
}

// PublishCodecs are the codecs of a publisher's section that the answer
// accepts: every one that we carry, in the order of the offer, with its
// retransmission, and with the feedback that we give.
func PublishCodecs(m Media) []Codec {
	return answerCodecs(m, func(codec Codec, feedback string) bool {
		if feedback == "goog-remb" {
			return !slices.Contains(codec.Feedback, "transport-cc")
		}
		return feedback == "transport-cc" || isRepair(m.Kind, feedback)
	})
}

// PlayCodecs are the same for a viewer's section: everything that the viewer
// offered and we carry, so that the publisher's codec may change without a new
// negotiation. Of bandwidth feedback one kind is accepted, and for video only:
// a viewer should not send what nobody reads.
func PlayCodecs(m Media) []Codec {
	transportWide := m.TransportWide()
	return answerCodecs(m, func(codec Codec, feedback string) bool {
		switch feedback {
		case "transport-cc":
			return transportWide
		case "goog-remb":
			return m.Kind == Video && (!transportWide || !slices.Contains(codec.Feedback, "transport-cc"))
		}
		return isRepair(m.Kind, feedback)
	})
}

// TransportWide reports whether packets that we send into the section may
// have transport-wide numbers: it is video, offers the extension and its
// feedback, and has RTX. Without RTX a packet is sent again as it was, to the
// last bit, so it cannot have a new number.
func (m Media) TransportWide() bool {
	offered := len(answerExtensions(m, SendOnly, []string{ExtTransportCC})) > 0
	reported := slices.ContainsFunc(m.Codecs, func(c Codec) bool { return slices.Contains(c.Feedback, "transport-cc") })
	repaired := slices.ContainsFunc(m.Codecs, func(c Codec) bool { return c.Name == RTX })
	return m.Kind == Video && offered && reported && repaired
}

// isRepair reports whether feedback asks for packets or key frames.
func isRepair(kind Kind, feedback string) bool {
	switch feedback {
	case "nack":
		return true
	case "nack pli", "ccm fir":
		return kind == Video
	}
	return false
}

func answerCodecs(m Media, accept func(Codec, string) bool) []Codec {
	kept := keptPTs(m)
	var codecs []Codec
	for _, c := range m.Codecs {
		if !kept[c.PT] {
			continue
		}
		offered := c
		c.Feedback = nil
		for _, feedback := range offered.Feedback {
			if c.Name != RTX && accept(offered, feedback) {
				c.Feedback = append(c.Feedback, feedback)
			}
		}
		codecs = append(codecs, c)
	}
	return codecs
}

// keptPTs marks the payload types of the section that we accept: what we
// carry, then red over a marked opus, then the first rtx of each marked one.
func keptPTs(m Media) (kept [128]bool) {
	for _, c := range m.Codecs {
		kept[c.PT] = slices.Contains(carried[m.Kind], c.Name)
	}
	for _, c := range m.Codecs {
		if c.Name == RED && m.Kind == Audio {
			kept[c.PT] = protectsOpus(m, c)
		}
	}
	repairable := kept // without the rtx codecs, which do not repair each other
	for _, c := range m.Codecs {
		if apt, ok := c.APT(); c.Name == RTX && ok && repairable[apt] {
			kept[c.PT], repairable[apt] = true, false
		}
	}
	return kept
}

// protectsOpus reports whether a red codec repeats opus: its fmtp lists the
// payload types of its generations, `111/111` (RFC 2198 §5). Without one, any
// opus of the section will do.
func protectsOpus(m Media, red Codec) bool {
	first, _, _ := strings.Cut(red.Fmtp, "/")
	pt, listed := parsePT(strings.TrimSpace(first))
	return slices.ContainsFunc(m.Codecs, func(c Codec) bool {
		return c.Name == Opus && (c.PT == pt || !listed)
	})
}
