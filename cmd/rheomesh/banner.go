package main

import (
	"bufio"
	"fmt"
	"io"
	"slices"

	"rheomesh/api"
	"rheomesh/config"
)

// printBanner writes what a user needs next: every URL, the OBS settings, and what the kernel granted each listener.
func printBanner(w io.Writer, n *node) error {
	out := bufio.NewWriter(w)
	line := func(label, format string, args ...any) {
		fmt.Fprintf(out, "%-7s  %s\n", label, fmt.Sprintf(format, args...))
	}
	urls := n.baseURLs()
	base := urls[0]

	fmt.Fprintf(out, "Rheomesh %s, node %s\n\n", versionText(), n.media.ID())
	line("Page", "%s/", base)
	for _, id := range n.cfg.Routers {
		line("WHIP", "%s/whip/%s/{name}", base, id)
		line("WHEP", "%s/whep/%s/{name}", base, id)
	}
	line("API", "%s/api/v1/node", base)
	line("Health", "%s/healthz %s/readyz", base, base)
	for _, also := range urls[1:] {
		line("Also at", "%s/", also)
	}
	fmt.Fprintln(out)
	if len(n.cfg.Routers) > 0 {
		line("OBS", "Settings, Stream: Service WHIP, Server %s/whip/%s/obs, Bearer Token: %s", base, n.cfg.Routers[0], tokenHint(n.cfg))
		line("", "Settings, Output: Keyframe Interval 1 s; watch at %s/#/watch/%s/obs", base, n.cfg.Routers[0])
		fmt.Fprintln(out)
	}
	for _, l := range slices.Concat([]api.Listener{n.http}, api.MediaListeners(n.media), api.RelayListeners(n.relay)) {
		line("Listens", "%s", describe(l))
	}
	for _, candidate := range n.media.Candidates() {
		line("Offers", "%s to clients", candidate)
	}
	if !n.cfg.HasCredentials() && !config.Loopback(n.http.Addr.String()) {
		line("WARNING", "whoever reaches this node may publish, play and administer: no credentials are configured")
	}
	return out.Flush()
}

func tokenHint(cfg config.Config) string {
	if cfg.HasCredentials() {
		return "the secret of a key that may publish"
	}
	return "leave empty"
}

func describe(l api.Listener) string {
	text := fmt.Sprintf("%s %s %s", l.Name, l.Network, l.Addr)
	if l.TLS {
		text += ", TLS"
	}
	if l.ReadBufferBytes > 0 || l.WriteBufferBytes > 0 {
		text += fmt.Sprintf(", buffers %d KiB in %d KiB out", l.ReadBufferBytes>>10, l.WriteBufferBytes>>10)
	}
	if l.Network == "udp" {
		text += fmt.Sprintf(", GSO %s, GRO %s", yesNo(l.GSO), yesNo(l.GRO))
	}
	if l.Reason != "" {
		text += " (" + l.Reason + ")"
	}
	return text
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
