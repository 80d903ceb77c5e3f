package sfu

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"rheomesh/internal/sdp"
	"rheomesh/internal/sdpfrag"
)

// empty asserts that nothing of any session is left in the node.
func empty(t testing.TB, n *Node) {
	t.Helper()
	stats := n.Stats()
	require.Equal(t, [4]int{}, [4]int{stats.Publishers, stats.Subscribers, stats.Sessions, stats.HalfOpen}, "publishers, subscribers, sessions, half-open")
	for _, r := range n.Routers() {
		require.Empty(t, r.Publishers())
		require.Empty(t, r.Subscribers())
	}
	for _, w := range n.workers {
		w.ask(func() {
			if len(w.readers) != 0 || len(w.subscribers) != 0 {
				t.Errorf("worker holds %d logs and %d subscribers", len(w.readers), len(w.subscribers))
			}
		})
	}
}

func ended(t testing.TB, s *Session) {
	t.Helper()
	select {
	case <-s.Done():
	case <-time.After(RawPatience):
		t.Fatal("session does not end")
	}
}

// A session may be closed between any two steps of its making: its router is deleted, the node stops, or another client takes the name.
func TestSessionClosedWhileItIsMade(t *testing.T) {
	for _, row := range []struct {
		name string
		role Role
		make func(*Session, *sdp.Description) error
	}{
		{"publish", RolePublish, func(s *Session, offer *sdp.Description) error { return s.publish(offer, ConflictReplace) }},
		{"subscribe", RoleSubscribe, func(s *Session, offer *sdp.Description) error { return s.answerPlayer(offer) }},
		{"our offer", RoleSubscribe, func(s *Session, _ *sdp.Description) error { return s.offerPlayer() }},
	} {
		t.Run(row.name, func(t *testing.T) {
			node, router := rawNode(t)
			offer, err := sdp.Parse(NewRawPeer(t).Offer(RawVideo, RawAudio), sdp.DefaultLimits)
			require.NoError(t, err)
			s, err := router.newSession(row.role, "cam", netip.Addr{}, "")
			require.NoError(t, err)
			s.Close(CloseReplaced)
			s.Close(CloseNode)
			require.NoError(t, row.make(s, offer))
			s.made()
			ended(t, s)
			reason, closed := s.Closed()
			require.True(t, closed)
			require.Equal(t, CloseReplaced, reason)
			empty(t, node)
		})
	}
}

func TestManyPublishersOfOneNameAtOnce(t *testing.T) {
	node, router := rawNode(t)
	offer := NewRawPeer(t).Offer(RawVideo, RawAudio)
	sessions := make([]*Session, 16)
	var group sync.WaitGroup
	for i := range sessions {
		group.Go(func() {
			s, err := router.Publish(PublishRequest{Publisher: "cam", Offer: offer})
			if err != nil {
				t.Error(err)
			}
			sessions[i] = s
		})
	}
	group.Wait()
	alive := 0
	for _, s := range sessions {
		if _, closed := s.Closed(); !closed {
			alive++
			s.Close(CloseDeleted)
			continue
		}
	}
	require.Equal(t, 1, alive)
	for _, s := range sessions {
		ended(t, s)
	}
	empty(t, node)
}

func TestRouterDeletedWhileSessionsAreMade(t *testing.T) {
	node, _ := rawNode(t)
	offer := NewRawPeer(t).Offer(RawVideo, RawAudio)
	for range 20 {
		router, _, err := node.PutRouter("gone", RouterConfig{})
		require.NoError(t, err)
		var group sync.WaitGroup
		sessions := make(chan *Session, 8)
		for i := range 8 {
			group.Go(func() {
				var s *Session
				var err error
				if i%2 == 0 {
					s, err = router.Publish(PublishRequest{Publisher: "cam", Offer: offer})
				} else {
					s, err = router.Subscribe(SubscribeRequest{Publisher: "cam", Offer: offer})
				}
				if err == nil {
					sessions <- s
				}
			})
		}
		require.NoError(t, node.DeleteRouter("gone"))
		group.Wait()
		close(sessions)
		for s := range sessions {
			ended(t, s)
			reason, _ := s.Closed()
			require.Contains(t, []CloseReason{CloseRouterDeleted, CloseReplaced}, reason)
		}
	}
	empty(t, node)
}

