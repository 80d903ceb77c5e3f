package whip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"

	"github.com/labstack/echo/v4"

	"rheomesh/sfu"
)

// Actions that Config.Authorize is asked about.
const (
	ActionPublish = "publish" // WHIP
	ActionPlay    = "play"    // WHEP
	ActionData    = "data"    // WHEP: send data messages to the publisher too
)

// AbsencePolicy says what a player gets whose publisher is not live.
type AbsencePolicy int

// AbsenceWait answers 201 and the player waits; AbsenceConflict answers 409 with Retry-After.
const (
	AbsenceWait AbsencePolicy = iota
	AbsenceConflict
)

// Config says how WHIP and WHEP are served. Node is required, every other zero value is the default.
type Config struct {
	Node *sfu.Node
	// PublicURL is the URL under which clients reach the root of the routes, such as
	// "https://sfu.example.org". Set, it makes Location and Link absolute; empty, they are absolute paths.
	PublicURL string
	// StrictETag demands If-Match on PATCH (428 without) and compares it by RFC 9110 §13.1.1 alone.
	StrictETag bool
	// OnConflict is what a second publisher of a live name does: replace it or be refused with 409.
	OnConflict sfu.ConflictPolicy
	// WithoutPublisher is what a player gets when nobody publishes.
	WithoutPublisher AbsencePolicy
	// CounterOffer allows 406 with an offer of ours to a player whose own offer cannot be used, if that
	// player asks for it by "Accept: application/sdp".
	CounterOffer bool
	// ICEServers are named to clients in Link lines.
	ICEServers []ICEServer
	// Authorize decides whether the Authorization header of r grants action on a publisher of router. It returns
	// nil, ErrUnauthorized or ErrForbidden, possibly wrapped. A nil function allows everything. Header
	// values of careless clients are put right before the call: "Bearer undefined" is no header, and a
	// bare key is a bearer token.
	Authorize func(r *http.Request, action, router, publisher string) error
	// Admit has the last word on a client that Authorize permits to publish or to play. Its error refuses the POST. A nil
	// function admits everybody.
	Admit func(ctx context.Context, a Attempt) error
	// Middleware runs around every method but OPTIONS, inside of what answers browsers' cross-origin checks, so that
	// pages can read a refusal of its. nil is none.
	Middleware echo.MiddlewareFunc
	// Logger gets debug lines only; nil discards them. What failed is in the returned error.
	Logger *slog.Logger
}

// Handler serves the endpoints and sessions of one node. It is safe for concurrent use. Close it when
// the HTTP server begins to shut down, which otherwise waits for the readers of event streams.
type Handler struct {
	cfg      Config
	node     backend
	log      *slog.Logger
	iceLinks []string // ready Link values
	sessions registry
	misses   missLimiter
	events   hub

	stop    chan struct{} // closed by Close
	stopped sync.Once
	running sync.WaitGroup // the event loop
}

// New checks cfg and starts the loop that feeds event streams and forgets ended sessions. Close ends it.
func New(cfg Config) (*Handler, error) {
	if cfg.Node == nil {
		return nil, errors.New("whip: no node")
	}
	return newHandler(cfg, node{cfg.Node})
}

