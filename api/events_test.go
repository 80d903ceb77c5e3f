package api

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"rheomesh/sfu"
)

// message is one message of an event stream.
type message struct {
	id, event, comment, retry string
	data                      struct {
		ID     string          `json:"id"`
		Type   string          `json:"type"`
		NodeID string          `json:"node_id"`
		Time   time.Time       `json:"time"`
		Data   json.RawMessage `json:"data"`
	}
	at time.Time // when it was read
}

// sse is a client of the event stream.
type sse struct {
	response *http.Response
	lines    *bufio.Scanner
}

// closing makes the test server end as the real one does.
func closing(t *testing.T, s *Server) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		assert.NoError(t, s.Close(ctx))
	})
}

// overHTTP serves s on a socket.
func overHTTP(t *testing.T, s *Server) string {
	t.Helper()
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	closing(t, s)
	return server.URL
}

func openStream(t *testing.T, url string, header ...string) *sse {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	require.NoError(t, err)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	require.NoError(t, err)
	t.Cleanup(func() { _ = response.Body.Close() }) // its end is not the question
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 1<<20)
	return &sse{response, lines}
}

// next reads one message; false at the end of the stream.
func (s *sse) next(t *testing.T) (m message, ok bool) {
	t.Helper()
	for s.lines.Scan() {
		name, value, _ := strings.Cut(s.lines.Text(), ": ")
		switch name {
		case "id":
			m.id = value
		case "event":
			m.event = value
		case "retry":
			m.retry = value
		case "data":
			require.NoError(t, json.Unmarshal([]byte(value), &m.data))
		case "":
			m.at = time.Now()
			m.comment = value
			if m.id != "" || m.event != "" || value != "" || m.retry != "" {
				return m, true
			}
		}
	}
	return m, false
}

func (s *sse) must(t *testing.T) message {
	t.Helper()
	m, ok := s.next(t)
	require.True(t, ok, "the stream has ended: %v", s.lines.Err())
	return m
}

func putRouter(t *testing.T, s *Server, id string) {
	t.Helper()
	_, _, err := s.cfg.Node.PutRouter(sfu.RouterID(id), sfu.RouterConfig{})
	require.NoError(t, err)
}

func TestEventStream(t *testing.T) {
	s := newTestServer(t, nil)
	url := overHTTP(t, s)
	stream := openStream(t, url+"/api/v1/events")
	require.Equal(t, "text/event-stream", stream.response.Header.Get("Content-Type"))
	first := stream.must(t)
	require.Equal(t, "2000", first.retry)
	require.Empty(t, first.event, "only the position")
	require.NotEmpty(t, first.id)

	putRouter(t, s, "stage")
	created := stream.must(t)
	require.Equal(t, "router.created", created.event)
	require.Equal(t, created.id, created.data.ID)
	require.Equal(t, "router.created", created.data.Type)
	var shown routerView
	require.NoError(t, json.Unmarshal(created.data.Data, &shown))
	require.JSONEq(t, s.do(request{method: "GET", path: "/api/v1/routers/stage"}).Body.String(), string(created.data.Data), "as REST shows it")

	require.NoError(t, s.cfg.Node.DeleteRouter("stage"))
	s.cfg.Node.SetDraining(true)
	require.Equal(t, "router.deleted", stream.must(t).event)
	draining := stream.must(t)
	require.Equal(t, "node.draining", draining.event)
	require.Contains(t, string(draining.data.Data), `"draining":true`)

	t.Run("resumes", func(t *testing.T) {
		again := openStream(t, url+"/api/v1/events", "Last-Event-ID", created.id)
		require.Equal(t, created.id, again.must(t).id)
		require.Equal(t, "router.deleted", again.must(t).event)
		require.Equal(t, draining.id, again.must(t).id)
	})
	t.Run("resumes from the position of a stream without events", func(t *testing.T) {
		again := openStream(t, url+"/api/v1/events?types=router.deleted", "Last-Event-ID", first.id)
		require.Equal(t, first.id, again.must(t).id)
		require.Equal(t, "router.deleted", again.must(t).event)
	})
	t.Run("unknown id", func(t *testing.T) {
		for _, id := range []string{"evt-0123456789ab-7", "nonsense", s.events.eventID(1 << 40)} {
			again := openStream(t, url+"/api/v1/events", "Last-Event-ID", id)
			lost := again.must(t)
			require.Equal(t, "events.lost", lost.event)
			require.JSONEq(t, `{"reason":"unknown-id"}`, string(lost.data.Data))
			require.Equal(t, "router.created", again.must(t).event, "then what is there")
		}
	})
	t.Run("head", func(t *testing.T) {
		head := s.do(request{method: "HEAD", path: "/api/v1/events"})
		require.Equal(t, 200, head.Code)
		require.Equal(t, "text/event-stream", head.Header().Get("Content-Type"))
	})
}

