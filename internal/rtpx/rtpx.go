// Package rtpx reads and rewrites RTP headers in place, without allocating.
//
// A packet that enters the node is parsed once into a Header, which holds numbers and offsets and points at nothing. The
// packet itself is never changed. For each viewer AppendHeader builds a new header in the sender's scratch space from the
// same Header and a Rewrite (the viewer's SSRC, payload type, numbers and header extension ids); the payload follows
// unchanged. The package also tells RTP, RTCP, DTLS and STUN apart, which share one port.
package rtpx

import (
	"encoding/binary"
	"errors"
)

// What Parse refuses.
var (
	ErrShort     = errors.New("rtp: packet ends within its header")
	ErrVersion   = errors.New("rtp: version is not 2")
	ErrExtension = errors.New("rtp: header extension is longer than the packet")
	ErrPadding   = errors.New("rtp: padding is zero or longer than the payload")
)

const (
	fixedHeaderLen     = 12 // bytes before the CSRC list (RFC 3550 section 5.1)
	extensionHeaderLen = 4  // profile and length, before the extension's data (RFC 3550 section 5.3.1)

	profileOneByte = 0xbede // RFC 8285 section 4.2
	profileTwoByte = 0x1000 // RFC 8285 section 4.3; the low four bits are for the application
)

// Header is what an RTP header says, with offsets into the packet it was parsed from. Lengths and offsets are in bytes.
type Header struct {
	PayloadType                uint8 // 7 bits
	Marker, Padding, Extension bool
	CSRCCount                  uint8 // 0..15
	Seq                        uint16
	Timestamp, SSRC            uint32

	ExtProfile        uint16 // meaningful when Extension is set
	HeaderLen         int    // fixed header, CSRC list and extension together: where the payload starts
	ExtOffset, ExtLen int    // the extension's data, behind its 4-byte profile and length
	PaddingLen        int    // bytes after the payload, including the one that counts them
}

// Parse reads the header of the RTP packet b (RFC 3550 section 5.1). It needs the whole packet, decrypted, because padding
// is counted by its last byte. hot path.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|V=2|P|X|  CC   |M|     PT      |       sequence number         |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                           timestamp                           |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|           synchronization source (SSRC) identifier            |
//	+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+
//	|             contributing source (CSRC) identifiers, CC times  |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|  extension profile (X only)   |  length of data, 32-bit words |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                        extension data                         |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
func Parse(b []byte) (Header, error) {
	if len(b) < fixedHeaderLen {
		return Header{}, ErrShort
	}
	if b[0]>>6 != 2 {
		return Header{}, ErrVersion
	}
	h := Header{
		Padding:     b[0]&0x20 != 0,
		Extension:   b[0]&0x10 != 0,
		CSRCCount:   b[0] & 0x0f,
		Marker:      b[1]&0x80 != 0,
		PayloadType: b[1] & 0x7f,
		Seq:         binary.BigEndian.Uint16(b[2:]),
		Timestamp:   binary.BigEndian.Uint32(b[4:]),
		SSRC:        binary.BigEndian.Uint32(b[8:]),
	}
	h.HeaderLen = fixedHeaderLen + 4*int(h.CSRCCount)
	if len(b) < h.HeaderLen {
		return Header{}, ErrShort
	}
	if h.Extension {
		if len(b) < h.HeaderLen+extensionHeaderLen {
			return Header{}, ErrShort
		}
		h.ExtProfile = binary.BigEndian.Uint16(b[h.HeaderLen:])
		h.ExtLen = 4 * int(binary.BigEndian.Uint16(b[h.HeaderLen+2:]))
		h.ExtOffset = h.HeaderLen + extensionHeaderLen
		h.HeaderLen = h.ExtOffset + h.ExtLen
		if len(b) < h.HeaderLen {
			return Header{}, ErrExtension
		}
	}
	if h.Padding {
		h.PaddingLen = int(b[len(b)-1])
		if h.PaddingLen == 0 || h.HeaderLen+h.PaddingLen > len(b) {
			return Header{}, ErrPadding
		}
	}
	return h, nil
}

// Payload returns the part of b between header and padding; it is empty in a packet that only pads. b must be the packet h
// was parsed from. hot path.
func (h *Header) Payload(b []byte) []byte {
	return b[h.HeaderLen : len(b)-h.PaddingLen]
}
