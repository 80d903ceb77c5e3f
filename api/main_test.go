package api

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"rheomesh/relay"
	"rheomesh/sfu"
)

func TestMain(m *testing.M) {
	// net/http lingers for half a second after it refused a request, and nothing waits for that
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

var loopback = netip.MustParseAddrPort("127.0.0.1:8080")

// newTestServer serves a node of its own with the router "live"; change may alter the configuration.
func newTestServer(t *testing.T, change func(*Config)) *Server {
	t.Helper()
	node, err := sfu.NewNode(sfu.Config{ID: "node-1", Version: "test", MediaAddr: "127.0.0.1:0", Limits: sfu.Limits{MaxSessions: 7}})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, node.Close()) })
	_, _, err = node.PutRouter("live", sfu.RouterConfig{})
	require.NoError(t, err)
	relays, err := relay.Listen(relay.Config{Media: node, Addr: "127.0.0.1:0"})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, relays.Close()) })
	cfg := Config{
		Node: node, Relay: relays, Addr: loopback, Logger: slog.New(slog.DiscardHandler),
		Listeners: []Listener{{Name: "http", Network: "tcp", Addr: loopback}},
	}
	if change != nil {
		change(&cfg)
	}
	return New(cfg)
}

// request is one call of a table; header values alternate name and value.
type request struct {
	method, path, body string
	header             []string
}

func (s *Server) do(r request) *httptest.ResponseRecorder {
	var body io.Reader = http.NoBody // a nil reader would read as an unknown length
	if r.body != "" {
		body = strings.NewReader(r.body)
	}
	req := httptest.NewRequest(r.method, "http://127.0.0.1:8080"+r.path, body)
	if r.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(r.header); i += 2 {
		if r.header[i] == "Host" {
			req.Host = r.header[i+1]
		}
		req.Header.Set(r.header[i], r.header[i+1])
	}
	recorder := httptest.NewRecorder()
	s.Handler().ServeHTTP(recorder, req)
	return recorder
}

// requireProblem checks the invariants of every problem document and returns it.
func requireProblem(t *testing.T, recorder *httptest.ResponseRecorder, status int, cause string) Problem {
	t.Helper()
	require.Equal(t, status, recorder.Code, recorder.Body)
	require.Equal(t, "application/problem+json", recorder.Header().Get("Content-Type"))
	var p Problem
	require.NoError(t, json.Unmarshal(recorder.Body.Bytes(), &p))
	assert.Equal(t, "urn:rheomesh:problem:"+cause, p.Type)
	assert.Equal(t, status, p.Status)
	assert.NotEmpty(t, p.Title)
	assert.NotEmpty(t, p.Instance)
	assert.NotEmpty(t, recorder.Header().Get("X-Request-Id"))
	return p
}

// try sends what needs no more than a credential to get past authorization. Streams end at once.
func (s *Server) try(method, pattern, credential string) *httptest.ResponseRecorder {
	path := strings.NewReplacer("{router}", "live", "{publisher}", "cam", "{subscriber}", "s1", "{session}", "unknown", "{stream}", "unknown",
		"{webhook}", "w1").Replace(pattern)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r := httptest.NewRequestWithContext(ctx, method, "http://127.0.0.1:8080"+path, strings.NewReader("{}"))
	r.RemoteAddr = "127.0.0.1:4711"
	r.Header.Set("Content-Type", "application/json")
	if strings.HasPrefix(path, "/wh") && method == http.MethodPost {
		r.Header.Set("Content-Type", "application/sdp")
	}
	if credential != "" {
		r.Header.Set("Authorization", "Bearer "+credential)
	}
	recorder := httptest.NewRecorder()
	s.Handler().ServeHTTP(recorder, r)
	return recorder
}
