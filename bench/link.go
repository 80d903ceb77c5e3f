package bench

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/srtp/v3"
	"github.com/pion/transport/v4/packetio"

	"rheomesh/internal/rtpx"
	"rheomesh/internal/sdp"
)

const (
	connectTimeout  = 10 * time.Second       // from the answer to the keys
	dtlsFlightRetry = 200 * time.Millisecond // first retransmission of a flight
	dtlsQueueBytes  = 64 << 10               // records that pion/dtls has not read yet
)

// mediaReceiver is what a link is for.
type mediaReceiver interface {
	// connected hands over the keys, before any call of media that sees them.
	connected(k *keys)
	// media takes RTP and RTCP, sealed, on the poller's goroutine.
	media(batch []datagram)
}

// identity is what all clients of a load share.
type identity struct {
	certificate tls.Certificate
	fingerprint string // sha-256, as in a=fingerprint
	profiles    []dtls.SRTPProtectionProfile
}

// link is one client: an HTTP resource, a socket, ICE, DTLS and SRTP.
type link struct {
	identity *identity
	endpoint endpoint
	route    route
	receiver mediaReceiver

	agent    *agent
	socket   *socket
	records  *packetio.Buffer
	conn     *dtls.Conn
	resource resource
	rtx      bool          // the server takes retransmissions
	setup    time.Duration // from the POST to the keys
}

// connect joins: it opens a socket, posts the offer that describe completes, and returns when the keys are there. On
// failure nothing is left behind.
func (l *link) connect(ctx context.Context, p *poller, describe offer) error {
	p.connecting.Add(1)
	defer p.connecting.Add(-1)
	l.agent, l.records = newAgent(), packetio.NewBuffer()
	l.records.SetLimitSize(dtlsQueueBytes)
	socket, err := p.open(l.route.local, l.receive)
	if err != nil {
		return err
	}
	l.socket = socket
	describe.credentials, describe.fingerprint, describe.candidate = l.agent.local, l.identity.fingerprint, socket.addr
	describe.sessionID = l.agent.tie >> 1
	if err := l.join(ctx, describe); err != nil {
		return errors.Join(err, l.close())
	}
	return nil
}

func (l *link) join(ctx context.Context, describe offer) (err error) {
	if l.resource, err = l.endpoint.post(ctx, describe.marshal()); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	a, err := parseAnswer(l.resource.answer, l.route.server)
	if err != nil {
		return err
	}
	l.rtx = a.rtx
	l.agent.setRemote(a.credentials)
	if err := l.findPath(ctx, a.candidates); err != nil {
		return err
	}
	k, err := l.handshake(ctx, a)
	if err != nil {
		return fmt.Errorf("dtls: %w", err)
	}
	l.setup = time.Since(l.resource.posted)
	l.receiver.connected(k)
	return nil
}

// findPath checks the candidates in turn until one answers.
func (l *link) findPath(ctx context.Context, candidates []netip.AddrPort) error {
	pace := time.NewTicker(checkPace)
	defer pace.Stop()
	for i := 0; ; i++ {
		l.agent.check(l.socket, candidates[i%len(candidates)])
		select {
		case <-l.agent.found:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("no candidate of the server answers: %w", ctx.Err())
		case <-pace.C:
		}
	}
}

func (l *link) handshake(ctx context.Context, a answer) (*keys, error) {
	verify := func(certificates [][]byte, _ [][]*x509.Certificate) error {
		return verifyFingerprint(a.fingerprint, certificates)
	}
	common := []dtls.Option{
		dtls.WithCertificates(l.identity.certificate),
		dtls.WithSRTPProtectionProfiles(l.identity.profiles...),
		dtls.WithExtendedMasterSecret(dtls.RequestExtendedMasterSecret),
		dtls.WithFlightInterval(dtlsFlightRetry),
		dtls.WithInsecureSkipVerify(true), // the fingerprint vouches for the certificate (RFC 5763 section 5)
		dtls.WithVerifyPeerCertificate(verify),
	}
	var err error
	if a.dtlsClient {
		l.conn, err = dtls.ClientWithOptions(recordConn{l}, noAddr{}, clientOptions(common)...)
	} else {
		l.conn, err = dtls.ServerWithOptions(recordConn{l}, noAddr{}, serverOptions(common)...)
	}
	if err != nil {
		return nil, err
	}
	if err := l.conn.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return newKeys(l.conn, a.dtlsClient)
}

