package mediaport

import "encoding/binary"

const (
	stunHeaderBytes = 20         // RFC 8489 section 5
	stunMagicCookie = 0x2112A442 // RFC 8489 section 5
	stunUsername    = 0x0006     // RFC 8489 section 14.3
	stunClassMask   = 0x0110     // the two class bits of the message type, RFC 8489 section 5
	stunRequest     = 0x0000
	stunIndication  = 0x0010
	stunBinding     = 0x0001 // the only method of ICE
	stunMaxBytes    = 1280   // RFC 8489 section 6.1 keeps messages within a path MTU; a check takes about 100 bytes. Bounds what strangers make us read
)

// stunKind says how a STUN message finds its endpoint.
type stunKind uint8

const (
	stunInvalid stunKind = iota
	stunByUsername
	stunByTransaction
	stunByAddress
)

// classifySTUN checks the fixed header and tells how to route the message.
func classifySTUN(b []byte) stunKind {
	if len(b) < stunHeaderBytes || len(b) > stunMaxBytes || binary.BigEndian.Uint32(b[4:]) != stunMagicCookie {
		return stunInvalid
	}
	if int(binary.BigEndian.Uint16(b[2:]))+stunHeaderBytes != len(b) {
		return stunInvalid
	}
	kind := binary.BigEndian.Uint16(b)
	switch {
	case kind&^stunClassMask != stunBinding:
		return stunInvalid
	case kind&stunClassMask == stunRequest:
		return stunByUsername
	case kind&stunClassMask == stunIndication: // a keep-alive names nobody (RFC 8445 section 11)
		return stunByAddress
	}
	return stunByTransaction
}

// localUfrag is the part of USERNAME before the colon, which in a request is the receiver's ufrag (RFC 8445 section 7.2.2). The result aliases b.
func localUfrag(b []byte) ([]byte, bool) {
	for rest := b[stunHeaderBytes:]; len(rest) >= 4; {
		kind, size := binary.BigEndian.Uint16(rest), int(binary.BigEndian.Uint16(rest[2:]))
		if 4+size > len(rest) {
			return nil, false
		}
		if kind == stunUsername {
			return beforeColon(rest[4 : 4+size])
		}
		padded := (4 + size + 3) &^ 3 // attributes are padded to 32 bits, RFC 8489 section 14
		if padded > len(rest) {
			return nil, false
		}
		rest = rest[padded:]
	}
	return nil, false
}

func beforeColon(username []byte) ([]byte, bool) {
	for i, c := range username {
		if c == ':' {
			return username[:i], i > 0
		}
	}
	return nil, false
}

// endpointNumber is the endpoint's number, which the first four bytes of each transaction id that we send carry.
func endpointNumber(b []byte) uint32 { return binary.BigEndian.Uint32(b[8:]) }
