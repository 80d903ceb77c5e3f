package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"rheomesh/client"
	"rheomesh/clip"
	"rheomesh/whip"
)

const (
	publishersPath  = "/api/v1/routers/live/publishers"
	subscribersPath = "/api/v1/routers/live/subscribers"
)

// mediaServer is a test server with WHIP and WHEP on a socket, and a client's context.
type mediaServer struct {
	*Server
	url string
	ctx context.Context
}

func newMediaServer(t *testing.T) mediaServer {
	t.Helper()
	var handler *whip.Handler
	s := newTestServer(t, func(cfg *Config) {
		var err error
		handler, err = whip.New(whip.Config{Node: cfg.Node, Authorize: NewAuthorizer(Credentials{}).Authorize})
		require.NoError(t, err)
		cfg.Mount = func(e *echo.Echo) { handler.Register(e) }
	})
	server := httptest.NewServer(s.Handler())
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(func() {
		cancel()
		server.Close()
		assert.NoError(t, handler.Close())
	})
	return mediaServer{Server: s, url: server.URL, ctx: ctx}
}

func (m mediaServer) publish(t *testing.T) *client.Publication {
	t.Helper()
	p, err := client.Publish(m.ctx, client.PublishOptions{
		Options: client.Options{URL: m.url + "/whip/live/cam"}, Audio: clip.Opus(), AnswerPLI: true,
		Simulcast: []client.Encoding{{RID: "h", Source: clip.VP8(clip.Large)}, {RID: "l", Source: clip.VP8(clip.Small)}},
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Close(context.Background()) }) // the server may have ended it
	require.NoError(t, p.Connected(m.ctx))
	return p
}

func (m mediaServer) play(t *testing.T, publisher string) *client.Playback {
	t.Helper()
	p, err := client.Play(m.ctx, client.PlayOptions{Options: client.Options{URL: m.url + "/whep/live/" + publisher}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Close(context.Background()) }) // the server may have ended it
	return p
}

// one reads the only item of a list resource.
func one[T any](t *testing.T, m mediaServer, path string) T {
	t.Helper()
	recorder := m.do(request{method: "GET", path: path})
	require.Equal(t, 200, recorder.Code, recorder.Body)
	var p page[T]
	require.NoError(t, json.Unmarshal(recorder.Body.Bytes(), &p))
	require.Len(t, p.Items, 1)
	return p.Items[0]
}

func TestPublisherResource(t *testing.T) {
	m := newMediaServer(t)
	publication := m.publish(t)
	var v publisherView
	require.Eventually(t, func() bool { // both layers are known from their first packets on
		recorder := m.do(request{method: "GET", path: publishersPath + "/cam"})
		if recorder.Code != http.StatusOK || json.Unmarshal(recorder.Body.Bytes(), &v) != nil || len(v.Tracks) != 2 {
			return false
		}
		for _, track := range v.Tracks {
			for _, layer := range track.Layers {
				if layer.Packets == 0 {
					return false
				}
			}
		}
		return true
	}, 10*time.Second, 20*time.Millisecond)
	assert.Equal(t, "live", v.State)
	assert.Equal(t, originView{NodeID: "node-1", RouterID: "live", PublisherID: "cam", Hops: v.Origin.Hops}, v.Origin)
	assert.NotNil(t, v.Origin.Hops)
	layers := map[string]int{}
	for _, track := range v.Tracks {
		assert.Contains(t, []string{"audio", "video"}, track.Kind)
		layers[track.Kind] = len(track.Layers)
	}
	assert.Equal(t, map[string]int{"audio": 1, "video": 2}, layers)
	assert.Equal(t, "cam", string(one[publisherView](t, m, publishersPath).ID))

	requireProblem(t, m.do(request{method: "GET", path: publishersPath + "/other"}), 404, "publisher-not-found")
	requireProblem(t, m.do(request{method: "GET", path: publishersPath + "/a%20b"}), 400, "bad-request")
	requireProblem(t, m.do(request{method: "GET", path: "/api/v1/routers/none/publishers"}), 404, "router-not-found")
	refused := m.do(request{method: "PUT", path: publishersPath + "/cam"})
	requireProblem(t, refused, 405, "method-not-allowed")
	assert.Contains(t, refused.Header().Get("Allow"), "DELETE")

	assert.Equal(t, 204, m.do(request{method: "DELETE", path: publishersPath + "/cam"}).Code)
	assert.ErrorIs(t, publication.Wait(m.ctx), client.ErrDisconnected)
}

