package relay_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rheomesh/relay"
	"rheomesh/sfu"
)

// A publisher on A is watched on B: the four steps, and the packets' payloads to the last byte.
func TestPush(t *testing.T) {
	a, b := newMachine(t, "a", "127.0.0.1:0"), newMachine(t, "b", "127.0.0.1:0")
	source := a.publishPackets(t, "cam")
	r := a.put(t, a.order(b))
	require.Equal(t, relay.StateActive, r.Info().State)
	checkArrives(t, source, b)
	info := r.Info()
	require.Len(t, info.Streams, 2)
	require.Equal(t, "flowing", info.Streams[0].State)
	require.NotZero(t, info.Streams[0].Packets)
}

// checkArrives watches "cam" on a machine and sees that what source sends comes out there.
func checkArrives(t *testing.T, source *source, m *machine) *viewer {
	t.Helper()
	p := m.live(t, "cam")
	require.Equal(t, source.node.ID(), p.Info().Origin.NodeID)
	v := watch(t, m.router, "cam")
	source.video(t, 0, 1000, keyframe(1))
	for i := range byte(200) {
		source.video(t, 0, 4000+uint32(i)*3000, delta(i))
	}
	require.Equal(t, keyframe(1), v.next().Payload)
	for i := range byte(200) {
		require.Equal(t, delta(i), v.next().Payload)
	}
	return v
}

func TestPull(t *testing.T) {
	a, b := newMachine(t, "a", "127.0.0.1:0"), newMachine(t, "b", "127.0.0.1:0")
	o := b.order(a)
	o.Mode = relay.ModePull
	r := b.put(t, o) // before anybody publishes
	source := a.publishPackets(t, "cam")
	checkArrives(t, source, b)
	require.NotZero(t, r.Info().Streams[0].Packets)
	source.feed.Close(sfu.CloseDeleted)
	eventually(t, "publisher stays live", func() bool {
		p, err := b.router.Publisher("cam")
		return err == nil && !p.Live() // its viewer waits
	})
}

func TestIPv6Only(t *testing.T) {
	a, b := newMachine(t, "a", "[::1]:0"), newMachine(t, "b", "[::1]:0")
	source := a.publishPackets(t, "cam")
	a.put(t, a.order(b))
	checkArrives(t, source, b)
}

// With "*", publishers that come later follow; with names, only those go.
func TestPublishersThatComeLater(t *testing.T) {
	a, b := newMachine(t, "a", "127.0.0.1:0"), newMachine(t, "b", "127.0.0.1:0")
	a.put(t, a.order(b))
	c := newMachine(t, "c", "127.0.0.1:0")
	o := a.order(c)
	o.ID, o.Publishers = "one", []sfu.PublisherID{"one"}
	a.put(t, o)
	a.publishPackets(t, "one")
	a.publishPackets(t, "two")
	b.live(t, "one")
	b.live(t, "two")
	c.live(t, "one")
	require.Len(t, c.router.Publishers(), 1)
}

// Media and sender reports cross untouched: SSRC, numbers, timestamps, extensions.
func TestPacketsCrossUntouched(t *testing.T) {
	a, b := newMachine(t, "a", "127.0.0.1:0"), newMachine(t, "b", "127.0.0.1:0")
	source := a.publishPackets(t, "cam")
	a.put(t, a.order(b))
	p := b.live(t, "cam")
	watch(t, b.router, "cam")
	source.video(t, 0, 123456, keyframe(7))
	source.feed.Layers()[0][0].Report(sfu.SenderReport{NTP: 1 << 40, RTPTime: 99}, time.Now(), 0)
	source.video(t, 0, 126456, delta(8))
	layer := p.Tracks()[0].Layers()[0]
	origin := a.live(t, "cam").Tracks()[0].Layers()[0]
	eventually(t, "packets do not come", func() bool { return layer.Log().Head() == 2 })
	for i := range uint64(2) {
		require.Equal(t, origin.Log().At(i).Data, layer.Log().At(i).Data)
	}
	eventually(t, "sender report does not come", func() bool { return layer.Report().NTP == 1<<40 && layer.Report().RTPTime == 99 })
	require.WithinDuration(t, time.Unix(0, origin.Report().Arrival), time.Unix(0, layer.Report().Arrival), 50*time.Millisecond)
}

