package relay

import (
	"net/netip"
	"time"

	"rheomesh/relay/wire"
)

// reception is the work of one reader goroutine on what one system call returned. It holds the receive lock of one link at a time, over as many datagrams in a row as
// come from that link, so no lock is taken per packet.
type reception struct {
	node    *Node
	socket  *socket
	now     time.Time
	steady  int64
	link    *link // whose lock is held
	fed     bool
	packets uint64
	bytes   uint64
	scratch [wire.MaxPath]byte
}

func (r *reception) begin(now time.Time) {
	r.now, r.steady, r.fed, r.packets, r.bytes = now, steady(now), false, 0, 0
}

// end lets viewers have what came.
func (r *reception) end() {
	r.release()
	if r.packets > 0 {
		r.node.counters.packetsIn.Add(r.packets)
		r.node.counters.bytesIn.Add(r.bytes)
	}
	if r.fed {
		r.node.media.Wake()
	}
}

func (r *reception) hold(l *link) {
	if r.link == l {
		return
	}
	r.release()
	l.receive.Lock()
	r.link = l
}

func (r *reception) release() {
	if r.link == nil {
		return
	}
	r.link.batchReceived(r.now)
	r.link.receive.Unlock()
	r.link = nil
}

// take is one datagram. Whatever is wrong with it, it is counted and nothing is answered. Hot path.
func (r *reception) take(datagram []byte, from netip.AddrPort) {
	h, err := wire.ParseHeader(datagram)
	if err != nil {
		r.node.counters.reject(rejectMalformed)
		return
	}
	if h.Handle.Slot() >= tableSlots {
		r.node.counters.reject(rejectHandle)
		return
	}
	to := r.node.table[h.Handle.Slot()].Load()
	if to == nil || to.handle != h.Handle || (to.stream != nil) != h.Type.Media() || (to.data != nil) != h.Type.Data() {
		r.node.counters.reject(rejectHandle)
		return
	}
	r.hold(to.link)
	if to.stream == nil {
		r.control(to, datagram, h, from)
		return
	}
	r.media(to.link, to.stream, datagram, h, from)
}

// media opens a datagram of the media flow into the memory of its layer. Hot path.
func (r *reception) media(l *link, s *inStream, datagram []byte, h wire.Header, from netip.AddrPort) {
	if l.mediaSeen.Seen(h.Seq) {
		r.node.counters.reject(rejectReplay)
		return
	}
	plain, err := l.opener.Open(s.layer.Room(len(datagram))[:0], datagram, h)
	if err != nil {
		r.node.counters.reject(rejectSeal)
		return
	}
	l.mediaSeen.Mark(h.Seq)
	recovered := l.gaps.On(h.Seq, r.steady)
	if from != l.heardFrom {
		l.movedTo(from, r.socket, r.now)
	}
	r.packets++
	r.bytes += uint64(len(plain))
	s.packets++
	s.bytes += uint64(len(plain))
	if recovered {
		s.recovered++
		r.node.counters.recovered.Add(1)
	}
	switch h.Type {
	case wire.TypeMedia:
		if s.begun.Load() {
			s.begun.Store(false)
			s.layer.Skip()
		}
		if s.layer.Append(plain, h.Cycle, r.now, h.Age) {
			r.fed = true
		}
	case wire.TypeSenderReport:
		if report, err := wire.ParseSenderReport(plain); err == nil {
			s.report(report, r.now, h.Age)
		}
	case wire.TypeStreamEnd:
		s.layer.Idle()
	default: // of the link, not of a stream
	}
}

func (r *reception) control(to *receiver, datagram []byte, h wire.Header, from netip.AddrPort) {
	l := to.link
	if l.controlSeen.Seen(h.Seq) {
		r.node.counters.reject(rejectReplay)
		return
	}
	if len(datagram) > len(r.scratch) {
		r.node.counters.reject(rejectMalformed)
		return
	}
	plain, err := l.opener.Open(r.scratch[:0], datagram, h)
	if err != nil {
		r.node.counters.reject(rejectSeal)
		return
	}
	l.controlSeen.Mark(h.Seq)
	if from != l.heardFrom {
		l.movedTo(from, r.socket, r.now)
	}
	if to.data != nil {
		err = to.data.arrived(h, plain, r.now)
	} else {
		err = l.message(h, plain, from, r.socket, r.now)
	}
	if err != nil {
		r.node.counters.reject(rejectMessage)
		l.heardNonsense(r.now)
	}
}
