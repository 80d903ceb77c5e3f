package sfu

import (
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/stretchr/testify/require"
)

// chaosClient comes, does at random what clients do, and goes, again and again until the end.
type chaosClient struct {
	t      *testing.T
	node   *Node
	random *rand.Rand
	seq    uint16
}

func (c *chaosClient) router() *Router {
	r, _, _ := c.node.PutRouter([]RouterID{"live", "other"}[c.random.IntN(2)], RouterConfig{})
	return r
}

func (c *chaosClient) live(end time.Time) {
	for time.Now().Before(end) {
		name := []PublisherID{"a", "b", "c"}[c.random.IntN(3)]
		p := NewRawPeer(c.t)
		var s *Session
		var err error
		if publishes := c.random.IntN(3) == 0; publishes {
			s, err = c.router().Publish(PublishRequest{Publisher: name, Offer: p.Offer(RawVideo, RawAudio), ClientIP: netip.MustParseAddr("127.0.0.1")})
		} else {
			s, err = c.router().Subscribe(SubscribeRequest{Publisher: name, Offer: p.Offer(RawVideo, RawAudio)})
		}
		if err != nil { // its router was deleted under its feet
			p.Close()
			continue
		}
		c.visit(p, s)
		c.leave(p, s)
	}
}

func (c *chaosClient) visit(p *RawPeer, s *Session) {
	if c.random.IntN(8) == 0 { // never connects
		return
	}
	if p.Connect(s) != nil { // closed meanwhile, by another client or with its router
		return
	}
	for range c.random.IntN(60) {
		c.act(p, s)
	}
}

func (c *chaosClient) act(p *RawPeer, s *Session) {
	switch c.random.IntN(10) {
	case 0:
		p.SendRTCP(&rtcp.PictureLossIndication{MediaSSRC: c.ssrc(s)}, &rtcp.TransportLayerNack{MediaSSRC: c.ssrc(s), Nacks: []rtcp.NackPair{{PacketID: uint16(c.random.IntN(1 << 16)), LostPackets: 0xffff}}})
	case 1:
		_ = s.SelectLayer(LayerSelection{})
		_ = s.Layers()
	case 2:
		if s.subscriber != nil {
			s.subscriber.SetPaused(c.random.IntN(2) == 0)
			_ = s.subscriber.Info()
		}
	case 3:
		_ = c.node.Stats()
		for _, r := range c.node.Routers() {
			for _, p := range r.Publishers() {
				_ = p.Info()
			}
		}
	case 4:
		p.SendDatagram(rawRandom(c.random.IntN(1400)))
	default:
		if s.Role() == RolePublish {
			c.send(p)
		}
		time.Sleep(time.Millisecond)
	}
}

// send sends a few frames, some of them lost on the way.
func (c *chaosClient) send(p *RawPeer) {
	for range 1 + c.random.IntN(20) {
		c.seq += uint16(1 + c.random.IntN(10)/9)
		payload := frame(int(c.seq))
		if c.random.IntN(8) == 0 {
			payload = keyframeOf(int(c.seq))
		}
		p.SendVP8(c.seq, 3000*uint32(c.seq), payload)
	}
}

func (c *chaosClient) ssrc(s *Session) uint32 {
	if s.subscriber != nil {
		return s.subscriber.forwarders[0].ssrc
	}
	return 1
}

func (c *chaosClient) leave(p *RawPeer, s *Session) {
	switch c.random.IntN(12) {
	case 0:
		_ = c.node.DeleteRouter(s.Router().ID())
		p.Close()
	case 1, 2:
		p.Vanish()
	case 3, 4, 5:
		p.Close()
	case 6:
		go s.Close(CloseKicked)
		p.Close()
	default:
		s.Close(CloseDeleted)
		p.Close()
	}
}

