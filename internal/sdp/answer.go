package sdp

import (
	"slices"
	"strings"
)

// Answer is what we reply to an offer. Its fields describe our one transport;
// Media has one entry per section of the offer, in the same order.
type Answer struct {
	// SessionID goes into the origin line; 63 bits (RFC 9429 §5.2.1).
	SessionID   uint64
	Role        Role
	ICE         ICE
	Fingerprint Fingerprint
	// Setup is active or passive; see AnswerSetup.
	Setup Setup
	// Candidates are the values after "candidate:". FFmpeg takes the first
	// only, so that should be the UDP host candidate that most clients reach.
	Candidates []string
	// StreamID names the one MediaStream of a Play answer (RFC 9725 §4.4.2).
	StreamID string
	Media    []AnswerMedia
}

// AnswerMedia is our side of one section.
type AnswerMedia struct {
	// Codecs and Extensions as PublishCodecs, PlayCodecs and their like chose
	// them. Without codecs an audio or video section is rejected.
	Codecs     []Codec
	Extensions []Extension
	// RIDs are the encodings that we receive (Publish).
	RIDs []string
	// SSRC, RTXSSRC and CNAME announce what we send (Play). SSRC 0 announces
	// nothing; RTXSSRC counts only when Codecs have an rtx.
	SSRC, RTXSSRC uint32
	CNAME         string
	// Rejected answers with port zero, as it happens anyway to sections that
	// the offer disabled.
	Rejected bool
	// SCTPPort (0 = 5000) and MaxMessageSize (bytes, 0 = not stated) of a data
	// section.
	SCTPPort, MaxMessageSize int
}

// Marshal writes the answer to offer. A browser's offer gives less than the
// 8 KiB that FFmpeg reads.
func (a *Answer) Marshal(offer *Description) string {
	var w writer
	accepted := make([]bool, len(offer.Media))
	for i, m := range offer.Media {
		accepted[i] = a.accepts(m, i)
	}
	w.session(a.SessionID, a.ICE.Lite, answerBundle(offer, accepted))
	first := slices.Index(accepted, true)
	for i, m := range offer.Media {
		if !accepted[i] {
			w.rejected(m)
			continue
		}
		w.media(a.section(m, a.Media[i]))
		if i == first {
			w.candidates(a.Candidates)
		}
	}
	return w.String()
}

// accepts reports whether section i of the offer is in use in the answer.
func (a *Answer) accepts(m Media, i int) bool {
	if !m.Active() || i >= len(a.Media) || a.Media[i].Rejected {
		return false
	}
	return m.Kind == Application || len(a.Media[i].Codecs) > 0
}

// answerBundle is the offered group without the mids that we do not accept
// (RFC 9143 §7.3).
func answerBundle(offer *Description, accepted []bool) []string {
	var mids []string
	for _, mid := range offer.Bundle {
		at := slices.IndexFunc(offer.Media, func(m Media) bool { return m.MID == mid })
		if at >= 0 && accepted[at] && !slices.Contains(mids, mid) {
			mids = append(mids, mid)
		}
	}
	return mids
}

// section joins what the offer, the answer and its media entry say.
func (a *Answer) section(m Media, ours AnswerMedia) mediaLines {
	lines := mediaLines{
		kind: m.Kind, mid: m.MID, protocol: m.Protocol,
		ice: a.ICE, fingerprint: a.Fingerprint, setup: a.Setup,
		direction: a.Role.direction(), codecs: ours.Codecs, extensions: ours.Extensions,
		reducedSize: m.RTCPReducedSize, mixedExtensions: m.MixedExtensions,
		sctpPort: ours.SCTPPort, maxMessageSize: ours.MaxMessageSize,
	}
	if a.Role == Play {
		lines.streamID, lines.cname = a.StreamID, ours.CNAME
		lines.ssrc = ours.SSRC
		if slices.ContainsFunc(ours.Codecs, func(c Codec) bool { return c.Name == RTX }) {
			lines.rtxSSRC = ours.RTXSSRC
		}
		return lines
	}
	lines.rids, lines.simulcast = ours.RIDs, len(m.SimulcastSend) > 0
	return lines
}

// stripSprop drops the parameters that describe the offerer's own stream
// (RFC 6184 §8.1, RFC 7798 §7.1): they are long, and not for the answerer to
// repeat.
func stripSprop(fmtp string) string {
	if !strings.Contains(fmtp, "sprop-") {
		return fmtp
	}
	var kept []string
	for param := range strings.SplitSeq(fmtp, ";") {
		if param = strings.TrimSpace(param); param != "" && !strings.HasPrefix(param, "sprop-") {
			kept = append(kept, param)
		}
	}
	return strings.Join(kept, ";")
}
