package wire

import (
	"slices"
	"time"
)

// DataSender is the sending half of a data stream: messages and acknowledgements go in, payloads of datagrams come out. It is for one goroutine at a time. Times are
// nanoseconds of one clock.
type DataSender struct {
	payload int // bytes of a datagram at most
	lanes   []*sendLane
	created uint32 // lanes so far; their ids
	turn    int    // whose turn it is, an index of lanes

	queuedCost, begunCost int // of the messages that are not finished, and of those of them that were begun
	room                  int // what the receiver has said last
	roomSeq               uint64

	flight   []sentDatagram // that are not settled, by number; the first is never settled
	next     uint64         // number of the next datagram; that of flight[0] is next-len(flight)
	largest  uint64         // one above the highest number that was acknowledged
	inFlight int            // bytes
	again    []sentChunk    // that were lost and must be sent again
	spare    [][]sentChunk  // memory of settled datagrams
	ranges   []NumberRange
	pace     pace
	detected uint64    // largest when losses were looked for last
	asked    int       // questions since the last acknowledgement
	askAt    int64     // when to ask; 0 is never
	lossAt   int64     // when a datagram will be lost that is not yet; 0 is never
	paceAt   int64     // when the pace lets the next one go; 0 says that it does not wait
	hungry   *sendLane // whose next message waits for the receiver's room; nil if none does

	// Counts. Resent is of chunks, Dropped of messages that were left out, as their lane allows.
	Resent, Dropped uint64
}

type sendLane struct {
	id       uint32
	options  LaneOptions
	next     uint64         // number of the next message that is begun
	waiting  []*sendMessage // not begun
	begun    []*sendMessage // in order; the first is not finished
	cost     int            // of all
	skip     uint64         // the receiver must be told that nothing below will come; 0 is nothing
	skipSent bool           // and it is on its way
	closing  bool           // a DataClose is the last message
}

type sendMessage struct {
	lane        *sendLane
	op          DataOp
	kind        uint8
	number      uint64
	body        []byte // nil when it is finished
	size        int
	queued      int64
	begun       bool
	cut         int  // bytes that were put into chunks
	whole       bool // all were
	outstanding int  // chunks that are not acknowledged
	finished    bool
	dropped     bool
}

// sentChunk is a chunk in a datagram; a skip has no message.
type sentChunk struct {
	message        *sendMessage
	lane           *sendLane
	skip           uint64
	offset, length int
	tries          uint16 // times that it was sent again
}

type sentDatagram struct {
	at      int64
	size    int
	settled bool // acknowledged or lost
	chunks  []sentChunk
}

// NewDataSender makes a sender of payloads that have at most that many bytes.
func NewDataSender(payloadBytes int) *DataSender {
	return &DataSender{payload: payloadBytes, room: DataRoomBytes, pace: newPace(payloadBytes)}
}

// SetRoundTrip says how long an answer takes, for the time before acknowledgements tell it.
func (s *DataSender) SetRoundTrip(rtt time.Duration) {
	if s.pace.smoothed == 0 && rtt > 0 {
		s.pace.smoothed, s.pace.variation = rtt, rtt/2
	}
}

func (m *sendMessage) cost() int { return m.size + messageCost }

// reliable reports whether the message must arrive.
func (m *sendMessage) reliable() bool { return m.op != DataMessage || m.lane.options.Reliable() }

func (m *sendMessage) expired(now int64) bool {
	life := m.lane.options.MaxLifetime
	return !m.reliable() && life > 0 && now-m.queued > int64(life)
}

// Open opens a lane, which opening describes to the receiver. It reports false when too many are open.
func (s *DataSender) Open(options LaneOptions, opening []byte, now int64) (lane uint32, ok bool) {
	if len(s.lanes) >= MaxLanes || len(opening) > MaxDataMessage {
		return 0, false
	}
	l := &sendLane{id: s.created, options: options}
	s.created++
	s.lanes = append(s.lanes, l)
	s.push(l, &sendMessage{lane: l, op: DataOpen, body: opening, size: len(opening), queued: now})
	return l.id, true
}

// Close closes a lane after the messages that are queued for it.
func (s *DataSender) Close(lane uint32, now int64) {
	if l := s.lane(lane); l != nil && !l.closing {
		l.closing = true
		s.push(l, &sendMessage{lane: l, op: DataClose, queued: now})
	}
}