func TestEventStreamFilters(t *testing.T) {
	s := newTestServer(t, nil)
	url := overHTTP(t, s)
	byType := openStream(t, url+"/api/v1/events?types=router.deleted,node.draining")
	byRouter := openStream(t, url+"/api/v1/events?router=b&router=c")
	byType.must(t)
	byRouter.must(t)
	for _, id := range []string{"a", "b"} {
		putRouter(t, s, id)
		require.NoError(t, s.cfg.Node.DeleteRouter(sfu.RouterID(id)))
	}
	s.cfg.Node.SetDraining(true)
	require.Contains(t, string(byType.must(t).data.Data), `"id":"a"`)
	require.Contains(t, string(byType.must(t).data.Data), `"id":"b"`)
	require.Equal(t, "node.draining", byType.must(t).event)
	for range 2 {
		require.Contains(t, string(byRouter.must(t).data.Data), `"id":"b"`)
	}
	for _, row := range []struct{ query, field string }{{"types=nothing", "types"}, {"types=router.created,x", "types"}, {"router=a%20b", "router"}} {
		p := requireProblem(t, s.do(request{method: "GET", path: "/api/v1/events?" + row.query}), 400, "bad-request")
		require.Equal(t, row.field, p.Errors[0].Field)
	}
}

func TestEventStreamCredentials(t *testing.T) {
	key := func(id string, grants ...Grant) Key {
		return Key{ID: id, Digest: sha256.Sum256([]byte(id)), Grants: grants}
	}
	s := newTestServer(t, func(cfg *Config) {
		cfg.Authorizer = NewAuthorizer(Credentials{Keys: []Key{
			key("all", Grant{Routers: []string{"*"}, Actions: []string{"admin"}}),
			key("rooms", Grant{Routers: []string{"room-*"}, Actions: []string{"admin"}}),
			key("publisher", Grant{Routers: []string{"*"}, Actions: []string{"publish"}}),
		}})
	})
	url := overHTTP(t, s)
	requireProblem(t, s.do(request{method: "GET", path: "/api/v1/events"}), 401, "unauthorized")
	requireProblem(t, s.do(request{method: "GET", path: "/api/v1/events", header: []string{"Authorization", "Bearer publisher"}}), 403, "forbidden")
	requireProblem(t, s.do(request{method: "GET", path: "/api/v1/events?router=live", header: []string{"Authorization", "Bearer rooms"}}), 403, "forbidden")
	all := openStream(t, url+"/api/v1/events", "Authorization", "Bearer all")
	rooms := openStream(t, url+"/api/v1/events", "Authorization", "Bearer rooms")
	all.must(t)
	rooms.must(t)
	putRouter(t, s, "stage")
	s.cfg.Node.SetDraining(true)
	putRouter(t, s, "room-1")
	var seen []string
	for range 3 {
		seen = append(seen, all.must(t).event)
	}
	require.Equal(t, []string{"router.created", "node.draining", "router.created"}, seen)
	require.Contains(t, string(rooms.must(t).data.Data), `"id":"room-1"`, "and nothing else")
}

func TestEventStreamLimit(t *testing.T) {
	s := newTestServer(t, func(cfg *Config) { cfg.MaxEventStreams = 2 })
	url := overHTTP(t, s)
	first := openStream(t, url+"/api/v1/events")
	first.must(t)
	openStream(t, url+"/api/v1/events").must(t)
	refused := s.do(request{method: "GET", path: "/api/v1/events"})
	requireProblem(t, refused, 429, "rate-limited")
	require.NotEmpty(t, refused.Header().Get("Retry-After"))
	require.NoError(t, first.response.Body.Close())
	require.Eventually(t, func() bool { return len(s.streams) == 1 }, 5*time.Second, time.Millisecond)
	openStream(t, url+"/api/v1/events").must(t)
}

// TestServerCloseEndsStreams sees that streams get what happened before, and end.
func TestServerCloseEndsStreams(t *testing.T) {
	s := newTestServer(t, nil)
	server := httptest.NewServer(s.Handler())
	defer server.Close()
	stream := openStream(t, server.URL+"/api/v1/events")
	stream.must(t)
	putRouter(t, s, "last")
	require.NoError(t, s.Close(t.Context()))
	require.Equal(t, "router.created", stream.must(t).event)
	require.Equal(t, "the node stops", stream.must(t).comment)
	_, ok := stream.next(t)
	require.False(t, ok)
}

