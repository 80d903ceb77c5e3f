package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// DefaultTargets are the networks that relays may reach: this machine's and private ones.
func DefaultTargets() []netip.Prefix {
	var list []netip.Prefix
	for _, text := range []string{"127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"} {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

// permitted reports whether a relay may reach the address. Without a cluster secret, only this machine.
func (n *Node) permitted(ip netip.Addr) bool {
	ip = ip.Unmap()
	if ip.IsUnspecified() || ip.IsMulticast() || n.keys.Load().open && !ip.IsLoopback() {
		return false
	}
	for _, p := range n.config.AllowedTargets {
		if p.Contains(ip.WithZone("")) {
			return true
		}
	}
	return false
}

// resolve turns a peer's "host:port" into the address to dial. Every address that the name has must be permitted, or else a name could be pointed at one that is
// not between two look-ups; so it is looked up once, and the caller dials what it gets.
func (n *Node) resolve(ctx context.Context, peer string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(peer)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("peer %s: %w", peer, ErrOrderInvalid)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 || host == "" {
		return netip.AddrPort{}, fmt.Errorf("peer %s: %w", peer, ErrOrderInvalid)
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil || len(ips) == 0 {
		return netip.AddrPort{}, fmt.Errorf("peer %s: %w: %w", peer, ErrUnreachable, errors.Join(err))
	}
	for _, ip := range ips {
		if !n.permitted(ip) {
			return netip.AddrPort{}, fmt.Errorf("peer %s: address %s: %w", peer, ip, ErrDenied)
		}
	}
	return netip.AddrPortFrom(ips[0].Unmap(), uint16(number)), nil
}
