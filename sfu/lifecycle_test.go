package sfu_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"

	"rheomesh/internal/sdpfrag"
	"rheomesh/sfu"
)

func closes(t testing.TB, s *sfu.Session, want sfu.CloseReason) {
	t.Helper()
	select {
	case <-s.Done():
	case <-time.After(patience):
		t.Fatal("session does not end")
	}
	reason, closed := s.Closed()
	require.True(t, closed)
	require.Equal(t, want, reason)
}

func eventOf(t testing.TB, l *sfu.Listening, want sfu.EventType) sfu.Event {
	t.Helper()
	for timeout := time.After(patience); ; {
		select {
		case e := <-l.C():
			if e.Type == want {
				return e
			}
		case <-timeout:
			t.Fatal("no event " + want)
		}
	}
}

// continues asserts that next follows previous in one unbroken stream.
func continues(t testing.TB, previous, next *rtp.Packet) {
	t.Helper()
	require.Equal(t, previous.SSRC, next.SSRC)
	require.Equal(t, previous.SequenceNumber+1, next.SequenceNumber)
	require.Positive(t, int32(next.Timestamp-previous.Timestamp), "timestamp")
}

func TestViewerSurvivesThePublishersRestart(t *testing.T) {
	vp8, h264 := parameters(96, webrtc.MimeTypeVP8, 90000, 0, ""), parameters(102, webrtc.MimeTypeH264, 90000, 0, "packetization-mode=1;profile-level-id=42e01f;level-asymmetry-allowed=1")
	idr := append([]byte{0x78, 0, 4, 0x67, 0x42, 0xe0, 0x1f, 0, 4}, 0x65, 0x88, 1, 2)
	for _, row := range []struct {
		name    string
		goodbye func(*source)
		codec   webrtc.RTPCodecParameters
		payload []byte
		pt      uint8
	}{
		{"same codec", func(s *source) { _ = s.pc.Close(); <-s.session.Done() }, vp8, keyframe(9), 120},
		{"another codec", func(s *source) { s.session.Close(sfu.CloseDeleted); <-s.session.Done() }, h264, idr, 43},
		{"replaced while alive", func(*source) {}, vp8, keyframe(9), 120},
		{"replaced while alive by another codec", func(*source) {}, h264, idr, 43},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, router := newNode(t)
			p := publishCodec(t, router, "cam", vp8)
			p.write(t, 65535, 1<<32-1000, true, keyframe(1))
			v := watchWith(t, router, "cam", browserEngine(t))
			first := v.next()
			p.write(t, 0, 2000, true, delta(2))
			second := v.next()
			continues(t, first, second)
			row.goodbye(p)
			again := publishCodec(t, router, "cam", row.codec)
			again.write(t, 31000, 77, true, row.payload)
			third := v.next()
			continues(t, second, third)
			require.Equal(t, row.payload, third.Payload)
			require.Equal(t, row.pt, third.PayloadType)
			_, closed := v.session.Closed()
			require.False(t, closed)
			// A retransmission of what was sent before the restart still answers from the old log.
			require.NoError(t, v.pc.WriteRTCP([]rtcp.Packet{&rtcp.TransportLayerNack{MediaSSRC: first.SSRC, Nacks: []rtcp.NackPair{{PacketID: second.SequenceNumber}}}}))
			eventually(t, func() bool { return router.Node().Stats().Retransmitted == 1 })
		})
	}
}

func TestConflictPolicies(t *testing.T) {
	node, router := newNode(t)
	events := node.Listen(nil)
	defer events.Close()
	p := publish(t, router, "cam", webrtc.MimeTypeVP8)
	eventOf(t, events, sfu.EventPublisherLive)
	pc := newPeer(t)
	_, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	require.NoError(t, err)
	_, err = router.Publish(sfu.PublishRequest{Publisher: "cam", Offer: []byte(offer(t, pc)), OnConflict: sfu.ConflictReject})
	require.ErrorIs(t, err, sfu.ErrPublisherLive)
	_, closed := p.session.Closed()
	require.False(t, closed, "the old one stays")
	require.Equal(t, 1, node.Stats().Sessions)

	again := publish(t, router, "cam", webrtc.MimeTypeVP8)
	closes(t, p.session, sfu.CloseReplaced)
	live, err := router.Publisher("cam")
	require.NoError(t, err)
	require.True(t, live.Live())
	again.session.Close(sfu.CloseDeleted)
	closes(t, again.session, sfu.CloseDeleted)
	eventOf(t, events, sfu.EventPublisherIdle)
	eventOf(t, events, sfu.EventPublisherRemoved)
	_, err = router.Publisher("cam")
	require.ErrorIs(t, err, sfu.ErrPublisherNotFound)
	publish(t, router, "cam", webrtc.MimeTypeVP8) // free again
}

