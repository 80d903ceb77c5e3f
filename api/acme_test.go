package api

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/acme"
)

// clientHello asks for the certificate of a domain, as a browser with ECDSA does.
func clientHello(domain string) *tls.ClientHelloInfo {
	return &tls.ClientHelloInfo{
		ServerName: domain, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
		SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}, SupportedCurves: []tls.CurveID{tls.CurveP256},
	}
}

// TestACME serves a certificate that an earlier run has got, and asks the issuer for no name that is not configured.
func TestACME(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := writeCertificateFor(t, t.TempDir(), "sfu.example.org", 9, time.Now())
	cached := append(read(t, keyFile), read(t, certFile)...) // the order of the cache
	require.NoError(t, os.WriteFile(filepath.Join(dir, "sfu.example.org"), cached, 0o600))
	cfg := ACME{Domains: []string{"sfu.example.org"}, CacheDir: dir, Directory: "http://127.0.0.1:1/directory"}.TLSConfig()
	assert.EqualValues(t, tls.VersionTLS12, cfg.MinVersion)
	assert.Contains(t, cfg.NextProtos, acme.ALPNProto, "the challenge of RFC 8737")
	assert.Contains(t, cfg.NextProtos, "h2")

	pair, err := cfg.GetCertificate(clientHello("sfu.example.org"))
	require.NoError(t, err)
	assert.EqualValues(t, 9, serialOf(t, pair))
	for _, domain := range []string{"other.example.org", "example.org", "", "192.0.2.1", "../sfu.example.org"} {
		_, err := cfg.GetCertificate(clientHello(domain))
		assert.Error(t, err, domain)
		assert.NotContains(t, err.Error(), "127.0.0.1", "the issuer is not asked for %q", domain)
	}
}

func TestACMEAsksTheDirectory(t *testing.T) {
	cfg := ACME{Domains: []string{"sfu.example.org"}, CacheDir: t.TempDir(), Directory: "http://127.0.0.1:1/directory"}.TLSConfig()
	_, err := cfg.GetCertificate(clientHello("sfu.example.org"))
	assert.ErrorContains(t, err, "127.0.0.1:1")
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(name)
	require.NoError(t, err)
	return content
}
