package transport

import (
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v4"
	"github.com/stretchr/testify/require"

	"rheomesh/sfu/mediaport"
)

func (s *testSession) selectedAddr() netip.AddrPort { return s.Path().Remote() }

// waitSelected waits for the selected path to lead to addr.
func (s *testSession) waitSelected(addr netip.AddrPort) {
	s.t.Helper()
	eventually(s.t, func() bool { return s.selectedAddr() == addr }, "not selected")
}

func TestRequestIsAnswered(t *testing.T) {
	s := newServer(t)
	c, session := pairUp(t, s)
	got := c.ping()
	require.Equal(t, stun.BindingSuccess, got.Type)
	var mapped stun.XORMappedAddress
	require.NoError(t, mapped.GetFrom(got))
	require.Equal(t, c.addr().String(), mapped.String())

	check := receive(t, c.checks, "no triggered check")
	username, err := check.Get(stun.AttrUsername)
	require.NoError(t, err)
	require.Equal(t, c.local.Ufrag+":"+c.remote.Ufrag, string(username))
	require.NoError(t, stun.NewShortTermIntegrity(c.local.Pwd).Check(check))
	require.NoError(t, stun.Fingerprint.Check(check))
	require.True(t, check.Contains(stun.AttrICEControlled))
	require.False(t, check.Contains(stun.AttrUseCandidate))
	require.True(t, check.Contains(stun.AttrPriority))
	session.waitSelected(c.addr()) // without a nomination: DTLS need not wait
}

// TestUnansweredRequests sends each bad request, then a good one, whose answer must be the first to come.
func TestUnansweredRequests(t *testing.T) {
	s := newServer(t)
	c, session := pairUp(t, s)
	c.deaf.Store(true)
	good := c.check()
	flipped := append([]byte(nil), good.Raw...)
	flipped[8] ^= 1 // the transaction id is under the integrity
	tests := []struct {
		name string
		raw  []byte
	}{
		{"wrong password", c.checkAs("wrong password, wrong password", controlling).Raw},
		{"the client's own password", c.checkAs(c.local.Pwd, controlling).Raw},
		{"no integrity", stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.NewUsername(c.remote.Ufrag+":"+c.local.Ufrag), stun.Fingerprint).Raw},
		{"changed after sealing", flipped},
		{"integrity of another length", stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.NewUsername(c.remote.Ufrag+":x"),
			stun.RawAttribute{Type: stun.AttrMessageIntegrity, Value: []byte{1, 2, 3, 4}}).Raw},
		{"wrong fingerprint", stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.NewUsername(c.remote.Ufrag+":x"),
			stun.NewShortTermIntegrity(c.remote.Pwd), stun.RawAttribute{Type: stun.AttrFingerprint, Value: []byte{1, 2, 3, 4}}).Raw},
		{"colon missing", stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.NewUsername(c.remote.Ufrag), stun.NewShortTermIntegrity(c.remote.Pwd)).Raw},
		{"integrity before the user name", stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.NewShortTermIntegrity(c.remote.Pwd),
			stun.NewUsername(c.remote.Ufrag+":x")).Raw},
		{"indication", stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodBinding, stun.ClassIndication), stun.NewUsername(c.remote.Ufrag+":x"),
			stun.NewShortTermIntegrity(c.remote.Pwd)).Raw},
		{"attributes cut", append([]byte{0, 1, 0, 4}, append(append([]byte(nil), good.Raw[4:20]...), 0, 6, 0, 9)...)},
	}
	path := s.pathTo(c.addr())
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c.write(tt.raw)
			session.HandlePacket(tt.raw, path, time.Now()) // also past the port's own sieve
		})
	}
	require.Zero(t, session.heard.Load(), "a stranger is no sign of life")
	session.state(func(a *agent) { require.Empty(t, a.pairs) })
	c.write(good.Raw)
	require.Equal(t, good.TransactionID, receive(t, c.stun, "no answer").TransactionID)
	require.Empty(t, c.stun)
	require.Empty(t, s.log.String())
}

