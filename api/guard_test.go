package api

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestGuard(t *testing.T) {
	any4 := netip.MustParseAddrPort("0.0.0.0:8080")
	for _, row := range []struct {
		name   string
		addr   netip.AddrPort
		public string
		r      request
		want   int
	}{
		{"curl", loopback, "", request{method: "PUT", path: "/api/v1/routers/a"}, 201},
		{"localhost", loopback, "", request{method: "GET", path: "/api/v1/node", header: []string{"Host", "LOCALHOST.:8080"}}, 200},
		{"IPv6 loopback", loopback, "", request{method: "GET", path: "/api/v1/node", header: []string{"Host", "[::1]:8080"}}, 200},
		{"IPv6 loopback without port", loopback, "", request{method: "GET", path: "/api/v1/node", header: []string{"Host", "[::1]"}}, 200},
		{"rebound name", loopback, "", request{method: "GET", path: "/api/v1/node", header: []string{"Host", "evil.example:8080"}}, 403},
		{"name that begins like loopback", loopback, "", request{method: "GET", path: "/api/v1/node", header: []string{"Host", "127.0.0.1.evil.example"}}, 403},
		{"other address", loopback, "", request{method: "GET", path: "/api/v1/node", header: []string{"Host", "192.168.0.1"}}, 403},
		{"public URL", loopback, "https://sfu.example.org", request{method: "GET", path: "/api/v1/node", header: []string{"Host", "sfu.example.org"}}, 200},
		{"any name when bound to all", any4, "", request{method: "GET", path: "/api/v1/node", header: []string{"Host", "sfu.example.org"}}, 200},
		{"own page", loopback, "", request{method: "PUT", path: "/api/v1/routers/a", header: []string{"Origin", "http://127.0.0.1:8080", "Sec-Fetch-Site", "same-origin"}}, 201},
		{"foreign page", loopback, "", request{method: "PUT", path: "/api/v1/routers/a", header: []string{"Sec-Fetch-Site", "cross-site"}}, 403},
		{"page of another port", loopback, "", request{method: "DELETE", path: "/api/v1/routers/live", header: []string{"Sec-Fetch-Site", "same-site"}}, 403},
		{"foreign origin of an old browser", loopback, "", request{method: "DELETE", path: "/api/v1/routers/live", header: []string{"Origin", "https://evil.example"}}, 403},
		{"opaque origin", loopback, "", request{method: "DELETE", path: "/api/v1/routers/live", header: []string{"Origin", "null"}}, 403},
		{"foreign page when bound to all", any4, "", request{method: "DELETE", path: "/api/v1/routers/live", header: []string{"Sec-Fetch-Site", "cross-site"}}, 403},
		{"page of the public URL", loopback, "https://sfu.example.org", request{method: "PUT", path: "/api/v1/routers/a", header: []string{"Origin", "https://sfu.example.org"}}, 201},
		{"form post", loopback, "", request{method: "POST", path: "/api/v1/routers", body: `{}`, header: []string{"Content-Type", "text/plain"}}, 415},
		{"health check by any name", loopback, "", request{method: "GET", path: "/healthz", header: []string{"Host", "probe.internal"}}, 200},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newTestServer(t, func(cfg *Config) { cfg.Addr, cfg.PublicURL = row.addr, row.public })
			recorder := s.do(row.r)
			assert.Equal(t, row.want, recorder.Code, recorder.Body)
		})
	}
}

// TestGuardIsForOpenNodes: with a credential required, a foreign page has none to send.
func TestGuardIsForOpenNodes(t *testing.T) {
	s := newTestServer(t, func(cfg *Config) { cfg.Authorizer = testAuthorizer() })
	recorder := s.do(request{method: "GET", path: "/api/v1/node", header: []string{"Host", "sfu.example.org", "Authorization", "Bearer " + opsSecret}})
	assert.Equal(t, 200, recorder.Code)
}
