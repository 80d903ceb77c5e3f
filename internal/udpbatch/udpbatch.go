// Package udpbatch is a UDP socket for a server that moves many small datagrams.
//
// A datagram costs the kernel two things: the system call, and the walk through its network stack. The package saves
// both. [Conn.Read] takes many datagrams in one call (recvmmsg) and lets the kernel hand over several datagrams of one
// sender as a single buffer (UDP_GRO). [Conn.Write] sends many datagrams in one call (sendmmsg), and a run of equal-sized
// datagrams to one address as a single message which the kernel or the network card cuts up (UDP_SEGMENT, called GSO).
// Nothing is allocated per datagram, in either direction.
//
// A socket has one reading goroutine, with a [ReadBatch], and any number of writing goroutines, each with its own
// [WriteBatch]. The package starts no goroutine. The caller builds each datagram in place, inside the batch:
//
//	buf := w.Next(1500)           // room for one datagram
//	n := seal(buf, packet)        // build it there
//	w.Commit(n, viewer.addr)      // queue it
//	conn.Write(w)                 // send everything that is queued
//
// What the kernel cannot do is found out by probing when the socket opens and by watching for refusals while it runs;
// [Conn.Capabilities] tells the present state. Systems other than Linux get the same API with one system call per
// datagram (single.go); that engine is compiled and tested on Linux too.
package udpbatch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// MaxDatagramBytes is the largest payload of a UDP datagram over IPv4: 65,535 less 20 for the IP header and 8 for the
	// UDP header (RFC 791 §3.1, RFC 768). IPv6 would allow 20 more; one limit for both keeps callers simple.
	MaxDatagramBytes = 65507

	// defaultBufferBytes is the socket buffer asked for in each direction. 8 MiB, which Linux
	// doubles, hold some 7,000 full packets at 2.3 KB each with the kernel's overhead: 70 ms at 100,000 packets/s. The usual
	// default of 208 KiB holds 1 ms.
	defaultBufferBytes = 8 << 20

	// sendWait bounds how long one Write waits for room in a full send buffer before it drops what is left. A buffer of
	// 8 MiB is 67 ms of a 1 Gbit/s card: media that waits longer on top of that is late, and the writer has other viewers.
	sendWait = 5 * time.Millisecond
)

// Config says how a socket is opened. The zero value is the default.
type Config struct {
	// ReadBufferBytes and WriteBufferBytes are the sizes of the kernel's socket buffers, 8 MiB if 0. The kernel may grant
	// less; Capabilities tells what it granted.
	ReadBufferBytes, WriteBufferBytes int
	// DisableOffload turns GSO and GRO off, for kernels or cards that get them wrong. System calls stay batched.
	DisableOffload bool
	// DontFragment sends each datagram whole or not at all, whatever ICMP says of the path: who tries sizes finds out by himself (RFC 8899). Linux only.
	DontFragment bool
	// ReusePort lets several sockets share the port (SO_REUSEPORT); the kernel spreads the senders over them. Linux only.
	ReusePort bool
}

func (cfg Config) withDefaults() (Config, error) {
	if cfg.ReadBufferBytes < 0 || cfg.WriteBufferBytes < 0 {
		return cfg, errors.New("negative buffer size")
	}
	if cfg.ReadBufferBytes == 0 {
		cfg.ReadBufferBytes = defaultBufferBytes
	}
	if cfg.WriteBufferBytes == 0 {
		cfg.WriteBufferBytes = defaultBufferBytes
	}
	return cfg, nil
}

// Capabilities is what the kernel grants to a socket.
type Capabilities struct {
	// GSO says that runs of equal-sized datagrams are sent as one message.
	GSO bool
	// GRO says that the kernel merges received datagrams. Buffers of a ReadBatch should then hold 65,535 bytes.
	GRO bool
	// ReadBufferBytes and WriteBufferBytes are the granted sizes, in the unit of Config: Linux doubles what it is asked
	// for, to pay for its own bookkeeping (socket(7)), and the doubling is taken out again. Systems other than Linux do
	// not tell; there it is the size that was accepted.
	ReadBufferBytes, WriteBufferBytes int
	// Reason tells in words why GSO or GRO is off; empty if both are on.
	Reason string
}

// Conn is a UDP socket. Read is for one goroutine at a time; all other methods are safe for concurrent use.
type Conn struct {
	udp      *net.UDPConn
	engine   engine
	local    netip.AddrPort
	counters counters

	closeOnce sync.Once
	closeErr  error
}

// engine is a way of moving datagrams over a socket. Its errors lack the operation, which Conn adds.
type engine interface {
	read(b *ReadBatch) error
	write(w *WriteBatch) (sent int, err error)
	writeTo(p []byte, addr netip.AddrPort) error
	capabilities() Capabilities
	drops() uint64
}

