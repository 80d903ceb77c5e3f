package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"
)

// Session is one PeerConnection and its HTTP resource. Its methods may be called from any goroutine,
// but not from callbacks of the package.
type Session struct {
	options  Options
	log      *slog.Logger
	pc       *webrtc.PeerConnection
	resource *resource

	// Set while the session is made, constant afterwards.
	offer    string // as posted
	channels map[string]*webrtc.DataChannel

	mu          sync.Mutex // guards answer, which a restart replaces
	answer      string
	connectedAt time.Time  // guarded by mu; zero until connected
	restarting  sync.Mutex // one restart at a time

	connected chan struct{} // closed when ICE and DTLS are done
	ended     chan struct{} // closed when nothing will be sent or received any more
	connect   sync.Once
	end       sync.Once
	endErr    error // why it ended; read after ended is closed

	runMu   sync.Mutex // guards closing against starts
	closing bool
	running sync.WaitGroup // the goroutines of the session; each ends with ended or with the connection

	closeOnce sync.Once
	closeErr  error
}

// newSession wires the states of a PeerConnection. Of the connection's goroutines, only callbacks touch
// the session, and they hand over and return.
func newSession(options Options, pc *webrtc.PeerConnection) *Session {
	s := &Session{
		options: options, log: options.logger(), pc: pc,
		resource:  &resource{client: options.httpClient(), token: options.Token},
		channels:  map[string]*webrtc.DataChannel{},
		connected: make(chan struct{}), ended: make(chan struct{}),
	}
	pc.OnConnectionStateChange(s.onState)
	pc.OnDataChannel(s.listen)
	return s
}

func (s *Session) onState(state webrtc.PeerConnectionState) {
	s.log.Debug("connection state", "state", state.String())
	switch state {
	case webrtc.PeerConnectionStateConnected:
		s.connect.Do(func() {
			s.mu.Lock()
			s.connectedAt = time.Now()
			s.mu.Unlock()
			close(s.connected)
		})
	case webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed:
		s.finish(ErrDisconnected)
	default: // on its way, or interrupted: pion goes on by itself
	}
}

// finish marks the end; the first reason counts.
func (s *Session) finish(reason error) {
	s.end.Do(func() {
		s.endErr = reason
		close(s.ended)
	})
}

// run starts a goroutine that Close waits for, unless the session is closing already.
func (s *Session) run(function func()) {
	s.runMu.Lock()
	defer s.runMu.Unlock()
	if !s.closing {
		s.running.Go(function)
	}
}

// context returns a context that ends with the session or with cancel, which must be called.
func (s *Session) context() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	s.run(func() {
		select {
		case <-s.ended:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, cancel
}

// negotiate posts the offer and applies the answer. On failure the session is to be abandoned.
func (s *Session) negotiate(ctx context.Context) error {
	var trickle *trickler
	if s.options.Trickle && !s.options.NoCandidates {
		trickle = newTrickler(s)
	}
	offer, err := s.pc.CreateOffer(nil)
	if err != nil {
		return fmt.Errorf("create offer: %w", err)
	}
	if err := s.pc.SetLocalDescription(offer); err != nil {
		return fmt.Errorf("apply offer: %w", err)
	}
	if !s.options.Trickle {
		if err := s.gathered(ctx); err != nil {
			return err
		}
	}
	s.offer = s.posted(s.pc.LocalDescription().SDP)
	answer, err := s.resource.post(ctx, s.options.URL, s.offer, s.options.RetryFor)
	if err != nil {
		return err
	}
	if err := s.apply(answer); err != nil {
		return err
	}
	if trickle != nil {
		s.run(trickle.run)
	}
	return nil
}

// gathered waits for the last candidate.
func (s *Session) gathered(ctx context.Context) error {
	select {
	case <-webrtc.GatheringCompletePromise(s.pc):
		return nil
	case <-ctx.Done():
		return fmt.Errorf("gather candidates: %w", context.Cause(ctx))
	}
}

// apply makes answer the remote description.
func (s *Session) apply(answer string) error {
	err := s.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer})
	if err != nil {
		return fmt.Errorf("apply answer: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
	return nil
}

// posted turns pion's description into the text of the POST: what RFC 9725 §4.4.1 adds (rtcp-mux-only,
// RFC 8858), and what the options change.
func (s *Session) posted(offer string) string {
	var out strings.Builder
	for line := range strings.Lines(offer) {
		switch name, _, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ":"); {
		case name == "a=rtcp-mux":
			line += "a=rtcp-mux-only\r\n"
		case name == "a=setup" && s.options.Setup != "":
			line = "a=setup:" + s.options.Setup + "\r\n"
		case s.options.NoCandidates && (name == "a=candidate" || name == "a=end-of-candidates"):
			continue
		}
		out.WriteString(line)
	}
	if s.options.EditOffer != nil {
		return s.options.EditOffer(out.String())
	}
	return out.String()
}

// RestartICE renews the ICE session by PATCH (RFC 9725 §4.3.3) and returns when the new credentials are
// applied; media goes on as soon as the new checks succeed. If the server refuses, the old ICE session
// is lost on our side, because pion drops it when it makes the new credentials.
func (s *Session) RestartICE(ctx context.Context) error {
	s.restarting.Lock()
	defer s.restarting.Unlock()
	offer, err := s.pc.CreateOffer(&webrtc.OfferOptions{ICERestart: true})
	if err != nil {
		return fmt.Errorf("restart ice: create offer: %w", err)
	}
	if err := s.pc.SetLocalDescription(offer); err != nil {
		return fmt.Errorf("restart ice: apply offer: %w", err)
	}
	if err := s.gathered(ctx); err != nil {
		return fmt.Errorf("restart ice: %w", err)
	}
	fragment := fragmentOf(s.posted(s.pc.LocalDescription().SDP))
	x, err := s.resource.patch(ctx, "*", fragment.marshal(s.offer))
	if err != nil {
		return fmt.Errorf("restart ice: %w", err)
	}
	if x.response.StatusCode != http.StatusOK {
		return fmt.Errorf("restart ice: %w", x.fail())
	}
	renewed := fragmentOf(string(x.body))
	if renewed.ufrag == "" || renewed.pwd == "" {
		return fmt.Errorf("restart ice: %w: no credentials in the fragment", ErrResponse)
	}
	s.resource.setETag(x.response.Header.Get("ETag"))
	return s.apply(renewed.apply(s.Answer()))
}

// Location is the session's URL.
func (s *Session) Location() string { return s.resource.location.String() }

// ETag is the entity tag of the current ICE session, as received; "" if the server sent none.
func (s *Session) ETag() string { return s.resource.entityTag() }

// Links are the Link headers of the 201: ICE servers and extensions.
func (s *Session) Links() []Link { return s.resource.links }

// Header holds the headers of the 201. It must not be changed.
func (s *Session) Header() http.Header { return s.resource.header }

// Offer is the SDP as it was posted.
func (s *Session) Offer() string { return s.offer }

// Answer is the SDP in force: that of the 201, after a restart with the renewed ICE part.
func (s *Session) Answer() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.answer
}

