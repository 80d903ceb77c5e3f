package sfu

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
	"github.com/pion/stun/v4"
	"github.com/pion/transport/v4/packetio"
	"github.com/stretchr/testify/require"

	"rheomesh/internal/sdp"
	"rheomesh/internal/sdpfrag"
	"rheomesh/sfu/transport"
)

// RawPatience bounds every wait of a RawPeer; nothing waits for it when all is well.
const RawPatience = 10 * time.Second

// RawPeer is a client made of one UDP socket, a few lines of ICE, pion/dtls and pion/srtp. It sends every byte that a test wants and shows every datagram
// that comes, and is light enough to have a thousand of them. Both test packages use it, which is why its names are exported.
type RawPeer struct {
	t       testing.TB
	host    net.IP
	conn    *net.UDPConn
	session *Session

	// credentials guards local and remote, which is the session's.
	credentials   sync.Mutex
	local, remote transport.Credentials

	server  netip.AddrPort
	profile dtls.SRTPProtectionProfile

	records *packetio.Buffer
	link    *dtls.Conn
	keys    srtp.Config
	send    *srtp.Context
	recv    *srtp.Context
	// media holds sealed RTP and RTCP datagrams in the order of their arrival; capacity 8192, more are dropped.
	media   chan []byte
	mute    bool // drop media instead of keeping it
	readers sync.WaitGroup
	closing sync.Once
}

// RawCertificate is the one certificate of all raw peers.
var RawCertificate = sync.OnceValue(func() (c struct {
	Certificate tls.Certificate
	Fingerprint string
},
) {
	certificate, err := newCertificate(nil)
	if err == nil {
		c.Fingerprint, err = transport.Fingerprint("sha-256", certificate.Certificate[0])
	}
	if err != nil {
		panic(err)
	}
	c.Certificate = certificate
	return c
})

// NewRawPeer binds the peer's socket; it is closed with the test.
func NewRawPeer(t testing.TB, change ...func(*RawPeer)) *RawPeer {
	t.Helper()
	p := &RawPeer{
		t: t, host: net.IPv4(127, 0, 0, 1), local: transport.NewCredentials(), profile: dtls.SRTP_AEAD_AES_128_GCM,
		records: packetio.NewBuffer(), media: make(chan []byte, 8192),
	}
	for _, c := range change {
		c(p)
	}
	var err error
	p.conn, err = net.ListenUDP("udp", &net.UDPAddr{IP: p.host})
	require.NoError(t, err)
	t.Cleanup(p.Close)
	return p
}

// RawProfile makes the peer offer one SRTP profile.
func RawProfile(profile dtls.SRTPProtectionProfile) func(*RawPeer) {
	return func(p *RawPeer) { p.profile = profile }
}

// RawIPv6 makes the peer live on the IPv6 loopback, which pion does not.
func RawIPv6(p *RawPeer) { p.host = net.IPv6loopback }

// RawMuted makes the peer forget media as it comes in.
func RawMuted(p *RawPeer) { p.mute, p.media = true, nil }

// Offer writes an offer around the given media sections, each without its transport attributes.
func (p *RawPeer) Offer(sections ...string) []byte {
	var b strings.Builder
	mids := make([]string, len(sections))
	for i := range sections {
		mids[i] = fmt.Sprint(i)
	}
	fmt.Fprintf(&b, "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE %s\r\n", strings.Join(mids, " "))
	for i, section := range sections {
		fmt.Fprintf(&b, "%sc=IN IP4 0.0.0.0\r\na=mid:%d\r\na=rtcp-mux\r\na=ice-ufrag:%s\r\na=ice-pwd:%s\r\na=fingerprint:sha-256 %s\r\na=setup:active\r\n",
			section, i, p.local.Ufrag, p.local.Pwd, RawCertificate().Fingerprint)
	}
	return []byte(b.String())
}

// Sections of raw peers' offers.
const (
	RawVideo = "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=sendrecv\r\na=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\n" +
		"a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid\r\n"
	RawVideoWithoutRTX = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=sendrecv\r\na=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\n"
	RawAudio           = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=sendrecv\r\na=rtpmap:111 opus/48000/2\r\n"
)

