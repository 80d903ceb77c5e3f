package transport

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/srtp/v3"
	"github.com/pion/transport/v4/packetio"
	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"

	"rheomesh/internal/rtpx"
)

// pionClient is a client with pion's ICE agent.
type pionClient struct {
	t           testing.TB
	agent       *ice.Agent
	conn        *ice.Conn
	dtls        *packetio.Buffer
	media       chan []byte // capacity 64
	reader      sync.WaitGroup
	send, recv  *srtp.Context
	goodbye     func()
	credentials Credentials
}

func newPionClient(t testing.TB, options ...ice.AgentOption) *pionClient {
	t.Helper()
	c := &pionClient{t: t, dtls: packetio.NewBuffer(), media: make(chan []byte, 64), goodbye: func() {}}
	var err error
	c.agent, err = ice.NewAgentWithOptions(append([]ice.AgentOption{
		ice.WithNetworkTypes([]ice.NetworkType{ice.NetworkTypeUDP4}), ice.WithCandidateTypes([]ice.CandidateType{ice.CandidateTypeHost}),
		ice.WithIncludeLoopback(), ice.WithInterfaceFilter(func(name string) bool { return name == "lo" }),
		ice.WithMulticastDNSMode(ice.MulticastDNSModeDisabled), ice.WithHostAcceptanceMinWait(0), ice.WithKeepaliveInterval(50 * time.Millisecond),
	}, options...)...)
	require.NoError(t, err)
	gathered := make(chan struct{})
	require.NoError(t, c.agent.OnCandidate(func(candidate ice.Candidate) {
		if candidate == nil {
			close(gathered)
		}
	}))
	require.NoError(t, c.agent.GatherCandidates())
	receive(t, gathered, "gathering does not end")
	c.credentials.Ufrag, c.credentials.Pwd, err = c.agent.GetLocalUserCredentials()
	require.NoError(t, err)
	t.Cleanup(func() {
		c.goodbye()
		require.NoError(t, c.agent.Close())
		_ = c.dtls.Close()
		c.reader.Wait()
	})
	return c
}

// candidates are the client's UDP addresses.
func (c *pionClient) candidates() (addrs []netip.AddrPort) {
	c.t.Helper()
	local, err := c.agent.GetLocalCandidates()
	require.NoError(c.t, err)
	for _, candidate := range local {
		if !candidate.NetworkType().IsTCP() {
			addrs = append(addrs, netip.AddrPortFrom(netip.MustParseAddr(candidate.Address()), uint16(candidate.Port())))
		}
	}
	return addrs
}

// connect runs ICE towards addr in the given role, then DTLS.
func (c *pionClient) connect(session *testSession, network string, addr netip.AddrPort, controlling bool) {
	c.t.Helper()
	config := &ice.CandidateHostConfig{Network: network, Address: addr.Addr().String(), Port: int(addr.Port()), Component: 1}
	if strings.HasPrefix(network, "tcp") {
		config.TCPType = ice.TCPTypePassive
	}
	remote, err := ice.NewCandidateHost(config)
	require.NoError(c.t, err)
	require.NoError(c.t, c.agent.AddRemoteCandidate(remote))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	local := session.LocalCredentials()
	if controlling {
		c.conn, err = c.agent.Dial(ctx, local.Ufrag, local.Pwd)
	} else {
		c.conn, err = c.agent.Accept(ctx, local.Ufrag, local.Pwd)
	}
	require.NoError(c.t, err)
	c.reader.Go(c.read)
	link, keys, err := handshakeOver(pionPacketConn{c}, clientCertificate, true)
	require.NoError(c.t, err)
	c.goodbye = func() { _ = link.Close() }
	c.send, err = srtp.CreateContext(keys.Keys.LocalMasterKey, keys.Keys.LocalMasterSalt, keys.Profile)
	require.NoError(c.t, err)
	c.recv, err = srtp.CreateContext(keys.Keys.RemoteMasterKey, keys.Keys.RemoteMasterSalt, keys.Profile)
	require.NoError(c.t, err)
	session.waitConnected()
}

func (c *pionClient) read() {
	buf := make([]byte, 1<<16)
	for {
		n, err := c.conn.Read(buf)
		if err != nil {
			return
		}
		if rtpx.Classify(buf[:n]) == rtpx.DTLS {
			_, _ = c.dtls.Write(buf[:n])
			continue
		}
		offer(c.media, append([]byte(nil), buf[:n]...))
	}
}

// exchange sends a packet of media each way.
func (c *pionClient) exchange(session *testSession, seq uint16) {
	c.t.Helper()
	sealed, err := c.send.EncryptRTP(nil, rtpPacket(seq, 1, "up"), nil)
	require.NoError(c.t, err)
	_, err = c.conn.Write(sealed)
	require.NoError(c.t, err)
	require.Equal(c.t, rtpPacket(seq, 1, "up"), receive(c.t, session.rtp, "no media from the client"))
	session.sendMedia(uint64(seq), "down")
	plain, err := c.recv.DecryptRTP(nil, receive(c.t, c.media, "no media to the client"), nil)
	require.NoError(c.t, err)
	require.Equal(c.t, rtpPacket(seq, 2, "down"), plain)
}

