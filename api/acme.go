package api

import (
	"crypto/tls"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// ACME gets certificates from an ACME server (RFC 8555) when they are first asked for, and renews them.
type ACME struct {
	Domains   []string // the only names that certificates are asked for
	CacheDir  string   // keeps account and certificates over restarts, since issuers limit how many they give
	Directory string   // URL of the server; "" = Let's Encrypt
}

// TLSConfig answers the challenge of RFC 8737 (TLS-ALPN-01) on the listener itself, which the server must reach at port
// 443 of each domain. A client that names no domain of ours gets no certificate.
func (a ACME) TLSConfig() *tls.Config {
	manager := &autocert.Manager{
		Prompt: autocert.AcceptTOS, HostPolicy: autocert.HostWhitelist(a.Domains...), Cache: autocert.DirCache(a.CacheDir),
	}
	if a.Directory != "" {
		manager.Client = &acme.Client{DirectoryURL: a.Directory}
	}
	cfg := manager.TLSConfig()
	cfg.MinVersion = tls.VersionTLS12
	return cfg
}