func TestKick(t *testing.T) {
	node, router := newNode(t)
	p, v := publish(t, router, "cam", webrtc.MimeTypeVP8), watch(t, router, "cam")
	publisher, err := router.Publisher("cam")
	require.NoError(t, err)
	require.Equal(t, 1, publisher.SubscriberCount())
	publisher.Close(sfu.CloseKicked)
	closes(t, p.session, sfu.CloseKicked)
	require.Equal(t, "idle", publisher.Info().State)
	publisher.Close(sfu.CloseKicked) // there is nothing to kick
	subscriber, err := router.Subscriber(v.session.SubscriberID())
	require.NoError(t, err)
	eventually(t, func() bool { return subscriber.Info().State == "waiting" })
	subscriber.Close(sfu.CloseKicked)
	closes(t, v.session, sfu.CloseKicked)
	require.Zero(t, node.Stats().Sessions)
	_, err = node.Session(v.session.ID())
	require.ErrorIs(t, err, sfu.ErrSessionNotFound)
}

func TestClientsGoodbye(t *testing.T) {
	_, router := newNode(t)
	p, v := publish(t, router, "cam", webrtc.MimeTypeVP8), watch(t, router, "cam")
	require.NoError(t, v.pc.Close())
	closes(t, v.session, sfu.ClosePeer)
	require.NoError(t, p.pc.Close())
	closes(t, p.session, sfu.ClosePeer)
}

func TestServersGoodbye(t *testing.T) {
	_, router := newNode(t)
	v := watch(t, router, "cam")
	gone := make(chan struct{})
	v.pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		if state == webrtc.PeerConnectionStateClosed || state == webrtc.PeerConnectionStateFailed || state == webrtc.PeerConnectionStateDisconnected {
			close(gone)
		}
	})
	v.session.Close(sfu.CloseDeleted)
	select {
	case <-gone: // by close_notify, long before any time-out
	case <-time.After(patience):
		t.Fatal("client was not told")
	}
}

func TestRouterDeletion(t *testing.T) {
	node, router := newNode(t)
	other, created, err := node.PutRouter("other", sfu.RouterConfig{Metadata: map[string]string{"a": "b"}})
	require.NoError(t, err)
	require.True(t, created)
	same, created, err := node.PutRouter("other", sfu.RouterConfig{})
	require.NoError(t, err)
	require.False(t, created)
	require.Same(t, other, same)
	require.Equal(t, "b", same.Config().Metadata["a"])
	p, v := publish(t, router, "cam", webrtc.MimeTypeVP8), watch(t, router, "cam")
	kept := watch(t, other, "cam")
	require.NoError(t, node.DeleteRouter("live"))
	closes(t, p.session, sfu.CloseRouterDeleted)
	closes(t, v.session, sfu.CloseRouterDeleted)
	require.ErrorIs(t, node.DeleteRouter("live"), sfu.ErrRouterNotFound)
	_, err = node.Router("live")
	require.ErrorIs(t, err, sfu.ErrRouterNotFound)
	_, err = router.Subscribe(sfu.SubscribeRequest{Publisher: "cam", Offer: []byte(offer(t, newViewer(t).pc))})
	require.ErrorIs(t, err, sfu.ErrRouterNotFound)
	_, closed := kept.session.Closed()
	require.False(t, closed)
	require.Equal(t, 1, node.Stats().Sessions)
	for _, id := range []sfu.RouterID{"", "..", "a/b", sfu.RouterID(strings.Repeat("x", 65))} {
		_, _, err = node.PutRouter(id, sfu.RouterConfig{})
		require.ErrorIs(t, err, sfu.ErrIDInvalid, "%q", id)
	}
}