// RawPublish publishes under id and connects.
func RawPublish(t testing.TB, router *Router, id PublisherID, sections []string, change ...func(*RawPeer)) *RawPeer {
	t.Helper()
	p := NewRawPeer(t, change...)
	session, err := router.Publish(PublishRequest{Publisher: id, Offer: p.Offer(sections...)})
	require.NoError(t, err)
	require.NoError(t, p.Connect(session))
	return p
}

// RawWatch watches id and connects.
func RawWatch(t testing.TB, router *Router, id PublisherID, sections []string, change ...func(*RawPeer)) *RawPeer {
	t.Helper()
	p := NewRawPeer(t, change...)
	session, err := router.Subscribe(SubscribeRequest{Publisher: id, Offer: p.Offer(sections...)})
	require.NoError(t, err)
	require.NoError(t, p.Connect(session))
	return p
}

// Session is the node's side of the peer.
func (p *RawPeer) Session() *Session { return p.session }

// Connect runs ICE and DTLS with the session, and returns when both sides have their keys.
func (p *RawPeer) Connect(session *Session) error {
	if err := p.adopt(session); err != nil {
		return err
	}
	p.readers.Go(p.read)
	link, err := dtls.ClientWithOptions(rawDTLS{p}, p.conn.RemoteAddr(),
		dtls.WithCertificates(RawCertificate().Certificate), dtls.WithSRTPProtectionProfiles(p.profile),
		dtls.WithInsecureSkipVerify(true), dtls.WithFlightInterval(50*time.Millisecond))
	if err != nil {
		return err
	}
	p.link = link
	p.Check()
	ctx, cancel := context.WithTimeout(context.Background(), RawPatience)
	defer cancel()
	p.readers.Go(func() {
		select {
		case <-session.Done():
			cancel()
		case <-ctx.Done():
		}
	})
	if err := link.HandshakeContext(ctx); err != nil {
		return err
	}
	if err := p.exportKeys(); err != nil {
		return err
	}
	return p.awaitConnected(ctx)
}

// adopt reads the session's answer.
func (p *RawPeer) adopt(session *Session) error {
	p.session = session
	answer, err := sdp.Parse([]byte(session.Description()), sdp.DefaultLimits)
	if err != nil {
		return err
	}
	p.remote = transport.Credentials{Ufrag: answer.ICE.Ufrag, Pwd: answer.ICE.Pwd}
	for _, text := range answer.Candidates {
		if c, err := sdp.ParseCandidate(text); err == nil && c.Transport == "udp" && c.Address.Addr().Is4() == (p.host.To4() != nil) {
			p.server = c.Address
			return nil
		}
	}
	return errors.New("no UDP candidate of the peer's family in the answer")
}

