package sfu

import (
	"log/slog"
	"net/netip"
	"time"
)

// Config configures a Node. The zero value listens on every address, on a free port, and keeps nothing on disk.
type Config struct {
	// ID names the node; "" draws one.
	ID      NodeID
	Version string
	// Logger is nil for no logs.
	Logger *slog.Logger
	// MediaAddr is "host:port" of the media port, UDP and TCP. An empty host means every address, "localhost" both loopback addresses; port 0 a free one.
	MediaAddr string
	// PublicIPs are advertised in place of the addresses of this machine, for nodes behind a one-to-one NAT.
	PublicIPs []netip.Addr
	// ICELite makes the node a lite ICE agent. Clients then connect slower: most wait for their next check interval.
	ICELite bool
	// DataDir keeps the DTLS certificate, so that it stays the same over restarts; "" makes a new one each time.
	DataDir string
	// DisableOffload sends without UDP segmentation offload.
	DisableOffload bool
	// RetainLastData keeps the last message of each data channel for viewers that come later.
	RetainLastData bool
	Limits         Limits
}

// Limits bound what clients can make the node hold. A zero field means its default.
type Limits struct {
	MaxSessions             int           // sessions of the node; 2000
	MaxSessionsPerIP        int           // the same of one client address, loopback excepted; 64
	MaxHalfOpen             int           // sessions that have not connected yet; 256
	MaxHalfOpenPerIP        int           // the same of one client address, loopback excepted; 16
	MaxRouters              int           // 500
	MaxPublishersPerRouter  int           // 32
	MaxSubscribersPerRouter int           // 1000
	MaxSSRCsPerSession      int           // RTP streams that one publisher may send; 32
	ConnectTimeout          time.Duration // from the answer to connected; 10 s
	SilenceTimeout          time.Duration // a connected session that sends nothing is closed after it; 15 s
}

// The defaults of Limits.
var defaultLimits = Limits{
	MaxSessions: 2000, MaxSessionsPerIP: 64, MaxHalfOpen: 256, MaxHalfOpenPerIP: 16, MaxRouters: 500, MaxPublishersPerRouter: 32, MaxSubscribersPerRouter: 1000,
	MaxSSRCsPerSession: 32, ConnectTimeout: 10 * time.Second, SilenceTimeout: 15 * time.Second,
}

func (l Limits) withDefaults() Limits {
	for _, field := range []struct{ value, standard *int }{
		{&l.MaxSessions, &defaultLimits.MaxSessions},
		{&l.MaxSessionsPerIP, &defaultLimits.MaxSessionsPerIP},
		{&l.MaxHalfOpen, &defaultLimits.MaxHalfOpen},
		{&l.MaxHalfOpenPerIP, &defaultLimits.MaxHalfOpenPerIP},
		{&l.MaxRouters, &defaultLimits.MaxRouters},
		{&l.MaxPublishersPerRouter, &defaultLimits.MaxPublishersPerRouter},
		{&l.MaxSubscribersPerRouter, &defaultLimits.MaxSubscribersPerRouter},
		{&l.MaxSSRCsPerSession, &defaultLimits.MaxSSRCsPerSession},
	} {
		if *field.value == 0 {
			*field.value = *field.standard
		}
	}
	if l.ConnectTimeout == 0 {
		l.ConnectTimeout = defaultLimits.ConnectTimeout
	}
	if l.SilenceTimeout == 0 {
		l.SilenceTimeout = defaultLimits.SilenceTimeout
	}
	return l
}