func TestRequireLive(t *testing.T) {
	_, router := newNode(t)
	request := sfu.SubscribeRequest{Publisher: "cam", Offer: []byte(offer(t, newViewer(t).pc)), RequireLive: true}
	_, err := router.Subscribe(request)
	require.ErrorIs(t, err, sfu.ErrPublisherAbsent)
	_, err = router.OfferSubscription(request)
	require.ErrorIs(t, err, sfu.ErrPublisherAbsent)
	p := publish(t, router, "cam", webrtc.MimeTypeVP8)
	publisher, err := router.Publisher("cam")
	require.NoError(t, err)
	eventually(t, publisher.Live)
	s, err := router.Subscribe(request)
	require.NoError(t, err)
	s.Close(sfu.CloseDeleted)
	p.session.Close(sfu.CloseDeleted)
	closes(t, p.session, sfu.CloseDeleted)
	_, err = router.Subscribe(request)
	require.ErrorIs(t, err, sfu.ErrPublisherAbsent)
}

func TestDraining(t *testing.T) {
	node, router := newNode(t)
	v := watch(t, router, "cam")
	events := node.Listen(nil)
	defer events.Close()
	eventually(t, v.session.Connected) // the client may know it first
	node.SetDraining(true)
	node.SetDraining(true)
	eventOf(t, events, sfu.EventNodeDraining)
	require.Empty(t, events.C(), "said once")
	require.True(t, node.Draining())
	text := []byte(offer(t, newViewer(t).pc))
	_, err := router.Subscribe(sfu.SubscribeRequest{Publisher: "cam", Offer: text})
	require.ErrorIs(t, err, sfu.ErrDraining)
	_, err = router.Publish(sfu.PublishRequest{Publisher: "cam", Offer: text})
	require.ErrorIs(t, err, sfu.ErrDraining)
	_, err = router.OfferSubscription(sfu.SubscribeRequest{Publisher: "cam"})
	require.ErrorIs(t, err, sfu.ErrDraining)
	require.EqualValues(t, 3, node.Stats().Rejected["draining"])
	require.True(t, v.session.Connected(), "those who are there stay")
	node.SetDraining(false)
	_, err = router.Subscribe(sfu.SubscribeRequest{Publisher: "cam", Offer: text})
	require.NoError(t, err)
}

