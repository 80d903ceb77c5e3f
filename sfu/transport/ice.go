package transport

import (
	"crypto/rand"
	"net/netip"
	"slices"
	"time"

	"rheomesh/sfu/mediaport"
)

const (
	maxPairs        = 32                    // addresses of one ICE generation; more candidates are ignored, more addresses that are heard take the place of old ones
	firstCheckDelay = 20 * time.Millisecond // the client's own check usually comes sooner and makes ours a triggered one
	checkInterval   = 50 * time.Millisecond // first retransmission of a check, doubled each time (RFC 8445 section 14.3 asks for at least 50 ms pacing)
	checkTries      = 7                     // checks sent to an address that does not answer (RFC 8489 section 6.2.1, Rc)
	triggeredGap    = 20 * time.Millisecond // triggered checks to one address at most this often
	consentInterval = 2 * time.Second       // checks on the selected pair while connected; RFC 7675 section 5.1 asks for about 5 s at most
	staleAfter      = 5 * time.Second       // a selected pair without a check or an answer for so long, two consent checks, gives way to one that works
	followGap       = time.Second           // media moves the selected pair at most this often: packets from before a move may still be under way
	pendingChecks   = 4                     // transactions per pair whose response is still awaited
	ufragChars      = 8                     // RFC 8445 section 5.3 asks for at least 24 bits of randomness: 40 here
	pwdChars        = 26                    // and at least 128 bits: 130 here
)

// pair is one way to the client and what checks have shown of it (RFC 8445 section 6.1.2).
type pair struct {
	path       mediaport.Path
	generation int  // ICE generation, counted by restarts
	valid      bool // a check of ours succeeded
	nominated  bool // the client asked to use it before it was valid
	tries      int
	next       time.Time // when to send the next check; zero for none
	sent       time.Time // when the last check went out
	seen       time.Time // when the last valid check or answer came in
	pending    [pendingChecks]transaction
}

// transaction is a check whose response is awaited; the zero value is none.
type transaction struct {
	id          [12]byte
	controlling bool // our role in the check
}

// agent is the ICE state of one session. It has no lock, clock or socket: Session guards it and passes the time.
type agent struct {
	lite        bool
	controlling bool // when the client is lite, answered our offer, or lost a role conflict
	local       Credentials
	remote      Credentials
	generation  int
	previous    *Credentials // our credentials before a restart, until a pair of the new generation is valid
	pairs       []*pair
	selected    *pair     // carries what we send; nil until a pair is valid
	selectedAt  time.Time // when it was selected
	deadline    time.Time // connected by then
	established bool      // the DTLS handshake was started
}

