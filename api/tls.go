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

// TLSConfig serves the certificate in the files and takes up a new one when they change. A pair that does not fit, which
// is what a half-finished renewal looks like, leaves the old one in use.
func TLSConfig(certFile, keyFile string, log *slog.Logger) (*tls.Config, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log}
	if err := c.load(); err != nil {
		return nil, fmt.Errorf("certificate %s: %w", certFile, err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.current}, nil
}

// certificate is a pair of files and what they held last.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	// mu guards all below. Reading two small files under it every certificateCheck delays only new connections.
	mu       sync.Mutex
	pair     *tls.Certificate
	modified [2]time.Time
	checked  time.Time
}

func (c *certificate) current(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.checked) > certificateCheck {
		c.checked = now
		if c.modified != c.modTimes() {
			if err := c.load(); err != nil {
				c.log.Warn("new certificate cannot be used", "err", err)
			}
		}
	}
	return c.pair, nil
}

// load must not run concurrently with itself.
func (c *certificate) load() error {
	modified := c.modTimes() // before reading: a change in between is seen at the next check
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return err
	}
	c.pair, c.modified = &pair, modified
	return nil
}

func (c *certificate) modTimes() (modified [2]time.Time) {
	for i, name := range []string{c.certFile, c.keyFile} {
		if info, err := os.Stat(name); err == nil {
			modified[i] = info.ModTime()
		}
	}
	return modified
}
