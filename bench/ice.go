package bench

import (
	"crypto/rand"
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/stun/v4"
)

// credentials are an ICE user name fragment and password (RFC 8445 section 5.3).
type credentials struct{ ufrag, pwd string }

func newCredentials() credentials {
	text := rand.Text() + rand.Text() // 26 characters of 5 random bits each
	return credentials{ufrag: text[:8], pwd: text[len(text)-26:]}
}

const (
	hostPriority = 126<<24 | 65535<<8 | 255 // PRIORITY of our checks: a host candidate (RFC 8445 section 5.1.2)
	checkPace    = 50 * time.Millisecond    // between checks while none has succeeded (RFC 8445 section 14.2, Ta)
)

// agent is a controlling ICE agent with aggressive manners: each check nominates, the first to succeed wins. It keeps the
// rest of RFC 8445 out: there is one socket, and candidates are tried one after the other.
type agent struct {
	local credentials
	tie   uint64

	mu       sync.Mutex // guards all below
	remote   credentials
	selected netip.AddrPort
	found    chan struct{} // closed when selected is valid
}

func newAgent() *agent {
	var tie [8]byte
	_, _ = rand.Read(tie[:]) // never fails
	return &agent{local: newCredentials(), tie: binary.BigEndian.Uint64(tie[:]), found: make(chan struct{})}
}

func (a *agent) setRemote(c credentials) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.remote = c
}

// path is the address of the server; not valid before found.
func (a *agent) path() netip.AddrPort {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.selected
}

// check sends one connectivity check that nominates (RFC 8445 sections 7.2.2 and 8.1.1), or renews consent (RFC 7675).
func (a *agent) check(s *socket, to netip.AddrPort) {
	a.mu.Lock()
	remote := a.remote
	a.mu.Unlock()
	var tie, priority [8]byte
	binary.BigEndian.PutUint64(tie[:], a.tie)
	binary.BigEndian.PutUint32(priority[:], hostPriority)
	m, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername(remote.ufrag+":"+a.local.ufrag),
		stun.RawAttribute{Type: stun.AttrPriority, Value: priority[:4]}, stun.RawAttribute{Type: stun.AttrICEControlling, Value: tie[:]},
		stun.RawAttribute{Type: stun.AttrUseCandidate}, stun.NewShortTermIntegrity(remote.pwd), stun.Fingerprint)
	if err == nil {
		s.send(m.Raw, to)
	}
}

// handle takes one STUN message: the server's checks are answered, its answers to ours select the path.
func (a *agent) handle(s *socket, d *datagram) {
	m := &stun.Message{Raw: append([]byte(nil), d.data...)}
	if m.Decode() != nil || m.Type.Method != stun.MethodBinding {
		return
	}
	switch m.Type.Class {
	case stun.ClassRequest:
		a.respond(s, m, d.from())
	case stun.ClassSuccessResponse:
		a.succeed(m, d.from())
	case stun.ClassErrorResponse, stun.ClassIndication: // nothing follows from them
	}
}

// respond answers a check of the server (RFC 8445 section 7.3). Role conflicts do not arise: the offerer controls.
func (a *agent) respond(s *socket, m *stun.Message, from netip.AddrPort) {
	integrity := stun.NewShortTermIntegrity(a.local.pwd)
	if integrity.Check(m) != nil {
		return
	}
	mapped := stun.XORMappedAddress{IP: net.IP(from.Addr().AsSlice()), Port: int(from.Port())}
	response, err := stun.Build(stun.NewTransactionIDSetter(m.TransactionID), stun.BindingSuccess, mapped, integrity, stun.Fingerprint)
	if err == nil {
		s.send(response.Raw, from)
	}
}

// succeed takes an answer. Its integrity proves that it answers one of our checks, whichever.
func (a *agent) succeed(m *stun.Message, from netip.AddrPort) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.selected.IsValid() || stun.NewShortTermIntegrity(a.remote.pwd).Check(m) != nil {
		return
	}
	a.selected = from
	close(a.found)
}
