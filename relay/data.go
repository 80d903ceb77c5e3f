package relay

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"rheomesh/internal/udpbatch"
	"rheomesh/relay/wire"
	"rheomesh/sfu"
)

// Bounds of data streams, on top of those of package wire.
const (
	dataBatch        = 64 // datagrams that one system call sends
	deliverBurst     = 64 // messages that are delivered before what came meanwhile is acknowledged
	maxUnknownLabels = 32 // labels of viewers that the publisher has no channel of
)

// Kinds of messages, as bits: they cross in the chunks.
const (
	kindBinary = 1 << 0
	kindFrom   = 1 << 1 // the message begins with its sender's id, and that with its length in one byte
)

// dataStream carries the data channels of one relayed publisher over a link, both ways: the publisher's messages from the origin to the edge, those of the edge's viewers to
// the origin. There is one on each side. Its goroutine, which starts with the first channel or datagram and ends with close, sends, acknowledges and delivers.
type dataStream struct {
	link     *link
	receiver *receiver // where the peer sends to
	remote   wire.Handle
	end      dataEnd
	wake     chan struct{} // capacity 1; never closed
	quit     chan struct{} // closed by close

	// Atomic only.
	messagesIn, bytesIn, messagesOut, bytesOut, dropped, resent atomic.Uint64
	used                                                        atomic.Bool  // a channel was opened on it once
	openIn                                                      atomic.Int32 // channels that the peer has opened

	// The goroutine's alone.
	batch    *udpbatch.WriteBatch
	incoming map[uint32]*dataLane // the peer's lanes
	labels   map[string]uint32    // the lane that a label belongs to

	// mu guards the fields below. It is taken after link.receive and before controlSender.mu; nothing of package sfu is called under it.
	mu       sync.Mutex
	sender   *wire.DataSender
	inbox    wire.DataReceiver
	lanes    map[string]*outLane // ours, by label
	running  bool
	closed   bool
	scratch  [wire.MaxPayload]byte
	resentAt uint64 // sender.Resent when it was counted last
}

// dataEnd is who a stream's messages are for. Its methods are called on the stream's goroutine.
type dataEnd interface {
	// peerOpened says that the peer has opened a channel; false refuses it, and its messages are dropped.
	peerOpened(c sfu.DataChannel) bool
	peerClosed(label string)
	// peerSent takes a message, or says that nobody does.
	peerSent(m sfu.DataMessage) bool
}

// outLane is a channel that this node has opened to the peer.
type outLane struct {
	id    uint32
	known bool // the publisher has a channel of the label
}

// dataLane is a channel that the peer has opened.
type dataLane struct {
	label    string
	accepted bool
	opening  *sfu.DataChannel // that waits until the label's last channel is closed
}

// newDataStream makes a stream and reserves its handle. start must follow once the peer's is known, and close in the end.
func (l *link) newDataStream() (*dataStream, error) {
	s := l.emptyDataStream()
	for range 2 {
		s.receiver = &receiver{link: l, data: s}
		if err := l.node.reserve(s.receiver); err != nil {
			return nil, err
		}
		if s.receiver.handle != 0 { // 0 stands for none
			break
		}
		defer l.node.release(s.receiver)
	}
	return s, nil
}

func (l *link) emptyDataStream() *dataStream {
	return &dataStream{
		link: l, wake: make(chan struct{}, 1), quit: make(chan struct{}), sender: wire.NewDataSender(wire.MaxPayload - wire.DataFromLen),
		incoming: map[uint32]*dataLane{}, labels: map[string]uint32{}, lanes: map[string]*outLane{},
	}
}

// renew ends the stream and makes an empty one under its handle, which start must follow again.
func (s *dataStream) renew() *dataStream {
	next := s.link.emptyDataStream()
	next.receiver = &receiver{link: s.link, data: next, handle: s.receiver.handle}
	if s.stop() {
		s.link.node.table[s.receiver.handle.Slot()].CompareAndSwap(s.receiver, nil)
	}
	return next
}

// start lets the stream send to the peer's handle, and take what comes for end.
func (s *dataStream) start(remote wire.Handle, end dataEnd) {
	s.remote, s.end = remote, end
	s.sender.SetRoundTrip(s.link.roundTrip())
	s.link.node.publish(s.receiver)
}

