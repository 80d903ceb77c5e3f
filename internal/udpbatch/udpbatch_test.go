package udpbatch

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestSizes sends sequences of sizes to one address, where runs begin and end in every way.
func TestSizes(t *testing.T) {
	repeat := func(size, n int) []int {
		sizes := make([]int, n)
		for i := range sizes {
			sizes[i] = size
		}
		return sizes
	}
	tests := []struct {
		name  string
		sizes []int
	}{
		{"one", []int{1200}},
		{"one-empty", []int{0}},
		{"one-byte", []int{1}},
		{"largest", []int{MaxDatagramBytes}},
		{"equal", repeat(1200, 10)},
		{"equal-single-bytes", repeat(1, 64)},
		{"one-full-run", repeat(1000, maxSegments)},
		{"one-beyond-a-full-run", repeat(1000, maxSegments+1)},
		{"bytes-limit-before-segments-limit", repeat(maxSegmentBytes, 50)},
		{"last-shorter", []int{1200, 1200, 1199}},
		{"last-longer", []int{1200, 1200, 1201}},
		{"shorter-in-the-middle", []int{1200, 1200, 600, 1200, 1200}},
		{"shorter-then-equal-to-it", []int{1200, 600, 600}},
		{"descending", []int{5, 4, 3, 2, 1, 0}},
		{"ascending", []int{0, 1, 2, 3, 4, 5}},
		{"last-empty", []int{1200, 1200, 0}},
		{"first-empty", []int{0, 1200, 1200}},
		{"second-last-split-last-empty", []int{1200, 1200, 700, 0}},
		{"only-empty", []int{0, 0, 0}},
		{"empty-between-equal", []int{900, 0, 900, 0, 900}},
		{"above-the-segment-limit", repeat(maxSegmentBytes+1, 4)},
		{"largest-among-small", []int{100, 100, MaxDatagramBytes, 100, 100}},
	}
	eachEngine(t, func(t *testing.T, listen func(network, addr string) *Conn) {
		from, to := listen("udp4", "127.0.0.1:0"), listen("udp4", "127.0.0.1:0")
		w := NewWriteBatch(128, 256<<10)
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				var want [][]byte
				for seq, size := range test.sizes {
					want = append(want, payload(seq, size))
					queue(t, w, want[seq], to.LocalAddr())
				}
				require.Equal(t, len(want), w.Len())
				sent, err := from.Write(w)
				require.NoError(t, err)
				require.Equal(t, len(want), sent)
				require.Zero(t, w.Len(), "Write empties the batch")

				got, addrs := collect(t, to, len(want))
				require.Equal(t, want, got)
				for _, addr := range addrs {
					require.Equal(t, from.LocalAddr(), addr)
				}
			})
		}
	})
}

// TestFamilies checks that each kind of socket reaches its peer and shows the peer's address in its plain form.
func TestFamilies(t *testing.T) {
	tests := []struct {
		name, network, bind, peerNetwork, peerBind string
		dial, seen                                 string // the peer's IP as the socket sends to it, and as it shows it
	}{
		{"ipv4", "udp4", "127.0.0.1:0", "udp4", "127.0.0.1:0", "127.0.0.1", "127.0.0.1"},
		{"ipv4-by-udp", "udp", "127.0.0.1:0", "udp4", "127.0.0.1:0", "127.0.0.1", "127.0.0.1"},
		{"ipv4-mapped-destination", "udp4", "127.0.0.1:0", "udp4", "127.0.0.1:0", "::ffff:127.0.0.1", "127.0.0.1"},
		{"ipv6", "udp6", "[::1]:0", "udp6", "[::1]:0", "::1", "::1"},
		{"dual-stack-to-ipv4", "udp", ":0", "udp4", "127.0.0.1:0", "127.0.0.1", "127.0.0.1"},
		{"dual-stack-to-ipv4-mapped", "udp", ":0", "udp4", "127.0.0.1:0", "::ffff:127.0.0.1", "127.0.0.1"},
		{"dual-stack-to-ipv6", "udp", ":0", "udp6", "[::1]:0", "::1", "::1"},
	}
	eachEngine(t, func(t *testing.T, listen func(network, addr string) *Conn) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				if test.seen == "::1" {
					skipWithoutIPv6(t)
				}
				c, peer := listen(test.network, test.bind), listen(test.peerNetwork, test.peerBind)
				dial := netip.AddrPortFrom(netip.MustParseAddr(test.dial), peer.LocalAddr().Port())
				w := NewWriteBatch(4, 4000)
				queue(t, w, payload(1, 500), dial)
				queue(t, w, payload(2, 500), dial)
				sent, err := c.Write(w)
				require.NoError(t, err)
				require.Equal(t, 2, sent)
				require.NoError(t, c.WriteTo(payload(3, 500), dial))

				got, from := collect(t, peer, 3)
				require.Equal(t, [][]byte{payload(1, 500), payload(2, 500), payload(3, 500)}, got)
				require.Equal(t, c.LocalAddr().Port(), from[0].Port())

				require.NoError(t, peer.WriteTo([]byte("back"), from[0]))
				_, from = collect(t, c, 1)
				require.Equal(t, netip.AddrPortFrom(netip.MustParseAddr(test.seen), peer.LocalAddr().Port()), from[0])
			})
		}
	})
}