func clientOptions(common []dtls.Option) (options []dtls.ClientOption) {
	for _, o := range common {
		options = append(options, o)
	}
	return options
}

func serverOptions(common []dtls.Option) []dtls.ServerOption {
	options := []dtls.ServerOption{dtls.WithClientAuth(dtls.RequireAnyClientCert), dtls.WithInsecureSkipVerifyHello(true)}
	for _, o := range common {
		options = append(options, o)
	}
	return options
}

func verifyFingerprint(want sdp.Fingerprint, certificates [][]byte) error {
	if len(certificates) == 0 {
		return errors.New("the server sent no certificate")
	}
	got, err := fingerprint(want.Algorithm, certificates[0])
	if err != nil {
		return err
	}
	if got != want.Value {
		return errors.New("certificate does not match the fingerprint in the answer")
	}
	return nil
}

// receive sorts a batch (RFC 7983 section 7): STUN and DTLS are taken out, the rest is for the receiver.
func (l *link) receive(s *socket, batch []datagram) {
	media := batch[:0]
	for i := range batch {
		switch rtpx.Classify(batch[i].data) {
		case rtpx.STUN:
			l.agent.handle(s, &batch[i])
		case rtpx.DTLS:
			_, _ = l.records.Write(batch[i].data) // what does not fit is lost and sent again
		case rtpx.RTP, rtpx.RTCP:
			media = append(media, batch[i])
		case rtpx.Unknown: // nothing that a server sends
		}
	}
	if len(media) > 0 {
		l.receiver.media(media)
	}
}

// send sends one sealed packet.
func (l *link) send(b []byte) { l.socket.send(b, l.agent.path()) }

// keepAlive renews consent.
func (l *link) keepAlive() { l.agent.check(l.socket, l.agent.path()) }

// close leaves: DELETE, then the end of DTLS and of the socket.
func (l *link) close() error {
	err := l.endpoint.remove(l.resource.location)
	if l.conn != nil {
		_ = l.conn.Close() // a server that has closed already is no failure
	}
	_ = l.records.Close()
	l.socket.close()
	return err
}

// keys are the SRTP contexts of a connected link. Each belongs to whoever holds the lock of the receiver.
type keys struct {
	profile    string
	send, recv *srtp.Context
}

func newKeys(conn *dtls.Conn, isClient bool) (*keys, error) {
	selected, ok := conn.SelectedSRTPProtectionProfile()
	if !ok {
		return nil, errors.New("no SRTP protection profile in common")
	}
	state, ok := conn.ConnectionState()
	if !ok {
		return nil, errors.New("no connection state")
	}
	config := srtp.Config{Profile: srtp.ProtectionProfile(selected)}
	if err := config.ExtractSessionKeysFromDTLS(&state, isClient); err != nil {
		return nil, fmt.Errorf("export SRTP keys: %w", err)
	}
	send, sendErr := srtp.CreateContext(config.Keys.LocalMasterKey, config.Keys.LocalMasterSalt, config.Profile)
	recv, recvErr := srtp.CreateContext(config.Keys.RemoteMasterKey, config.Keys.RemoteMasterSalt, config.Profile)
	return &keys{profile: config.Profile.String(), send: send, recv: recv}, errors.Join(sendErr, recvErr)
}

// recordConn is the net.PacketConn of pion/dtls.
type recordConn struct{ link *link }

func (c recordConn) ReadFrom(p []byte) (int, net.Addr, error) {
	n, err := c.link.records.Read(p)
	return n, noAddr{}, err
}

func (c recordConn) WriteTo(p []byte, _ net.Addr) (int, error) {
	c.link.send(p)
	return len(p), nil
}

func (c recordConn) Close() error                      { return c.link.records.Close() }
func (c recordConn) LocalAddr() net.Addr               { return noAddr{} }
func (c recordConn) SetDeadline(t time.Time) error     { return c.link.records.SetReadDeadline(t) }
func (c recordConn) SetReadDeadline(t time.Time) error { return c.link.records.SetReadDeadline(t) }
func (c recordConn) SetWriteDeadline(time.Time) error  { return nil }

// noAddr stands for the server, whose address ICE chooses.
type noAddr struct{}

func (noAddr) Network() string { return "ice" }
func (noAddr) String() string  { return "ice" }
