package mediaport

import (
	"errors"
	"net/netip"

	"rheomesh/internal/udpbatch"
)

// ErrNoPath means that a zero Path was written to.
var ErrNoPath = errors.New("mediaport: no path")

// Path is one way to a client: a UDP socket with the client's address, or a TCP connection. Paths are comparable; the zero Path leads nowhere.
type Path struct {
	socket *Socket
	tcp    *tcpConn
	remote netip.AddrPort
}

// Valid reports whether the path leads anywhere.
func (p Path) Valid() bool { return p.socket != nil || p.tcp != nil }

// TCP reports whether the path is an ICE-TCP connection.
func (p Path) TCP() bool { return p.tcp != nil }

// Remote is the client's address.
func (p Path) Remote() netip.AddrPort { return p.remote }

// Socket is the UDP socket to which batches for this path go; nil for TCP.
func (p Path) Socket() *Socket { return p.socket }

// Write sends one packet now: STUN, DTLS or RTCP, and media on a TCP path. It never blocks: a packet that the kernel or the connection's queue does not
// take is lost, as any datagram may be. Safe for concurrent use; b is copied or sent before the return.
func (p Path) Write(b []byte) error {
	switch {
	case p.tcp != nil:
		return p.tcp.enqueue(b)
	case p.socket != nil:
		return p.socket.conn.WriteTo(b, p.remote)
	}
	return ErrNoPath
}

// Socket is one bound UDP socket of the port. Index is its number, from 0, for callers which keep one batch per socket.
type Socket struct {
	Index int
	conn  *udpbatch.Conn
}

// Send writes a batch whose datagrams were committed for paths of this socket. Each concurrent caller has its own batch.
func (s *Socket) Send(batch *udpbatch.WriteBatch) (int, error) { return s.conn.Write(batch) }

// PathTo is the path from this socket to addr; false when the address is of the other family.
func (s *Socket) PathTo(addr netip.AddrPort) (Path, bool) {
	addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	if addr.Addr().Is4() != s.conn.LocalAddr().Addr().Is4() {
		return Path{}, false
	}
	return Path{socket: s, remote: addr}, true
}