// awaitConnected polls, since a session tells nobody but its owner when it has connected.
func (p *RawPeer) awaitConnected(ctx context.Context) error {
	for !p.session.Connected() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.session.Done():
			reason, _ := p.session.Closed()
			return fmt.Errorf("session closed: %s", reason)
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

func (p *RawPeer) exportKeys() error {
	selected, ok := p.link.SelectedSRTPProtectionProfile()
	state, known := p.link.ConnectionState()
	if !ok || !known {
		return errors.New("no SRTP profile")
	}
	config := srtp.Config{Profile: srtp.ProtectionProfile(selected)}
	err := config.ExtractSessionKeysFromDTLS(&state, true)
	if err != nil {
		return err
	}
	p.keys = config
	if p.send, err = srtp.CreateContext(config.Keys.LocalMasterKey, config.Keys.LocalMasterSalt, config.Profile); err != nil {
		return err
	}
	p.recv, err = srtp.CreateContext(config.Keys.RemoteMasterKey, config.Keys.RemoteMasterSalt, config.Profile, srtp.SRTPNoReplayProtection())
	return err
}

// Check sends a nominating connectivity check (RFC 8445 section 7.2.2).
func (p *RawPeer) Check() {
	p.credentials.Lock()
	defer p.credentials.Unlock()
	p.sendSTUN(stun.TransactionID, stun.BindingRequest, stun.NewUsername(p.remote.Ufrag+":"+p.local.Ufrag),
		stun.RawAttribute{Type: stun.AttrPriority, Value: []byte{0x7e, 0, 0, 0xff}},
		stun.RawAttribute{Type: stun.AttrICEControlling, Value: []byte{1, 2, 3, 4, 5, 6, 7, 8}},
		stun.RawAttribute{Type: stun.AttrUseCandidate},
		stun.NewShortTermIntegrity(p.remote.Pwd), stun.Fingerprint)
}

func (p *RawPeer) sendSTUN(setters ...stun.Setter) {
	if m, err := stun.Build(setters...); err == nil {
		p.SendDatagram(m.Raw)
	}
}

// RestartICE restarts ICE by new credentials. The peer answers to the new ones from then on; Check proves the path again.
func (p *RawPeer) RestartICE() {
	p.t.Helper()
	next := transport.NewCredentials()
	text, err := p.session.RestartICE(sdpfrag.Fragment{Ufrag: next.Ufrag, Pwd: next.Pwd})
	require.NoError(p.t, err)
	reply, err := sdpfrag.Parse([]byte(text), sdpfrag.DefaultLimits)
	require.NoError(p.t, err)
	p.credentials.Lock()
	p.local, p.remote = next, transport.Credentials{Ufrag: reply.Ufrag, Pwd: reply.Pwd}
	p.credentials.Unlock()
}

// SendDatagram sends bytes as they are.
func (p *RawPeer) SendDatagram(b []byte) { _, _ = p.conn.WriteToUDPAddrPort(b, p.server) }

func (p *RawPeer) read() {
	buf := make([]byte, 1<<16)
	for {
		n, _, err := p.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		switch b := buf[:n]; {
		case n > 0 && b[0] <= 3:
			p.answerCheck(b)
		case n > 0 && b[0] >= 20 && b[0] <= 63:
			_, _ = p.records.Write(b)
		case p.mute:
		default:
			select {
			case p.media <- append([]byte(nil), b...):
			default:
			}
		}
	}
}

// answerCheck answers the session's own checks, which ask for consent too (RFC 7675).
func (p *RawPeer) answerCheck(b []byte) {
	m := &stun.Message{Raw: append([]byte(nil), b...)}
	if m.Decode() != nil || m.Type != stun.BindingRequest {
		return
	}
	p.credentials.Lock()
	defer p.credentials.Unlock()
	p.sendSTUN(stun.NewTransactionIDSetter(m.TransactionID), stun.BindingSuccess,
		stun.XORMappedAddress{IP: p.server.Addr().AsSlice(), Port: int(p.server.Port())}, stun.NewShortTermIntegrity(p.local.Pwd), stun.Fingerprint)
}

// RenewSealer makes the peer forget what it sent, so that it can send a number again, and hold nothing for streams of the past.
func (p *RawPeer) RenewSealer() {
	p.t.Helper()
	var err error
	p.send, err = srtp.CreateContext(p.keys.Keys.LocalMasterKey, p.keys.Keys.LocalMasterSalt, p.keys.Profile)
	require.NoError(p.t, err)
}

// Seal seals a plain RTP packet, whatever stands behind its header.
func (p *RawPeer) Seal(plain []byte) []byte {
	p.t.Helper()
	sealed, err := p.send.EncryptRTP(nil, plain, nil)
	require.NoError(p.t, err)
	return sealed
}

// Send seals and sends one packet.
func (p *RawPeer) Send(packet *rtp.Packet) {
	p.t.Helper()
	plain, err := packet.Marshal()
	require.NoError(p.t, err)
	p.SendDatagram(p.Seal(plain))
}

// SendVP8 sends a frame of one packet as RawVideo's payload type 96 under SSRC 0x1000.
func (p *RawPeer) SendVP8(seq uint16, ts uint32, payload []byte) {
	p.t.Helper()
	p.Send(&rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 96, Marker: true, SSRC: 0x1000, SequenceNumber: seq, Timestamp: ts}, Payload: payload})
}

// SendRTCP seals and sends RTCP packets as one compound.
func (p *RawPeer) SendRTCP(packets ...rtcp.Packet) {
	p.t.Helper()
	plain, err := rtcp.Marshal(packets)
	require.NoError(p.t, err)
	sealed, err := p.send.EncryptRTCP(nil, plain, nil)
	require.NoError(p.t, err)
	p.SendDatagram(sealed)
}

