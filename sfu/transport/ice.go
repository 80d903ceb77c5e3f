package transport

import (
	"crypto/rand"
	"net/netip"
	"time"

	"rheomesh/sfu/mediaport"
)

const (
	maxPairs        = 32                    // addresses that one client may be heard from or checked at; more are ignored
	firstCheckDelay = 20 * time.Millisecond // the client's own check usually comes sooner and makes ours a triggered one
	checkInterval   = 50 * time.Millisecond // first retransmission of a check, doubled each time (RFC 8445 section 14.3 asks for at least 50 ms pacing)
	checkTries      = 7                     // checks sent to an address that does not answer (RFC 8489 section 6.2.1, Rc)
	triggeredGap    = 20 * time.Millisecond // triggered checks to one address at most this often
	consentInterval = 2 * time.Second       // checks on the selected pair while connected; RFC 7675 section 5.1 asks for about 5 s at most
	pendingChecks   = 4                     // transactions per pair whose response is still awaited
	ufragChars      = 8                     // RFC 8445 section 5.3 asks for at least 24 bits of randomness: 40 here
	pwdChars        = 26                    // and at least 128 bits: 130 here
)

// pair is one way to the client and what checks have shown of it (RFC 8445 section 6.1.2).
type pair struct {
	path       mediaport.Path
	generation int  // ICE generation, counted by restarts
	heard      bool // a valid request came from there
	valid      bool // a check of ours succeeded
	nominated  bool // the client asked to use it
	tries      int
	next       time.Time // when to send the next check
	sent       time.Time // when the last check went out
	pending    [pendingChecks][12]byte
}

// agent is the ICE state of one session. It has no lock, clock or socket: Session guards it and passes the time.
type agent struct {
	lite        bool
	controlling bool // only with a lite client, or after a role conflict
	local       Credentials
	remote      Credentials
	generation  int
	previous    *Credentials // our credentials before a restart, until a pair of the new generation is valid
	pairs       []*pair
	deadline    time.Time // connected by then
	established bool      // the DTLS handshake was started
}

func newAgent(peer Peer, now time.Time, config *Config) agent {
	a := agent{
		lite: config.Lite, controlling: peer.Lite && !config.Lite,
		local: peer.Local, remote: peer.Credentials, deadline: now.Add(config.ConnectTimeout),
	}
	if a.local == (Credentials{}) {
		a.local = NewCredentials()
	}
	a.addAddresses(peer.Candidates, config, now)
	return a
}

// NewCredentials draws a user name fragment and a password from the base32 alphabet, which is part of ice-char.
func NewCredentials() Credentials {
	text := rand.Text() + rand.Text() // 26 characters of 5 bits each
	return Credentials{Ufrag: text[:ufragChars], Pwd: text[len(text)-pwdChars:]}
}

// addAddresses makes pairs for the client's candidates. Checks go out through the socket of the same family.
func (a *agent) addAddresses(addrs []netip.AddrPort, config *Config, now time.Time) {
	if a.lite {
		return
	}
	for _, addr := range addrs {
		if !checkable(addr, config.AllowLoopback) {
			continue
		}
		for _, socket := range config.Port.Sockets() {
			if path, ok := socket.PathTo(addr); ok {
				a.pair(path, now.Add(firstCheckDelay))
				break
			}
		}
	}
}

// checkable keeps the server from sending checks to places that no client can be at: nobody may aim it at itself, at link-local services or at a group.
func checkable(addr netip.AddrPort, allowLoopback bool) bool {
	ip := addr.Addr().Unmap()
	switch {
	case addr.Port() == 0, !ip.IsValid(), ip.IsUnspecified(), ip.IsMulticast(), ip.IsLinkLocalUnicast():
		return false
	case ip.IsLoopback():
		return allowLoopback
	}
	return ip != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// pair finds or makes the pair of the current generation for path; nil when there are too many.
func (a *agent) pair(path mediaport.Path, next time.Time) *pair {
	for _, p := range a.pairs {
		if p.path == path && p.generation == a.generation {
			return p
		}
	}
	if len(a.pairs) >= maxPairs {
		return nil
	}
	p := &pair{path: path, generation: a.generation, next: next}
	a.pairs = append(a.pairs, p)
	return p
}

// byTransaction finds the pair on which a check with this id is pending.
func (a *agent) byTransaction(id [12]byte) *pair {
	for _, p := range a.pairs {
		for _, pending := range p.pending {
			if pending == id {
				return p
			}
		}
	}
	return nil
}

// restart starts a new generation. Pairs of the old one keep carrying media until one of the new is valid (RFC 8445 section 9).
func (a *agent) restart(remote Credentials) {
	old := a.local
	a.previous = &old
	a.local, a.remote = NewCredentials(), remote
	a.generation++
}

// settle forgets the old generation once the new one has a valid pair, and returns the ufrag that is no longer ours and the paths that are no longer used.
func (a *agent) settle() (ufrag string, gone []mediaport.Path) {
	if a.previous == nil {
		return "", nil
	}
	ufrag, a.previous = a.previous.Ufrag, nil
	kept := a.pairs[:0]
	for _, p := range a.pairs {
		if p.generation == a.generation {
			kept = append(kept, p)
			continue
		}
		gone = append(gone, p.path)
	}
	a.pairs = kept
	return ufrag, gone
}

func (a *agent) paths() []mediaport.Path {
	paths := make([]mediaport.Path, 0, len(a.pairs))
	for _, p := range a.pairs {
		if p.heard || p.valid {
			paths = append(paths, p.path)
		}
	}
	return paths
}

func (a *agent) names() []string {
	names := []string{a.local.Ufrag}
	if a.previous != nil {
		names = append(names, a.previous.Ufrag)
	}
	return names
}

// credentialsFor are the credentials that a request addressed to our ufrag must be keyed with.
func (a *agent) credentialsFor(ufrag string) (Credentials, bool) {
	switch {
	case ufrag == a.local.Ufrag:
		return a.local, true
	case a.previous != nil && ufrag == a.previous.Ufrag:
		return *a.previous, true
	}
	return Credentials{}, false
}

// due lists the pairs that want a check now and schedules their next ones.
func (a *agent) due(now time.Time, selected mediaport.Path) []*pair {
	var due []*pair
	for _, p := range a.pairs {
		if p.generation != a.generation || p.next.IsZero() || now.Before(p.next) {
			continue
		}
		switch {
		case p.path == selected:
			p.next = now.Add(consentInterval)
		case p.valid, p.tries >= checkTries:
			p.next = time.Time{}
			continue
		default:
			p.next = now.Add(checkInterval << p.tries)
			p.tries++
		}
		due = append(due, p)
	}
	return due
}

// wake is when the agent next has something to do.
func (a *agent) wake(now time.Time, connected bool) time.Time {
	next := now.Add(time.Second)
	if !connected && a.deadline.Before(next) {
		next = a.deadline
	}
	for _, p := range a.pairs {
		if !p.next.IsZero() && p.next.Before(next) {
			next = p.next
		}
	}
	return next
}
