package sfu_test

import (
	"log/slog"
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

	"rheomesh/sfu"
)

// patience bounds every wait of the tests; nothing waits for it when all is well.
const patience = 10 * time.Second

// newNode starts a node on loopback with a router "live", closed with the test.
func newNode(t testing.TB, change ...func(*sfu.Config)) (*sfu.Node, *sfu.Router) {
	t.Helper()
	config := sfu.Config{MediaAddr: "localhost:0", Logger: slog.New(slog.DiscardHandler)}
	if os.Getenv("SFU_TEST_LOG") != "" {
		config.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	for _, c := range change {
		c(&config)
	}
	node, err := sfu.NewNode(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, node.Close()) })
	router, _, err := node.PutRouter("live", sfu.RouterConfig{})
	require.NoError(t, err)
	return node, router
}

// newPeer makes a pion PeerConnection without interceptors, so that a test sees exactly what crosses, and with loopback candidates.
func newPeer(t testing.TB, settings ...func(*webrtc.SettingEngine)) *webrtc.PeerConnection {
	t.Helper()
	media := &webrtc.MediaEngine{}
	require.NoError(t, media.RegisterDefaultCodecs())
	return newPeerWith(t, media, settings...)
}

// newPeerWith is newPeer with codecs and header extensions of the test's choice.
func newPeerWith(t testing.TB, media *webrtc.MediaEngine, settings ...func(*webrtc.SettingEngine)) *webrtc.PeerConnection {
	t.Helper()
	var engine webrtc.SettingEngine
	engine.SetIncludeLoopbackCandidate(true)
	engine.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	engine.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	for _, change := range settings {
		change(&engine)
	}
	api := webrtc.NewAPI(webrtc.WithSettingEngine(engine), webrtc.WithMediaEngine(media), webrtc.WithInterceptorRegistry(&interceptor.Registry{}))
	pc, err := api.NewPeerConnection(webrtc.Configuration{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pc.Close()) })
	return pc
}

// offer makes the peer's complete offer.
func offer(t testing.TB, pc *webrtc.PeerConnection) string {
	t.Helper()
	description, err := pc.CreateOffer(nil)
	require.NoError(t, err)
	gathered := webrtc.GatheringCompletePromise(pc)
	require.NoError(t, pc.SetLocalDescription(description))
	<-gathered
	return pc.LocalDescription().SDP
}

func answer(t testing.TB, pc *webrtc.PeerConnection, text string) {
	t.Helper()
	require.NoError(t, pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: text}))
}

// connected waits until the peer's transport is up.
func connected(t testing.TB, pc *webrtc.PeerConnection) {
	t.Helper()
	up := make(chan struct{})
	var once sync.Once
	pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		if state == webrtc.PeerConnectionStateConnected {
			once.Do(func() { close(up) })
		}
	})
	if pc.ConnectionState() == webrtc.PeerConnectionStateConnected {
		once.Do(func() { close(up) })
	}
	select {
	case <-up:
	case <-time.After(patience):
		t.Fatal("peer did not connect, state " + pc.ConnectionState().String())
	}
}

// testPublisher publishes exact packets.
type testPublisher struct {
	t       testing.TB
	pc      *webrtc.PeerConnection
	session *sfu.Session
	video   *webrtc.TrackLocalStaticRTP
	audio   *webrtc.TrackLocalStaticRTP
	sender  *webrtc.RTPSender
}

func publish(t testing.TB, router *sfu.Router, id sfu.PublisherID, mime string, settings ...func(*webrtc.SettingEngine)) *testPublisher {
	t.Helper()
	p := &testPublisher{t: t, pc: newPeer(t, settings...)}
	var err error
	p.video, err = webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: mime}, "video", "stream")
	require.NoError(t, err)
	p.audio, err = webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus}, "audio", "stream")
	require.NoError(t, err)
	for _, track := range []webrtc.TrackLocal{p.video, p.audio} {
		transceiver, err := p.pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
		require.NoError(t, err)
		if p.sender == nil {
			p.sender = transceiver.Sender()
		}
	}
	p.session, err = router.Publish(sfu.PublishRequest{Publisher: id, Offer: []byte(offer(t, p.pc))})
	require.NoError(t, err)
	answer(t, p.pc, p.session.Description())
	connected(t, p.pc)
	return p
}

// keyframe and delta are VP8 payloads (RFC 7741): a descriptor with S set, then the frame's first byte, whose lowest bit tells a delta frame.
func keyframe(n byte) []byte {
	return []byte{0x10, 0x10, 0x00, 0x00, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01, n}
}
func delta(n byte) []byte { return []byte{0x10, 0x11, 0x00, 0x00, n} }

