package relay_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rheomesh/relay"
	"rheomesh/sfu"
)

// isLive reports whether a machine has a live publisher "cam".
func (m *machine) isLive() bool {
	p, err := m.router.Publisher("cam")
	return err == nil && p.Live()
}

// flows sends until a packet reaches the edge, and returns how long that took.
func (p *pair) flows(t testing.TB) time.Duration {
	t.Helper()
	before, start := p.edge.Info(time.Now()).Packets, time.Now()
	for p.edge.Info(time.Now()).Packets == before && time.Since(start) < patience {
		p.send(t, 1)
	}
	return time.Since(start)
}

// A link that is down for three seconds makes what it feeds idle, there and further down the tree; its viewers wait, and have it again as soon as the link is back.
func TestTreeWaitsWhileLinkIsDown(t *testing.T) {
	p := newPair(t, nil)
	leaf := newMachine(t, "leaf", "127.0.0.1:0")
	p.b.put(t, p.b.order(leaf))
	leaf.live(t, "cam")
	waiting := watch(t, leaf.router, "cam")
	p.send(t, 200)
	waiting.next()
	start := time.Now()
	p.shim.cut.Store(true)
	eventually(t, "edge's publisher stays live", func() bool { return !p.b.isLive() })
	require.Less(t, time.Since(start), 4*time.Second)
	eventually(t, "leaf's publisher stays live", func() bool { return !leaf.isLive() })
	require.Less(t, time.Since(start), 5*time.Second)
	require.True(t, p.a.isLive())
	for len(waiting.video) > 0 {
		<-waiting.video
	}
	p.shim.cut.Store(false)
	require.Less(t, p.flows(t), 250*time.Millisecond+raceSlack)
	eventually(t, "leaf has nothing", func() bool { p.send(t, 1); return len(waiting.video) > 0 })
	for _, v := range []*viewer{p.viewer, waiting} {
		_, ended := v.session.Closed()
		require.False(t, ended)
	}
}

// After an outage that has freed everything the relay is back within three seconds of the network.
func TestLongOutage(t *testing.T) {
	if testing.Short() {
		t.Skip("lasts 15 s")
	}
	p := newPair(t, nil)
	p.send(t, 50)
	p.shim.cut.Store(true)
	time.Sleep(15 * time.Second) // the outage is the test
	require.False(t, p.b.isLive())
	p.shim.cut.Store(false)
	start := time.Now()
	p.edge = p.b.live(t, "cam").Tracks()[0].Layers()[0] // another feed
	p.flows(t)
	t.Logf("flows %v after the network is back", time.Since(start).Round(time.Millisecond))
	require.Less(t, time.Since(start), 3*time.Second+raceSlack)
	_, ended := p.viewer.session.Closed()
	require.False(t, ended)
}

// Another run of the edge, after a short or a long time: back within three seconds.
func TestEdgeReturns(t *testing.T) {
	for _, away := range []time.Duration{0, 15 * time.Second} {
		t.Run(away.String(), func(t *testing.T) {
			t.Parallel()
			if away > 0 && testing.Short() {
				t.Skip("lasts 15 s")
			}
			a, b := newMachine(t, "a", "127.0.0.1:0"), newMachine(t, "b", "127.0.0.1:0")
			source := a.publishPackets(t, "cam")
			a.put(t, a.order(b))
			b.live(t, "cam")
			addr := b.relay.Addr().String()
			require.NoError(t, b.relay.Close())
			require.NoError(t, b.media.Close())
			time.Sleep(away) // the outage is the test
			again := newMachine(t, "b", addr)
			start := time.Now()
			again.live(t, "cam")
			t.Logf("live %v after the restart", time.Since(start).Round(time.Millisecond))
			require.Less(t, time.Since(start), 3*time.Second+raceSlack)
			checkArrives(t, source, again)
			require.Len(t, a.relay.Links(), 1)
			require.Len(t, again.relay.Links(), 1)
		})
	}
}

// Only one direction is cut: neither side goes on for itself, and both free all of it after the lease.
func TestHalfOpen(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the lease of 10 s")
	}
	p := newPair(t, nil)
	p.shim.oneWay.Store(true)
	require.Eventually(t, func() bool { return p.relay.Info().State == relay.StateStalled }, 5*time.Second, 10*time.Millisecond)
	require.Eventually(t, func() bool { return !p.b.isLive() }, 15*time.Second, 10*time.Millisecond, "the edge stays live")
	p.shim.oneWay.Store(false)
	require.Eventually(t, p.b.isLive, 15*time.Second, 10*time.Millisecond)
	require.Eventually(t, func() bool { return p.relay.Info().State == relay.StateActive }, 5*time.Second, 10*time.Millisecond)
}

