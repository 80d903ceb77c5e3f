package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"rheomesh/config"
)

// newHealthcheck is for containers, which hold no other program that could ask.
func newHealthcheck() *cobra.Command {
	cmd := &cobra.Command{Use: "healthcheck", Short: "Ask the node of this configuration whether it is healthy", Hidden: true, Args: cobra.NoArgs}
	load := nodeFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		// whether the node may listen there was judged when it started, with flags that are unknown here
		if err := cmd.Flags().Set("insecure", "true"); err != nil {
			return err
		}
		cfg, err := load()
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), 3*time.Second)
		defer cancel()
		return checkHealth(ctx, cfg.HTTP)
	}
	return cmd
}

func checkHealth(ctx context.Context, cfg config.HTTP) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, healthURL(cfg), nil)
	if err != nil {
		return err
	}
	// the certificate is for a public name, and this asks by a loopback address
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", r.URL, response.Status)
	}
	return nil
}

// healthURL reaches a listener from the machine that it runs on.
func healthURL(cfg config.HTTP) string {
	scheme := "http"
	if cfg.TLS.Enabled() {
		scheme = "https"
	}
	host, port, err := net.SplitHostPort(cfg.Addr)
	if err != nil {
		panic(err) // config has validated it
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1" // an unspecified address takes IPv4 too
	}
	return fmt.Sprintf("%s://%s/healthz", scheme, net.JoinHostPort(host, port))
}