func skipWithoutIPv6(t *testing.T) {
	c, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 here:", err)
	}
	c.Close()
}

// TestLinkLocal sends to the host's own link-local address and expects the interface's name as the zone.
func TestLinkLocal(t *testing.T) {
	addr, ok := linkLocalAddr(t)
	if !ok {
		t.Skip("no link-local IPv6 address here")
	}
	eachEngine(t, func(t *testing.T, listen func(network, addr string) *Conn) {
		c, peer := listen("udp6", "[::]:0"), listen("udp6", "[::]:0")
		w := NewWriteBatch(1, 100)
		queue(t, w, payload(1, 100), netip.AddrPortFrom(addr, peer.LocalAddr().Port()))
		sent, err := c.Write(w)
		require.NoError(t, err)
		require.Equal(t, 1, sent)
		_, from := collect(t, peer, 1)
		require.Equal(t, netip.AddrPortFrom(addr, c.LocalAddr().Port()), from[0])
	})
}

func linkLocalAddr(t *testing.T) (netip.Addr, bool) {
	interfaces, err := net.Interfaces()
	require.NoError(t, err)
	for _, i := range interfaces {
		addrs, err := i.Addrs()
		require.NoError(t, err)
		for _, a := range addrs {
			prefix, err := netip.ParsePrefix(a.String())
			if err == nil && prefix.Addr().Is6() && prefix.Addr().IsLinkLocalUnicast() {
				return prefix.Addr().WithZone(i.Name), true
			}
		}
	}
	return netip.Addr{}, false
}

// TestManyDestinations queues datagrams for many sockets in turn: each must get its own, in order.
func TestManyDestinations(t *testing.T) {
	const sockets, rounds = 40, 25
	eachEngine(t, func(t *testing.T, listen func(network, addr string) *Conn) {
		from := listen("udp4", "127.0.0.1:0")
		var to []*Conn
		for range sockets {
			to = append(to, listen("udp4", "127.0.0.1:0"))
		}
		w := NewWriteBatch(sockets*rounds, 1<<20)
		for round := range rounds {
			for i, c := range to {
				for range 1 + i%3 { // runs of one to three
					if w.Next(100) == nil {
						flush(t, from, w)
					}
					queue(t, w, payload(round, 10+i), c.LocalAddr())
				}
			}
		}
		flush(t, from, w)
		for i, c := range to {
			got, _ := collect(t, c, rounds*(1+i%3))
			for k, p := range got {
				require.Equal(t, payload(k/(1+i%3), 10+i), p, "socket %d datagram %d", i, k)
			}
		}
	})
}

// flush writes a batch, all of which must go out.
func flush(t tester, c *Conn, w *WriteBatch) {
	t.Helper()
	n := w.Len()
	sent, err := c.Write(w)
	require.NoError(t, err)
	require.Equal(t, n, sent)
}

// TestModel sends random lists of datagrams to a few sockets and expects each socket's share unchanged and in order.
func TestModel(t *testing.T) {
	eachEngine(t, func(t *testing.T, listen func(network, addr string) *Conn) {
		from := listen("udp4", "127.0.0.1:0")
		to := []*Conn{listen("udp4", "127.0.0.1:0"), listen("udp4", "127.0.0.1:0"), listen("udp4", "127.0.0.1:0")}
		w := NewWriteBatch(100, 200<<10)
		rapid.Check(t, func(t *rapid.T) {
			want := make([][][]byte, len(to))
			n := rapid.IntRange(1, 100).Draw(t, "datagrams")
			size := 0
			dest := 0
			for seq := range n {
				if rapid.IntRange(0, 3).Draw(t, "change") == 0 {
					size = rapid.IntRange(0, 2000).Draw(t, "size")
				}
				if rapid.IntRange(0, 5).Draw(t, "turn") == 0 {
					dest = rapid.IntRange(0, len(to)-1).Draw(t, "to")
				}
				p := payload(seq, size)
				want[dest] = append(want[dest], p)
				queue(t, w, p, to[dest].LocalAddr())
			}
			flush(t, from, w)
			for i, c := range to {
				got, _ := collect(t, c, len(want[i]))
				require.Equal(t, want[i], got)
			}
		})
	})
}