// What the client lost is lost on the edge too, what the hop lost and repaired is not, and neither is what was not sent for want of viewers.
func TestEdgeCountsLost(t *testing.T) {
	p := newPair(t, nil)
	lost := func() uint64 { return p.edge.Info(time.Now()).PacketsLost }
	p.shim.loss.Store(50)
	p.send(t, 300)
	p.shim.loss.Store(0)
	p.source.seq[0] += 7 // the client's own loss
	p.send(t, 2500)
	eventually(t, "loss is not counted", func() bool { p.send(t, 1); return lost() == 7 })
	require.NotZero(t, p.b.relay.Stats().Recovered)

	wanted := func() bool { return p.relay.Info().Streams[0].Wanted }
	p.viewer.session.Close(sfu.CloseDeleted)
	eventually(t, "layer stays wanted", func() bool { return !wanted() })
	p.send(t, 300)
	again := watch(t, p.b.router, "cam")
	eventually(t, "layer is not wanted", wanted)
	p.send(t, 3000)
	require.NotEmpty(t, again.video)
	require.Equal(t, uint64(7), lost())
}

// Two links in one: a path that takes less than the packets measure. They are counted, the rest flows, and nothing was fragmented.
func TestPathOfLittleWidth(t *testing.T) {
	p := newPair(t, nil)
	link := func() relay.LinkInfo { return p.a.relay.Links()[0] }
	eventually(t, "loopback takes everything", func() bool { return link().PathBytes == 8952 })
	p.shim.limit.Store(1400)
	p.a.relay.DeleteLink(link().ID)
	eventually(t, "no new link", func() bool { return len(p.a.relay.Links()) == 1 && link().PathBytes == 1372 && p.b.isLive() })
	p.edge = p.b.live(t, "cam").Tracks()[0].Layers()[0]
	eventually(t, "larger packets are not refused", func() bool {
		p.source.video(t, 0, uint32(p.sent)*90, append(keyframe(1), make([]byte, 1440)...))
		p.sent++
		return link().Oversized > 0
	})
	require.NotZero(t, p.a.relay.Stats().Oversized)
	require.Less(t, p.flows(t), time.Second)
}

// Three and four nodes that all relay to the next at the same moment are a ring; every publisher is everywhere, once, and goes round no more.
func TestRingsMadeAtOnce(t *testing.T) {
	for _, size := range []int{3, 4} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			var ring []*machine
			for i := range size {
				m := newMachine(t, fmt.Sprintf("n%d", i), "127.0.0.1:0")
				m.publishPackets(t, sfu.PublisherID(fmt.Sprintf("cam%d", i)))
				ring = append(ring, m)
			}
			var all sync.WaitGroup
			for i, m := range ring {
				all.Go(func() { _, _, _ = m.relay.Put(t.Context(), m.order(ring[(i+1)%size])) })
			}
			all.Wait()
			for _, m := range ring {
				require.Len(t, m.relay.Relays("live"), 1)
				for i := range size {
					m.live(t, sfu.PublisherID(fmt.Sprintf("cam%d", i)))
				}
				for _, p := range m.router.Publishers() {
					hops := map[sfu.NodeID]bool{}
					for _, hop := range p.Info().Origin.Hops {
						require.False(t, hops[hop], "%s has come over %s twice", p.ID(), hop)
						hops[hop] = true
					}
				}
			}
		})
	}
}

// A publisher that comes over two ways is there once; when its way ends, it comes over the other.
func TestDiamond(t *testing.T) {
	var m []*machine
	for i := range 4 {
		m = append(m, newMachine(t, fmt.Sprintf("n%d", i), "127.0.0.1:0"))
	}
	source := m[0].publishPackets(t, "cam")
	for i := range 2 {
		o := m[0].order(m[i+1])
		o.ID = fmt.Sprint("to", i)
		m[0].put(t, o)
		m[i+1].live(t, "cam")
	}
	m[1].put(t, m[1].order(m[3]))
	m[3].live(t, "cam")
	_, _, err := m[2].relay.Put(t.Context(), m[2].order(m[3]))
	require.ErrorIs(t, err, relay.ErrPublisherTaken)
	require.NoError(t, m[1].relay.Delete("live", "r"))
	m[2].put(t, m[2].order(m[3]))
	v := checkArrives(t, source, m[3])
	require.NotNil(t, v)
	require.Equal(t, []sfu.NodeID{"n0", "n2"}, m[3].live(t, "cam").Info().Origin.Hops)
}

