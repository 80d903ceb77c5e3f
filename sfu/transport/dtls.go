package transport

import (
	"context"
	"crypto"
	"crypto/subtle"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"time"

	_ "crypto/sha256" // fingerprint algorithms of RFC 8122 section 5
	_ "crypto/sha512"

	"github.com/pion/dtls/v3"
	"github.com/pion/transport/v4/packetio"
)

const (
	dtlsQueueBytes  = 64 << 10               // received records that pion/dtls has not read yet; a flight is a few kilobytes
	dtlsFlightRetry = 200 * time.Millisecond // first retransmission of a flight; RFC 6347 section 4.2.4.1 suggests 1 s, real-time clients use less
)

var (
	errFingerprint = errors.New("certificate does not match the fingerprint in the description")
	errAlgorithm   = errors.New("fingerprint algorithm is not supported")
)

// runHandshake runs the DTLS handshake in its own goroutine, exports the keys and announces the connection.
func (s *Session) runHandshake() {
	link, err := s.openDTLS()
	if err == nil {
		err = link.HandshakeContext(context.Background()) // the session's end closes dtlsConn under it
	}
	if err == nil {
		err = s.establish(link)
	}
	if err == nil {
		return
	}
	if !s.closed.Load() {
		s.config.Logger.Info("dtls handshake failed", "remote_addr", s.Path().Remote(), "err", err)
	}
	s.end(CauseHandshake)
	if link != nil {
		_ = link.Close()
	}
}

func (s *Session) establish(link *dtls.Conn) error {
	k, err := newKeys(link, s.peer.DTLSClient)
	if err != nil {
		return err
	}
	now := time.Now()
	s.dtlsLink.Store(link)
	s.srtp.Store(k)
	s.heard.Store(now.UnixNano())
	s.connected.Store(true)
	if s.dtls.ended.Load() { // the client said goodbye in between
		s.end(CausePeer)
	}
	if s.closed.Load() {
		return nil
	}
	s.handler.HandleConnected()
	s.release()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed.Load() {
		s.arm(now)
	}
	return nil
}

// handleDTLS queues records for pion/dtls. Before the handshake has ended any record may belong to it; afterwards only those that can be authentic pass.
func (s *Session) handleDTLS(datagram []byte) {
	if !s.connected.Load() {
		s.dtls.deliver(datagram)
		return
	}
	ok, applicationData := inspectRecords(datagram)
	if !ok {
		return
	}
	if applicationData {
		s.startData(false)
	}
	s.dtls.deliver(datagram)
}

// DTLS record header, RFC 6347 section 4.1.
const (
	recordHeaderBytes       = 13
	recordChangeCipherSpec  = 20
	recordHandshake         = 22
	recordApplicationData   = 23
	changeCipherSpecMessage = 1
)

// inspectRecords looks at the records of a datagram that came after the handshake. It is not ok when one of them is in the clear and is not part of a flight
// that the client sends again: pion/dtls obeys an unprotected alert even then, so that a forged datagram could end the session. applicationData tells that
// records of that type are among them.
func inspectRecords(datagram []byte) (ok, applicationData bool) {
	for rest := datagram; len(rest) > 0; {
		if len(rest) < recordHeaderBytes {
			return false, false
		}
		kind, epoch, size := rest[0], binary.BigEndian.Uint16(rest[3:]), int(binary.BigEndian.Uint16(rest[11:]))
		if recordHeaderBytes+size > len(rest) {
			return false, false
		}
		body := rest[recordHeaderBytes : recordHeaderBytes+size]
		again := kind == recordHandshake || kind == recordChangeCipherSpec && size == 1 && body[0] == changeCipherSpecMessage
		if epoch == 0 && !again {
			return false, false
		}
		applicationData = applicationData || kind == recordApplicationData
		rest = rest[recordHeaderBytes+size:]
	}
	return true, applicationData
}

