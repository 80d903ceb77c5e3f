package mediaport

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestListenAddresses(t *testing.T) {
	v4, v6 := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")
	tests := []struct {
		addr string
		want []netip.Addr
	}{
		{"127.0.0.1:0", []netip.Addr{v4}},
		{"[::1]:0", []netip.Addr{v6}},
		{"[::ffff:127.0.0.1]:0", []netip.Addr{v4}},
		{"localhost:0", []netip.Addr{v4, v6}},
		{":0", []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}},
		{"*:0", []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}},
	}
	for _, tt := range tests {
		t.Run(tt.addr, func(t *testing.T) {
			if !ipv6Available() && tt.want[len(tt.want)-1].Is6() {
				t.Skip("no IPv6 on this machine")
			}
			p := listen(t, func(c *Config) { c.Addr = tt.addr })
			addrs := p.LocalAddrs()
			require.Len(t, addrs, len(tt.want))
			require.Len(t, p.tcp, len(tt.want))
			for i, want := range tt.want {
				require.Equal(t, netip.AddrPortFrom(want, addrs[0].Port()), addrs[i], "one number for all")
				tcp := p.tcp[i].Addr().(*net.TCPAddr).AddrPort()
				require.Equal(t, addrs[i], netip.AddrPortFrom(tcp.Addr().Unmap(), tcp.Port()), "and for TCP")
				require.Equal(t, i, p.Sockets()[i].Index)
			}
			require.NotZero(t, addrs[0].Port())
			require.True(t, p.TCP())
			require.NotZero(t, p.Capabilities(0).ReadBufferBytes)
			require.Zero(t, p.Drops())
		})
	}
}

func TestListenWithoutTCP(t *testing.T) {
	p := listen(t, func(c *Config) { c.DisableTCP = true })
	require.False(t, p.TCP())
	_, err := net.Dial("tcp", p.LocalAddrs()[0].String())
	require.Error(t, err)
}

func TestListenErrors(t *testing.T) {
	taken := listen(t).LocalAddrs()[0]
	tcpOnly, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tcpOnly.Close()) })
	tests := []struct{ name, addr, want string }{
		{"no port", "127.0.0.1", `missing port in address`},
		{"empty", "", `missing port in address`},
		{"IPv6 without brackets", "::1:5000", `too many colons in address`},
		{"port name", "127.0.0.1:http", `port must be a number from 0 to 65535, got "http"`},
		{"port too large", "127.0.0.1:65536", `port must be a number from 0 to 65535, got "65536"`},
		{"negative port", "127.0.0.1:-1", `port must be a number from 0 to 65535, got "-1"`},
		{"no port number", "127.0.0.1:", `port must be a number from 0 to 65535, got ""`},
		{"host name", "media.example.com:0", `host must be an IP address, localhost or empty, got "media.example.com"`},
		{"in use", taken.String(), "address already in use"},
		{"TCP in use", tcpOnly.Addr().String(), "address already in use"},
		{"not ours", "192.0.2.1:0", "cannot assign requested address"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Listen(Config{Addr: tt.addr})
			require.ErrorContains(t, err, fmt.Sprintf("listen on media port %q: ", tt.addr))
			require.ErrorContains(t, err, tt.want)
		})
	}
	t.Run("nothing stays open", func(t *testing.T) {
		addr := tcpOnly.Addr().(*net.TCPAddr).AddrPort()
		conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(addr))
		require.NoError(t, err)
		require.NoError(t, conn.Close())
	})
}