// TestBadDestinations puts addresses that the kernel or the socket refuses between good ones.
func TestBadDestinations(t *testing.T) {
	tests := []struct{ name, addr string }{
		{"port-zero", "127.0.0.1:0"},
		{"not-reachable-from-loopback", "192.0.2.1:9"},
		{"ipv6-on-an-ipv4-socket", "[::1]:9"},
		{"no-address", ""},
	}
	eachEngine(t, func(t *testing.T, listen func(network, addr string) *Conn) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				from, to := listen("udp4", "127.0.0.1:0"), listen("udp4", "127.0.0.1:0")
				var bad netip.AddrPort
				if test.addr != "" {
					bad = netip.MustParseAddrPort(test.addr)
				}
				w := NewWriteBatch(16, 16000)
				var want [][]byte
				for seq, addr := range []netip.AddrPort{bad, to.LocalAddr(), bad, bad, bad, to.LocalAddr(), to.LocalAddr(), bad} {
					queue(t, w, payload(seq, 300), addr)
					if addr != bad {
						want = append(want, payload(seq, 300))
					}
				}
				sent, err := from.Write(w)
				require.NoError(t, err)
				require.Equal(t, 3, sent)
				got, _ := collect(t, to, 3)
				require.Equal(t, want, got)
				require.EqualValues(t, 5, from.Counters().DroppedRefused)

				require.Error(t, from.WriteTo([]byte("x"), bad))
				require.EqualValues(t, 6, from.Counters().DroppedRefused)
				require.EqualValues(t, 3, from.Counters().SentDatagrams)
				require.NoError(t, from.WriteTo([]byte("x"), to.LocalAddr()))
			})
		}
		t.Run("ipv4-on-an-ipv6-socket", func(t *testing.T) {
			skipWithoutIPv6(t)
			require.Error(t, listen("udp6", "[::1]:0").WriteTo([]byte("x"), netip.MustParseAddrPort("127.0.0.1:9")))
		})
	})
}

func TestTooLarge(t *testing.T) {
	eachEngine(t, func(t *testing.T, listen func(network, addr string) *Conn) {
		from, to := listen("udp4", "127.0.0.1:0"), listen("udp4", "127.0.0.1:0")
		w := NewWriteBatch(2, 70000)
		queue(t, w, payload(1, MaxDatagramBytes+1), to.LocalAddr())
		queue(t, w, payload(2, 100), to.LocalAddr())
		sent, err := from.Write(w)
		require.NoError(t, err)
		require.Equal(t, 1, sent)
		got, _ := collect(t, to, 1)
		require.Equal(t, payload(2, 100), got[0])
		require.EqualValues(t, 1, from.Counters().DroppedRefused)
	})
}

func TestCloseUnblocksRead(t *testing.T) {
	eachEngine(t, func(t *testing.T, listen func(network, addr string) *Conn) {
		c, other := listen("udp4", "127.0.0.1:0"), listen("udp4", "127.0.0.1:0")
		first, result := make(chan struct{}), make(chan error, 1)
		var reader sync.WaitGroup
		reader.Go(func() {
			b := NewReadBatch(4, 0)
			if err := c.Read(b); err != nil {
				result <- err
				return
			}
			close(first) // the next Read has nothing to return
			result <- c.Read(b)
		})
		require.NoError(t, other.WriteTo([]byte("x"), c.LocalAddr()))
		<-first
		require.NoError(t, c.Close())
		require.ErrorIs(t, <-result, net.ErrClosed)
		reader.Wait()
	})
}

func TestUseAfterClose(t *testing.T) {
	eachEngine(t, func(t *testing.T, listen func(network, addr string) *Conn) {
		c := listen("udp4", "127.0.0.1:0")
		require.NoError(t, c.Close())
		require.NoError(t, c.Close(), "a second Close does nothing")

		w := NewWriteBatch(4, 4000)
		queue(t, w, payload(1, 10), c.LocalAddr())
		queue(t, w, payload(2, 10), c.LocalAddr())
		sent, err := c.Write(w)
		require.ErrorIs(t, err, net.ErrClosed)
		require.Zero(t, sent)
		require.Zero(t, w.Len())
		sent, err = c.Write(w)
		require.NoError(t, err, "an empty batch asks nothing of the socket")
		require.Zero(t, sent)

		require.ErrorIs(t, c.WriteTo([]byte("x"), c.LocalAddr()), net.ErrClosed)
		require.ErrorIs(t, c.Read(NewReadBatch(1, 0)), net.ErrClosed)
		require.Zero(t, c.Drops())
	})
}

