package client

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"
)

// fake is a WHIP and WHEP server on pion/webrtc: what is posted to /whip is forwarded to those who post
// to /whep. It takes one publisher. Requests are recorded; intercept may answer them first.
type fake struct {
	t      *testing.T
	server *httptest.Server
	api    *webrtc.API
	edit   func(answer string) string // set before the first request

	mu        sync.Mutex // guards the rest
	intercept func(w http.ResponseWriter, r *http.Request) bool
	requests  []recorded
	sessions  map[string]*fakeSession
	uplinks   []*uplink
	arrived   chan struct{} // closed and replaced when an uplink begins
}

type recorded struct {
	method, path string
	header       http.Header
	body         string
}

type fakeSession struct {
	pc    *webrtc.PeerConnection
	offer string
	etag  int
}

// uplink is one stream from the publisher and the viewers' copies of it.
type uplink struct {
	pc       *webrtc.PeerConnection
	remote   *webrtc.TrackRemote
	mu       sync.Mutex // guards copies
	copies   []*webrtc.TrackLocalStaticRTP
	received chan *rtp.Packet // a sample of what came, dropped when full
}

func newFake(t *testing.T, settings ...func(*webrtc.SettingEngine)) *fake {
	t.Helper()
	engine := webrtc.SettingEngine{}
	engine.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	engine.SetIncludeLoopbackCandidate(true)
	for _, set := range settings {
		set(&engine)
	}
	quiet := pionLogs{slog.New(slog.DiscardHandler)}
	engine.LoggerFactory = quiet
	media, interceptors := &webrtc.MediaEngine{}, &interceptor.Registry{}
	require.NoError(t, media.RegisterDefaultCodecs())
	require.NoError(t, webrtc.RegisterDefaultInterceptorsWithOptions(media, interceptors, webrtc.WithInterceptorLoggerFactory(quiet)))
	api := webrtc.NewAPI(webrtc.WithSettingEngine(engine), webrtc.WithMediaEngine(media), webrtc.WithInterceptorRegistry(interceptors))
	f := &fake{t: t, api: api, sessions: map[string]*fakeSession{}, arrived: make(chan struct{})}
	f.server = httptest.NewServer(f)
	t.Cleanup(f.close)
	return f
}

func (f *fake) close() {
	f.mu.Lock()
	sessions := f.sessions
	f.sessions = map[string]*fakeSession{}
	f.mu.Unlock()
	for _, session := range sessions {
		_ = session.pc.GracefulClose()
	}
	f.server.Close()
}

func (f *fake) options(path string) Options {
	return Options{URL: f.server.URL + path, HTTPClient: f.server.Client(), Token: "secret"}
}

// on sets what answers a request before the fake does.
func (f *fake) on(intercept func(w http.ResponseWriter, r *http.Request) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.intercept = intercept
}

// seen returns the recorded requests with that method.
func (f *fake) seen(method string) (found []recorded) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, request := range f.requests {
		if request.method == method {
			found = append(found, request)
		}
	}
	return found
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	f.mu.Lock()
	f.requests = append(f.requests, recorded{r.Method, r.URL.Path, r.Header.Clone(), string(body)})
	intercept := f.intercept
	session := f.sessions[r.URL.Path]
	f.mu.Unlock()
	switch {
	case intercept != nil && intercept(w, r):
	case r.Method == http.MethodPost:
		f.post(w, r.URL.Path, string(body))
	case session == nil:
		w.WriteHeader(http.StatusNotFound)
	case r.Method == http.MethodDelete:
		f.delete(r.URL.Path)
	case r.Method == http.MethodPatch:
		f.patch(w, r, session, string(body))
	}
}

