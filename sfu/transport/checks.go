package transport

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/stun/v4"

	"rheomesh/sfu/mediaport"
)

const (
	// prflxPriority is the PRIORITY of our checks: what a peer-reflexive candidate would get (RFC 8445 section 5.1.2: type preference 110).
	prflxPriority = 110<<24 | 65535<<8 | 255

	// tieBreaker is the smallest that libjuice, the agent inside OBS, takes for one: zero is none to it, and it refuses our checks with 400. In a role conflict
	// the client is told to control (RFC 8445 section 7.3.1.1).
	tieBreaker = 1

	stunHeaderBytes = 20   // RFC 8489 section 5
	stunMaxBytes    = 1280 // longest message that is looked at: RFC 8489 section 6.1 keeps messages within a path MTU
)

// stunScratch holds messages for decoding. Requests are decoded before they are authenticated, so that must cost a flood's victim no memory. The room after
// Raw takes the MESSAGE-INTEGRITY that is computed for comparison.
var stunScratch = sync.Pool{New: func() any {
	return &stun.Message{Raw: make([]byte, 0, stunMaxBytes+64), Attributes: make(stun.Attributes, 0, 16)}
}}

// datagram is a STUN message on its way out. Messages are made under the session's lock and sent after it.
type datagram struct {
	path mediaport.Path
	raw  []byte
}

func send(out []datagram) {
	for _, d := range out {
		_ = d.path.Write(d.raw)
	}
}

// handleSTUN takes requests, which prove that the client is at path, and responses to our own checks. What it does for strangers is bounded: a response that
// nobody awaits is dropped by its transaction id, and the rest is decoded into scratch space.
func (s *Session) handleSTUN(data []byte, path mediaport.Path, now time.Time) {
	if len(data) < stunHeaderBytes || len(data) > stunMaxBytes || int(binary.BigEndian.Uint16(data[2:]))+stunHeaderBytes != len(data) {
		return
	}
	var kind stun.MessageType
	kind.ReadValue(binary.BigEndian.Uint16(data))
	handle := s.handleRequest
	switch kind {
	case stun.BindingRequest:
	case stun.BindingSuccess:
		handle = s.handleSuccess
	case stun.BindingError:
		handle = s.handleError
	default: // an indication carries nothing to verify (RFC 8445 section 11), so it is no sign of life either
		return
	}
	if kind != stun.BindingRequest && !s.awaits([12]byte(data[8:20]), path) {
		return
	}
	m := stunScratch.Get().(*stun.Message)
	defer stunScratch.Put(m)
	m.Raw = append(m.Raw[:0], data...)
	if m.Decode() != nil {
		return
	}
	s.mu.Lock()
	var out []datagram
	if !s.closed.Load() {
		out = handle(m, path, now)
	}
	s.mu.Unlock()
	send(out)
}

func (s *Session) awaits(id [12]byte, path mediaport.Path) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, _ := s.agent.awaited(id, path)
	return p != nil
}

// handleRequest is RFC 8445 section 7.3: authenticate, answer, check back.
func (s *Session) handleRequest(m *stun.Message, path mediaport.Path, now time.Time) []datagram {
	local, old, ok := s.authenticate(m)
	if !ok {
		return nil
	}
	if s.roleConflict(m) {
		return response(m, path, local, stun.BindingError, stun.CodeRoleConflict)
	}
	if old { // the old ICE session is kept going until the new one works, and no longer moves
		s.heard.Store(now.UnixNano())
		return success(m, path, local)
	}
	// A forged source address must not take the address from a neighbour, so only an answer to our own check may. A lite agent sends none: it has nothing
	// better than the request.
	bound := s.config.Port.Bind(path, s, now, s.agent.lite)
	if s.agent.lite && !bound {
		return nil
	}
	s.heard.Store(now.UnixNano())
	p, evicted := s.agent.heardFrom(path)
	if evicted != nil && !s.agent.uses(evicted.path) {
		s.config.Port.Unbind(evicted.path, s)
	}
	p.seen = now
	return append(success(m, path, local), s.triggered(p, m.Contains(stun.AttrUseCandidate), now)...)
}

// triggered follows a valid request: it selects the pair when the client nominates it or none works, or checks it when it is not valid yet.
func (s *Session) triggered(p *pair, nominate bool, now time.Time) []datagram {
	p.valid = p.valid || s.agent.lite
	p.nominated = p.nominated || nominate
	switch {
	case p.valid && (nominate || s.agent.unsettled(now)):
		s.choose(p, now)
	case !p.valid && now.Sub(p.sent) >= triggeredGap:
		return s.check(p, now)
	}
	return nil
}