// TestTruncated reads with buffers that some messages exceed: those are lost and counted, the others come through.
func TestTruncated(t *testing.T) {
	eachEngine(t, func(t *testing.T, listen func(network, addr string) *Conn) {
		from, to := listen("udp4", "127.0.0.1:0"), listen("udp4", "127.0.0.1:0")
		for _, size := range []int{1000, 1001, 2000, 5} {
			require.NoError(t, from.WriteTo(payload(size, size), to.LocalAddr()))
		}
		b := NewReadBatch(2, 1000)
		var sizes []int
		for len(sizes) < 2 {
			readWithin(t, to, b)
			for i := range b.Len() {
				require.Equal(t, payload(len(b.Packet(i).Data), len(b.Packet(i).Data)), b.Packet(i).Data)
				sizes = append(sizes, len(b.Packet(i).Data))
			}
		}
		require.Equal(t, []int{1000, 5}, sizes)
		require.EqualValues(t, 2, to.Counters().Truncated)
		require.EqualValues(t, 2, to.Counters().ReceivedDatagrams)
		require.EqualValues(t, 4, to.Counters().ReceivedMessages)
	})
}

// TestKeep keeps the buffer of some datagrams and expects it untouched by the following reads.
func TestKeep(t *testing.T) {
	eachEngine(t, func(t *testing.T, listen func(network, addr string) *Conn) {
		from, to := listen("udp4", "127.0.0.1:0"), listen("udp4", "127.0.0.1:0")
		b := NewReadBatch(2, 0)
		w := NewWriteBatch(3, 3000)
		var kept [][]byte
		for round := range 20 {
			for range 3 {
				queue(t, w, payload(round, 100), to.LocalAddr())
			}
			flush(t, from, w)
			for n := 0; n < 3; n += b.Len() {
				readWithin(t, to, b)
				if round%2 == 1 {
					continue
				}
				for i := range b.Len() {
					b.Keep(i) // several datagrams of one buffer: keeping it again changes nothing
					kept = append(kept, b.Packet(i).Data)
				}
			}
		}
		require.Len(t, kept, 30)
		for i, p := range kept {
			require.Equal(t, payload(i/3*2, 100), p)
			require.Equal(t, len(p), cap(p), "an append must not reach the next datagram")
		}
	})
}

// TestConcurrentWriters lets several goroutines share a socket, each with its own batch, beside single sends.
func TestConcurrentWriters(t *testing.T) {
	const writers, rounds, perRound = 4, 50, 12
	eachEngine(t, func(t *testing.T, listen func(network, addr string) *Conn) {
		from, to := listen("udp4", "127.0.0.1:0"), listen("udp4", "127.0.0.1:0")
		var all sync.WaitGroup
		for id := range writers {
			all.Go(func() {
				w := NewWriteBatch(perRound, perRound*200)
				for round := range rounds {
					for i := range perRound {
						buf := w.Next(200)
						binary.BigEndian.PutUint16(buf, uint16(id))
						binary.BigEndian.PutUint16(buf[2:], uint16(round*perRound+i))
						w.Commit(100+i%4*10, to.LocalAddr())
					}
					if sent, err := from.Write(w); err != nil || sent != perRound {
						t.Errorf("sent %d of %d: %v", sent, perRound, err)
					}
					if err := from.WriteTo([]byte{0xff, 0xff, 0, 0}, to.LocalAddr()); err != nil {
						t.Error(err)
					}
					_ = from.Capabilities()
				}
			})
		}
		got, _ := collect(t, to, writers*rounds*(perRound+1))
		all.Wait()
		var next [writers]uint16
		for _, p := range got {
			id := binary.BigEndian.Uint16(p)
			if id == 0xffff {
				continue
			}
			require.Equal(t, next[id], binary.BigEndian.Uint16(p[2:]), "writer %d", id)
			next[id]++
		}
		require.EqualValues(t, writers*rounds*(perRound+1), from.Counters().SentDatagrams)
	})
}

