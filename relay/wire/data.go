package wire

import (
	"encoding/binary"
	"time"
)

// Data channels cross a link by two pure halves of one machine: DataSender cuts messages into chunks, and DataReceiver puts them together. There is a pair for each
// direction of each relayed publisher, so that no publisher waits for another's memory.
//
// A datagram of TypeData carries chunks of one or several messages. It has a number of its own, and is never sent again: what was in a lost datagram is packed anew,
// under a new number, so an acknowledgement always says which sending it means (RFC 9002 section 2). A datagram is lost when a later one was
// acknowledged and a round trip and a little more has passed. When nothing is acknowledged any more the sender asks: it sends a datagram with no chunks, whose
// acknowledgement shows what is missing. So a path that is cut for seconds costs a few small datagrams, and no channel its tries.
//
// A lane is one channel in one direction for as long as it is open. Its messages are numbered from 0: the first opens it and the last closes it, both reliable whatever the
// channel is; in between the lane's LaneOptions say what may be left out. What the sender leaves out it tells by a skip, which is repeated until it is acknowledged.
//
// Memory is bounded on both sides: the receiver says how much room it has, and a message is begun only if all of it fits; the sender queues at most MaxQueuedBytes,
// MaxLaneBytes of them for one lane.

// Bounds of data streams.
const (
	// MaxDataMessage is the longest message, in bytes: 256 KiB, and an envelope.
	MaxDataMessage = 256<<10 + 256
	// DataRoomBytes is what a receiver holds at most: messages that are not whole, or not in their turn, or not taken yet.
	DataRoomBytes = 2 << 20
	// MaxQueuedBytes and MaxLaneBytes are what a sender holds at most, in all and for one lane: messages that are not acknowledged. One lane cannot keep the others out.
	MaxQueuedBytes = 4 << 20
	MaxLaneBytes   = 2 << 20
	// MaxLanes are open at once.
	MaxLanes = 64

	messageCost    = 128  // bytes that a message counts for on top of its length, for what is remembered of it
	maxSpan        = 4096 // messages of a lane that are begun beyond the oldest that is not finished
	maxFlight      = 4096 // datagrams that are not acknowledged
	maxAckRanges   = 64
	minPiece       = 256 // bytes: a message is not cut for less, the next datagram is begun
	dataHeadLen    = 6 + 2
	chunkHeadLen   = 4 + 1 + 6 + 3 + 3 + 2
	ackHeadLen     = 4 + 4 + 6
	ackRangeLen    = 2 + 2
	maxNumber      = 1<<48 - 1 // of datagrams and of a lane's messages
	maxTotal       = 1<<24 - 1
	flagUnordered  = 1 << 5
	reservedBits   = 1 << 4
	maxMessageKind = 15
)

// DataFromLen is the length of what stands before the payloads of both types: the handle that the sender itself takes data under (24) | 0 (8). It tells a stream from one before it, whose datagrams
// come late.
const DataFromLen = 4

// AppendDataFrom begins a payload.
func AppendDataFrom(dst []byte, own Handle) []byte {
	return binary.BigEndian.AppendUint32(dst, uint32(own)<<8)
}

// CutDataFrom takes the beginning off.
func CutDataFrom(b []byte) (from Handle, rest []byte, err error) {
	if len(b) < DataFromLen || b[DataFromLen-1] != 0 {
		return 0, nil, ErrMessage
	}
	return Handle(binary.BigEndian.Uint32(b) >> 8), b[DataFromLen:], nil
}

// DataOp says what a message of a lane is.
type DataOp uint8

// The operations.
const (
	DataMessage DataOp = 0 // of the channel
	DataOpen    DataOp = 1 // number 0: what the channel is
	DataClose   DataOp = 2 // nothing follows
	dataSkip    DataOp = 3 // what lies below the number and has not come will not come
)

// LaneOptions say how reliable a lane is. The zero value is ordered and reliable.
type LaneOptions struct {
	Unordered bool
	// MaxRetransmits is how often a chunk may be sent again before its message is left out; nil is without limit (RFC 8831 section 6.1).
	MaxRetransmits *uint16
	// MaxLifetime is how long a message is tried, from its queueing on; 0 is without limit.
	MaxLifetime time.Duration
}

// Reliable reports whether nothing may be left out.
func (o LaneOptions) Reliable() bool { return o.MaxRetransmits == nil && o.MaxLifetime == 0 }

// chunk is a piece of a message.
type chunk struct {
	lane      uint32
	op        DataOp
	unordered bool
	kind      uint8 // of the message; means nothing here
	number    uint64
	total     int // length of the message
	offset    int
	body      []byte
}

// appendDataHead begins a datagram: its number, and how many numbers just before it are awaited still. Those before them are settled.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                    number, high 32 bits                       |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|      number, low 16 bits      |           awaited             |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                     chunks, none or more                      |
func appendDataHead(dst []byte, number uint64, awaited int) []byte {
	return binary.BigEndian.AppendUint64(dst, number<<16|uint64(awaited))
}

// parseDataHead reads the beginning of a datagram.
func parseDataHead(b []byte) (number uint64, awaited int, chunks []byte, err error) {
	if len(b) < dataHeadLen {
		return 0, 0, nil, ErrMessage
	}
	head := binary.BigEndian.Uint64(b)
	number, awaited = head>>16, int(head&0xffff)
	if uint64(awaited) > number {
		return 0, 0, nil, ErrMessage
	}
	return number, awaited, b[dataHeadLen:], nil
}

