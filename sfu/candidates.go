package sfu

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"rheomesh/internal/sdp"
	"rheomesh/sfu/mediaport"
)

var errNoCandidates = errors.New("candidates: none of the public addresses is of a family that the media port is bound to")

// hostCandidates lists the node's candidates as they stand in every answer: host candidates only, since nothing is ever gathered from elsewhere. UDP comes
// before TCP and IPv4 before IPv6, as some clients take the first line only. Public addresses stand in for this machine's own.
func hostCandidates(port *mediaport.Port, public []netip.Addr) ([]string, error) {
	var addrs []netip.AddrPort
	for _, bound := range port.LocalAddrs() {
		hosts, err := reachableAt(bound.Addr(), public)
		if err != nil {
			return nil, fmt.Errorf("candidates: %w", err)
		}
		for _, host := range hosts {
			if addr := netip.AddrPortFrom(host, bound.Port()); !slices.Contains(addrs, addr) {
				addrs = append(addrs, addr)
			}
		}
	}
	if len(addrs) == 0 {
		return nil, errNoCandidates
	}
	slices.SortStableFunc(addrs, func(a, b netip.AddrPort) int { return a.Addr().BitLen() - b.Addr().BitLen() })
	protocols := []string{"udp", "tcp"}
	if !port.TCP() {
		protocols = protocols[:1]
	}
	var candidates []string
	for _, protocol := range protocols {
		for i, addr := range addrs {
			// Steps of 8, since priorities of TCP keep the upper 13 bits only (RFC 6544 section 4.2).
			candidates = append(candidates, sdp.HostCandidate(addr, protocol, uint16(65535-8*i)).Marshal())
		}
	}
	return candidates, nil
}

// reachableAt are the addresses under which clients reach a bound one.
func reachableAt(bound netip.Addr, public []netip.Addr) ([]netip.Addr, error) {
	if !bound.IsUnspecified() && len(public) == 0 {
		return []netip.Addr{bound}, nil
	}
	if family := ofFamily(public, bound); len(family) > 0 {
		return family, nil
	}
	if len(public) > 0 || !bound.IsUnspecified() {
		return nil, nil // the other family is the public one
	}
	return interfaceAddrs(bound)
}

func ofFamily(addrs []netip.Addr, like netip.Addr) []netip.Addr {
	var same []netip.Addr
	for _, a := range addrs {
		if a.Unmap().Is4() == like.Is4() {
			same = append(same, a.Unmap())
		}
	}
	return same
}

// interfaceAddrs are this machine's own addresses of a family, without those that no client can use. Loopback is the last resort of a machine without network.
func interfaceAddrs(like netip.Addr) ([]netip.Addr, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var usable, loopback []netip.Addr
	for _, a := range all {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil || prefix.Addr().Is4() != like.Is4() || prefix.Addr().IsLinkLocalUnicast() {
			continue
		}
		if prefix.Addr().IsLoopback() {
			loopback = append(loopback, prefix.Addr())
			continue
		}
		usable = append(usable, prefix.Addr())
	}
	if len(usable) == 0 {
		return loopback, nil
	}
	return usable, nil
}
