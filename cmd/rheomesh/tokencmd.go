package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rheomesh/api"
	"rheomesh/config"
	"rheomesh/sfu"
	"rheomesh/whip"
)

func newToken() *cobra.Command {
	cmd := &cobra.Command{
		Use: "token", Short: "Make tokens that a node accepts", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newTokenCreate())
	return cmd
}

// tokenFlags say what a token is for.
type tokenFlags struct {
	file, subject, url           string
	routers, publishers, actions []string
	lifetime                     time.Duration
	bare                         bool
}

func newTokenCreate() *cobra.Command {
	var f tokenFlags
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make a JWT, and print how OBS and curl use it",
		Long: `Make a JWT for publishers, players or operators, signed with auth.jwt.hs256_secret of the node's configuration: the
file, or the variable ` + config.EnvPrefix + `AUTH_JWT_HS256_SECRET or ` + config.EnvPrefix + `AUTH_JWT_HS256_SECRET_FILE. The secret is never an argument, which others could see.`,
		Example: "  rheomesh token create --router live --publisher cam1 --action publish --ttl 12h",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return createToken(cmd.OutOrStdout(), f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.file, "config", os.Getenv(config.EnvFile), "YAML `FILE` with the node's configuration; "+config.EnvFile+" names it too")
	flags.StringSliceVar(&f.routers, "router", []string{"live"}, "`ROUTER` that it is for, or a pattern such as room-*; may be repeated")
	flags.StringSliceVar(&f.publishers, "publisher", nil, "`PUBLISHER` that it is for, or a pattern; may be repeated (default all)")
	flags.StringSliceVar(&f.actions, "action", []string{whip.ActionPublish}, "`ACTION` that it permits: publish, play, data, relay or admin; may be repeated")
	flags.DurationVar(&f.lifetime, "ttl", 12*time.Hour, "`DURATION` that it lives, at most 24h")
	flags.StringVar(&f.subject, "subject", "", "`NAME` in logs (default: what it is for)")
	flags.StringVar(&f.url, "url", "", "`URL` of the node in the printed lines (default from the configuration)")
	flags.BoolVar(&f.bare, "bare", false, "print the token alone")
	return cmd
}

func createToken(w io.Writer, f tokenFlags) error {
	if err := f.check(); err != nil {
		return usageError(err)
	}
	// the addresses do not matter here, so those that a node would refuse must not
	cfg, err := config.Load(config.Sources{File: f.file, Environ: os.Environ(), Insecure: true})
	if err != nil {
		return err
	}
	secret := cfg.Auth.JWT.HS256Secret.Reveal()
	if secret == "" {
		return errors.New("no auth.jwt.hs256_secret in the configuration to sign with: name the node's file with --config")
	}
	token, err := f.token(cfg.Auth.JWT).Sign([]byte(secret), time.Now())
	if err != nil {
		return err
	}
	if f.bare {
		_, err := fmt.Fprintln(w, token)
		return err
	}
	return f.print(w, cfg, token)
}

func (f tokenFlags) check() error {
	if f.lifetime < time.Second || f.lifetime > api.MaxTokenLifetime {
		return fmt.Errorf("--ttl must be 1s to %s", api.MaxTokenLifetime)
	}
	for _, action := range f.actions {
		if !slices.Contains(config.Actions(), action) {
			return fmt.Errorf("--action %q is none of %s", action, strings.Join(config.Actions(), ", "))
		}
	}
	for _, pattern := range slices.Concat(f.routers, f.publishers) {
		if !sfu.ValidID(strings.ReplaceAll(pattern, "*", "x")) {
			return fmt.Errorf("%q is neither an id nor a pattern with *", pattern)
		}
	}
	return nil
}

func (f tokenFlags) token(cfg config.JWT) api.Token {
	subject := f.subject
	if subject == "" {
		subject = strings.Join(f.routers, ",")
		if len(f.publishers) > 0 {
			subject += "/" + strings.Join(f.publishers, ",")
		}
	}
	return api.Token{
		Subject: subject, Issuer: cfg.Issuer, Audience: cfg.Audience, Publishers: f.publishers, Lifetime: f.lifetime,
		Grants: []api.Grant{{Routers: f.routers, Actions: f.actions}},
	}
}

// print shows the lines for the first router and publisher that the token is for.
func (f tokenFlags) print(w io.Writer, cfg config.Config, token string) error {
	base, router, publisher := f.base(cfg), concrete(f.routers, "live"), concrete(f.publishers, "cam1")
	var lines strings.Builder
	fmt.Fprintf(&lines, "Token  %s\n", token)
	if slices.Contains(f.actions, whip.ActionPublish) {
		fmt.Fprintf(&lines, "OBS    Settings, Stream: Service WHIP, Server %s/whip/%s/%s, Bearer Token: %s\n", base, router, publisher, token)
		fmt.Fprintf(&lines, "curl   curl -H 'Authorization: Bearer %s' -H 'Content-Type: application/sdp' --data-binary @offer.sdp %s/whip/%s/%s\n", token, base, router, publisher)
	}
	if slices.Contains(f.actions, whip.ActionPlay) {
		fmt.Fprintf(&lines, "curl   curl -H 'Authorization: Bearer %s' -H 'Content-Type: application/sdp' --data-binary @offer.sdp %s/whep/%s/%s\n", token, base, router, publisher)
	}
	if slices.Contains(f.actions, api.ActionAdmin) {
		fmt.Fprintf(&lines, "curl   curl -H 'Authorization: Bearer %s' %s/api/v1/routers\n", token, base)
	}
	fmt.Fprintf(&lines, "Until  %s\n", time.Now().Add(f.lifetime).UTC().Format(time.RFC3339))
	_, err := io.WriteString(w, lines.String())
	return err
}

// base is where the node's users reach it, as far as the configuration tells.
func (f tokenFlags) base(cfg config.Config) string {
	for _, url := range []string{f.url, cfg.HTTP.PublicURL} {
		if url != "" {
			return strings.TrimRight(url, "/")
		}
	}
	return strings.TrimSuffix(healthURL(cfg.HTTP), "/healthz")
}

// concrete is the first id among patterns, or the example when there is none.
func concrete(patterns []string, example string) string {
	for _, pattern := range patterns {
		if !strings.Contains(pattern, "*") {
			return pattern
		}
	}
	return example
}
