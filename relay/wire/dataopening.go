package wire

import (
	"encoding/binary"
	"time"
)

// Opening describes a data channel, as its creator chose (RFC 8832 section 5.1). It is the body of a DataOpen.
type Opening struct {
	Label, Protocol string
	LaneOptions
}

// openingLen is what stands before the texts.
const openingLen = 1 + 4 + 2 + 2

// maxText is the most that label and protocol may measure each, in bytes (RFC 8832 section 5.1: 16 bits).
const maxText = 0xffff

// The first bits of an Opening.
const (
	openingUnordered   = 1 << 0
	openingRetransmits = 1 << 1
	openingLifetime    = 1 << 2
)

// Append appends the message to dst: flags (8: unordered 1, limited retransmits 2, limited lifetime 4) | the limit, in retransmits or milliseconds (32) | length of
// the label (16) | length of the protocol (16) | label | protocol. Longer texts are cut.
func (o Opening) Append(dst []byte) []byte {
	var flags byte
	var limit uint32
	if o.Unordered {
		flags |= openingUnordered
	}
	switch {
	case o.MaxRetransmits != nil:
		flags |= openingRetransmits
		limit = uint32(*o.MaxRetransmits)
	case o.MaxLifetime > 0:
		flags |= openingLifetime
		limit = uint32(min(max(o.MaxLifetime.Milliseconds(), 1), 1<<32-1))
	}
	label, protocol := o.Label[:min(len(o.Label), maxText)], o.Protocol[:min(len(o.Protocol), maxText)]
	dst = append(dst, flags)
	dst = binary.BigEndian.AppendUint32(dst, limit)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(label)))
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(protocol)))
	dst = append(dst, label...)
	return append(dst, protocol...)
}

// ParseOpening reads an Opening.
func ParseOpening(b []byte) (Opening, error) {
	if len(b) < openingLen {
		return Opening{}, ErrMessage
	}
	flags, limit, length := b[0], binary.BigEndian.Uint32(b[1:]), int(binary.BigEndian.Uint16(b[5:]))
	texts := length + int(binary.BigEndian.Uint16(b[7:]))
	if b = b[openingLen:]; texts != len(b) || flags > openingUnordered|openingRetransmits|openingLifetime {
		return Opening{}, ErrMessage
	}
	o := Opening{Label: string(b[:length]), Protocol: string(b[length:]), LaneOptions: LaneOptions{Unordered: flags&openingUnordered != 0}}
	switch flags &^ openingUnordered {
	case 0:
		if limit != 0 {
			return Opening{}, ErrMessage
		}
	case openingRetransmits:
		if limit > 0xffff {
			return Opening{}, ErrMessage
		}
		retransmits := uint16(limit)
		o.MaxRetransmits = &retransmits
	case openingLifetime:
		o.MaxLifetime = time.Duration(limit) * time.Millisecond
		if limit == 0 {
			return Opening{}, ErrMessage
		}
	default: // both
		return Opening{}, ErrMessage
	}
	return o, nil
}