// Queue takes a message, whose body must not change any more. It reports false when there is no room for it, or no such lane.
func (s *DataSender) Queue(lane uint32, kind uint8, body []byte, now int64) bool {
	l := s.lane(lane)
	if l == nil || l.closing || kind > maxMessageKind || len(body) > MaxDataMessage {
		return false
	}
	m := &sendMessage{lane: l, kind: kind, body: body, size: len(body), queued: now}
	if !s.fits(m) {
		s.expire(l, now)
		if !s.fits(m) {
			return false
		}
	}
	s.push(l, m)
	return true
}

func (s *DataSender) fits(m *sendMessage) bool {
	return s.queuedCost+m.cost() <= MaxQueuedBytes && m.lane.cost+m.cost() <= MaxLaneBytes
}

func (s *DataSender) push(l *sendLane, m *sendMessage) {
	s.queuedCost += m.cost()
	l.cost += m.cost()
	l.waiting = append(l.waiting, m)
}

// Queued is how many bytes wait to be sent or acknowledged.
func (s *DataSender) Queued() int { return s.queuedCost }

func (s *DataSender) lane(id uint32) *sendLane {
	for _, l := range s.lanes {
		if l.id == id {
			return l
		}
	}
	return nil
}

// expire drops messages of a lane that were not begun in their time.
func (s *DataSender) expire(l *sendLane, now int64) {
	for len(l.waiting) > 0 && l.waiting[0].expired(now) {
		m := l.waiting[0]
		l.waiting = l.waiting[1:]
		s.finish(m)
		s.Dropped++
	}
}

// finish takes a message off the books, acknowledged or dropped, and lets go of its memory.
func (s *DataSender) finish(m *sendMessage) {
	m.finished, m.body = true, nil
	s.queuedCost -= m.cost()
	m.lane.cost -= m.cost()
	if m.begun {
		s.begunCost -= m.cost()
		s.settle(m.lane)
	}
}

// drop leaves a begun message out, as its lane allows.
func (s *DataSender) drop(m *sendMessage) {
	m.dropped = true
	s.Dropped++
	s.finish(m)
}

// settle moves the beginning of what is not finished. When dropped messages lie behind it the receiver must be told.
func (s *DataSender) settle(l *sendLane) {
	dropped := false
	for len(l.begun) > 0 && l.begun[0].finished {
		dropped = dropped || l.begun[0].dropped
		l.begun[0] = nil
		l.begun = l.begun[1:]
	}
	if dropped {
		l.skip, l.skipSent = l.floor(), false
	}
	if l.closing && len(l.begun) == 0 && len(l.waiting) == 0 && l.skip == 0 {
		i := slices.Index(s.lanes, l)
		s.lanes = slices.Delete(s.lanes, i, i+1)
	}
}

// floor is the least number that is not finished.
func (l *sendLane) floor() uint64 {
	if len(l.begun) > 0 {
		return l.begun[0].number
	}
	return l.next
}

// Next appends the payload of the next datagram to dst, which is empty and has room for it. It returns nothing when there is nothing to send now; Deadline says when
// to look again without an acknowledgement or a new message.
func (s *DataSender) Next(dst []byte, now int64) []byte {
	s.detect(now)
	s.paceAt = 0
	ask := s.askAt != 0 && now >= s.askAt && (len(s.flight) > 0 || s.hungry != nil)
	if !ask && !s.permitted(now) {
		return nil
	}
	d := sentDatagram{at: now}
	if n := len(s.spare); n > 0 {
		d.chunks, s.spare = s.spare[n-1][:0], s.spare[:n-1]
	}
	dst = appendDataHead(dst, s.next, len(s.flight))
	if s.permitted(now) {
		dst = s.fillAgain(dst, &d, now)
		dst = s.fillSkips(dst, &d)
		dst = s.fillFresh(dst, &d, now)
	}
	if len(d.chunks) == 0 && !ask {
		s.recycle(&d)
		return nil
	}
	if ask {
		s.asked++
	}
	d.size = len(dst) + Overhead
	s.next++
	s.flight = append(s.flight, d)
	s.inFlight += d.size
	s.pace.sent(d.size)
	s.askAt = now + s.pace.askDelay(s.asked)
	return dst
}

