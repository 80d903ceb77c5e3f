package udpbatch

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// mustListen opens a socket that the end of the test closes.
func mustListen(t testing.TB, network, addr string, cfg Config, engine engineMaker) *Conn {
	t.Helper()
	c, err := listen(network, addr, cfg, engine)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// tester is what testing.T, testing.B and rapid.T have in common.
type tester interface {
	require.TestingT
	Helper()
	Fatal(args ...any)
}

// readPatience is how long a test waits for datagrams that must come.
const readPatience = 10 * time.Second

// readWithin reads, and fails the test if nothing comes.
func readWithin(t tester, c *Conn, b *ReadBatch) {
	t.Helper()
	if err := c.udp.SetReadDeadline(time.Now().Add(readPatience)); err != nil {
		t.Fatal(err)
	}
	if err := c.Read(b); err != nil {
		t.Fatal(err)
	}
}

// engines are what a test of the common behaviour runs on. Not only Linux has the first: elsewhere both are the same.
var engines = []struct {
	name string
	make engineMaker
	cfg  Config
}{
	{"batch", newEngine, Config{}},
	{"batch-without-offload", newEngine, Config{DisableOffload: true}},
	{"single", newSingleEngine, Config{}},
}

// eachEngine runs a test for each engine, as a subtest.
func eachEngine(t *testing.T, test func(t *testing.T, listen func(network, addr string) *Conn)) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			test(t, func(network, addr string) *Conn { return mustListen(t, network, addr, e.cfg, e.make) })
		})
	}
}

// payload is a datagram's content: a pattern that differs from that of its neighbours.
func payload(seq, bytes int) []byte {
	p := make([]byte, bytes)
	for i := range p {
		p[i] = byte(seq*7 + i)
	}
	return p
}

// queue puts a datagram into a batch, which must have room.
func queue(t tester, w *WriteBatch, p []byte, addr netip.AddrPort) {
	t.Helper()
	buf := w.Next(len(p))
	if buf == nil {
		t.Fatal("batch is full")
	}
	w.Commit(copy(buf, p), addr)
}

// collect reads n datagrams and returns copies of them, and their senders.
func collect(t tester, c *Conn, n int) (data [][]byte, from []netip.AddrPort) {
	t.Helper()
	b := NewReadBatch(8, 0)
	for len(data) < n {
		readWithin(t, c, b)
		for i := range b.Len() {
			p := b.Packet(i)
			data = append(data, append([]byte{}, p.Data...))
			from = append(from, p.Addr)
		}
	}
	return data, from
}
