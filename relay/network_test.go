package relay_test

import (
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rheomesh/relay"
	"rheomesh/sfu"
)

// pair is two nodes with a bad network between them and a watched publisher on the first.
type pair struct {
	a, b   *machine
	shim   *shim
	source *source
	relay  *relay.Relay
	edge   *sfu.Layer
	viewer *viewer
	sent   int
}

func newPair(t testing.TB, seen func([]byte), change ...func(*relay.Config)) *pair {
	t.Helper()
	p := &pair{a: newMachine(t, "a", "127.0.0.1:0", change...), b: newMachine(t, "b", "127.0.0.1:0", change...)}
	p.shim = newShim(t, p.b.relay.Addr().String(), seen)
	p.source = p.a.publishPackets(t, "cam")
	o := p.a.order(p.b)
	o.Peer = p.shim.addr
	p.relay = p.a.put(t, o)
	p.edge = p.b.live(t, "cam").Tracks()[0].Layers()[0]
	p.viewer = watch(t, p.b.router, "cam")
	eventually(t, "layer is not wanted", func() bool { return p.relay.Info().Streams[0].Wanted })
	return p
}

// send publishes frames of one packet, 1,000 a second; every hundredth is a keyframe.
func (p *pair) send(t testing.TB, packets int) {
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for range packets {
		<-ticker.C
		payload := delta(byte(p.sent))
		if p.sent%100 == 0 {
			payload = keyframe(byte(p.sent))
		}
		p.source.video(t, 0, uint32(p.sent)*90, payload)
		p.sent++
	}
}

// drain forgets what the viewer has received.
func (p *pair) drain() {
	for len(p.viewer.video) > 0 {
		<-p.viewer.video
	}
}

// arrived is how many different packets the edge has, and whether each is what the origin has under its number.
func (p *pair) arrived(t testing.TB) int {
	t.Helper()
	origin := p.a.live(t, "cam").Tracks()[0].Layers()[0]
	sent, seqs := map[uint16][]byte{}, map[uint16]bool{}
	for i := range origin.Log().Head() {
		if packet := origin.Log().At(i); packet != nil {
			sent[packet.Header.Seq] = packet.Data
		}
	}
	for i := range p.edge.Log().Head() {
		packet := p.edge.Log().At(i)
		if packet == nil {
			continue
		}
		if want, ok := sent[packet.Header.Seq]; ok {
			require.Equal(t, want, packet.Data)
		}
		require.False(t, seqs[packet.Header.Seq], "packet %d is there twice", packet.Header.Seq)
		seqs[packet.Header.Seq] = true
	}
	return int(p.edge.Info(time.Now()).Packets)
}

// What the hop loses, the hop repairs, though the requests and the repairs get lost as well.
func TestLossIsRepaired(t *testing.T) {
	for _, percent := range []uint32{1, 5, 10, 30} {
		t.Run(fmt.Sprint(percent, " percent"), func(t *testing.T) {
			t.Parallel()
			p := newPair(t, nil)
			p.send(t, 10)
			p.shim.loss.Store(percent * 10)
			p.send(t, 2000)
			p.shim.loss.Store(0)
			p.send(t, 10)
			eventually(t, "repairs do not end", func() bool { return p.arrived(t) == p.sent || p.b.relay.Stats().Lost > 0 })
			stats := p.b.relay.Stats()
			t.Logf("%d sent, %d datagrams dropped, %d recovered, %d lost for good", p.sent, p.shim.dropped.Load(), stats.Recovered, stats.Lost)
			require.Equal(t, p.sent, p.arrived(t))
			require.NotZero(t, stats.Recovered)
			require.Zero(t, stats.Lost)
		})
	}
}

// Delay, jitter and duplicates: everything arrives once, and lips stay in sync since timestamps cross untouched.
func TestReorderedAndDoubled(t *testing.T) {
	p := newPair(t, nil)
	p.shim.delay.Store(int64(20 * time.Millisecond))
	p.shim.jitter.Store(int64(15 * time.Millisecond))
	p.shim.duplicates.Store(200)
	p.shim.loss.Store(20)
	p.send(t, 1500)
	p.shim.loss.Store(0)
	p.send(t, 10)
	eventually(t, "packets are missing", func() bool { return p.arrived(t) == p.sent })
	require.NotZero(t, p.b.relay.Stats().Rejected["replay"])
}

// Keys change all the time while the network loses packets, and not one is lost for it. A second is twice what a repair may take, and repairs are sealed with the key of the
// packet: a phase must outlive them. RELAY_REKEY_PACKETS, at 1,000 a second, makes it longer.
func TestKeysRotateWithoutLoss(t *testing.T) {
	packets := 4000
	if text := os.Getenv("RELAY_REKEY_PACKETS"); text != "" {
		packets, _ = strconv.Atoi(text)
	}
	p := newPair(t, nil, relay.RekeyEvery(time.Second))
	p.shim.loss.Store(20)
	for range packets / 1000 {
		p.send(t, 1000)
		p.drain()
	}
	p.shim.loss.Store(0)
	p.send(t, 10)
	eventually(t, "packets are missing", func() bool { return p.arrived(t) == p.sent })
	require.Zero(t, p.b.relay.Stats().Rejected["seal"])
	require.Zero(t, p.b.relay.Stats().Lost)
}

