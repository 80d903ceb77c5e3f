package bench

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rheomesh/sfu"
)

// helperEnv makes this test binary run as one of the processes that a bench starts.
const helperEnv = "RHEOMESH_BENCH_HELPER"

func init() {
	switch os.Getenv(helperEnv) {
	case "serve":
		os.Exit(helperServe())
	case "silent":
		os.Exit(0)
	case "floor":
		if err := RunFloor(context.Background(), os.Stdin); err != nil {
			println(err.Error())
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// helper is the command line that runs this binary as a helper.
func helper(t *testing.T, role string) []string {
	t.Helper()
	program, err := os.Executable()
	require.NoError(t, err)
	return []string{"/usr/bin/env", helperEnv + "=" + role, program}
}

// helperServe is a server process: it prints its URLs and runs until SIGTERM.
func helperServe() int {
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	node, err := sfu.NewNode(sfu.Config{MediaAddr: "127.0.0.1:0"})
	if err != nil {
		return 1
	}
	if _, _, err := node.PutRouter("live", sfu.RouterConfig{}); err != nil {
		return 1
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 1
	}
	server := http.Server{Handler: (&testServer{node: node, sessions: map[string]*sfu.Session{}}).handler()}
	go func() { _ = server.Serve(listener) }()
	_, _ = os.Stdout.WriteString("some server\nWHIP     http://" + listener.Addr().String() + "/whip/live/{name}\nmore\n")
	<-stop.Done()
	_ = server.Close()
	_ = node.Close()
	return 0
}

// testServer is the least WHIP and WHEP over an sfu.Node.
type testServer struct {
	node     *sfu.Node
	mu       sync.Mutex // guards sessions
	sessions map[string]*sfu.Session
}

func newTestServer(t *testing.T, change ...func(*sfu.Config)) (server *testServer, base string) {
	t.Helper()
	config := sfu.Config{MediaAddr: "127.0.0.1:0"}
	for _, c := range change {
		c(&config)
	}
	node, err := sfu.NewNode(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, node.Close()) })
	_, _, err = node.PutRouter("live", sfu.RouterConfig{})
	require.NoError(t, err)
	s := &testServer{node: node, sessions: map[string]*sfu.Session{}}
	h := httptest.NewServer(s.handler())
	t.Cleanup(h.Close)
	return s, h.URL
}

func (s *testServer) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /whip/{router}/{publisher}", s.join)
	mux.HandleFunc("POST /whep/{router}/{publisher}", s.join)
	mux.HandleFunc("DELETE /session/{id}", s.leave)
	return mux
}

func (s *testServer) join(w http.ResponseWriter, r *http.Request) {
	body := make([]byte, 64<<10)
	n, _ := r.Body.Read(body)
	router, err := s.node.Router(sfu.RouterID(r.PathValue("router")))
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	var session *sfu.Session
	publisher, ip := sfu.PublisherID(r.PathValue("publisher")), netip.MustParseAddr("127.0.0.1")
	if r.URL.Path[:6] == "/whip/" {
		session, err = router.Publish(sfu.PublishRequest{Publisher: publisher, Offer: body[:n], ClientIP: ip})
	} else {
		session, err = router.Subscribe(sfu.SubscribeRequest{Publisher: publisher, Offer: body[:n], ClientIP: ip})
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	id := string(session.ID())
	s.mu.Lock()
	s.sessions[id] = session
	s.mu.Unlock()
	w.Header().Set("Location", "/session/"+id)
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write([]byte(session.Description()))
}

func (s *testServer) leave(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	session := s.sessions[r.PathValue("id")]
	delete(s.sessions, r.PathValue("id"))
	s.mu.Unlock()
	if session == nil {
		http.NotFound(w, r)
		return
	}
	session.Close(sfu.CloseDeleted)
}

// quick is a configuration for tests: short, and small.
func quick(base string) Config {
	c := DefaultConfig()
	c.WHIP, c.WHEP = base+"/whip/live/cam{n}", base+"/whep/live/cam{n}"
	c.PID, c.Viewers, c.Window, c.Settle = os.Getpid(), 3, 700*time.Millisecond, 50*time.Millisecond
	c.Stream.GOP = 500 * time.Millisecond
	return c
}
