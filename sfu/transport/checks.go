package transport

import (
	"net/netip"
	"time"

	"github.com/pion/stun/v4"

	"rheomesh/sfu/mediaport"
)

// prflxPriority is the PRIORITY of our checks: what a peer-reflexive candidate would get (RFC 8445 section 5.1.2: type preference 110).
const prflxPriority = 110<<24 | 65535<<8 | 255

// tieBreaker is the smallest there is: in a role conflict the client is told to control (RFC 8445 section 7.3.1.1).
const tieBreaker = 0

// handleSTUN takes requests, which prove that the client is at path, and responses to our own checks.
func (s *Session) handleSTUN(data []byte, path mediaport.Path, now time.Time) {
	m := &stun.Message{Raw: append([]byte(nil), data...)}
	if m.Decode() != nil || m.Type.Method != stun.MethodBinding {
		return
	}
	switch m.Type.Class {
	case stun.ClassRequest:
		s.handleRequest(m, path, now)
	case stun.ClassSuccessResponse:
		s.handleSuccess(m, path, now)
	case stun.ClassErrorResponse:
		s.handleError(m)
	case stun.ClassIndication:
		// A keep-alive carries nothing to verify (RFC 8445 section 11), so it is no proof of life either.
	}
}

// handleRequest is RFC 8445 section 7.3: authenticate, answer, check back.
func (s *Session) handleRequest(m *stun.Message, path mediaport.Path, now time.Time) {
	s.mu.Lock()
	local, ok := s.authenticate(m)
	if !ok {
		s.mu.Unlock()
		return
	}
	if s.roleConflict(m) {
		s.mu.Unlock()
		s.respond(m, path, local, stun.BindingError, stun.CodeRoleConflict)
		return
	}
	p := s.agent.pair(path, time.Time{})
	if p == nil || !s.config.Port.Bind(path, s, now) {
		s.mu.Unlock()
		return
	}
	s.heard.Store(now.UnixNano())
	p.heard = true
	if m.Contains(stun.AttrUseCandidate) {
		p.nominated = true
	}
	s.respond(m, path, local, stun.BindingSuccess, stun.XORMappedAddress{IP: path.Remote().Addr().AsSlice(), Port: int(path.Remote().Port())})
	if s.agent.lite || (p.valid && p.nominated) {
		s.choose(p, now)
	} else if !p.valid && now.Sub(p.sent) >= triggeredGap {
		s.check(p, now)
	}
	s.mu.Unlock()
}

// authenticate checks USERNAME and MESSAGE-INTEGRITY (RFC 8445 section 7.3, RFC 8489 section 9.1.3) and returns the credentials that they are keyed with.
// FINGERPRINT is checked when it is there: some clients leave it out.
func (s *Session) authenticate(m *stun.Message) (Credentials, bool) {
	username, err := m.Get(stun.AttrUsername)
	if err != nil {
		return Credentials{}, false
	}
	for i, c := range username {
		if c != ':' {
			continue
		}
		local, ok := s.agent.credentialsFor(string(username[:i]))
		if !ok || stun.NewShortTermIntegrity(local.Pwd).Check(m) != nil {
			return Credentials{}, false
		}
		return local, !m.Contains(stun.AttrFingerprint) || stun.Fingerprint.Check(m) == nil
	}
	return Credentials{}, false
}

// roleConflict reports a request of a client that plays our own role. Our tie-breaker is the smallest there is, so a client that thinks it is controlled is
// told to control, and one that controls against us has its way (RFC 8445 section 7.3.1.1). Clients that send neither attribute are taken as they are.
func (s *Session) roleConflict(m *stun.Message) bool {
	if s.agent.lite {
		return false
	}
	if s.agent.controlling && m.Contains(stun.AttrICEControlling) {
		s.agent.controlling = false
	}
	return !s.agent.controlling && m.Contains(stun.AttrICEControlled)
}

func (s *Session) respond(request *stun.Message, path mediaport.Path, local Credentials, kind stun.MessageType, content stun.Setter) {
	response, err := stun.Build(stun.NewTransactionIDSetter(request.TransactionID), kind, content, stun.NewShortTermIntegrity(local.Pwd), stun.Fingerprint)
	if err == nil {
		_ = path.Write(response.Raw)
	}
}

// check sends one connectivity check (RFC 8445 section 7.2.2).
func (s *Session) check(p *pair, now time.Time) {
	id := s.transactionID()
	copy(p.pending[1:], p.pending[:])
	p.pending[0], p.sent = id, now
	role, use := stun.AttrICEControlled, []stun.Setter(nil)
	if s.agent.controlling {
		role, use = stun.AttrICEControlling, []stun.Setter{stun.RawAttribute{Type: stun.AttrUseCandidate}}
	}
	setters := append([]stun.Setter{
		stun.NewTransactionIDSetter(id), stun.BindingRequest,
		stun.NewUsername(s.agent.remote.Ufrag + ":" + s.agent.local.Ufrag),
		attribute32(stun.AttrPriority, prflxPriority), attribute64(role, tieBreaker),
	}, use...)
	m, err := stun.Build(append(setters, stun.NewShortTermIntegrity(s.agent.remote.Pwd), stun.Fingerprint)...)
	if err == nil {
		_ = p.path.Write(m.Raw)
	}
}

