package relay_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// shim is a bad network in front of a node: datagrams through it get lost, late, swapped, doubled or stopped, in both directions. TCP passes through.
type shim struct {
	addr   string
	target string
	udp    *net.UDPConn
	tcp    net.Listener

	loss, duplicates atomic.Uint32 // in 1/1000
	delay, jitter    atomic.Int64  // nanoseconds
	cut              atomic.Bool
	oneWay           atomic.Bool  // only what goes to the clients is cut
	limit            atomic.Int64 // bytes of the largest datagram that passes; 0 = all do
	dropped          atomic.Uint64
	seen             func([]byte) // gets every datagram to the target; may be nil

	mu      sync.Mutex // guards the fields below
	random  *rand.Rand
	clients map[string]*net.UDPConn
	conns   []net.Conn
	closed  bool
	running sync.WaitGroup
}

// newShim starts a shim on 127.0.0.1 that leads to target.
func newShim(t testing.TB, target string, seen func([]byte)) *shim {
	t.Helper()
	s := &shim{target: target, clients: map[string]*net.UDPConn{}, random: rand.New(rand.NewPCG(1, 2)), seen: seen}
	var err error
	for range 16 {
		s.tcp, err = net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		s.addr = s.tcp.Addr().String()
		address, _ := net.ResolveUDPAddr("udp", s.addr)
		if s.udp, err = net.ListenUDP("udp", address); err == nil {
			break
		}
		_ = s.tcp.Close()
	}
	require.NoError(t, err)
	_ = s.udp.SetReadBuffer(4 << 20)
	s.running.Go(s.fromClients)
	s.running.Go(s.accept)
	t.Cleanup(s.close)
	return s
}

func (s *shim) close() {
	s.mu.Lock()
	s.closed = true
	_ = s.udp.Close()
	_ = s.tcp.Close()
	for _, c := range s.clients {
		_ = c.Close()
	}
	for _, c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.running.Wait()
}

func (s *shim) fromClients() {
	buffer := make([]byte, 65536)
	for {
		n, from, err := s.udp.ReadFromUDP(buffer)
		if err != nil {
			return
		}
		if s.seen != nil {
			s.seen(buffer[:n])
		}
		upstream := s.upstream(from)
		if upstream == nil {
			return
		}
		s.pass(buffer[:n], func(b []byte) { _, _ = upstream.Write(b) })
	}
}

func (s *shim) upstream(from *net.UDPAddr) *net.UDPConn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	if c := s.clients[from.String()]; c != nil {
		return c
	}
	address, _ := net.ResolveUDPAddr("udp", s.target)
	c, err := net.DialUDP("udp", nil, address)
	if err != nil {
		return nil
	}
	_ = c.SetReadBuffer(4 << 20)
	s.clients[from.String()] = c
	s.running.Go(func() {
		buffer := make([]byte, 65536)
		for {
			n, err := c.Read(buffer)
			if err != nil {
				if s.isClosed() || errors.Is(err, net.ErrClosed) {
					return
				}
				continue // the target's port is closed for the moment
			}
			if s.oneWay.Load() {
				continue
			}
			s.pass(buffer[:n], func(b []byte) { _, _ = s.udp.WriteToUDP(b, from) })
		}
	})
	return c
}

// rebind gives each client another address, as a NAT does that has forgotten them.
func (s *shim) rebind() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for from, c := range s.clients {
		delete(s.clients, from)
		_ = c.Close()
	}
}

func (s *shim) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// pass sends one datagram on, or not.
func (s *shim) pass(b []byte, send func([]byte)) {
	if limit := s.limit.Load(); s.cut.Load() || limit > 0 && int64(len(b)) > limit {
		s.dropped.Add(1)
		return
	}
	s.mu.Lock()
	lost, twice := s.random.Uint32N(1000) < s.loss.Load(), s.random.Uint32N(1000) < s.duplicates.Load()
	wait := time.Duration(s.delay.Load())
	if jitter := s.jitter.Load(); jitter > 0 {
		wait += time.Duration(s.random.Int64N(jitter))
	}
	s.mu.Unlock()
	if lost {
		s.dropped.Add(1)
		return
	}
	copies := 1
	if twice {
		copies = 2
	}
	for range copies {
		if wait == 0 {
			send(b)
			continue
		}
		late := append([]byte(nil), b...)
		s.running.Add(1)
		time.AfterFunc(wait, func() {
			defer s.running.Done()
			send(late)
		})
	}
}

func (s *shim) accept() {
	for {
		client, err := s.tcp.Accept()
		if err != nil {
			return
		}
		if s.cut.Load() {
			_ = client.Close()
			continue
		}
		server, err := net.Dial("tcp", s.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		s.mu.Lock()
		s.conns = append(s.conns, client, server)
		s.mu.Unlock()
		for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
			s.running.Go(func() {
				_, _ = io.Copy(pair[0], pair[1])
				_ = pair[0].Close()
			})
		}
	}
}
