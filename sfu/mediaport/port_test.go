package mediaport

import (
	"math"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/pion/stun/v4"
	"github.com/stretchr/testify/require"

	"rheomesh/internal/udpbatch"
)

// TestRouting sends one packet after the other from a bound address and expects each at one endpoint, or at none.
func TestRouting(t *testing.T) {
	named, numbered, bound := newRecorder(), newRecorder(), newRecorder()
	p := listen(t)
	p.Name("us", named)
	number := p.Attach(numbered)
	client := dial(t, p)
	path, ok := p.Sockets()[0].PathTo(localAddr(client))
	require.True(t, ok)
	require.True(t, p.Bind(path, bound, time.Now(), false))
	tests := []struct {
		name string
		data []byte
		want *recorder
	}{
		{"request with our ufrag", request("us:them"), named},
		{"request with another", request("we:them"), nil},
		{"request without a user name", message(stun.TransactionID, stun.BindingRequest), nil},
		{"response with our number", responseTo(number), numbered},
		{"response with another", responseTo(number + 1), nil},
		{"response without a number", responseTo(0), nil},
		{"indication", message(stun.TransactionID, stun.NewType(stun.MethodBinding, stun.ClassIndication)), bound},
		{"broken STUN", []byte{0, 1, 0, 0}, nil},
		{"DTLS", dtlsRecord(), bound},
		{"RTP", rtpPacket(), bound},
		{"last of DTLS", []byte{63}, bound},
		{"first of RTP", []byte{128}, bound},
		{"last of RTP", []byte{191}, bound},
		{"ZRTP", []byte{16}, nil},
		{"TURN channel", []byte{64}, nil},
		{"unassigned", []byte{192}, nil},
		{"empty", nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := p.Unknown()
			write(t, client, tt.data)
			if tt.want == nil {
				eventually(t, func() bool { return p.Unknown() == before+1 }, "not counted")
				return
			}
			got := tt.want.next(t)
			require.Equal(t, tt.data, got.data)
			require.Equal(t, path, got.path)
			require.Equal(t, before, p.Unknown())
		})
	}
	for _, r := range []*recorder{named, numbered, bound} {
		r.empty(t)
	}
}

// TestSilentToStrangers sends all kinds of packets from an address that nobody bound, then one that is answered: the answer must be the first to come back.
func TestSilentToStrangers(t *testing.T) {
	p := listen(t)
	endpoint := newRecorder()
	endpoint.react = func(_ []byte, path Path, _ time.Time) { _ = path.Write([]byte("answer")) }
	p.Name("us", endpoint)
	stranger := dial(t, p)
	packets := [][]byte{dtlsRecord(), rtpPacket(), request("nobody:x"), responseTo(1), {0}, {255}, message(stun.TransactionID, stun.BindingRequest)}
	for _, packet := range packets {
		write(t, stranger, packet)
	}
	write(t, stranger, request("us:them"))
	buf := make([]byte, 1500)
	require.NoError(t, stranger.SetReadDeadline(time.Now().Add(patience)))
	n, err := stranger.Read(buf)
	require.NoError(t, err)
	require.Equal(t, "answer", string(buf[:n]))
	require.Equal(t, uint64(len(packets)), p.Unknown())
}

