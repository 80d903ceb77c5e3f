package api

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestNode(t *testing.T) {
	s := newTestServer(t, nil)
	recorder := s.do(request{method: "GET", path: "/api/v1/node"})
	require.Equal(t, 200, recorder.Code)
	var v nodeView
	require.NoError(t, json.Unmarshal(recorder.Body.Bytes(), &v))
	assert.Equal(t, s.cfg.Node.ID(), v.ID)
	assert.Equal(t, "test", v.Version)
	assert.WithinDuration(t, time.Now(), v.StartedAt, time.Minute)
	require.GreaterOrEqual(t, len(v.Listeners), 2)
	assert.Equal(t, "http", v.Listeners[0].Name)
	assert.Equal(t, loopback, v.Listeners[0].Addr)
	assert.Equal(t, "media", v.Listeners[1].Name)
	assert.NotZero(t, v.Listeners[1].Addr.Port())
	assert.Equal(t, 7, v.Limits.MaxSessions)
	assert.Equal(t, 1, v.Load.Routers)
	assert.False(t, v.Draining)
}

func TestDrain(t *testing.T) {
	s := newTestServer(t, nil)
	assert.Equal(t, 200, s.do(request{method: "GET", path: "/readyz"}).Code)
	assert.Equal(t, 204, s.do(request{method: "PUT", path: "/api/v1/node/drain"}).Code)
	notReady := s.do(request{method: "GET", path: "/readyz"})
	requireProblem(t, notReady, 503, "draining")
	assert.NotEmpty(t, notReady.Header().Get("Retry-After"))
	assert.Equal(t, 200, s.do(request{method: "GET", path: "/healthz"}).Code, "a draining process is healthy")
	assert.Contains(t, s.do(request{method: "GET", path: "/api/v1/node"}).Body.String(), `"draining":true`)
	assert.Equal(t, 204, s.do(request{method: "DELETE", path: "/api/v1/node/drain"}).Code)
	assert.Equal(t, 200, s.do(request{method: "GET", path: "/readyz"}).Code)
}

func TestForwardingHeadersAreIgnored(t *testing.T) {
	var seen string
	s := newTestServer(t, func(cfg *Config) {
		cfg.Mount = func(e *echo.Echo) {
			e.GET("/ip", func(c echo.Context) error { seen = c.RealIP(); return c.NoContent(204) })
		}
	})
	s.do(request{method: "GET", path: "/ip", header: []string{"X-Forwarded-For", "203.0.113.9", "X-Real-Ip", "203.0.113.9"}})
	assert.Equal(t, "192.0.2.1", seen, "httptest's remote address")
}

func TestRequestIDIsOurs(t *testing.T) {
	s := newTestServer(t, nil)
	first := s.do(request{method: "GET", path: "/healthz", header: []string{"X-Request-Id", "forged"}}).Header().Get("X-Request-Id")
	second := s.do(request{method: "GET", path: "/healthz"}).Header().Get("X-Request-Id")
	assert.Len(t, first, 26)
	assert.NotEqual(t, first, second)
}

func TestAccessLogHidesTheSession(t *testing.T) {
	var log bytes.Buffer
	s := newTestServer(t, func(cfg *Config) {
		cfg.Logger = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		cfg.Mount = func(e *echo.Echo) {
			e.GET("/whip/:router/:publisher/:session", func(c echo.Context) error { return c.NoContent(204) })
		}
	})
	s.do(request{method: "GET", path: "/whip/live/cam/CAPABILITY?token=QUERYSECRET", header: []string{"Authorization", "Bearer HEADERSECRET"}})
	assert.Contains(t, log.String(), `"route":"/whip/:router/:publisher/:session"`)
	assert.Contains(t, log.String(), `"publisher_id":"cam"`)
	for _, secret := range []string{"CAPABILITY", "QUERYSECRET", "HEADERSECRET"} {
		assert.NotContains(t, log.String(), secret)
	}
}

func TestPanicEndsTheProcess(t *testing.T) {
	var log bytes.Buffer
	var crashed any
	s := newTestServer(t, func(cfg *Config) {
		cfg.Logger = slog.New(slog.NewJSONHandler(&log, nil))
		cfg.Crash = func(value any) { crashed = value }
		cfg.Mount = func(e *echo.Echo) {
			e.GET("/panic", func(echo.Context) error { panic("our bug") })
			e.GET("/abort", func(echo.Context) error { panic(http.ErrAbortHandler) })
		}
	})
	s.do(request{method: "GET", path: "/panic"})
	assert.Equal(t, "our bug", crashed)
	assert.Contains(t, log.String(), "our bug")
	assert.Contains(t, log.String(), "TestPanicEndsTheProcess", "the stack")

	crashed = nil
	assert.PanicsWithValue(t, http.ErrAbortHandler, func() { s.do(request{method: "GET", path: "/abort"}) })
	assert.Nil(t, crashed)
}

