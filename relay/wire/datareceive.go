package wire

import (
	"errors"
	"slices"
	"time"
)

// ErrDataRoom says that a datagram holds more than its sender was told that there is room for. It is not acknowledged.
var ErrDataRoom = errors.New("data exceeds the receiver's room")

// Delivery is what comes out of a DataReceiver: a message of a lane, its opening before all of them, its closing after them. Body is nobody else's.
type Delivery struct {
	Lane   uint32
	Op     DataOp
	Kind   uint8
	Number uint64 // in the lane: ascending if it is ordered, and never twice
	Body   []byte
}

// DataReceiver is the receiving half of a data stream: payloads of datagrams go in, whole messages and acknowledgements come out. It is for one goroutine at a time. Times are
// nanoseconds of one clock. The zero value is ready.
type DataReceiver struct {
	held     int // bytes of all messages here, with what they cost
	told     int // room that was told last
	seen     numberSet
	newestAt int64 // when the last datagram came
	due      bool  // an acknowledgement
	lanes    map[uint32]*receiveLane
	closed   numberSet      // lanes
	ready    []*receiveLane // one for each message that may be taken

	// Duplicates counts chunks that came twice.
	Duplicates uint64
}

type receiveLane struct {
	id        uint32
	unordered bool
	open      bool                 // its opening has been made ready
	next      uint64               // what lies below has been made ready, or will not come
	early     map[uint64]*assembly // from next on: parts, and messages that are not in their turn
	done      map[uint64]struct{}  // above next, of lanes that are not ordered: made ready already
	ready     []Delivery
	paused    bool
	parked    int // of ready, while paused
}

// assembly is a message that is not whole, or not in its turn.
type assembly struct {
	op   DataOp
	kind uint8
	body []byte
	have numberSet // bytes
	got  int       // bytes
}

func (a *assembly) whole() bool { return a.got == len(a.body) }

func costOf(length int) int { return length + messageCost }

// Datagram takes the payload of a datagram. b may be used again afterwards.
func (r *DataReceiver) Datagram(b []byte, now int64) error {
	number, awaited, chunks, err := parseDataHead(b)
	if err != nil {
		return err
	}
	for rest := chunks; len(rest) > 0; {
		var c chunk
		if c, rest, err = nextChunk(rest); err != nil {
			return err
		}
		if err := r.chunk(&c); err != nil {
			return err
		}
	}
	r.seen.add(NumberRange{To: number - uint64(awaited)})
	r.seen.add(NumberRange{From: number, To: number + 1})
	if above := r.seen.above(); len(above) > maxAckRanges { // of the oldest the sender hears nothing, and sends again
		r.seen.ranges = slices.Delete(r.seen.ranges, len(r.seen.ranges)-len(above), len(r.seen.ranges)-maxAckRanges)
	}
	r.newestAt, r.due = now, true
	return nil
}

func (r *DataReceiver) chunk(c *chunk) error {
	l := r.lanes[c.lane]
	if l == nil {
		if r.closed.has(uint64(c.lane)) {
			r.Duplicates++
			return nil
		}
		if l = r.newLane(c); l == nil {
			return ErrDataRoom
		}
	}
	if c.op == dataSkip {
		return r.skip(l, c.number)
	}
	_, before := l.done[c.number]
	if c.number < l.next || before {
		r.Duplicates++
		return nil
	}
	if c.number-l.next >= 2*maxSpan {
		return ErrDataRoom
	}
	return r.piece(l, c)
}

func (r *DataReceiver) newLane(c *chunk) *receiveLane {
	if len(r.lanes) >= 2*MaxLanes { // the sender may have opened others while the last messages of closed ones wait here
		return nil
	}
	if r.lanes == nil {
		r.lanes = map[uint32]*receiveLane{}
	}
	l := &receiveLane{id: c.lane, unordered: c.unordered, early: map[uint64]*assembly{}, done: map[uint64]struct{}{}}
	r.lanes[c.lane] = l
	return l
}

// piece puts a chunk into its message.
func (r *DataReceiver) piece(l *receiveLane, c *chunk) error {
	a := l.early[c.number]
	if a == nil {
		if r.held+costOf(c.total) > DataRoomBytes {
			return ErrDataRoom
		}
		r.held += costOf(c.total)
		a = &assembly{op: c.op, kind: c.kind, body: make([]byte, c.total)}
		l.early[c.number] = a
	} else if a.whole() {
		r.Duplicates++
		return nil
	}
	if len(a.body) != c.total || a.op != c.op || a.kind != c.kind {
		return ErrMessage
	}
	bytes := NumberRange{From: uint64(c.offset), To: uint64(c.offset + len(c.body))}
	if len(c.body) > 0 && a.have.overlaps(bytes) {
		r.Duplicates++
		return nil
	}
	copy(a.body[c.offset:], c.body)
	a.have.add(bytes)
	a.got += len(c.body)
	if a.whole() {
		a.have.ranges = nil
		r.advance(l, c.number)
	}
	return nil
}