func TestChaos(t *testing.T) {
	node, _ := rawNode(t, func(c *Config) {
		c.Limits.ConnectTimeout, c.Limits.SilenceTimeout = 800*time.Millisecond, 800*time.Millisecond
	})
	events := node.Listen(nil)
	defer events.Close()
	end := time.Now().Add(3 * time.Second)
	var clients sync.WaitGroup
	for i := range 20 {
		clients.Go(func() {
			(&chaosClient{t: t, node: node, random: rand.New(rand.NewPCG(7, uint64(i)))}).live(end)
		})
	}
	clients.Wait()
	require.Eventually(t, func() bool { return node.Stats().Sessions == 0 }, RawPatience, 5*time.Millisecond)
	empty(t, node)
	stats := node.Stats()
	require.Positive(t, stats.VideoPacketsIn)
	t.Logf("%d packets in, %d datagrams out, skipped %v", stats.VideoPacketsIn, stats.PacketsOut, stats.Skipped)
}

func openFiles(t *testing.T) int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc")
	}
	return len(entries)
}

// settles waits until a figure is back where it was; what ends in the background needs its moment.
func settles(t *testing.T, name string, figure func() int, most int) {
	t.Helper()
	for deadline := time.Now().Add(RawPatience); figure() > most; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: %d, were %d", name, figure(), most)
		}
	}
}

// Sessions come and go by the hundred; nothing is left of them.
func TestChurn(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	node, router := rawNode(t)
	p := RawPublish(t, router, "cam", []string{RawVideo})
	p.SendVP8(1, 1000, keyframeOf(0))
	churn := func(n int) {
		var clients sync.WaitGroup
		for range 8 {
			clients.Go(func() {
				for range n / 8 {
					v := NewRawPeer(t)
					s, err := router.Subscribe(SubscribeRequest{Publisher: "cam", Offer: v.Offer(RawVideo, RawAudio)})
					if err == nil {
						err = v.Connect(s)
					}
					if err != nil {
						t.Error(err)
						return
					}
					v.NextRTP()
					v.Close()
					<-s.Done()
				}
			})
		}
		clients.Wait()
	}
	churn(16) // warms up
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	start := time.Now()
	churn(churnSessions)
	t.Logf("%.0f sessions/s with their clients", churnSessions/time.Since(start).Seconds())
	require.Equal(t, 1, node.Stats().Sessions)
	settles(t, "goroutines", runtime.NumGoroutine, goroutines)
	settles(t, "file descriptors", func() int { return openFiles(t) }, files)
}

// What one session holds before its client answers, when anybody can make the node hold it; and, for information, connected but idle.
func TestMemoryOfASession(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	node, router := rawNode(t)
	const sessions = 100
	offer := NewRawPeer(t).Offer(RawVideo, RawAudio)
	before, goroutines := heap(), runtime.NumGoroutine()
	for range sessions {
		_, err := router.Subscribe(SubscribeRequest{Publisher: "cam", Offer: offer})
		require.NoError(t, err)
	}
	for i := range sessions {
		_, err := router.Publish(PublishRequest{Publisher: PublisherID(rune('0'+i%10)) + PublisherID(rune('0'+i/10)), Offer: offer})
		if i < node.limits.MaxPublishersPerRouter {
			require.NoError(t, err)
		}
	}
	held := heap() - before
	count := int64(node.Stats().Sessions)
	t.Logf("%d unanswered sessions: %d KiB and %.1f goroutines each", count, held/count>>10, float64(runtime.NumGoroutine()-goroutines)/float64(count))
	require.Less(t, held/count, int64(130<<10))
	require.Less(t, runtime.NumGoroutine()-goroutines, 10, "an unanswered session needs no goroutine")

	before, goroutines = heap(), runtime.NumGoroutine()
	for range sessions {
		RawWatch(t, router, "cam", []string{RawVideo, RawAudio}, RawMuted)
	}
	t.Logf("%d idle sessions: %d KiB and %.1f goroutines each, their clients included", sessions, (heap()-before)/sessions>>10, float64(runtime.NumGoroutine()-goroutines)/sessions)
}