// Next is the next datagram of media or RTCP, sealed; false when none comes within the time.
func (p *RawPeer) Next(within time.Duration) ([]byte, bool) {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case b := <-p.media:
		return b, true
	case <-timer.C:
		return nil, false
	}
}

func rawIsRTCP(b []byte) bool { return len(b) > 1 && b[1] >= 192 && b[1] <= 223 }

// NextRTP is the next RTP packet, sealed and opened; RTCP before it is skipped.
func (p *RawPeer) NextRTP() (sealed []byte, packet *rtp.Packet) {
	p.t.Helper()
	deadline := time.Now().Add(RawPatience)
	for {
		b, ok := p.Next(time.Until(deadline))
		if !ok {
			p.t.Fatal("no RTP packet came")
		}
		if rawIsRTCP(b) {
			continue
		}
		return b, p.Open(b)
	}
}

// Open opens a sealed RTP packet.
func (p *RawPeer) Open(sealed []byte) *rtp.Packet {
	p.t.Helper()
	plain, err := p.recv.DecryptRTP(nil, sealed, nil)
	require.NoError(p.t, err)
	packet := &rtp.Packet{}
	require.NoError(p.t, packet.Unmarshal(plain))
	return packet
}

// NextRTCP waits for an RTCP packet that want returns true for; RTP and other packets are skipped.
func (p *RawPeer) NextRTCP(want func(rtcp.Packet) bool) rtcp.Packet {
	p.t.Helper()
	deadline := time.Now().Add(RawPatience)
	for {
		b, ok := p.Next(time.Until(deadline))
		if !ok {
			p.t.Fatal("no such RTCP packet came")
		}
		if !rawIsRTCP(b) {
			continue
		}
		for _, packet := range p.OpenRTCP(b) {
			if want(packet) {
				return packet
			}
		}
	}
}

// OpenRTCP opens a sealed compound.
func (p *RawPeer) OpenRTCP(sealed []byte) []rtcp.Packet {
	p.t.Helper()
	plain, err := p.recv.DecryptRTCP(nil, sealed, nil)
	require.NoError(p.t, err)
	packets, err := rtcp.Unmarshal(plain)
	require.NoError(p.t, err)
	return packets
}

// Close closes the peer with a goodbye.
func (p *RawPeer) Close() {
	p.closing.Do(func() {
		if p.link != nil {
			_ = p.link.Close()
		}
		p.Vanish()
	})
}

// Vanish closes the socket without a word.
func (p *RawPeer) Vanish() {
	_ = p.records.Close()
	_ = p.conn.Close()
	p.readers.Wait()
}

// rawDTLS is the net.PacketConn of the peer's DTLS connection.
type rawDTLS struct{ p *RawPeer }

func (c rawDTLS) ReadFrom(b []byte) (int, net.Addr, error) {
	n, err := c.p.records.Read(b)
	return n, c.LocalAddr(), err
}

func (c rawDTLS) WriteTo(b []byte, _ net.Addr) (int, error) {
	c.p.SendDatagram(b)
	return len(b), nil
}
func (c rawDTLS) Close() error                       { return c.p.records.Close() }
func (c rawDTLS) LocalAddr() net.Addr                { return c.p.conn.LocalAddr() }
func (c rawDTLS) SetDeadline(t time.Time) error      { return c.p.records.SetReadDeadline(t) }
func (c rawDTLS) SetReadDeadline(t time.Time) error  { return c.p.records.SetReadDeadline(t) }
func (c rawDTLS) SetWriteDeadline(_ time.Time) error { return nil }

// rawRandom is n random bytes.
func rawRandom(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

// rawPacket is a plain RTP packet of exactly these header fields and bytes.
func rawPacket(pt uint8, seq uint16, ts, ssrc uint32, payload []byte) []byte {
	b := []byte{0x80, 0x80 | pt}
	b = binary.BigEndian.AppendUint16(b, seq)
	b = binary.BigEndian.AppendUint32(b, ts)
	b = binary.BigEndian.AppendUint32(b, ssrc)
	return append(b, payload...)
}
