package whip

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"rheomesh/client"
	"rheomesh/clip"
	"rheomesh/sfu"
)

// Here are the numbered checks that need a real node, and pion as the client.

// patience is how long anything on loopback may take under the race detector on a busy machine.
const patience = 20 * time.Second

// mediaServer is a handler on a real node behind a socket.
type mediaServer struct {
	t    *testing.T
	node *sfu.Node
	url  string // of the HTTP server
	ctx  context.Context
}

func newMediaServer(t *testing.T, cfg Config) *mediaServer {
	t.Helper()
	n, err := sfu.NewNode(sfu.Config{MediaAddr: "127.0.0.1:0", Limits: sfu.Limits{SilenceTimeout: 5 * time.Second}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.Close()) })
	_, _, err = n.PutRouter("live", sfu.RouterConfig{})
	require.NoError(t, err)
	cfg.Node = n
	h, err := New(cfg)
	require.NoError(t, err)
	httpServer := httptest.NewServer(newEcho(h.Register))
	t.Cleanup(func() {
		require.NoError(t, h.Close())
		httpServer.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return &mediaServer{t, n, httpServer.URL, ctx}
}

// options are those of a client of one endpoint.
func (s *mediaServer) options(endpoint string) client.Options {
	return client.Options{URL: s.url + endpoint}
}

// publish sends to cam until the test ends.
func (s *mediaServer) publish(o client.PublishOptions) *client.Publication {
	s.t.Helper()
	if o.URL == "" {
		o.URL = s.url + "/whip/live/cam"
	}
	publication, err := client.Publish(s.ctx, o)
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = publication.Close(context.Background()) })
	require.NoError(s.t, publication.Connected(s.ctx))
	require.Eventually(s.t, s.live, patience, 5*time.Millisecond) // the node learns of it a moment later
	return publication
}

// live reports whether the node gets media for cam.
func (s *mediaServer) live() bool {
	r, err := s.node.Router("live")
	require.NoError(s.t, err)
	p, err := r.Publisher("cam")
	return err == nil && p.Live()
}

func (s *mediaServer) publishClip() *client.Publication {
	s.t.Helper()
	return s.publish(client.PublishOptions{Video: clip.VP8(clip.Small), Audio: clip.Opus(), AnswerPLI: true})
}

// play plays cam until the test ends.
func (s *mediaServer) play(o client.PlayOptions) *client.Playback {
	s.t.Helper()
	if o.URL == "" {
		o.URL = s.url + "/whep/live/cam"
	}
	playback, err := client.Play(s.ctx, o)
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = playback.Close(context.Background()) })
	return playback
}

// sees waits for decodable video.
func (s *mediaServer) sees(playback *client.Playback) {
	s.t.Helper()
	_, err := playback.FirstFrame(s.ctx, webrtc.RTPCodecTypeVideo)
	require.NoError(s.t, err)
}

// goesOn waits until playback has decoded a second of further video.
func (s *mediaServer) goesOn(playback *client.Playback) {
	s.t.Helper()
	frames := func() uint64 {
		stats, _ := playback.Stats().Track("video")
		return stats.DecodableFrames
	}
	before := frames()
	require.Eventually(s.t, func() bool { return frames() >= before+30 }, patience, 20*time.Millisecond)
}

