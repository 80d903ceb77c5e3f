package main

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"rheomesh/config"
)

// reloadable are the keys, and sections of keys, that may change while a node runs.
var reloadable = []string{
	"auth", "log.level", "relay.secret", "relay.previous_secret",
	"limits.max_json_bytes", "limits.max_http_connections", "limits.max_http_connections_per_ip",
	"limits.posts_per_second", "limits.post_burst", "limits.posts_per_second_per_ip", "limits.post_burst_per_ip",
	"limits.failed_credentials_per_minute_per_ip", "limits.drain_grace",
}

// errCredentialsGone is the refusal of a configuration that would open a node to everyone by accident.
var errCredentialsGone = errors.New("it has no credentials any more, and others reach this node: to let anybody in, start it anew with --insecure")

// reload takes up what cfg changes and may change: first all that can fail, so that a bad configuration changes nothing.
// It returns the changed keys that wait for a restart.
func (n *node) reload(cfg config.Config, level *slog.LevelVar) (waiting []string, err error) {
	if n.cfg.HasCredentials() && !cfg.HasCredentials() && !n.local() {
		return nil, errCredentialsGone
	}
	accepted, err := credentials(cfg.Auth, n.log)
	if err != nil {
		return nil, err
	}
	if n.certificate != nil {
		if err := n.certificate.Reload(); err != nil {
			accepted.Close()
			return nil, err
		}
	}
	n.authorizer.Replace(accepted).Close()
	n.relay.SetSecrets(cfg.Relay.Secret.Reveal(), cfg.Relay.PreviousSecret.Reveal())
	n.server.SetLimits(httpLimits(cfg.Limits))
	level.Set(levelOf(cfg.Log))
	waiting = slices.DeleteFunc(config.Changed(n.cfg, cfg), isReloadable)
	n.cfg.Auth, n.cfg.Log.Level, n.cfg.Limits.DrainGrace = cfg.Auth, cfg.Log.Level, cfg.Limits.DrainGrace
	n.cfg.Relay.Secret, n.cfg.Relay.PreviousSecret = cfg.Relay.Secret, cfg.Relay.PreviousSecret
	return waiting, nil
}

func isReloadable(path string) bool {
	return slices.ContainsFunc(reloadable, func(key string) bool { return path == key || strings.HasPrefix(path, key+".") })
}

// local tells whether only this machine reaches the node.
func (n *node) local() bool {
	if !config.Loopback(n.http.Addr.String()) {
		return false
	}
	for _, l := range n.media.MediaListeners() {
		if !config.Loopback(l.Addr.String()) {
			return false
		}
	}
	return true
}

// reloadFrom is what SIGHUP does.
func (n *node) reloadFrom(load func() (config.Config, error), level *slog.LevelVar) {
	cfg, err := load()
	var waiting []string
	if err == nil {
		waiting, err = n.reload(cfg, level)
	}
	if err != nil {
		n.log.Error("configuration not reloaded, nothing has changed", "err", err)
		return
	}
	n.log.Info("configuration reloaded", "wait_for_restart", fmt.Sprint(waiting))
}
