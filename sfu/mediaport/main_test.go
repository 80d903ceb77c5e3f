package mediaport

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pion/stun/v4"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of the tests; nothing waits for it when all is well.
const patience = 10 * time.Second

// arrival is one packet that an endpoint was handed.
type arrival struct {
	data []byte
	path Path
}

// recorder is an endpoint that keeps what it gets. react, when set, is called first, on the port's goroutine.
type recorder struct {
	packets chan arrival // capacity 1024; more block the port, which fails the test
	react   func(data []byte, path Path, now time.Time)
}

func newRecorder() *recorder { return &recorder{packets: make(chan arrival, 1024)} }

func (r *recorder) HandlePacket(data []byte, path Path, now time.Time) {
	if r.react != nil {
		r.react(data, path, now)
	}
	r.packets <- arrival{data: slices.Clone(data), path: path}
}

func (r *recorder) next(t testing.TB) arrival {
	t.Helper()
	select {
	case a := <-r.packets:
		return a
	case <-time.After(patience):
		t.Fatal("no packet came")
		return arrival{}
	}
}

func (r *recorder) empty(t testing.TB) {
	t.Helper()
	require.Empty(t, r.packets)
}

func listen(t testing.TB, change ...func(*Config)) *Port {
	t.Helper()
	config := Config{Addr: "127.0.0.1:0"}
	for _, c := range change {
		c(&config)
	}
	p, err := Listen(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p
}

// dial opens a client's UDP socket to the port.
func dial(t testing.TB, p *Port) *net.UDPConn {
	t.Helper()
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(p.LocalAddrs()[0]))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func dialTCP(t testing.TB, p *Port) *net.TCPConn {
	t.Helper()
	conn, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(p.LocalAddrs()[0]))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func localAddr(conn net.Conn) netip.AddrPort {
	switch addr := conn.LocalAddr().(type) {
	case *net.UDPAddr:
		return addr.AddrPort()
	case *net.TCPAddr:
		return addr.AddrPort()
	}
	return netip.AddrPort{}
}

func write(t testing.TB, conn net.Conn, data []byte) {
	t.Helper()
	_, err := conn.Write(data)
	require.NoError(t, err)
}

func message(setters ...stun.Setter) []byte { return stun.MustBuild(setters...).Raw }

func request(username string) []byte {
	return message(stun.TransactionID, stun.BindingRequest, stun.NewUsername(username), stun.NewShortTermIntegrity("password"), stun.Fingerprint)
}

func responseTo(number uint32) []byte {
	id := [12]byte{byte(number >> 24), byte(number >> 16), byte(number >> 8), byte(number), 1, 2, 3}
	return message(stun.NewTransactionIDSetter(id), stun.BindingSuccess, stun.Fingerprint)
}

// dtlsRecord and rtpPacket are what RFC 7983 tells by the first byte.
func dtlsRecord() []byte { return []byte{22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0} }
func rtpPacket() []byte  { return []byte{0x80, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 'x'} }

// counter counts calls and lets a test wait for them.
type counter struct {
	mu sync.Mutex
	n  int
}

func (c *counter) add() {
	c.mu.Lock()
	c.n++
	c.mu.Unlock()
}

func (c *counter) get() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

func eventually(t testing.TB, condition func() bool, message string) {
	t.Helper()
	require.Eventually(t, condition, patience, time.Millisecond, message)
}
