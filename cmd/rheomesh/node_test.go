package main

import (
	"log/slog"
	"net/http"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"rheomesh/api"
	"rheomesh/config"
)

func TestNodeStopsAll(t *testing.T) {
	leaks := goleak.IgnoreCurrent()
	n, err := startNode(demoConfig(), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	status, _ := get(t, n.baseURLs()[0]+"/healthz", "")
	assert.Equal(t, 200, status)
	require.NoError(t, n.stop())
	http.DefaultClient.CloseIdleConnections()
	goleak.VerifyNone(t, leaks)
}

func TestBaseURLs(t *testing.T) {
	for _, row := range []struct {
		name, addr, public string
		tls                bool
		want               string
	}{
		{"loopback", "127.0.0.1:8080", "", false, "http://127.0.0.1:8080"},
		{"IPv6", "[::1]:8080", "", false, "http://[::1]:8080"},
		{"every address", "[::]:8080", "", false, "http://127.0.0.1:8080"},
		{"TLS", "127.0.0.1:8443", "", true, "https://127.0.0.1:8443"},
		{"public", "[::]:8080", "https://sfu.example.org/", false, "https://sfu.example.org"},
	} {
		t.Run(row.name, func(t *testing.T) {
			n := &node{http: api.Listener{Addr: netip.MustParseAddrPort(row.addr), TLS: row.tls}}
			n.cfg.HTTP.PublicURL = row.public
			assert.Equal(t, row.want, n.baseURLs()[0])
		})
	}
}

func TestHealthURL(t *testing.T) {
	for _, row := range []struct {
		cfg  config.HTTP
		want string
	}{
		{config.HTTP{Addr: ":8080"}, "http://127.0.0.1:8080/healthz"},
		{config.HTTP{Addr: "0.0.0.0:1"}, "http://127.0.0.1:1/healthz"},
		{config.HTTP{Addr: "[::]:1"}, "http://127.0.0.1:1/healthz"},
		{config.HTTP{Addr: "[::1]:1"}, "http://[::1]:1/healthz"},
		{config.HTTP{Addr: "localhost:1", TLS: config.TLS{CertFile: "a", KeyFile: "b"}}, "https://localhost:1/healthz"},
	} {
		assert.Equal(t, row.want, healthURL(row.cfg))
	}
}

func TestDescribeListener(t *testing.T) {
	addr := netip.MustParseAddrPort("127.0.0.1:10000")
	assert.Equal(t, "media udp 127.0.0.1:10000, buffers 208 KiB in 208 KiB out, GSO yes, GRO no (kernel too old)",
		describe(api.Listener{Name: "media", Network: "udp", Addr: addr, GSO: true, ReadBufferBytes: 212992, WriteBufferBytes: 212992, Reason: "kernel too old"}))
	assert.Equal(t, "http tcp 127.0.0.1:10000, TLS", describe(api.Listener{Name: "http", Network: "tcp", Addr: addr, TLS: true}))
}
