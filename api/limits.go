package api

import (
	"errors"
	"net/http"
	"sync/atomic"

	"rheomesh/whip"
)

// Limits bound what clients can make the HTTP server do. A zero field means its default. They can change while the
// server runs.
type Limits struct {
	MaxJSONBytes        int // JSON body of a request under /api/v1; 64 KiB
	MaxConnections      int // open connections; 8192
	MaxConnectionsPerIP int // the same of one address, or one /64 in IPv6; 256

	PostsPerSecond int // POST requests with one credential; 20
	PostBurst      int // how many of them may come at once; 40

	PostsPerSecondPerIP int // POST requests of one address, loopback excepted; 5
	PostBurstPerIP      int // how many of them may come at once; 10

	FailedCredentialsPerMinutePerIP int // wrong credentials of one address, loopback excepted; 10
}

var defaultLimits = Limits{
	MaxJSONBytes: 64 << 10, MaxConnections: 8192, MaxConnectionsPerIP: 256, PostsPerSecond: 20, PostBurst: 40,
	PostsPerSecondPerIP: 5, PostBurstPerIP: 10, FailedCredentialsPerMinutePerIP: 10,
}

func (l Limits) withDefaults() Limits {
	for _, field := range []struct{ value, standard *int }{
		{&l.MaxJSONBytes, &defaultLimits.MaxJSONBytes},
		{&l.MaxConnections, &defaultLimits.MaxConnections},
		{&l.MaxConnectionsPerIP, &defaultLimits.MaxConnectionsPerIP},
		{&l.PostsPerSecond, &defaultLimits.PostsPerSecond},
		{&l.PostBurst, &defaultLimits.PostBurst},
		{&l.PostsPerSecondPerIP, &defaultLimits.PostsPerSecondPerIP},
		{&l.PostBurstPerIP, &defaultLimits.PostBurstPerIP},
		{&l.FailedCredentialsPerMinutePerIP, &defaultLimits.FailedCredentialsPerMinutePerIP},
	} {
		if *field.value == 0 {
			*field.value = *field.standard
		}
	}
	return l
}

// rejections names the refusals that a limit of the HTTP side causes; the first match counts. Connections beyond their
// limit are no requests, and counted by the listener.
var rejections = [...]struct {
	err    error
	reason string
}{
	{errCredentialRate, "post-rate-credential"},
	{errAddressRate, "post-rate-ip"},
	{errFailedAttempts, "failed-credentials"},
	{whip.ErrTooManyRequests, "session-requests"},
	{whip.ErrStreamLimit, "event-streams"},
}

// Reasons that have no sentinel of their own.
const (
	rejectedBody        = "body"
	rejectedConnections = "http-connections"
)

// rejectionCounts counts refusals: one for each row of rejections, then bodies.
type rejectionCounts [len(rejections) + 1]atomic.Uint64

func (n *rejectionCounts) count(err error, status int) {
	for i, row := range rejections {
		if errors.Is(err, row.err) {
			n[i].Add(1)
			return
		}
	}
	if status == http.StatusRequestEntityTooLarge {
		n[len(rejections)].Add(1)
	}
}

// Rejected counts what the limits of the HTTP server have refused, by reason. Those of the media core are counted there.
func (s *Server) Rejected() map[string]uint64 {
	counts := map[string]uint64{
		rejectedBody:        s.rejected[len(rejections)].Load(),
		rejectedConnections: s.connections.refused.Load(),
	}
	for i, row := range rejections {
		counts[row.reason] = s.rejected[i].Load()
	}
	return counts
}

// SetLimits makes limits count from now on. What is open or under way beyond a lowered one stays.
func (s *Server) SetLimits(limits Limits) {
	limits = limits.withDefaults()
	s.limits.Store(&limits)
	s.throttle.Set(limits)
	s.connections.set(limits.MaxConnectionsPerIP, limits.MaxConnections)
}