// permitted reports whether a datagram may go now.
func (s *DataSender) permitted(now int64) bool {
	if len(s.flight) >= maxFlight {
		return false
	}
	if s.inFlight+s.payload > s.pace.window {
		s.pace.full = true
		return false
	}
	if wait := s.pace.wait(now); wait > 0 {
		s.paceAt = now + wait
		return false
	}
	return true
}

// room is how many bytes of a chunk's body still fit into the datagram.
func (s *DataSender) roomIn(dst []byte) int { return s.payload - len(dst) - chunkHeadLen }

// fillAgain packs chunks that were lost.
func (s *DataSender) fillAgain(dst []byte, d *sentDatagram, now int64) []byte {
	for len(s.again) > 0 {
		c := s.again[0]
		m := c.message
		if !m.finished && m.expired(now) {
			s.drop(m)
		}
		if !m.finished {
			if c.length > s.roomIn(dst) {
				return dst
			}
			s.Resent++
			dst = appendPiece(dst, m, c.offset, c.length)
			d.chunks = append(d.chunks, c)
		}
		s.again = s.again[1:]
	}
	s.again = nil
	return dst
}

func appendPiece(dst []byte, m *sendMessage, offset, length int) []byte {
	c := chunk{lane: m.lane.id, op: m.op, unordered: m.lane.options.Unordered, kind: m.kind, number: m.number, total: m.size, offset: offset}
	dst = appendChunkHead(dst, &c, length)
	return append(dst, m.body[offset:offset+length]...)
}

// fillSkips packs what receivers must be told not to wait for.
func (s *DataSender) fillSkips(dst []byte, d *sentDatagram) []byte {
	for _, l := range s.lanes {
		if l.skip == 0 || l.skipSent || s.roomIn(dst) < 0 {
			continue
		}
		c := chunk{lane: l.id, op: dataSkip, unordered: l.options.Unordered, number: l.skip}
		dst = appendChunkHead(dst, &c, 0)
		d.chunks = append(d.chunks, sentChunk{lane: l, skip: l.skip})
		l.skipSent = true
	}
	return dst
}

// fillFresh packs chunks of messages, lane by lane in turn.
func (s *DataSender) fillFresh(dst []byte, d *sentDatagram, now int64) []byte {
	for idle := 0; idle < len(s.lanes) && s.roomIn(dst) >= 0; {
		if s.turn >= len(s.lanes) {
			s.turn = 0
		}
		l := s.lanes[s.turn]
		m := s.current(l, now)
		if m == nil {
			idle++
			s.turn++
			continue
		}
		length := min(m.size-m.cut, s.roomIn(dst))
		if length < m.size-m.cut && length < minPiece {
			return dst
		}
		dst = appendPiece(dst, m, m.cut, length)
		d.chunks = append(d.chunks, sentChunk{message: m, lane: l, offset: m.cut, length: length})
		m.cut += length
		m.outstanding++
		m.whole = m.cut == m.size
		idle = 0
		s.turn++
	}
	return dst
}

// current is the message of a lane to go on with, a new one if the last is sent. While one waits for the receiver's room no other is begun, lest shorter ones take it
// for ever.
func (s *DataSender) current(l *sendLane, now int64) *sendMessage {
	if n := len(l.begun); n > 0 && !l.begun[n-1].whole && !l.begun[n-1].finished {
		if m := l.begun[n-1]; !m.expired(now) {
			return m
		}
		s.drop(l.begun[n-1])
	}
	if s.hungry != nil && s.hungry != l {
		return nil
	}
	s.hungry = nil
	s.expire(l, now)
	if len(l.waiting) == 0 || l.next-l.floor() >= maxSpan {
		return nil
	}
	m := l.waiting[0]
	if s.begunCost+m.cost() > s.room {
		s.hungry = l
		if s.askAt == 0 {
			s.askAt = now + s.pace.askDelay(s.asked)
		}
		return nil
	}
	l.waiting[0] = nil
	l.waiting = l.waiting[1:]
	m.begun, m.number = true, l.next
	l.next++
	s.begunCost += m.cost()
	l.begun = append(l.begun, m)
	return m
}

// Deadline is when Next may have something to send without anything having come in; 0 is never.
func (s *DataSender) Deadline() int64 {
	var at int64
	ask := s.askAt
	if len(s.flight) == 0 && s.hungry == nil {
		ask = 0
	}
	for _, t := range [...]int64{s.lossAt, s.paceAt, ask} {
		if t != 0 && (at == 0 || t < at) {
			at = t
		}
	}
	return at
}
