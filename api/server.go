// Package api is the HTTP side of a node: the server with its timeouts and limits, the REST control plane under /api/v1,
// the health checks, and the one table that turns an error into a status and a problem document. WHIP and WHEP (package
// whip) and the page (package console) are mounted here, and share all of that.
//
// A request passes, from outside to inside: the connection limits (listener.go), the http.Server's timeouts, the crash
// handler and the request id (middleware.go), echo's routing, the observer that logs and answers errors, then for
// /api/v1 the guard against foreign pages (guard.go), the bounds on how fast a client may be (throttle.go) and the check
// of the credential (authorize.go), and last the handler of its resource, one file each. Handlers return errors and write only what went well.
package api

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"golang.org/x/time/rate"

	"rheomesh/api/webhook"
	"rheomesh/relay"
	"rheomesh/sfu"
)

// Timeouts and sizes of the HTTP server. They bound what a client that is slow on purpose can hold.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second // header and body
	writeTimeout      = 15 * time.Second // from the header on; streams set deadlines of their own
	idleTimeout       = 60 * time.Second
	maxHeaderBytes    = 16 << 10

	// refusalsPerSecond bounds the log lines about refused requests; a burst of refusalBurst passes.
	refusalsPerSecond = 5
	refusalBurst      = 20
)

// Config configures a Server. Node and Addr are required.
type Config struct {
	Node       *sfu.Node
	Relay      *relay.Node    // nil = a node without relays, and without their resources
	Authorizer *Authorizer    // nil = open to everyone
	Addr       netip.AddrPort // what the server's listener is bound to
	PublicURL  string         // the URL that users reach the node by, if it is not Addr
	Logger     *slog.Logger   // nil = no logs
	Listeners  []Listener     // shown by /api/v1/node, before those of the media port

	TLS *tls.Config // nil = plain HTTP

	// Mount adds the routes of other packages; it gets the node's echo.
	Mount func(*echo.Echo)

	Webhooks        *webhook.Set       // the server closes them; nil = none are kept beyond the process
	Admission       *webhook.Admission // for its metrics; nil = there is none
	MaxEventStreams int                // 0 = 64

	Limits   Limits
	Throttle *Throttle // shared with those who mount routes; the server sets its limits; nil = one of its own

	// Crash ends the process after a handler panicked; nil = panic again where nothing recovers.
	Crash func(value any)
}

// Server serves HTTP for one node. It is safe for concurrent use.
type Server struct {
	cfg  Config
	log  *slog.Logger
	auth *Authorizer
	http *http.Server

	refusalLog       *rate.Limiter
	refusalsUnlogged atomic.Uint64

	limits      atomic.Pointer[Limits] // never nil, without zero fields
	throttle    *Throttle
	connections connectionLimit
	rejected    rejectionCounts

	events   *feed
	streams  chan struct{} // one token per open event stream; its capacity is their limit
	webhooks *webhook.Set
	requests *requestMetrics
	metrics  http.Handler

	// routersMu makes "compare the entity tag, then write" one step for routers.
	routersMu sync.Mutex
}

// New returns a Server. It starts nothing; Serve does.
func New(cfg Config) *Server {
	if cfg.Authorizer == nil {
		cfg.Authorizer = NewAuthorizer(Credentials{})
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Throttle == nil {
		cfg.Throttle = &Throttle{}
	}
	if cfg.Crash == nil {
		cfg.Crash = crash
	}
	s := &Server{
		cfg: cfg, log: cfg.Logger, auth: cfg.Authorizer, throttle: cfg.Throttle, refusalLog: rate.NewLimiter(refusalsPerSecond, refusalBurst),
	}
	s.SetLimits(cfg.Limits)
	s.observeNode()
	s.http = &http.Server{
		Handler:           s.endOnPanic(withRequestID(withDeadlines(s.routes()))),
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		TLSConfig:         cfg.TLS,
		ErrorLog:          slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelDebug), // clients' broken connections
	}
	return s
}

// Handler serves every route, without a listener.
func (s *Server) Handler() http.Handler { return s.http.Handler }

// Serve answers connections of l, within the limits, until Close. It returns nil after Close.
func (s *Server) Serve(l net.Listener) error {
	l = limitedListener{l, &s.connections}
	if s.webhooks.Len() > 0 { // restored ones
		s.events.start()
	}
	serve := s.http.Serve
	if s.cfg.TLS != nil {
		serve = func(l net.Listener) error { return s.http.ServeTLS(l, "", "") } // the certificate is in cfg.TLS
	}
	if err := serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Close stops accepting, lets requests finish until ctx ends, then cuts them off.
// Event streams end at once, and webhooks get what happened until now.
func (s *Server) Close(ctx context.Context) error {
	s.events.close()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = s.http.Close()
	}
	s.webhooks.Close(ctx)
	return err
}

