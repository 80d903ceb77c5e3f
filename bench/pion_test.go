package bench

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"
)

// pionServer is a server of another make: PeerConnections of pion with its default interceptors, one publisher.
type pionServer struct {
	api          *webrtc.API
	video, audio *webrtc.TrackLocalStaticRTP

	mu    sync.Mutex // guards peers
	peers []*webrtc.PeerConnection
}

func newPionServer(t *testing.T, role webrtc.DTLSRole) (base string) {
	t.Helper()
	var settings webrtc.SettingEngine
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	require.NoError(t, settings.SetAnsweringDTLSRole(role))
	s := &pionServer{api: webrtc.NewAPI(webrtc.WithSettingEngine(settings))}
	var err error
	h264 := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeH264, ClockRate: videoClock, SDPFmtpLine: "packetization-mode=1;profile-level-id=42e01f"}
	s.video, err = webrtc.NewTrackLocalStaticRTP(h264, "video", "stream")
	require.NoError(t, err)
	s.audio, err = webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: audioClock, Channels: 2}, "audio", "stream")
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /whip", func(w http.ResponseWriter, r *http.Request) { s.answer(t, w, r, s.takeIn) })
	mux.HandleFunc("POST /whep", func(w http.ResponseWriter, r *http.Request) { s.answer(t, w, r, s.giveOut) })
	h := httptest.NewServer(mux)
	t.Cleanup(func() {
		h.Close()
		for _, pc := range s.peers {
			require.NoError(t, pc.GracefulClose())
		}
	})
	return h.URL
}

func (s *pionServer) takeIn(pc *webrtc.PeerConnection) error {
	pc.OnTrack(func(remote *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		local := s.audio
		if remote.Kind() == webrtc.RTPCodecTypeVideo {
			local = s.video
		}
		for {
			packet, _, err := remote.ReadRTP()
			if err != nil {
				return
			}
			_ = local.WriteRTP(packet)
		}
	})
	return nil
}

func (s *pionServer) giveOut(pc *webrtc.PeerConnection) error {
	for _, track := range []webrtc.TrackLocal{s.video, s.audio} {
		sender, err := pc.AddTrack(track)
		if err != nil {
			return err
		}
		go func() { // interceptors work only while feedback is read; ends with the connection
			for {
				if _, _, err := sender.ReadRTCP(); err != nil {
					return
				}
			}
		}()
	}
	return nil
}

// answer needs no resource URL: the client then leaves by ending DTLS.
func (s *pionServer) answer(t *testing.T, w http.ResponseWriter, r *http.Request, prepare func(*webrtc.PeerConnection) error) {
	text, err := func() (string, error) {
		offer, err := io.ReadAll(r.Body)
		if err != nil {
			return "", err
		}
		pc, err := s.api.NewPeerConnection(webrtc.Configuration{})
		if err != nil {
			return "", err
		}
		s.mu.Lock()
		s.peers = append(s.peers, pc)
		s.mu.Unlock()
		if err := prepare(pc); err != nil {
			return "", err
		}
		if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: string(offer)}); err != nil {
			return "", err
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
	}()
	if err != nil {
		t.Error(err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusCreated)
	_, _ = io.Copy(w, strings.NewReader(text))
}

// TestRunAgainstAnotherServer shows that nothing depends on our own server, in either DTLS role.
func TestRunAgainstAnotherServer(t *testing.T) {
	for name, role := range map[string]webrtc.DTLSRole{"server-is-dtls-client": webrtc.DTLSRoleClient, "server-is-dtls-server": webrtc.DTLSRoleServer} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := newPionServer(t, role)
			c := quick(base)
			c.WHIP, c.WHEP, c.NACK = base+"/whip", base+"/whep", true
			c.Window = 1500 * time.Millisecond
			report, err := Run(t.Context(), c)
			require.NoError(t, err)
			got := report.Rows[0].Worst
			require.Zero(t, got.Lost)
			require.Zero(t, got.WithoutMedia)
			require.Zero(t, got.Unstamped)
			require.Positive(t, got.Delay.Samples)
		})
	}
}