// do sends a request to a path or URL and returns status, header and body.
func (s *mediaServer) do(method, target, body string, headers ...string) (*http.Response, string) {
	s.t.Helper()
	if strings.HasPrefix(target, "/") {
		target = s.url + target
	}
	r, err := http.NewRequestWithContext(s.ctx, method, target, strings.NewReader(body))
	require.NoError(s.t, err)
	for _, line := range headers {
		key, value, _ := strings.Cut(line, ": ")
		r.Header.Set(key, value)
	}
	response, err := http.DefaultClient.Do(r)
	require.NoError(s.t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(s.t, err)
	return response, string(text)
}

// post offers to an endpoint, deletes what came of it, and returns the response.
func (s *mediaServer) post(endpoint, offer string) (*http.Response, string) {
	s.t.Helper()
	response, answer := s.do(http.MethodPost, endpoint, offer, sdpHeader)
	if location := response.Header.Get("Location"); location != "" {
		deleted, _ := s.do(http.MethodDelete, location, "")
		require.Equal(s.t, http.StatusOK, deleted.StatusCode)
	}
	return response, answer
}

// offerOf is pion's offer with one m-line per kind ("audio", "video" or "data"), in one direction, without candidates.
func offerOf(t *testing.T, direction webrtc.RTPTransceiverDirection, kinds ...string) string {
	t.Helper()
	pc, err := webrtc.NewPeerConnection(webrtc.Configuration{})
	require.NoError(t, err)
	defer pc.Close()
	for _, kind := range kinds {
		if kind == "data" {
			_, err = pc.CreateDataChannel("chat", nil)
		} else {
			_, err = pc.AddTransceiverFromKind(webrtc.NewRTPCodecType(kind), webrtc.RTPTransceiverInit{Direction: direction})
		}
		require.NoError(t, err)
	}
	offer, err := pc.CreateOffer(nil)
	require.NoError(t, err)
	return offer.SDP
}

const (
	sending   = webrtc.RTPTransceiverDirectionSendonly
	receiving = webrtc.RTPTransceiverDirectionRecvonly
	both      = webrtc.RTPTransceiverDirectionSendrecv
)

// lines are the values of the lines of an SDP that start with prefix.
func lines(sdp, prefix string) (values []string) {
	for line := range strings.SplitSeq(sdp, "\r\n") {
		if value, found := strings.CutPrefix(line, prefix); found {
			values = append(values, value)
		}
	}
	return values
}

// Checks 1 and 6: what a real answer looks like from outside.
func TestCheck06Candidates(t *testing.T) {
	s := newMediaServer(t, Config{})
	for endpoint, direction := range map[string]webrtc.RTPTransceiverDirection{"/whip/live/cam": sending, "/whep/live/cam": receiving} {
		response, answer := s.post(endpoint, offerOf(t, direction, "audio", "video"))
		require.Equal(t, http.StatusCreated, response.StatusCode, answer)
		assert.True(t, strings.HasPrefix(answer, "v=0\r\n"))
		assert.Less(t, len(answer), 8<<10)
		assert.NotRegexp(t, `[^\r]\n`, answer, "CRLF throughout")

		candidates := lines(answer, "a=candidate:")
		require.NotEmpty(t, candidates)
		assert.Regexp(t, `^\S+ 1 (udp|UDP) \d+ 127\.0\.0\.1 \d+ typ host`, candidates[0])
		firstTCP := slices.IndexFunc(candidates, func(c string) bool { return strings.Contains(strings.ToLower(c), " tcp ") })
		for i, c := range candidates {
			assert.False(t, firstTCP >= 0 && i > firstTCP && strings.Contains(strings.ToLower(c), " udp "), "UDP after TCP")
		}
		sections := strings.Split(answer, "\r\nm=")
		require.Len(t, sections, 3)
		if second := lines(sections[2], "a=candidate:"); len(second) > 0 {
			assert.Equal(t, lines(sections[1], "a=candidate:"), second)
		}
	}
}

// Check 3: directions.
func TestCheck03Directions(t *testing.T) {
	s := newMediaServer(t, Config{})
	for _, row := range []struct {
		endpoint  string
		direction webrtc.RTPTransceiverDirection
		want      int
		answer    string
	}{
		{"/whip/live/cam", sending, 201, "recvonly"},
		{"/whip/live/cam", both, 201, "recvonly"},
		{"/whip/live/cam", receiving, 422, ""},
		{"/whep/live/cam", receiving, 201, "sendonly"},
		{"/whep/live/cam", both, 201, "sendonly"},
		{"/whep/live/cam", sending, 422, ""},
	} {
		t.Run(row.endpoint+" "+row.direction.String(), func(t *testing.T) {
			response, answer := s.post(row.endpoint, offerOf(t, row.direction, "audio", "video"))
			assert.Equal(t, row.want, response.StatusCode, answer)
			if row.want == http.StatusCreated {
				assert.Len(t, lines(answer, "a="+row.answer), 2, answer)
			}
		})
	}
}

// Check 4: which media an offer may have.
func TestCheck04Media(t *testing.T) {
	s := newMediaServer(t, Config{})
	for _, row := range []struct {
		name  string
		kinds []string
		want  int
	}{
		{"audio and video", []string{"audio", "video"}, 201},
		{"audio only", []string{"audio"}, 201},
		{"video only", []string{"video"}, 201},
		{"with data channel", []string{"audio", "video", "data"}, 201},
		{"two videos", []string{"video", "video"}, 422},
		{"two audios", []string{"audio", "audio", "video"}, 422},
	} {
		for endpoint, direction := range map[string]webrtc.RTPTransceiverDirection{"/whip/live/cam": sending, "/whep/live/cam": receiving} {
			t.Run(endpoint+" "+row.name, func(t *testing.T) {
				response, answer := s.post(endpoint, offerOf(t, direction, row.kinds...))
				assert.Equal(t, row.want, response.StatusCode, answer)
			})
		}
	}
}

// Check 2 on a real node: what is no SDP.
func TestCheck02NotSDP(t *testing.T) {
	s := newMediaServer(t, Config{})
	for _, body := range []string{"hello", "{}", "v=1\r\n"} {
		response, _ := s.post("/whip/live/cam", body)
		assert.Equal(t, http.StatusBadRequest, response.StatusCode, body)
	}
}

// Check 5: the answer mirrors the offer.
func TestCheck05Answer(t *testing.T) {
	s := newMediaServer(t, Config{})
	for _, setup := range []string{"actpass", "active", "passive"} {
		for endpoint, direction := range map[string]webrtc.RTPTransceiverDirection{"/whip/live/cam": sending, "/whep/live/cam": receiving} {
			t.Run(endpoint+" "+setup, func(t *testing.T) {
				offer := strings.ReplaceAll(offerOf(t, direction, "audio", "video", "data"), "a=setup:actpass", "a=setup:"+setup)
				response, answer := s.post(endpoint, offer)
				require.Equal(t, http.StatusCreated, response.StatusCode, answer)
				assert.Equal(t, lines(offer, "a=mid:"), lines(answer, "a=mid:"))
				assert.Equal(t, lines(offer, "a=group:BUNDLE "), lines(answer, "a=group:BUNDLE "))
				assert.GreaterOrEqual(t, len(lines(answer, "a=rtcp-mux-only")), 2)
				assert.GreaterOrEqual(t, len(lines(answer, "a=rtcp-mux")), 4, "rtcp-mux and rtcp-mux-only")
				var kinds, answered []string
				for _, m := range lines(offer, "m=") {
					kinds = append(kinds, strings.Fields(m)[0])
				}
				for _, m := range lines(answer, "m=") {
					answered = append(answered, strings.Fields(m)[0])
				}
				assert.Equal(t, kinds, answered)
				want := map[string]string{"active": "passive", "passive": "active"}[setup]
				for _, got := range lines(answer, "a=setup:") {
					if want == "" {
						assert.Contains(t, []string{"active", "passive"}, got, "one of both for actpass")
						continue
					}
					assert.Equal(t, want, got)
				}
			})
		}
	}
}

// Check 7: clients that never tell of a usable candidate connect.
func TestCheck07WithoutCandidates(t *testing.T) {
	candidateLine := regexp.MustCompile(`(a=candidate:\S+ \d+ \S+ \d+) \S+ `)
	for _, row := range []struct {
		name   string
		change func(*client.Options)
	}{
		{"none", func(o *client.Options) { o.NoCandidates = true }},
		{"local names", func(o *client.Options) {
			o.EditOffer = func(sdp string) string {
				return candidateLine.ReplaceAllString(sdp, "$1 0b5c1c1e-1111-2222-3333-444444444444.local ")
			}
		}},
		{"trickled", func(o *client.Options) { o.Trickle = true }},
		{"passive", func(o *client.Options) { o.NoCandidates, o.Setup = true, "passive" }},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newMediaServer(t, Config{})
			publishing := client.PublishOptions{Options: s.options("/whip/live/cam"), Video: clip.VP8(clip.Small), AnswerPLI: true}
			row.change(&publishing.Options)
			s.publish(publishing)
			playing := client.PlayOptions{Options: s.options("/whep/live/cam"), NoAudio: true}
			row.change(&playing.Options)
			s.sees(s.play(playing))
		})
	}
}