func TestSubscriberResource(t *testing.T) {
	m := newMediaServer(t)
	m.publish(t)
	playback := m.play(t, "cam")
	_, err := playback.FirstFrame(m.ctx, webrtc.RTPCodecTypeVideo)
	require.NoError(t, err)
	v := one[subscriberView](t, m, subscribersPath)
	path := subscribersPath + "/" + string(v.ID)
	assert.Equal(t, "cam", string(v.PublisherID))
	assert.Equal(t, "playing", v.State)
	assert.Contains(t, v.RemoteAddr, "127.0.0.1:")
	assert.Len(t, v.Tracks, 2)

	patch := func(body string) subscriberView {
		recorder := m.do(request{method: "PATCH", path: path, body: body})
		require.Equal(t, 200, recorder.Code, recorder.Body)
		var v subscriberView
		require.NoError(t, json.Unmarshal(recorder.Body.Bytes(), &v))
		return v
	}
	assert.True(t, patch(`{"paused":true}`).Paused)
	assert.True(t, patch(`{}`).Paused, "what is absent stays")
	assert.False(t, patch(`{"paused":false,"layer":{"rid":"l"}}`).Paused)
	require.Eventually(t, func() bool {
		for _, track := range one[subscriberView](t, m, subscribersPath).Tracks {
			if track.Kind == "video" && track.CurrentLayer != nil && track.CurrentLayer.RID == "l" {
				return true
			}
		}
		return false
	}, 10*time.Second, 20*time.Millisecond)

	requireProblem(t, m.do(request{method: "PATCH", path: path, body: `{"layer":{"rid":"nope"},"paused":true}`}), 404, "layer-not-found")
	assert.False(t, one[subscriberView](t, m, subscribersPath).Paused, "a refused request changes nothing")
	p := requireProblem(t, m.do(request{method: "PATCH", path: path, body: `{"layer":{"spatial":"2"}}`}), 400, "bad-request")
	assert.Equal(t, "layer.spatial", p.Errors[0].Field)
	requireProblem(t, m.do(request{method: "PATCH", path: path, body: `{"pause":true}`}), 400, "bad-request")
	requireProblem(t, m.do(request{method: "GET", path: subscribersPath + "/s-none"}), 404, "subscriber-not-found")

	assert.Equal(t, 204, m.do(request{method: "DELETE", path: path}).Code)
	assert.ErrorIs(t, playback.Wait(m.ctx), client.ErrDisconnected)
	requireProblem(t, m.do(request{method: "GET", path: path}), 404, "subscriber-not-found")
}

func TestIdlePublisherAndLoad(t *testing.T) {
	m := newMediaServer(t)
	playback := m.play(t, "later")
	require.NoError(t, playback.Connected(m.ctx))
	v := one[publisherView](t, m, publishersPath)
	assert.Equal(t, "idle", v.State)
	assert.Equal(t, 1, v.Subscribers)
	assert.Empty(t, v.Tracks)
	var node nodeView
	require.NoError(t, json.Unmarshal(m.do(request{method: "GET", path: "/api/v1/node"}).Body.Bytes(), &node))
	assert.Equal(t, 1, node.Load.Subscribers)
	assert.Equal(t, 1, node.Load.Sessions)
}

// TestWHIPProblems sees that whip's errors leave by the same table, with their header fields.
func TestWHIPProblems(t *testing.T) {
	m := newMediaServer(t)
	offer := func(header ...string) []string { return append([]string{"Content-Type", "application/sdp"}, header...) }
	requireProblem(t, m.do(request{"POST", "/whip/live/cam", "nonsense", offer()}), 400, "sdp-invalid")
	requireProblem(t, m.do(request{"POST", "/whip/none/cam", "v=0\r\n", offer()}), 404, "router-not-found")
	requireProblem(t, m.do(request{"POST", "/whip/live/cam", "{}", nil}), 415, "unsupported-media-type")
	refused := m.do(request{"PUT", "/whip/live/cam", "", nil})
	requireProblem(t, refused, 405, "method-not-allowed")
	assert.Contains(t, refused.Header().Get("Allow"), "POST")
	requireProblem(t, m.do(request{"DELETE", "/whip/live/cam/unknown", "", nil}), 404, "session-not-found")
	requireProblem(t, m.do(request{"GET", "/whip/live", "", nil}), 404, "not-found")
	m.cfg.Node.SetDraining(true)
	draining := m.do(request{"POST", "/whip/live/cam", "v=0\r\n", offer()})
	requireProblem(t, draining, 503, "draining")
	assert.NotEmpty(t, draining.Header().Get("Retry-After"))
}
