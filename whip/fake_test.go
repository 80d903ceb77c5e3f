package whip

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"rheomesh/internal/sdpfrag"
	"rheomesh/sfu"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeNode is a backend without media. It has one router, "live", which accepts any offer that starts
// with "v=0" and does not contain "unacceptable".
type fakeNode struct {
	feed chan sfu.Event

	mu       sync.Mutex
	refusal  error // what the next sessions are refused with
	draining bool
	live     bool
	viewers  int
	created  []*fakeSession
	publish  sfu.PublishRequest   // the last one
	play     sfu.SubscribeRequest // the last one
}

func newFakeNode() *fakeNode { return &fakeNode{feed: make(chan sfu.Event, 16)} }

func (n *fakeNode) set(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
}

func (n *fakeNode) Draining() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.draining
}

func (n *fakeNode) router(id sfu.RouterID) (mediaRouter, error) {
	if id != "live" && id != "http-room" {
		return nil, sfu.ErrRouterNotFound
	}
	return fakeRouter{n}, nil
}

func (n *fakeNode) audience(sfu.RouterID, sfu.PublisherID) (live bool, subscribers int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.live, n.viewers
}

func (n *fakeNode) listen(match func(sfu.Event) bool) (feed <-chan sfu.Event, stop func()) {
	return n.feed, func() {}
}

// last is the session created last.
func (n *fakeNode) last() *fakeSession {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.created[len(n.created)-1]
}

type fakeRouter struct{ node *fakeNode }

func (r fakeRouter) publish(req sfu.PublishRequest) (mediaSession, error) {
	r.node.set(func() { r.node.publish = req })
	return r.session(req.Offer, "answer")
}

func (r fakeRouter) subscribe(req sfu.SubscribeRequest) (mediaSession, error) {
	r.node.set(func() { r.node.play = req })
	if live, _ := r.node.audience("", ""); req.RequireLive && !live {
		return nil, sfu.ErrPublisherAbsent
	}
	return r.session(req.Offer, "answer")
}

func (r fakeRouter) offerSubscription(sfu.SubscribeRequest) (mediaSession, error) {
	return r.session([]byte("v=0"), "offer")
}

func (r fakeRouter) session(offer []byte, kind string) (mediaSession, error) {
	switch {
	case !strings.HasPrefix(string(offer), "v=0"):
		return nil, sfu.ErrOfferInvalid
	case strings.Contains(string(offer), "unacceptable"):
		return nil, sfu.ErrOfferUnacceptable
	}
	n := r.node
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.refusal != nil {
		return nil, n.refusal
	}
	s := &fakeSession{id: sfu.SessionID(fmt.Sprintf("session-%d", len(n.created))), kind: kind, ufrag: "first", done: make(chan struct{})}
	s.awaiting = kind == "offer"
	n.created = append(n.created, s)
	return s, nil
}

// fakeSession records what is done to it.
type fakeSession struct {
	id   sfu.SessionID
	kind string
	done chan struct{}

	mu         sync.Mutex
	ufrag      string
	restarts   int
	candidates []string
	awaiting   bool
	closed     sfu.CloseReason
	selection  sfu.LayerSelection
	layers     map[int][]sfu.LayerInfo
	busy       bool
	overlaps   int           // PATCHes that ran side by side
	hold       chan struct{} // AddCandidates waits for it, if set
}

func (s *fakeSession) ID() sfu.SessionID     { return s.id }
func (s *fakeSession) Description() string   { return "v=0\r\ns=" + s.kind + "\r\n" }
func (s *fakeSession) Done() <-chan struct{} { return s.done }

func (s *fakeSession) ETag() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintf("%s-%d", s.id, s.restarts)
}

func (s *fakeSession) RemoteUfrag() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ufrag
}

func (s *fakeSession) AddCandidates(f sdpfrag.Fragment) error {
	s.mu.Lock()
	if s.awaiting {
		s.mu.Unlock()
		return sfu.ErrSessionState
	}
	if s.busy {
		s.overlaps++
	}
	s.busy = true
	hold := s.hold
	s.candidates = append(s.candidates, f.Candidates...)
	s.mu.Unlock()
	if hold != nil {
		<-hold
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = false
	return nil
}

func (s *fakeSession) RestartICE(f sdpfrag.Fragment) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.Pwd == "" {
		return "", sfu.ErrFragmentUnacceptable
	}
	s.ufrag = f.Ufrag
	s.restarts++
	return "a=ice-ufrag:server\r\na=ice-pwd:serverpassword0123456789\r\n", nil
}

func (s *fakeSession) Accept(answer []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.awaiting {
		return sfu.ErrSessionState
	}
	if !strings.HasPrefix(string(answer), "v=0") {
		return sfu.ErrOfferInvalid
	}
	s.awaiting = false
	return nil
}

func (s *fakeSession) AwaitingAnswer() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.awaiting
}

func (s *fakeSession) Close(reason sfu.CloseReason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed == "" {
		s.closed = reason
		close(s.done)
	}
}

func (s *fakeSession) Closed() (sfu.CloseReason, bool) {
	reason := s.reason()
	return reason, reason != ""
}

