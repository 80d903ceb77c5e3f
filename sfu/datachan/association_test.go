package datachan

import (
	"bytes"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/pion/datachannel"
	"github.com/pion/logging"
	"github.com/pion/sctp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const patience = 10 * time.Second

// pipe is a link of UDP sockets on loopback: packets, and none waits for a reader.
func pipe(t testing.TB) (ours, theirs net.Conn) {
	t.Helper()
	a, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	b, err := net.DialUDP("udp4", nil, a.LocalAddr().(*net.UDPAddr))
	require.NoError(t, err)
	address := a.LocalAddr().(*net.UDPAddr)
	require.NoError(t, a.Close())
	ours, err = net.DialUDP("udp4", address, b.LocalAddr().(*net.UDPAddr))
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = ours.Close(), b.Close() })
	return ours, b
}

// recorder is a Handler that notes everything and refuses what it is told to.
type recorder struct {
	mu       sync.Mutex
	ready    bool
	refuse   string
	open     map[string]*Channel
	closed   map[string]Reason
	messages [][]byte
	dropped  map[Drop]int
}

func newRecorder() *recorder {
	return &recorder{open: map[string]*Channel{}, closed: map[string]Reason{}, dropped: map[Drop]int{}}
}

func (r *recorder) do(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

func (r *recorder) Ready() { r.do(func() { r.ready = true }) }

func (r *recorder) Opened(c *Channel) (ok bool) {
	r.do(func() {
		if ok = c.Parameters().Label != r.refuse || r.refuse == ""; ok {
			r.open[c.Parameters().Label] = c
		}
	})
	return ok
}

func (r *recorder) Message(_ *Channel, _ bool, data []byte) {
	r.do(func() { r.messages = append(r.messages, data) })
}

func (r *recorder) Closed(c *Channel, reason Reason) {
	r.do(func() { r.closed[c.Parameters().Label] = reason })
}
func (r *recorder) Dropped(reason Drop, n int) { r.do(func() { r.dropped[reason] += n }) }

func (r *recorder) until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	require.Eventually(t, func() (ok bool) { r.do(func() { ok = condition() }); return ok }, patience, time.Millisecond, what)
}

// meet connects an Association with a plain one of pion/sctp.
func meet(t testing.TB, r *recorder, change ...func(*Config)) (*Association, *sctp.Association) {
	t.Helper()
	ours, theirs := pipe(t)
	config := Config{MaxMessageBytes: MaxMessageBytes, MaxOpened: 4, Handler: r, LoggerFactory: quiet{}}
	for _, c := range change {
		c(&config)
	}
	a, done := New(config), make(chan struct{})
	go func() {
		defer close(done)
		_ = a.Run(ours, false)
	}()
	peer, err := sctp.ClientWithOptions(sctp.WithNetConn(theirs), sctp.WithLoggerFactory(quiet{}), sctp.WithEnableInterleaving(false))
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = ours.Close()
		<-done
		_ = peer.Close()
	})
	r.until(t, "ready", func() bool { return r.ready })
	return a, peer
}

type quiet struct{}

func (quiet) NewLogger(string) logging.LeveledLogger {
	return logging.NewDefaultLeveledLoggerForScope("", logging.LogLevelDisabled, bytes.NewBuffer(nil))
}

func TestAssociationMessages(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	_, peer := meet(t, r)
	channel, err := datachannel.Dial(peer, 2, &datachannel.Config{Label: "chat", LoggerFactory: quiet{}})
	require.NoError(t, err)
	stream, err := peer.OpenStream(2, sctp.PayloadTypeWebRTCBinary)
	require.NoError(t, err)
	for _, identifier := range []sctp.PayloadProtocolIdentifier{0, 52, 54, 99, sctp.PayloadTypeWebRTCDCEP} { // unknown, partial, and DCEP of no sense
		_, err = stream.WriteSCTP([]byte("?"), identifier)
		require.NoError(t, err)
	}
	_, err = channel.WriteDataChannel(nil, true)
	require.NoError(t, err)
	peer.SetMaxMessageSize(1 << 20)
	_, err = stream.WriteSCTP(make([]byte, MaxMessageBytes+1), sctp.PayloadTypeWebRTCBinary)
	require.NoError(t, err)
	_, err = channel.WriteDataChannel(bytes.Repeat([]byte("x"), MaxMessageBytes), false)
	require.NoError(t, err)
	r.until(t, "messages", func() bool { return len(r.messages) == 2 })
	r.do(func() {
		assert.Empty(t, r.messages[0])
		assert.Len(t, r.messages[1], MaxMessageBytes)
		assert.Equal(t, map[Drop]int{DropProtocol: 5, DropTooLarge: 1}, r.dropped)
		assert.True(t, r.open["chat"].Parameters().Ordered)
	})
	require.NoError(t, channel.Close())
	r.until(t, "closed", func() bool { return r.closed["chat"] == ReasonPeer })
}

