package sdp

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseCandidate(t *testing.T) {
	tests := map[string]struct {
		value string
		want  Candidate
	}{
		"host": {
			"1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw network-id 1",
			Candidate{
				Foundation: "1387637174", Component: 1, Transport: "udp", Priority: 2122260223,
				Address: netip.MustParseAddrPort("192.0.2.1:61764"), Host: "192.0.2.1", Port: 61764, Type: "host", Ufrag: "EsAw",
			},
		},
		"reflexive, with prefix": {
			"a=candidate:1 1 UDP 1677729535 203.0.113.7 54609 typ srflx raddr 10.0.0.5 rport 54609\r\n",
			Candidate{
				Foundation: "1", Component: 1, Transport: "udp", Priority: 1677729535,
				Address: netip.MustParseAddrPort("203.0.113.7:54609"), Host: "203.0.113.7", Port: 54609, Type: "srflx",
				Related: netip.MustParseAddrPort("10.0.0.5:54609"),
			},
		},
		"TCP": {
			"candidate:3 1 TCP 1010827519 192.168.1.30 39517 typ host tcptype Passive",
			Candidate{
				Foundation: "3", Component: 1, Transport: "tcp", Priority: 1010827519,
				Address: netip.MustParseAddrPort("192.168.1.30:39517"), Host: "192.168.1.30", Port: 39517, Type: "host", TCPType: "passive",
			},
		},
		"mDNS, component 0": {
			"9 0 udp 2113937151 4f1d2c3b-5a69-4788-97a6-b5c4d3e2f1a0.local 61021 typ host",
			Candidate{Foundation: "9", Transport: "udp", Priority: 2113937151, Host: "4f1d2c3b-5a69-4788-97a6-b5c4d3e2f1a0.local", Port: 61021, Type: "host"},
		},
		"link-local with zone": {
			"4 1 UDP 1 fe80::1%eth0 9 typ host",
			Candidate{
				Foundation: "4", Component: 1, Transport: "udp", Priority: 1,
				Address: netip.MustParseAddrPort("[fe80::1]:9"), Host: "fe80::1%eth0", Port: 9, Type: "host",
			},
		},
		"mapped IPv4": {
			"4 1 udp 1 ::ffff:192.0.2.9 9 typ host",
			Candidate{
				Foundation: "4", Component: 1, Transport: "udp", Priority: 1,
				Address: netip.MustParseAddrPort("192.0.2.9:9"), Host: "::ffff:192.0.2.9", Port: 9, Type: "host",
			},
		},
		"a transport that we do not have": {
			"4 1 ssltcp 1 192.0.2.1 443 TYP relay lonely",
			Candidate{
				Foundation: "4", Component: 1, Transport: "ssltcp", Priority: 1,
				Address: netip.MustParseAddrPort("192.0.2.1:443"), Host: "192.0.2.1", Port: 443, Type: "relay",
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := ParseCandidate(test.value)
			require.NoError(t, err)
			require.Equal(t, test.want, got)
			again, err := ParseCandidate(got.Marshal())
			require.NoError(t, err)
			got.Host, again.Host = "", "" // an address is written without its zone
			require.Equal(t, got, again)
		})
	}
}

func TestParseCandidateErrors(t *testing.T) {
	const valid = "1387637174 1 udp 2122260223 192.0.2.1 61764 typ host"
	for n := range len(valid) - 4 { // from "typ " on, any type will do
		_, err := ParseCandidate(valid[:n])
		require.ErrorIs(t, err, ErrMalformed, valid[:n])
	}
	for name, value := range map[string]string{
		"component":   "1 x udp 1 192.0.2.1 1 typ host",
		"priority":    "1 1 udp 4294967296 192.0.2.1 1 typ host",
		"negative":    "1 1 udp -1 192.0.2.1 1 typ host",
		"port":        "1 1 udp 1 192.0.2.1 65536 typ host",
		"no typ":      "1 1 udp 1 192.0.2.1 1 type host",
		"field moved": "1 1 udp 1 192.0.2.1 typ 1 host",
	} {
		_, err := ParseCandidate(value)
		require.ErrorIs(t, err, ErrMalformed, name)
	}
}

func TestHostCandidate(t *testing.T) {
	v4, v6 := netip.MustParseAddrPort("192.0.2.1:10000"), netip.MustParseAddrPort("[2001:db8::1]:10000")
	udp4 := HostCandidate(v4, "udp", 65535)
	udp6 := HostCandidate(v6, "udp", 65534)
	tcp4 := HostCandidate(v4, "tcp", 65535)
	tcp6 := HostCandidate(v6, "tcp", 8)

	require.Equal(t, "267164632 1 udp 2130706431 192.0.2.1 10000 typ host", udp4.Marshal())
	require.EqualValues(t, 2130706431, udp4.Priority, "RFC 8445 §5.1.2.1 at its highest")
	require.EqualValues(t, 90<<24|(4<<13|8191)<<8|255, tcp4.Priority)
	require.Contains(t, tcp4.Marshal(), " typ host tcptype passive")
	require.Greater(t, udp4.Priority, udp6.Priority)
	require.Greater(t, udp6.Priority, tcp4.Priority)
	require.Greater(t, tcp4.Priority, tcp6.Priority)

	foundations := map[string]bool{udp4.Foundation: true, udp6.Foundation: true, tcp4.Foundation: true, tcp6.Foundation: true}
	require.Len(t, foundations, 4)
	require.Equal(t, udp4.Foundation, HostCandidate(netip.MustParseAddrPort("192.0.2.1:1"), "udp", 1).Foundation)
	require.Equal(t, udp4, HostCandidate(netip.MustParseAddrPort("[::ffff:192.0.2.1]:10000"), "udp", 65535))

	parsed, err := ParseCandidate(tcp4.Marshal())
	require.NoError(t, err)
	require.Equal(t, tcp4, parsed)
}
