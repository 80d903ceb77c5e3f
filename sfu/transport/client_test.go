package transport

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/srtp/v3"
	"github.com/pion/stun/v4"
	"github.com/pion/transport/v4/packetio"
	"github.com/stretchr/testify/require"

	"rheomesh/internal/rtpx"
)

// client is a WebRTC client whose ICE agent is the test itself: it sends the checks that a test tells it to, and answers those that come unless told not to.
type client struct {
	t       testing.TB
	session *testSession // whose client it is
	server  netip.AddrPort
	mu      sync.Mutex // guards conn and local, remote
	conn    *net.UDPConn
	local   Credentials
	remote  Credentials
	readers sync.WaitGroup

	deaf   atomic.Bool        // does not answer checks
	checks chan *stun.Message // checks that came; capacity 1024, more are dropped
	stun   chan *stun.Message // answers that came; capacity 1024
	media  chan []byte        // sealed; capacity 1024, more are dropped
	dtls   *packetio.Buffer

	certificate tls.Certificate
	link        *dtls.Conn
	send, recv  *srtp.Context
}

// newClient makes a client for a session that it does not have yet.
func newClient(t testing.TB, s *server) *client {
	t.Helper()
	c := &client{
		t: t, server: s.addr(), conn: listenUDPAt(t, s.addr().Addr()), local: NewCredentials(), certificate: clientCertificate,
		checks: make(chan *stun.Message, 1024), stun: make(chan *stun.Message, 1024), media: make(chan []byte, 1024), dtls: packetio.NewBuffer(),
	}
	c.read(c.conn)
	t.Cleanup(c.close)
	return c
}

// pairUp makes a session and a client for it.
func pairUp(t testing.TB, s *server, change ...func(*Peer)) (*client, *testSession) {
	t.Helper()
	c := newClient(t, s)
	peer := Peer{Credentials: c.local}
	for _, f := range change {
		f(&peer)
	}
	session := s.newSession(peer)
	c.session, c.remote = session, session.LocalCredentials()
	return c, session
}

// twin is a second address of the same client.
func (c *client) twin(s *server) *client {
	other := newClient(c.t, s)
	other.session, other.local, other.remote = c.session, c.local, c.remote
	return other
}

func (c *client) close() {
	if c.link != nil {
		_ = c.link.Close()
	}
	_ = c.dtls.Close()
	_ = c.socket().Close()
	c.readers.Wait()
}

// vanish makes the client silent for good, without a goodbye.
func (c *client) vanish() {
	_ = c.socket().Close()
	c.readers.Wait()
}

func (c *client) socket() *net.UDPConn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn
}

func (c *client) addr() netip.AddrPort { return addrOf(c.socket()) }

// rebind gives the client a new address, as a NAT does that forgot the old one.
func (c *client) rebind() {
	conn := listenUDPAt(c.t, c.server.Addr())
	c.mu.Lock()
	old := c.conn
	c.conn = conn
	c.mu.Unlock()
	_ = old.Close()
	c.read(conn)
}

func (c *client) read(conn *net.UDPConn) {
	c.readers.Go(func() {
		buf := make([]byte, 1<<16)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			c.take(slices.Clone(buf[:n]), conn)
		}
	})
}

func (c *client) take(packet []byte, conn *net.UDPConn) {
	switch rtpx.Classify(packet) {
	case rtpx.STUN:
		m := &stun.Message{Raw: packet}
		if m.Decode() != nil {
			return
		}
		if m.Type != stun.BindingRequest {
			offer(c.stun, m)
			return
		}
		if !c.deaf.Load() {
			c.answer(m, conn) // first, so that whoever sees the check knows it answered
		}
		offer(c.checks, m)
	case rtpx.DTLS:
		_, _ = c.dtls.Write(packet)
	default:
		offer(c.media, packet)
	}
}

func offer[T any](to chan T, v T) {
	select {
	case to <- v:
	default:
	}
}

// answer is a success response to a check of the server.
func (c *client) answer(m *stun.Message, conn *net.UDPConn) {
	c.mu.Lock()
	pwd := c.local.Pwd
	c.mu.Unlock()
	c.writeOn(conn, answerTo(m, pwd))
}