func TestBinding(t *testing.T) {
	start := time.Now()
	type step struct {
		what   string
		after  time.Duration
		proven bool
		want   bool
	}
	tests := []struct {
		name  string
		steps []step // "owner" and "other" bind, "heard" is a packet from the address, "unbind" and "detach" are the owner's
	}{
		{"free", []step{{"owner", 0, false, true}}},
		{"again", []step{{"owner", 0, false, true}, {"owner", time.Second, false, true}}},
		{"live neighbour", []step{{"owner", 0, false, true}, {"other", time.Second, true, false}}},
		{"silent for the grace less a bit", []step{{"owner", 0, false, true}, {"other", addressGrace - 1, true, false}}},
		{"silent for the grace", []step{{"owner", 0, false, true}, {"other", addressGrace, true, true}, {"owner", addressGrace + 1, true, false}}},
		{"silent, but nothing proven", []step{{"owner", 0, false, true}, {"other", time.Hour, false, false}}},
		{"heard meanwhile", []step{{"owner", 0, false, true}, {"heard", addressGrace - 1, false, true}, {"other", addressGrace + 1, true, false}}},
		{"checked meanwhile", []step{{"owner", 0, false, true}, {"owner", addressGrace - 1, false, true}, {"other", addressGrace + 1, true, false}}},
		{"unbound", []step{{"owner", 0, false, true}, {"unbind", 0, false, true}, {"other", 1, false, true}}},
		{"detached", []step{{"owner", 0, false, true}, {"detach", 0, false, true}, {"other", 1, false, true}}},
		{"unbound by one that does not hold it", []step{{"other", 0, false, true}, {"unbind", 0, false, true}, {"owner", 1, true, false}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := listen(t, func(c *Config) { c.DisableTCP = true })
			owner, other := newRecorder(), newRecorder()
			number := p.Attach(owner)
			path, ok := p.Sockets()[0].PathTo(netip.MustParseAddrPort("192.0.2.1:5000"))
			require.True(t, ok)
			for i, s := range tt.steps {
				now := start.Add(s.after)
				got := true
				switch s.what {
				case "owner":
					got = p.Bind(path, owner, now, s.proven)
				case "other":
					got = p.Bind(path, other, now, s.proven)
				case "heard":
					p.dispatch(rtpPacket(), path, now)
				case "unbind":
					p.Unbind(path, owner)
				case "detach":
					p.Detach(number, owner, []Path{path})
				}
				require.Equal(t, s.want, got, "step %d", i)
			}
		})
	}
}

func TestDetachForgetsEverything(t *testing.T) {
	p := listen(t)
	endpoint := newRecorder()
	number := p.Attach(endpoint)
	p.Name("us", endpoint)
	path, _ := p.Sockets()[0].PathTo(netip.MustParseAddrPort("192.0.2.1:5000"))
	require.True(t, p.Bind(path, endpoint, time.Now(), false))
	p.Unname("us")
	p.Detach(number, endpoint, []Path{path})
	p.Detach(number, endpoint, []Path{path})
	require.Empty(t, p.byAddr)
	require.Empty(t, p.byNumber)
	require.Empty(t, p.byUfrag)
}

func TestAttachNumbers(t *testing.T) {
	p := listen(t)
	p.next = math.MaxUint32 - 1
	first, second, third := p.Attach(newRecorder()), p.Attach(newRecorder()), p.Attach(newRecorder())
	require.Equal(t, []uint32{math.MaxUint32, 1, 2}, []uint32{first, second, third}, "zero is no number")
	p.next = 0
	require.Equal(t, uint32(3), p.Attach(newRecorder()), "taken ones are left alone")
}

func TestPath(t *testing.T) {
	p := listen(t)
	socket := p.Sockets()[0]
	_, ok := socket.PathTo(netip.MustParseAddrPort("[2001:db8::1]:1"))
	require.False(t, ok, "other family")
	mapped, ok := socket.PathTo(netip.MustParseAddrPort("[::ffff:192.0.2.1]:1"))
	require.True(t, ok)
	plain, _ := socket.PathTo(netip.MustParseAddrPort("192.0.2.1:1"))
	require.Equal(t, plain, mapped)
	require.True(t, plain.Valid())
	require.False(t, plain.TCP())
	require.Equal(t, socket, plain.Socket())
	require.ErrorIs(t, Path{}.Write([]byte("x")), ErrNoPath)
	require.False(t, Path{}.Valid())
}

func TestSendBatch(t *testing.T) {
	p := listen(t)
	client := dial(t, p)
	batch := udpbatch.NewWriteBatch(64, 1<<16)
	for _, text := range []string{"one", "two", "three"} {
		batch.Commit(copy(batch.Next(64), text), localAddr(client))
	}
	sent, err := p.Sockets()[0].Send(batch)
	require.NoError(t, err)
	require.Equal(t, 3, sent)
	buf := make([]byte, 64)
	for _, want := range []string{"one", "two", "three"} {
		require.NoError(t, client.SetReadDeadline(time.Now().Add(patience)))
		n, err := client.Read(buf)
		require.NoError(t, err)
		require.Equal(t, want, string(buf[:n]))
	}
}

