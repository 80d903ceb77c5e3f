package rtpx

import (
	"encoding/binary"
	"slices"
)

const (
	// MaxExtensionID is the largest header extension id an ExtensionMap knows. RFC 8285 allows 255, but clients number
	// their handful of extensions from 1, and a small map stays in the cache. Elements with larger ids are dropped.
	MaxExtensionID = 31
	// MaxFixedElements is how many elements an ExtensionMap can add: MID, transport-wide sequence number, send time, one spare.
	MaxFixedElements = 4
	// MaxFixedValueBytes keeps an added element within 16 bytes together with its two bytes of id and length.
	MaxFixedValueBytes = 14
	// MaxHeaderGrowth bounds, in bytes, how much longer than the source's the header from AppendHeader can be: 4 for an extension
	// header the source had not, 16 per fixed element, and 1 for each of the at most 16 carried elements when they change to the two-byte form.
	MaxHeaderGrowth = extensionHeaderLen + 16*MaxFixedElements + maxCarriedElements

	maxCarriedElements  = 16 // per packet; a hostile publisher may repeat ids without end
	maxOneByteID        = 14 // RFC 8285 section 4.2
	maxOneByteValueLen  = 16 // RFC 8285 section 4.2
	extensionAlignBytes = 4  // RFC 3550 section 5.3.1
)

// Rewrite says what a viewer's RTP header holds in place of the publisher's. The two bits that describe the buffer rather
// than the medium are never the publisher's: the CSRC count is cleared, and padding says what the caller appends.
type Rewrite struct {
	PayloadType     uint8
	Seq             uint16
	Timestamp, SSRC uint32
	Marker, Padding bool
	Extensions      *ExtensionMap // nil drops the header extension
}

// ExtensionMap says how the header extension of one publisher session becomes that of one viewer: incoming id → outgoing
// id, plus fixed elements to add. The zero value drops everything. It is not safe for concurrent changes; one map may
// serve many packets of one viewer.
type ExtensionMap struct {
	outgoing [MaxExtensionID + 1]uint8 // by incoming id; 0 drops
	fixed    [MaxFixedElements]fixedElement
	fixedIDs uint32 // bit per id in fixed
	wide     bool   // some id in outgoing needs the two-byte form
}

type fixedElement struct {
	id     uint8 // 0 when the place is free; places are filled from the front
	length uint8 // of value, in bytes
	value  [MaxFixedValueBytes]byte
}

// Map sends elements with the incoming id on under the outgoing one; outgoing 0 drops them, as for ids never mapped. It
// reports false, and changes nothing, when an id is out of range.
func (m *ExtensionMap) Map(incoming, outgoing uint8) bool {
	if incoming == 0 || incoming > MaxExtensionID || outgoing > MaxExtensionID {
		return false
	}
	m.outgoing[incoming] = outgoing
	m.wide = slices.ContainsFunc(m.outgoing[:], func(id uint8) bool { return id > maxOneByteID })
	return true
}

// Set adds an element of 1 to MaxFixedValueBytes bytes to every packet, or changes its value; carried elements with the same outgoing
// id give way to it. It copies value. It reports false, and changes nothing, when id or length is out of range or all
// places are taken. hot path (per-packet values such as the transport-wide sequence number).
func (m *ExtensionMap) Set(id uint8, value []byte) bool {
	if id == 0 || id > MaxExtensionID || len(value) == 0 || len(value) > MaxFixedValueBytes {
		return false
	}
	for i := range m.fixed {
		f := &m.fixed[i]
		if f.id != id && f.id != 0 {
			continue
		}
		f.id, f.length = id, uint8(len(value))
		copy(f.value[:], value)
		m.fixedIDs |= 1 << id
		return true
	}
	return false
}

// carried returns the outgoing id of an incoming element, or 0 when it is dropped.
func (m *ExtensionMap) carried(incoming uint8) uint8 {
	if incoming > MaxExtensionID {
		return 0
	}
	if out := m.outgoing[incoming]; m.fixedIDs>>out&1 == 0 {
		return out
	}
	return 0
}

// AppendHeader appends the RTP header of the packet src, parsed as h, to dst with the changes in rw: CSRCs dropped, extension
// elements renumbered. They keep the one-byte form when all ids and values fit it, and take the
// two-byte form otherwise (RFC 8285). The caller appends h.Payload(src).
//
// The result is at most MaxHeaderGrowth bytes longer than the source's header: in general 4+16·n, where n counts the
// elements carried and added. It does not allocate when dst has that room. hot path.
func AppendHeader(dst, src []byte, h Header, rw *Rewrite) []byte {
	second := rw.PayloadType & 0x7f
	if rw.Marker {
		second |= 0x80
	}
	first := byte(2 << 6)
	if rw.Padding {
		first |= 0x20
	}
	start := len(dst)
	dst = append(dst, first, second, byte(rw.Seq>>8), byte(rw.Seq))
	dst = binary.BigEndian.AppendUint32(dst, rw.Timestamp)
	dst = binary.BigEndian.AppendUint32(dst, rw.SSRC)
	if rw.Extensions == nil {
		return dst
	}
	bare := len(dst)
	dst = rw.Extensions.appendTo(dst, elementsOf(src, &h))
	if len(dst) > bare {
		dst[start] |= 0x10
	}
	return dst
}

// appendTo appends the whole extension, its 4-byte header included, or nothing when no element is left.
func (m *ExtensionMap) appendTo(dst []byte, source elements) []byte {
	twoByte := m.needsTwoByte(source)
	profile := uint16(profileOneByte)
	if twoByte {
		profile = profileTwoByte
	}
	start := len(dst)
	dst = append(dst, byte(profile>>8), byte(profile), 0, 0)
	data := len(dst)
	for room := maxCarriedElements; room > 0 && source.next(); {
		if id := m.carried(source.id); id != 0 {
			dst = appendElement(dst, id, source.value, twoByte)
			room--
		}
	}
	for i := range m.fixed {
		if f := &m.fixed[i]; f.id != 0 {
			dst = appendElement(dst, f.id, f.value[:f.length], twoByte)
		}
	}
	if len(dst) == data {
		return dst[:start]
	}
	for (len(dst)-data)%extensionAlignBytes != 0 {
		dst = append(dst, 0)
	}
	binary.BigEndian.PutUint16(dst[data-2:], uint16((len(dst)-data)/4))
	return dst
}

// needsTwoByte reports whether an element that will be written does not fit the one-byte form.
func (m *ExtensionMap) needsTwoByte(source elements) bool {
	if m.fixedIDs>>(maxOneByteID+1) != 0 {
		return true
	}
	if !m.wide && !source.twoByte {
		return false
	}
	for room := maxCarriedElements; room > 0 && source.next(); {
		id := m.carried(source.id)
		if id > maxOneByteID || id != 0 && (len(source.value) == 0 || len(source.value) > maxOneByteValueLen) {
			return true
		}
		if id != 0 {
			room--
		}
	}
	return false
}

func appendElement(dst []byte, id uint8, value []byte, twoByte bool) []byte {
	if twoByte {
		dst = append(dst, id, byte(len(value)))
	} else {
		dst = append(dst, id<<4|byte(len(value)-1))
	}
	return append(dst, value...)
}