func answerTo(m *stun.Message, pwd string, setters ...stun.Setter) []byte {
	if len(setters) == 0 {
		setters = []stun.Setter{stun.BindingSuccess, stun.XORMappedAddress{IP: net.IPv4(192, 0, 2, 1), Port: 1}}
	}
	setters = append([]stun.Setter{stun.NewTransactionIDSetter(m.TransactionID)}, setters...)
	return stun.MustBuild(append(setters, stun.NewShortTermIntegrity(pwd), stun.Fingerprint)...).Raw
}

func (c *client) write(packet []byte) { c.writeOn(c.socket(), packet) }
func (c *client) writeOn(conn *net.UDPConn, packet []byte) {
	_, _ = conn.WriteToUDPAddrPort(packet, c.server)
}

// Attributes of checks.
var (
	useCandidate = stun.RawAttribute{Type: stun.AttrUseCandidate}
	controlling  = attribute64(stun.AttrICEControlling, 1)
	controlled   = attribute64(stun.AttrICEControlled, 1)
)

// check makes a valid check of a controlling client, with more attributes.
func (c *client) check(more ...stun.Setter) *stun.Message {
	return c.checkAs(c.remote.Pwd, append([]stun.Setter{controlling}, more...)...)
}

func (c *client) checkAs(pwd string, attributes ...stun.Setter) *stun.Message {
	setters := []stun.Setter{stun.TransactionID, stun.BindingRequest, stun.NewUsername(c.remote.Ufrag + ":" + c.local.Ufrag), attribute32(stun.AttrPriority, 1)}
	setters = append(setters, attributes...)
	return stun.MustBuild(append(setters, stun.NewShortTermIntegrity(pwd), stun.Fingerprint)...)
}

// ping sends a check and waits for the answer to it.
func (c *client) ping(more ...stun.Setter) *stun.Message {
	c.t.Helper()
	m := c.check(more...)
	c.write(m.Raw)
	return c.answered(m)
}

func (c *client) answered(m *stun.Message) *stun.Message {
	c.t.Helper()
	for {
		if got := receive(c.t, c.stun, "no answer"); got.TransactionID == m.TransactionID {
			require.NoError(c.t, stun.NewShortTermIntegrity(c.remote.Pwd).Check(got))
			require.NoError(c.t, stun.Fingerprint.Check(got))
			return got
		}
	}
}

// settle exchanges checks until everything that the client sent before is dealt with by the server.
func (c *client) settle() { c.t.Helper(); c.ping() }

// proved sends a check, and waits until the server has had its own answered and holds the pair for valid.
func (c *client) proved(more ...stun.Setter) {
	c.t.Helper()
	c.ping(more...)
	path, _ := c.session.config.Port.Sockets()[0].PathTo(c.addr())
	eventually(c.t, func() (valid bool) {
		c.session.state(func(a *agent) { p := a.find(path); valid = p != nil && p.valid })
		return valid
	}, "pair is not valid")
}

// dtlsPacketConn lets pion/dtls use the client's socket.
type dtlsPacketConn struct{ *client }

func (d dtlsPacketConn) ReadFrom(p []byte) (int, net.Addr, error) {
	n, err := d.dtls.Read(p)
	return n, dtlsAddr{}, err
}

func (d dtlsPacketConn) WriteTo(p []byte, _ net.Addr) (int, error) { d.write(p); return len(p), nil }
func (d dtlsPacketConn) Close() error                              { return d.dtls.Close() }
func (d dtlsPacketConn) LocalAddr() net.Addr                       { return dtlsAddr{} }
func (d dtlsPacketConn) SetDeadline(t time.Time) error             { return d.dtls.SetReadDeadline(t) }

func (d dtlsPacketConn) SetReadDeadline(t time.Time) error { return d.dtls.SetReadDeadline(t) }
func (d dtlsPacketConn) SetWriteDeadline(time.Time) error  { return nil }

