package transport

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
)

const (
	// drainBytes is how long a record can be (RFC 5246 section 6.2.1).
	drainBytes = 1 << 14
	// dataQueueBytes takes the place of dtlsQueueBytes when there are data channels: a client may send as much at once as our SCTP window says, and a loss
	// costs it a second when it is the last packet.
	dataQueueBytes = 1 << 20
)

// OpenData makes us send the first packet of the client's SCTP association, when it has begun none. It does nothing before the session is connected.
func (s *Session) OpenData() {
	if s.peer.Data != nil && s.Connected() {
		s.startData(true)
	}
}

// startData starts the goroutine that reads application data: Peer.Data first, and what comes after it, or without it, is dropped. Some clients send data
// although we agreed to none, and pion/dtls stops reading, close_notify included, when nobody takes it. The goroutine ends when the session closes dtlsLink;
// the session waits for it.
func (s *Session) startData(initiate bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() || s.draining {
		return
	}
	s.draining = true
	s.drain.Go(func() {
		link := s.dtlsLink.Load()
		if s.peer.Data != nil {
			s.dtls.in.SetLimitSize(dataQueueBytes)
			s.peer.Data(&dataLink{Conn: link}, initiate)
			_ = link.SetReadDeadline(time.Time{})
		}
		drop(link)
	})
}

// drop reads application data until the end of the link.
func drop(link *dtls.Conn) {
	scratch := make([]byte, drainBytes)
	for {
		if _, err := link.Read(scratch); errors.Is(err, io.EOF) {
			return
		}
	}
}

// dataLink is the DTLS connection as SCTP sees it. Closing it leaves the session alone.
type dataLink struct {
	*dtls.Conn
	closed atomic.Bool
}

// Read reads one packet. Records that do not fit are no SCTP packets of anybody, and are dropped.
func (l *dataLink) Read(p []byte) (int, error) {
	for {
		n, err := l.Conn.Read(p)
		switch {
		case l.closed.Load():
			return 0, net.ErrClosed
		case err == nil || errors.Is(err, io.EOF):
			return n, err
		}
	}
}

func (l *dataLink) Write(p []byte) (int, error) {
	if l.closed.Load() {
		return 0, io.EOF
	}
	return l.Conn.Write(p)
}

// SetReadDeadline is called by SCTP only to end a Read, when it aborts.
func (l *dataLink) SetReadDeadline(time.Time) error { return l.Close() }

// SetWriteDeadline does nothing: writes never wait, and the DTLS connection lives on.
func (l *dataLink) SetWriteDeadline(time.Time) error { return nil }

// Close ends a Read that waits.
func (l *dataLink) Close() error {
	l.closed.Store(true)
	return l.Conn.SetReadDeadline(time.Unix(1, 0))
}