// The link is cut and comes back. Whatever the length, packets flow again within 250 ms, and the viewer stays.
func TestLinkCut(t *testing.T) {
	for _, cut := range []time.Duration{200 * time.Millisecond, time.Second, 3500 * time.Millisecond} {
		t.Run(cut.String(), func(t *testing.T) {
			t.Parallel()
			p := newPair(t, nil)
			p.send(t, 200)
			p.shim.cut.Store(true)
			p.send(t, int(cut/time.Millisecond))
			p.shim.cut.Store(false)
			before, back := p.edge.Info(time.Now()).Packets, time.Now()
			for p.edge.Info(time.Now()).Packets == before && time.Since(back) < patience {
				p.send(t, 1)
			}
			took := time.Since(back)
			t.Logf("flows again after %v", took.Round(time.Millisecond))
			require.Less(t, took, 250*time.Millisecond+raceSlack)
			_, ended := p.viewer.session.Closed()
			require.False(t, ended)
			eventually(t, "relay is not active", func() bool { return p.relay.Info().State == relay.StateActive })
		})
	}
}

// A cut of more than the lease frees everything on both sides; then it is built anew by itself.
func TestLeaseRunsOut(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the lease of 10 s")
	}
	p := newPair(t, nil)
	p.shim.cut.Store(true)
	start := time.Now()
	require.Eventually(t, func() bool { return len(p.b.relay.Links()) == 0 && len(p.a.relay.Links()) == 0 }, 15*time.Second, 10*time.Millisecond)
	require.Greater(t, time.Since(start), 8*time.Second)
	_, ended := p.viewer.session.Closed()
	require.False(t, ended, "the viewer waits")
	p.shim.cut.Store(false)
	require.Eventually(t, func() bool {
		cam, err := p.b.router.Publisher("cam")
		return err == nil && cam.Live()
	}, 20*time.Second, 10*time.Millisecond)
}

// Junk, truncated, replayed and bit-flipped datagrams beside a live stream: none is accepted, nothing of the stream is lost, nothing grows. RELAY_JUNK sets their number.
func TestJunk(t *testing.T) {
	count := 200_000
	if text := os.Getenv("RELAY_JUNK"); text != "" {
		count, _ = strconv.Atoi(text)
	}
	var mu sync.Mutex
	var captured [][]byte
	p := newPair(t, func(b []byte) {
		mu.Lock()
		defer mu.Unlock()
		if len(captured) < 4096 {
			captured = append(captured, append([]byte(nil), b...))
		}
	})
	p.send(t, 500)
	conn, err := net.Dial("udp", p.b.relay.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	done := make(chan struct{})
	go func() {
		defer close(done)
		noise := make([]byte, 1500)
		_, _ = rand.Read(noise)
		random := mathrand.New(mathrand.NewPCG(3, 4))
		for i := range count {
			mu.Lock()
			sample := captured[random.IntN(len(captured))]
			mu.Unlock()
			switch i % 4 {
			case 0: // random bytes, some with our first bits
				junk := noise[random.IntN(1000):]
				_, _ = conn.Write(junk[:random.IntN(500)])
			case 1: // truncated
				_, _ = conn.Write(sample[:random.IntN(len(sample))])
			case 2: // a flipped bit
				flipped := append([]byte(nil), sample...)
				flipped[random.IntN(len(flipped))] ^= 1 << random.IntN(8)
				_, _ = conn.Write(flipped)
			case 3: // replayed
				_, _ = conn.Write(sample)
			}
			if i%200 == 199 {
				time.Sleep(time.Millisecond) // at most 200,000 a second
			}
		}
	}()
	for running := true; running; {
		p.send(t, 20)
		p.drain() // or else what grows is this test
		select {
		case <-done:
			running = false
		default:
		}
	}
	eventually(t, "live packets are missing", func() bool { return p.edge.Info(time.Now()).Packets == uint64(p.sent) })
	stats := p.b.relay.Stats()
	runtime.GC()
	runtime.ReadMemStats(&after)
	rejected := uint64(0)
	for _, n := range stats.Rejected {
		rejected += n
	}
	t.Logf("%d junk datagrams, %d rejected %v, %d dropped by the kernel, %d live packets lost, heap %+d kB", count, rejected, stats.Rejected, stats.SocketDrops,
		stats.Lost, (int64(after.HeapAlloc)-int64(before.HeapAlloc))>>10)
	require.Zero(t, stats.Lost)
	require.Equal(t, relay.StateActive, p.relay.Info().State)
	require.Less(t, int64(after.HeapAlloc)-int64(before.HeapAlloc), int64(32<<20))
	p.arrived(t)
}

// A stranger gets no byte out of the UDP port.
func TestSilentToStrangers(t *testing.T) {
	m := newMachine(t, "a", "127.0.0.1:0")
	conn, err := net.Dial("udp", m.relay.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	for size := range 200 {
		junk := make([]byte, size)
		if size > 0 {
			junk[0] = byte(0xc0 | size)
		}
		_, err := conn.Write(junk)
		require.NoError(t, err)
	}
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(200*time.Millisecond)))
	n, err := conn.Read(make([]byte, 100))
	require.Error(t, err, "%d bytes", n)
}
