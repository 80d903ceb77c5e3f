package transport

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/pion/dtls/v3/pkg/crypto/selfsign"
	"github.com/pion/logging"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"rheomesh/sfu/mediaport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of the tests; nothing waits for it when all is well.
const patience = 10 * time.Second

// newCertificate makes a key and its self-signed certificate; tests share two of them, one for each side.
var serverCertificate, clientCertificate = newCertificate(), newCertificate()

func newCertificate() tls.Certificate {
	certificate, err := selfsign.GenerateSelfSigned()
	if err != nil {
		panic(err)
	}
	return certificate
}

func fingerprintOf(t testing.TB, certificate tls.Certificate) string {
	t.Helper()
	text, err := Fingerprint("sha-256", certificate.Certificate[0])
	require.NoError(t, err)
	return text
}

// server is a media port on loopback and the configuration of its sessions.
type server struct {
	t      testing.TB
	port   *mediaport.Port
	config Config
	log    *lockedBuffer
	live   *client        // of requireForgotten
	made   []*testSession // every session that was made; used by the test's own goroutine
}

func newServer(t testing.TB, change ...func(*Config)) *server {
	return newServerAt(t, "127.0.0.1:0", change...)
}

func newServerAt(t testing.TB, addr string, change ...func(*Config)) *server {
	t.Helper()
	port, err := mediaport.Listen(mediaport.Config{Addr: addr})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, port.Close()) })
	quiet := logging.NewDefaultLoggerFactory()
	quiet.DefaultLogLevel = logging.LogLevelDisabled
	s := &server{t: t, port: port, log: &lockedBuffer{}}
	s.config = Config{
		Port: port, Certificate: serverCertificate, AllowLoopback: true, ConnectTimeout: patience, SilenceTimeout: patience,
		Logger: slog.New(slog.NewTextHandler(s.log, nil)), PionLogger: quiet,
	}
	for _, c := range change {
		c(&s.config)
	}
	return s
}

func (s *server) addr() netip.AddrPort { return s.port.LocalAddrs()[0] }

// pathTo is the path on which packets from addr come in.
func (s *server) pathTo(addr netip.AddrPort) mediaport.Path {
	s.t.Helper()
	path, ok := s.port.Sockets()[0].PathTo(addr)
	require.True(s.t, ok)
	return path
}

// testSession is a session with a handler that keeps what it gets.
type testSession struct {
	*Session
	t         testing.TB
	rtp, rtcp chan []byte // opened; capacity 256
	connected chan struct{}
	closed    chan Cause // capacity 8, so that a second call is seen
	onRTP     func()     // called for each packet, when set
}

// newSession makes and starts a session, which is closed with the test.
func (s *server) newSession(peer Peer) *testSession {
	s.t.Helper()
	if peer.Credentials == (Credentials{}) {
		peer.Credentials = NewCredentials()
	}
	if peer.Fingerprint == "" {
		peer.FingerprintAlgorithm, peer.Fingerprint = "sha-256", fingerprintOf(s.t, clientCertificate)
	}
	ts := &testSession{
		t: s.t, rtp: make(chan []byte, 256), rtcp: make(chan []byte, 256), connected: make(chan struct{}), closed: make(chan Cause, 8),
	}
	ts.Session = New(&s.config, peer, ts)
	s.made = append(s.made, ts)
	s.t.Cleanup(ts.Close)
	ts.Start()
	return ts
}

func (s *testSession) HandleRTP(sealed []byte, _ time.Time) {
	plain, err := s.OpenRTP(nil, sealed)
	if err != nil {
		return
	}
	s.rtp <- plain
	if s.onRTP != nil {
		s.onRTP()
	}
}
func (s *testSession) HandleRTCP(packet []byte, _ time.Time) { s.rtcp <- bytes.Clone(packet) }
func (s *testSession) HandleConnected()                      { close(s.connected) }
func (s *testSession) HandleClosed(cause Cause)              { s.closed <- cause }

func (s *testSession) waitConnected() {
	s.t.Helper()
	receive(s.t, s.connected, "not connected")
}

func (s *testSession) waitClosed(want Cause) {
	s.t.Helper()
	require.Equal(s.t, want, receive(s.t, s.closed, "not closed"))
	s.Close()
	require.Empty(s.t, s.closed, "HandleClosed was called twice")
}

// state reads the agent under the session's lock.
func (s *testSession) state(read func(a *agent)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	read(&s.agent)
}

func receive[T any](t testing.TB, from <-chan T, message string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatal(message)
		panic("unreachable")
	}
}

func eventually(t testing.TB, condition func() bool, message string) {
	t.Helper()
	require.Eventually(t, condition, patience, time.Millisecond, message)
}

// lockedBuffer collects log text from several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// listenUDP opens a socket of a bystander or a client.
func listenUDP(t testing.TB) *net.UDPConn {
	return listenUDPAt(t, netip.AddrFrom4([4]byte{127, 0, 0, 1}))
}

func listenUDPAt(t testing.TB, ip netip.Addr) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, 0)))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func addrOf(conn *net.UDPConn) netip.AddrPort { return conn.LocalAddr().(*net.UDPAddr).AddrPort() }

func hasIPv6() bool {
	conn, err := net.ListenPacket("udp6", "[::1]:0")
	if err == nil {
		_ = conn.Close()
	}
	return err == nil
}
