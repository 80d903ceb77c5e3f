package sdp

import (
	"fmt"
	"hash/crc32"
	"net/netip"
	"strconv"
	"strings"
)

// Candidate is one ICE candidate (RFC 8839 §5.1).
type Candidate struct {
	Foundation string
	// Component is 1 for RTP with RTCP multiplexed in; some clients write 0.
	Component int
	// Transport in lower case: "udp", "tcp", or something we cannot use.
	Transport string
	Priority  uint32
	// Address is not valid when the client gave a name (mDNS or DNS), which
	// stands in Host then. Such candidates are for the caller to ignore, never
	// to resolve (RFC 9725 §4.3.2).
	Address netip.AddrPort
	Host    string
	Port    uint16
	// Type is host, srflx, prflx or relay.
	Type string
	// TCPType is active, passive or so; "" for UDP (RFC 6544 §4.5).
	TCPType string
	// Related is the base of a reflexive or relayed candidate (raddr, rport).
	Related netip.AddrPort
	// Ufrag tells which generation of the ICE session the candidate is for
	// (RFC 8839 §5.1, extension of RFC 8838 §4.1); "" when not stated.
	Ufrag string
}

// candidateFields is how many fields a candidate has at least:
// foundation component transport priority address port "typ" type.
const candidateFields = 8

// ParseCandidate reads a candidate value; a leading "candidate:" or
// "a=candidate:" is dropped. Errors wrap ErrMalformed.
func ParseCandidate(value string) (Candidate, error) {
	value = strings.TrimPrefix(strings.TrimPrefix(strings.TrimSpace(value), "a="), "candidate:")
	fields := strings.Fields(value)
	if len(fields) < candidateFields || !strings.EqualFold(fields[6], "typ") {
		return Candidate{}, candidateError(value, "not of the form foundation component transport priority address port typ type")
	}
	component, err1 := strconv.ParseUint(fields[1], 10, 16)
	priority, err2 := strconv.ParseUint(fields[3], 10, 32)
	port, err3 := strconv.ParseUint(fields[5], 10, 16)
	if err1 != nil || err2 != nil || err3 != nil {
		return Candidate{}, candidateError(value, "component, priority or port is not a number")
	}
	c := Candidate{
		Foundation: fields[0],
		Component:  int(component),
		Transport:  strings.ToLower(fields[2]),
		Priority:   uint32(priority),
		Host:       fields[4],
		Port:       uint16(port),
		Address:    parseAddress(fields[4], uint16(port)),
		Type:       strings.ToLower(fields[7]),
	}
	c.extend(fields[candidateFields:])
	return c, nil
}

func candidateError(value, what string) error {
	return fmt.Errorf("candidate %q: %s: %w", quoted(value), what, ErrMalformed)
}

// parseAddress gives the zero value for names. The zone of a link-local address
// means nothing to another host.
func parseAddress(host string, port uint16) netip.AddrPort {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(addr.Unmap().WithZone(""), port)
}

// extend reads the `name value` pairs after the type, unknown ones without effect.
func (c *Candidate) extend(fields []string) {
	var related, relatedPort string
	for i := 0; i+1 < len(fields); i += 2 {
		switch value := fields[i+1]; fields[i] {
		case "raddr":
			related = value
		case "rport":
			relatedPort = value
		case "tcptype":
			c.TCPType = strings.ToLower(value)
		case "ufrag":
			c.Ufrag = value
		}
	}
	if port, err := strconv.ParseUint(relatedPort, 10, 16); err == nil {
		c.Related = parseAddress(related, uint16(port))
	}
}

// Marshal writes the candidate without a "candidate:" before it.
func (c Candidate) Marshal() string {
	host, port := c.Host, c.Port
	if c.Address.IsValid() {
		host, port = c.Address.Addr().String(), c.Address.Port()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %d %s %d %s %d typ %s", c.Foundation, c.Component, c.Transport, c.Priority, host, port, c.Type)
	if c.Related.IsValid() {
		fmt.Fprintf(&b, " raddr %s rport %d", c.Related.Addr(), c.Related.Port())
	}
	if c.TCPType != "" {
		fmt.Fprintf(&b, " tcptype %s", c.TCPType)
	}
	if c.Ufrag != "" {
		fmt.Fprintf(&b, " ufrag %s", c.Ufrag)
	}
	return b.String()
}

// Type preferences of host candidates (RFC 8445 §5.1.2.2). TCP is set below
// every UDP type, so that it is what it is for: the way out when UDP is blocked
// (RFC 6544 §4.2).
const (
	udpHostPreference = 126
	tcpHostPreference = 90
	// tcpPassive is the direction preference of a passive host candidate, in
	// the upper 3 bits of the local preference (RFC 6544 §4.2).
	tcpPassive = 4
)

// HostCandidate makes a candidate for an address that we listen on, or that is
// mapped one to one to such an address. Transport is "udp", or "tcp" for a
// passive one; a higher localPref makes clients try it earlier.
func HostCandidate(addr netip.AddrPort, transport string, localPref uint16) Candidate {
	addr = netip.AddrPortFrom(addr.Addr().Unmap().WithZone(""), addr.Port())
	c := Candidate{
		Foundation: hostFoundation(addr.Addr(), transport),
		Component:  1,
		Transport:  transport,
		Address:    addr,
		Host:       addr.Addr().String(),
		Port:       addr.Port(),
		Type:       "host",
	}
	c.Priority = priority(udpHostPreference, localPref, c.Component)
	if transport == "tcp" {
		c.TCPType = "passive"
		c.Priority = priority(tcpHostPreference, tcpPassive<<13|localPref>>3, c.Component)
	}
	return c
}

// priority is the formula of RFC 8445 §5.1.2.1.
func priority(typePref uint32, localPref uint16, component int) uint32 {
	return typePref<<24 | uint32(localPref)<<8 | uint32(256-component)
}

// hostFoundation is equal for candidates of one address and transport, and
// else different (RFC 8445 §5.1.1.3).
func hostFoundation(addr netip.Addr, transport string) string {
	return strconv.FormatUint(uint64(crc32.ChecksumIEEE([]byte(transport+" "+addr.String()))), 10)
}