// Every limit: reached, and one beyond.
func TestLimits(t *testing.T) {
	const limit = 2
	viewer := []byte(offer(t, newViewer(t).pc))
	sender := newPeer(t)
	_, err := sender.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	require.NoError(t, err)
	publisher := []byte(offer(t, sender))
	address := netip.MustParseAddr("192.0.2.1")
	subscribe := func(r *sfu.Router, _ int) error {
		_, err := r.Subscribe(sfu.SubscribeRequest{Publisher: "cam", Offer: viewer, ClientIP: address})
		return err
	}
	for _, row := range []struct {
		name   string
		limits sfu.Limits
		ask    func(r *sfu.Router, i int) error
		want   error
		reason string
	}{
		{"sessions", sfu.Limits{MaxSessions: limit}, subscribe, sfu.ErrCapacity, "sessions"},
		{"half-open sessions", sfu.Limits{MaxHalfOpen: limit}, subscribe, sfu.ErrCapacity, "half-open"},
		{"sessions of an address", sfu.Limits{MaxSessionsPerIP: limit}, subscribe, sfu.ErrRateLimited, "sessions-ip"},
		{"half-open sessions of an address", sfu.Limits{MaxHalfOpenPerIP: limit}, subscribe, sfu.ErrRateLimited, "half-open-ip"},
		{"subscribers", sfu.Limits{MaxSubscribersPerRouter: limit}, subscribe, sfu.ErrCapacity, "subscribers"},
		{"publishers", sfu.Limits{MaxPublishersPerRouter: limit}, func(r *sfu.Router, i int) error {
			_, err := r.Publish(sfu.PublishRequest{Publisher: sfu.PublisherID(rune('a' + i)), Offer: publisher})
			return err
		}, sfu.ErrCapacity, "publishers"},
		{"routers", sfu.Limits{MaxRouters: limit + 1}, func(r *sfu.Router, i int) error {
			_, _, err := r.Node().PutRouter(sfu.RouterID(rune('a'+i)), sfu.RouterConfig{})
			return err
		}, sfu.ErrCapacity, "routers"},
	} {
		t.Run(row.name, func(t *testing.T) {
			node, router := newNode(t, func(c *sfu.Config) { c.Limits = row.limits })
			for i := range limit {
				require.NoError(t, row.ask(router, i))
			}
			before := node.Stats()
			for i := range 10 * limit {
				require.ErrorIs(t, row.ask(router, limit+i), row.want)
			}
			after := node.Stats()
			require.EqualValues(t, 10*limit, after.Rejected[row.reason])
			require.Equal(t, [3]int{before.Sessions, before.Subscribers, before.Publishers}, [3]int{after.Sessions, after.Subscribers, after.Publishers})
			require.LessOrEqual(t, len(router.Publishers()), limit, "nothing is left of what was refused")
		})
	}
	t.Run("of a router", func(t *testing.T) {
		node, _ := newNode(t)
		router, _, err := node.PutRouter("small", sfu.RouterConfig{MaxPublishers: 1, MaxSubscribers: 1, Codecs: []string{"vp8"}})
		require.NoError(t, err)
		require.NoError(t, subscribe(router, 0))
		require.ErrorIs(t, subscribe(router, 1), sfu.ErrCapacity)
		first := publishCodec(t, router, "a", parameters(96, webrtc.MimeTypeVP8, 90000, 0, ""))
		_, err = router.Publish(sfu.PublishRequest{Publisher: "b", Offer: publisher})
		require.ErrorIs(t, err, sfu.ErrCapacity)
		again := publishCodec(t, router, "a", parameters(96, webrtc.MimeTypeVP8, 90000, 0, "")) // replacing is no second one
		closes(t, first.session, sfu.CloseReplaced)
		again.session.Close(sfu.CloseDeleted)
		closes(t, again.session, sfu.CloseDeleted)
		pc := newPeerWith(t, engineOf(t, parameters(45, webrtc.MimeTypeAV1, 90000, 0, "")))
		_, err = pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
		require.NoError(t, err)
		_, err = router.Publish(sfu.PublishRequest{Publisher: "a", Offer: []byte(offer(t, pc))})
		require.ErrorIs(t, err, sfu.ErrOfferUnacceptable)
		require.Zero(t, node.Stats().Publishers)
	})
	t.Run("an address of this machine may stand for many", func(t *testing.T) {
		_, router := newNode(t, func(c *sfu.Config) { c.Limits.MaxHalfOpenPerIP, c.Limits.MaxSessionsPerIP = 1, 1 })
		for range 5 {
			_, err := router.Subscribe(sfu.SubscribeRequest{Publisher: "cam", Offer: viewer, ClientIP: netip.MustParseAddr("127.0.0.1")})
			require.NoError(t, err)
		}
	})
	t.Run("connecting frees its place", func(t *testing.T) {
		_, router := newNode(t, func(c *sfu.Config) { c.Limits.MaxHalfOpen = 1 })
		for range 3 {
			v := watch(t, router, "cam")
			eventually(t, v.session.Connected)
		}
	})
}

func TestRefusedOffersLeaveNothing(t *testing.T) {
	node, router := newNode(t)
	good := offer(t, newViewer(t).pc)
	for _, row := range []struct {
		name string
		id   sfu.PublisherID
		text string
		want error
	}{
		{"no SDP", "cam", "hello", sfu.ErrOfferInvalid},
		{"empty", "cam", "", sfu.ErrOfferInvalid},
		{"too long", "cam", good + strings.Repeat("a=x\r\n", 20000), sfu.ErrOfferInvalid},
		{"wrong direction", "cam", strings.ReplaceAll(good, "recvonly", "sendonly"), sfu.ErrOfferUnacceptable},
		{"bad id", "..", good, sfu.ErrIDInvalid},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := router.Subscribe(sfu.SubscribeRequest{Publisher: row.id, Offer: []byte(row.text)})
			require.ErrorIs(t, err, row.want)
			_, err = router.Publish(sfu.PublishRequest{Publisher: row.id, Offer: []byte(strings.NewReplacer("recvonly", "sendonly", "sendonly", "recvonly").Replace(row.text))})
			require.ErrorIs(t, err, row.want)
			require.Zero(t, node.Stats().Sessions)
			require.Empty(t, router.Publishers())
		})
	}
	_, err := router.OfferSubscription(sfu.SubscribeRequest{Publisher: "a b"})
	require.ErrorIs(t, err, sfu.ErrIDInvalid)
}

