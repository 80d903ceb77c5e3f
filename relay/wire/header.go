package wire

import (
	"encoding/binary"
	"errors"
	"time"
)

// Sizes in bytes.
const (
	HeaderLen = 12
	TagLen    = 16 // of AES-GCM
	Overhead  = HeaderLen + TagLen
)

// MaxSeq is the highest number of a flow: 44 bits, half a year of a million packets a second.
const MaxSeq = 1<<44 - 1

// maxAge is the highest age that the header can tell.
const maxAge = 0xffff * time.Millisecond

// Type says what a datagram carries.
type Type uint8

// The types. Those up to TypeStreamEnd belong to the media flow.
const (
	TypeMedia        Type = 0 // one RTP packet, as the origin received it
	TypeSenderReport Type = 1 // what a sender report said of a stream (RFC 3550 section 6.4.1)
	TypeStreamEnd    Type = 2 // nothing more comes on the handle
	TypeData         Type = 4 // chunks of messages of data channels
	TypeDataAck      Type = 5 // which datagrams of them have come
	TypePing         Type = 8
	TypePong         Type = 9
	TypeNACK         Type = 10 // numbers of the media flow that did not come
	TypeDemand       Type = 11 // which layers are watched
	TypeKeyframe     Type = 12 // layers that need a keyframe
	TypeLayers       Type = 13 // what layers look like that are not sent for want of viewers
	TypeNews         Type = 14 // the set of streams has changed; who pulls should ask again
	TypeGoAway       Type = 15 // the sender drains
)

// Media reports whether the type belongs to the media flow.
func (t Type) Media() bool { return t <= TypeStreamEnd }

// Data reports whether the type belongs to a data stream.
func (t Type) Data() bool { return t == TypeData || t == TypeDataAck }

func (t Type) known() bool { return t <= TypeStreamEnd || t.Data() || t >= TypePing && t <= TypeGoAway }

// Handle names a stream of one link to the one who receives it, who has chosen it: 24 bits, of which the low 16 are the place in the receiver's table and the
// high 8 tell the place's present owner from earlier ones.
type Handle uint32

// NewHandle makes the handle of a place for its generation.
func NewHandle(slot uint16, generation uint8) Handle {
	return Handle(generation)<<16 | Handle(slot)
}

// Slot is the place in the receiver's table.
func (h Handle) Slot() uint16 { return uint16(h) }

// Generation tells owners of one place apart.
func (h Handle) Generation() uint8 { return uint8(h >> 16) }

// Header is the legible part of a datagram.
type Header struct {
	Type   Type
	Phase  uint8 // 0 or 1: which of two keys in turn
	Handle Handle
	// Age is how long ago the packet reached the origin, in whole milliseconds: packets from before a viewer came are told from live ones by it.
	Age time.Duration
	// Cycle is the low 4 bits of how often the RTP packet's 16-bit number has wrapped, as its first node counts: it counts more than once where a client begins new
	// numbers, so that every hop extends numbers alike.
	Cycle uint8
	Seq   uint64 // of the flow, 44 bits
}

// What ParseHeader refuses.
var (
	ErrShort   = errors.New("datagram is too short")
	ErrForeign = errors.New("datagram does not begin as ours do")
)

// ParseHeader reads the header of a datagram. The two fixed bits keep it apart from STUN, DTLS, TURN and RTP (RFC 7983). Hot path.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|1 1| type  |0|P|                    handle                     |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|       age, milliseconds       | cycle |  number, high 12 bits |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                      number, low 32 bits                      |
//	+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+=+
//	|            payload and 16-byte tag, sealed                    |
func ParseHeader(b []byte) (Header, error) {
	if len(b) < Overhead {
		return Header{}, ErrShort
	}
	first := binary.BigEndian.Uint32(b)
	if first>>30 != 3 || first>>25&1 != 0 {
		return Header{}, ErrForeign
	}
	second := binary.BigEndian.Uint64(b[4:])
	h := Header{
		Type: Type(first >> 26 & 0xf), Phase: uint8(first >> 24 & 1), Handle: Handle(first & 0xffffff),
		Age: time.Duration(second>>48) * time.Millisecond, Cycle: uint8(second >> 44 & 0xf), Seq: second & MaxSeq,
	}
	if !h.Type.known() {
		return Header{}, ErrForeign
	}
	return h, nil
}

// Put writes the header into the first 12 bytes of b. Ages beyond what 16 bits hold are cut. Hot path.
func (h Header) Put(b []byte) {
	age := min(max(h.Age, 0), maxAge) / time.Millisecond
	binary.BigEndian.PutUint32(b, 3<<30|uint32(h.Type)<<26|uint32(h.Phase)<<24|uint32(h.Handle)&0xffffff)
	binary.BigEndian.PutUint64(b[4:], uint64(age)<<48|uint64(h.Cycle&0xf)<<44|h.Seq&MaxSeq)
}
