package mediaport

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	tcpQueuePackets  = 512             // packets that wait for a slow connection: half a second of a 5 Mbit/s stream; more are dropped
	tcpOpenTimeout   = 5 * time.Second // a connection that has not sent a STUN request by then is closed
	tcpWriteTimeout  = 5 * time.Second // a peer that takes nothing for so long is gone
	tcpConnections   = 4096            // connections at once; more are closed at accept
	tcpFrameMaxBytes = 1 << 16         // RFC 4571 length field
)

// ErrQueueFull means that a TCP path took no more packets.
var ErrQueueFull = errors.New("mediaport: connection queue is full")

// tcpConn is one ICE-TCP connection. Its reader goroutine belongs to the port; its writer ends when the connection closes.
type tcpConn struct {
	conn net.Conn
	// queue carries framed packets to the writer; capacity tcpQueuePackets, never closed.
	queue chan []byte
	done  chan struct{}
	once  sync.Once
}

func (c *tcpConn) close() {
	c.once.Do(func() {
		close(c.done)
		_ = c.conn.Close()
	})
}

// enqueue frames a copy of b for the writer (RFC 4571: a 16-bit length, then the packet).
func (c *tcpConn) enqueue(b []byte) error {
	frame := make([]byte, 2+len(b))
	binary.BigEndian.PutUint16(frame, uint16(len(b)))
	copy(frame[2:], b)
	select {
	case <-c.done:
		return net.ErrClosed
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
			_ = c.conn.SetWriteDeadline(time.Now().Add(tcpWriteTimeout))
			if _, err := c.conn.Write(frame); err != nil {
				return
			}
		}
	}
}

// acceptTCP takes connections until the listener is closed.
func (p *Port) acceptTCP(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			if p.closed.Load() || errors.Is(err, net.ErrClosed) {
				return
			}
			p.log.Warn("media connection not accepted", "err", err)
			time.Sleep(50 * time.Millisecond) // out of descriptors: let some be closed
			continue
		}
		c := &tcpConn{conn: conn, queue: make(chan []byte, tcpQueuePackets), done: make(chan struct{})}
		if !p.track(c) {
			c.close()
			continue
		}
		p.readers.Go(func() { p.serveTCP(c) })
	}
}

func (p *Port) track(c *tcpConn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed.Load() || len(p.conns) >= tcpConnections {
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

// serveTCP reads one connection's packets. The first must be a STUN request for a known ufrag; its endpoint gets all others.
func (p *Port) serveTCP(c *tcpConn) {
	defer func() {
		c.close()
		p.mu.Lock()
		delete(p.conns, c)
		p.mu.Unlock()
	}()
	remote, err := netip.ParseAddrPort(c.conn.RemoteAddr().String())
	if err != nil {
		return
	}
	path := Path{tcp: c, remote: netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())}
	_ = c.conn.SetReadDeadline(time.Now().Add(tcpOpenTimeout))
	buf := make([]byte, 2048)
	first, buf, err := readFrame(c.conn, buf)
	if err != nil || len(first) == 0 || first[0] > 3 {
		return
	}
	endpoint := p.routeSTUN(first)
	if endpoint == nil {
		p.unknown.Add(1)
		return
	}
	_ = c.conn.SetReadDeadline(time.Time{})
	p.readers.Go(c.writeLoop)
	for packet := first; err == nil; packet, buf, err = readFrame(c.conn, buf) {
		if len(packet) > 0 {
			endpoint.HandlePacket(packet, path, time.Now())
			if p.config.AfterBatch != nil {
				p.config.AfterBatch()
			}
		}
	}
}

// readFrame reads one RFC 4571 frame into buf, growing it when needed.
func readFrame(r io.Reader, buf []byte) (packet, grown []byte, err error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, buf, err
	}
	n := int(binary.BigEndian.Uint16(size[:]))
	if n > len(buf) {
		buf = make([]byte, tcpFrameMaxBytes)
	}
	_, err = io.ReadFull(r, buf[:n])
	return buf[:n], buf, err
}
