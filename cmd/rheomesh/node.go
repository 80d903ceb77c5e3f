package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/labstack/echo/v4"

	"rheomesh/api"
	"rheomesh/api/webhook"
	"rheomesh/config"
	"rheomesh/console"
	"rheomesh/relay"
	"rheomesh/sfu"
	"rheomesh/whip"
)

// closeTimeout is how long HTTP requests may take to finish after the sessions are closed.
const closeTimeout = 2 * time.Second

// node is a running node: the media core and its HTTP server.
type node struct {
	cfg         config.Config
	log         *slog.Logger
	media       *sfu.Node
	relay       *relay.Node
	whip        *whip.Handler
	server      *api.Server
	authorizer  *api.Authorizer
	admission   *webhook.Admission // nil without an admission webhook
	certificate *api.Certificate   // nil without certificate files
	http        api.Listener
	served      chan error // capacity 1; what ended the HTTP server
}

// startNode opens the ports and serves until stop.
func startNode(cfg config.Config, log *slog.Logger) (n *node, err error) {
	listener, err := net.Listen("tcp", cfg.HTTP.Addr)
	if err != nil {
		return nil, fmt.Errorf("http listener: %w", err)
	}
	media, err := newMedia(cfg, log)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	n = &node{cfg: cfg, log: log, media: media, served: make(chan error, 1)}
	if n.relay, err = newRelays(cfg, media, log); err != nil {
		return nil, errors.Join(err, media.Close(), listener.Close())
	}
	n.http = api.Listener{Name: "http", Network: "tcp", Addr: addrPort(listener.Addr()), TLS: cfg.HTTP.TLS.Enabled()}
	if err := n.assemble(); err != nil {
		return nil, errors.Join(err, n.relay.Close(), media.Close(), listener.Close())
	}
	go func() { n.served <- n.server.Serve(listener) }() // ends in stop, which waits for it
	return n, nil
}

func newMedia(cfg config.Config, log *slog.Logger) (*sfu.Node, error) {
	media, err := sfu.NewNode(sfu.Config{
		Version: versionText(), Logger: log, MediaAddr: cfg.Media.Addr, PublicIPs: cfg.Media.PublicIPs,
		ICELite: cfg.Media.ICELite, RetainLastData: cfg.Data.RetainLast, DataDir: cfg.DataDir, Limits: sfuLimits(cfg.Limits),
	})
	if err != nil {
		return nil, err
	}
	for _, id := range cfg.Routers {
		if _, _, err := media.PutRouter(sfu.RouterID(id), sfu.RouterConfig{}); err != nil {
			return nil, errors.Join(fmt.Errorf("router %s: %w", id, err), media.Close())
		}
	}
	return media, nil
}

// newRelays opens the relay listener. When nobody chose its address and another node of this machine has the default port, it takes a free one.
func newRelays(cfg config.Config, media *sfu.Node, log *slog.Logger) (*relay.Node, error) {
	c := relay.Config{
		Media: media, Addr: cfg.Relay.Addr, Secret: cfg.Relay.Secret.Reveal(), PreviousSecret: cfg.Relay.PreviousSecret.Reveal(), AllowedTargets: cfg.Relay.Targets(), DataDir: cfg.DataDir, Logger: log,
		OnChange: func(info relay.Info) { api.AnnounceRelay(media, info) },
	}
	n, err := relay.Listen(c)
	if !errors.Is(err, syscall.EADDRINUSE) || !cfg.Relay.DefaultAddr() {
		return n, err
	}
	host, _, _ := net.SplitHostPort(c.Addr) // a default is well formed
	log.Warn("relay port is taken by another program, using a free one", "addr", c.Addr)
	c.Addr = net.JoinHostPort(host, "0")
	return relay.Listen(c)
}

