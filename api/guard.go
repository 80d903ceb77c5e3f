package api

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"rheomesh/whip"
)

// guard protects a node that asks for no credential from web pages which its operator happens to visit. A page can make
// the browser send requests to 127.0.0.1, and by DNS rebinding even read the answers. WHIP and WHEP stay outside: other
// pages may use them by design.
type guard struct {
	hosts  map[string]bool // names that a Host field may hold beside loopback addresses; nil = any host
	origin *http.CrossOriginProtection
}

// newGuard makes the guard of a listener at addr. publicURL may be empty.
func newGuard(addr netip.AddrPort, publicURL string) *guard {
	g := &guard{origin: http.NewCrossOriginProtection()}
	public, err := url.Parse(publicURL)
	if err == nil && public.Host != "" {
		// the error says that the origin is malformed, which a parsed http(s) URL with a host is not
		_ = g.origin.AddTrustedOrigin(public.Scheme + "://" + public.Host)
	}
	if !addr.Addr().Unmap().IsLoopback() {
		return g
	}
	g.hosts = map[string]bool{"localhost": true}
	if err == nil && public.Host != "" {
		g.hosts[public.Hostname()] = true
	}
	return g
}

// check returns an error that wraps whip.ErrForbidden for a request that a foreign page may have caused.
func (g *guard) check(r *http.Request) error {
	if g.hosts != nil && !g.knows(r.Host) {
		return fmt.Errorf("host %q is not a name of this node: %w", r.Host, whip.ErrForbidden)
	}
	if err := g.origin.Check(r); err != nil {
		return fmt.Errorf("request of another site: %w", whip.ErrForbidden)
	}
	return nil
}

func (g *guard) knows(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.ToLower(strings.Trim(name, "[]")), ".")
	if ip, err := netip.ParseAddr(name); err == nil {
		return ip.Unmap().IsLoopback()
	}
	return g.hosts[name]
}
