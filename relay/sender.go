package relay

import (
	"slices"
	"sync/atomic"
	"time"

	"rheomesh/internal/udpbatch"
	"rheomesh/relay/wire"
	"rheomesh/sfu"
)

// sender is the media flow to the peer. All of it but used belongs to the worker of the link's tap.
type sender struct {
	link     *link
	key      *wire.Key
	seq      uint64
	batch    *udpbatch.WriteBatch
	history  wire.History
	pacer    wire.Pacer
	repairs  []uint64 // numbers that wait to be sent again, oldest first
	packets  uint64   // since the last flush
	bytes    uint64
	used     atomic.Uint64 // numbers used so far, for pings
	owing    atomic.Bool   // repairs is not empty
	rekeying atomic.Bool   // the next phase has begun, but not in this flow yet
}

func newSender(l *link, key *wire.Key) *sender {
	return &sender{link: l, key: key, batch: udpbatch.NewWriteBatch(batchDatagrams, batchBytes)}
}

// put queues one datagram and remembers it. Hot path.
func (s *sender) put(h wire.Header, payload []byte) {
	h.Seq = s.seq
	s.seq++
	s.queue(h, payload, s.key)
	s.history.Add(h, payload, s.key)
	s.packets++
	s.bytes += uint64(len(payload))
}

// queue seals a datagram into the batch, unless it is known that the path does not take its size. Hot path.
func (s *sender) queue(h wire.Header, payload []byte, key *wire.Key) {
	size := len(payload) + wire.Overhead
	if size > int(s.link.pathLimit.Load()) {
		s.link.oversized.Add(1)
		s.link.node.counters.oversized.Add(1)
		return
	}
	buffer := s.batch.Next(size)
	if buffer == nil {
		s.write()
		buffer = s.batch.Next(size)
	}
	s.batch.Commit(key.Seal(buffer, h, payload), s.link.control.at.Load().addr)
}

// Flush implements sfu.Sender.
func (s *sender) Flush(int64) {
	if len(s.repairs) == 0 && s.batch.Len() == 0 {
		return
	}
	now := steady(time.Now())
	if len(s.repairs) > 0 {
		s.repair(now)
	}
	if s.batch.Len() == 0 {
		return
	}
	s.write()
	c := &s.link.node.counters
	c.packetsOut.Add(s.packets)
	c.bytesOut.Add(s.bytes)
	s.pacer.Sent(int(s.bytes), now)
	s.packets, s.bytes = 0, 0
	s.used.Store(s.seq)
}

// write sends the batch. What the kernel does not take is lost, and repaired like any other loss.
func (s *sender) write() {
	_, _ = s.link.control.at.Load().via.conn.Write(s.batch)
}

// resend takes numbers that the peer has missed. What does not fit into the queue the peer asks for once more.
func (s *sender) resend(seqs []uint64, now int64) {
	s.repairs = append(s.repairs, seqs[:min(len(seqs), maxRepairs-len(s.repairs))]...)
	s.repair(now)
}

// repair seals again what the peer has missed, as fast as the pacer allows: with the same key, number and payload the datagram is the same to the last bit. The rest
// follows with the next batches, or with the clock.
func (s *sender) repair(now int64) {
	done := 0
	for ; done < len(s.repairs) && s.link.up.Load(); done++ {
		sent := s.history.Find(s.repairs[done], now, s.link.roundTrip())
		if sent == nil {
			continue
		}
		if !s.pacer.Take(len(sent.Payload)+wire.Overhead, now) {
			break
		}
		s.queue(sent.Header, sent.Payload, sent.Key)
		s.link.node.counters.resent.Add(1)
		s.link.resent(sent.Header.Handle, sent.Resent(now))
	}
	s.repairs = slices.Delete(s.repairs, 0, done)
	if !s.link.up.Load() {
		s.repairs = s.repairs[:0]
	}
	s.owing.Store(len(s.repairs) > 0)
}

// rekey begins the next phase.
func (s *sender) rekey() {
	if next, err := s.key.Next(); err == nil { // it failed not the first time, so it never does
		s.key = next
	}
	s.rekeying.Store(false)
}