// assemble makes the HTTP side.
func (n *node) assemble() error {
	tlsConfig, err := n.tlsConfig()
	if err != nil {
		return err
	}
	accepted, err := credentials(n.cfg.Auth, n.log)
	if err != nil {
		return err
	}
	n.authorizer = api.NewAuthorizer(accepted)
	throttle := &api.Throttle{}
	whipConfig := whipConfig(n.cfg)
	whipConfig.Node, whipConfig.Authorize, whipConfig.Middleware, whipConfig.Logger = n.media, n.authorizer.Authorize, throttle.Middleware, n.log
	if n.admission, err = admission(n.cfg.Webhooks, n.log); err != nil {
		accepted.Close()
		return err
	}
	if n.admission != nil {
		whipConfig.Admit = n.admit
	}
	if n.whip, err = whip.New(whipConfig); err != nil {
		accepted.Close()
		return err
	}
	webhooks, err := webhook.Open(webhook.Config{
		Dir: n.cfg.DataDir, Rule: webhook.Rule{AllowPrivate: n.cfg.Webhooks.AllowPrivate}, Limit: n.cfg.Limits.MaxWebhooks, Logger: n.log,
	})
	if err != nil {
		accepted.Close()
		return errors.Join(err, n.whip.Close())
	}
	n.server = api.New(api.Config{
		Webhooks: webhooks, Admission: n.admission, MaxEventStreams: n.cfg.Limits.MaxEventStreams,
		Node: n.media, Relay: n.relay, Authorizer: n.authorizer, Addr: n.http.Addr, PublicURL: n.cfg.HTTP.PublicURL, Logger: n.log,
		Listeners: append([]api.Listener{n.http}, api.RelayListeners(n.relay)...), Limits: httpLimits(n.cfg.Limits), Throttle: throttle, TLS: tlsConfig, Mount: n.mount,
	})
	return nil
}

// tlsConfig is nil for plain HTTP.
func (n *node) tlsConfig() (_ *tls.Config, err error) {
	files := n.cfg.HTTP.TLS
	switch {
	case len(files.ACMEDomains) > 0:
		return api.ACME{Domains: files.ACMEDomains, CacheDir: filepath.Join(n.cfg.DataDir, "acme"), Directory: files.ACMEDirectory}.TLSConfig(), nil
	case files.Enabled():
		if n.certificate, err = api.LoadCertificate(files.CertFile, files.KeyFile, n.log); err != nil {
			return nil, err
		}
		return n.certificate.TLSConfig(), nil
	}
	return nil, nil
}

func (n *node) mount(e *echo.Echo) {
	n.whip.Register(e)
	page := echo.WrapHandler(console.Handler())
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		e.Add(method, "/", page)
		e.Add(method, "/console/*", page)
	}
}

// sessions counts those that a draining node waits for.
func (n *node) sessions() int { return n.media.Stats().Sessions }

// drain refuses new sessions and waits until the present ones are gone, ctx ends, or the grace is over.
func (n *node) drain(ctx context.Context) {
	n.media.SetDraining(true)
	grace := time.NewTimer(n.cfg.Limits.DrainGrace)
	defer grace.Stop()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for n.sessions() > 0 {
		select {
		case <-poll.C:
		case <-grace.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// stop closes everything and waits for it. The sessions go first: with them end the event streams, for which the HTTP
// server would wait otherwise.
func (n *node) stop() error {
	err := errors.Join(n.relay.Close(), n.media.Close())
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	err = errors.Join(err, n.server.Close(ctx), n.whip.Close())
	n.authorizer.Replace(api.Credentials{}).Close()
	if n.admission != nil {
		n.admission.Close()
	}
	return errors.Join(err, <-n.served)
}

// baseURLs are the URLs that reach the HTTP server, the best first.
func (n *node) baseURLs() []string {
	if n.cfg.HTTP.PublicURL != "" {
		return []string{strings.TrimRight(n.cfg.HTTP.PublicURL, "/")}
	}
	scheme := "http://"
	if n.http.TLS {
		scheme = "https://"
	}
	if !n.http.Addr.Addr().IsUnspecified() {
		return []string{scheme + n.http.Addr.String()}
	}
	var urls []string
	for _, ip := range append([]netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}, hostAddresses()...) {
		urls = append(urls, scheme+netip.AddrPortFrom(ip, n.http.Addr.Port()).String())
	}
	return urls
}

// hostAddresses are the IPv4 addresses of this machine that others may reach.
func hostAddresses() (ips []netip.Addr) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil // only fewer lines are printed
	}
	for _, addr := range addrs {
		if prefix, err := netip.ParsePrefix(addr.String()); err == nil && prefix.Addr().Is4() && prefix.Addr().IsGlobalUnicast() {
			ips = append(ips, prefix.Addr())
		}
	}
	return ips
}