// TestAllocations pins the hot path: nothing is allocated per datagram or per call. Each run moves many datagrams, as
// AllocsPerRun truncates its average.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, family := range []struct{ name, network, addr string }{
		{"ipv4", "udp4", "127.0.0.1:0"},
		{"ipv6", "udp6", "[::1]:0"},
		{"dual-stack", "udp", ":0"},
	} {
		t.Run(family.name, func(t *testing.T) {
			if family.name != "ipv4" {
				skipWithoutIPv6(t)
			}
			eachEngine(t, func(t *testing.T, listen func(network, addr string) *Conn) {
				from, to := listen(family.network, family.addr), listen(family.network, family.addr)
				addr := to.LocalAddr()
				if addr.Addr().IsUnspecified() {
					addr = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), addr.Port())
				}
				w, b := NewWriteBatch(90, 90*1200), NewReadBatch(16, 0)
				p := payload(1, 700)
				require.NoError(t, to.udp.SetReadDeadline(time.Now().Add(readPatience)))
				require.Zero(t, testing.AllocsPerRun(20, func() {
					for i := range 90 {
						w.Next(1200)
						w.Commit(1200-i/30, addr)
					}
					_, _ = from.Write(w)
					for range 10 {
						_ = from.WriteTo(p, addr)
					}
					for n := 0; n < 100; n += b.Len() {
						if err := to.Read(b); err != nil {
							t.Fatal(err)
						}
					}
				}))
			})
		})
	}
}

func TestCounters(t *testing.T) {
	eachEngine(t, func(t *testing.T, listen func(network, addr string) *Conn) {
		from, to := listen("udp4", "127.0.0.1:0"), listen("udp4", "127.0.0.1:0")
		w := NewWriteBatch(10, 10000)
		for seq := range 10 {
			queue(t, w, payload(seq, 1000), to.LocalAddr())
		}
		flush(t, from, w)
		collect(t, to, 10)
		sent, received := from.Counters(), to.Counters()
		require.EqualValues(t, 10, sent.SentDatagrams)
		require.EqualValues(t, 10, received.ReceivedDatagrams)
		messages, calls := uint64(10), uint64(1)
		if from.Capabilities().GSO {
			messages = 1
		}
		if _, single := from.engine.(*singleEngine); single {
			calls = 10
		}
		require.Equal(t, messages, sent.SentMessages)
		require.Equal(t, calls, sent.SendCalls)
		if to.Capabilities().GRO && from.Capabilities().GSO {
			messages = 1
		}
		require.Equal(t, messages, received.ReceivedMessages)
		require.NotZero(t, received.ReceiveCalls)
	})
}

func TestCapabilities(t *testing.T) {
	eachEngine(t, func(t *testing.T, listen func(network, addr string) *Conn) {
		granted := listen("udp4", "127.0.0.1:0").Capabilities()
		require.Equal(t, granted.GSO && granted.GRO, granted.Reason == "", "a reason if and only if something is off")
		require.Positive(t, granted.ReadBufferBytes)
		require.Positive(t, granted.WriteBufferBytes)
	})
	granted := mustListen(t, "udp4", "127.0.0.1:0", Config{ReadBufferBytes: 64 << 10, WriteBufferBytes: 32 << 10}, newEngine).Capabilities()
	require.Equal(t, 64<<10, granted.ReadBufferBytes)
	require.Equal(t, 32<<10, granted.WriteBufferBytes)
}

func TestListenErrors(t *testing.T) {
	tests := []struct {
		name, network, addr string
		cfg                 Config
	}{
		{"no-such-network", "tcp", "127.0.0.1:0", Config{}},
		{"unix-network", "unixgram", "", Config{}},
		{"no-port", "udp4", "127.0.0.1", Config{}},
		{"negative-read-buffer", "udp4", "127.0.0.1:0", Config{ReadBufferBytes: -1}},
		{"negative-write-buffer", "udp4", "127.0.0.1:0", Config{WriteBufferBytes: -1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Listen(test.network, test.addr, test.cfg)
			require.ErrorContains(t, err, "listen "+test.network)
		})
	}
	t.Run("port-in-use", func(t *testing.T) {
		c := mustListen(t, "udp4", "127.0.0.1:0", Config{}, newEngine)
		_, err := Listen("udp4", c.LocalAddr().String(), Config{})
		require.Error(t, err)
	})
}

func TestAskBuffer(t *testing.T) {
	tests := []struct {
		name        string
		limit, want int
	}{
		{"all-granted", 1 << 20, 1 << 20},
		{"halved-until-accepted", 300 << 10, 256 << 10},
		{"nothing-granted", 0, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			set := func(bytes int) error {
				if bytes > test.limit {
					return errors.New("too large")
				}
				return nil
			}
			require.Equal(t, test.want, askBuffer(set, 1<<20))
		})
	}
}