// authenticate checks USERNAME and MESSAGE-INTEGRITY (RFC 8445 section 7.3, RFC 8489 section 9.1.3) and returns the credentials that they are keyed with.
// FINGERPRINT is checked when it is there: some clients leave it out.
func (s *Session) authenticate(m *stun.Message) (local Credentials, old, ok bool) {
	username, err := m.Get(stun.AttrUsername)
	if err != nil {
		return Credentials{}, false, false
	}
	ufrag, _, found := bytes.Cut(username, []byte{':'})
	if !found {
		return Credentials{}, false, false
	}
	local, old, ok = s.agent.credentialsFor(ufrag)
	if !ok || stun.NewShortTermIntegrity(local.Pwd).Check(m) != nil {
		return Credentials{}, false, false
	}
	return local, old, !m.Contains(stun.AttrFingerprint) || stun.Fingerprint.Check(m) == nil
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

func success(request *stun.Message, path mediaport.Path, local Credentials) []datagram {
	mapped := stun.XORMappedAddress{IP: path.Remote().Addr().AsSlice(), Port: int(path.Remote().Port())}
	return response(request, path, local, stun.BindingSuccess, mapped)
}

func response(request *stun.Message, path mediaport.Path, local Credentials, kind stun.MessageType, content stun.Setter) []datagram {
	m, err := stun.Build(stun.NewTransactionIDSetter(request.TransactionID), kind, content, stun.NewShortTermIntegrity(local.Pwd), stun.Fingerprint)
	if err != nil {
		return nil
	}
	return []datagram{{path: path, raw: m.Raw}}
}

// check makes one connectivity check (RFC 8445 section 7.2.2).
func (s *Session) check(p *pair, now time.Time) []datagram {
	id := s.transactionID()
	copy(p.pending[1:], p.pending[:])
	p.pending[0], p.sent = transaction{id: id, controlling: s.agent.controlling}, now
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
	if err != nil {
		return nil
	}
	return []datagram{{path: p.path, raw: m.Raw}}
}

// verified finds the pair whose check the authenticated response m answers, and ends the transaction. The response must come from where the check went
// (RFC 8445 section 7.2.5.2.1).
func (s *Session) verified(m *stun.Message, path mediaport.Path) (*pair, transaction) {
	p, i := s.agent.awaited(m.TransactionID, path)
	if p == nil || stun.NewShortTermIntegrity(s.agent.remote.Pwd).Check(m) != nil {
		return nil, transaction{}
	}
	t := p.pending[i]
	p.pending[i] = transaction{}
	return p, t
}

// handleSuccess makes a pair valid (RFC 8445 section 7.2.5.3), or renews the consent of the selected one (RFC 7675 section 5.1).
func (s *Session) handleSuccess(m *stun.Message, path mediaport.Path, now time.Time) []datagram {
	p, _ := s.verified(m, path)
	if p == nil || !s.config.Port.Bind(path, s, now, true) {
		return nil
	}
	s.heard.Store(now.UnixNano())
	first := !p.valid
	p.valid, p.seen = true, now
	if p == s.agent.selected {
		s.consent.Store(now.UnixNano())
	}
	if first && (p.nominated || s.agent.unsettled(now)) {
		s.choose(p, now)
	}
	return nil
}

// handleError obeys a role conflict: the other role, whatever it was, and a new check (RFC 8445 section 7.2.5.1).
func (s *Session) handleError(m *stun.Message, path mediaport.Path, now time.Time) []datagram {
	var code stun.ErrorCodeAttribute
	if code.GetFrom(m) != nil || code.Code != stun.CodeRoleConflict {
		return nil
	}
	p, t := s.verified(m, path)
	if p == nil {
		return nil
	}
	s.agent.controlling = !t.controlling
	return s.check(p, now)
}

// choose makes the valid pair p the selected one, and starts the DTLS handshake on the first.
func (s *Session) choose(p *pair, now time.Time) {
	if p != s.agent.selected {
		path := p.path
		s.agent.selected, s.agent.selectedAt = p, now
		s.selected.Store(&path)
		s.consent.Store(now.UnixNano())
		p.next = now.Add(consentInterval)
		s.arm(now)
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

// follow moves to the path on which authenticated media of the client came in. A client behind a NAT that gave it a new address does not know of it, so it
// nominates nothing.
func (s *Session) follow(path mediaport.Path, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.agent.find(path); p != nil && p.valid && !s.closed.Load() && now.Sub(s.agent.selectedAt) >= followGap {
		s.choose(p, now)
	}
}

func (s *Session) unbind(gone []mediaport.Path) {
	for _, path := range gone {
		s.config.Port.Unbind(path, s)
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
	if ufrag, gone := s.agent.restart(remote); ufrag != "" {
		s.config.Port.Unname(ufrag)
		s.unbind(gone)
	}
	s.config.Port.Name(s.agent.local.Ufrag, s)
	s.agent.addAddresses(addrs, s.config, now)
	s.arm(now)
	return s.agent.local, nil
}

// tick runs from the session's timer: it sends checks that are due, and ends sessions that did not connect or fell silent.
func (s *Session) tick() {
	now := time.Now()
	out, cause := s.duties(now)
	if cause != "" {
		s.end(cause)
		return
	}
	send(out)
}

func (s *Session) duties(now time.Time) (out []datagram, cause Cause) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return nil, ""
	}
	if limit, cause := s.limit(); !now.Before(limit) {
		return nil, cause
	}
	for _, p := range s.agent.due(now) {
		out = append(out, s.check(p, now)...)
	}
	s.arm(now)
	return out, ""
}

// limit is when the session ends, and why, if nothing more is heard.
func (s *Session) limit() (time.Time, Cause) {
	if s.connected.Load() {
		return time.Unix(0, s.heard.Load()).Add(s.config.SilenceTimeout), CauseSilent
	}
	return s.agent.deadline, CauseTimeout
}

// arm sets the timer for the next duty.
func (s *Session) arm(now time.Time) {
	if !s.started {
		return
	}
	limit, _ := s.limit()
	s.timer.Reset(max(0, s.agent.wake(limit).Sub(now)))
}

func attribute32(kind stun.AttrType, v uint32) stun.RawAttribute {
	return stun.RawAttribute{Type: kind, Value: binary.BigEndian.AppendUint32(nil, v)}
}

func attribute64(kind stun.AttrType, v uint64) stun.RawAttribute {
	return stun.RawAttribute{Type: kind, Value: binary.BigEndian.AppendUint64(nil, v)}
}