// Limits hold when many ask at once.
func TestLimitsHoldUnderConcurrency(t *testing.T) {
	const limit, clients = 3, 24
	for _, row := range []struct {
		name   string
		config Config
		ask    func(r *Router, i int, offer []byte) (*Session, error)
	}{
		{"sessions", Config{Limits: Limits{MaxSessions: limit}}, func(r *Router, i int, offer []byte) (*Session, error) {
			return r.Subscribe(SubscribeRequest{Publisher: "cam", Offer: offer})
		}},
		{"subscribers", Config{Limits: Limits{MaxSubscribersPerRouter: limit}}, func(r *Router, i int, offer []byte) (*Session, error) {
			return r.Subscribe(SubscribeRequest{Publisher: "cam", Offer: offer})
		}},
		{"offers of ours", Config{Limits: Limits{MaxSubscribersPerRouter: limit}}, func(r *Router, i int, _ []byte) (*Session, error) {
			return r.OfferSubscription(SubscribeRequest{Publisher: "cam"})
		}},
		{"publishers", Config{Limits: Limits{MaxPublishersPerRouter: limit}}, func(r *Router, i int, offer []byte) (*Session, error) {
			return r.Publish(PublishRequest{Publisher: PublisherID(rune('a' + i)), Offer: offer})
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, router := rawNode(t, func(c *Config) { c.Limits = row.config.Limits })
			offer := NewRawPeer(t).Offer(RawVideo, RawAudio)
			var group sync.WaitGroup
			var mu sync.Mutex
			admitted := 0
			start := make(chan struct{})
			for i := range clients {
				group.Go(func() {
					<-start
					_, err := row.ask(router, i, offer)
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						admitted++
					} else {
						assert.ErrorIs(t, err, ErrCapacity)
					}
				})
			}
			close(start)
			group.Wait()
			require.Equal(t, limit, admitted)
		})
	}
}

// Every cause of an end at once, in every phase of a session's life: it ends once, with one reason, and leaves nothing.
func TestSessionEndsOnceFromEveryCause(t *testing.T) {
	for _, row := range []struct {
		name  string
		start func(t *testing.T, node *Node, router *Router) (*Session, *RawPeer)
	}{
		{"publisher before ICE", func(t *testing.T, _ *Node, router *Router) (*Session, *RawPeer) {
			p := NewRawPeer(t)
			s, err := router.Publish(PublishRequest{Publisher: "cam", Offer: p.Offer(RawVideo)})
			require.NoError(t, err)
			return s, p
		}},
		{"viewer during DTLS", func(t *testing.T, _ *Node, router *Router) (*Session, *RawPeer) {
			p := NewRawPeer(t)
			s, err := router.Subscribe(SubscribeRequest{Publisher: "cam", Offer: p.Offer(RawVideo)})
			require.NoError(t, err)
			require.NoError(t, p.adopt(s))
			p.readers.Go(p.read)
			p.Check()
			require.Eventually(t, func() bool { return s.RemoteAddr().IsValid() }, RawPatience, time.Millisecond)
			return s, p
		}},
		{"connected publisher", func(t *testing.T, _ *Node, router *Router) (*Session, *RawPeer) {
			p := RawPublish(t, router, "cam", []string{RawVideo})
			return p.Session(), p
		}},
		{"connected viewer", func(t *testing.T, _ *Node, router *Router) (*Session, *RawPeer) {
			p := RawWatch(t, router, "cam", []string{RawVideo})
			return p.Session(), p
		}},
		{"our offer without answer", func(t *testing.T, _ *Node, router *Router) (*Session, *RawPeer) {
			s, err := router.OfferSubscription(SubscribeRequest{Publisher: "cam"})
			require.NoError(t, err)
			return s, NewRawPeer(t)
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			node, router := rawNode(t)
			s, p := row.start(t, node, router)
			var group sync.WaitGroup
			for _, cause := range []func(){
				func() { s.Close(CloseDeleted) }, func() { s.Close(CloseKicked) }, func() { s.Close(CloseTimeout) },
				p.Close, func() { _ = node.DeleteRouter("live") }, func() { _ = node.Close() }, func() { _ = node.Close() },
				func() { _, _ = s.RestartICE(sdpfrag.Fragment{Ufrag: "abcd", Pwd: "0123456789012345678901"}) },
			} {
				group.Go(cause)
			}
			group.Wait()
			ended(t, s)
			reason, closed := s.Closed()
			require.True(t, closed)
			require.NotEmpty(t, reason)
			s.Close(CloseKicked)
			again, _ := s.Closed()
			require.Equal(t, reason, again)
			require.Error(t, s.AddCandidates(sdpfrag.Fragment{}))
			_, err := s.RestartICE(sdpfrag.Fragment{Ufrag: "abcd", Pwd: "0123456789012345678901"})
			require.ErrorIs(t, err, ErrSessionNotFound)
			require.Empty(t, node.Routers())
			require.Zero(t, node.Stats().Sessions)
		})
	}
}

// The second of two Closes at the same time waits for the first.
func TestNodeCloseWaits(t *testing.T) {
	node, router := rawNode(t)
	for range 8 {
		RawWatch(t, router, "cam", []string{RawVideo})
	}
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			if err := node.Close(); err != nil {
				t.Error(err)
			}
			for _, w := range node.workers {
				select {
				case <-w.done:
				default:
					t.Error("Close returned while a worker runs")
				}
			}
		})
	}
	group.Wait()
	_, _, err := node.PutRouter("new", RouterConfig{})
	require.ErrorIs(t, err, ErrClosed)
	_, err = router.Subscribe(SubscribeRequest{Publisher: "cam", Offer: NewRawPeer(t).Offer(RawVideo)})
	require.ErrorIs(t, err, ErrClosed)
}