// TestSlowReader reads nothing while more happens than sockets and history hold, and is told so.
func TestSlowReader(t *testing.T) {
	s := newTestServer(t, nil)
	url := overHTTP(t, s)
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(s.streams) == 1 }, 5*time.Second, time.Millisecond)
	metadata := map[string]string{"padding": strings.Repeat("x", 60_000)}
	for n := range 400 { // 48 MB, beyond what sockets take
		id := sfu.RouterID(fmt.Sprint("r", n))
		_, _, err := s.cfg.Node.PutRouter(id, sfu.RouterConfig{Metadata: metadata})
		require.NoError(t, err)
		require.NoError(t, s.cfg.Node.DeleteRouter(id))
		require.Eventually(t, func() bool { return s.events.newest() >= uint64(2*n+2) }, 5*time.Second, time.Millisecond)
	}
	s.events.mu.Lock()
	held := s.events.bytes
	s.events.mu.Unlock()
	require.LessOrEqual(t, held, historyBytes, "what is held for the reader is the history alone")
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(20*time.Second)))
	text, err := io.ReadAll(conn)
	require.NoError(t, err)
	tail := string(text[max(0, len(text)-600):])
	require.Contains(t, tail, "event: events.lost\n")
	require.Contains(t, tail, `"data":{"reason":"slow-reader"}`)
	require.EqualValues(t, 1, s.events.slowReaders.Load())
}

// TestStreamOutlivesReadTimeout waits for longer than the server waits for a request.
func TestStreamOutlivesReadTimeout(t *testing.T) {
	t.Parallel()
	s := newTestServer(t, nil)
	s.http.ReadTimeout = 300 * time.Millisecond
	addr := serve(t, s, 10, 10)
	stream := openStream(t, "http://"+addr+"/api/v1/events")
	stream.must(t)
	late := time.NewTimer(time.Second)
	<-late.C
	putRouter(t, s, "late")
	require.Equal(t, "router.created", stream.must(t).event)
}

// TestMediaEvents follows a publisher and a viewer through their lives.
func TestMediaEvents(t *testing.T) {
	m := newMediaServer(t)
	closing(t, m.Server)
	stream := openStream(t, m.url+"/api/v1/events")
	stream.must(t)
	publication := m.publish(t)
	live := stream.must(t)
	require.Equal(t, "publisher.live", live.event)
	var publisher publisherView
	require.NoError(t, json.Unmarshal(live.data.Data, &publisher))
	require.Equal(t, "live", publisher.State)
	require.Equal(t, "cam", string(publisher.ID))

	playback := m.play(t, "cam")
	joined := stream.must(t)
	for joined.event == "publisher.layers" {
		joined = stream.must(t) // its layers have begun to arrive
	}
	require.Equal(t, "subscriber.joined", joined.event)
	_, err := playback.FirstFrame(m.ctx, webrtc.RTPCodecTypeVideo)
	require.NoError(t, err)
	var subscriber subscriberView
	require.NoError(t, json.Unmarshal(joined.data.Data, &subscriber))
	require.Equal(t, "cam", string(subscriber.PublisherID))
	path := subscribersPath + "/" + string(subscriber.ID)
	require.Equal(t, 200, m.do(request{method: "PATCH", path: path, body: `{"layer":{"rid":"l"}}`}).Code)
	layer := stream.must(t)
	for layer.event == "publisher.layers" || layer.event == "subscriber.layer" && !strings.Contains(string(layer.data.Data), `"rid":"l"`) {
		layer = stream.must(t) // the automatic choice may have changed first
	}
	require.Equal(t, "subscriber.layer", layer.event)

	require.NoError(t, playback.Close(m.ctx))
	left := stream.must(t)
	for left.event == "publisher.layers" || left.event == "subscriber.layer" {
		left = stream.must(t)
	}
	require.Equal(t, "subscriber.left", left.event)
	subscriber = subscriberView{}
	require.NoError(t, json.Unmarshal(left.data.Data, &subscriber))
	require.Equal(t, "closed", subscriber.State)
	sent := uint64(0)
	for _, track := range subscriber.Tracks {
		sent += track.Packets
	}
	require.Positive(t, sent, "with its last counts")

	require.NoError(t, publication.Close(m.ctx))
	idle := stream.must(t)
	for idle.event == "publisher.layers" {
		idle = stream.must(t)
	}
	require.Equal(t, "publisher.idle", idle.event)
	require.Equal(t, "publisher.removed", stream.must(t).event)
}

// TestEventLatency measures from the cause to the reader.
func TestEventLatency(t *testing.T) {
	s := newTestServer(t, nil)
	stream := openStream(t, overHTTP(t, s)+"/api/v1/events?types=router.created")
	stream.must(t)
	var delays []time.Duration
	for n := range 200 {
		start := time.Now()
		putRouter(t, s, fmt.Sprint("r", n))
		delays = append(delays, stream.must(t).at.Sub(start))
	}
	slices.Sort(delays)
	t.Logf("from cause to reader: median %v, p99 %v, longest %v of %d", delays[100], delays[197], delays[199], len(delays))
	require.Less(t, delays[197], 50*time.Millisecond, "p99")
}

func TestEventsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/events.md")
	require.NoError(t, err)
	for _, name := range append(slices.Clone(eventTypes), eventLost) {
		assert.Contains(t, string(text), "| `"+string(name)+"` |")
	}
	for _, reason := range []string{lostExpired, lostUnknown, lostOverflow, lostSlow} {
		assert.Contains(t, string(text), "`"+reason+"`")
	}
}