// close ends the stream. What is not acknowledged by now may be lost. It does not wait for the goroutine; the node does, when it closes.
func (s *dataStream) close() {
	if s.stop() {
		s.link.node.release(s.receiver)
	}
}

// stop ends the goroutine, soon. It reports whether nobody has before.
func (s *dataStream) stop() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.closed = true
	close(s.quit)
	return true
}

// awakeLocked lets the goroutine look, and starts it the first time.
func (s *dataStream) awakeLocked() {
	if !s.running {
		s.running = true
		if !s.link.node.tasks.start(s.run) {
			return
		}
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// arrived takes a datagram of the peer. link.receive is held.
func (s *dataStream) arrived(h wire.Header, plain []byte, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	from, plain, err := wire.CutDataFrom(plain)
	if err != nil {
		return err
	}
	if from != s.remote { // late, from the one before
		return nil
	}
	if h.Type == wire.TypeDataAck {
		err = s.sender.Acknowledged(plain, h.Seq, now.UnixNano())
	} else {
		err = s.inbox.Datagram(plain, now.UnixNano())
	}
	s.awakeLocked()
	return err
}

// run is the stream's goroutine. It ends with close.
func (s *dataStream) run() {
	s.batch = udpbatch.NewWriteBatch(dataBatch, dataBatch*(wire.MaxPayload+wire.Overhead))
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Stop()
		if wait, more := s.flush(); more {
			timer.Reset(wait)
		}
		if s.deliver() {
			continue
		}
		select {
		case <-s.quit:
			return
		case <-s.wake:
		case <-timer.C:
		}
	}
}

// flush sends what may be sent and acknowledges what has come. It says how long to wait until there is more, if something will be.
func (s *dataStream) flush() (wait time.Duration, more bool) {
	for {
		to := s.link.control.at.Load()
		if to == nil {
			return urgentPing, true
		}
		full, deadline := s.fill(to.addr)
		_, _ = to.via.conn.Write(s.batch) // what the kernel does not take is lost, and sent again
		if full {
			continue
		}
		return time.Duration(max(deadline-time.Now().UnixNano(), 0)), deadline != 0
	}
}

// fill seals datagrams into the batch, as many as there are or as it holds.
func (s *dataStream) fill(to netip.AddrPort) (full bool, deadline int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false, 0
	}
	now := time.Now().UnixNano()
	head := wire.AppendDataFrom(s.scratch[:0], s.receiver.handle)
	if ack := s.inbox.Ack(head[len(head):], now); len(ack) > 0 {
		s.link.control.seal(s.batch, wire.TypeDataAck, s.remote, s.scratch[:len(head)+len(ack)], to)
	}
	for s.batch.Len() < dataBatch {
		payload := s.sender.Next(head[len(head):], now)
		if len(payload) == 0 {
			s.countLocked()
			return false, s.sender.Deadline()
		}
		s.link.control.seal(s.batch, wire.TypeData, s.remote, s.scratch[:len(head)+len(payload)], to)
	}
	return true, 0
}

func (s *dataStream) countLocked() {
	if again := s.sender.Resent - s.resentAt; again > 0 {
		s.resentAt = s.sender.Resent
		s.resent.Add(again)
		s.link.node.counters.dataResent.Add(again)
	}
}

// seal seals a message of a data stream into a batch.
func (c *controlSender) seal(batch *udpbatch.WriteBatch, t wire.Type, handle wire.Handle, message []byte, to netip.AddrPort) {
	c.mu.Lock()
	defer c.mu.Unlock()
	buffer := batch.Next(len(message) + wire.Overhead)
	batch.Commit(c.key.Seal(buffer, wire.Header{Type: t, Handle: handle, Seq: c.seq}, message), to)
	c.seq++
}

// deliver hands messages that are whole and in their turn to the end. It reports whether it had any: then there may be more, and room to be told of.
func (s *dataStream) deliver() (some bool) {
	for range deliverBurst {
		s.mu.Lock()
		d, ok := s.inbox.Take()
		stopped := s.closed
		s.mu.Unlock()
		if !ok || stopped {
			return some && !stopped
		}
		some = true
		s.take(d)
		s.mu.Lock()
		s.inbox.Done(d)
		s.mu.Unlock()
	}
	return some
}

// openLane opens a channel to the peer.
func (s *dataStream) openLane(c sfu.DataChannel, known bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.openLaneLocked(c, known)
}