// TestNomination walks through orders of checks of a client with two addresses, and tells which one is selected in the end.
func TestNomination(t *testing.T) {
	tests := []struct {
		name string
		lite bool
		run  func(a, b *client)
		want int // 0: a, 1: b
	}{
		{"first valid pair", false, func(a, b *client) { a.proved(); b.proved() }, 0},
		{"nominated at once", false, func(a, b *client) { a.proved(); b.proved(useCandidate) }, 1},
		{"nominated later", false, func(a, b *client) { a.proved(); b.proved(); b.ping(useCandidate) }, 1},
		{"every check nominates", false, func(a, b *client) { a.proved(useCandidate); b.proved(useCandidate); a.ping(useCandidate) }, 0},
		{"plain checks on an old nomination", false, func(a, b *client) { a.proved(useCandidate); b.proved(useCandidate); a.ping(); a.ping() }, 1},
		{"lite: first request", true, func(a, b *client) { a.ping(); b.ping() }, 0},
		{"lite: nomination", true, func(a, b *client) { a.ping(); b.ping(useCandidate) }, 1},
		{"lite: plain checks on an old nomination", true, func(a, b *client) { a.ping(useCandidate); b.ping(useCandidate); a.ping() }, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t, func(c *Config) { c.Lite = tt.lite })
			a, session := pairUp(t, s)
			b := a.twin(s)
			tt.run(a, b)
			require.Equal(t, []netip.AddrPort{a.addr(), b.addr()}[tt.want], session.selectedAddr())
		})
	}
}

func TestRoleConflict(t *testing.T) {
	t.Run("client thinks it is controlled", func(t *testing.T) {
		s := newServer(t)
		c, session := pairUp(t, s)
		m := c.checkAs(c.remote.Pwd, controlled)
		c.write(m.Raw)
		got := c.answered(m)
		require.Equal(t, stun.BindingError, got.Type)
		var code stun.ErrorCodeAttribute
		require.NoError(t, code.GetFrom(got))
		require.Equal(t, stun.CodeRoleConflict, code.Code)
		session.state(func(a *agent) { require.Empty(t, a.pairs); require.False(t, a.controlling) })
		c.connect(session) // in the right role
	})
	t.Run("lite client that controls", func(t *testing.T) {
		s := newServer(t)
		c, session := pairUp(t, s, func(p *Peer) { p.Lite = true })
		session.state(func(a *agent) { require.True(t, a.controlling) })
		require.Equal(t, stun.BindingSuccess, c.ping().Type)
		session.state(func(a *agent) { require.False(t, a.controlling) })
	})
	t.Run("client answers with 487", func(t *testing.T) {
		s := newServer(t)
		c := newClient(t, s)
		c.deaf.Store(true)
		session := s.newSession(Peer{Credentials: c.local, Candidates: []netip.AddrPort{c.addr()}})
		c.remote = session.LocalCredentials()
		first := receive(t, c.checks, "no check")
		require.True(t, first.Contains(stun.AttrICEControlled))
		second := receive(t, c.checks, "no second check")
		c.write(answerTo(first, "wrong password, wrong password", stun.BindingError, stun.CodeRoleConflict))
		c.write(answerTo(first, c.local.Pwd, stun.BindingError, stun.CodeUnauthorized))
		conflict := answerTo(first, c.local.Pwd, stun.BindingError, stun.CodeRoleConflict)
		c.write(conflict)
		c.write(conflict)                                                                // again: the transaction has ended
		c.write(answerTo(second, c.local.Pwd, stun.BindingError, stun.CodeRoleConflict)) // sent in the old role too: no conflict any more
		eventually(t, func() bool {
			m := receive(t, c.checks, "no check in the other role")
			return m.Contains(stun.AttrICEControlling) && m.Contains(stun.AttrUseCandidate)
		}, "role not changed")
		session.state(func(a *agent) { require.True(t, a.controlling) })
	})
}

// TestWeControlLiteClient has a client that answers checks and sends none.
func TestWeControlLiteClient(t *testing.T) {
	s := newServer(t)
	c := newClient(t, s)
	session := s.newSession(Peer{Credentials: c.local, Lite: true, Candidates: []netip.AddrPort{c.addr()}})
	c.remote = session.LocalCredentials()
	check := receive(t, c.checks, "no check")
	require.True(t, check.Contains(stun.AttrICEControlling))
	require.True(t, check.Contains(stun.AttrUseCandidate))
	require.NoError(t, c.handshake(true))
	session.waitConnected()
}

