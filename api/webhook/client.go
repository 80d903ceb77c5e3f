package webhook

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"syscall"
	"time"
)

const (
	maxResponseBytes  = 64 << 10 // of a receiver's answer
	maxResponseHeader = 16 << 10
	dialTimeout       = 3 * time.Second
	userAgent         = "Rheomesh-Webhook/1"
)

// client sends signed requests to receivers that its rule permits. It is safe for concurrent use.
type client struct{ http *http.Client }

func newClient(rule Rule) *client {
	dialer := &net.Dialer{
		Timeout: dialTimeout,
		// Control runs after names are resolved, with the very address that will be connected to.
		Control: func(_, address string, _ syscall.RawConn) error {
			target, err := netip.ParseAddrPort(address)
			if err != nil {
				return fmt.Errorf("address %q: %w", address, ErrTarget)
			}
			return rule.CheckAddr(target.Addr())
		},
	}
	return &client{http: &http.Client{
		Transport: &http.Transport{
			Proxy:                  nil, // a proxy would connect in our place, unchecked
			DialContext:            dialer.DialContext,
			TLSHandshakeTimeout:    dialTimeout,
			MaxResponseHeaderBytes: maxResponseHeader,
			MaxIdleConnsPerHost:    lanes,
			IdleConnTimeout:        30 * time.Second,
			DisableCompression:     true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// post sends one request and returns the status of the answer. An empty secret signs nothing. ctx bounds all of it.
func (c *client) post(ctx context.Context, target string, secret Secret, id string, body []byte) (status int, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	now := time.Now()
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", userAgent)
	r.Header.Set("Webhook-Id", id)
	r.Header.Set("Webhook-Timestamp", strconv.FormatInt(now.Unix(), 10))
	if secret != "" {
		r.Header.Set("Webhook-Signature", secret.sign(id, now, body))
	}
	response, err := c.http.Do(r)
	if err != nil {
		return 0, err
	}
	// The status has decided; the body is read so that the connection can be used again, unless it is long.
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxResponseBytes))
	_ = response.Body.Close()
	return response.StatusCode, nil
}

func (c *client) close() { c.http.CloseIdleConnections() }
