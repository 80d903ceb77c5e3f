package transport

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"

	"rheomesh/internal/rtpx"
	"rheomesh/sfu/mediaport"
)

// ErrNotConnected means that the keys are not there yet, or no longer.
var ErrNotConnected = errors.New("transport: not connected")

// rtcpScratch holds buffers in which readers open RTCP packets, which are at most as long as a datagram.
var rtcpScratch = sync.Pool{New: func() any { b := make([]byte, 0, 1<<16); return &b }}

// Session is one client's transport. All methods are safe for concurrent use, except that SealRTP belongs to one goroutine at a time.
type Session struct {
	config  *Config
	handler Handler
	peer    Peer
	number  uint32

	// Atomic only.
	selected  atomic.Pointer[mediaport.Path]
	connected atomic.Bool
	flowing   atomic.Bool // packets that were held are delivered
	closed    atomic.Bool
	arrived   atomic.Int64 // time of the last RTP packet, authentic or not, nanoseconds since the epoch
	heard     atomic.Int64 // time of the last authentic packet from the client, likewise
	consent   atomic.Int64 // time of the last answer to a check on the selected pair, likewise
	srtp      atomic.Pointer[keys]
	dtlsLink  atomic.Pointer[dtls.Conn] // set before connected is

	// mu guards the ICE agent's state in ice.go, started, draining and timer.
	mu       sync.Mutex
	agent    agent
	started  bool
	draining bool
	timer    *time.Timer

	// earlyMu guards early and earlyBytes.
	earlyMu    sync.Mutex
	early      []earlyPacket
	earlyBytes int

	dtls      *dtlsConn
	handshake sync.WaitGroup // the goroutine that runs the handshake
	drain     sync.WaitGroup // the goroutine of startData, which ends with dtlsLink
	endOnce   sync.Once
	done      chan struct{} // closed when the session ends
	gone      chan struct{} // closed when nothing of it runs any more
}

// New makes a session. The caller writes LocalCredentials into the answer, calls Start once, and Close or Abandon in the end.
func New(config *Config, peer Peer, handler Handler) *Session {
	s := &Session{config: config, handler: handler, peer: peer, done: make(chan struct{}), gone: make(chan struct{})}
	s.dtls = newDTLSConn(s)
	s.agent = newAgent(peer, time.Now(), config)
	s.timer = time.AfterFunc(math.MaxInt64, s.tick)
	return s
}

// Start lets the client in: from now on handler is called.
func (s *Session) Start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() || s.started {
		return
	}
	s.started = true
	s.number = s.config.Port.Attach(s)
	s.config.Port.Name(s.agent.local.Ufrag, s)
	s.arm(time.Now())
}

// LocalCredentials are our current ICE user name fragment and password.
func (s *Session) LocalCredentials() Credentials {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.agent.local
}

// Path is the selected way to the client; the zero Path until there is one.
func (s *Session) Path() mediaport.Path {
	if p := s.selected.Load(); p != nil {
		return *p
	}
	return mediaport.Path{}
}

// Connected reports whether the keys are ready and the session was not closed.
func (s *Session) Connected() bool { return s.connected.Load() && !s.closed.Load() }

// Paused reports that the client has been silent for a third of SilenceTimeout, or has not answered our checks for all of it: whoever sends media holds it
// back, so that a client that is gone is not flooded, nor whoever got its address next (RFC 7675).
func (s *Session) Paused(now time.Time) bool {
	silent := now.UnixNano()-s.heard.Load() > int64(s.config.SilenceTimeout/3)
	return silent || !s.config.Lite && now.UnixNano()-s.consent.Load() > int64(s.config.SilenceTimeout)
}

// Done is closed when the session has ended; HandleClosed may still be to come.
func (s *Session) Done() <-chan struct{} { return s.done }

// Close ends the session with a close_notify to the client, and returns when no goroutine of the session runs any more. It may be called at any time, any
// number of times, but not from a Handler method.
func (s *Session) Close() {
	s.end(CauseLocal)
	<-s.gone
}

// Abandon ends the session without waiting; HandleClosed follows. It may be called from anywhere.
func (s *Session) Abandon() { s.end(CauseLocal) }

// end runs once, for whichever cause comes first.
func (s *Session) end(cause Cause) {
	s.endOnce.Do(func() {
		s.closed.Store(true)
		close(s.done)
		s.mu.Lock()
		s.timer.Stop()
		paths, names := s.agent.paths(), s.agent.names()
		s.mu.Unlock()
		go s.teardown(paths, names, cause)
	})
}

// teardown says goodbye and frees the port's tables. It runs in a goroutine of its own, since the cause may have come from inside pion/dtls or from a reader
// of the port, both of which the DTLS connection's Close would wait for.
func (s *Session) teardown(paths []mediaport.Path, names []string, cause Cause) {
	s.dtls.shutdown()
	s.handshake.Wait()
	if link := s.dtlsLink.Load(); link != nil {
		_ = link.Close()
	}
	_ = s.dtls.Close()
	s.drain.Wait()
	for _, name := range names {
		s.config.Port.Unname(name)
	}
	s.config.Port.Detach(s.number, s, paths)
	s.handler.HandleClosed(cause)
	close(s.gone)
}

