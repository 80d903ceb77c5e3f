package api

import (
	"net"
	"net/netip"
	"sync"
)

// limitListener closes new connections at once when their address, or everyone together, holds too many: an accepted
// connection that waits costs memory, and one address must not take all of it.
type limitListener struct {
	net.Listener
	perAddress, total int

	mu   sync.Mutex
	open map[netip.Prefix]int // guarded by mu; only counts above zero
	sum  int                  // guarded by mu
}

// LimitConnections wraps l so that it holds at most perAddress open connections of one address (IPv6: of one /64, the
// least that one customer has) and total of all.
func LimitConnections(l net.Listener, perAddress, total int) net.Listener {
	return &limitListener{Listener: l, perAddress: perAddress, total: total, open: map[netip.Prefix]int{}}
}

// Accept returns the next connection that is within the limits.
func (l *limitListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		key := prefixOf(conn.RemoteAddr())
		if l.take(key) {
			return &limitedConn{Conn: conn, release: sync.OnceFunc(func() { l.give(key) })}, nil
		}
		_ = conn.Close()
	}
}

func (l *limitListener) take(key netip.Prefix) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sum >= l.total || l.open[key] >= l.perAddress {
		return false
	}
	l.sum++
	l.open[key]++
	return true
}

func (l *limitListener) give(key netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sum--
	if l.open[key]--; l.open[key] == 0 {
		delete(l.open, key)
	}
}

func prefixOf(addr net.Addr) netip.Prefix {
	ap, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return netip.Prefix{}
	}
	ip := ap.Addr().Unmap().WithZone("")
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	prefix, _ := ip.Prefix(bits) // bits fit the family
	return prefix
}

// limitedConn gives its place back when it is closed, once.
type limitedConn struct {
	net.Conn
	release func()
}

func (c *limitedConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
