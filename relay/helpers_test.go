package relay_test

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"

	"rheomesh/relay"
	"rheomesh/sfu"
)

// patience bounds every wait of the tests; nothing waits for it when all is well.
const patience = 10 * time.Second

// machine is one node of a cluster: media and relays.
type machine struct {
	media  *sfu.Node
	relay  *relay.Node
	router *sfu.Router
	log    *slog.Logger
}

// newMachine starts a node called id on addr with a router "live", closed with the test.
func newMachine(t testing.TB, id string, addr string, change ...func(*relay.Config)) *machine {
	t.Helper()
	m := &machine{log: slog.New(slog.DiscardHandler)}
	if os.Getenv("RELAY_TEST_LOG") != "" {
		m.log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", id)
	}
	var err error
	m.media, err = sfu.NewNode(sfu.Config{ID: sfu.NodeID(id), MediaAddr: "localhost:0", Logger: m.log})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.media.Close()) })
	m.router, _, err = m.media.PutRouter("live", sfu.RouterConfig{})
	require.NoError(t, err)
	config := relay.Config{Media: m.media, Addr: addr, Secret: "a secret that the nodes of the tests share", Logger: m.log}
	for _, c := range change {
		c(&config)
	}
	m.relay, err = relay.Listen(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.relay.Close()) })
	return m
}

// order is a push of everything from m to other.
func (m *machine) order(other *machine) relay.Order {
	return relay.Order{Router: "live", ID: "r", Peer: other.relay.Addr().String(), RemoteRouter: "live", Publishers: []sfu.PublisherID{"*"}, Mode: relay.ModePush}
}

func (m *machine) put(t testing.TB, o relay.Order) *relay.Relay {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, _, err := m.relay.Put(ctx, o)
	require.NoError(t, err)
	return r
}

// eventually waits for a condition, which it polls: for what has no event to wait for.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, patience, 2*time.Millisecond, what)
}

// live waits until a publisher is live on a machine.
func (m *machine) live(t testing.TB, id sfu.PublisherID) *sfu.Publisher {
	t.Helper()
	var found *sfu.Publisher
	eventually(t, "publisher is not live", func() bool {
		p, err := m.router.Publisher(id)
		found = p
		return err == nil && p.Live()
	})
	return found
}

// source feeds a publisher on its origin without a client, so that tests have exact packets.
type source struct {
	feed *sfu.Feed
	node *sfu.Node
	mu   sync.Mutex
	asks int
	seq  []uint16
}

func (s *source) RequestKeyframe(*sfu.FeedLayer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asks++
	return true
}
func (s *source) Watched(*sfu.FeedLayer)                {}
func (s *source) FeedClosed(*sfu.Feed, sfu.CloseReason) {}

func (s *source) keyframeRequests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asks
}

var _ sfu.FeedSource = (*source)(nil)

// ssrcs of the layers of a source, by index.
const firstSSRC = 0x1000

// publishPackets makes a publisher of a VP8 track with the given layers and an Opus track.
func (m *machine) publishPackets(t testing.TB, id sfu.PublisherID, rids ...string) *source {
	t.Helper()
	if len(rids) == 0 {
		rids = []string{""}
	}
	s := &source{node: m.media, seq: make([]uint16, len(rids)+1)}
	var err error
	s.feed, err = m.router.NewFeed(sfu.FeedRequest{
		Publisher: id, Source: s, Origin: sfu.Origin{NodeID: m.media.ID(), RouterID: "live", PublisherID: id},
		Tracks: []sfu.TrackDescription{
			{ID: "0", Kind: "video", RIDs: rids, Codecs: vp8},
			{ID: "1", Kind: "audio", RIDs: []string{""}, Codecs: opus},
		},
	})
	require.NoError(t, err)
	s.feed.Start()
	t.Cleanup(func() { s.feed.Close(sfu.CloseDeleted) })
	return s
}

