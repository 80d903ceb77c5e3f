package mediaport

import (
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// tcpLimits bound what connections may cost.
type tcpLimits struct {
	open        time.Duration // a connection on which no endpoint verified a check by then is closed
	write       time.Duration // a peer that takes nothing for so long is gone
	queue       int           // packets that wait for a slow connection; more are dropped
	connections int           // connections at once; more are closed at accept
	unproven    int           // connections of one client network that are not proven yet; more are closed at accept
}

func (l tcpLimits) withDefaults() tcpLimits {
	return tcpLimits{
		open:        cmp.Or(l.open, 5*time.Second),
		write:       cmp.Or(l.write, 5*time.Second),
		queue:       cmp.Or(l.queue, 512), // half a second of a 5 Mbit/s stream
		connections: cmp.Or(l.connections, 4096),
		unproven:    cmp.Or(l.unproven, 64), // a check takes one round trip, so even a large site has few of them at once
	}
}

const tcpFrameMaxBytes = 1<<16 - 1 // RFC 4571 section 2: a 16-bit length

var (
	// ErrQueueFull means that a TCP path took no more packets.
	ErrQueueFull = errors.New("mediaport: connection queue is full")
	// ErrFrameTooLong means that a packet does not fit the length field of RFC 4571.
	ErrFrameTooLong = errors.New("mediaport: packet is too long for a connection")
)

// tcpConn is one ICE-TCP connection. It is accepted, then opened by a STUN request for a known ufrag, then proven when that endpoint binds it. Its reader and
// its writer goroutine belong to the port and end when the connection closes.
type tcpConn struct {
	conn   net.Conn
	remote netip.AddrPort
	write  time.Duration // write timeout
	// queue carries framed packets to the writer, and nil to end it; made when the connection is opened, never closed.
	queue  chan []byte
	done   chan struct{}
	once   sync.Once
	proven atomic.Bool // written under Port.mu
}

func (c *tcpConn) close() {
	c.once.Do(func() {
		close(c.done)
		_ = c.conn.Close()
	})
}

// finish closes the connection after what is queued: the goodbye of a session must still get out.
func (c *tcpConn) finish() {
	select {
	case c.queue <- nil:
	default:
		c.close()
	}
}

// enqueue frames a copy of b for the writer (RFC 4571: a 16-bit length, then the packet).
func (c *tcpConn) enqueue(b []byte) error {
	if len(b) > tcpFrameMaxBytes {
		return ErrFrameTooLong
	}
	frame := make([]byte, 2+len(b))
	binary.BigEndian.PutUint16(frame, uint16(len(b)))
	copy(frame[2:], b)
	select {
	case <-c.done:
		return net.ErrClosed
	default:
	}
	select {
	case c.queue <- frame:
		return nil
	default:
		return ErrQueueFull
	}
}

func (c *tcpConn) writeLoop() {
	defer c.close()
	for {
		select {
		case <-c.done:
			return
		case frame := <-c.queue:
			if frame == nil {
				return
			}
			_ = c.conn.SetWriteDeadline(time.Now().Add(c.write))
			if _, err := c.conn.Write(frame); err != nil {
				return
			}
		}
	}
}

// acceptTCP takes connections until the listener is closed.
func (p *Port) acceptTCP(listener net.Listener) {
	failures := failureLog{log: p.log}
	for {
		conn, err := listener.Accept()
		if err != nil {
			if p.closed.Load() || errors.Is(err, net.ErrClosed) {
				return
			}
			failures.pause("media connection not accepted", err)
			continue
		}
		c := &tcpConn{conn: conn, remote: remoteAddr(conn), write: p.config.limits.write, done: make(chan struct{})}
		if !p.track(c) {
			c.close()
			continue
		}
		p.readers.Go(func() { p.serveTCP(c) })
	}
}

func remoteAddr(conn net.Conn) netip.AddrPort {
	addr, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	remote := addr.AddrPort()
	return netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
}

// clientNetwork is what counts as one client: an IPv4 address, or the 64 bits of IPv6 of which a site has at least one.
func clientNetwork(addr netip.Addr) netip.Addr {
	if addr.Is4() {
		return addr
	}
	prefix, err := addr.WithZone("").Prefix(64)
	if err != nil {
		return netip.Addr{}
	}
	return prefix.Addr()
}

func (p *Port) track(c *tcpConn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	from := clientNetwork(c.remote.Addr())
	if p.closed.Load() || len(p.conns) >= p.config.limits.connections || p.unproven[from] >= p.config.limits.unproven {
		return false
	}
	p.conns[c] = struct{}{}
	p.unproven[from]++
	return true
}

// proveLocked lifts the open timeout from a connection whose endpoint verified a check.
func (p *Port) proveLocked(c *tcpConn) {
	if c.proven.Load() {
		return
	}
	p.countProvenLocked(c)
	_ = c.conn.SetReadDeadline(time.Time{})
}

// countProvenLocked takes the connection off the count of unproven ones, once.
func (p *Port) countProvenLocked(c *tcpConn) {
	if c.proven.Swap(true) {
		return
	}
	from := clientNetwork(c.remote.Addr())
	if p.unproven[from]--; p.unproven[from] == 0 {
		delete(p.unproven, from)
	}
}

func (p *Port) untrack(c *tcpConn) {
	c.close()
	p.mu.Lock()
	delete(p.conns, c)
	p.countProvenLocked(c)
	p.mu.Unlock()
}

// serveTCP reads one connection's packets. The first must be a STUN request for a known ufrag; its endpoint gets all others. Until that endpoint has verified
// a check, packets are as short as checks and the clock runs.
func (p *Port) serveTCP(c *tcpConn) {
	defer p.untrack(c)
	_ = c.conn.SetReadDeadline(time.Now().Add(p.config.limits.open))
	packet, buf, err := readFrame(c.conn, make([]byte, stunMaxBytes), stunMaxBytes)
	if err != nil {
		return
	}
	if classifySTUN(packet) != stunByUsername {
		p.unknown.Add(1)
		return
	}
	endpoint := p.routeUfrag(packet)
	if endpoint == nil {
		p.unknown.Add(1)
		return
	}
	c.queue = make(chan []byte, p.config.limits.queue)
	p.readers.Go(c.writeLoop)
	path := Path{tcp: c, remote: c.remote}
	for err == nil {
		if len(packet) > 0 {
			endpoint.HandlePacket(packet, path, time.Now())
			if p.config.AfterBatch != nil {
				p.config.AfterBatch()
			}
		}
		limit := stunMaxBytes
		if c.proven.Load() {
			limit = tcpFrameMaxBytes
		}
		packet, buf, err = readFrame(c.conn, buf, limit)
	}
}

// readFrame reads one RFC 4571 frame of at most limit bytes into buf, growing it when needed.
func readFrame(r io.Reader, buf []byte, limit int) (packet, grown []byte, err error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, buf, err
	}
	n := int(binary.BigEndian.Uint16(size[:]))
	if n > limit {
		return nil, buf, ErrFrameTooLong
	}
	if n > len(buf) {
		buf = make([]byte, tcpFrameMaxBytes)
	}
	_, err = io.ReadFull(r, buf[:n])
	return buf[:n], buf, err
}