// What nobody watches does not cross, and of several layers only the watched one does.
func TestDemand(t *testing.T) {
	a, b := newMachine(t, "a", "127.0.0.1:0"), newMachine(t, "b", "127.0.0.1:0")
	source := a.publishPackets(t, "cam", "l", "m", "h")
	r := a.put(t, a.order(b))
	b.live(t, "cam")
	for i := range byte(50) {
		for layer := range 3 {
			source.video(t, layer, uint32(i)*3000, keyframe(i))
		}
	}
	time.Sleep(100 * time.Millisecond) // nothing is to happen, and that has no event
	require.Zero(t, a.relay.Stats().PacketsOut)

	v := watch(t, b.router, "cam")
	require.NoError(t, v.session.SelectLayer(sfu.LayerSelection{RID: "m"}))
	wanted := func(rid string) bool {
		for _, s := range r.Info().Streams {
			if s.RID == rid && s.Wanted {
				return true
			}
		}
		return false
	}
	eventually(t, "watched layer is not wanted", func() bool { return wanted("m") })
	send := func(i int) {
		for layer := range 3 {
			source.video(t, layer, uint32(1000+i)*3000, keyframe(byte(i)))
		}
	}
	i := 0
	eventually(t, "other layers stay wanted", func() bool {
		send(i)
		i++
		return !wanted("l") && !wanted("h") && wanted("m")
	})
	before := r.Info().Streams
	for range 50 {
		send(i)
		i++
	}
	after := map[string]uint64{}
	eventually(t, "watched layer does not cross", func() bool {
		for _, s := range r.Info().Streams {
			after[s.RID] = s.Packets
		}
		return after["m"] >= 50
	})
	for _, s := range before {
		if s.RID == "l" || s.RID == "h" {
			require.Equal(t, s.Packets, after[s.RID], "layer %s", s.RID)
		}
	}
	require.NoError(t, v.pc.Close())
	v.session.Close(sfu.CloseDeleted)
	eventually(t, "demand stays without viewers", func() bool { return !wanted("m") })
}

// Keyframe requests cross, and those of many viewers are one.
func TestKeyframeRequests(t *testing.T) {
	a, b := newMachine(t, "a", "127.0.0.1:0"), newMachine(t, "b", "127.0.0.1:0")
	source := a.publishPackets(t, "cam")
	a.put(t, a.order(b))
	b.live(t, "cam")
	start := time.Now()
	for range 3 {
		watch(t, b.router, "cam")
	}
	eventually(t, "no keyframe is asked for", func() bool { return source.keyframeRequests() > 0 })
	most := 1 + int(time.Since(start)/(400*time.Millisecond))
	require.LessOrEqual(t, source.keyframeRequests(), most)
}

func TestLoops(t *testing.T) {
	a, b, c := newMachine(t, "a", "127.0.0.1:0"), newMachine(t, "b", "127.0.0.1:0"), newMachine(t, "c", "127.0.0.1:0")
	a.publishPackets(t, "cam")
	refused := func(m, to *machine, want error) {
		t.Helper()
		_, _, err := m.relay.Put(t.Context(), m.order(to))
		require.ErrorIs(t, err, want)
		require.Empty(t, m.relay.Relays("live"), "nothing is left behind")
	}
	refused(a, a, relay.ErrLoop) // of itself
	a.put(t, a.order(b))
	b.live(t, "cam")
	refused(b, a, relay.ErrLoop) // of two
	b.put(t, b.order(c))
	p := c.live(t, "cam")
	require.Equal(t, []sfu.NodeID{"a", "b"}, p.Info().Origin.Hops)
	refused(c, a, relay.ErrLoop) // of three
}