func newHandler(cfg Config, b backend) (*Handler, error) {
	base, err := publicBase(cfg.PublicURL)
	if err != nil {
		return nil, fmt.Errorf("whip: public URL %q: %w", cfg.PublicURL, err)
	}
	cfg.PublicURL = base
	h := &Handler{cfg: cfg, node: b, log: cfg.Logger, stop: make(chan struct{})}
	for _, server := range cfg.ICEServers {
		link, err := server.link()
		if err != nil {
			return nil, fmt.Errorf("whip: ICE server %q: %w", server.URL, err)
		}
		h.iceLinks = append(h.iceLinks, link)
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	h.events.node = b
	h.running.Go(h.run)
	return h, nil
}

// Close ends every event stream and waits for the loop. Sessions live on in the node. It may be called twice.
func (h *Handler) Close() error {
	h.stopped.Do(func() { close(h.stop) })
	h.running.Wait()
	return nil
}

// publicBase checks a public URL and strips its trailing slash.
func publicBase(raw string) (string, error) {
	if raw == "" {
		return "", nil
	}
	u, err := url.Parse(raw)
	if err != nil {
		return "", err
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return "", errors.New("not an absolute http or https URL")
	}
	if u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return "", errors.New("has a query, fragment or user")
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// Registrar takes routes; *echo.Echo and *echo.Group are ones.
type Registrar interface {
	Add(method, path string, handler echo.HandlerFunc, middleware ...echo.MiddlewareFunc) *echo.Route
}

// resource is one URL pattern and what may be done with it.
type resource struct {
	path       string
	role       sfu.Role
	endpoint   bool   // takes the first POST, so its OPTIONS may name ICE servers
	acceptPost string // media type of a POST, "" if there is none
	methods    []method
}

type method struct {
	name   string
	handle echo.HandlerFunc
}

// Register adds every route below r. On a group, Location keeps the prefix of the group.
func (h *Handler) Register(r Registrar) {
	for _, res := range h.resources() {
		for _, m := range res.methods {
			handle := m.handle
			if h.cfg.Middleware != nil {
				handle = h.cfg.Middleware(handle)
			}
			r.Add(m.name, res.path, allowOrigins(handle))
		}
		r.Add(http.MethodOptions, res.path, allowOrigins(h.options(res)))
		// This route stands for all methods that are not listed above.
		r.Add(echo.RouteNotFound, res.path, allowOrigins(methodNotAllowed(res)))
	}
}

func (h *Handler) resources() []resource {
	const get, head, post, patch, del = http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPatch, http.MethodDelete
	const publish, subscribe = sfu.RolePublish, sfu.RoleSubscribe
	return []resource{
		{"/whip/:router/:publisher", publish, true, typeSDP, []method{
			{get, h.probe(publish, http.StatusNoContent)}, {head, h.probe(publish, http.StatusNoContent)}, {post, h.publish},
		}},
		{"/whep/:router/:publisher", subscribe, true, typeSDP, []method{
			{get, h.probe(subscribe, http.StatusNoContent)}, {head, h.probe(subscribe, http.StatusOK)}, {post, h.subscribe},
		}},
		{"/whip/:router/:publisher/:session", publish, false, "", []method{
			{get, h.inspect(publish)}, {head, h.inspect(publish)}, {patch, h.patch(publish)}, {del, h.remove(publish)},
		}},
		{"/whep/:router/:publisher/:session", subscribe, false, "", []method{
			{get, h.inspect(subscribe)}, {head, h.inspect(subscribe)}, {patch, h.patch(subscribe)}, {del, h.remove(subscribe)},
		}},
		{"/whep/:router/:publisher/:session/sse", subscribe, false, typeJSON, []method{{post, h.createStream}}},
		{"/whep/:router/:publisher/:session/sse/:stream", subscribe, false, "", []method{{get, h.readStream}, {del, h.removeStream}}},
		{"/whep/:router/:publisher/:session/layer", subscribe, false, typeJSON, []method{
			{get, h.showLayers}, {post, h.selectLayer}, {del, h.resetLayer},
		}},
	}
}

// allow is the value of the Allow header.
func (res resource) allow() string {
	names := []string{http.MethodOptions}
	for _, m := range res.methods {
		names = append(names, m.name)
	}
	return strings.Join(names, ", ")
}

func methodNotAllowed(res resource) echo.HandlerFunc {
	allow := res.allow()
	return func(c echo.Context) error {
		return withHeader(fmt.Errorf("%s: %w", c.Request().Method, ErrMethodNotAllowed), "Allow", allow)
	}
}

func action(role sfu.Role) string {
	if role == sfu.RolePublish {
		return ActionPublish
	}
	return ActionPlay
}

// clientIP is the address of the client. Forwarding headers count only if the server has set an
// extractor, which is where trusted proxies are configured; echo's own default would believe anybody.
func clientIP(c echo.Context) netip.Addr {
	if c.Echo().IPExtractor != nil {
		addr, _ := netip.ParseAddr(c.RealIP())
		return addr.Unmap()
	}
	peer, _ := netip.ParseAddrPort(c.Request().RemoteAddr)
	return peer.Addr().Unmap()
}