func (s *Session) openDTLS() (*dtls.Conn, error) {
	profiles := s.config.Profiles
	if profiles == nil {
		profiles = DefaultProfiles
	}
	common := []dtls.Option{
		dtls.WithCertificates(s.config.Certificate),
		dtls.WithSRTPProtectionProfiles(profiles...),
		dtls.WithExtendedMasterSecret(dtls.RequestExtendedMasterSecret),
		dtls.WithFlightInterval(dtlsFlightRetry),
		dtls.WithInsecureSkipVerify(true), // the certificate is self-signed; the fingerprint vouches for it (RFC 5763 section 5)
		dtls.WithVerifyPeerCertificate(s.verifyFingerprint),
		dtls.WithLoggerFactory(s.config.PionLogger),
	}
	if s.peer.DTLSClient {
		options := make([]dtls.ClientOption, len(common))
		for i, o := range common {
			options[i] = o
		}
		return dtls.ClientWithOptions(s.dtls, dtlsAddr{}, options...)
	}
	options := []dtls.ServerOption{
		dtls.WithClientAuth(dtls.RequireAnyClientCert),
		dtls.WithInsecureSkipVerifyHello(true), // the connectivity check has proved the address already
	}
	for _, o := range common {
		options = append(options, o)
	}
	return dtls.ServerWithOptions(s.dtls, dtlsAddr{}, options...)
}

// verifyFingerprint holds the client's certificate against a=fingerprint (RFC 8122 section 6.2).
func (s *Session) verifyFingerprint(certificates [][]byte, _ [][]*x509.Certificate) error {
	if len(certificates) == 0 {
		return errFingerprint
	}
	sum, err := Fingerprint(s.peer.FingerprintAlgorithm, certificates[0])
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare([]byte(sum), []byte(strings.ToUpper(s.peer.Fingerprint))) != 1 {
		return errFingerprint
	}
	return nil
}

// Fingerprint is the hash of a DER certificate as a=fingerprint writes it: upper-case hexadecimal bytes with colons between them.
func Fingerprint(algorithm string, certificate []byte) (string, error) {
	var hash crypto.Hash
	switch strings.ToLower(algorithm) {
	case "sha-256":
		hash = crypto.SHA256
	case "sha-384":
		hash = crypto.SHA384
	case "sha-512":
		hash = crypto.SHA512
	default:
		return "", errAlgorithm
	}
	h := hash.New()
	h.Write(certificate)
	text := strings.ToUpper(hex.EncodeToString(h.Sum(nil)))
	var b strings.Builder
	for i := 0; i < len(text); i += 2 {
		if i > 0 {
			b.WriteByte(':')
		}
		b.WriteString(text[i : i+2])
	}
	return b.String(), nil
}

// dtlsConn is the net.PacketConn that pion/dtls reads and writes: inbound records come from the port's readers, outbound ones take the selected path.
type dtlsConn struct {
	session *Session
	in      *packetio.Buffer
	ended   atomic.Bool // pion/dtls or teardown has closed it
}

func newDTLSConn(s *Session) *dtlsConn {
	in := packetio.NewBuffer()
	in.SetLimitSize(dtlsQueueBytes)
	return &dtlsConn{session: s, in: in}
}

// deliver queues a received record; what does not fit is lost and sent again by the client.
func (c *dtlsConn) deliver(record []byte) { _, _ = c.in.Write(record) }

// shutdown ends a handshake that is under way.
func (c *dtlsConn) shutdown() {
	if !c.session.connected.Load() {
		_ = c.in.Close()
	}
}

func (c *dtlsConn) ReadFrom(p []byte) (int, net.Addr, error) {
	n, err := c.in.Read(p)
	return n, dtlsAddr{}, err
}

func (c *dtlsConn) WriteTo(p []byte, _ net.Addr) (int, error) {
	// A datagram that cannot be sent is lost like any other; an error here would end the DTLS connection.
	_ = c.session.Path().Write(p)
	return len(p), nil
}

// Close is called by pion/dtls when the client sent close_notify or a fatal alert, or when the handshake failed, and by teardown. What a failed handshake
// means is for runHandshake to say.
func (c *dtlsConn) Close() error {
	c.ended.Store(true)
	err := c.in.Close()
	if c.session.connected.Load() {
		c.session.end(CausePeer)
	}
	return err
}

func (c *dtlsConn) LocalAddr() net.Addr               { return dtlsAddr{} }
func (c *dtlsConn) SetDeadline(t time.Time) error     { return c.in.SetReadDeadline(t) }
func (c *dtlsConn) SetReadDeadline(t time.Time) error { return c.in.SetReadDeadline(t) }
func (c *dtlsConn) SetWriteDeadline(time.Time) error  { return nil }

// dtlsAddr stands for the client, whose address may change while the DTLS connection lives.
type dtlsAddr struct{}

func (dtlsAddr) Network() string { return "ice" }
func (dtlsAddr) String() string  { return "ice" }
