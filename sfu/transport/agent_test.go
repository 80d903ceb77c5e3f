package transport

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestNewCredentials(t *testing.T) {
	const iceChars = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/" // RFC 8839 section 5.4
	seen := map[string]bool{}
	for range 1000 {
		c := NewCredentials()
		require.Len(t, c.Ufrag, ufragChars)
		require.Len(t, c.Pwd, pwdChars)
		require.Empty(t, strings.Trim(c.Ufrag+c.Pwd, iceChars))
		require.False(t, seen[c.Ufrag] || seen[c.Pwd])
		seen[c.Ufrag], seen[c.Pwd] = true, true
	}
}

func TestCheckable(t *testing.T) {
	tests := []struct {
		addr           string
		want, loopback bool
	}{
		{"192.0.2.1:5000", true, true},
		{"10.0.0.1:5000", true, true},
		{"[2001:db8::1]:5000", true, true},
		{"[::ffff:192.0.2.1]:5000", true, true},
		{"192.0.2.1:0", false, false},
		{"127.0.0.1:5000", false, true},
		{"[::1]:5000", false, true},
		{"[::ffff:127.0.0.1]:5000", false, true},
		{"0.0.0.0:5000", false, false},
		{"[::]:5000", false, false},
		{"169.254.169.254:80", false, false},
		{"[::ffff:169.254.169.254]:80", false, false},
		{"[fe80::1]:5000", false, false},
		{"224.0.0.1:5000", false, false},
		{"[ff02::1]:5000", false, false},
		{"255.255.255.255:5000", false, false},
	}
	for _, tt := range tests {
		t.Run(tt.addr, func(t *testing.T) {
			require.Equal(t, tt.want, checkable(netip.MustParseAddrPort(tt.addr), false))
			require.Equal(t, tt.loopback, checkable(netip.MustParseAddrPort(tt.addr), true))
		})
	}
	require.False(t, checkable(netip.AddrPort{}, true))
}

// fillAgent makes an agent with n candidates, on paths that are never written to.
func fillAgent(t testing.TB, s *server, n int) (a agent, start time.Time) {
	t.Helper()
	start = time.Now()
	peer := Peer{Credentials: NewCredentials()}
	for i := range n {
		peer.Candidates = append(peer.Candidates, netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(1000+i)))
	}
	return newAgent(peer, start, &s.config), start
}

// TestChecksToTheDeaf counts what candidates that never answer are sent, waking up as the session does: the number is bounded and soon done.
func TestChecksToTheDeaf(t *testing.T) {
	s := newServer(t)
	a, start := fillAgent(t, s, 30)
	limit := start.Add(time.Minute)
	checks, last := 0, start
	for now := start; now.Before(limit); {
		if due := a.due(now); len(due) > 0 {
			checks, last = checks+len(due), now
		}
		next := a.wake(limit)
		require.True(t, next.After(now), "the timer would spin")
		now = next
	}
	require.Equal(t, 30*checkTries, checks)
	require.Less(t, last.Sub(start), 5*time.Second)
}

// TestWakeNeverSpins expects the agent to have nothing overdue after it did what was due, whatever its state.
func TestWakeNeverSpins(t *testing.T) {
	s := newServer(t)
	tests := []struct {
		name   string
		change func(a *agent, now time.Time)
	}{
		{"selected pair wants a consent check", func(a *agent, now time.Time) { a.selected = a.pairs[0]; a.pairs[0].valid = true }},
		{"restarted, old pairs want checks", func(a *agent, _ time.Time) { a.selected = a.pairs[0]; a.restart(NewCredentials()) }},
		{"restarted twice", func(a *agent, _ time.Time) { a.restart(NewCredentials()); a.restart(NewCredentials()) }},
		{"valid pair that is not selected", func(a *agent, _ time.Time) { a.pairs[1].valid = true }},
		{"lite", func(a *agent, _ time.Time) { a.lite = true; a.selected = a.pairs[0] }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, start := fillAgent(t, s, 3)
			tt.change(&a, start)
			limit := start.Add(time.Hour)
			for now := start; now.Before(start.Add(time.Minute)); {
				a.due(now)
				next := a.wake(limit)
				require.True(t, next.After(now))
				now = next
			}
		})
	}
}