func TestAssociationRefuses(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	r.refuse = "unwanted"
	_, peer := meet(t, r)
	for id, label := range []string{"unwanted", "a"} {
		channel, err := datachannel.Dial(peer, uint16(2*id), &datachannel.Config{Label: label, LoggerFactory: quiet{}})
		require.NoError(t, err)
		if label == "unwanted" {
			_, err := channel.Read(make([]byte, 10))
			require.Error(t, err, "reset")
		}
	}
	stream, err := peer.OpenStream(8, sctp.PayloadTypeWebRTCBinary)
	require.NoError(t, err)
	_, err = stream.WriteSCTP([]byte{dcepOpen, 9}, sctp.PayloadTypeWebRTCDCEP)
	require.NoError(t, err)
	r.until(t, "refused", func() bool { return r.dropped[DropRefused] == 1 && r.dropped[DropProtocol] == 1 && len(r.open) == 1 })
	r.do(func() { assert.Empty(t, r.closed, "of what was never open") })
}

// A client that opens streams and resets none is aborted, before they fill the memory.
func TestAssociationFlood(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	a, peer := meet(t, r)
	open := marshalOpen(Parameters{Label: "x", Ordered: true})
	for id := range uint16(5000) {
		stream, err := peer.OpenStream(id, sctp.PayloadTypeWebRTCDCEP)
		if err != nil {
			break
		}
		if _, err := stream.WriteSCTP(open, sctp.PayloadTypeWebRTCDCEP); err != nil {
			break
		}
	}
	select {
	case <-a.done:
	case <-time.After(patience):
		t.Fatal("not aborted")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	assert.LessOrEqual(t, len(a.channels), 4)
	assert.LessOrEqual(t, len(a.refused), maxRefused)
}

// A client that takes nothing: a reliable channel is closed, of another the oldest messages go.
func TestChannelSlow(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		parameters Parameters
		want       error
	}{
		"reliable":   {Parameters{Label: "c", Ordered: true}, ErrSlow},
		"unreliable": {Parameters{Label: "c", MaxRetransmits: new(uint16(0))}, nil},
		"lifetime":   {Parameters{Label: "c", MaxLifetime: new(time.Hour)}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRecorder()
			a, _ := meet(t, r) // nobody reads the peer's streams
			c, err := a.Open(test.parameters)
			require.NoError(t, err)
			data := make([]byte, 64<<10)
			for range 100 {
				if err = c.Send(true, data); err != nil {
					break
				}
			}
			require.ErrorIs(t, err, test.want)
			r.until(t, "dropped", func() bool { return r.dropped[DropSlow] > 0 })
			if test.want != nil {
				r.until(t, "closed", func() bool { return r.closed["c"] == ReasonSlow })
				require.ErrorIs(t, c.Send(true, nil), ErrClosed)
			}
			a.mu.Lock()
			assert.LessOrEqual(t, c.queue.bytes, MaxQueuedBytes)
			a.mu.Unlock()
			require.ErrorIs(t, c.Send(true, make([]byte, MaxMessageBytes+1)), ErrTooLarge)
		})
	}
}

func TestAssociationAborted(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	a, peer := meet(t, r)
	c, err := a.Open(Parameters{Label: "c", Ordered: true})
	require.NoError(t, err)
	peer.Abort("enough")
	r.until(t, "closed", func() bool { return r.closed["c"] == ReasonAssociation })
	<-a.done
	_, err = a.Open(Parameters{Label: "d"})
	require.ErrorIs(t, err, ErrNotReady)
	require.ErrorIs(t, c.Send(false, nil), ErrClosed)
}