func TestChainOfFive(t *testing.T) {
	var chain []*machine
	for i := range 6 {
		chain = append(chain, newMachine(t, fmt.Sprintf("n%d", i), "127.0.0.1:0"))
	}
	source := chain[0].publishPackets(t, "cam")
	for i := range 4 {
		chain[i].put(t, chain[i].order(chain[i+1]))
		chain[i+1].live(t, "cam")
	}
	v := checkArrives(t, source, chain[4])
	require.NotNil(t, v)
	_, _, err := chain[4].relay.Put(t.Context(), chain[4].order(chain[5]))
	require.ErrorIs(t, err, relay.ErrTooManyHops)
}

// Two origins have one name: the first stays, and the second comes in when the first is gone.
func TestSameNameFromTwoOrigins(t *testing.T) {
	a, b, c := newMachine(t, "a", "127.0.0.1:0"), newMachine(t, "b", "127.0.0.1:0"), newMachine(t, "c", "127.0.0.1:0")
	first := a.publishPackets(t, "cam")
	b.publishPackets(t, "cam")
	a.put(t, a.order(c))
	c.live(t, "cam")
	_, _, err := b.relay.Put(t.Context(), b.order(c))
	require.ErrorIs(t, err, relay.ErrPublisherTaken)
	require.Equal(t, sfu.NodeID("a"), c.live(t, "cam").Info().Origin.NodeID)

	b.publishPackets(t, "other")
	r := b.put(t, b.order(c)) // the other one is welcome
	c.live(t, "other")
	require.Equal(t, "conflict", r.Info().Streams[0].State)
	first.feed.Close(sfu.CloseDeleted)
	eventually(t, "second origin does not come in", func() bool {
		p, err := c.router.Publisher("cam")
		return err == nil && p.Live() && p.Info().Origin.NodeID == "b"
	})
}

func TestPutIsIdempotent(t *testing.T) {
	a, b := newMachine(t, "a", "127.0.0.1:0"), newMachine(t, "b", "127.0.0.1:0")
	a.publishPackets(t, "cam")
	first := a.put(t, a.order(b))
	for range 10_000 {
		r, created, err := a.relay.Put(t.Context(), a.order(b))
		require.NoError(t, err)
		require.False(t, created)
		require.Same(t, first, r)
	}
	require.Len(t, a.relay.Links(), 1)
	require.Len(t, b.relay.Links(), 1)
	require.Equal(t, 2, b.relay.Links()[0].In)
	other := a.order(b)
	other.Mode = relay.ModePull
	_, _, err := a.relay.Put(t.Context(), other)
	require.ErrorIs(t, err, relay.ErrOrderConflict)
}

func TestDelete(t *testing.T) {
	for _, mode := range []relay.Mode{relay.ModePush, relay.ModePull} {
		t.Run(string(mode), func(t *testing.T) {
			a, b := newMachine(t, "a", "127.0.0.1:0"), newMachine(t, "b", "127.0.0.1:0")
			a.publishPackets(t, "cam")
			owner, o := a, a.order(b)
			if mode == relay.ModePull {
				owner, o = b, b.order(a)
				o.Mode = mode
			}
			owner.put(t, o)
			b.live(t, "cam")
			require.NoError(t, owner.relay.Delete("live", "r"))
			eventually(t, "publisher stays", func() bool { return len(b.router.Publishers()) == 0 })
			eventually(t, "links stay", func() bool { return len(a.relay.Links())+len(b.relay.Links()) == 0 })
			require.ErrorIs(t, owner.relay.Delete("live", "r"), relay.ErrRelayNotFound)
		})
	}
}

