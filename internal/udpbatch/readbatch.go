package udpbatch

import (
	"net/netip"
	"slices"
)

// maxMessageBytes is the most that one received message can carry: the length fields of IP and UDP have 16 bits, and
// UDP_GRO merges no further than that.
const maxMessageBytes = 65535

// Packet is one received datagram.
type Packet struct {
	// Data is the payload; it may be empty. It lies in a buffer of the ReadBatch and may be changed in place, within its
	// length: under GRO the next datagram begins right behind it. Valid until the next Read, or for good after Keep.
	Data []byte
	// Addr is the sender. IPv4 addresses are plain on every socket; link-local IPv6 addresses carry the interface as zone.
	Addr netip.AddrPort

	message int32 // index of the buffer that Data lies in
}

// ReadBatch holds the datagrams of one Read and the buffers they lie in. It is for one goroutine, and may be used with
// one Conn after the other.
type ReadBatch struct {
	packets      []Packet
	buffers      [][]byte // one per message; nil after Keep until the next Read
	messageBytes int
	kept         bool // some buffer was handed over since the last Read
	arrays       *receiveArrays
}

// NewReadBatch makes a batch that takes up to messages messages per Read, each into a buffer of bytesPerMessage bytes.
// Zero bytesPerMessage means 65,535, which no message exceeds and which a socket with GRO needs: there one message can be
// a run of up to 64 datagrams. Longer messages are cut, which is counted in Counters.Truncated.
func NewReadBatch(messages, bytesPerMessage int) *ReadBatch {
	if messages < 1 {
		panic("udpbatch: a read batch needs at least one message")
	}
	if bytesPerMessage <= 0 || bytesPerMessage > maxMessageBytes {
		bytesPerMessage = maxMessageBytes
	}
	b := &ReadBatch{
		packets:      make([]Packet, 0, 4*messages), // grows to what GRO brings, at most 64 per message
		buffers:      make([][]byte, messages),
		messageBytes: bytesPerMessage,
	}
	for i := range b.buffers {
		b.buffers[i] = b.newBuffer()
	}
	return b
}

// newBuffer makes a buffer one byte longer than a message may be: an engine that has no truncation flag sees by that byte
// that a datagram was cut, and 65,536 is a size that the allocator does not round up.
func (b *ReadBatch) newBuffer() []byte { return make([]byte, b.messageBytes+1) }

// Len returns the number of datagrams.
func (b *ReadBatch) Len() int { return len(b.packets) }

// Packet returns datagram i in order of arrival, 0 ≤ i < Len.
func (b *ReadBatch) Packet(i int) Packet { return b.packets[i] }

// Keep hands the buffer that datagram i lies in over to the caller: the Data of i, and of every other datagram in that
// buffer, stays valid and belongs to the caller and the garbage collector. The next Read puts a fresh buffer in its place,
// an allocation of the full bytesPerMessage (65,535 bytes: about 11 µs with the collector's share, BenchmarkKeep), and the
// kept one lives whole as long as any slice of it. So it pays for a buffer well filled by GRO, where it saves the copy
// into memory that would be allocated just so; a small datagram alone in its buffer is better copied (15 ns for 1,200 bytes).
func (b *ReadBatch) Keep(i int) {
	b.buffers[b.packets[i].message] = nil
	b.kept = true
}

// start empties the batch for the next Read. It forgets the packets first if some buffer was handed over, lest stale
// slices beyond the length keep that buffer alive for longer than its new owner does.
func (b *ReadBatch) start() {
	if b.kept {
		clear(b.packets)
		for i, buffer := range b.buffers {
			if buffer == nil {
				b.buffers[i] = b.newBuffer()
			}
		}
		b.kept = false
	}
	b.packets = b.packets[:0]
}

// add appends the datagrams of one message: one, or, when the kernel merged several (segmentBytes > 0), one per
// segmentBytes of data, the last of which may be shorter. Hot path.
func (b *ReadBatch) add(data []byte, segmentBytes int, addr netip.AddrPort, message int) {
	for segmentBytes > 0 && len(data) > segmentBytes {
		// The capacity ends with the datagram: an append by the caller must not run into the next one.
		b.packets = append(b.packets, Packet{data[:segmentBytes:segmentBytes], addr, int32(message)})
		data = data[segmentBytes:]
	}
	b.packets = append(b.packets, Packet{slices.Clip(data), addr, int32(message)})
}