func (s *dataStream) openLaneLocked(c sfu.DataChannel, known bool) bool {
	if s.closed || s.lanes[c.Label] != nil {
		return false
	}
	o := openingOf(c)
	id, ok := s.sender.Open(o.LaneOptions, o.Append(nil), time.Now().UnixNano())
	if !ok {
		return false
	}
	s.lanes[c.Label] = &outLane{id: id, known: known}
	s.used.Store(true)
	s.awakeLocked()
	return true
}

// closeLane closes it, after what is queued for it.
func (s *dataStream) closeLane(label string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lane := s.lanes[label]
	if lane == nil || s.closed {
		return
	}
	delete(s.lanes, label)
	s.sender.Close(lane.id, time.Now().UnixNano())
	s.awakeLocked()
}

// queue queues a message for the peer. False says that there is no room.
func (s *dataStream) queue(m sfu.DataMessage) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	lane := s.lanes[m.Channel]
	if lane == nil || s.closed {
		s.drop()
		return true // and never will be
	}
	kind, body := packMessage(m)
	if !s.sender.Queue(lane.id, kind, body, time.Now().UnixNano()) {
		return false
	}
	s.messagesOut.Add(1)
	s.bytesOut.Add(uint64(len(m.Data)))
	s.link.node.counters.dataMessagesOut.Add(1)
	s.link.node.counters.dataBytesOut.Add(uint64(len(m.Data)))
	s.awakeLocked()
	return true
}

// drop counts a message that is not carried.
func (s *dataStream) drop() {
	s.dropped.Add(1)
	s.link.node.counters.dataDropped.Add(1)
}

// packMessage is a message as it crosses. Without a sender's id its bytes are not copied.
func packMessage(m sfu.DataMessage) (kind uint8, body []byte) {
	if m.Binary {
		kind |= kindBinary
	}
	if m.From == "" {
		return kind, m.Data
	}
	body = make([]byte, 0, 1+len(m.From)+len(m.Data))
	body = append(body, byte(len(m.From)))
	body = append(body, m.From...)
	return kind | kindFrom, append(body, m.Data...)
}

// unpackMessage is what packMessage made it of.
func unpackMessage(label string, kind uint8, body []byte) (sfu.DataMessage, bool) {
	m := sfu.DataMessage{Channel: label, Binary: kind&kindBinary != 0, Data: body}
	if kind&kindFrom == 0 {
		return m, true
	}
	if len(body) == 0 || len(body) <= int(body[0]) {
		return m, false
	}
	id := string(body[1 : 1+int(body[0])])
	m.From, m.Data = sfu.SubscriberID(id), body[1+int(body[0]):]
	return m, sfu.ValidID(id)
}

func openingOf(c sfu.DataChannel) wire.Opening {
	o := wire.Opening{Label: c.Label, Protocol: c.Protocol, LaneOptions: wire.LaneOptions{Unordered: !c.Ordered, MaxRetransmits: c.MaxRetransmits}}
	if c.MaxLifetime != nil {
		o.MaxLifetime = max(*c.MaxLifetime, time.Millisecond) // 0 would be without limit
	}
	return o
}

func channelOf(o wire.Opening) sfu.DataChannel {
	c := sfu.DataChannel{Label: o.Label, Protocol: o.Protocol, Ordered: !o.Unordered, MaxRetransmits: o.MaxRetransmits}
	if o.MaxLifetime > 0 {
		c.MaxLifetime = &o.MaxLifetime
	}
	return c
}

// appendInfo appends the stream's row among the layers of its publisher, once a channel was opened on it.
func (s *dataStream) appendInfo(list []StreamInfo, publisher sfu.PublisherID) []StreamInfo {
	if !s.used.Load() {
		return list
	}
	s.mu.Lock()
	open := len(s.lanes) > 0 || s.openIn.Load() > 0
	s.mu.Unlock()
	return append(list, StreamInfo{
		PublisherID: publisher, TrackID: dataTrack, State: flowState(open), Wanted: open,
		Packets: s.messagesIn.Load() + s.messagesOut.Load(), Bytes: s.bytesIn.Load() + s.bytesOut.Load(), Lost: s.resent.Load(), Recovered: s.resent.Load(),
	})
}

// dataTrack is what publishers' data tracks are called, as in package sfu.
const dataTrack sfu.TrackID = "data"
