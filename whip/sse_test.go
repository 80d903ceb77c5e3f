package whip

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"rheomesh/sfu"
)

func TestHandlerClose(t *testing.T) {
	s := newServer(t, Config{})
	url := s.listenHTTP()
	location, _ := s.created("/whep/live/cam")
	reading := openStream(t, url+s.do(http.MethodPost, location+"/sse", `["active"]`).Header().Get("Location"))
	require.NoError(t, s.handler.Close(), "does not wait for readers")
	reading.ended()
	require.NoError(t, s.handler.Close())
	require.NoError(t, s.handler.Close())
}

// eventStream reads a stream over a real connection.
type eventStream struct {
	t        *testing.T
	response *http.Response
	lines    *bufio.Reader
}

// listenHTTP serves s on a socket.
func (s *server) listenHTTP() string {
	httpServer := httptest.NewUnstartedServer(s.echo)
	httpServer.Config.ReadTimeout, httpServer.Config.WriteTimeout = 200*time.Millisecond, 200*time.Millisecond
	httpServer.Start()
	s.t.Cleanup(func() {
		s.handler.Close() // ends the streams, for which Close of the server waits
		httpServer.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return httpServer.URL
}

func openStream(t *testing.T, url string) *eventStream {
	t.Helper()
	response, err := http.Get(url)
	require.NoError(t, err)
	t.Cleanup(func() { response.Body.Close() })
	require.Equal(t, http.StatusOK, response.StatusCode)
	return &eventStream{t, response, bufio.NewReader(response.Body)}
}

// next is the next message as "event data".
func (e *eventStream) next() string {
	e.t.Helper()
	event, err := e.lines.ReadString('\n')
	require.NoError(e.t, err)
	data, err := e.lines.ReadString('\n')
	require.NoError(e.t, err)
	blank, err := e.lines.ReadString('\n')
	require.NoError(e.t, err)
	require.Equal(e.t, "\n", blank)
	event, data = strings.TrimSpace(event), strings.TrimSpace(data)
	require.True(e.t, strings.HasPrefix(event, "event: "), event)
	require.True(e.t, strings.HasPrefix(data, "data: "), data)
	require.True(e.t, json.Valid([]byte(data[len("data: "):])), data)
	return event[len("event: "):] + " " + data[len("data: "):]
}

// ended reads the end of the stream.
func (e *eventStream) ended() {
	e.t.Helper()
	_, err := e.lines.ReadByte()
	require.Error(e.t, err)
}

func TestEventStreamOverSocket(t *testing.T) {
	s := newServer(t, Config{})
	url := s.listenHTTP()
	location, _ := s.created("/whep/live/cam")
	media := s.node.last()
	media.layers = someLayers
	s.node.set(func() { s.node.live, s.node.viewers = true, 3 })
	stream := s.do(http.MethodPost, location+"/sse", "").Header().Get("Location")

	// Queued while nobody reads.
	first := openStream(t, url+stream)
	assert.Equal(t, "text/event-stream", first.response.Header.Get("Content-Type"))
	assert.Equal(t, "no-cache", first.response.Header.Get("Cache-Control"))
	assert.Equal(t, "no", first.response.Header.Get("X-Accel-Buffering"))
	assert.Equal(t, "*", first.response.Header.Get("Access-Control-Allow-Origin"))
	assert.Equal(t, "active {}", first.next())
	assert.Equal(t, `viewercount {"viewercount":3}`, first.next())
	assert.Equal(t, "layers "+someLayersJSON, first.next())

	// As they come; the interval outlives the server's read and write timeouts.
	media.mu.Lock()
	media.layers = nil
	media.mu.Unlock()
	s.node.set(func() { s.node.viewers = 4 })
	assert.Equal(t, `viewercount {"viewercount":4}`, first.next())
	s.node.set(func() { s.node.live = false })
	s.node.feed <- sfu.Event{Type: sfu.EventPublisherIdle, RouterID: "live", PublisherID: "cam"}
	assert.Equal(t, "inactive {}", first.next())

	// Another reader takes over.
	second := openStream(t, url+stream)
	first.ended()
	s.node.set(func() { s.node.draining = true })
	s.node.feed <- sfu.Event{Type: sfu.EventNodeDraining}
	assert.Equal(t, "reconnect {}", second.next())

	// The stream dies with its session.
	media.Close(sfu.CloseNode)
	second.ended()
	assert.Equal(t, http.StatusNotFound, s.do(http.MethodGet, stream, "").Code)
}

func TestEventStreamDelete(t *testing.T) {
	s := newServer(t, Config{Authorize: tokens})
	url := s.listenHTTP()
	location := s.do(http.MethodPost, "/whep/live/cam", offerBody, sdpHeader, "Authorization: Bearer good").Header().Get("Location")
	stream := s.do(http.MethodPost, location+"/sse", `["active"]`, jsonHeader).Header().Get("Location")
	reading := openStream(t, url+stream)
	assert.Equal(t, http.StatusUnauthorized, s.do(http.MethodDelete, stream, "", "Authorization: Bearer bad").Code)
	assert.Equal(t, http.StatusOK, s.do(http.MethodDelete, stream, "").Code)
	reading.ended()
	assert.Equal(t, http.StatusNotFound, s.do(http.MethodGet, stream, "").Code)
	assert.Equal(t, http.StatusNotFound, s.do(http.MethodDelete, stream, "").Code)
	for range maxStreams {
		assert.Equal(t, http.StatusCreated, s.do(http.MethodPost, location+"/sse", "").Code, "its place is free again")
	}

	// DELETE of the session ends streams too, and leaves nothing behind.
	reading = openStream(t, url+s.handlerStreams()[0])
	assert.Equal(t, http.StatusOK, s.do(http.MethodDelete, location, "").Code)
	for {
		if _, err := reading.lines.ReadString('\n'); err != nil {
			break
		}
	}
	assert.Empty(t, s.handlerStreams())
}

// handlerStreams are the paths of all open streams.
func (s *server) handlerStreams() (paths []string) {
	b := &s.handler.events
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, streams := range b.streams {
		for st := range streams {
			paths = append(paths, st.session.location+"/sse/"+st.id)
		}
	}
	return paths
}

// TestKeepAlive runs on the fake clock, so the stream is read from a recorder after its end.
func TestKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, Config{})
		location, _ := s.created("/whep/live/cam")
		stream := s.do(http.MethodPost, location+"/sse", `["active"]`).Header().Get("Location")
		var reading sync.WaitGroup
		var got string
		reading.Go(func() { got = s.do(http.MethodGet, stream, "").Body.String() })
		time.Sleep(2*keepAliveInterval + time.Second) // of the fake clock
		ended := time.Now()
		s.node.last().Close(sfu.CloseDeleted)
		reading.Wait()
		assert.Zero(t, time.Since(ended), "the stream ends with the session, not with a sweep")
		assert.Equal(t, ": keep-alive\n\n: keep-alive\n\n", got)
		require.NoError(t, s.handler.Close())
	})
}

