package udpbatch

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// singleEngine moves one datagram per system call with nothing but package net. It is what systems other than Linux use;
// it has no build tag, so that its tests run everywhere.
type singleEngine struct {
	udp      *net.UDPConn
	ipv4     bool // the socket takes only plain IPv4 addresses
	granted  Capabilities
	counters *counters

	// mu guards the write deadline, which all writers of the socket share, from setting it to the end of the write it is
	// for. It takes no parallelism away: package net lets one writer at a time into a socket.
	mu sync.Mutex
}

func newSingleEngine(udp *net.UDPConn, cfg Config, counters *counters) (engine, error) {
	e := &singleEngine{udp: udp, ipv4: localAddr(udp).Addr().Is4(), counters: counters}
	e.granted = Capabilities{
		ReadBufferBytes:  askBuffer(udp.SetReadBuffer, cfg.ReadBufferBytes),
		WriteBufferBytes: askBuffer(udp.SetWriteBuffer, cfg.WriteBufferBytes),
		Reason:           "batched system calls are used on Linux only",
	}
	return e, nil
}

// askBuffer sets a socket buffer and returns the size that was accepted, 0 for none. Where the system refuses a size above
// its limit instead of cutting it, half of it is tried, and so on.
func askBuffer(set func(bytes int) error, bytes int) int {
	for ; bytes > 0; bytes /= 2 {
		if set(bytes) == nil {
			return bytes
		}
	}
	return 0
}

func (e *singleEngine) capabilities() Capabilities { return e.granted }

func (e *singleEngine) drops() uint64 { return 0 }

func (e *singleEngine) read(b *ReadBatch) error {
	for {
		b.start()
		n, addr, err := e.udp.ReadFromUDPAddrPort(b.buffers[0])
		if err != nil {
			return err
		}
		if n <= b.messageBytes {
			b.add(b.buffers[0][:n], 0, unmap(addr), 0)
			e.counters.addReceived(1, 1)
			return nil
		}
		e.counters.truncated.Add(1)
		e.counters.addReceived(0, 1)
	}
}

func (e *singleEngine) write(w *WriteBatch) (int, error) {
	var t tally
	var closed error
	for i := range w.runs {
		if closed = e.writeRun(w, &w.runs[i], &t); closed != nil {
			break
		}
	}
	if t.busy > 0 {
		t.busy = w.datagrams - t.datagrams - t.noBuffers - t.refused // with the first, all behind it
	}
	e.counters.addSent(t)
	return t.datagrams, closed
}

// writeRun sends the datagrams of one run. Once one had to wait too long, the rest are skipped.
func (e *singleEngine) writeRun(w *WriteBatch, r *run, t *tally) error {
	for i := 0; i < r.datagrams && t.busy == 0; i++ {
		if err := e.send(w.datagram(r, i), r.addr, t); errors.Is(err, net.ErrClosed) {
			return err
		}
	}
	return nil
}

func (e *singleEngine) writeTo(p []byte, addr netip.AddrPort) error {
	var t tally
	err := e.send(p, addr, &t)
	e.counters.addSent(t)
	return err
}

// send sends one datagram and counts its fate.
func (e *singleEngine) send(p []byte, addr netip.AddrPort, t *tally) error {
	if e.ipv4 {
		addr = unmap(addr) // package net refuses ::ffff:a.b.c.d on an IPv4 socket
	}
	err := e.sendInTime(p, addr)
	t.calls++
	switch {
	case err == nil:
		t.datagrams++
		t.messages++
	case errors.Is(err, os.ErrDeadlineExceeded):
		t.busy++
	case isNoBuffers(err):
		t.noBuffers++
	case !errors.Is(err, net.ErrClosed):
		t.refused++
	}
	return err
}

// sendInTime sends one datagram and waits at most sendWait for room in the send buffer. A deadline is a point in time, so it
// is set anew for each datagram, and it counts even if there is room: a thread that is not scheduled for so long between
// the two calls would find it passed. Hence two tries, of half the time each.
func (e *singleEngine) sendInTime(p []byte, addr netip.AddrPort) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var err error
	for range 2 {
		if err = e.udp.SetWriteDeadline(time.Now().Add(sendWait / 2)); err != nil {
			return err
		}
		if _, err = e.udp.WriteToUDPAddrPort(p, addr); !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
	return err
}