// advance makes ready what may be taken now that a message is whole.
func (r *DataReceiver) advance(l *receiveLane, number uint64) {
	if l.unordered && l.open && l.early[number].op == DataMessage {
		r.emit(l, number)
		l.done[number] = struct{}{}
	}
	r.settle(l)
}

// settle makes ready what is next, as far as there is no gap.
func (r *DataReceiver) settle(l *receiveLane) {
	for {
		if _, ok := l.done[l.next]; ok {
			delete(l.done, l.next)
			l.next++
			continue
		}
		a := l.early[l.next]
		if a == nil || !a.whole() {
			return
		}
		r.emit(l, l.next)
		l.next++
		if a.op == DataOpen && l.unordered {
			r.emitWhole(l)
		}
	}
}

// emitWhole makes ready what came before the opening of a lane that is not ordered.
func (r *DataReceiver) emitWhole(l *receiveLane) {
	for number, a := range l.early {
		if a.whole() && a.op == DataMessage {
			r.emit(l, number)
			l.done[number] = struct{}{}
		}
	}
}

func (r *DataReceiver) emit(l *receiveLane, number uint64) {
	a := l.early[number]
	delete(l.early, number)
	l.open = l.open || a.op == DataOpen
	l.ready = append(l.ready, Delivery{Lane: l.id, Op: a.op, Kind: a.kind, Number: number, Body: a.body})
	if l.paused {
		l.parked++
		return
	}
	r.ready = append(r.ready, l)
}

// skip gives up what lies below floor and is not whole.
func (r *DataReceiver) skip(l *receiveLane, floor uint64) error {
	if floor <= l.next {
		return nil
	}
	if floor-l.next > 2*maxSpan {
		return ErrMessage
	}
	if l.next == 0 { // the opening is never left out: it is on its way
		return ErrDataRoom
	}
	for ; l.next < floor; l.next++ {
		delete(l.done, l.next)
		a := l.early[l.next]
		switch {
		case a == nil:
		case a.whole():
			r.emit(l, l.next)
		default:
			delete(l.early, l.next)
			r.held -= costOf(len(a.body))
		}
	}
	r.settle(l)
	return nil
}

// Take returns the next message of a lane that is not paused. Done must be called for each, once its memory is free again.
func (r *DataReceiver) Take() (Delivery, bool) {
	for len(r.ready) > 0 {
		l := r.ready[0]
		r.ready[0] = nil
		if r.ready = r.ready[1:]; len(r.ready) == 0 {
			r.ready = nil
		}
		if l.paused {
			l.parked++
			continue
		}
		d := l.ready[0]
		l.ready[0] = Delivery{}
		l.ready = l.ready[1:]
		if d.Op == DataClose {
			r.forget(l)
		}
		return d, true
	}
	return Delivery{}, false
}

// forget ends a lane. That it was there is remembered, since a chunk of it may come late.
func (r *DataReceiver) forget(l *receiveLane) {
	for number, a := range l.early { // what a sender sends after the end
		delete(l.early, number)
		r.held -= costOf(len(a.body))
	}
	delete(r.lanes, l.id)
	r.closed.add(NumberRange{From: uint64(l.id), To: uint64(l.id) + 1})
	if ranges := r.closed.ranges; len(ranges) > 4*MaxLanes {
		ranges[0].To = ranges[1].To
		r.closed.ranges = slices.Delete(ranges, 1, 2)
	}
}

// Done says that what Take returned is not held any more.
func (r *DataReceiver) Done(d Delivery) {
	r.held -= costOf(len(d.Body))
	if room := r.Room(); r.told < DataRoomBytes/2 && room >= r.told+DataRoomBytes/4 { // the sender may wait for it
		r.due = true
	}
}

// Pause keeps a lane's messages from being taken; Resume ends that.
func (r *DataReceiver) Pause(lane uint32) {
	if l := r.lanes[lane]; l != nil {
		l.paused = true
	}
}

// Resume ends what Pause began.
func (r *DataReceiver) Resume(lane uint32) {
	l := r.lanes[lane]
	if l == nil || !l.paused {
		return
	}
	l.paused = false
	for ; l.parked > 0; l.parked-- {
		r.ready = append(r.ready, l)
	}
}

// Room is how many bytes of messages more there is memory for.
func (r *DataReceiver) Room() int { return DataRoomBytes - r.held }

// Ack appends the acknowledgement that is due to dst; nothing if none is.
func (r *DataReceiver) Ack(dst []byte, now int64) []byte {
	if !r.due {
		return nil
	}
	r.due, r.told = false, r.Room()
	return DataAck{
		Delay: time.Duration(now - r.newestAt), Room: r.told, Cumulative: r.seen.cumulative(), Ranges: r.seen.above(),
	}.Append(dst)
}