// HandlePacket implements mediaport.Endpoint: it sorts one packet by its first byte (RFC 7983 section 7) and RTCP from RTP by the packet type (RFC 5761
// section 4). Hot path for publishers.
func (s *Session) HandlePacket(data []byte, path mediaport.Path, now time.Time) {
	if s.closed.Load() {
		return
	}
	switch rtpx.Classify(data) {
	case rtpx.STUN:
		s.handleSTUN(data, path, now)
	case rtpx.DTLS:
		s.handleDTLS(data)
	case rtpx.RTCP, rtpx.RTP:
		if s.flowing.Load() || !s.hold(data, path, now) {
			s.handleMedia(data, path, now)
		}
	case rtpx.Unknown: // the port sorts these out already
	}
}

// handleMedia hands one SRTP or SRTCP packet on. Hot path.
func (s *Session) handleMedia(sealed []byte, path mediaport.Path, now time.Time) {
	if rtpx.IsRTCP(sealed) {
		s.handleRTCP(sealed, path, now)
		return
	}
	s.arrived.Store(now.UnixNano())
	s.handler.HandleRTP(sealed, now)
}

// What is held for a client whose DTLS handshake ended before ours: the first packets are the start of a keyframe. Nothing in them is authenticated yet.
const (
	maxEarlyPackets = 64
	maxEarlyBytes   = 96 << 10 // so many full datagrams
)

type earlyPacket struct {
	data []byte
	path mediaport.Path
	at   time.Time
}

// hold keeps a packet that came before the keys; false when all that were held are delivered and packets flow.
func (s *Session) hold(data []byte, path mediaport.Path, now time.Time) bool {
	s.earlyMu.Lock()
	defer s.earlyMu.Unlock()
	if s.flowing.Load() {
		return false
	}
	if s.selected.Load() != nil && len(s.early) < maxEarlyPackets && s.earlyBytes+len(data) <= maxEarlyBytes {
		s.early = append(s.early, earlyPacket{data: bytes.Clone(data), path: path, at: now})
		s.earlyBytes += len(data)
	}
	return true
}

// release delivers the packets that were held, in order, before any that come after them.
func (s *Session) release() {
	for held := s.takeEarly(); len(held) > 0; held = s.takeEarly() {
		for _, p := range held {
			s.handleMedia(p.data, p.path, p.at)
		}
	}
}

// takeEarly empties what is held, and lets packets flow when it is nothing.
func (s *Session) takeEarly() []earlyPacket {
	s.earlyMu.Lock()
	defer s.earlyMu.Unlock()
	held := s.early
	s.early, s.earlyBytes = nil, 0
	if len(held) == 0 {
		s.flowing.Store(true)
	}
	return held
}

func (s *Session) handleRTCP(sealed []byte, path mediaport.Path, now time.Time) {
	k := s.srtp.Load()
	if k == nil {
		return
	}
	scratch := rtcpScratch.Get().(*[]byte)
	defer rtcpScratch.Put(scratch)
	packet, err := k.openRTCP((*scratch)[:0], sealed)
	if err != nil {
		return
	}
	s.heard.Store(now.UnixNano())
	if selected := s.selected.Load(); selected != nil && *selected != path {
		s.follow(path, now)
	}
	s.handler.HandleRTCP(packet, now)
}

// OpenRTP authenticates and decrypts one SRTP packet, appending the plain packet to dst[:0] when it fits its capacity, and returns it. Hot path.
func (s *Session) OpenRTP(dst, sealed []byte) ([]byte, error) {
	k := s.srtp.Load()
	if k == nil {
		return nil, ErrNotConnected
	}
	plain, err := k.openRTP(dst, sealed)
	if err == nil {
		s.heard.Store(s.arrived.Load())
	}
	return plain, err
}

// SealRTP seals one RTP packet in buf, which holds the header in its first headerLen bytes and has room for the payload and Overhead bytes after it. extSeq
// is the packet's sequence number with its roll-over count in the bits above 16. The same sequence number must only ever carry the same packet. One
// goroutine at a time. Hot path.
func (s *Session) SealRTP(buf []byte, headerLen int, payload []byte, ssrc uint32, extSeq uint64) (int, error) {
	k := s.srtp.Load()
	if k == nil {
		return 0, ErrNotConnected
	}
	return k.sealer.seal(buf, headerLen, payload, ssrc, extSeq)
}

// SendRTCP seals one compound RTCP packet and sends it.
func (s *Session) SendRTCP(packet []byte) error {
	k, path := s.srtp.Load(), s.selected.Load()
	if k == nil || path == nil || s.closed.Load() {
		return ErrNotConnected
	}
	return k.sendRTCP(packet, *path)
}

// Profile names the SRTP protection profile in use, or is empty.
func (s *Session) Profile() string {
	if k := s.srtp.Load(); k != nil {
		return k.profile
	}
	return ""
}

// transactionID is unpredictable but for its first four bytes, which bring the response back to this session.
func (s *Session) transactionID() (id [12]byte) {
	binary.BigEndian.PutUint32(id[:], s.number)
	_, _ = rand.Read(id[4:])
	return id
}