// A handshake that comes a byte at a time is one all the same.
func TestSplitRequest(t *testing.T) {
	a, b := newMachine(t, "a", "127.0.0.1:0"), newMachine(t, "b", "127.0.0.1:0")
	captured := make(chan []byte, 1) // the one handshake
	front, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer front.Close()
	go func() { // takes a's handshake and answers nothing
		conn, err := front.Accept()
		if err != nil {
			return
		}
		_ = conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		request, _ := io.ReadAll(conn)
		captured <- request
		_ = conn.Close()
	}()
	o := a.order(b)
	o.Peer = front.Addr().String()
	_, _, err = a.relay.Put(t.Context(), o)
	require.ErrorIs(t, err, relay.ErrUnreachable)
	request := <-captured
	require.Contains(t, string(request), "PUT /relay/v1/links/a")
	conn, err := net.Dial("tcp", b.relay.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.(*net.TCPConn).SetNoDelay(true))
	for _, c := range request {
		_, err := conn.Write([]byte{c})
		require.NoError(t, err)
	}
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
	answer := make([]byte, 12)
	_, err = io.ReadFull(conn, answer)
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 200", string(answer))
	require.Equal(t, "connecting", b.relay.Links()[0].State, "nobody has proved an address")
}

// A link that was agreed on and never proves an address is freed, and a captured handshake makes no second one.
func TestControlWithoutData(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the lease of 10 s")
	}
	a, b := newMachine(t, "a", "127.0.0.1:0"), newMachine(t, "b", "127.0.0.1:0")
	shim := newShim(t, b.relay.Addr().String(), nil)
	shim.limit.Store(1) // UDP is blocked
	o := a.order(b)
	o.Peer = shim.addr
	_, _, err := a.relay.Put(t.Context(), o)
	require.ErrorIs(t, err, relay.ErrUDPBlocked)
	require.Len(t, b.relay.Links(), 1)
	require.Zero(t, b.relay.Stats().PacketsOut)
	require.Eventually(t, func() bool { return len(b.relay.Links()) == 0 }, 15*time.Second, 10*time.Millisecond)
}

// A hundred orders at once, and from both sides, are one relay and one link each way.
func TestManyOrdersAtOnce(t *testing.T) {
	a, b := newMachine(t, "a", "127.0.0.1:0"), newMachine(t, "b", "127.0.0.1:0")
	a.publishPackets(t, "cam")
	var all sync.WaitGroup
	errs := make(chan error, 200) // one of each order
	for range 100 {
		all.Go(func() {
			_, _, err := a.relay.Put(t.Context(), a.order(b))
			errs <- err
		})
	}
	all.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
	require.Len(t, a.relay.Relays("live"), 1)
	require.Len(t, a.relay.Links(), 1)
	require.Len(t, b.relay.Links(), 1)
	b.live(t, "cam")
	_, _, err := b.relay.Put(t.Context(), b.order(a)) // nothing of b's can go there: what it has is a's
	require.True(t, err == nil || errors.Is(err, relay.ErrLoop), err)
}

// More handshakes than a node takes are refused, and none of it harms a relay that is there.
func TestHandshakesAreLimited(t *testing.T) {
	p := newPair(t, nil)
	refused := 0
	for range 300 {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+p.b.relay.Addr().String()+"/relay/v1/links/x", bytes.NewReader([]byte("{}")))
		require.NoError(t, err)
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		if response.StatusCode == http.StatusServiceUnavailable {
			refused++
		}
		_, _ = io.Copy(io.Discard, response.Body)
		require.NoError(t, response.Body.Close())
	}
	http.DefaultClient.CloseIdleConnections()
	require.NotZero(t, refused)
	require.Less(t, p.flows(t), time.Second)
	require.Equal(t, relay.StateActive, p.relay.Info().State)
}

// A NAT between the nodes gives one of them another address: the link follows, after the peer has proved that it is there, and nothing is lost but for the moment.
func TestAddressChanges(t *testing.T) {
	p := newPair(t, nil)
	p.send(t, 200)
	link, before := p.relay.Info().LinkID, p.b.relay.Links()[0].RemoteAddr
	p.shim.rebind()
	require.Less(t, p.flows(t), time.Second)
	eventually(t, "edge does not follow", func() bool { p.send(t, 1); return p.b.relay.Links()[0].RemoteAddr != before })
	require.Equal(t, link, p.relay.Info().LinkID)
	p.shim.loss.Store(100)
	p.send(t, 500)
	p.shim.loss.Store(0)
	p.send(t, 10)
	eventually(t, "packets are missing", func() bool { return p.arrived(t) == p.sent })
}

// A peer that has the keys and sends nonsense is cut off; some nonsense is only counted.
func TestNonsense(t *testing.T) {
	p := newPair(t, nil)
	link := p.relay.Info().LinkID
	p.a.relay.SendNonsense(50)
	eventually(t, "it is not counted", func() bool { return p.b.relay.Stats().Rejected["message"] == 50 })
	require.Less(t, p.flows(t), time.Second)
	require.Equal(t, link, p.relay.Info().LinkID)
	p.a.relay.SendNonsense(60)
	eventually(t, "link goes on", func() bool { return p.relay.Info().LinkID != link && p.relay.Info().State == relay.StateActive })
	p.b.live(t, "cam")
}