// Check 9 on a real node: odd fragments are accepted and do no harm.
func TestCheck09OddFragmentsOnANode(t *testing.T) {
	s := newMediaServer(t, Config{})
	publication := s.publishClip()
	playback := s.play(client.PlayOptions{})
	s.sees(playback)
	for _, body := range []string{
		"m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:1 0 UDP 1 192.0.2.1 4000 typ host\r\n",
		"a=candidate:1 1 UDP 1 name.local 4000 typ host\n",
		"m=video 9 RTP/AVP 0\na=mid:video0\na=candidate:1 1 TCP 1 192.0.2.1 9 typ host tcptype active\na=end-of-candidates\n",
	} {
		for _, location := range []string{publication.Location(), playback.Location()} {
			response, text := s.do(http.MethodPatch, location, body, fragHeader, "If-Match: *")
			assert.Equal(t, http.StatusNoContent, response.StatusCode, text)
		}
	}
	s.goesOn(playback)
}

// Checks 10 and 11: media go on through a restart, and through one that fails.
func TestCheck10RestartOnANode(t *testing.T) {
	s := newMediaServer(t, Config{StrictETag: true})
	publication := s.publishClip()
	playback := s.play(client.PlayOptions{})
	s.sees(playback)

	for _, location := range []string{publication.Location(), playback.Location()} {
		response, _ := s.do(http.MethodPatch, location, "a=ice-ufrag:some\r\na=ice-pwd:short\r\n", fragHeader, "If-Match: *")
		assert.Equal(t, http.StatusBadRequest, response.StatusCode)
	}
	s.goesOn(playback)

	for name, session := range map[string]*client.Session{"publisher": publication.Session, "viewer": playback.Session} {
		old, oldAnswer := session.ETag(), session.Answer()
		require.NoError(t, session.RestartICE(s.ctx), name)
		assert.NotEqual(t, old, session.ETag(), name)
		assert.NotEqual(t, lines(oldAnswer, "a=ice-ufrag:"), lines(session.Answer(), "a=ice-ufrag:"), name)
		response, _ := s.do(http.MethodPatch, session.Location(), trickle, fragHeader, "If-Match: "+old)
		assert.Equal(t, http.StatusPreconditionFailed, response.StatusCode, name)
		s.goesOn(playback)
	}
}