// serve starts s on a free loopback port behind the connection limits.
func serve(t *testing.T, s *Server, perAddress, total int) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.connections.set(perAddress, total)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // a test's connections may stay open on purpose
		assert.NoError(t, s.Close(ctx))
		assert.NoError(t, <-done)
	})
	return l.Addr().String()
}

func TestConnectionLimit(t *testing.T) {
	for _, row := range []struct {
		name              string
		perAddress, total int
	}{{"per address", 3, 100}, {"total", 100, 3}} {
		t.Run(row.name, func(t *testing.T) {
			addr := serve(t, newTestServer(t, nil), row.perAddress, row.total)
			var open []net.Conn
			for range 3 {
				conn, status := get(t, addr)
				assert.Equal(t, "HTTP/1.1 200 OK", status)
				open = append(open, conn)
			}
			beyond, status := get(t, addr)
			assert.Empty(t, status, "one beyond the limit is closed without an answer")
			require.NoError(t, beyond.Close())

			require.NoError(t, open[0].Close())
			require.Eventually(t, func() bool { // the server learns of the close in its own time
				conn, status := get(t, addr)
				defer conn.Close()
				return status == "HTTP/1.1 200 OK"
			}, 5*time.Second, 10*time.Millisecond)
			require.NoError(t, open[1].Close())
			require.NoError(t, open[2].Close())
		})
	}
}

// get sends one request on a connection of its own and returns the status line, or "" when there was none.
func get(t *testing.T, addr string) (net.Conn, string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	require.NoError(t, conn.SetDeadline(time.Now().Add(5*time.Second)))
	_, _ = io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
	buffer := make([]byte, 1024)
	n, _ := conn.Read(buffer)
	line, _, _ := strings.Cut(string(buffer[:n]), "\r\n")
	return conn, line
}

// TestLimitSurvivesChurn opens and closes more connections than the limit, so that a lost release would show.
func TestLimitSurvivesChurn(t *testing.T) {
	addr := serve(t, newTestServer(t, nil), 2, 2)
	served := 0
	for range 50 {
		conn, status := get(t, addr)
		if status != "" {
			served++
		}
		require.NoError(t, conn.Close())
		require.Eventually(t, func() bool { conn, status := get(t, addr); conn.Close(); return status != "" }, 5*time.Second, time.Millisecond)
	}
	assert.Positive(t, served)
}

func TestTooLargeHeader(t *testing.T) {
	addr := serve(t, newTestServer(t, nil), 10, 10)
	r, err := http.NewRequest(http.MethodGet, "http://"+addr+"/healthz", nil)
	require.NoError(t, err)
	r.Header.Set("X-Large", strings.Repeat("x", 32<<10))
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	assert.Equal(t, http.StatusRequestHeaderFieldsTooLarge, response.StatusCode)
}

// deadlineRecorder notes the write deadline that a middleware sets.
type deadlineRecorder struct {
	*httptest.ResponseRecorder
	deadline time.Time
}

func (r *deadlineRecorder) SetWriteDeadline(deadline time.Time) error {
	r.deadline = deadline
	return nil
}

func TestWriteDeadline(t *testing.T) {
	for _, row := range []struct {
		name, accept string
		want         bool
	}{{"request", "*/*", true}, {"event stream", "text/event-stream", false}} {
		t.Run(row.name, func(t *testing.T) {
			recorder := &deadlineRecorder{ResponseRecorder: httptest.NewRecorder()}
			r := httptest.NewRequest("GET", "/healthz", nil)
			r.Header.Set("Accept", row.accept)
			newTestServer(t, nil).Handler().ServeHTTP(recorder, r)
			assert.Equal(t, row.want, !recorder.deadline.IsZero())
		})
	}
}

func TestServerTimeouts(t *testing.T) {
	s := newTestServer(t, nil)
	assert.Equal(t, 5*time.Second, s.http.ReadHeaderTimeout)
	assert.Equal(t, 10*time.Second, s.http.ReadTimeout)
	assert.Equal(t, 60*time.Second, s.http.IdleTimeout)
	assert.Equal(t, 16<<10, s.http.MaxHeaderBytes)
	assert.Zero(t, s.http.WriteTimeout, "would cut event streams")
}