func TestCandidates(t *testing.T) {
	t.Run("known at the start", func(t *testing.T) {
		s := newServer(t)
		c := newClient(t, s)
		session := s.newSession(Peer{Credentials: c.local, Candidates: []netip.AddrPort{c.addr()}})
		receive(t, c.checks, "no check")
		session.waitSelected(c.addr())
	})
	t.Run("trickled", func(t *testing.T) {
		s := newServer(t)
		c, session := pairUp(t, s)
		session.AddCandidates([]netip.AddrPort{c.addr()})
		receive(t, c.checks, "no check")
		session.waitSelected(c.addr())
	})
	t.Run("lite checks none", func(t *testing.T) {
		s := newServer(t, func(c *Config) { c.Lite = true })
		c := newClient(t, s)
		session := s.newSession(Peer{Credentials: c.local, Candidates: []netip.AddrPort{c.addr()}})
		session.AddCandidates([]netip.AddrPort{c.addr()})
		c.remote = session.LocalCredentials()
		c.ping()
		require.Empty(t, c.checks)
		session.state(func(a *agent) { require.Len(t, a.pairs, 1) })
	})
	t.Run("before Start and after Close nothing happens", func(t *testing.T) {
		s := newServer(t)
		c := newClient(t, s)
		handler := &testSession{t: t, closed: make(chan Cause, 8)}
		session := New(&s.config, Peer{Credentials: c.local, Candidates: []netip.AddrPort{c.addr()}}, handler)
		session.AddCandidates([]netip.AddrPort{c.addr()})
		session.Close()
		session.Start()
		session.AddCandidates([]netip.AddrPort{c.addr()})
		_, err := session.Restart(NewCredentials(), nil)
		require.ErrorIs(t, err, ErrNotConnected)
		require.Equal(t, CauseLocal, receive(t, handler.closed, "not closed"))
		require.Empty(t, c.checks)
	})
}

// TestResponses gives answers that must not make a pair valid, then the one that does.
func TestResponses(t *testing.T) {
	s := newServer(t)
	c, session := pairUp(t, s)
	c.deaf.Store(true)
	c.ping()
	check := receive(t, c.checks, "no triggered check")
	elsewhere := s.pathTo(netip.MustParseAddrPort("127.0.0.1:9"))
	here := s.pathTo(c.addr())
	valid := func() (valid bool) {
		session.state(func(a *agent) { p := a.find(here); valid = p != nil && p.valid })
		return valid
	}
	stale := *check
	stale.TransactionID[11]++
	noID := *check
	noID.TransactionID = [12]byte{}
	tests := []struct {
		name string
		raw  []byte
		path mediaport.Path
		want bool
	}{
		{"wrong password", answerTo(check, "wrong password, wrong password"), here, false},
		{"our own password", answerTo(check, c.remote.Pwd), here, false},
		{"unknown transaction", answerTo(&stale, c.local.Pwd), here, false},
		{"zero transaction", answerTo(&noID, c.local.Pwd), here, false},
		{"from elsewhere", answerTo(check, c.local.Pwd), elsewhere, false},
		{"error", answerTo(check, c.local.Pwd, stun.BindingError, stun.CodeBadRequest), here, false},
		{"cut", answerTo(check, c.local.Pwd)[:40], here, false},
		{"right", answerTo(check, c.local.Pwd), here, true},
	}
	for _, tt := range tests {
		session.HandlePacket(tt.raw, tt.path, time.Now())
		require.Equal(t, tt.want, valid(), tt.name)
	}
	require.Equal(t, c.addr(), session.selectedAddr())
	heard := session.heard.Load()
	session.HandlePacket(answerTo(check, c.local.Pwd), here, time.Now().Add(time.Hour))
	require.Equal(t, heard, session.heard.Load(), "an answer counts once")
}

// TestForgedAddress has a client with valid credentials that writes a bystander's address as the sender's, before and after it is connected itself.
func TestForgedAddress(t *testing.T) {
	s := newServer(t)
	c, session := pairUp(t, s)
	bystander := listenUDP(t)
	forged := s.pathTo(addrOf(bystander))
	forge := func() {
		for range 10 {
			session.HandlePacket(c.check(useCandidate).Raw, forged, time.Now())
		}
	}
	forge()
	require.False(t, session.Path().Valid())
	c.connect(session)
	forge()
	require.Equal(t, c.addr(), session.selectedAddr())

	session.sendMedia(1, "to the client only")
	c.receiveRTP()
	require.NoError(t, bystander.SetReadDeadline(time.Now()))
	buf := make([]byte, 1500)
	for range 40 { // answers and checks that were sent to the forged address, no media
		n, _, err := bystander.ReadFromUDPAddrPort(buf)
		if err != nil {
			break
		}
		require.Less(t, buf[0], byte(4), "%d bytes that are no STUN", n)
	}
}

// TestForgedNeighbour has one client forge the address of another that fell silent for longer than the port's grace: the neighbour's packets stay its own.
func TestForgedNeighbour(t *testing.T) {
	s := newServer(t)
	victim, victimSession := pairUp(t, s)
	victim.connect(victimSession)
	attacker, attackerSession := pairUp(t, s)
	attacker.connect(attackerSession)
	forged := s.pathTo(victim.addr())
	later := time.Now().Add(time.Hour)
	attackerSession.HandlePacket(attacker.check(useCandidate).Raw, forged, later)
	victim.sendRTP(1, "mine")
	require.Equal(t, rtpPacket(1, 1, "mine"), receive(t, victimSession.rtp, "the neighbour's packets went astray"))
	require.Equal(t, attacker.addr(), attackerSession.selectedAddr())
}