func TestRefusals(t *testing.T) {
	a, b := newMachine(t, "a", "127.0.0.1:0"), newMachine(t, "b", "127.0.0.1:0")
	stranger := newMachine(t, "s", "127.0.0.1:0", func(c *relay.Config) { c.Secret = "another secret than that of the cluster" })
	drained := newMachine(t, "d", "127.0.0.1:0")
	drained.media.SetDraining(true)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	for _, row := range []struct {
		name   string
		change func(*relay.Order)
		want   error
	}{
		{"nobody listens", func(o *relay.Order) { o.Peer = closed.Addr().String() }, relay.ErrUnreachable},
		{"no such router there", func(o *relay.Order) { o.RemoteRouter = "none" }, relay.ErrRemoteRouter},
		{"no such router here", func(o *relay.Order) { o.Router = "none" }, sfu.ErrRouterNotFound},
		{"another secret", func(o *relay.Order) { o.Peer = stranger.relay.Addr().String() }, relay.ErrDenied},
		{"target that is not allowed", func(o *relay.Order) { o.Peer = "192.0.2.1:9443" }, relay.ErrDenied},
		{"metadata service", func(o *relay.Order) { o.Peer = "169.254.169.254:80" }, relay.ErrDenied},
		{"unspecified address", func(o *relay.Order) { o.Peer = "0.0.0.0:9443" }, relay.ErrDenied},
		{"draining peer", func(o *relay.Order) { o.Peer = drained.relay.Addr().String() }, relay.ErrPeerDraining},
		{"peer without port", func(o *relay.Order) { o.Peer = "127.0.0.1" }, relay.ErrOrderInvalid},
		{"id", func(o *relay.Order) { o.ID = ".." }, relay.ErrOrderInvalid},
		{"mode", func(o *relay.Order) { o.Mode = "sideways" }, relay.ErrOrderInvalid},
		{"hops", func(o *relay.Order) { o.MaxHops = 17 }, relay.ErrOrderInvalid},
		{"publisher", func(o *relay.Order) { o.Publishers = []sfu.PublisherID{"a/b"} }, relay.ErrOrderInvalid},
	} {
		t.Run(row.name, func(t *testing.T) {
			o := a.order(b)
			row.change(&o)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			_, _, err := a.relay.Put(ctx, o)
			require.ErrorIs(t, err, row.want)
			require.Empty(t, a.relay.Relays("live"))
			eventually(t, "link is left behind", func() bool { return len(a.relay.Links()) == 0 })
		})
	}
}

// Without a secret, only this machine is reached.
func TestWithoutSecret(t *testing.T) {
	none := func(c *relay.Config) { c.Secret = "" }
	a, b := newMachine(t, "a", "127.0.0.1:0", none), newMachine(t, "b", "127.0.0.1:0", none)
	source := a.publishPackets(t, "cam")
	a.put(t, a.order(b))
	checkArrives(t, source, b)
	o := a.order(b)
	o.ID, o.Peer = "far", "10.0.0.1:9443"
	_, _, err := a.relay.Put(t.Context(), o)
	require.ErrorIs(t, err, relay.ErrDenied)
}

// The edge is killed and comes back under the same address: the relay goes on by itself.
func TestEdgeRestarts(t *testing.T) {
	a, b := newMachine(t, "a", "127.0.0.1:0"), newMachine(t, "b", "127.0.0.1:0")
	a.publishPackets(t, "cam")
	r := a.put(t, a.order(b))
	b.live(t, "cam")
	addr := b.relay.Addr().String()
	require.NoError(t, b.relay.Close())
	require.NoError(t, b.media.Close())
	eventually(t, "relay does not notice", func() bool { return r.Info().State == relay.StateStalled })
	again := newMachine(t, "b", addr)
	start := time.Now()
	again.live(t, "cam")
	t.Logf("live %v after the restart", time.Since(start).Round(time.Millisecond))
	eventually(t, "relay does not recover", func() bool { return r.Info().State == relay.StateActive })
}

