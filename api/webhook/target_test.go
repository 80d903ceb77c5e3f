package webhook

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCheckAddr(t *testing.T) {
	const public, private, never = "public", "private", "never"
	for addr, want := range map[string]string{
		"8.8.8.8": public, "2606:4700::1111": public, "172.32.0.1": public, "100.128.0.1": public,
		"127.0.0.1": private, "127.9.9.9": private, "::1": private, "::ffff:127.0.0.1": private, "10.1.2.3": private, "172.16.0.1": private,
		"192.168.1.1": private, "fc00::1": private, "100.64.0.1": private, "192.0.2.1": private, "198.18.0.1": private, "2001:db8::1": private,
		"64:ff9b::7f00:1": private, "64:ff9b::808:808": public, "::7f00:2": private,
		"0.0.0.0": never, "0.1.2.3": never, "::": never, "169.254.169.254": never, "::ffff:169.254.169.254": never, "64:ff9b::a9fe:a9fe": never,
		"64:ff9b:1::1": never, "fe80::1": never, "fe80::1%eth0": never, "fec0::1": never, "224.0.0.1": never, "239.1.1.1": never, "255.255.255.255": never,
		"ff02::1": never, "2002:7f00:1::": never, "2001::1": never, "100.100.100.200": never, "168.63.129.16": never, "fd00:ec2::254": never,
	} {
		ip := netip.MustParseAddr(addr)
		assert.Equal(t, want == public, Rule{}.CheckAddr(ip) == nil, "%s without private ones", addr)
		assert.Equal(t, want != never, Rule{AllowPrivate: true}.CheckAddr(ip) == nil, "%s with private ones", addr)
	}
	require.ErrorIs(t, Rule{AllowPrivate: true}.CheckAddr(netip.Addr{}), ErrTarget)
}

func TestCheckURL(t *testing.T) {
	for _, row := range []struct {
		url string
		ok  bool
	}{
		{"http://8.8.8.8/", true},
		{"https://8.8.8.8:8443/path?query=1", true},
		{"https://[2606:4700::1111]/", true},
		{"http://name.that.does.not.exist.invalid/", true},
		{"HTTP://8.8.8.8/", true},
		{"", false},
		{"/path", false},
		{"8.8.8.8", false},
		{"//8.8.8.8/", false},
		{"http://", false},
		{"http:8.8.8.8", false},
		{"ftp://8.8.8.8/", false},
		{"file:///etc/passwd", false},
		{"gopher://8.8.8.8/", false},
		{"javascript:alert(1)", false},
		{"http://user:password@8.8.8.8/", false},
		{"http://8.8.8.8/#fragment", false},
		{"http://8.8.8.8:x/", false},
		{"http://8.8.8.8/\n", false},
		{"http://127.0.0.1/", false},
		{"http://localhost/", false},
		{"http://[::1]/", false},
		{"http://169.254.169.254/latest/meta-data", false},
		{"http://[fe80::1%25eth0]/", false},
		{"http://8.8.8.8/" + strings.Repeat("x", maxURLBytes), false},
	} {
		err := Rule{}.CheckURL(t.Context(), row.url)
		if row.ok {
			assert.NoError(t, err, row.url)
			continue
		}
		assert.ErrorIs(t, err, ErrTarget, row.url)
		assert.NotContains(t, err.Error(), "password", "the error must not quote a URL")
	}
	require.NoError(t, Rule{AllowPrivate: true}.CheckURL(t.Context(), "http://localhost:1/"))
	require.ErrorIs(t, Rule{AllowPrivate: true}.CheckURL(t.Context(), "http://169.254.169.254/"), ErrTarget)
}

// FuzzReceiverURL sees that a URL which passes leads nowhere but to the host that was checked.
func FuzzReceiverURL(f *testing.F) {
	for _, seed := range []string{"http://8.8.8.8/", "http://[::1]:80/x", "http://a@b/", "https://h#f", "http://[fe80::1%25x]/", "http://\x00/", "http:///"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		host, err := receiverHost(text)
		if err != nil {
			require.ErrorIs(t, err, ErrTarget)
			return
		}
		require.NotEmpty(t, host)
		require.True(t, strings.HasPrefix(strings.ToLower(text), "http"))
	})
}