// Sessions that never connect are gone after ConnectTimeout, whatever they are.
func TestSessionsThatNeverConnect(t *testing.T) {
	node, router := newNode(t, func(c *sfu.Config) { c.Limits.ConnectTimeout = 100 * time.Millisecond })
	viewer := []byte(offer(t, newViewer(t).pc))
	var sessions []*sfu.Session
	for range 20 {
		s, err := router.Subscribe(sfu.SubscribeRequest{Publisher: "cam", Offer: viewer})
		require.NoError(t, err)
		sessions = append(sessions, s)
	}
	sender := newPeer(t)
	_, err := sender.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	require.NoError(t, err)
	s, err := router.Publish(sfu.PublishRequest{Publisher: "cam", Offer: []byte(offer(t, sender))})
	require.NoError(t, err)
	for _, s := range append(sessions, s) {
		closes(t, s, sfu.CloseTimeout)
	}
	stats := node.Stats()
	require.Equal(t, [4]int{}, [4]int{stats.Sessions, stats.HalfOpen, stats.Subscribers, stats.Publishers})
	require.Empty(t, router.Publishers())
}

// A client that vanishes without a goodbye is paused first and closed then.
func TestSilentClient(t *testing.T) {
	_, router := newNode(t, func(c *sfu.Config) { c.Limits.SilenceTimeout = 600 * time.Millisecond })
	p := sfu.RawWatch(t, router, "cam", []string{sfu.RawVideo})
	p.Vanish()
	closes(t, p.Session(), sfu.CloseSilent)
}

func TestCounterOffer(t *testing.T) {
	node, router := newNode(t)
	p := publish(t, router, "cam", webrtc.MimeTypeVP8)
	p.write(1, 1000, keyframe(3))
	s, err := router.OfferSubscription(sfu.SubscribeRequest{Publisher: "cam"})
	require.NoError(t, err)
	require.True(t, s.AwaitingAnswer())
	require.Error(t, s.AddCandidates(sdpfrag.Fragment{}))
	_, err = s.RestartICE(sdpfrag.Fragment{Ufrag: "abcd", Pwd: strings.Repeat("x", 22)})
	require.ErrorIs(t, err, sfu.ErrSessionState)
	require.ErrorIs(t, s.Accept([]byte("nonsense")), sfu.ErrOfferInvalid)
	require.True(t, s.AwaitingAnswer(), "a bad answer spoils nothing")

	v := newViewerWithoutTransceivers(t)
	require.NoError(t, v.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: s.Description()}))
	text, err := v.pc.CreateAnswer(nil)
	require.NoError(t, err)
	gathered := webrtc.GatheringCompletePromise(v.pc)
	require.NoError(t, v.pc.SetLocalDescription(text))
	<-gathered
	complete := []byte(v.pc.LocalDescription().SDP)
	require.NoError(t, s.Accept(complete))
	require.ErrorIs(t, s.Accept(complete), sfu.ErrSessionState)
	require.False(t, s.AwaitingAnswer())
	connected(t, v.pc)
	require.Equal(t, keyframe(3), v.next().Payload)
	require.Equal(t, 1, node.Stats().Subscribers)
	index, kind, ok := s.MediaIndex("1")
	require.True(t, ok)
	require.Equal(t, "video", kind)
	require.Equal(t, 1, index)
}

