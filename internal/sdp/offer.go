package sdp

import (
	"fmt"
	"slices"
)

// Offer is what we send to a player that wants the server to offer: the WHEP
// counter-offer, or the reply to an empty POST. It has an audio section, mid
// "0", and a video section, mid "1".
type Offer struct {
	// SessionID goes into the origin line; 63 bits (RFC 9429 §5.2.1).
	SessionID   uint64
	ICE         ICE
	Fingerprint Fingerprint
	// Candidates are the values after "candidate:"; see Answer.
	Candidates []string
	// StreamID and CNAME name the MediaStream and its source.
	StreamID, CNAME string
	// AudioSSRC, VideoSSRC and VideoRTXSSRC announce what we send; 0 = none.
	AudioSSRC, VideoSSRC, VideoRTXSSRC uint32
}

// rtpProtocol is the transport of every audio and video section (RFC 8827 §6.5).
const rtpProtocol = "UDP/TLS/RTP/SAVPF"

// Marshal writes the offer.
func (o *Offer) Marshal() string {
	var w writer
	w.session(o.SessionID, o.ICE.Lite, []string{"0", "1"})
	audio := o.section(Audio, "0", offeredAudio())
	audio.ssrc = o.AudioSSRC
	w.media(audio)
	w.candidates(o.Candidates)
	video := o.section(Video, "1", offeredVideo())
	video.ssrc, video.rtxSSRC = o.VideoSSRC, o.VideoRTXSSRC
	w.media(video)
	return w.String()
}

// Description is the offer as the other side reads it, to hold the answer
// against. It fails when the identity in o is not complete.
func (o *Offer) Description() (*Description, error) {
	return Parse([]byte(o.Marshal()), DefaultLimits)
}

func (o *Offer) section(kind Kind, mid string, codecs []Codec) mediaLines {
	return mediaLines{
		kind: kind, mid: mid, protocol: rtpProtocol,
		ice: o.ICE, fingerprint: o.Fingerprint, setup: SetupActPass,
		direction: SendOnly, codecs: codecs, extensions: o.extensions(kind),
		reducedSize: true, streamID: o.StreamID, cname: o.CNAME,
	}
}

// extensions numbers the extensions of a kind. An id means the same in both
// sections, as BUNDLE wants (RFC 9143 §9.1).
func (o *Offer) extensions(kind Kind) []Extension {
	var extensions []Extension
	for i, uri := range playExtensions {
		if kind == Audio && isVideoExtension(uri) || kind == Video && uri == ExtAudioLevel {
			continue
		}
		extensions = append(extensions, Extension{ID: i + 1, URI: uri})
	}
	return extensions
}

func isVideoExtension(uri string) bool {
	return uri == ExtOrientation || uri == ExtPlayoutDelay || uri == ExtDependency || uri == ExtTransportCC
}

// offeredAudio uses the payload types that browsers use.
func offeredAudio() []Codec {
	return []Codec{
		{PT: 111, Name: Opus, ClockRate: 48000, Channels: 2, Fmtp: "minptime=10;useinbandfec=1;stereo=1", Feedback: []string{"nack"}},
		{PT: 63, Name: RED, ClockRate: 48000, Channels: 2, Fmtp: "111/111"},
		{PT: 9, Name: G722, ClockRate: 8000, Channels: 1},
		{PT: 0, Name: PCMU, ClockRate: 8000, Channels: 1},
		{PT: 8, Name: PCMA, ClockRate: 8000, Channels: 1},
	}
}

// offeredVideo lists every format that a publisher may send, each with its
// retransmission, in payload types that browsers use too.
func offeredVideo() []Codec {
	const h264 = "level-asymmetry-allowed=1;packetization-mode=%d;profile-level-id=%s"
	var codecs []Codec
	add := func(pt, rtx uint8, name, fmtp string) {
		codecs = append(codecs,
			Codec{PT: pt, Name: name, ClockRate: 90000, Fmtp: fmtp, Feedback: []string{"nack", "nack pli", "ccm fir", "transport-cc"}},
			Codec{PT: rtx, Name: RTX, ClockRate: 90000, Fmtp: fmt.Sprintf("apt=%d", pt)})
	}
	add(96, 97, VP8, "")
	add(102, 103, H264, fmt.Sprintf(h264, 1, "42e01f"))
	add(104, 105, H264, fmt.Sprintf(h264, 0, "42e01f"))
	add(106, 107, H264, fmt.Sprintf(h264, 1, "4d001f"))
	add(108, 109, H264, fmt.Sprintf(h264, 1, "640032"))
	add(98, 99, VP9, "profile-id=0")
	add(100, 101, VP9, "profile-id=2")
	add(45, 46, AV1, "")
	add(49, 50, H265, "")
	return codecs
}

// ParseAnswer reads the answer to an Offer and checks it as far as that goes
// without the offer: a decided DTLS role, and sections that a player may have.
// MatchAnswer does the rest.
func ParseAnswer(text []byte, l Limits) (*Description, error) {
	d, err := Parse(text, l)
	if err != nil {
		return nil, err
	}
	if d.Setup == SetupActPass { // RFC 8842 §5.3
		return nil, fmt.Errorf("answer with setup:actpass: %w", ErrUnacceptable)
	}
	for i := range d.Media {
		if d.Media[i].Direction == Inactive { // JSEP refuses a section that way, too
			d.Media[i].Port, d.Media[i].BundleOnly = 0, false
		}
	}
	if err := CheckPlay(d); err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	return d, nil
}

// MatchAnswer reports why an answer does not belong to the offer: it must have
// the same sections in the same order (RFC 3264 §6) and only payload types of
// the offer.
func MatchAnswer(offer, answer *Description) error {
	if len(answer.Media) != len(offer.Media) {
		return fmt.Errorf("answer with %d sections to an offer with %d: %w", len(answer.Media), len(offer.Media), ErrUnacceptable)
	}
	for i, theirs := range answer.Media {
		ours := offer.Media[i]
		if theirs.Kind != ours.Kind || theirs.MID != ours.MID {
			return fmt.Errorf("m-line %d (mid %q): answers %s section with mid %q: %w", i, quoted(theirs.MID), ours.Kind, ours.MID, ErrUnacceptable)
		}
		for _, c := range theirs.Codecs {
			if !slices.ContainsFunc(ours.Codecs, func(o Codec) bool { return o.PT == c.PT && o.Name == c.Name }) {
				return fmt.Errorf("m-line %d (mid %q): payload type %d %s was not offered: %w", i, quoted(theirs.MID), c.PT, c.Name, ErrUnacceptable)
			}
		}
	}
	return nil
}