func addrPort(addr net.Addr) netip.AddrPort {
	ap := addr.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

func sfuLimits(l config.Limits) sfu.Limits {
	return sfu.Limits{
		MaxSessions: l.MaxSessions, MaxSessionsPerIP: l.MaxSessionsPerIP, MaxHalfOpen: l.MaxHalfOpen, MaxHalfOpenPerIP: l.MaxHalfOpenPerIP, MaxRouters: l.MaxRouters,
		MaxPublishersPerRouter: l.MaxPublishersPerRouter, MaxSubscribersPerRouter: l.MaxSubscribersPerRouter,
		MaxSSRCsPerSession: l.MaxSSRCsPerSession, ConnectTimeout: l.ConnectTimeout, SilenceTimeout: l.SilenceTimeout,
	}
}

func apiKeys(keys []config.APIKey) (converted []api.Key) {
	for _, key := range keys {
		k := api.Key{ID: key.ID, Digest: key.Digest()}
		for _, grant := range key.Grants {
			k.Grants = append(k.Grants, api.Grant{Routers: grant.Routers, Actions: grant.Actions})
		}
		converted = append(converted, k)
	}
	return converted
}

// credentials are what cfg accepts. The caller closes them.
func credentials(cfg config.Auth, log *slog.Logger) (accepted api.Credentials, err error) {
	accepted.Keys = apiKeys(cfg.APIKeys)
	if !cfg.JWT.Enabled() {
		return accepted, nil
	}
	accepted.Tokens, err = api.NewTokenVerifier(api.TokenConfig{
		HS256Secret: []byte(cfg.JWT.HS256Secret.Reveal()), JWKSURL: cfg.JWT.JWKSURL, Issuer: cfg.JWT.Issuer, Audience: cfg.JWT.Audience, Logger: log,
	})
	return accepted, err
}

func httpLimits(l config.Limits) api.Limits {
	return api.Limits{
		MaxJSONBytes: l.MaxJSONBytes, MaxConnections: l.MaxHTTPConnections, MaxConnectionsPerIP: l.MaxHTTPConnectionsPerIP,
		PostsPerSecond: l.PostsPerSecond, PostBurst: l.PostBurst, PostsPerSecondPerIP: l.PostsPerSecondPerIP, PostBurstPerIP: l.PostBurstPerIP,
		FailedCredentialsPerMinutePerIP: l.FailedCredentialsPerIP,
	}
}

// whipConfig is the part that the configuration decides.
func whipConfig(cfg config.Config) whip.Config {
	w := whip.Config{PublicURL: cfg.HTTP.PublicURL, StrictETag: cfg.WHIP.StrictETag, CounterOffer: cfg.WHEP.CounterOffer}
	if cfg.WHIP.OnConflict == config.OnConflictReject {
		w.OnConflict = sfu.ConflictReject
	}
	if cfg.WHEP.WithoutPublisher == config.WithoutPublisherConflict {
		w.WithoutPublisher = whip.AbsenceConflict
	}
	for _, server := range cfg.ICEServers {
		for _, url := range server.URLs {
			w.ICEServers = append(w.ICEServers, whip.ICEServer{URL: url, Username: server.Username, Credential: server.Credential.Reveal()})
		}
	}
	return w
}