func TestICERestartWhileMediaFlows(t *testing.T) {
	_, router := newNode(t)
	p := publish(t, router, "cam", webrtc.MimeTypeVP8)
	p.write(1, 1000, keyframe(0))
	v := watch(t, router, "cam")
	previous := v.next()
	tag, ufrag := v.session.ETag(), v.session.RemoteUfrag()

	_, err := v.session.RestartICE(sdpfrag.Fragment{Ufrag: "x", Pwd: "y"})
	require.ErrorIs(t, err, sfu.ErrFragmentInvalid)
	require.Equal(t, tag, v.session.ETag(), "a restart that fails changes nothing")

	restart, err := v.pc.CreateOffer(&webrtc.OfferOptions{ICERestart: true})
	require.NoError(t, err)
	gathered := webrtc.GatheringCompletePromise(v.pc)
	require.NoError(t, v.pc.SetLocalDescription(restart))
	<-gathered
	fragment, err := sdpfrag.Parse([]byte(iceLines(v.pc.LocalDescription().SDP)), sdpfrag.DefaultLimits)
	require.NoError(t, err)
	require.NotEqual(t, ufrag, fragment.Ufrag)
	p.write(2, 4000, delta(1)) // over the old path
	text, err := v.session.RestartICE(fragment)
	require.NoError(t, err)
	p.write(3, 7000, delta(2)) // nothing of the new one is up yet
	reply, err := sdpfrag.Parse([]byte(text), sdpfrag.DefaultLimits)
	require.NoError(t, err)
	require.NotEmpty(t, reply.Candidates)
	require.True(t, reply.EndOfCandidates)
	require.NotEqual(t, tag, v.session.ETag())
	require.Equal(t, fragment.Ufrag, v.session.RemoteUfrag())
	answer(t, v.pc, withCredentials(v.session.Description(), reply))
	for n := 3; n < 40; n++ {
		p.write(uint16(1+n), uint32(1000+3000*n), delta(byte(n)))
		time.Sleep(5 * time.Millisecond) // media flows while the agents find each other
	}
	// pion forgets its old path at once, so some packets are lost on their way there; the stream goes on behind them.
	for last := byte(0); last < 39; {
		next := v.next()
		require.Equal(t, previous.SequenceNumber+uint16(next.Payload[4]-last), next.SequenceNumber)
		require.Equal(t, previous.SSRC, next.SSRC)
		previous, last = next, next.Payload[4]
	}
}

// Media takes the old path until the new one is proven: nothing is lost.
func TestICERestartLosesNothing(t *testing.T) {
	_, router := newNode(t)
	p := sfu.RawPublish(t, router, "cam", []string{sfu.RawVideo})
	p.SendVP8(1, 1000, keyframe(0))
	v := sfu.RawWatch(t, router, "cam", []string{sfu.RawVideo})
	_, previous := v.NextRTP()
	for n := 1; n < 60; n++ {
		switch n {
		case 20:
			v.RestartICE()
		case 30:
			p.RestartICE()
		case 40:
			v.Check()
			p.Check()
		case 50:
			v.RestartICE()
			v.RestartICE() // over one that was never used
			v.Check()
		}
		p.SendVP8(uint16(1+n), uint32(1000+3000*n), delta(byte(n)))
		_, next := v.NextRTP()
		continues(t, previous, next)
		require.Equal(t, delta(byte(n)), next.Payload)
		previous = next
	}
}

// iceLines are those lines of a description that a trickle ICE fragment has.
func iceLines(description string) string {
	var b strings.Builder
	for line := range strings.SplitSeq(description, "\r\n") {
		if strings.HasPrefix(line, "a=ice-") || strings.HasPrefix(line, "a=candidate") || strings.HasPrefix(line, "a=mid") || strings.HasPrefix(line, "m=") {
			b.WriteString(line + "\r\n")
		}
	}
	return b.String()
}

// withCredentials is a description as it would be after the restart.
func withCredentials(description string, f sdpfrag.Fragment) string {
	lines := strings.Split(description, "\r\n")
	for i, line := range lines {
		switch {
		case strings.HasPrefix(line, "a=ice-ufrag:"):
			lines[i] = "a=ice-ufrag:" + f.Ufrag
		case strings.HasPrefix(line, "a=ice-pwd:"):
			lines[i] = "a=ice-pwd:" + f.Pwd
		}
	}
	return strings.Join(lines, "\r\n")
}

