package sfu

import (
	"sync/atomic"
	"time"

	"rheomesh/internal/codec"
	"rheomesh/internal/rtpx"
	"rheomesh/sfu/sublayer"
)

// Bounds of a Log. The first that is reached makes it forget its oldest packets.
const (
	logMinPackets   = 256              // slots of a new log; it doubles while it has to
	logMaxPackets   = 8192             // about 2.7 s of a 30 Mbit/s stream
	logMaxBytes     = 16 << 20         // 4 s of a 30 Mbit/s stream
	logRepairAge    = 2 * time.Second  // before the newest keyframe, older packets go: only NACKs can ask for them, and those that come so late do not help
	logMaxAge       = 10 * time.Second // older packets are no use to a viewer: no NACK asks for them, no join starts there
	packetsPerChunk = 32               // Packet values allocated at once
)

// Packet is one RTP packet in a Log. It is immutable after the append and belongs to the garbage collector; whoever sends it on rewrites its header
// elsewhere.
type Packet struct {
	// Data is the whole plain packet, header included. It aliases a slab that other packets share.
	Data   []byte
	Header rtpx.Header
	// Position counts the packets of the log in the order in which they arrived, from 0.
	Position uint64
	// Seq is the sequence number extended to 64 bits.
	Seq uint64
	// Arrival is when the packet came in, in nanoseconds since the Unix epoch.
	Arrival int64
	// Age is how old the packet was when it came in, in nanoseconds: 0 when its client is connected to this node, more when it was kept on another one.
	Age int64
	// Keyframe marks packets of a frame that a decoder can start with, as far as the packet itself tells.
	Keyframe bool
	// Layers is where a packet of video has its place in a stream with sub-layers.
	Layers  sublayer.Layers
	Numbers FrameNumbers
}

// FrameNumbers are the numbers that VP8 and VP9 give frames inside their payload descriptors (RFC 7741 section 4.2, RFC 9628 section 4.2). Decoders take a jump in
// them for loss, so they must go on without one when a viewer changes layers. Offsets count from the start of the payload; 0 means that a number is absent.
type FrameNumbers struct {
	PictureID                        uint16
	PictureIDOffset, TL0PicIdxOffset uint8
	PictureIDLong                    bool // 15 bits in two bytes
	TL0PicIdx                        uint8
}

func frameNumbers(info *codec.Info) FrameNumbers {
	return FrameNumbers{
		PictureID: uint16(max(info.PictureID, 0)), PictureIDOffset: info.PictureIDOffset, PictureIDLong: info.PictureIDLong,
		TL0PicIdx: info.TL0PicIdx, TL0PicIdxOffset: info.TL0PicIdxOffset,
	}
}

// born is when the packet reached its first node, in nanoseconds since the Unix epoch.
func (p *Packet) born() int64 { return p.Arrival - p.Age }

// Payload is the packet's payload without padding. Hot path.
func (p *Packet) Payload() []byte { return p.Header.Payload(p.Data) }

// Log is the bounded ring of the newest packets of one layer, in the order of their arrival. One goroutine at a time appends; any number read through
// positions (cursors) of their own without a lock. A reader that falls behind the tail has been lapped and sees nil.
type Log struct {
	ring     atomic.Pointer[ring]
	head     atomic.Uint64 // position after the newest packet
	tail     atomic.Uint64 // position of the oldest packet kept
	keyframe atomic.Uint64 // 1 + position where the newest keyframe starts; 0 when there was none

	// The writer's alone.
	bytes      int
	chunk      []Packet
	highest    uint64 // sequence number
	frameTS    uint32 // timestamp of the newest frame
	frameStart uint64 // position of its first packet

	dirty    atomic.Bool  // waits in Node.dirtyLogs
	audience atomic.Int32 // forwarders and sinks on the log
	// watched, unless nil, is called when the audience has become one or none. It must not block.
	watched func()
	// readers are told of each append. The slice is replaced, never changed.
	readers atomic.Pointer[[]*logReader]
}

// ring is the storage of a log. Slots are found by position, and by sequence number through positions.
type ring struct {
	mask      uint64
	slots     []atomic.Pointer[Packet]
	positions []atomic.Uint64 // by sequence number: 1 + position
}

func newRing(packets int) *ring {
	return &ring{mask: uint64(packets - 1), slots: make([]atomic.Pointer[Packet], packets), positions: make([]atomic.Uint64, packets)}
}

func (r *ring) store(p *Packet) {
	r.slots[p.Position&r.mask].Store(p)
	r.positions[p.Seq&r.mask].Store(p.Position + 1)
}

// NewLog makes an empty log.
func NewLog() *Log {
	l := &Log{}
	l.ring.Store(newRing(logMinPackets))
	l.readers.Store(&[]*logReader{})
	return l
}

// Append adds a packet, of which all but Position is filled in, and returns where it lies. The caller must not change the packet's bytes any more. It does
// not wake readers: see notify. Hot path.
func (l *Log) Append(p Packet) *Packet {
	stored := l.allocate()
	*stored = p
	l.publish(stored)
	return stored
}

// publish is Append for a packet that was filled in where allocate has put it. Hot path.
func (l *Log) publish(stored *Packet) {
	stored.Position = l.head.Load()
	l.markKeyframe(stored)
	l.makeRoom(stored)
	l.ring.Load().store(stored)
	l.bytes += len(stored.Data)
	l.head.Store(stored.Position + 1)
}