func (c *pionClient) sendRTCP() {
	sealed, err := c.send.EncryptRTCP(nil, receiverReport(1), nil)
	require.NoError(c.t, err)
	_, _ = c.conn.Write(sealed)
}

// pionPacketConn lets pion/dtls use the client's ICE connection.
type pionPacketConn struct{ *pionClient }

func (d pionPacketConn) ReadFrom(p []byte) (int, net.Addr, error) {
	n, err := d.dtls.Read(p)
	return n, dtlsAddr{}, err
}
func (d pionPacketConn) WriteTo(p []byte, _ net.Addr) (int, error) { return d.conn.Write(p) }
func (d pionPacketConn) Close() error                              { return d.dtls.Close() }
func (d pionPacketConn) LocalAddr() net.Addr                       { return dtlsAddr{} }
func (d pionPacketConn) SetDeadline(t time.Time) error             { return d.dtls.SetReadDeadline(t) }

func (d pionPacketConn) SetReadDeadline(t time.Time) error { return d.dtls.SetReadDeadline(t) }
func (d pionPacketConn) SetWriteDeadline(time.Time) error  { return nil }

// TestPionAgents connects pion's ICE agent in every role, over UDP and TCP. It never takes ::1 for a candidate, so IPv6 is for the other client.
func TestPionAgents(t *testing.T) {
	networks := func(types ...ice.NetworkType) ice.AgentOption { return ice.WithNetworkTypes(types) }
	tests := []struct {
		name        string
		network     string
		lite        bool // ours
		controlling bool // the client
		options     []ice.AgentOption
		peer        func(p *Peer, c *pionClient)
	}{
		{"zero candidates", "udp", false, true, nil, nil},
		{"candidates", "udp", false, true, nil, func(p *Peer, c *pionClient) { p.Candidates = c.candidates() }},
		{"we are lite", "udp", true, true, nil, nil},
		{"client thinks it is controlled", "udp", false, false, nil, func(p *Peer, c *pionClient) { p.Candidates = c.candidates() }},
		{
			"client is lite", "udp", false, false,
			[]ice.AgentOption{ice.WithICELite(true)},
			func(p *Peer, c *pionClient) { p.Lite, p.Candidates = true, c.candidates() },
		},
		{"nominated by the first check", "udp", false, true, []ice.AgentOption{ice.WithEnableUseCandidateCheckPriority()}, nil},
		{"TCP", "tcp", false, true, []ice.AgentOption{networks(ice.NetworkTypeTCP4)}, nil},
		{"TCP, we are lite", "tcp", true, true, []ice.AgentOption{networks(ice.NetworkTypeTCP4)}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t, func(c *Config) { c.Lite = tt.lite })
			c := newPionClient(t, tt.options...)
			peer := Peer{Credentials: c.credentials}
			if tt.peer != nil {
				tt.peer(&peer, c)
			}
			session := s.newSession(peer)
			c.connect(session, tt.network, s.addr(), tt.controlling)
			require.Equal(t, tt.network == "tcp", session.Path().TCP())
			c.exchange(session, 1)
			c.goodbye()
			session.waitClosed(CausePeer)
		})
	}
}

// nat relays between one client and the server, and can forget the address that it gave to the client.
type nat struct {
	inside  *net.UDPConn
	client  atomic.Pointer[netip.AddrPort]
	server  netip.AddrPort
	outside atomic.Pointer[net.UDPConn]
	loops   sync.WaitGroup
}

func newNAT(t testing.TB, server netip.AddrPort) *nat {
	n := &nat{inside: listenUDP(t), server: server}
	n.rebind(t)
	n.loops.Go(func() {
		relay(n.inside, func(b []byte, from netip.AddrPort) {
			n.client.Store(&from)
			_, _ = n.outside.Load().WriteToUDPAddrPort(b, n.server)
		})
	})
	t.Cleanup(func() {
		_ = n.inside.Close()
		_ = n.outside.Load().Close()
		n.loops.Wait()
	})
	return n
}

func (n *nat) rebind(t testing.TB) netip.AddrPort {
	conn := listenUDP(t)
	if old := n.outside.Swap(conn); old != nil {
		_ = old.Close()
	}
	n.loops.Go(func() {
		relay(conn, func(b []byte, _ netip.AddrPort) {
			if client := n.client.Load(); client != nil {
				_, _ = n.inside.WriteToUDPAddrPort(b, *client)
			}
		})
	})
	return addrOf(conn)
}

func relay(from *net.UDPConn, to func(b []byte, from netip.AddrPort)) {
	buf := make([]byte, 1<<16)
	for {
		n, addr, err := from.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		to(buf[:n], addr)
	}
}