// Check 12: viewers are told that the publisher has gone and come back.
func TestCheck12ViewersAreTold(t *testing.T) {
	s := newMediaServer(t, Config{})
	publication := s.publishClip()
	playback := s.play(client.PlayOptions{NoAudio: true})
	s.sees(playback)
	response, _ := s.do(http.MethodPost, playback.Location()+"/sse", `["active","inactive"]`, jsonHeader)
	require.Equal(t, http.StatusCreated, response.StatusCode)
	events := openStream(t, s.url+response.Header.Get("Location"))
	assert.Equal(t, "active {}", events.next())
	require.NoError(t, publication.Close(s.ctx))
	assert.Equal(t, "inactive {}", events.next())
	s.publishClip()
	assert.Equal(t, "active {}", events.next())
	s.goesOn(playback)
}

// Check 15: a client that is redirected by 307 keeps its token and works on the node's own URLs.
func TestCheck15RedirectTo(t *testing.T) {
	s := newMediaServer(t, Config{Authorize: tokens})
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, s.url+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	t.Cleanup(front.Close)
	options := client.Options{URL: front.URL + "/whip/live/cam", Token: "good"}
	publication := s.publish(client.PublishOptions{Options: options, Video: clip.VP8(clip.Small)})
	assert.True(t, strings.HasPrefix(publication.Location(), s.url+"/whip/live/cam/"), publication.Location())
	require.NoError(t, publication.Close(s.ctx))
}

// Check 16 on a real node: draining and live-only.
func TestCheck16DrainingNode(t *testing.T) {
	s := newMediaServer(t, Config{WithoutPublisher: AbsenceConflict})
	offer := offerOf(t, receiving, "video")
	response, _ := s.post("/whep/live/cam", offer)
	assert.Equal(t, http.StatusConflict, response.StatusCode)
	assert.NotEmpty(t, response.Header.Get("Retry-After"))
	s.publishClip()
	response, _ = s.do(http.MethodPost, "/whep/live/cam", offer, sdpHeader)
	require.Equal(t, http.StatusCreated, response.StatusCode)
	stream, _ := s.do(http.MethodPost, response.Header.Get("Location")+"/sse", `["reconnect"]`, jsonHeader)
	events := openStream(t, s.url+stream.Header.Get("Location"))
	s.node.SetDraining(true)
	assert.Equal(t, "reconnect {}", events.next())
	for _, endpoint := range []string{"/whip/live/cam2", "/whep/live/cam"} {
		response, _ = s.post(endpoint, offer)
		assert.Equal(t, http.StatusServiceUnavailable, response.StatusCode)
		assert.NotEmpty(t, response.Header.Get("Retry-After"))
	}
}

// Check 17: simulcast of one to four encodings is answered whole.
func TestCheck17Simulcast(t *testing.T) {
	s := newMediaServer(t, Config{})
	for n := 1; n <= 4; n++ {
		rids := []string{"0", "1", "2", "3"}[:n]
		offer := offerOf(t, sending, "audio", "video") // video is last
		for _, rid := range rids {
			offer += "a=rid:" + rid + " send\r\n"
		}
		offer += "a=simulcast:send " + strings.Join(rids, ";") + "\r\n"
		response, answer := s.post("/whip/live/cam", offer)
		require.Equal(t, http.StatusCreated, response.StatusCode, answer)
		assert.Equal(t, []string{"recv " + strings.Join(rids, ";")}, lines(answer, "a=simulcast:"))
		assert.Len(t, lines(answer, "a=rid:"), n)
	}
}