// TestAddressReuse has a NAT give a silent client's address to another one, which must be able to connect from there.
func TestAddressReuse(t *testing.T) {
	s := newServer(t)
	old, oldSession := pairUp(t, s)
	old.connect(oldSession)
	session := s.newSession(Peer{Credentials: old.local})
	old.remote = session.LocalCredentials()
	later := time.Now().Add(time.Hour)
	here := s.pathTo(old.addr())
	old.deaf.Store(true)
	for len(old.checks) > 0 {
		<-old.checks
	}
	session.HandlePacket(old.check(useCandidate).Raw, here, later)
	check := receive(t, old.checks, "no triggered check")
	session.HandlePacket(answerTo(check, old.local.Pwd), here, later)
	require.Equal(t, old.addr(), session.selectedAddr())
}

// TestRebinding moves the client to another address, which it does not know of, so that it nominates nothing.
func TestRebinding(t *testing.T) {
	t.Run("media leads", func(t *testing.T) {
		s := newServer(t)
		c, session := pairUp(t, s)
		c.connect(session)
		session.sendMedia(1, "before")
		c.receiveRTP()
		session.state(func(a *agent) { a.selectedAt = a.selectedAt.Add(-followGap) })
		old := c.addr()
		c.rebind()
		c.proved()
		require.Equal(t, old, session.selectedAddr(), "a check alone moves nothing while the old pair may live")
		c.sendRTP(2, "from the new address")
		require.Equal(t, rtpPacket(2, 1, "from the new address"), receive(t, session.rtp, "media does not arrive"))
		c.sendRTCP()
		session.waitSelected(c.addr())
		session.sendMedia(2, "after")
		require.Equal(t, rtpPacket(2, 2, "after"), c.receiveRTP())
	})
	t.Run("silence of the old address leads", func(t *testing.T) {
		s := newServer(t)
		c, session := pairUp(t, s)
		c.connect(session)
		c.rebind()
		c.proved()
		session.HandlePacket(c.check().Raw, s.pathTo(c.addr()), time.Now().Add(staleAfter+time.Second))
		require.Equal(t, c.addr(), session.selectedAddr())
	})
	t.Run("a packet from before a move moves nothing back", func(t *testing.T) {
		s := newServer(t)
		c, session := pairUp(t, s)
		c.connect(session)
		old := s.pathTo(c.addr())
		sealed, err := c.send.EncryptRTCP(nil, receiverReport(1), nil)
		require.NoError(t, err)
		c.rebind()
		c.proved(useCandidate)
		require.Equal(t, c.addr(), session.selectedAddr())
		session.HandlePacket(sealed, old, time.Now())
		receive(t, session.rtcp, "report lost")
		require.Equal(t, c.addr(), session.selectedAddr())
	})
	t.Run("forged media", func(t *testing.T) {
		s := newServer(t)
		c, session := pairUp(t, s)
		c.connect(session)
		other := c.twin(s)
		other.proved()
		session.state(func(a *agent) { a.selectedAt = a.selectedAt.Add(-followGap) })
		other.write([]byte("\x80\xc9\x00\x01\x00\x00\x00\x01 not sealed with our keys, no keys at all"))
		other.settle()
		require.Equal(t, c.addr(), session.selectedAddr())
	})
	t.Run("lite", func(t *testing.T) {
		s := newServer(t, func(c *Config) { c.Lite = true })
		c, session := pairUp(t, s)
		c.connect(session)
		session.state(func(a *agent) { a.selectedAt = a.selectedAt.Add(-followGap) })
		c.rebind()
		c.ping()
		c.sendRTCP()
		session.waitSelected(c.addr())
	})
	t.Run("more often than there are pairs", func(t *testing.T) {
		s := newServer(t)
		c, session := pairUp(t, s)
		c.connect(session)
		for range maxPairs + 3 {
			c.rebind()
			c.proved(useCandidate)
			require.Equal(t, c.addr(), session.selectedAddr())
		}
	})
}

