package sfu

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

const (
	certificateFile = "dtls.pem"
	// certificateLife is long, since clients trust the fingerprint in the answer and not the dates; the certificate is renewed a month before its end.
	certificateLife  = 5 * 365 * 24 * time.Hour
	certificateRenew = 30 * 24 * time.Hour
)

// loadCertificate returns the node's DTLS certificate (RFC 5763), one for all sessions: from dataDir when a good one is there, else a new one, which is then
// kept there. An empty dataDir keeps nothing.
func loadCertificate(dataDir string) (tls.Certificate, error) {
	if dataDir == "" {
		return newCertificate(nil)
	}
	path := filepath.Join(dataDir, certificateFile)
	text, err := os.ReadFile(path)
	if err == nil {
		certificate, err := tls.X509KeyPair(text, text)
		if err == nil && time.Until(certificate.Leaf.NotAfter) > certificateRenew {
			return certificate, nil
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return tls.Certificate{}, fmt.Errorf("dtls certificate: %w", err)
	}
	return newCertificate(func(text []byte) error {
		if err := os.MkdirAll(dataDir, 0o700); err != nil {
			return err
		}
		return replaceFile(path, text)
	})
}

// replaceFile writes a file that only its owner may read, whatever stood there before, in one step.
func replaceFile(path string, text []byte) error {
	temporary := path + ".new"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.WriteFile(temporary, text, 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}

// newCertificate makes a self-signed ECDSA P-256 certificate, the kind that all WebRTC stacks take (RFC 8827 section 6.5), and hands its PEM to keep.
func newCertificate(keep func([]byte) error) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("dtls certificate: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("dtls certificate: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "WebRTC"},
		NotBefore: now.Add(-24 * time.Hour), NotAfter: now.Add(certificateLife),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("dtls certificate: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("dtls certificate: %w", err)
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})...)
	if keep != nil {
		if err := keep(text); err != nil {
			return tls.Certificate{}, fmt.Errorf("dtls certificate: %w", err)
		}
	}
	return tls.X509KeyPair(text, text)
}
