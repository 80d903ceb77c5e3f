package mediaport

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"rheomesh/internal/udpbatch"
)

// bind opens every socket on one port number. With port 0 the kernel picks a number for the first socket, and the others must get the same; when one of
// them cannot, another number is tried.
func (p *Port) bind() error {
	hosts, number, err := splitAddr(p.config.Addr)
	if err != nil {
		return err
	}
	attempts := 1
	if number == 0 {
		attempts = bindAttempts
	}
	for range attempts {
		if err = p.bindAll(hosts, number); err == nil {
			return nil
		}
		_ = p.closeSockets()
		p.sockets, p.tcp = nil, nil
	}
	return err
}

func (p *Port) bindAll(hosts []netip.Addr, number uint16) error {
	for i, host := range hosts {
		conn, err := udpbatch.Listen(network("udp", host), netip.AddrPortFrom(host, number).String(), udpbatch.Config{DisableOffload: p.config.DisableOffload})
		if err != nil {
			if optional(hosts, i) {
				continue
			}
			return err
		}
		number = conn.LocalAddr().Port()
		p.sockets = append(p.sockets, &Socket{Index: len(p.sockets), conn: conn})
		if p.config.DisableTCP {
			continue
		}
		listener, err := net.Listen(network("tcp", host), netip.AddrPortFrom(host, number).String())
		if err != nil {
			return err
		}
		p.tcp = append(p.tcp, listener)
	}
	return nil
}

// optional reports whether hosts[i] may be missing: IPv6 beside IPv4, on a machine without it.
func optional(hosts []netip.Addr, i int) bool { return i > 0 && hosts[i].Is6() && !ipv6Available() }

func ipv6Available() bool {
	probe, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		return false
	}
	_ = probe.Close()
	return true
}

// network names the family explicitly, so that [::] does not take IPv4 too and both families can be bound side by side.
func network(protocol string, host netip.Addr) string {
	if host.Is4() {
		return protocol + "4"
	}
	return protocol + "6"
}

func splitAddr(addr string) ([]netip.Addr, uint16, error) {
	host, port, err := net.SplitHostPort(addr)
	if cause := (*net.AddrError)(nil); errors.As(err, &cause) {
		return nil, 0, errors.New(cause.Err)
	}
	if err != nil {
		return nil, 0, err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, 0, fmt.Errorf("port must be a number from 0 to 65535, got %q", port)
	}
	hosts, err := expandHost(host)
	return hosts, uint16(number), err
}

func expandHost(host string) ([]netip.Addr, error) {
	switch host {
	case "", "*":
		return []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}, nil
	case "localhost":
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, nil
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return nil, fmt.Errorf("host must be an IP address, localhost or empty, got %q", host)
	}
	return []netip.Addr{ip.Unmap()}, nil
}
