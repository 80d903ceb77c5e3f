package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const otherSecret = "fedcba9876543210fedcba9876543210"

// configOf is a file with one key and more.
func configOf(secret, more string) string {
	return "auth: {api_keys: [{id: ops, secret: " + secret + ", grants: [{routers: ['*'], actions: [admin]}]}]}\n" + more
}

// writeCertificate makes a self-signed pair.
func writeCertificate(t *testing.T, dir string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	require.NoError(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600))
	require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	return certFile, keyFile
}

func TestReload(t *testing.T) {
	file := filepath.Join(t.TempDir(), "node.yaml")
	write := func(content string) { require.NoError(t, os.WriteFile(file, []byte(content), 0o600)) }
	write(configOf(testSecret, "log: {level: info}"))
	p := startServe(t, nil, "--config", file)
	node := func(secret string) int { status, _ := get(t, p.url+"/api/v1/node", secret); return status }
	reload := func(content, want string) string {
		t.Helper()
		write(content)
		from := len(p.stderr.String())
		require.NoError(t, p.Process.Signal(syscall.SIGHUP))
		require.Eventually(t, func() bool { return strings.Contains(p.stderr.String()[from:], want) }, 10*time.Second, 10*time.Millisecond, p.stderr)
		return p.stderr.String()[from:]
	}
	require.Equal(t, 200, node(testSecret))

	reload(configOf(otherSecret, "log: {level: debug}\nlimits: {max_json_bytes: 100, max_sessions: 5}"), "configuration reloaded")
	assert.Contains(t, p.stderr.String(), "limits.max_sessions", "what waits for a restart is named")
	assert.Equal(t, 401, node(testSecret), "the old key is revoked")
	assert.Equal(t, 200, node(otherSecret))
	assert.Contains(t, p.stderr.String(), `"request served"`, "the level is debug")

	for name, row := range map[string]struct{ content, want string }{
		"broken":       {"auth: [", "yaml"},
		"unknown key":  {configOf(testSecret, "log: {levl: info}"), "unknown key log.levl"},
		"short secret": {configOf("short", ""), "at least 32 characters"},
	} {
		line := reload(row.content, "nothing has changed")
		assert.Contains(t, line, row.want, name)
		assert.Equal(t, 200, node(otherSecret), name)
		assert.Equal(t, 401, node(testSecret), name)
	}
	require.NoError(t, os.Remove(file))
	require.NoError(t, p.Process.Signal(syscall.SIGHUP))
	require.Eventually(t, func() bool { return strings.Contains(p.stderr.String(), "no such file") }, 10*time.Second, 10*time.Millisecond)
	assert.Equal(t, 200, node(otherSecret))
}

func TestReloadCertificate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "node.yaml")
	certFile, keyFile := writeCertificate(t, t.TempDir())
	content := configOf(testSecret, "http: {tls: {cert_file: "+certFile+", key_file: "+keyFile+"}}")
	require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
	p := startServe(t, nil, "--config", file)
	require.NoError(t, os.WriteFile(certFile, []byte("half of a"), 0o600))
	require.NoError(t, p.Process.Signal(syscall.SIGHUP))
	require.Eventually(t, func() bool { return strings.Contains(p.stderr.String(), "nothing has changed") }, 10*time.Second, 10*time.Millisecond)
	assert.Contains(t, p.stderr.String(), certFile)
}

// TestReloadKeepsCredentials: a file that lost its credentials must not open a node to everyone.
func TestReloadKeepsCredentials(t *testing.T) {
	file := filepath.Join(t.TempDir(), "node.yaml")
	require.NoError(t, os.WriteFile(file, []byte(configOf(testSecret, "")), 0o600))
	p := startServe(t, nil, "--config", file, "--http", "0.0.0.0:0")
	require.NoError(t, os.WriteFile(file, []byte("log: {level: info}\n"), 0o600))
	require.NoError(t, p.Process.Signal(syscall.SIGHUP))
	require.Eventually(t, func() bool { return strings.Contains(p.stderr.String(), "nothing has changed") }, 10*time.Second, 10*time.Millisecond)
	status, _ := get(t, p.url+"/api/v1/node", "")
	assert.Equal(t, 401, status)
}

// The secret of a cluster changes by reloads alone: the relay goes on, on the same link, which rests on the new secret in the end.
func TestReloadChangesRelaySecret(t *testing.T) {
	dir := t.TempDir()
	const newSecret = "the secret that the cluster is to have"
	start := func(name string) (p *process, reload func(relay string)) {
		file := filepath.Join(dir, name+".yaml")
		write := func(relay string) { require.NoError(t, os.WriteFile(file, []byte("relay: {"+relay+"}\n"), 0o600)) }
		write("secret: " + testSecret)
		p = startServe(t, nil, "--config", file)
		return p, func(relay string) {
			write(relay)
			from := len(p.stderr.String())
			require.NoError(t, p.Process.Signal(syscall.SIGHUP))
			require.Eventually(t, func() bool { return strings.Contains(p.stderr.String()[from:], "configuration reloaded") }, 10*time.Second, 10*time.Millisecond, p.stderr)
			require.Contains(t, p.stderr.String()[from:], `"wait_for_restart":"[]"`)
		}
	}
	origin, reloadOrigin := start("origin")
	edge, reloadEdge := start("edge")
	origin.putRelay(t, edge.relayAddr(t))
	links := func(p *process) string { _, body := get(t, p.url+"/api/v1/links", ""); return body }
	id := regexp.MustCompile(`link-\w+`).FindString(links(origin))
	reloadOrigin("secret: " + newSecret + ", previous_secret: " + testSecret)
	require.Contains(t, links(origin), `"secret":"previous"`)
	reloadEdge("secret: " + newSecret + ", previous_secret: " + testSecret)
	for _, p := range []*process{origin, edge} {
		require.Eventually(t, func() bool { return strings.Contains(links(p), `"secret":"current"`) }, 10*time.Second, 10*time.Millisecond)
	}
	reloadOrigin("secret: " + newSecret)
	reloadEdge("secret: " + newSecret)
	require.Contains(t, links(origin), id)
	require.Equal(t, "active", origin.relayState(t))
	require.NotContains(t, origin.stderr.String()+edge.stderr.String(), newSecret)
}