// TestPionBehindNAT gives a pion client another address in the middle of the session. It does not notice; media must follow.
func TestPionBehindNAT(t *testing.T) {
	s := newServer(t)
	n := newNAT(t, s.addr())
	c := newPionClient(t)
	session := s.newSession(Peer{Credentials: c.credentials})
	c.connect(session, "udp", addrOf(n.inside), true)
	c.exchange(session, 1)
	moved := n.rebind(t)
	session.state(func(a *agent) { a.selectedAt = a.selectedAt.Add(-followGap) })
	eventually(t, func() bool { // its keep-alives open the way, its reports lead us
		c.sendRTCP()
		return session.selectedAddr() == moved
	}, "not followed")
	c.exchange(session, 2)
}

// TestPionRestart restarts a pion client's ICE, twice.
func TestPionRestart(t *testing.T) {
	s := newServer(t)
	c := newPionClient(t)
	session := s.newSession(Peer{Credentials: c.credentials})
	c.connect(session, "udp", s.addr(), true)
	for i := range 2 {
		c.exchange(session, uint16(1+2*i))
		require.NoError(t, c.agent.Restart("", ""))
		gathered := make(chan struct{})
		require.NoError(t, c.agent.OnCandidate(func(candidate ice.Candidate) {
			if candidate == nil {
				close(gathered)
			}
		}))
		require.NoError(t, c.agent.GatherCandidates())
		receive(t, gathered, "gathering does not end")
		ufrag, pwd, err := c.agent.GetLocalUserCredentials()
		require.NoError(t, err)
		local, err := session.Restart(Credentials{Ufrag: ufrag, Pwd: pwd}, c.candidates())
		require.NoError(t, err)
		require.NoError(t, c.agent.SetRemoteCredentials(local.Ufrag, local.Pwd))
		remote, err := ice.NewCandidateHost(&ice.CandidateHostConfig{Network: "udp", Address: "127.0.0.1", Port: int(s.addr().Port()), Component: 1})
		require.NoError(t, err)
		require.NoError(t, c.agent.AddRemoteCandidate(remote))
		eventually(t, func() (settled bool) {
			session.state(func(a *agent) { settled = a.previous == nil })
			return settled
		}, "the new generation is not settled")
		eventually(t, func() bool { pair, err := c.agent.GetSelectedCandidatePair(); return err == nil && pair != nil }, "client selects nothing")
		c.exchange(session, uint16(2+2*i))
	}
}

// TestPeerConnection connects a whole PeerConnection whose SCTP association finds no answer, since we agreed to none: it must neither
// hold up the goodbye nor end the session.
func TestPeerConnection(t *testing.T) {
	s := newServer(t)
	var engine webrtc.SettingEngine
	engine.SetIncludeLoopbackCandidate(true)
	engine.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	engine.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(engine)).NewPeerConnection(webrtc.Configuration{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pc.GracefulClose()) })
	_, err = pc.CreateDataChannel("chat", nil)
	require.NoError(t, err)
	description, err := pc.CreateOffer(nil)
	require.NoError(t, err)
	gathered := webrtc.GatheringCompletePromise(pc)
	require.NoError(t, pc.SetLocalDescription(description))
	receive(t, gathered, "gathering does not end")
	text := pc.LocalDescription().SDP
	session := s.newSession(Peer{
		Credentials:          Credentials{Ufrag: sdpValue(t, text, "a=ice-ufrag:"), Pwd: sdpValue(t, text, "a=ice-pwd:")},
		FingerprintAlgorithm: "sha-256", Fingerprint: sdpValue(t, text, "a=fingerprint:sha-256 "),
	})
	local := session.LocalCredentials()
	answer := strings.Join([]string{
		"v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0", "a=group:BUNDLE 0", "m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "c=IN IP4 0.0.0.0", "a=mid:0",
		"a=sctp-port:5000", "a=setup:passive", "a=ice-ufrag:" + local.Ufrag, "a=ice-pwd:" + local.Pwd, "a=fingerprint:sha-256 " + fingerprintOf(t, serverCertificate),
		fmt.Sprintf("a=candidate:1 1 udp 2130706431 127.0.0.1 %d typ host", s.addr().Port()), "a=end-of-candidates", "",
	}, "\r\n")
	require.NoError(t, pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}))
	session.waitConnected()
	eventually(t, func() bool { session.mu.Lock(); defer session.mu.Unlock(); return session.draining }, "no application data came")
	require.True(t, session.Connected())
	require.NoError(t, pc.GracefulClose())
	session.waitClosed(CausePeer)
}

func sdpValue(t testing.TB, text, prefix string) string {
	t.Helper()
	for line := range strings.Lines(text) {
		if value, found := strings.CutPrefix(line, prefix); found {
			return strings.TrimSpace(value)
		}
	}
	t.Fatalf("no %s in the offer", prefix)
	return ""
}
