package udpbatch

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const benchPacketBytes = 1200

// BenchmarkPair sends groups of 64 datagrams from one socket to another and times both sides apart.
func BenchmarkPair(b *testing.B) {
	const group = 64
	b.Run("net", func(b *testing.B) {
		from, to := listenNet(b), listenNet(b)
		addr := localAddr(to)
		p, buf := make([]byte, benchPacketBytes), make([]byte, 2048)
		benchPair(b, group, func() {
			for range group {
				_, _ = from.WriteToUDPAddrPort(p, addr)
			}
		}, func() {
			for range group {
				_, _, _ = to.ReadFromUDPAddrPort(buf)
			}
		})
	})
	for _, mode := range []struct {
		name string
		conn func(testing.TB) *Conn
	}{
		{"single", func(b testing.TB) *Conn { return mustListen(b, "udp4", "127.0.0.1:0", Config{}, newSingleEngine) }},
		{"mmsg", func(b testing.TB) *Conn {
			return mustListen(b, "udp4", "127.0.0.1:0", Config{DisableOffload: true}, newEngine)
		}},
		{"offload", func(b testing.TB) *Conn { return mustListen(b, "udp4", "127.0.0.1:0", Config{}, newEngine) }},
	} {
		b.Run(mode.name, func(b *testing.B) {
			from, to := mode.conn(b), mode.conn(b)
			w, r := NewWriteBatch(group, group*benchPacketBytes), NewReadBatch(group, 0)
			benchPair(b, group, func() {
				for range group {
					w.Next(benchPacketBytes)
					w.Commit(benchPacketBytes, to.LocalAddr())
				}
				_, _ = from.Write(w)
			}, func() {
				for n := 0; n < group; n += r.Len() {
					readWithin(b, to, r)
				}
			})
		})
	}
}