// TestLayersArePeriodic: every two seconds, and inactive is not the initial event.
func TestLayersArePeriodic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, Config{})
		location, _ := s.created("/whep/live/cam")
		stream := s.do(http.MethodPost, location+"/sse", "").Header().Get("Location")
		var reading sync.WaitGroup
		var got string
		reading.Go(func() { got = s.do(http.MethodGet, stream, "").Body.String() })
		synctest.Wait()
		media := s.node.last()
		media.mu.Lock()
		media.layers = someLayers
		media.mu.Unlock()
		time.Sleep(2*refreshInterval + time.Second) // of the fake clock
		media.Close(sfu.CloseDeleted)
		reading.Wait()
		assert.Equal(t, 2, strings.Count(got, "event: layers"), got)
		assert.NotContains(t, got, "inactive")
		require.NoError(t, s.handler.Close())
	})
}

// TestLostEventsAreMended: liveness is compared at every refresh, events or not.
func TestLostEventsAreMended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, Config{})
		location, _ := s.created("/whep/live/cam")
		stream := s.do(http.MethodPost, location+"/sse", `["active","inactive"]`).Header().Get("Location")
		for _, live := range []bool{true, false} {
			s.node.set(func() { s.node.live = live })
			time.Sleep(refreshInterval + time.Second) // of the fake clock
			synctest.Wait()
		}
		session := s.handler.sessions.find(address{sfu.RoleSubscribe, "live", "cam", s.node.last().id})
		open := s.handler.events.find(session, path.Base(stream))
		assert.Equal(t, []message{{eventActive, "{}"}, {eventInactive, "{}"}}, open.take(open.attach()))
		require.NoError(t, s.handler.Close())
	})
}