// write sends one packet of video as a frame of its own.
func (p *testPublisher) write(seq uint16, ts uint32, payload []byte) {
	p.t.Helper()
	packet := &rtp.Packet{Header: rtp.Header{Version: 2, Marker: true, SequenceNumber: seq, Timestamp: ts}, Payload: payload}
	require.NoError(p.t, p.video.WriteRTP(packet))
}

// testViewer receives exact packets.
type testViewer struct {
	t       testing.TB
	pc      *webrtc.PeerConnection
	session *sfu.Session
	video   chan *rtp.Packet // capacity 4096
	audio   chan *rtp.Packet
	rtcp    chan rtcp.Packet
}

func watch(t testing.TB, router *sfu.Router, id sfu.PublisherID, settings ...func(*webrtc.SettingEngine)) *testViewer {
	t.Helper()
	v := newViewer(t, settings...)
	v.connect(router, id)
	return v
}

func (v *testViewer) connect(router *sfu.Router, id sfu.PublisherID) {
	v.t.Helper()
	var err error
	v.session, err = router.Subscribe(sfu.SubscribeRequest{Publisher: id, Offer: []byte(offer(v.t, v.pc))})
	require.NoError(v.t, err)
	answer(v.t, v.pc, v.session.Description())
	connected(v.t, v.pc)
}

// awaitForwarding waits until the node has a cursor for each of the viewer's tracks that is live: audio from before is not forwarded.
func (v *testViewer) awaitForwarding() {
	v.t.Helper()
	eventually(v.t, v.session.Connected)
	require.NoError(v.t, sfu.Settle(v.session))
}

// eventually polls for what nobody announces.
func eventually(t testing.TB, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, patience, time.Millisecond)
}

// nextOf is the next packet of a stream.
func nextOf(t testing.TB, from <-chan *rtp.Packet) *rtp.Packet {
	t.Helper()
	select {
	case packet := <-from:
		return packet
	case <-time.After(patience):
		t.Fatal("no packet came")
		return nil
	}
}

func newViewer(t testing.TB, settings ...func(*webrtc.SettingEngine)) *testViewer {
	t.Helper()
	media := &webrtc.MediaEngine{}
	require.NoError(t, media.RegisterDefaultCodecs())
	return newViewerWith(t, media, settings...)
}

// watchWith is watch with a viewer of particular codecs.
func watchWith(t testing.TB, router *sfu.Router, id sfu.PublisherID, media *webrtc.MediaEngine, settings ...func(*webrtc.SettingEngine)) *testViewer {
	t.Helper()
	v := newViewerWith(t, media, settings...)
	v.connect(router, id)
	return v
}

func newViewerWith(t testing.TB, media *webrtc.MediaEngine, settings ...func(*webrtc.SettingEngine)) *testViewer {
	t.Helper()
	v := newViewerOf(t, newPeerWith(t, media, settings...))
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecTypeAudio} {
		_, err := v.pc.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
		require.NoError(t, err)
	}
	return v
}

// newViewerWithoutTransceivers gets its sections from our offer.
func newViewerWithoutTransceivers(t testing.TB) *testViewer { return newViewerOf(t, newPeer(t)) }

func newViewerOf(t testing.TB, pc *webrtc.PeerConnection) *testViewer {
	v := &testViewer{
		t: t, pc: pc,
		video: make(chan *rtp.Packet, 4096), audio: make(chan *rtp.Packet, 4096), rtcp: make(chan rtcp.Packet, 256),
	}
	v.collect()
	return v
}

// collect puts what arrives into the viewer's channels.
func (v *testViewer) collect() {
	v.pc.OnTrack(func(track *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
		into := v.audio
		if track.Kind() == webrtc.RTPCodecTypeVideo {
			into = v.video
		}
		go func() {
			for {
				packets, _, err := receiver.ReadRTCP()
				if err != nil {
					return
				}
				for _, packet := range packets {
					v.rtcp <- packet
				}
			}
		}()
		for {
			packet, _, err := track.ReadRTP()
			if err != nil {
				return
			}
			into <- packet
		}
	})
}

// next is the next video packet.
func (v *testViewer) next() *rtp.Packet {
	v.t.Helper()
	select {
	case packet := <-v.video:
		return packet
	case <-time.After(patience):
		v.t.Fatal("no video packet came")
		return nil
	}
}
