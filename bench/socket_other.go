//go:build !linux

package bench

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// datagram is one received datagram. Data is valid until the receiver returns.
type datagram struct {
	data   []byte
	size   int   // bytes of the datagram
	at     int64 // time of reading, nanoseconds since the Unix epoch
	sender netip.AddrPort
}

func (d *datagram) from() netip.AddrPort { return d.sender }

// poller reads each socket in a goroutine of its own, one datagram at a time.
type poller struct {
	connecting atomic.Int32
	readers    sync.WaitGroup
}

func newPoller() (*poller, error) { return &poller{}, nil }

func (p *poller) close() { p.readers.Wait() }

// socket is one UDP socket.
type socket struct {
	conn    *net.UDPConn
	receive func(*socket, []datagram)
	addr    netip.AddrPort
	muted   atomic.Bool
	stopped chan struct{} // closed when the reader has ended
}

func (p *poller) open(local netip.Addr, receive func(*socket, []datagram)) (*socket, error) {
	network := "udp4"
	if local.Is6() {
		network = "udp6"
	}
	conn, err := net.ListenUDP(network, nil)
	if err != nil {
		return nil, err
	}
	port := conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	s := &socket{conn: conn, receive: receive, addr: netip.AddrPortFrom(local, port), stopped: make(chan struct{})}
	p.readers.Go(s.read)
	return s, nil
}

func (s *socket) read() {
	defer close(s.stopped)
	buf := make([]byte, 2048)
	for {
		n, from, err := s.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if !s.muted.Load() {
			s.receive(s, []datagram{{data: buf[:n], size: n, at: time.Now().UnixNano(), sender: netip.AddrPortFrom(from.Addr().Unmap(), from.Port())}})
		}
	}
}

func (s *socket) glance() {}

func (s *socket) send(b []byte, to netip.AddrPort) { _, _ = s.conn.WriteToUDPAddrPort(b, to) }

func (s *socket) mute() { s.muted.Store(true) }

func (s *socket) close() {
	_ = s.conn.Close()
	<-s.stopped
}