// handleSuccess makes a pair valid (RFC 8445 section 7.2.5.3). The response must come from where the check went.
func (s *Session) handleSuccess(m *stun.Message, path mediaport.Path, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.agent.byTransaction(m.TransactionID)
	if p == nil || p.path != path || stun.NewShortTermIntegrity(s.agent.remote.Pwd).Check(m) != nil {
		return
	}
	if !s.config.Port.Bind(path, s, now) {
		return
	}
	s.heard.Store(now.UnixNano())
	first := !p.valid
	p.valid = true
	if p.nominated || s.agent.controlling || (first && !s.chosen(p.generation)) {
		s.choose(p, now)
	}
}

// handleError obeys a role conflict (RFC 8445 section 7.2.5.1). A forged one costs a check at most: the next request of the client sets the role right.
func (s *Session) handleError(m *stun.Message) {
	var code stun.ErrorCodeAttribute
	if code.GetFrom(m) != nil || code.Code != stun.CodeRoleConflict {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.agent.byTransaction(m.TransactionID); p != nil && stun.NewShortTermIntegrity(s.agent.remote.Pwd).Check(m) == nil {
		s.agent.controlling = !s.agent.controlling
		s.check(p, time.Now())
	}
}

// chosen reports whether a pair of this generation is selected already.
func (s *Session) chosen(generation int) bool {
	selected := s.selected.Load()
	if selected == nil {
		return false
	}
	for _, p := range s.agent.pairs {
		if p.generation == generation && p.path == *selected {
			return true
		}
	}
	return false
}

// choose makes p the selected pair, and starts the DTLS handshake on the first one.
func (s *Session) choose(p *pair, now time.Time) {
	if p.generation != s.agent.generation || s.closed.Load() {
		return
	}
	if selected := s.selected.Load(); selected == nil || *selected != p.path {
		path := p.path
		s.selected.Store(&path)
		p.next = now.Add(consentInterval)
	}
	if ufrag, gone := s.agent.settle(); ufrag != "" {
		s.config.Port.Unname(ufrag)
		s.unbind(gone)
	}
	if !s.agent.established {
		s.agent.established = true
		s.handshake.Go(s.runHandshake)
	}
}

// unbind frees addresses of an old generation that the new one does not use.
func (s *Session) unbind(gone []mediaport.Path) {
	for _, path := range gone {
		used := false
		for _, p := range s.agent.pairs {
			used = used || p.path == path
		}
		if !used {
			s.config.Port.Unbind(path, s)
		}
	}
}

// AddCandidates adds trickled addresses of the client.
func (s *Session) AddCandidates(addrs []netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return
	}
	now := time.Now()
	s.agent.addAddresses(addrs, s.config, now)
	s.arm(now)
}

// Restart takes the client's new ICE credentials and candidates, and returns our new ones (RFC 8445 section 9). Media and keys go on over the old pair until
// a new one is valid; requests for the old ufrag are answered until then.
func (s *Session) Restart(remote Credentials, addrs []netip.AddrPort) (Credentials, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return Credentials{}, ErrNotConnected
	}
	now := time.Now()
	if s.agent.previous != nil { // a restart of a restart: the one in between never had a valid pair
		s.config.Port.Unname(s.agent.local.Ufrag)
		s.agent.local = *s.agent.previous
	}
	s.agent.restart(remote)
	s.config.Port.Name(s.agent.local.Ufrag, s)
	s.agent.addAddresses(addrs, s.config, now)
	s.arm(now)
	return s.agent.local, nil
}

// tick runs from the session's timer: it sends checks that are due, and ends sessions that did not connect or fell silent.
func (s *Session) tick() {
	now := time.Now()
	s.mu.Lock()
	if s.closed.Load() {
		s.mu.Unlock()
		return
	}
	if cause := s.overdue(now); cause != "" {
		s.mu.Unlock()
		s.end(cause)
		return
	}
	if !s.agent.lite {
		for _, p := range s.agent.due(now, s.Path()) {
			s.check(p, now)
		}
	}
	s.arm(now)
	s.mu.Unlock()
}

func (s *Session) overdue(now time.Time) Cause {
	if !s.connected.Load() {
		if now.Before(s.agent.deadline) {
			return ""
		}
		return CauseTimeout
	}
	if now.UnixNano()-s.heard.Load() > int64(s.config.SilenceTimeout) {
		return CauseSilent
	}
	return ""
}

// arm sets the timer for the agent's next duty.
func (s *Session) arm(now time.Time) { s.timer.Reset(s.agent.wake(now, s.connected.Load()).Sub(now)) }

func attribute32(kind stun.AttrType, v uint32) stun.RawAttribute {
	return stun.RawAttribute{Type: kind, Value: []byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}}
}

func attribute64(kind stun.AttrType, v uint64) stun.RawAttribute {
	return stun.RawAttribute{Type: kind, Value: []byte{
		byte(v >> 56), byte(v >> 48), byte(v >> 40), byte(v >> 32), byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v),
	}}
}