// keyframe and delta are VP8 payloads (RFC 7741): a descriptor with S set, then the frame's first byte, whose lowest bit tells a delta frame.
func keyframe(n byte) []byte {
	return []byte{0x10, 0x10, 0x00, 0x00, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01, n}
}
func delta(n byte) []byte { return []byte{0x10, 0x11, 0x00, 0x00, n} }

// video appends one frame of one packet to a video layer.
func (s *source) video(t testing.TB, layer int, ts uint32, payload []byte) {
	s.write(t, s.feed.Layers()[0][layer], uint32(firstSSRC+layer), 96, &s.seq[layer], ts, payload)
}

func (s *source) write(t testing.TB, l *sfu.FeedLayer, ssrc uint32, pt uint8, seq *uint16, ts uint32, payload []byte) {
	packet := rtp.Packet{Header: rtp.Header{Version: 2, Marker: true, PayloadType: pt, SequenceNumber: *seq, Timestamp: ts, SSRC: ssrc}, Payload: payload}
	*seq++
	raw, err := packet.Marshal()
	require.NoError(t, err)
	room := l.Room(len(raw))
	copy(room, raw)
	require.True(t, l.Append(room[:len(raw)], 0, time.Now(), 0))
	s.node.Wake()
}

// viewer is a pion viewer that receives exact packets.
type viewer struct {
	t       testing.TB
	pc      *webrtc.PeerConnection
	session *sfu.Session
	video   chan *rtp.Packet // capacity 65536
	audio   chan *rtp.Packet
	reports sync.Map // of SSRC: the newest *rtcp.SenderReport
}

func watch(t testing.TB, router *sfu.Router, id sfu.PublisherID) *viewer {
	t.Helper()
	var engine webrtc.SettingEngine
	engine.SetIncludeLoopbackCandidate(true)
	engine.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	engine.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	media := &webrtc.MediaEngine{}
	require.NoError(t, media.RegisterDefaultCodecs())
	api := webrtc.NewAPI(webrtc.WithSettingEngine(engine), webrtc.WithMediaEngine(media), webrtc.WithInterceptorRegistry(&interceptor.Registry{}))
	pc, err := api.NewPeerConnection(webrtc.Configuration{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pc.Close()) })
	v := &viewer{t: t, pc: pc, video: make(chan *rtp.Packet, 65536), audio: make(chan *rtp.Packet, 65536)}
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecTypeAudio} {
		_, err := pc.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
		require.NoError(t, err)
	}
	pc.OnTrack(func(track *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
		go v.readReports(receiver)
		into := v.audio
		if track.Kind() == webrtc.RTPCodecTypeVideo {
			into = v.video
		}
		for {
			packet, _, err := track.ReadRTP()
			if err != nil {
				return
			}
			into <- packet
		}
	})
	offer, err := pc.CreateOffer(nil)
	require.NoError(t, err)
	gathered := webrtc.GatheringCompletePromise(pc)
	require.NoError(t, pc.SetLocalDescription(offer))
	<-gathered
	v.session, err = router.Subscribe(sfu.SubscribeRequest{Publisher: id, Offer: []byte(pc.LocalDescription().SDP), ClientIP: netip.MustParseAddr("127.0.0.1")})
	require.NoError(t, err)
	require.NoError(t, pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: v.session.Description()}))
	eventually(t, "viewer does not connect", v.session.Connected)
	return v
}

// readReports keeps the newest sender report of each stream. It ends with the receiver.
func (v *viewer) readReports(receiver *webrtc.RTPReceiver) {
	for {
		packets, _, err := receiver.ReadRTCP()
		if err != nil {
			return
		}
		for _, p := range packets {
			if report, ok := p.(*rtcp.SenderReport); ok {
				v.reports.Store(report.SSRC, report)
			}
		}
	}
}

// next is the next video packet.
func (v *viewer) next() *rtp.Packet {
	v.t.Helper()
	select {
	case packet := <-v.video:
		return packet
	case <-time.After(patience):
		v.t.Fatal("no video packet came")
		return nil
	}
}