// Checks 18 and 19 on a real node: a simulcast's layers are shown, chosen and given free again.
func TestCheck19LayersOnANode(t *testing.T) {
	s := newMediaServer(t, Config{})
	s.publish(client.PublishOptions{Simulcast: []client.Encoding{
		{RID: "h", Source: clip.VP8(clip.Large)}, {RID: "m", Source: clip.VP8(clip.Medium)}, {RID: "l", Source: clip.VP8(clip.Small)},
	}, AnswerPLI: true})
	playback := s.play(client.PlayOptions{NoAudio: true})
	s.sees(playback)
	width := func() int {
		stats, _ := playback.Stats().Track("video")
		return stats.Width
	}
	for _, row := range []struct {
		body  string
		width int
	}{{`{"rid":"l"}`, 160}, {`{"mediaId":0,"encodingId":"m"}`, 320}, {`{"mediaId":"0","rid":"h"}`, 640}} {
		response, text := s.do(http.MethodPost, playback.Location()+"/layer", row.body, jsonHeader)
		require.Equal(t, http.StatusOK, response.StatusCode, text)
		require.Eventually(t, func() bool { return width() == row.width }, patience, 20*time.Millisecond, "%s", row.body)
	}
	response, text := s.do(http.MethodPost, playback.Location()+"/layer", `{"rid":"x"}`, jsonHeader)
	assert.Equal(t, http.StatusNotFound, response.StatusCode, text)
	_, text = s.do(http.MethodGet, playback.Location()+"/layer", "")
	assert.Regexp(t, `"rid":"h"[^}]*"selected":true`, text)
	response, _ = s.do(http.MethodDelete, playback.Location()+"/layer", "")
	assert.Equal(t, http.StatusOK, response.StatusCode)
}

// Check 20 on a real node: a player that only answers.
func TestCheck20ServerOffer(t *testing.T) {
	s := newMediaServer(t, Config{})
	s.publishClip()
	response, offer := s.do(http.MethodPost, "/whep/live/cam", "", sdpHeader, "Accept: application/sdp")
	require.Equal(t, http.StatusCreated, response.StatusCode, offer)
	location := response.Header.Get("Location")

	pc, err := webrtc.NewPeerConnection(webrtc.Configuration{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pc.Close()) })
	var packets atomic.Int64
	pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		for {
			if _, _, err := track.ReadRTP(); err != nil {
				return
			}
			packets.Add(1)
		}
	})
	require.NoError(t, pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}))
	answer, err := pc.CreateAnswer(nil)
	require.NoError(t, err)
	gathered := webrtc.GatheringCompletePromise(pc)
	require.NoError(t, pc.SetLocalDescription(answer))
	<-gathered
	response, text := s.do(http.MethodPatch, location, pc.LocalDescription().SDP, sdpHeader)
	require.Equal(t, http.StatusNoContent, response.StatusCode, text)
	require.Eventually(t, func() bool { return packets.Load() > 50 }, patience, 20*time.Millisecond)
	response, _ = s.do(http.MethodPatch, location, answer.SDP, sdpHeader)
	assert.Equal(t, http.StatusConflict, response.StatusCode, "second answer")
	response, _ = s.do(http.MethodDelete, location, "")
	assert.Equal(t, http.StatusOK, response.StatusCode)
}

// Check 21: a publisher dies; its viewer stays and plays the next one, whatever its codec.
func TestCheck21PublisherDies(t *testing.T) {
	s := newMediaServer(t, Config{})
	publication := s.publishClip()
	playback := s.play(client.PlayOptions{})
	s.sees(playback)
	require.NoError(t, publication.Drop())
	require.Eventually(t, func() bool {
		response, _ := s.do(http.MethodGet, publication.Location(), "")
		return response.StatusCode == http.StatusNotFound
	}, patience, 20*time.Millisecond)
	response, _ := s.do(http.MethodDelete, publication.Location(), "")
	assert.Equal(t, http.StatusOK, response.StatusCode, "the first DELETE after the end")
	response, _ = s.do(http.MethodGet, playback.Location(), "")
	assert.Equal(t, http.StatusNoContent, response.StatusCode, "the viewer stays")

	s.publish(client.PublishOptions{Video: clip.H264(), Audio: clip.Opus(), AnswerPLI: true})
	require.Eventually(t, func() bool {
		stats, _ := playback.Stats().Track("video")
		return stats.Codec == webrtc.MimeTypeH264 && stats.DecodableFrames > 30
	}, patience, 20*time.Millisecond)
}
