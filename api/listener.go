package api

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

// connectionLimit closes new connections at once when their address, or everyone together, holds too many: an accepted
// connection that waits costs memory, and one address must not take all of it.
type connectionLimit struct {
	refused atomic.Uint64

	mu                sync.Mutex           // guards the fields below
	perAddress, total int                  // the limits
	open              map[netip.Prefix]int // only counts above zero
	sum               int
}

// set changes the limits: open connections of one address (IPv6: of one /64, the least that one customer has), and of all.
func (l *connectionLimit) set(perAddress, total int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.perAddress, l.total = perAddress, total
}

// limitedListener is a listener whose connections count.
type limitedListener struct {
	net.Listener
	limit *connectionLimit
}

// Accept returns the next connection that is within the limits.
func (l limitedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		key := prefixOf(conn.RemoteAddr())
		if l.limit.take(key) {
			return &limitedConn{Conn: conn, release: sync.OnceFunc(func() { l.limit.give(key) })}, nil
		}
		l.limit.refused.Add(1)
		_ = conn.Close()
	}
}

func (l *connectionLimit) take(key netip.Prefix) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sum >= l.total || l.open[key] >= l.perAddress {
		return false
	}
	if l.open == nil {
		l.open = map[netip.Prefix]int{}
	}
	l.sum++
	l.open[key]++
	return true
}

func (l *connectionLimit) give(key netip.Prefix) {
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
	return networkOf(ap.Addr())
}

// networkOf is the address itself in IPv4, and its /64 in IPv6.
func networkOf(ip netip.Addr) netip.Prefix {
	ip = ip.Unmap().WithZone("")
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
