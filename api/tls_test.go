package api

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// writeCertificate makes a self-signed pair with the serial number and the modification time.
func writeCertificate(t *testing.T, dir string, serial int64, modified time.Time) (certFile, keyFile string) {
	t.Helper()
	return writeCertificateFor(t, dir, "localhost", serial, modified)
}

func writeCertificateFor(t *testing.T, dir, name string, serial int64, modified time.Time) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().AddDate(0, 0, 90), DNSNames: []string{name}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	require.NoError(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600))
	require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	require.NoError(t, os.Chtimes(certFile, modified, modified))
	return certFile, keyFile
}

func serialOf(t *testing.T, pair *tls.Certificate) int64 {
	t.Helper()
	cert, err := x509.ParseCertificate(pair.Certificate[0])
	require.NoError(t, err)
	return cert.SerialNumber.Int64()
}

func TestCertificateReload(t *testing.T) {
	dir, start := t.TempDir(), time.Now().Add(-time.Hour)
	certFile, keyFile := writeCertificate(t, dir, 1, start)
	c, err := LoadCertificate(certFile, keyFile, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	served := func() int64 {
		c.checked = time.Time{} // the next check is due
		pair, err := c.current(nil)
		require.NoError(t, err)
		return serialOf(t, pair)
	}
	assert.EqualValues(t, 1, served())
	writeCertificate(t, dir, 2, start.Add(time.Minute))
	assert.EqualValues(t, 2, served())
	require.NoError(t, os.WriteFile(certFile, []byte("half of a"), 0o600))
	assert.EqualValues(t, 2, served(), "a broken file leaves the old one")
}

func TestServeTLS(t *testing.T) {
	certFile, keyFile := writeCertificate(t, t.TempDir(), 7, time.Now())
	certificate, err := LoadCertificate(certFile, keyFile, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	addr := serve(t, newTestServer(t, func(cfg *Config) { cfg.TLS = certificate.TLSConfig() }), 10, 10)
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true} // self-signed
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Get("https://" + addr + "/healthz")
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	assert.Equal(t, 200, response.StatusCode)
	assert.Equal(t, 2, response.ProtoMajor)
	assert.EqualValues(t, 7, response.TLS.PeerCertificates[0].SerialNumber.Int64())
}

func TestTLSConfigRefused(t *testing.T) {
	_, err := LoadCertificate("/nonexistent/cert.pem", "/nonexistent/key.pem", slog.New(slog.DiscardHandler))
	assert.ErrorIs(t, err, os.ErrNotExist)
}