// PeerConnection is pion's object, for what this package does not wrap.
func (s *Session) PeerConnection() *webrtc.PeerConnection { return s.pc }

// PostedAt is when the POST that was answered began, redirects included; earlier attempts do not count.
func (s *Session) PostedAt() time.Time { return s.resource.postedAt }

// Connected waits until ICE and DTLS have succeeded.
func (s *Session) Connected(ctx context.Context) error {
	select {
	case <-s.connected:
		return nil
	case <-s.ended:
		return fmt.Errorf("%w: %w", ErrNoConnection, s.endErr)
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrNoConnection, context.Cause(ctx))
	}
}

// setupTime is how long it took from POST to connected; zero until then.
func (s *Session) setupTime() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.connectedAt.IsZero() {
		return 0
	}
	return s.connectedAt.Sub(s.PostedAt())
}

// Done is closed when the session has ended: by Close, by the server, or by a failed connection.
func (s *Session) Done() <-chan struct{} { return s.ended }

// Err is nil while the session lives, and then ErrClosed or ErrDisconnected.
func (s *Session) Err() error {
	select {
	case <-s.ended:
		return s.endErr
	default:
		return nil
	}
}

// Wait blocks until the session or ctx ends, and returns why.
func (s *Session) Wait(ctx context.Context) error {
	select {
	case <-s.ended:
		return s.endErr
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Close deletes the session on the server, closes the connection, and returns when no goroutine of the
// session runs any more. Later calls return the result of the first.
func (s *Session) Close(ctx context.Context) error {
	s.closeOnce.Do(func() {
		s.finish(ErrClosed)
		err := s.resource.delete(ctx)
		if err != nil {
			err = fmt.Errorf("delete session: %w", err)
		}
		s.closeErr = errors.Join(err, s.shut())
	})
	return s.closeErr
}

// Drop closes the connection without a DELETE, as clients do that crash or lose their way. A Close after
// it does nothing.
func (s *Session) Drop() error {
	s.closeOnce.Do(func() {
		s.finish(ErrClosed)
		s.closeErr = s.shut()
	})
	return s.closeErr
}

// abandon closes a session whose making failed, also on the server if that has made its part, and even
// if ctx has ended. The error that led here is the one that counts.
func (s *Session) abandon(ctx context.Context) {
	if err := s.Close(context.WithoutCancel(ctx)); err != nil {
		s.log.Debug("abandoned session", "err", err)
	}
}

// shut closes the connection and waits for all goroutines.
func (s *Session) shut() error {
	s.runMu.Lock()
	s.closing = true
	s.runMu.Unlock()
	err := s.pc.GracefulClose()
	s.running.Wait()
	if err != nil {
		return fmt.Errorf("close connection: %w", err)
	}
	return nil
}
