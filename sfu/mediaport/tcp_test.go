package mediaport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// frame is RFC 4571: a 16-bit length, then the packet.
func frame(packet []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(packet))), packet...)
}

func writeFrame(t testing.TB, conn net.Conn, packet []byte) {
	t.Helper()
	write(t, conn, frame(packet))
}

func readPacket(t testing.TB, conn net.Conn) []byte {
	t.Helper()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
	packet, _, err := readFrame(conn, nil, tcpFrameMaxBytes)
	require.NoError(t, err)
	return packet
}

// drain reads until the connection ends.
func drain(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// closedByPort waits until the port closes the connection, which must send nothing before.
func closedByPort(t testing.TB, conn net.Conn) {
	t.Helper()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
	n, err := conn.Read(make([]byte, 1))
	require.Zero(t, n, "sent something")
	require.Error(t, err)
	var timeout net.Error
	require.False(t, errors.As(err, &timeout) && timeout.Timeout(), "still open")
}

func short(c *Config) { c.limits.open = 50 * time.Millisecond }
func proving(p *Port) *recorder {
	r := newRecorder()
	r.react = func(_ []byte, path Path, now time.Time) { p.Bind(path, r, now, false) }
	return r
}

func TestTCPPackets(t *testing.T) {
	p := listen(t)
	endpoint := proving(p)
	p.Name("us", endpoint)
	conn := dialTCP(t, p)
	check := request("us:them")
	writeFrame(t, conn, check)
	first := endpoint.next(t)
	require.Equal(t, check, first.data)
	require.True(t, first.path.TCP())
	require.True(t, first.path.Valid())
	require.Nil(t, first.path.Socket())
	require.Equal(t, localAddr(conn), first.path.Remote())

	large := bytes.Repeat([]byte{0x80}, tcpFrameMaxBytes)
	packets := [][]byte{dtlsRecord(), rtpPacket(), large, request("other:them")} // once open, everything is this endpoint's
	var joined []byte
	for i, packet := range packets {
		joined = append(joined, frame(packet)...)
		if i == 0 {
			joined = append(joined, 0, 0) // an empty frame carries nothing
		}
	}
	for len(joined) > 0 { // frames need not come whole
		n := min(len(joined), 4000)
		write(t, conn, joined[:n])
		joined = joined[n:]
	}
	for _, packet := range packets {
		got := endpoint.next(t)
		require.Equal(t, packet, got.data)
		require.Equal(t, first.path, got.path)
	}
	for _, text := range []string{"one", "two"} {
		require.NoError(t, first.path.Write([]byte(text)))
	}
	require.Equal(t, "one", string(readPacket(t, conn)))
	require.Equal(t, "two", string(readPacket(t, conn)))
	require.ErrorIs(t, first.path.Write(make([]byte, tcpFrameMaxBytes+1)), ErrFrameTooLong)
}

func TestTCPFirstFrame(t *testing.T) {
	p := listen(t)
	endpoint := newRecorder()
	p.Name("us", endpoint)
	number := p.Attach(endpoint)
	tests := []struct {
		name string
		data []byte
	}{
		{"unknown ufrag", frame(request("nobody:them"))},
		{"response with a known number", frame(responseTo(number))},
		{"RTP", frame(rtpPacket())},
		{"DTLS", frame(dtlsRecord())},
		{"empty", frame(nil)},
		{"broken STUN", frame([]byte{0, 1, 0, 0})},
		{"too long for a check", binary.BigEndian.AppendUint16(nil, stunMaxBytes+1)},
		{"HTTP", []byte("GET / HTTP/1.1\r\n\r\n")},
		{"TLS", []byte{22, 3, 1, 0, 5, 1, 2, 3, 4, 5}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn := dialTCP(t, p)
			write(t, conn, tt.data)
			closedByPort(t, conn)
		})
	}
	endpoint.empty(t)
	eventually(t, func() bool { return p.connections() == 0 }, "connections stay")
}

// connections is the number of connections that the port holds.
func (p *Port) connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

func TestTCPOpenTimeout(t *testing.T) {
	p := listen(t, short)
	endpoint := newRecorder() // never binds: it verified nothing
	p.Name("us", endpoint)
	tests := []struct {
		name string
		data []byte
	}{
		{"nothing sent", nil},
		{"half a length", []byte{0}},
		{"half a frame", frame(request("us:them"))[:30]},
		{"a check that the endpoint does not accept", frame(request("us:them"))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn := dialTCP(t, p)
			write(t, conn, tt.data)
			closedByPort(t, conn)
		})
	}
	eventually(t, func() bool { return p.connections() == 0 }, "connections stay")
	p.mu.Lock()
	defer p.mu.Unlock()
	require.Empty(t, p.unproven)
}

func TestTCPUnprovenFramesAreShort(t *testing.T) {
	p := listen(t)
	endpoint := newRecorder()
	p.Name("us", endpoint)
	conn := dialTCP(t, p)
	writeFrame(t, conn, request("us:them"))
	endpoint.next(t)
	write(t, conn, binary.BigEndian.AppendUint16(nil, stunMaxBytes+1))
	closedByPort(t, conn)
}

func TestTCPProvenStaysOpen(t *testing.T) {
	p := listen(t, short)
	endpoint := proving(p)
	p.Name("us", endpoint)
	proven, idle := dialTCP(t, p), dialTCP(t, p)
	writeFrame(t, proven, request("us:them"))
	endpoint.next(t)
	closedByPort(t, idle) // opened later, so its time-out comes after proven's
	writeFrame(t, proven, rtpPacket())
	require.Equal(t, rtpPacket(), endpoint.next(t).data)
}