func (f *fake) post(w http.ResponseWriter, path, offer string) {
	pc, err := f.api.NewPeerConnection(webrtc.Configuration{})
	require.NoError(f.t, err)
	if strings.HasPrefix(path, "/whip") {
		pc.OnTrack(func(remote *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
			if remote.RID() == "" { // pion reads no reports for a simulcast's encodings
				go drain(receiver)
			}
			f.forward(pc, remote)
		})
		pc.OnDataChannel(func(channel *webrtc.DataChannel) {
			channel.OnMessage(func(message webrtc.DataChannelMessage) { _ = channel.SendText("echo " + string(message.Data)) })
		})
	}
	answer, err := f.answer(pc, offer, strings.HasPrefix(path, "/whep"))
	if err != nil {
		_ = pc.GracefulClose()
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	f.mu.Lock()
	location := fmt.Sprintf("/session/%d", len(f.requests))
	f.sessions[location] = &fakeSession{pc: pc, offer: offer, etag: 1}
	f.mu.Unlock()
	w.Header().Set("Location", location)
	w.Header().Set("ETag", `"1"`)
	w.Header().Add("Link", `<turn:a.example?transport=udp>; rel="ice-server"; username="u"`)
	w.Header().Set("Content-Type", "application/sdp")
	w.WriteHeader(http.StatusCreated)
	if f.edit != nil {
		answer = f.edit(answer)
	}
	_, _ = io.WriteString(w, answer)
}

// answer applies an offer and returns the full answer; a viewer gets copies of all uplinks.
func (f *fake) answer(pc *webrtc.PeerConnection, offer string, viewer bool) (string, error) {
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return "", err
	}
	if viewer {
		f.mu.Lock()
		uplinks := f.uplinks
		f.mu.Unlock()
		for _, link := range uplinks {
			if err := link.copyTo(pc); err != nil {
				return "", err
			}
		}
	}
	answer, err := pc.CreateAnswer(nil)
	if err != nil {
		return "", err
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(answer); err != nil {
		return "", err
	}
	<-gathered
	return pc.LocalDescription().SDP, nil
}

// session finds a session by its URL.
func (f *fake) session(location string) *fakeSession {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sessions[strings.TrimPrefix(location, f.server.URL)]
}

func (f *fake) delete(path string) {
	f.mu.Lock()
	session := f.sessions[path]
	delete(f.sessions, path)
	f.mu.Unlock()
	_ = session.pc.GracefulClose()
}

// patch adds candidates, or restarts ICE if the credentials are new.
func (f *fake) patch(w http.ResponseWriter, r *http.Request, session *fakeSession, body string) {
	fragment, current := fragmentOf(body), fragmentOf(session.offer)
	if fragment.ufrag == current.ufrag {
		for _, candidate := range fragment.candidates {
			require.NoError(f.t, session.pc.AddICECandidate(webrtc.ICECandidateInit{Candidate: candidate}))
		}
		w.WriteHeader(http.StatusNoContent)
		return
	}
	session.offer = fragment.apply(session.offer)
	answer, err := f.answer(session.pc, session.offer, false)
	require.NoError(f.t, err)
	session.etag++
	w.Header().Set("ETag", fmt.Sprintf(`"%d"`, session.etag))
	w.Header().Set("Content-Type", "application/trickle-ice-sdpfrag")
	_, _ = io.WriteString(w, fragmentOf(answer).marshal(session.offer))
}

// forward copies a stream to the viewers until it ends.
func (f *fake) forward(pc *webrtc.PeerConnection, remote *webrtc.TrackRemote) {
	link := &uplink{pc: pc, remote: remote, received: make(chan *rtp.Packet, 16)}
	f.mu.Lock()
	f.uplinks = append(f.uplinks, link)
	close(f.arrived)
	f.arrived = make(chan struct{})
	f.mu.Unlock()
	for {
		packet, _, err := remote.ReadRTP()
		if err != nil {
			return
		}
		select {
		case link.received <- packet.Clone():
		default:
		}
		packet.Extension, packet.Extensions = false, nil
		link.mu.Lock()
		copies := link.copies
		link.mu.Unlock()
		for _, copied := range copies {
			_ = copied.WriteRTP(packet)
		}
	}
}

// drain reads sender reports, which pion needs in order to answer them.
func drain(receiver *webrtc.RTPReceiver) {
	for {
		if _, _, err := receiver.ReadRTCP(); err != nil {
			return
		}
	}
}

// copyTo adds a viewer, whose keyframe requests go to the publisher.
func (u *uplink) copyTo(pc *webrtc.PeerConnection) error {
	track, err := webrtc.NewTrackLocalStaticRTP(u.remote.Codec().RTPCodecCapability, u.remote.Kind().String(), "fake")
	if err != nil {
		return err
	}
	sender, err := pc.AddTrack(track)
	if err != nil {
		return err
	}
	go u.feedback(sender)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.copies = append(slices.Clip(u.copies), track)
	return nil
}

func (u *uplink) feedback(sender *webrtc.RTPSender) {
	for {
		packets, _, err := sender.ReadRTCP()
		if err != nil {
			return
		}
		for _, packet := range packets {
			if _, ok := packet.(*rtcp.PictureLossIndication); ok {
				_ = u.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(u.remote.SSRC())}})
			}
		}
	}
}

// waitUplinks returns the streams when there are n.
func (f *fake) waitUplinks(n int) []*uplink {
	f.t.Helper()
	limit := time.After(10 * time.Second)
	for {
		f.mu.Lock()
		uplinks, arrived := f.uplinks, f.arrived
		f.mu.Unlock()
		if len(uplinks) >= n {
			return uplinks
		}
		select {
		case <-arrived:
		case <-limit:
			f.t.Fatalf("%d of %d streams arrived", len(uplinks), n)
		}
	}
}

// tcp makes a fake reachable by ICE-TCP alone.
func tcp(t *testing.T) func(*webrtc.SettingEngine) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	mux := webrtc.NewICETCPMux(nil, listener, 8)
	t.Cleanup(func() { _ = mux.Close() })
	return func(engine *webrtc.SettingEngine) {
		engine.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeTCP4})
		engine.SetICETCPMux(mux)
	}
}

// limited is a context for one test step.
func limited(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// receive takes from a channel, or fails if nothing comes.
func receive[T any](t *testing.T, channel <-chan T) (value T) {
	t.Helper()
	select {
	case value = <-channel:
	case <-time.After(15 * time.Second):
		t.Fatal("nothing came within 15 s")
	}
	return value
}
