package rtpx

// Class says which protocol a datagram on the shared media port belongs to.
type Class uint8

// The protocols of RFC 7983 section 7 that we speak; ZRTP, TURN channels and anything else are Unknown.
const (
	Unknown Class = iota
	STUN
	DTLS
	RTP
	RTCP
)

// String returns the protocol's name, as used in labels.
func (c Class) String() string {
	switch c {
	case STUN:
		return "stun"
	case DTLS:
		return "dtls"
	case RTP:
		return "rtp"
	case RTCP:
		return "rtcp"
	default:
		return "unknown"
	}
}

// Classify tells the protocol of the datagram b by its first byte (RFC 7983 section 7), and RTP from RTCP by the second.
// It promises nothing about the rest of b. hot path.
func Classify(b []byte) Class {
	if len(b) == 0 {
		return Unknown
	}
	switch first := b[0]; {
	case first <= 3:
		return STUN
	case first >= 20 && first <= 63:
		return DTLS
	case first < 128 || first > 191 || len(b) < 2:
		return Unknown
	case IsRTCP(b):
		return RTCP
	default:
		return RTP
	}
}

// IsRTCP reports whether b, known to be RTP or RTCP, is RTCP: packet types 192..223, which RTP payload types must avoid
// when the two share a port (RFC 5761 section 4). hot path.
func IsRTCP(b []byte) bool {
	return len(b) >= 2 && b[1] >= 192 && b[1] <= 223
}