// allocate takes the next Packet of the current chunk, so that the garbage collector sees one object for many packets. Hot path.
func (l *Log) allocate() *Packet {
	if len(l.chunk) == 0 {
		l.chunk = make([]Packet, packetsPerChunk)
	}
	p := &l.chunk[0]
	l.chunk = l.chunk[1:]
	return p
}

// markKeyframe remembers where the frame of a keyframe packet starts: parameter sets come in packets of their own before it, under the same timestamp. Late
// packets, which repair earlier frames, start none.
func (l *Log) markKeyframe(p *Packet) {
	if p.Position == 0 || p.Seq > l.highest {
		if p.Position == 0 || p.Header.Timestamp != l.frameTS {
			l.frameTS, l.frameStart = p.Header.Timestamp, p.Position
		}
		l.highest = p.Seq
	}
	if p.Keyframe && p.Header.Timestamp == l.frameTS {
		l.keyframe.Store(l.frameStart + 1)
	}
}

// makeRoom grows the ring while the log's bounds allow it, and forgets the oldest packets otherwise.
func (l *Log) makeRoom(p *Packet) {
	r, first := l.ring.Load(), l.tail.Load()
	tail := first
	for tail < p.Position {
		front := r.slots[tail&r.mask].Load()
		full := p.Position-tail >= uint64(len(r.slots))
		stale := l.stale(front, p.Arrival)
		if full && !stale && len(r.slots) < logMaxPackets && l.bytes < logMaxBytes {
			r = l.grow(r, tail, p.Position)
			continue
		}
		if !full && !stale && l.bytes+len(p.Data) <= logMaxBytes {
			break
		}
		l.bytes -= len(front.Data)
		r.slots[tail&r.mask].Store(nil)
		tail++
	}
	if tail != first {
		l.tail.Store(tail)
	}
}

// stale reports whether a packet has outlived its use at a time.
func (l *Log) stale(p *Packet, now int64) bool {
	age := now - p.Arrival
	return age > int64(logMaxAge) || (age > int64(logRepairAge) && p.Position+1 < l.keyframe.Load())
}

func (l *Log) grow(old *ring, tail, head uint64) *ring {
	r := newRing(2 * len(old.slots))
	for position := tail; position < head; position++ {
		r.store(old.slots[position&old.mask].Load())
	}
	l.ring.Store(r)
	return r
}

// Head is the position that the next packet will have.
func (l *Log) Head() uint64 { return l.head.Load() }

// At is the packet at a position; nil when it is not there yet, or no longer. Hot path.
func (l *Log) At(position uint64) *Packet {
	r := l.ring.Load()
	p := r.slots[position&r.mask].Load()
	if p == nil || p.Position != position {
		return nil
	}
	return p
}

// BySeq is the packet with an extended sequence number; nil when it is not there.
func (l *Log) BySeq(seq uint64) *Packet {
	r := l.ring.Load()
	position := r.positions[seq&r.mask].Load()
	if position == 0 {
		return nil
	}
	p := l.At(position - 1)
	if p == nil || p.Seq != seq {
		return nil
	}
	return p
}

// watch and unwatch count the audience.
func (l *Log) watch() {
	if l.audience.Add(1) == 1 && l.watched != nil {
		l.watched()
	}
}

func (l *Log) unwatch() {
	if l.audience.Add(-1) == 0 && l.watched != nil {
		l.watched()
	}
}

// misses reports whether the log has no packet with the number and would keep it: it is none from before all that it holds. It is for the writer. Hot path.
func (l *Log) misses(seq uint64) bool {
	if seq > l.highest { // mostly, and then nothing need be looked up
		return true
	}
	oldest := l.At(l.tail.Load())
	if oldest == nil {
		return true
	}
	return l.BySeq(seq) == nil && seq+logMinPackets > oldest.Seq
}

// ended reports whether the newest packet ends its frame. Hot path.
func (l *Log) ended() bool {
	p := l.At(l.head.Load() - 1)
	return p == nil || p.Header.Marker
}

// Keyframe is the position of the first packet of the newest keyframe, when the log still holds everything from there on.
func (l *Log) Keyframe() (position uint64, ok bool) {
	marked := l.keyframe.Load()
	if marked == 0 || marked-1 < l.tail.Load() {
		return 0, false
	}
	return marked - 1, true
}

// firstOf is the lowest sequence number of p's frame. A keyframe's first packet may have come after p, reordered or sent again, and must have a number.
func (l *Log) firstOf(p *Packet) uint64 {
	first := p.Seq
	for position := p.Position + 1; ; position++ {
		other := l.At(position)
		if other == nil {
			return first
		}
		if other.Header.Timestamp == p.Header.Timestamp && p.Seq-other.Seq < maxSeqGap {
			first = min(first, other.Seq)
		}
	}
}

// slab hands out memory for packets of one layer, many from one allocation. It is the writer's alone.
type slab struct {
	free []byte
	size int // bytes of the next allocation; it doubles …
	most int // … up to this
}

const (
	firstSlabBytes = 4 << 10  // a stream that sends a packet or two costs no more
	audioSlabBytes = 8 << 10  // about 2 s of Opus: a slow stream pins little
	videoSlabBytes = 64 << 10 // about 50 packets
)

// room is n bytes to write a packet into; keep says how many were used, and only then are they taken.
func (s *slab) room(n int) []byte {
	if len(s.free) < n {
		s.free = make([]byte, max(s.size, n))
		s.size = min(2*s.size, max(s.most, s.size))
	}
	return s.free[:n:n]
}

func (s *slab) keep(n int) { s.free = s.free[n:] }