// observeNode makes what watches the node: its event feed, the webhooks and the metrics.
func (s *Server) observeNode() {
	if s.webhooks = s.cfg.Webhooks; s.webhooks == nil {
		s.webhooks = webhook.NewSet(webhook.Config{Logger: s.log})
	}
	limit := s.cfg.MaxEventStreams
	if limit == 0 {
		limit = defaultMaxEventStreams
	}
	s.events, s.streams = newFeed(s.cfg.Node, s.showEvent, s.webhooks.Deliver), make(chan struct{}, limit)
	s.requests = newRequestMetrics()
	s.metrics = s.metricsHandler()
}

func (s *Server) routes() *echo.Echo {
	e := echo.New()
	e.IPExtractor = echo.ExtractIPDirect() // forwarding headers are a client's claim
	e.HTTPErrorHandler = func(err error, c echo.Context) { s.respond(err, c) }
	e.Use(s.requests.middleware, s.observe)

	for _, method := range []string{http.MethodGet, http.MethodHead} {
		e.Add(method, "/healthz", s.healthy)
		e.Add(method, "/readyz", s.ready)
	}
	if s.cfg.Mount != nil {
		s.cfg.Mount(e)
	}
	s.operatorRoutes(e)
	s.documentRoutes(e)
	s.requests.know(e.Routes())
	return e
}

// operatorRoutes lists the control plane. OPTIONS, and the Allow of a 405, are echo's. The middleware hangs on each route:
// that of an echo group answers 404 where 405 is due.
func (s *Server) operatorRoutes(e *echo.Echo) {
	guarded := s.guarded()
	add := func(method, path string, handler echo.HandlerFunc) {
		e.Add(method, "/api/v1"+path, handler, guarded, s.throttle.Middleware, s.identified)
	}
	e.GET("/metrics", s.showMetrics, guarded, s.throttle.Middleware, s.identified)
	get := func(path string, handler echo.HandlerFunc) {
		add(http.MethodGet, path, handler)
		add(http.MethodHead, path, handler)
	}
	get("/node", s.showNode)
	add(http.MethodPut, "/node/drain", s.startDrain)
	add(http.MethodDelete, "/node/drain", s.stopDrain)

	get("/events", s.streamEvents)
	get("/webhooks", s.listWebhooks)
	add(http.MethodPost, "/webhooks", s.createWebhook)
	get("/webhooks/:webhook", s.showWebhook)
	add(http.MethodDelete, "/webhooks/:webhook", s.deleteWebhook)

	get("/routers", s.listRouters)
	add(http.MethodPost, "/routers", s.createRouter)
	get("/routers/:router", s.showRouter)
	add(http.MethodPut, "/routers/:router", s.putRouter)
	add(http.MethodPatch, "/routers/:router", s.patchRouter)
	add(http.MethodDelete, "/routers/:router", s.deleteRouter)

	get("/routers/:router/speakers", s.showSpeakers)

	get("/routers/:router/publishers", s.listPublishers)
	get("/routers/:router/publishers/:publisher", s.showPublisher)
	add(http.MethodDelete, "/routers/:router/publishers/:publisher", s.kickPublisher)

	add(http.MethodPost, "/routers/:router/data", s.sendData)

	if s.cfg.Relay != nil {
		get("/routers/:router/relays", s.listRelays)
		add(http.MethodPost, "/routers/:router/relays", s.createRelay)
		get("/routers/:router/relays/:relay", s.showRelay)
		add(http.MethodPut, "/routers/:router/relays/:relay", s.putRelay)
		add(http.MethodDelete, "/routers/:router/relays/:relay", s.deleteRelay)
		get("/links", s.listLinks)
		get("/links/:link", s.showLink)
		add(http.MethodDelete, "/links/:link", s.deleteLink)
	}

	get("/routers/:router/subscribers", s.listSubscribers)
	get("/routers/:router/subscribers/:subscriber", s.showSubscriber)
	add(http.MethodPatch, "/routers/:router/subscribers/:subscriber", s.patchSubscriber)
	add(http.MethodDelete, "/routers/:router/subscribers/:subscriber", s.kickSubscriber)
}
