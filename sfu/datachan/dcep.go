package datachan

import (
	"encoding/binary"
	"errors"
	"math"
	"time"
	"unicode/utf8"
)

// Message types of the Data Channel Establishment Protocol (RFC 8832 section 8.2.1).
const (
	dcepACK  = 0x02
	dcepOpen = 0x03
)

// Channel types (RFC 8832 section 8.2.2); the bit of unordered is set besides.
const (
	typeReliable    = 0x00
	typeRetransmits = 0x01
	typeLifetime    = 0x02
	typeUnordered   = 0x80
)

const (
	openHeaderBytes = 12
	defaultPriority = 256 // "normal", RFC 8831 section 6.4
	// MaxNameBytes bounds a label and a protocol each. Every client of a publisher is told both, and so is every listener of events.
	MaxNameBytes = 256
)

var errOpen = errors.New("datachan: not an open message")

// parseOpen reads a DATA_CHANNEL_OPEN message (RFC 8832 section 5.1):
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+---------------+---------------+-------------------------------+
//	| Type (0x03)   | Channel type  | Priority                      |
//	+---------------+---------------+-------------------------------+
//	| Reliability parameter: transmissions, or milliseconds         |
//	+-------------------------------+-------------------------------+
//	| Label length                  | Protocol length               |
//	+-------------------------------+-------------------------------+
//	| Label, protocol (UTF-8)                                       |
func parseOpen(message []byte) (Parameters, error) {
	if len(message) < openHeaderBytes || message[0] != dcepOpen {
		return Parameters{}, errOpen
	}
	label, protocol := int(binary.BigEndian.Uint16(message[8:])), int(binary.BigEndian.Uint16(message[10:]))
	if label > MaxNameBytes || protocol > MaxNameBytes || len(message) != openHeaderBytes+label+protocol {
		return Parameters{}, errOpen
	}
	names := message[openHeaderBytes:]
	if !utf8.Valid(names[:label]) || !utf8.Valid(names[label:]) {
		return Parameters{}, errOpen
	}
	p := Parameters{Label: string(names[:label]), Protocol: string(names[label:]), Ordered: message[1]&typeUnordered == 0}
	value := binary.BigEndian.Uint32(message[4:])
	switch message[1] &^ typeUnordered {
	case typeReliable: // the parameter is ignored (RFC 8832 section 5.1)
	case typeRetransmits:
		n := uint16(min(value, math.MaxUint16))
		p.MaxRetransmits = &n
	case typeLifetime:
		d := time.Duration(value) * time.Millisecond
		p.MaxLifetime = &d
	default:
		return Parameters{}, errOpen
	}
	return p, nil
}

// marshalOpen writes the message that parseOpen reads.
func marshalOpen(p Parameters) []byte {
	kind, value := p.reliability()
	if !p.Ordered {
		kind |= typeUnordered
	}
	message := make([]byte, openHeaderBytes, openHeaderBytes+len(p.Label)+len(p.Protocol))
	message[0], message[1] = dcepOpen, kind
	binary.BigEndian.PutUint16(message[2:], defaultPriority)
	binary.BigEndian.PutUint32(message[4:], value)
	binary.BigEndian.PutUint16(message[8:], uint16(len(p.Label)))
	binary.BigEndian.PutUint16(message[10:], uint16(len(p.Protocol)))
	return append(append(message, p.Label...), p.Protocol...)
}

// reliability is the channel type without its bit of unordered, and the parameter. pion/sctp numbers the types the same way.
func (p Parameters) reliability() (kind byte, value uint32) {
	switch {
	case p.MaxRetransmits != nil:
		return typeRetransmits, uint32(*p.MaxRetransmits)
	case p.MaxLifetime != nil:
		return typeLifetime, uint32(min(p.MaxLifetime.Milliseconds(), math.MaxUint32))
	}
	return typeReliable, 0
}