// TestWhoIsChecked tells whether the pairs of an agent are sent checks.
func TestWhoIsChecked(t *testing.T) {
	s := newServer(t)
	tests := []struct {
		name   string
		change func(a *agent)
		want   int
	}{
		{"fresh", func(*agent) {}, 3},
		{"valid, not selected", func(a *agent) { a.pairs[0].valid = true }, 2},
		{"selected", func(a *agent) { a.pairs[0].valid, a.selected = true, a.pairs[0] }, 3},
		{"tried enough", func(a *agent) { a.pairs[0].tries = checkTries }, 2},
		{"old generation", func(a *agent) { a.selected = a.pairs[0]; a.restart(NewCredentials()) }, 0},
		{"lite", func(a *agent) { a.lite = true }, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, start := fillAgent(t, s, 3)
			tt.change(&a)
			require.Len(t, a.due(start.Add(time.Second)), tt.want)
		})
	}
}

func TestConsentInterval(t *testing.T) {
	s := newServer(t)
	a, start := fillAgent(t, s, 1)
	a.selected, a.pairs[0].valid = a.pairs[0], true
	checks := 0
	for now := start; now.Before(start.Add(time.Minute)); now = a.wake(start.Add(time.Minute)) {
		checks += len(a.due(now))
	}
	require.InDelta(t, int(time.Minute/consentInterval), checks, 1)
}

func TestPairLimit(t *testing.T) {
	s := newServer(t)
	a, start := fillAgent(t, s, maxPairs+10)
	require.Len(t, a.pairs, maxPairs, "candidates beyond the limit are ignored")
	path := func(i int) (p *pair, evicted *pair) {
		return a.heardFrom(s.pathTo(netip.AddrPortFrom(netip.MustParseAddr("192.0.2.2"), uint16(1+i))))
	}
	a.selected = a.pairs[3]
	a.pairs[5].valid = true
	for i := range 2 * maxPairs {
		p, evicted := path(i)
		p.seen, p.valid = start.Add(time.Duration(i)), true
		require.NotNil(t, evicted)
		require.NotSame(t, a.selected, evicted)
		if i < maxPairs-2 {
			require.False(t, evicted.valid, "those that never worked go first")
		}
		require.Len(t, a.pairs, maxPairs)
	}
	require.Contains(t, a.pairs, a.selected)
	again, evicted := path(2*maxPairs - 1)
	require.Nil(t, evicted)
	require.True(t, again.valid)

	a.restart(NewCredentials())
	p, evicted := path(0)
	require.Nil(t, evicted, "a new generation has room of its own")
	require.Equal(t, 1, p.generation)
}

func TestRestartNames(t *testing.T) {
	s := newServer(t)
	a, _ := fillAgent(t, s, 2)
	first := a.local
	ufrag, gone := a.restart(NewCredentials())
	require.Empty(t, ufrag)
	require.Empty(t, gone)
	second := a.local
	require.Equal(t, []string{second.Ufrag, first.Ufrag}, a.names())
	between := s.pathTo(netip.MustParseAddrPort("192.0.2.9:9"))
	a.heardFrom(between)
	a.heardFrom(a.pairs[0].path)

	ufrag, gone = a.restart(NewCredentials())
	require.Equal(t, second.Ufrag, ufrag, "the one in between is forgotten")
	require.Equal(t, []any{between}, []any{gone[0]})
	require.Len(t, gone, 1, "the first one's paths stay")
	third := a.local
	require.Equal(t, []string{third.Ufrag, first.Ufrag}, a.names())
	for _, tt := range []struct {
		ufrag   string
		old, ok bool
	}{{first.Ufrag, true, true}, {second.Ufrag, false, false}, {third.Ufrag, false, true}, {"", false, false}} {
		_, old, ok := a.credentialsFor([]byte(tt.ufrag))
		require.Equal(t, tt.ok, ok)
		require.Equal(t, tt.old, old)
	}
	p, _ := a.heardFrom(a.pairs[0].path)
	ufrag, gone = a.settle()
	require.Equal(t, first.Ufrag, ufrag)
	require.Len(t, gone, 1)
	require.Equal(t, []*pair{p}, a.pairs)
	ufrag, _ = a.settle()
	require.Empty(t, ufrag)
}
