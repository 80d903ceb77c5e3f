package webhook

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"time"
)

const (
	maxURLBytes    = 2048
	resolveTimeout = 2 * time.Second
)

// Rule says where requests may go. Some addresses never get one: a cloud's metadata service hands out credentials to whoever
// makes a machine ask for them.
type Rule struct {
	AllowPrivate bool // loopback, private and other addresses that are not of the open Internet
}

// Networks and addresses that never get a request.
var (
	refusedPrefixes = prefixes(
		"0.0.0.0/8",      // this network (RFC 1122 section 3.2.1.3); Linux takes 0.0.0.0 for loopback
		"169.254.0.0/16", // link-local, and metadata at 169.254.169.254
		"224.0.0.0/4",    // multicast
		"240.0.0.0/4",    // reserved, broadcast included
		"::/128",         // unspecified
		"fe80::/10",      // link-local
		"fec0::/10",      // site-local, deprecated (RFC 3879)
		"ff00::/8",       // multicast
		"64:ff9b:1::/48", // NAT64 of a local network: leads to IPv4 addresses that are not to be seen (RFC 8215)
		"2001::/32",      // Teredo: leads to an embedded IPv4 address (RFC 4380)
		"2002::/16",      // 6to4: the same (RFC 3056)
	)
	refusedAddrs = []netip.Addr{
		netip.MustParseAddr("100.100.100.200"), // metadata, in shared address space
		netip.MustParseAddr("168.63.129.16"),   // a cloud's host agent, at a public address
		netip.MustParseAddr("fd00:ec2::254"),   // metadata, at a private IPv6 address
	}
	// privatePrefixes are those that netip.Addr.IsPrivate and IsLoopback do not know.
	privatePrefixes = prefixes(
		"100.64.0.0/10",   // shared address space (RFC 6598)
		"192.0.0.0/24",    // protocol assignments (RFC 6890)
		"192.0.2.0/24",    // documentation, as the next two
		"198.51.100.0/24", //
		"203.0.113.0/24",  //
		"198.18.0.0/15",   // benchmarks (RFC 2544)
		"100::/64",        // discard (RFC 6666)
		"2001:db8::/32",   // documentation
	)
	// nat64 leads to the IPv4 address in its last 32 bits (RFC 6052 section 2.1).
	nat64 = netip.MustParsePrefix("64:ff9b::/96")
	// compatible is the deprecated form ::a.b.c.d (RFC 4291 section 2.5.5.1); ::1 is in it.
	compatible = netip.MustParsePrefix("::/96")
)

func prefixes(texts ...string) []netip.Prefix {
	list := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		list[i] = netip.MustParsePrefix(text)
	}
	return list
}

// CheckAddr returns an error that wraps ErrTarget unless requests may go to the address.
func (r Rule) CheckAddr(addr netip.Addr) error {
	addr = embedded(addr.Unmap())
	never := !addr.IsValid() || addr.Zone() != "" || containsAddr(refusedPrefixes, addr) || slices.Contains(refusedAddrs, addr)
	if never {
		return fmt.Errorf("address %s: %w", addr, ErrTarget)
	}
	private := addr.IsLoopback() || addr.IsPrivate() || containsAddr(privatePrefixes, addr)
	if private && !r.AllowPrivate {
		return fmt.Errorf("private address %s, and webhooks.allow_private is not set: %w", addr, ErrTarget)
	}
	return nil
}

// embedded is the IPv4 address that an IPv6 address leads to, or the address itself.
func embedded(addr netip.Addr) netip.Addr {
	if nat64.Contains(addr) || compatible.Contains(addr) && addr != netip.IPv6Loopback() && addr != netip.IPv6Unspecified() {
		bytes := addr.As16()
		return netip.AddrFrom4([4]byte(bytes[12:]))
	}
	return addr
}

func containsAddr(list []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(list, func(prefix netip.Prefix) bool { return prefix.Contains(addr) })
}

// CheckURL returns an error that wraps ErrTarget unless text is the URL of a receiver that the rule permits. A name that does
// not resolve now passes; it may later, and each connection is checked anyway.
func (r Rule) CheckURL(ctx context.Context, text string) error {
	host, err := receiverHost(text)
	if err != nil {
		return err
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return r.CheckAddr(addr)
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil
	}
	var refused error
	for _, addr := range addrs {
		if refused = r.CheckAddr(addr); refused == nil {
			return nil
		}
	}
	return refused
}

// receiverHost checks the form of a receiver's URL and returns its host.
func receiverHost(text string) (string, error) {
	if len(text) > maxURLBytes {
		return "", fmt.Errorf("URL of %d bytes, limit %d: %w", len(text), maxURLBytes, ErrTarget)
	}
	u, err := url.Parse(text)
	if err != nil {
		return "", fmt.Errorf("not a URL: %w", ErrTarget) // the cause may quote a password
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return "", fmt.Errorf("scheme must be http or https: %w", ErrTarget)
	case u.Hostname() == "" || u.Opaque != "":
		return "", fmt.Errorf("no host: %w", ErrTarget)
	case u.User != nil:
		return "", fmt.Errorf("it holds a user: %w", ErrTarget)
	case u.Fragment != "":
		return "", fmt.Errorf("fragment is never sent: %w", ErrTarget)
	}
	return u.Hostname(), nil
}
