package api

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificateCheck is how often at most the files are looked at; renewals come weeks before they are needed.
const certificateCheck = 10 * time.Second

// Certificate is what a pair of files holds. A pair that does not fit, which is what a half-finished renewal looks like,
// leaves the old one in use. It is safe for concurrent use.
type Certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	// mu guards all below. Reading two small files under it every certificateCheck delays only new connections.
	mu       sync.Mutex
	pair     *tls.Certificate
	modified [2]time.Time
	checked  time.Time
}

// LoadCertificate reads a certificate chain and its key, both PEM.
func LoadCertificate(certFile, keyFile string, log *slog.Logger) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, log: log}
	return c, c.Reload()
}

// TLSConfig serves the certificate, and takes up a new one some time after the files have changed.
func (c *Certificate) TLSConfig() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.current}
}

// Reload reads the files now.
func (c *Certificate) Reload() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.loadLocked(); err != nil {
		return fmt.Errorf("certificate %s: %w", c.certFile, err)
	}
	return nil
}

func (c *Certificate) current(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.checked) > certificateCheck {
		c.checked = now
		if c.modified != c.modTimes() {
			if err := c.loadLocked(); err != nil {
				c.log.Warn("new certificate cannot be used", "err", err)
			}
		}
	}
	return c.pair, nil
}

func (c *Certificate) loadLocked() error {
	modified := c.modTimes() // before reading: a change in between is seen at the next check
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return err
	}
	c.pair, c.modified = &pair, modified
	return nil
}

func (c *Certificate) modTimes() (modified [2]time.Time) {
	for i, name := range []string{c.certFile, c.keyFile} {
		if info, err := os.Stat(name); err == nil {
			modified[i] = info.ModTime()
		}
	}
	return modified
}
