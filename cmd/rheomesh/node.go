package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"rheomesh/api"
	"rheomesh/config"
	"rheomesh/console"
	"rheomesh/sfu"
	"rheomesh/whip"
)

// closeTimeout is how long HTTP requests may take to finish after the sessions are closed.
const closeTimeout = 2 * time.Second

// node is a running node: the media core and its HTTP server.
type node struct {
	cfg    config.Config
	media  *sfu.Node
	whip   *whip.Handler
	server *api.Server
	http   api.Listener
	served chan error // capacity 1; what ended the HTTP server
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
	n = &node{cfg: cfg, media: media, served: make(chan error, 1)}
	n.http = api.Listener{Name: "http", Network: "tcp", Addr: addrPort(listener.Addr()), TLS: cfg.HTTP.TLS.Enabled()}
	if err := n.assemble(log); err != nil {
		return nil, errors.Join(err, media.Close(), listener.Close())
	}
	limited := api.LimitConnections(listener, cfg.Limits.MaxHTTPConnectionsPerIP, cfg.Limits.MaxHTTPConnections)
	go func() { n.served <- n.server.Serve(limited) }() // ends in stop, which waits for it
	return n, nil
}

func newMedia(cfg config.Config, log *slog.Logger) (*sfu.Node, error) {
	media, err := sfu.NewNode(sfu.Config{
		Version: versionText(), Logger: log, MediaAddr: cfg.Media.Addr, PublicIPs: cfg.Media.PublicIPs,
		ICELite: cfg.Media.ICELite, DataDir: cfg.DataDir, Limits: sfuLimits(cfg.Limits),
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

// assemble makes the HTTP side.
func (n *node) assemble(log *slog.Logger) (err error) {
	authorizer := api.NewAuthorizer(apiKeys(n.cfg.Auth.APIKeys))
	serverConfig := api.Config{
		Node: n.media, Authorizer: authorizer, Addr: n.http.Addr, PublicURL: n.cfg.HTTP.PublicURL, Logger: log,
		Listeners: []api.Listener{n.http}, MaxJSONBytes: n.cfg.Limits.MaxJSONBytes, Mount: n.mount,
	}
	if n.http.TLS {
		if serverConfig.TLS, err = api.TLSConfig(n.cfg.HTTP.TLS.CertFile, n.cfg.HTTP.TLS.KeyFile, log); err != nil {
			return err
		}
	}
	if n.whip, err = whip.New(whipConfig(n.cfg, n.media, authorizer, log)); err != nil {
		return err
	}
	n.server = api.New(serverConfig)
	return nil
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
	err := n.media.Close()
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	err = errors.Join(err, n.server.Close(ctx), n.whip.Close())
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
		MaxSessions: l.MaxSessions, MaxHalfOpen: l.MaxHalfOpen, MaxHalfOpenPerIP: l.MaxHalfOpenPerIP, MaxRouters: l.MaxRouters,
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

func whipConfig(cfg config.Config, media *sfu.Node, authorizer *api.Authorizer, log *slog.Logger) whip.Config {
	w := whip.Config{
		Node: media, PublicURL: cfg.HTTP.PublicURL, StrictETag: cfg.WHIP.StrictETag, CounterOffer: cfg.WHEP.CounterOffer,
		Authorize: authorizer.Authorize, Logger: log,
	}
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