func newAgent(peer Peer, now time.Time, config *Config) agent {
	a := agent{
		lite: config.Lite, controlling: (peer.Lite || peer.Controlled) && !config.Lite,
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

// find is the pair of the current generation for path, or nil.
func (a *agent) find(path mediaport.Path) *pair {
	for _, p := range a.pairs {
		if p.path == path && p.generation == a.generation {
			return p
		}
	}
	return nil
}

// pair finds or makes the pair for a candidate; there may be too many.
func (a *agent) pair(path mediaport.Path, next time.Time) {
	if a.find(path) == nil && a.size() < maxPairs {
		a.pairs = append(a.pairs, &pair{path: path, generation: a.generation, next: next})
	}
}

// heardFrom finds or makes the pair for a path on which a valid request came. When there are too many, the one that is least use makes room and is
// returned: a client that moves from address to address must not run out of them.
func (a *agent) heardFrom(path mediaport.Path) (p, evicted *pair) {
	if p = a.find(path); p != nil {
		return p, nil
	}
	if a.size() >= maxPairs {
		evicted = a.leastUse()
		a.pairs = slices.DeleteFunc(a.pairs, func(p *pair) bool { return p == evicted })
	}
	p = &pair{path: path, generation: a.generation}
	a.pairs = append(a.pairs, p)
	return p, evicted
}

// size is the number of pairs of the current generation.
func (a *agent) size() int {
	n := 0
	for _, p := range a.pairs {
		if p.generation == a.generation {
			n++
		}
	}
	return n
}

// leastUse is the pair of the current generation that was longest without a sign of life, first among those that are not valid.
func (a *agent) leastUse() *pair {
	var worst *pair
	for _, p := range a.pairs {
		switch {
		case p.generation != a.generation || p == a.selected:
		case worst == nil, worst.valid && !p.valid, worst.valid == p.valid && p.seen.Before(worst.seen):
			worst = p
		}
	}
	return worst
}

// awaited finds the pair on path that awaits the response with this id.
func (a *agent) awaited(id [12]byte, path mediaport.Path) (p *pair, index int) {
	if id == ([12]byte{}) {
		return nil, 0
	}
	for _, p := range a.pairs {
		for i := range p.pending {
			if p.pending[i].id == id && p.path == path {
				return p, i
			}
		}
	}
	return nil, 0
}

// unsettled reports whether the current generation has no selected pair yet, or one that no longer works.
func (a *agent) unsettled(now time.Time) bool {
	return a.selected == nil || a.selected.generation != a.generation || now.Sub(a.selected.seen) > staleAfter
}

// restart starts a new generation. Pairs of the old one keep carrying media until one of the new is valid (RFC 8445 section 9). A restart before that drops
// the generation in between, and returns its ufrag and the paths that were only its own.
func (a *agent) restart(remote Credentials) (ufrag string, gone []mediaport.Path) {
	if a.previous != nil {
		ufrag = a.local.Ufrag
		gone = a.drop(func(p *pair) bool { return p.generation == a.generation })
		a.local = *a.previous
	}
	old := a.local
	a.previous = &old
	a.local, a.remote = NewCredentials(), remote
	a.generation++
	return ufrag, gone
}

// settle forgets the old generation once the new one has a valid pair, and returns the ufrag that is no longer ours and the paths that are no longer used.
func (a *agent) settle() (ufrag string, gone []mediaport.Path) {
	if a.previous == nil {
		return "", nil
	}
	ufrag, a.previous = a.previous.Ufrag, nil
	return ufrag, a.drop(func(p *pair) bool { return p.generation != a.generation })
}

// drop removes pairs and returns the paths that no other pair has.
func (a *agent) drop(unwanted func(*pair) bool) (gone []mediaport.Path) {
	var dropped []*pair
	a.pairs = slices.DeleteFunc(a.pairs, func(p *pair) bool {
		if unwanted(p) {
			dropped = append(dropped, p)
		}
		return unwanted(p)
	})
	for _, p := range dropped {
		if !a.uses(p.path) {
			gone = append(gone, p.path)
		}
	}
	return gone
}

func (a *agent) uses(path mediaport.Path) bool {
	return slices.ContainsFunc(a.pairs, func(p *pair) bool { return p.path == path })
}

func (a *agent) paths() []mediaport.Path {
	paths := make([]mediaport.Path, 0, len(a.pairs))
	for _, p := range a.pairs {
		paths = append(paths, p.path)
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

// credentialsFor are the credentials that a request addressed to our ufrag must be keyed with; old tells those of before a restart.
func (a *agent) credentialsFor(ufrag []byte) (c Credentials, old, ok bool) {
	switch {
	case string(ufrag) == a.local.Ufrag:
		return a.local, false, true
	case a.previous != nil && string(ufrag) == a.previous.Ufrag:
		return *a.previous, true, true
	}
	return Credentials{}, false, false
}

// due lists the pairs that want a check now and schedules their next ones. A lite agent sends none.
func (a *agent) due(now time.Time) []*pair {
	var due []*pair
	for _, p := range a.pairs {
		if !a.scheduled(p) || now.Before(p.next) {
			continue
		}
		switch {
		case p == a.selected:
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

func (a *agent) scheduled(p *pair) bool {
	return !a.lite && p.generation == a.generation && !p.next.IsZero()
}

// wake is when the agent next has something to do, and limit at the latest.
func (a *agent) wake(limit time.Time) time.Time {
	for _, p := range a.pairs {
		if a.scheduled(p) && p.next.Before(limit) {
			limit = p.next
		}
	}
	return limit
}