func TestRestart(t *testing.T) {
	var s *server
	restarted := func(t *testing.T) (*client, *testSession, Credentials) {
		s = newServer(t)
		c, session := pairUp(t, s)
		c.connect(session)
		old := c.remote
		c.restart(session)
		return c, session, old
	}
	t.Run("old ufrag is answered until the new pair is valid", func(t *testing.T) {
		c, session, old := restarted(t)
		c.pingOld(old)
		session.sendMedia(1, "meanwhile")
		c.receiveRTP()
		c.proved(useCandidate)
		require.Equal(t, c.addr(), session.selectedAddr())
		before := session.config.Port.Unknown()
		c.write(c.checkFor(old, controlling).Raw)
		eventually(t, func() bool { return session.config.Port.Unknown() == before+1 }, "old ufrag is still known")
		session.sendMedia(2, "after")
		c.receiveRTP()
		c.sendRTP(3, "after")
		receive(t, session.rtp, "no media after the restart")
	})
	t.Run("without a nomination", func(t *testing.T) {
		c, session, _ := restarted(t)
		c.proved()
		session.state(func(a *agent) {
			require.Nil(t, a.previous, "the new generation is not settled")
			require.True(t, a.scheduled(a.selected), "no consent checks after the restart")
		})
	})
	t.Run("to another address", func(t *testing.T) {
		c, session, _ := restarted(t)
		old := c.addr()
		c.rebind()
		c.proved(useCandidate)
		require.Equal(t, c.addr(), session.selectedAddr())
		session.state(func(a *agent) { require.Len(t, a.pairs, 1) })
		require.True(t, session.config.Port.Bind(s.pathTo(old), nil, time.Now(), false), "the old address is still bound")
	})
	t.Run("wrong password", func(t *testing.T) {
		c, session, old := restarted(t)
		c.write(c.checkAs(old.Pwd, controlling, useCandidate).Raw) // the old password under the new name
		c.pingOld(old)
		session.state(func(a *agent) { require.NotNil(t, a.previous) })
	})
	t.Run("an old request nominates nothing new", func(t *testing.T) {
		c, session, old := restarted(t)
		m := c.checkFor(old, controlling, useCandidate)
		c.write(m.Raw)
		c.pingOld(old)
		session.state(func(a *agent) { require.Nil(t, a.find(session.Path())) })
	})
	t.Run("restart of a restart", func(t *testing.T) {
		c, session, old := restarted(t)
		between := c.remote
		c.restart(session)
		c.pingOld(old)
		before := session.config.Port.Unknown()
		c.write(c.checkFor(between, controlling).Raw)
		eventually(t, func() bool { return session.config.Port.Unknown() == before+1 }, "the restart in between is still known")
		c.proved(useCandidate)
		session.state(func(a *agent) { require.Nil(t, a.previous); require.Len(t, a.pairs, 1) })
	})
	t.Run("before the first connection", func(t *testing.T) {
		s := newServer(t)
		c, session := pairUp(t, s)
		c.restart(session)
		c.connect(session)
	})
	t.Run("with candidates", func(t *testing.T) {
		s := newServer(t)
		c, session := pairUp(t, s)
		c.connect(session)
		c.restart(session, c.addr())
		for {
			m := receive(t, c.checks, "no check of the new generation")
			if stun.NewShortTermIntegrity(c.local.Pwd).Check(m) == nil {
				break
			}
		}
		eventually(t, func() (settled bool) { session.state(func(a *agent) { settled = a.previous == nil }); return settled }, "not settled")
	})
}

func (c *client) restart(session *testSession, candidates ...netip.AddrPort) {
	c.t.Helper()
	local := NewCredentials()
	c.mu.Lock()
	c.local = local
	c.mu.Unlock()
	remote, err := session.Restart(local, candidates)
	require.NoError(c.t, err)
	require.Equal(c.t, remote, session.LocalCredentials())
	require.NotEqual(c.t, c.remote, remote)
	c.remote = remote
	for len(c.checks) > 0 {
		<-c.checks
	}
}

// checkFor is a check for earlier credentials of the server.
func (c *client) checkFor(remote Credentials, attributes ...stun.Setter) *stun.Message {
	setters := append([]stun.Setter{stun.TransactionID, stun.BindingRequest, stun.NewUsername(remote.Ufrag + ":old")}, attributes...)
	return stun.MustBuild(append(setters, stun.NewShortTermIntegrity(remote.Pwd), stun.Fingerprint)...)
}

func (c *client) pingOld(remote Credentials) {
	c.t.Helper()
	m := c.checkFor(remote, controlling)
	c.write(m.Raw)
	for {
		got := receive(c.t, c.stun, "old ufrag is not answered")
		if got.TransactionID == m.TransactionID {
			require.NoError(c.t, stun.NewShortTermIntegrity(remote.Pwd).Check(got))
			return
		}
	}
}