func TestTransports(t *testing.T) {
	tcp := func(e *webrtc.SettingEngine) { e.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeTCP4}) }
	for _, row := range []struct {
		name              string
		addr              string
		publisher, viewer []func(*webrtc.SettingEngine)
		change            func(*sfu.Config)
	}{
		{name: "viewer over TCP", addr: "127.0.0.1:0", viewer: []func(*webrtc.SettingEngine){tcp}},
		{name: "publisher over TCP", addr: "127.0.0.1:0", publisher: []func(*webrtc.SettingEngine){tcp}},
		{name: "ICE lite", addr: "127.0.0.1:0", change: func(c *sfu.Config) { c.ICELite = true }},
		{name: "without offload", addr: "127.0.0.1:0", change: func(c *sfu.Config) { c.DisableOffload = true }},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, router := newNode(t, func(c *sfu.Config) {
				c.MediaAddr = row.addr
				if row.change != nil {
					row.change(c)
				}
			})
			p := publish(t, router, "cam", webrtc.MimeTypeVP8, row.publisher...)
			p.write(1, 1000, keyframe(1))
			v := watch(t, router, "cam", row.viewer...)
			previous := v.next()
			for n := 1; n < 100; n++ {
				p.write(uint16(1+n), uint32(1000+3000*n), delta(byte(n)))
				next := v.next()
				continues(t, previous, next)
				require.Equal(t, delta(byte(n)), next.Payload)
				previous = next
			}
		})
	}
}

func TestIPv6(t *testing.T) {
	for _, row := range []struct {
		name, addr        string
		publisher, viewer []func(*sfu.RawPeer)
	}{
		{"only", "[::1]:0", []func(*sfu.RawPeer){sfu.RawIPv6}, []func(*sfu.RawPeer){sfu.RawIPv6}},
		{"publisher", "localhost:0", []func(*sfu.RawPeer){sfu.RawIPv6}, nil},
		{"viewer", "localhost:0", nil, []func(*sfu.RawPeer){sfu.RawIPv6}},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, router := newNode(t, func(c *sfu.Config) { c.MediaAddr = row.addr })
			p := sfu.RawPublish(t, router, "cam", []string{sfu.RawVideo}, row.publisher...)
			p.SendVP8(1, 1000, keyframe(1))
			v := sfu.RawWatch(t, router, "cam", []string{sfu.RawVideo}, row.viewer...)
			_, packet := v.NextRTP()
			require.Equal(t, keyframe(1), packet.Payload)
		})
	}
}

// A data section is accepted beside media, in either role.
func TestDataSectionIsAccepted(t *testing.T) {
	_, router := newNode(t)
	for _, direction := range []webrtc.RTPTransceiverDirection{webrtc.RTPTransceiverDirectionSendonly, webrtc.RTPTransceiverDirectionRecvonly} {
		t.Run(direction.String(), func(t *testing.T) {
			pc := newPeer(t)
			_, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: direction})
			require.NoError(t, err)
			_, err = pc.CreateDataChannel("chat", nil)
			require.NoError(t, err)
			var s *sfu.Session
			if direction == webrtc.RTPTransceiverDirectionSendonly {
				s, err = router.Publish(sfu.PublishRequest{Publisher: "cam", Offer: []byte(offer(t, pc))})
			} else {
				s, err = router.Subscribe(sfu.SubscribeRequest{Publisher: "cam", Offer: []byte(offer(t, pc))})
			}
			require.NoError(t, err)
			require.Contains(t, s.Description(), "m=application 9")
			require.Contains(t, s.Description(), "a=sctp-port:5000")
			answer(t, pc, s.Description())
			connected(t, pc)
		})
	}
}

// Audio alone and video alone are streams, too.
func TestOneMediumAlone(t *testing.T) {
	_, router := newNode(t)
	p := publishCodec(t, router, "sound", parameters(111, webrtc.MimeTypeOpus, 48000, 2, ""))
	v := watch(t, router, "sound")
	v.awaitForwarding()
	p.write(t, 1, 960, true, []byte{0x78, 1})
	require.Equal(t, []byte{0x78, 1}, nextOf(t, v.audio).Payload)
	subscriber, err := router.Subscriber(v.session.SubscriberID())
	require.NoError(t, err)
	info := subscriber.Info()
	require.Len(t, info.Tracks, 2)
	require.Equal(t, "playing", info.State)
	require.True(t, info.RemoteAddr.IsValid())
}