func benchPair(b *testing.B, group int, send, receive func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var sending, receiving time.Duration
	rounds := 0
	for b.Loop() {
		t0 := threadTime()
		send()
		t1 := threadTime()
		receive()
		sending += t1 - t0
		receiving += threadTime() - t1
		rounds++
	}
	b.ReportMetric(float64(sending.Nanoseconds())/float64(rounds*group), "send-ns/packet")
	b.ReportMetric(float64(receiving.Nanoseconds())/float64(rounds*group), "recv-ns/packet")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkSingleCall sends one datagram per call, by package net and by WriteTo.
func BenchmarkSingleCall(b *testing.B) {
	const group = 64
	p := make([]byte, benchPacketBytes)
	b.Run("net", func(b *testing.B) {
		from, s := listenNet(b), newSinks(b, 1, Config{})
		benchSend(b, s, group, func() {
			for range group {
				_, _ = from.WriteToUDPAddrPort(p, s.addrs[0])
			}
		})
	})
	b.Run("WriteTo", func(b *testing.B) {
		from, s := mustListen(b, "udp4", "127.0.0.1:0", Config{}, newEngine), newSinks(b, 1, Config{})
		benchSend(b, s, group, func() {
			for range group {
				_ = from.WriteTo(p, s.addrs[0])
			}
		})
	})
}

// BenchmarkFanOut sends one packet to each of 100 sockets, and frames of several equal packets to each.
func BenchmarkFanOut(b *testing.B) {
	for _, receiver := range []struct {
		name string
		cfg  Config
	}{{"plain", Config{DisableOffload: true}}, {"gro", Config{}}} {
		for _, packets := range []int{1, 2, 3, 4, 6, 8, 16, 32} {
			name := fmt.Sprintf("%s/run=%d", receiver.name, packets)
			b.Run(name+"/single", func(b *testing.B) { benchFanOut(b, receiver.cfg, packets, Config{}, newSingleEngine) })
			b.Run(name+"/mmsg", func(b *testing.B) {
				benchFanOut(b, receiver.cfg, packets, Config{DisableOffload: true}, newEngine)
			})
			if packets == 1 {
				continue
			}
			b.Run(name+"/gso-contiguous", func(b *testing.B) { benchFanOut(b, receiver.cfg, packets, Config{}, newEngine) })
			b.Run(name+"/gso-gather", func(b *testing.B) { benchGather(b, receiver.cfg, packets) })
		}
	}
}

func benchFanOut(b *testing.B, receivers Config, packets int, cfg Config, engine engineMaker) {
	s := newSinks(b, 100, receivers)
	from := mustListen(b, "udp4", "127.0.0.1:0", cfg, engine)
	w := NewWriteBatch(100*packets, 100*packets*benchPacketBytes)
	p := make([]byte, benchPacketBytes)
	benchSend(b, s, packets, func() {
		for _, addr := range s.addrs {
			for range packets {
				copy(w.Next(benchPacketBytes), p)
				w.Commit(benchPacketBytes, addr)
			}
		}
		_, _ = from.Write(w)
	})
}

// benchGather is the way not taken: the datagrams of a run lie in buffers of their own and the kernel gathers them.
func benchGather(b *testing.B, receivers Config, packets int) {
	s := newSinks(b, 100, receivers)
	from := mustListen(b, "udp4", "127.0.0.1:0", Config{}, newEngine)
	e := from.engine.(*batchEngine)
	arrays := newSendArrays(len(s.addrs))
	iovecs := make([][]unix.Iovec, len(s.addrs))
	buffers := make([][]byte, len(s.addrs)*packets)
	for i := range buffers {
		buffers[i] = make([]byte, 1500)
	}
	p := make([]byte, benchPacketBytes)
	for i := range iovecs {
		iovecs[i] = make([]unix.Iovec, packets)
	}
	benchSend(b, s, packets, func() {
		arrays.start(e)
		for i, addr := range s.addrs {
			e.encodeAddr(&arrays.names[i], addr)
			arrays.add(nil, packets, benchPacketBytes, i)
			for j := range packets {
				buffer := buffers[i*packets+j]
				copy(buffer, p)
				iovecs[i][j].Base = unsafe.SliceData(buffer)
				iovecs[i][j].SetLen(benchPacketBytes)
			}
			arrays.headers[i].header.Iov = &iovecs[i][0]
			arrays.headers[i].header.SetIovlen(packets)
		}
		_ = e.raw.Control(arrays.send)
	})
	require.Zero(b, arrays.tally.refused)
}

// BenchmarkKeep is the price of keeping each buffer, against copying a lone datagram out.
func BenchmarkKeep(b *testing.B) {
	for _, bytes := range []int{1500, maxMessageBytes} {
		b.Run(strconv.Itoa(bytes), func(b *testing.B) {
			r := NewReadBatch(1, bytes)
			for b.Loop() {
				r.start()
				r.add(r.buffers[0][:1200], 0, netip.AddrPort{}, 0)
				r.Keep(0)
			}
		})
	}
	b.Run("copy", func(b *testing.B) {
		from, to := make([]byte, benchPacketBytes), make([]byte, benchPacketBytes)
		for b.Loop() {
			copy(to, from)
		}
	})
}

// sinks are sockets that receive what a benchmark sends.
type sinks struct {
	conns []*Conn
	addrs []netip.AddrPort
	batch *ReadBatch
	b     *testing.B
}

func newSinks(b *testing.B, n int, cfg Config) *sinks {
	s := &sinks{batch: NewReadBatch(64, 0), b: b}
	for range n {
		c := mustListen(b, "udp4", "127.0.0.1:0", cfg, newEngine)
		s.conns = append(s.conns, c)
		s.addrs = append(s.addrs, c.LocalAddr())
	}
	return s
}

// drain takes packets datagrams from each socket.
func (s *sinks) drain(packets int) {
	for _, c := range s.conns {
		for n := 0; n < packets; n += s.batch.Len() {
			readWithin(s.b, c, s.batch)
		}
	}
}

// benchSend times send, which sends packets to each sink, and not the draining.
func benchSend(b *testing.B, s *sinks, packets int, send func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var sending time.Duration
	rounds := 0
	for b.Loop() {
		t := threadTime()
		send()
		sending += threadTime() - t
		s.drain(packets)
		rounds++
	}
	b.ReportMetric(float64(sending.Nanoseconds())/float64(rounds*packets*len(s.conns)), "ns/packet")
	b.ReportMetric(0, "ns/op")
}

// threadTime is the CPU time of the calling thread, which must be locked. On a shared machine it is steadier than the clock,
// and on loopback it holds everything: the kernel delivers a datagram within the call that sends it.
func threadTime() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts)
	return time.Duration(ts.Nano())
}

func listenNet(b *testing.B) *net.UDPConn {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(b, err)
	b.Cleanup(func() { c.Close() })
	_ = c.SetReadBuffer(defaultBufferBytes)
	return c
}