// appendChunkHead appends what stands before a chunk's body. U says that the lane is not ordered.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                             lane                              |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|op |U|0| kind  |       number of the message, high 24 bits     |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|      number of the message, low 24 bits       | length of the |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|        message, bytes         |  offset of the chunk, high    |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|  offset, low  |      length of the chunk      |     chunk
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
func appendChunkHead(dst []byte, c *chunk, length int) []byte {
	first := uint64(c.op)<<6 | uint64(c.kind)
	if c.unordered {
		first |= flagUnordered
	}
	dst = binary.BigEndian.AppendUint32(dst, c.lane)
	dst = binary.BigEndian.AppendUint64(dst, first<<56|c.number<<8|uint64(c.total>>16))
	dst = binary.BigEndian.AppendUint32(dst, uint32(c.total)<<16|uint32(c.offset>>8))
	return append(dst, byte(c.offset), byte(length>>8), byte(length))
}

// nextChunk reads the first chunk of b, whose body lies in b, and returns what follows it.
func nextChunk(b []byte) (c chunk, rest []byte, err error) {
	if len(b) < chunkHeadLen {
		return c, nil, ErrMessage
	}
	middle, last := binary.BigEndian.Uint64(b[4:]), binary.BigEndian.Uint32(b[12:])
	c = chunk{
		lane: binary.BigEndian.Uint32(b), op: DataOp(b[4] >> 6), unordered: b[4]&flagUnordered != 0, kind: b[4] & maxMessageKind, number: middle >> 8 & maxNumber,
		total: int(middle&0xff)<<16 | int(last>>16), offset: int(last&0xffff)<<8 | int(b[16]),
	}
	length := int(b[17])<<8 | int(b[18])
	b = b[chunkHeadLen:]
	if length > len(b) || chunkReserved(middle) || !c.valid(length) {
		return c, nil, ErrMessage
	}
	c.body = b[:length]
	return c, b[length:], nil
}

func chunkReserved(middle uint64) bool { return middle>>56&reservedBits != 0 }

func (c *chunk) valid(length int) bool {
	switch {
	case c.total > MaxDataMessage || c.offset+length > c.total:
		return false
	case c.op == dataSkip:
		return c.total == 0 && c.number > 0
	case (c.op == DataOpen) != (c.number == 0):
		return false
	}
	return length > 0 || c.total == 0
}

// DataAck acknowledges datagrams: all below Cumulative, and the ranges after it. Delay is for how long it has been held back since the newest datagram came, Room how many
// bytes of messages the receiver can take beyond those that it has.
type DataAck struct {
	Delay      time.Duration
	Room       int
	Cumulative uint64
	Ranges     []NumberRange // ascending, apart from each other and from Cumulative
}

// Append appends the message to dst, with as many ranges as fit. Each range is told by the numbers that are missing before it and those that are in it.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                      delay, microseconds                      |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                         room, bytes                           |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                  cumulative, high 32 bits                     |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|    cumulative, low 16 bits    |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|        missing numbers        |         acknowledged numbers  |  repeated
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
func (a DataAck) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(min(max(a.Delay.Microseconds(), 0), 1<<32-1)))
	dst = binary.BigEndian.AppendUint32(dst, uint32(a.Room))
	dst = binary.BigEndian.AppendUint32(dst, uint32(a.Cumulative>>16))
	dst = binary.BigEndian.AppendUint16(dst, uint16(a.Cumulative))
	at := a.Cumulative
	for i, r := range a.Ranges {
		missing, length := r.From-at, r.To-r.From
		if i == maxAckRanges || missing > 0xffff || length > 0xffff {
			break
		}
		dst = binary.BigEndian.AppendUint16(dst, uint16(missing))
		dst = binary.BigEndian.AppendUint16(dst, uint16(length))
		at = r.To
	}
	return dst
}

// ParseDataAck reads a DataAck. Its ranges are appended to ranges.
func ParseDataAck(ranges []NumberRange, b []byte) (DataAck, error) {
	if len(b) < ackHeadLen || (len(b)-ackHeadLen)%ackRangeLen != 0 || len(b) > ackHeadLen+maxAckRanges*ackRangeLen {
		return DataAck{}, ErrMessage
	}
	a := DataAck{
		Delay: time.Duration(binary.BigEndian.Uint32(b)) * time.Microsecond, Room: int(binary.BigEndian.Uint32(b[4:])),
		Cumulative: uint64(binary.BigEndian.Uint32(b[8:]))<<16 | uint64(binary.BigEndian.Uint16(b[12:])), Ranges: ranges,
	}
	at := a.Cumulative
	for b = b[ackHeadLen:]; len(b) > 0; b = b[ackRangeLen:] {
		missing, length := uint64(binary.BigEndian.Uint16(b)), uint64(binary.BigEndian.Uint16(b[2:]))
		if missing == 0 || length == 0 || at+missing+length > maxNumber {
			return DataAck{}, ErrMessage
		}
		a.Ranges = append(a.Ranges, NumberRange{From: at + missing, To: at + missing + length})
		at += missing + length
	}
	return a, nil
}
