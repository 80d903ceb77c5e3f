package config_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"rheomesh/config"
)

func TestJWT(t *testing.T) {
	cfg, err := config.Load(config.Sources{
		File:    write(t, "jwt.yaml", "auth: {jwt: {hs256_secret_file: "+write(t, "secret", secret+"\n")+", issuer: portal}}"),
		Environ: []string{"RHEOMESH_AUTH_JWT_JWKS_URL=https://issuer.example.org/keys", "RHEOMESH_AUTH_JWT_AUDIENCE=sfu"},
	})
	require.NoError(t, err)
	assert.Equal(t, config.JWT{HS256Secret: secret, JWKSURL: "https://issuer.example.org/keys", Issuer: "portal", Audience: "sfu"}, cfg.Auth.JWT)
	assert.True(t, cfg.HasCredentials())
	assert.Equal(t, ":8080", cfg.HTTP.Addr, "tokens are credentials")
	var printed bytes.Buffer
	require.NoError(t, config.Print(&printed, cfg))
	assert.NotContains(t, printed.String(), secret)
}

func TestJWTAndTLSRefused(t *testing.T) {
	for name, row := range map[string]struct{ file, want string }{
		"short secret":        {"auth: {jwt: {hs256_secret: '" + secret[:31] + "'}}", "auth.jwt.hs256_secret: must have at least 32 characters, has 31"},
		"secret twice":        {"auth: {jwt: {hs256_secret: '" + secret + "', hs256_secret_file: /x}}", "auth.jwt.hs256_secret: set it or"},
		"keys over http":      {"auth: {jwt: {jwks_url: 'http://issuer.example.org/keys'}}", "auth.jwt.jwks_url: must be an https URL"},
		"keys with a user":    {"auth: {jwt: {jwks_url: 'https://a:b@issuer.example.org/'}}", "auth.jwt.jwks_url"},
		"keys of a file":      {"auth: {jwt: {jwks_url: 'file:///keys'}}", "auth.jwt.jwks_url"},
		"issuer alone":        {"auth: {jwt: {issuer: x}}", "issuer and audience need"},
		"files and ACME":      {"http: {tls: {cert_file: a, key_file: b, acme_domains: [sfu.example.org]}}", "not both"},
		"domain that is none": {"http: {tls: {acme_domains: ['*.example.org']}}", `http.tls.acme_domains[0]: "*.example.org" is not a host name`},
		"domain with a port":  {"http: {tls: {acme_domains: ['sfu.example.org:443']}}", "acme_domains[0]"},
		"address":             {"http: {tls: {acme_domains: ['192.0.2.1']}}", "acme_domains[0]"},
		"path":                {"http: {tls: {acme_domains: ['../x.org']}}", "acme_domains[0]"},
		"ACME over http":      {"http: {tls: {acme_domains: [sfu.example.org], acme_directory: 'http://ca.example.org/'}}", "http.tls.acme_directory"},
		"rate of zero":        {"limits: {posts_per_second: 0}", "limits.posts_per_second: must be above zero"},
		"burst of zero":       {"limits: {post_burst_per_ip: 0}", "limits.post_burst_per_ip: must be above zero"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.Load(config.Sources{File: write(t, "refused.yaml", row.file)})
			assert.ErrorContains(t, err, row.want)
			if err != nil {
				assert.NotContains(t, err.Error(), secret[:31])
			}
		})
	}
}

func TestACME(t *testing.T) {
	cfg, err := config.Load(config.Sources{File: write(t, "acme.yaml", "http: {tls: {acme_domains: [sfu.example.org, xn--bcher-kva.example], acme_directory: 'http://127.0.0.1:14000/dir'}}")})
	require.NoError(t, err)
	assert.True(t, cfg.HTTP.TLS.Enabled())
}

func TestChanged(t *testing.T) {
	a, b := config.Default(), config.Default()
	assert.Empty(t, config.Changed(a, b))
	b.HTTP.TLS.CertFile, b.Log.Level, b.Routers = "x", "debug", []string{"live", "stage"}
	assert.Equal(t, []string{"routers", "http.tls.cert_file", "log.level"}, config.Changed(a, b))
}