func TestAfterBatch(t *testing.T) {
	var calls counter
	p := listen(t, func(c *Config) { c.AfterBatch = calls.add })
	write(t, dial(t, p), rtpPacket())
	eventually(t, func() bool { return calls.get() > 0 }, "not called for UDP")
	endpoint := newRecorder()
	p.Name("us", endpoint)
	before := calls.get()
	writeFrame(t, dialTCP(t, p), request("us:them"))
	eventually(t, func() bool { return calls.get() > before }, "not called for TCP")
}

// TestCloseWhileBusy closes the port, twice at once, while clients write, endpoints answer and sessions come and go.
func TestCloseWhileBusy(t *testing.T) {
	p, err := Listen(Config{Addr: "127.0.0.1:0"})
	require.NoError(t, err)
	var busy sync.WaitGroup
	stop := make(chan struct{})
	loop := func(f func()) {
		busy.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					f()
				}
			}
		})
	}
	endpoint := &answering{port: p}
	p.Name("us", endpoint)
	for range 3 {
		conn := dial(t, p)
		check := request("us:them")
		loop(func() { _, _ = conn.Write(check); _, _ = conn.Write(rtpPacket()) })
	}
	tcp := dialTCP(t, p)
	loop(func() { _, _ = tcp.Write(frame(request("us:them"))) })
	busy.Go(func() { drain(tcp) })
	loop(func() {
		if conn, err := net.Dial("tcp", p.LocalAddrs()[0].String()); err == nil {
			_ = conn.Close()
		}
	})
	loop(func() {
		other := newRecorder()
		number := p.Attach(other)
		p.Name("other", other)
		p.Unname("other")
		p.Detach(number, other, nil)
	})
	eventually(t, func() bool { return endpoint.count() > 200 }, "not busy")
	var closers sync.WaitGroup
	for range 2 {
		closers.Go(func() { _ = p.Close() })
	}
	closers.Wait()
	after := endpoint.count()
	close(stop)
	_ = tcp.Close()
	busy.Wait()
	require.Equal(t, after, endpoint.count(), "packets came after Close")
	require.NoError(t, p.Close())
}

// answering is an endpoint that binds and answers everything.
type answering struct {
	port  *Port
	calls counter
}

func (a *answering) HandlePacket(data []byte, path Path, now time.Time) {
	a.calls.add()
	a.port.Bind(path, a, now, true)
	_ = path.Write(data)
}

func (a *answering) count() int { return a.calls.get() }

// TestRouteAllocations is the guard of the hot path: finding a packet's endpoint allocates nothing, not for strangers either.
func TestRouteAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	p := listen(t)
	endpoint := newRecorder()
	p.Name("us", endpoint)
	number := p.Attach(endpoint)
	path, _ := p.Sockets()[0].PathTo(netip.MustParseAddrPort("192.0.2.1:5000"))
	p.Bind(path, endpoint, time.Now(), false)
	now := time.Now()
	packets := [][]byte{rtpPacket(), dtlsRecord(), request("us:them"), request("nobody:x"), responseTo(number), {0}, {255}}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		for _, packet := range packets {
			p.route(packet, path, now)
		}
	}))
}

func BenchmarkRoute(b *testing.B) {
	p := listen(b)
	endpoint := newRecorder()
	p.Name("us", endpoint)
	path, _ := p.Sockets()[0].PathTo(netip.MustParseAddrPort("192.0.2.1:5000"))
	p.Bind(path, endpoint, time.Now(), false)
	now := time.Now()
	for _, row := range []struct {
		name string
		data []byte
	}{{"rtp", rtpPacket()}, {"check", request("us:them")}, {"stranger", request("nobody:x")}} {
		b.Run(row.name, func(b *testing.B) {
			for b.Loop() {
				p.route(row.data, path, now)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N), "ns/packet")
		})
	}
}