// engineMaker makes an engine for an open socket: newEngine, which each system defines, or newSingleEngine.
type engineMaker func(udp *net.UDPConn, cfg Config, counters *counters) (engine, error)

// Listen opens a socket on addr ("host:port", an empty host for all addresses). The network is "udp4", "udp6", or "udp" for
// one socket that serves both families where the system can. The caller must Close the Conn.
func Listen(network, addr string, cfg Config) (*Conn, error) {
	return listen(network, addr, cfg, newEngine)
}

func listen(network, addr string, cfg Config, newEngine engineMaker) (*Conn, error) {
	c, err := open(network, addr, cfg, newEngine)
	if err != nil {
		return nil, fmt.Errorf("listen %s %s: %w", network, addr, err)
	}
	return c, nil
}

func open(network, addr string, cfg Config, newEngine engineMaker) (*Conn, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	if cfg.ReusePort {
		lc.Control = setReusePort
	}
	pc, err := lc.ListenPacket(context.Background(), network, addr)
	if err != nil {
		return nil, err
	}
	udp, ok := pc.(*net.UDPConn)
	if !ok {
		pc.Close()
		return nil, net.UnknownNetworkError(network)
	}
	c := &Conn{udp: udp, local: localAddr(udp)}
	if c.engine, err = newEngine(udp, cfg, &c.counters); err != nil {
		udp.Close()
		return nil, err
	}
	return c, nil
}

// localAddr returns the bound address; package net keeps IPv4 addresses in their IPv6-mapped form.
func localAddr(udp *net.UDPConn) netip.AddrPort {
	addr, ok := udp.LocalAddr().(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	return unmap(addr.AddrPort())
}

// unmap turns an IPv4 address that a dual-stack socket shows as ::ffff:a.b.c.d into plain IPv4.
func unmap(addr netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
}

// LocalAddr returns the address the socket is bound to, with the port the system chose if 0 was asked for.
func (c *Conn) LocalAddr() netip.AddrPort { return c.local }

// Capabilities returns what the socket can do now. GSO may be turned off while the socket runs, when the kernel refuses a
// segmented message that it then takes in pieces.
func (c *Conn) Capabilities() Capabilities { return c.engine.capabilities() }

// Drops returns how many datagrams the kernel has thrown away because the receive buffer was full. It asks the kernel, so
// it is for a scrape and not for each packet. Systems other than Linux do not tell: there it is 0.
func (c *Conn) Drops() uint64 { return c.engine.drops() }

// Counters returns what the socket has moved so far.
func (c *Conn) Counters() Counters { return c.counters.snapshot() }

// Read waits for at least one datagram and fills b with all that are there, up to the size of b, in the order in which the
// kernel has them. What b held before is gone, except buffers taken with Keep. The error wraps net.ErrClosed after
// Close. Hot path.
func (c *Conn) Read(b *ReadBatch) error {
	if err := c.engine.read(b); err != nil {
		return fmt.Errorf("read %v: %w", c.local, err)
	}
	return nil
}

// Write sends the datagrams queued in w in their order and empties w, whatever happens: nothing is kept for a later try.
// It returns how many the kernel took. The rest are dropped and counted by reason in Counters: a datagram the kernel
// refuses (unreachable address, firewall) does not hold up the ones behind it, and when the send buffer stays full for 5 ms
// what is left is dropped, so Write never blocks for good. The error tells that nothing more can be sent at all; it wraps
// net.ErrClosed after Close. Hot path.
func (c *Conn) Write(w *WriteBatch) (sent int, err error) {
	if len(w.runs) == 0 {
		return 0, nil
	}
	sent, err = c.engine.write(w)
	w.reset()
	if err != nil {
		return sent, fmt.Errorf("write %v: %w", c.local, err)
	}
	return sent, nil
}

// WriteTo sends p to addr at once as one datagram. The same drops are counted as in Write, and returned as the error. For
// single answers such as STUN; a stream of datagrams belongs into a WriteBatch. It does not keep p.
func (c *Conn) WriteTo(p []byte, addr netip.AddrPort) error {
	if err := c.engine.writeTo(p, addr); err != nil {
		return fmt.Errorf("write %v to %v: %w", c.local, addr, err)
	}
	return nil
}

// Close closes the socket: a blocked Read and later calls return an error that wraps net.ErrClosed. Calling it again does
// nothing and returns the same.
func (c *Conn) Close() error {
	c.closeOnce.Do(func() { c.closeErr = c.udp.Close() })
	return c.closeErr
}