// outStream is one layer on its way to the peer: a cursor on the layer's log.
type outStream struct {
	link      *link
	layer     *sfu.Layer
	handle    wire.Handle // the peer's
	video     bool
	several   bool // the track has other layers
	publisher sfu.PublisherID
	track     sfu.TrackID
	ended     atomic.Bool

	wanted                    atomic.Bool
	packets, bytes, keyframes atomic.Uint64
	lost, recovered           atomic.Uint64

	// The worker's alone.
	attached bool
	cursor   uint64
	stale    bool  // the cursor must be placed anew
	reported int64 // arrival of the newest sender report that was passed on
}

// want attaches the stream to its log, or detaches it, as the peer's viewers come and go. Any goroutine.
func (s *outStream) want(wanted bool) {
	if s.wanted.Swap(wanted) != wanted {
		s.link.tap.Do(s.apply)
	}
}

// apply runs on the worker.
func (s *outStream) apply() {
	want := s.wanted.Load() && !s.ended.Load()
	switch log := s.layer.Log(); {
	case want && !s.attached:
		s.attached, s.stale = true, true
		s.link.tap.Attach(s, log)
		s.Advance(log, time.Now().UnixNano())
	case !want && s.attached:
		s.attached = false
		s.link.tap.Detach(s, log)
	}
}

// end takes the stream away for good and says so to the peer. When it was the last, what was remembered for repairs is forgotten.
func (s *outStream) end(last bool) {
	s.ended.Store(true)
	s.link.tap.Do(func() {
		s.apply()
		if s.link.up.Load() {
			s.link.sender.put(wire.Header{Type: wire.TypeStreamEnd, Handle: s.handle}, nil)
		}
		if last {
			s.link.sender.history.Clear()
		}
	})
}

// Advance implements sfu.Sink. Hot path.
func (s *outStream) Advance(l *sfu.Log, now int64) {
	if !s.link.up.Load() {
		s.stale = true
		return
	}
	if s.stale {
		s.place(l, now)
	}
	packets, bytes := 0, 0
	for ; packets < burstPackets; packets++ {
		p := l.At(s.cursor)
		if p == nil {
			break
		}
		s.cursor++
		s.link.sender.put(wire.Header{Type: wire.TypeMedia, Handle: s.handle, Age: time.Duration(now - p.Born()), Cycle: uint8(p.Seq >> 16 & 0xf)}, p.Data)
		bytes += len(p.Data)
	}
	if packets > 0 {
		s.packets.Add(uint64(packets))
		s.bytes.Add(uint64(bytes))
	}
	s.passReport(now)
	switch {
	case packets == burstPackets:
		s.link.tap.Again(l)
	case s.cursor < l.Tail(): // lapped
		s.place(l, now)
		s.link.tap.Again(l)
	}
}

// place puts the cursor where a viewer can start: at the newest keyframe that the log still holds, or else, and for audio, at the next packet.
func (s *outStream) place(l *sfu.Log, now int64) {
	s.stale = false
	s.cursor = l.Head()
	if !s.video {
		return
	}
	if position, ok := l.Keyframe(); ok {
		s.cursor = position
		return
	}
	s.layer.RequestKeyframe(time.Unix(0, now))
}

// passReport lets sender reports cross, so that lips stay in sync.
func (s *outStream) passReport(now int64) {
	report := s.layer.Report()
	if report.Arrival == s.reported {
		return
	}
	s.reported = report.Arrival
	message := wire.SenderReport{NTP: report.NTP, RTPTime: report.RTPTime}.Append(nil)
	s.link.sender.put(wire.Header{Type: wire.TypeSenderReport, Handle: s.handle, Age: time.Duration(now - report.Arrival)}, message)
}

// resent counts a repair of one of the link's streams.
func (l *link) resent(handle wire.Handle, first bool) {
	l.streams.Lock()
	defer l.streams.Unlock()
	if s := l.out[handle]; s != nil && first {
		s.lost.Add(1)
		s.recovered.Add(1)
	}
}