func (s *fakeSession) SelectLayer(selection sfu.LayerSelection) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if selection.RID == "missing" {
		return sfu.ErrLayerNotFound
	}
	s.selection = selection
	return nil
}

func (s *fakeSession) Layers() map[int][]sfu.LayerInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.layers
}

// MediaIndex knows an audio section 0 with mid "a" and a video section 1 with mid "video0".
func (s *fakeSession) MediaIndex(mediaID string) (index int, kind string, ok bool) {
	switch mediaID {
	case "0", "a":
		return 0, "audio", true
	case "1", "video0":
		return 1, "video", true
	}
	return 0, "", false
}

func (s *fakeSession) reason() sfu.CloseReason {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// server is a handler behind echo with the error mapping of the tests.
type server struct {
	t       *testing.T
	node    *fakeNode
	handler *Handler
	echo    *echo.Echo
}

func newServer(t *testing.T, cfg Config) *server {
	t.Helper()
	n := newFakeNode()
	h, err := newHandler(cfg, n)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	return &server{t, n, h, newEcho(h.Register)}
}

func newEcho(register func(Registrar)) *echo.Echo {
	e := echo.New()
	e.HTTPErrorHandler = mapError
	register(e)
	return e
}

// statuses is the mapping that errors.go documents.
var statuses = []struct {
	err    error
	status int
}{
	{ErrUnauthorized, 401},
	{ErrForbidden, 403},
	{ErrMediaType, 415},
	{ErrBodyTooLarge, 413},
	{ErrBodyInvalid, 400},
	{ErrPreconditionFailed, 412},
	{ErrPreconditionRequired, 428},
	{ErrMethodNotAllowed, 405},
	{ErrStreamNotFound, 404},
	{ErrStreamLimit, 429},
	{ErrTooManyRequests, 429},
	{sfu.ErrRouterNotFound, 404},
	{sfu.ErrSessionNotFound, 404},
	{sfu.ErrLayerNotFound, 404},
	{sfu.ErrIDInvalid, 400},
	{sfu.ErrOfferInvalid, 400},
	{sfu.ErrOfferUnacceptable, 422},
	{sfu.ErrFragmentInvalid, 400},
	{sfu.ErrFragmentUnacceptable, 422},
	{sfu.ErrPublisherLive, 409},
	{sfu.ErrPublisherAbsent, 409},
	{sfu.ErrCapacity, 503},
	{sfu.ErrRateLimited, 429},
	{sfu.ErrDraining, 503},
	{sfu.ErrSessionState, 409},
}

func mapError(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	maps.Copy(c.Response().Header(), ErrorHeader(err))
	status := http.StatusInternalServerError
	if httpErr, ok := errors.AsType[*echo.HTTPError](err); ok {
		status = httpErr.Code
	}
	for _, row := range statuses {
		if errors.Is(err, row.err) {
			status = row.status
		}
	}
	c.Response().Header().Set(echo.HeaderContentType, "application/problem+json")
	c.Response().WriteHeader(status)
	fmt.Fprintf(c.Response(), `{"status":%d,"detail":%q}`, status, err)
}

// do sends a request. Headers are "Key: value" lines.
func (s *server) do(method, target, body string, headers ...string) *httptest.ResponseRecorder {
	s.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for _, line := range headers {
		key, value, _ := strings.Cut(line, ": ")
		r.Header.Add(key, value)
	}
	w := httptest.NewRecorder()
	s.echo.ServeHTTP(w, r)
	return w
}

const (
	offerBody  = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\n"
	sdpHeader  = "Content-Type: application/sdp"
	fragHeader = "Content-Type: application/trickle-ice-sdpfrag"
	jsonHeader = "Content-Type: application/json"
	trickle    = "a=candidate:1 1 UDP 2130706431 192.0.2.1 4000 typ host\r\n"
	restart    = "a=ice-ufrag:second\r\na=ice-pwd:secondpassword0123456789\r\n"
)

// created POSTs an offer to endpoint and returns the session URL.
func (s *server) created(endpoint string) (location, etag string) {
	s.t.Helper()
	w := s.do(http.MethodPost, endpoint, offerBody, sdpHeader)
	require.Equal(s.t, http.StatusCreated, w.Code, w.Body.String())
	return w.Header().Get("Location"), w.Header().Get("ETag")
}

// tokens is an Authorize function that knows the bearer tokens "good" and "other".
func tokens(r *http.Request, action, router, _ string) error {
	switch r.Header.Get("Authorization") {
	case "Bearer good":
		return nil
	case "Bearer other":
		return fmt.Errorf("token other: %w", ErrForbidden)
	}
	return ErrUnauthorized
}

var testIP = netip.MustParseAddr("192.0.2.1") // of httptest.NewRequest

var testNow = time.Unix(1_000_000, 0)

func testAddr(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}

var addr6 = netip.MustParseAddr("2001:db8::1")

// testAddr6 is another address of the same /64 each time.
func testAddr6() netip.Addr {
	addr6 = addr6.Next()
	return addr6
}
