package relay

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"rheomesh/internal/udpbatch"
	"rheomesh/sfu"
)

// bindAttempts is how many numbers are tried to find one that is free for every address and protocol, when the port is 0.
const bindAttempts = 16

// failurePause is the wait after a failed read: out of memory, which others must free.
const failurePause = 50 * time.Millisecond

// socket is one UDP socket of the relay listener.
type socket struct{ conn *udpbatch.Conn }

// bind opens UDP and TCP on every address under one number.
func (n *Node) bind() error {
	host, port, err := net.SplitHostPort(n.config.Addr)
	if err != nil {
		return err
	}
	hosts, err := expandHost(host)
	if err != nil {
		return err
	}
	attempts := 1
	if port == "0" {
		attempts = bindAttempts
	}
	for range attempts {
		if err = n.bindAll(hosts, port); err == nil {
			return nil
		}
		for _, s := range n.sockets {
			_ = s.conn.Close()
		}
		for _, l := range n.listeners {
			_ = l.Close()
		}
		n.sockets, n.listeners = nil, nil
	}
	return err
}

func (n *Node) bindAll(hosts []netip.Addr, port string) error {
	for i, host := range hosts {
		udp, tcp := "udp6", "tcp6"
		if host.Is4() {
			udp, tcp = "udp4", "tcp4"
		}
		conn, err := udpbatch.Listen(udp, net.JoinHostPort(host.String(), port), udpbatch.Config{DisableOffload: n.config.DisableOffload, DontFragment: true})
		if err != nil {
			if i > 0 && host.Is6() && errors.Is(err, errNoIPv6()) {
				continue
			}
			return err
		}
		n.sockets = append(n.sockets, &socket{conn: conn})
		listener, err := net.Listen(tcp, conn.LocalAddr().String())
		if err != nil {
			return err
		}
		n.listeners = append(n.listeners, listener)
		_, port, _ = net.SplitHostPort(conn.LocalAddr().String())
	}
	return nil
}

// errNoIPv6 is the error of binding an IPv6 address on a machine without IPv6; a machine that has it yields one that matches nothing.
func errNoIPv6() error {
	probe, err := net.ListenPacket("udp6", "[::1]:0")
	if err == nil {
		_ = probe.Close()
		return errHasIPv6
	}
	if cause, ok := errors.AsType[*net.OpError](err); ok {
		return errors.Unwrap(cause.Err)
	}
	return err
}

var errHasIPv6 = errors.New("machine has IPv6")

func expandHost(host string) ([]netip.Addr, error) {
	switch host {
	case "", "*":
		return []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}, nil
	case "localhost":
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, nil
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return nil, errors.New("host must be an IP address, localhost or empty")
	}
	return []netip.Addr{ip.Unmap()}, nil
}

// Listeners describes the bound addresses of the relay listener.
func (n *Node) Listeners() []sfu.Listener {
	var list []sfu.Listener
	for _, s := range n.sockets {
		c := s.conn.Capabilities()
		list = append(list, sfu.Listener{
			Network: "udp", Addr: s.conn.LocalAddr(), GSO: c.GSO, GRO: c.GRO, ReadBufferBytes: c.ReadBufferBytes, WriteBufferBytes: c.WriteBufferBytes, Reason: c.Reason,
		})
	}
	for _, s := range n.sockets {
		list = append(list, sfu.Listener{Network: "tcp", Addr: s.conn.LocalAddr()})
	}
	return list
}

// socketFor is the socket that reaches an address; nil when none has its family.
func (n *Node) socketFor(addr netip.Addr) *socket {
	for _, s := range n.sockets {
		if s.conn.LocalAddr().Addr().Is4() == addr.Is4() {
			return s
		}
	}
	return nil
}

// read receives datagrams from one socket until it is closed.
func (n *Node) read(s *socket) {
	batch := udpbatch.NewReadBatch(readMessages, 0)
	reception := reception{node: n, socket: s}
	for {
		if err := s.conn.Read(batch); err != nil {
			if n.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			time.Sleep(failurePause) // the links hang on this socket, so it is never given up
			continue
		}
		reception.begin(time.Now())
		for i := range batch.Len() {
			packet := batch.Packet(i)
			reception.take(packet.Data, packet.Addr)
		}
		reception.end()
	}
}