// handshake runs the client's side of DTLS and derives its keys.
func (c *client) handshake(isClient bool, profiles ...dtls.SRTPProtectionProfile) error {
	link, config, err := handshakeOver(dtlsPacketConn{c}, c.certificate, isClient, profiles...)
	if err != nil {
		return err
	}
	c.link = link
	c.send, err = srtp.CreateContext(config.Keys.LocalMasterKey, config.Keys.LocalMasterSalt, config.Profile)
	if err != nil {
		return err
	}
	c.recv, err = srtp.CreateContext(config.Keys.RemoteMasterKey, config.Keys.RemoteMasterSalt, config.Profile)
	return err
}

func handshakeOver(conn net.PacketConn, certificate tls.Certificate, isClient bool, profiles ...dtls.SRTPProtectionProfile) (*dtls.Conn, srtp.Config, error) {
	if len(profiles) == 0 {
		profiles = DefaultProfiles
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var link *dtls.Conn
	var err error
	if isClient {
		link, err = dtls.ClientWithOptions(conn, dtlsAddr{}, dtls.WithCertificates(certificate), dtls.WithSRTPProtectionProfiles(profiles...),
			dtls.WithInsecureSkipVerify(true), dtls.WithFlightInterval(dtlsFlightRetry))
	} else {
		link, err = dtls.ServerWithOptions(conn, dtlsAddr{}, dtls.WithCertificates(certificate), dtls.WithSRTPProtectionProfiles(profiles...),
			dtls.WithClientAuth(dtls.RequireAnyClientCert), dtls.WithInsecureSkipVerify(true), dtls.WithFlightInterval(dtlsFlightRetry))
	}
	if err != nil {
		return nil, srtp.Config{}, err
	}
	if err := link.HandshakeContext(ctx); err != nil {
		_ = link.Close()
		return nil, srtp.Config{}, err
	}
	selected, _ := link.SelectedSRTPProtectionProfile()
	state, _ := link.ConnectionState()
	config := srtp.Config{Profile: srtp.ProtectionProfile(selected)}
	return link, config, config.ExtractSessionKeysFromDTLS(&state, isClient)
}

// connect does everything up to the keys on both sides.
func (c *client) connect(session *testSession, profiles ...dtls.SRTPProtectionProfile) {
	c.t.Helper()
	c.ping(useCandidate)
	require.NoError(c.t, c.handshake(!session.peer.DTLSClient, profiles...))
	session.waitConnected()
}

// rtp makes a plain RTP packet.
func rtpPacket(seq uint16, ssrc uint32, payload string) []byte {
	header := []byte{0x80, 96, byte(seq >> 8), byte(seq), 0, 0, 0, 1, byte(ssrc >> 24), byte(ssrc >> 16), byte(ssrc >> 8), byte(ssrc)}
	return append(header, payload...)
}

// receiverReport is an empty RTCP receiver report.
func receiverReport(ssrc byte) []byte { return []byte{0x80, 201, 0, 1, 0, 0, 0, ssrc} }

func (c *client) sendRTP(seq uint16, payload string) {
	c.t.Helper()
	sealed, err := c.send.EncryptRTP(nil, rtpPacket(seq, 1, payload), nil)
	require.NoError(c.t, err)
	c.write(sealed)
}

func (c *client) sendRTCP() {
	c.t.Helper()
	sealed, err := c.send.EncryptRTCP(nil, receiverReport(1), nil)
	require.NoError(c.t, err)
	c.write(sealed)
}

// receiveRTP waits for a packet of the server and opens it.
func (c *client) receiveRTP() []byte {
	c.t.Helper()
	plain, err := c.recv.DecryptRTP(nil, receive(c.t, c.media, "no media"), nil)
	require.NoError(c.t, err)
	return plain
}

// sendMedia seals a packet and sends it on the selected path, as a forwarder does.
func (s *testSession) sendMedia(extSeq uint64, payload string) {
	s.t.Helper()
	packet := rtpPacket(uint16(extSeq), 2, "")
	buf := append(packet, make([]byte, len(payload)+Overhead)...)
	n, err := s.SealRTP(buf, len(packet), []byte(payload), 2, extSeq)
	require.NoError(s.t, err)
	require.NoError(s.t, s.Path().Write(buf[:n]))
}