// The origin comes back: its relays are restored from the data directory, and no ghosts of the last run stay.
func TestOriginRestarts(t *testing.T) {
	dir := t.TempDir()
	keep := func(c *relay.Config) { c.DataDir = dir }
	a, b := newMachine(t, "a", "127.0.0.1:0", keep), newMachine(t, "b", "127.0.0.1:0")
	source := a.publishPackets(t, "cam")
	a.put(t, a.order(b))
	v := checkArrives(t, source, b)
	require.FileExists(t, filepath.Join(dir, "relays.json"))
	require.NoError(t, a.relay.Close())
	source.feed.Close(sfu.CloseDeleted)
	require.NoError(t, a.media.Close())
	eventually(t, "ghost stays live", func() bool {
		p, err := b.router.Publisher("cam")
		return err == nil && !p.Live()
	})
	again := newMachine(t, "a", "127.0.0.1:0", keep)
	require.Len(t, again.relay.Relays("live"), 1)
	next := again.publishPackets(t, "cam")
	b.live(t, "cam")
	next.video(t, 0, 9000, keyframe(42))
	require.Equal(t, keyframe(42), v.next().Payload, "the viewer has stayed")
	require.Len(t, b.relay.Links(), 1)
}

func TestStoreRefusesWhatItDoesNotUnderstand(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "relays.json"), []byte(`[{"idd":"r"}]`), 0o600))
	media, err := sfu.NewNode(sfu.Config{MediaAddr: "127.0.0.1:0"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, media.Close()) })
	_, err = relay.Listen(relay.Config{Media: media, Addr: "127.0.0.1:0", DataDir: dir})
	require.ErrorContains(t, err, "relays.json")
}

// The edge's router is deleted, which fails the relay with its reason; a new one of the name mends it.
func TestRemoteRouterDeleted(t *testing.T) {
	a, b := newMachine(t, "a", "127.0.0.1:0"), newMachine(t, "b", "127.0.0.1:0")
	a.publishPackets(t, "cam")
	r := a.put(t, a.order(b))
	b.live(t, "cam")
	require.NoError(t, b.media.DeleteRouter("live"))
	eventually(t, "relay does not fail", func() bool { return r.Info().State == relay.StateFailed && r.Info().Reason == "router-not-found" })
	var err error
	b.router, _, err = b.media.PutRouter("live", sfu.RouterConfig{})
	require.NoError(t, err)
	b.live(t, "cam")
}

// Draining is shown on both sides.
func TestDraining(t *testing.T) {
	a, b := newMachine(t, "a", "127.0.0.1:0"), newMachine(t, "b", "127.0.0.1:0")
	r := a.put(t, a.order(b))
	b.media.SetDraining(true)
	eventually(t, "relay does not notice", func() bool { return r.Info().State == relay.StateDraining && r.Info().Reason == "draining" })
}

// A link that is deleted is made anew.
func TestLinkDeleted(t *testing.T) {
	a, b := newMachine(t, "a", "127.0.0.1:0"), newMachine(t, "b", "127.0.0.1:0")
	a.publishPackets(t, "cam")
	r := a.put(t, a.order(b))
	b.live(t, "cam")
	old := r.Info().LinkID
	require.NoError(t, a.relay.DeleteLink(old))
	eventually(t, "no new link", func() bool {
		return r.Info().State == relay.StateActive && r.Info().LinkID != old && len(a.relay.Links()) == 1
	})
	b.live(t, "cam")
	require.ErrorIs(t, a.relay.DeleteLink(old), relay.ErrLinkNotFound)
}

// Idle and slow connections to the listener keep nobody out.
func TestIdleConnections(t *testing.T) {
	a, b := newMachine(t, "a", "127.0.0.1:0"), newMachine(t, "b", "127.0.0.1:0")
	for range 20 {
		conn, err := net.Dial("tcp", b.relay.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		_, err = conn.Write([]byte("PUT /relay/v1/li"))
		require.NoError(t, err)
	}
	start := time.Now()
	a.put(t, a.order(b))
	require.Less(t, time.Since(start), 2*time.Second)
}
