package sdp

// Description is an offer or answer as its sender wrote it, reduced to what an
// SFU needs.
type Description struct {
	Origin Origin
	// ICE, Fingerprint, Setup and Candidates describe the one transport that
	// all sections share. They come from the section with the BUNDLE tag, or
	// else the first active one (RFC 9143 §7), or else the session level.
	ICE         ICE
	Fingerprint Fingerprint
	Setup       Setup
	// Candidates are the values after "candidate:", each once, in order.
	Candidates []string
	// Bundle holds the mids of the first BUNDLE group; nil without one.
	Bundle []string
	Media  []Media
}

// Origin identifies the session and its version (o=, RFC 8866 §5.2). Numbers
// that do not parse are zero.
type Origin struct {
	SessionID, Version uint64
}

// ICE holds the credentials and options of one ICE agent (RFC 8839 §5).
type ICE struct {
	Ufrag, Pwd string
	Lite       bool
	Options    []string
}

// Fingerprint of a DTLS certificate (RFC 8122 §5): the hash name in lower
// case and the digest as upper-case hex pairs with colons.
type Fingerprint struct {
	Algorithm, Value string
}

// Setup is the DTLS role that a side asks for (RFC 8842 §5); empty when absent.
type Setup string

// The roles of RFC 4145 §4 without holdconn, which DTLS does not use.
const (
	SetupActPass Setup = "actpass"
	SetupActive  Setup = "active"
	SetupPassive Setup = "passive"
)

// Kind is the media type of a section.
type Kind string

// The kinds that we serve.
const (
	Audio       Kind = "audio"
	Video       Kind = "video"
	Application Kind = "application"
)

// Direction of a section or an extension, seen from the describing side.
type Direction string

// The directions of RFC 8866 §6.7.
const (
	SendRecv Direction = "sendrecv"
	SendOnly Direction = "sendonly"
	RecvOnly Direction = "recvonly"
	Inactive Direction = "inactive"
)

// reverse is the same direction seen from the other side.
func (d Direction) reverse() Direction {
	switch d {
	case SendOnly:
		return RecvOnly
	case RecvOnly:
		return SendOnly
	case SendRecv, Inactive:
	}
	return d
}

// Media is one m= section.
type Media struct {
	Kind     Kind
	MID      string
	Port     int
	Protocol string
	// BundleOnly: port 0 does not mean disabled (RFC 9143 §6).
	BundleOnly bool
	Direction  Direction
	// Codecs in the order of the m= line, which is the order of preference.
	Codecs     []Codec
	Extensions []Extension
	RIDs       []RID
	// SimulcastSend lists the declared rids of a=simulcast:send in order, the
	// first alternative of each stream, without the paused mark (RFC 8853 §5).
	SimulcastSend []string
	SSRCs         []SSRC
	Groups        []SSRCGroup
	// StreamID and TrackID are the two parts of a=msid (RFC 8830 §2).
	StreamID, TrackID        string
	RTCPMux, RTCPReducedSize bool
	// MixedExtensions permits header extensions of one-byte and two-byte form
	// in one stream (RFC 8285 §4.1.2). Without it Chromium leaves out what the
	// short form cannot hold, such as the structure of AV1's layers.
	MixedExtensions bool
	// SCTPPort and MaxMessageSize (bytes, 0 = no limit) hold for data sections
	// only (RFC 8841 §5, §6).
	SCTPPort, MaxMessageSize int

	// format is the first entry of the format list, which the answer repeats
	// when it rejects the section.
	format string
}

// Active reports whether the section is in use: a zero port disables it unless
// it is only waiting for its bundle (RFC 9143 §6).
func (m Media) Active() bool { return m.Port != 0 || m.BundleOnly }

// Extension maps an RTP header extension to its id (RFC 8285 §5).
type Extension struct {
	ID        int
	URI       string
	Direction Direction
}

// RID names one encoding of a section (RFC 8851); Direction is "send" or "recv".
type RID struct {
	ID, Direction string
}

// SSRC collects the source attributes of one stream (RFC 5576).
type SSRC struct {
	ID              uint32
	CNAME, StreamID string
}

// SSRCGroup ties streams together (RFC 5576 §4.2): FID = stream and its
// retransmission, SIM = simulcast, FEC-FR = stream and its repair.
type SSRCGroup struct {
	Semantics string
	IDs       []uint32
}