func TestTCPSlowReader(t *testing.T) {
	p := listen(t, func(c *Config) { c.limits.queue, c.limits.write = 8, 100*time.Millisecond })
	endpoint := proving(p)
	p.Name("us", endpoint)
	conn := dialTCP(t, p)
	writeFrame(t, conn, request("us:them"))
	path := endpoint.next(t).path
	packet := make([]byte, 32<<10)
	full := make(chan error, 1)
	go func() { // reads nothing: kernel buffers fill up, then the queue
		var err error
		for err == nil || errors.Is(err, ErrQueueFull) && len(full) == 0 {
			if err = path.Write(packet); err != nil {
				full <- err
				return
			}
		}
	}()
	select {
	case err := <-full:
		require.ErrorIs(t, err, ErrQueueFull)
	case <-time.After(patience):
		t.Fatal("blocked")
	}
	eventually(t, func() bool { return errors.Is(path.Write(packet), net.ErrClosed) }, "not given up")
	eventually(t, func() bool { return p.connections() == 0 }, "still held")
}

func TestTCPConnectionLimits(t *testing.T) {
	tests := []struct {
		name   string
		limits tcpLimits
		proven bool // whether the connections within the limit are proven
		room   bool // whether there is room for one more then
	}{
		{"at once", tcpLimits{connections: 3}, true, false},
		{"unproven of one client", tcpLimits{unproven: 3}, false, false},
		{"proven ones do not count as unproven", tcpLimits{unproven: 3}, true, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := listen(t, func(c *Config) { c.limits = tt.limits })
			endpoint := newRecorder()
			if tt.proven {
				endpoint = proving(p)
			}
			p.Name("us", endpoint)
			var conns []net.Conn
			for range 3 {
				conn := dialTCP(t, p)
				writeFrame(t, conn, request("us:them"))
				endpoint.next(t)
				conns = append(conns, conn)
			}
			more := dialTCP(t, p)
			if tt.room {
				writeFrame(t, more, request("us:them"))
				endpoint.next(t)
				return
			}
			closedByPort(t, more)
			require.NoError(t, conns[0].Close())
			eventually(t, func() bool { return p.connections() == 2 }, "a closed one still counts")
			again := dialTCP(t, p)
			writeFrame(t, again, request("us:them"))
			endpoint.next(t)
		})
	}
}

func TestClientNetwork(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::", "fe80::1%eth0": "fe80::",
	} {
		require.Equal(t, netip.MustParseAddr(want), clientNetwork(netip.MustParseAddr(addr)), addr)
	}
}

// TestTCPDetachSendsWhatIsQueued expects the goodbye that a session writes just before it detaches.
func TestTCPDetachSendsWhatIsQueued(t *testing.T) {
	for range 20 {
		p := listen(t)
		endpoint := proving(p)
		number := p.Attach(endpoint)
		p.Name("us", endpoint)
		conn := dialTCP(t, p)
		writeFrame(t, conn, request("us:them"))
		path := endpoint.next(t).path
		require.NoError(t, path.Write([]byte("goodbye")))
		p.Detach(number, endpoint, []Path{path})
		require.Equal(t, "goodbye", string(readPacket(t, conn)))
		closedByPort(t, conn)
		eventually(t, func() bool { return errors.Is(path.Write([]byte("x")), net.ErrClosed) }, "path stays open")
	}
}

// TestTCPUnbindLeavesUDP has a TCP connection and a UDP address of the same number.
func TestTCPUnbindLeavesUDP(t *testing.T) {
	p := listen(t)
	endpoint := proving(p)
	p.Name("us", endpoint)
	conn := dialTCP(t, p)
	writeFrame(t, conn, request("us:them"))
	tcp := endpoint.next(t).path
	udp, _ := p.Sockets()[0].PathTo(tcp.Remote())
	require.True(t, p.Bind(udp, endpoint, time.Now(), false))
	p.Unbind(tcp, endpoint)
	closedByPort(t, conn)
	require.Same(t, endpoint, p.route(rtpPacket(), udp, time.Now()))
}

// failingListener fails some times before it is closed.
type failingListener struct {
	net.Listener
	left atomic.Int32
}

func (l *failingListener) Accept() (net.Conn, error) {
	if l.left.Add(-1) < 0 {
		return nil, net.ErrClosed
	}
	return nil, errors.New("too many open files")
}

// TestAcceptFailures expects the acceptor to go on after failures, with one log line for all within a second.
func TestAcceptFailures(t *testing.T) {
	var text bytes.Buffer
	p := listen(t, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&text, nil)) })
	listener := &failingListener{}
	listener.left.Store(3)
	p.acceptTCP(listener)
	require.Equal(t, 1, strings.Count(text.String(), "media connection not accepted"))
}

func TestReadFrame(t *testing.T) {
	whole := frame([]byte("packet"))
	for n := range len(whole) {
		_, _, err := readFrame(bytes.NewReader(whole[:n]), make([]byte, 4), tcpFrameMaxBytes)
		require.Error(t, err, "%d bytes", n)
	}
	packet, grown, err := readFrame(bytes.NewReader(whole), make([]byte, 4), 6)
	require.NoError(t, err)
	require.Equal(t, "packet", string(packet))
	require.Len(t, grown, tcpFrameMaxBytes)
	_, _, err = readFrame(bytes.NewReader(whole), nil, 5)
	require.ErrorIs(t, err, ErrFrameTooLong)
}
