package sfu

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"rheomesh/internal/codec"
	"rheomesh/internal/sdp"
	"rheomesh/internal/sdpfrag"
	"rheomesh/sfu/transport"
)

// Role says what a session does.
type Role int

// The roles of a session.
const (
	RolePublish Role = iota
	RoleSubscribe
)

func (r Role) String() string {
	if r == RolePublish {
		return "publish"
	}
	return "subscribe"
}

// CloseReason says why a session ended.
type CloseReason string

// The reasons of a session's end.
const (
	CloseDeleted       CloseReason = "deleted"        // the client's DELETE
	CloseReplaced      CloseReason = "replaced"       // another session publishes under the name
	CloseKicked        CloseReason = "kicked"         // an operator
	CloseTimeout       CloseReason = "timeout"        // never connected
	CloseSilent        CloseReason = "silent"         // connected, then not heard from any more
	ClosePeer          CloseReason = "peer"           // the client closed its DTLS connection
	CloseRouterDeleted CloseReason = "router-deleted" // its router is gone
	CloseNode          CloseReason = "node"           // the node stops
	CloseProtocol      CloseReason = "protocol"       // the DTLS handshake failed
)

// serverOfferLife is how long a player may take to answer our offer (WHEP draft, section "Counter-Offer").
const serverOfferLife = 30 * time.Second

// Session is one client's connection to the node, and publishes or subscribes. It lives from the POST until one of the close reasons.
type Session struct {
	id          SessionID
	role        Role
	router      *Router
	publisher   *Publisher
	publisherID PublisherID
	subscriber  *Subscriber // role subscribe
	ingest      *ingest     // role publish
	source      *dataSource // role publish, with a data section
	maySendData bool        // role subscribe
	createdAt   time.Time
	clientIP    netip.Addr
	log         *slog.Logger
	done        chan struct{}

	// mu guards the fields below.
	mu          sync.Mutex
	transport   *transport.Session // nil while an offer of ours awaits its answer
	offer       *sdp.Description   // the client's offer, or ours while it is pending
	pending     *serverOffer
	description string
	remoteUfrag string
	etag        string
	ended       bool
	reason      CloseReason
	making      bool // the session is being put together; Close leaves its end to made

	connected atomic.Bool
}

// serverOffer is an offer of ours that a player has not answered yet.
type serverOffer struct {
	credentials transport.Credentials
	expiry      *time.Timer
}

// ID is the session's capability: whoever knows it may end and steer the session.
func (s *Session) ID() SessionID { return s.id }

// Role says whether the session publishes or subscribes.
func (s *Session) Role() Role { return s.role }

// Router is where the session belongs to.
func (s *Session) Router() *Router { return s.router }

// PublisherID is the name that the session publishes under or watches.
func (s *Session) PublisherID() PublisherID { return s.publisherID }

// SubscriberID names the viewer; it is empty for publishers.
func (s *Session) SubscriberID() SubscriberID {
	if s.subscriber == nil {
		return ""
	}
	return s.subscriber.id
}

// CreatedAt is the time of the POST.
func (s *Session) CreatedAt() time.Time { return s.createdAt }

// Connected reports whether media can flow.
func (s *Session) Connected() bool { return s.connected.Load() }

// Done is closed when the session has ended.
func (s *Session) Done() <-chan struct{} { return s.done }

// RemoteAddr is where the client is now; the zero value until a path is selected.
func (s *Session) RemoteAddr() netip.AddrPort {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.transport == nil {
		return netip.AddrPort{}
	}
	return s.transport.Path().Remote()
}

// Description is the SDP to send to the client: our answer, or our offer.
func (s *Session) Description() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.description
}

// ETag identifies the ICE session, without quotes. Each restart changes it (RFC 9725 section 4.3.1).
func (s *Session) ETag() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.etag
}

// RemoteUfrag is the client's current ICE user name fragment.
func (s *Session) RemoteUfrag() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.remoteUfrag
}

// AwaitingAnswer reports whether an offer of ours is pending.
func (s *Session) AwaitingAnswer() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pending != nil
}

// Closed reports whether and why the session has ended.
func (s *Session) Closed() (CloseReason, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reason, s.ended
}

// AddCandidates takes trickled candidates. Those that cannot be used are ignored (RFC 9725 section 4.3.2).
func (s *Session) AddCandidates(f sdpfrag.Fragment) error {
	link, err := s.link()
	if err != nil {
		return err
	}
	link.AddCandidates(usableCandidates(f.Candidates))
	return nil
}

// RestartICE takes the client's new ICE credentials and returns the fragment with ours. On an error the old ICE session goes on (RFC 9725 section 4.3.3).
func (s *Session) RestartICE(f sdpfrag.Fragment) (string, error) {
	link, err := s.link()
	if err != nil {
		return "", err
	}
	if err := sdp.CheckCredentials(f.Ufrag, f.Pwd); err != nil {
		return "", fmt.Errorf("restart ICE: %w: %w", ErrFragmentInvalid, err)
	}
	local, err := link.Restart(transport.Credentials{Ufrag: f.Ufrag, Pwd: f.Pwd}, usableCandidates(f.Candidates))
	if err != nil {
		return "", fmt.Errorf("restart ICE: %w", ErrSessionNotFound)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remoteUfrag, s.etag = f.Ufrag, local.Ufrag
	answer := sdpfrag.Fragment{
		Ufrag: local.Ufrag, Pwd: local.Pwd, Candidates: s.router.node.candidates, EndOfCandidates: true, Lite: s.router.node.transport.Lite,
	}
	kind, mid := firstSection(s.offer)
	return answer.Marshal(kind, mid), nil
}

// link is the session's transport, if it can be steered.
func (s *Session) link() (*transport.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended:
		return nil, fmt.Errorf("session has ended: %w", ErrSessionNotFound)
	case s.transport == nil:
		return nil, fmt.Errorf("offer is not answered yet: %w", ErrSessionState)
	}
	return s.transport, nil
}

// firstSection is the bundle's tagged section, the only one that a fragment names (RFC 8840 section 4.4).
func firstSection(d *sdp.Description) (kind, mid string) {
	for _, m := range d.Media {
		if m.Active() {
			return string(m.Kind), m.MID
		}
	}
	return string(sdp.Audio), "0"
}

// usableCandidates keeps UDP candidates with an address; names are never resolved, and clients' TCP candidates are active ones, which cannot be dialled.
func usableCandidates(values []string) []netip.AddrPort {
	var addrs []netip.AddrPort
	for _, value := range values {
		c, err := sdp.ParseCandidate(value)
		if err == nil && c.Transport == "udp" && c.Address.IsValid() {
			addrs = append(addrs, c.Address)
		}
	}
	return addrs
}

// Close ends the session. It may be called from anywhere, any number of times; the first reason counts. It does not wait for the goodbye to the client.
func (s *Session) Close(reason CloseReason) {
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return
	}
	s.ended, s.reason = true, reason
	making := s.making
	if s.pending != nil {
		s.pending.expiry.Stop()
	}
	s.mu.Unlock()
	if !making {
		s.end()
	}
}

// made says that nobody puts the session together any more. One that was closed meanwhile ends now.
func (s *Session) made() {
	s.mu.Lock()
	s.making = false
	ended := s.ended
	s.mu.Unlock()
	if ended {
		s.end()
	}
}

func (s *Session) end() {
	s.mu.Lock()
	link := s.transport
	s.mu.Unlock()
	if link != nil {
		link.Abandon() // HandleClosed follows and finishes
		return
	}
	s.finish()
}

// finish takes the ended session out of everything that knows it.
func (s *Session) finish() {
	s.connected.Store(false)
	s.leaveData()
	if s.subscriber != nil {
		s.subscriber.stop()
		s.router.node.unassignWorker(s.subscriber.worker)
		s.publisher.leave(s.subscriber)
		s.router.removeSubscriber(s.subscriber)
	}
	if s.ingest != nil {
		s.router.node.removeIngest(s.ingest)
		s.publisher.release(s)
	}
	s.router.node.removeSession(s)
	s.router.drop(s.publisher, s.role)
	reason, _ := s.Closed()
	s.log.Info("session closed", "reason", reason, "seconds", int(time.Since(s.createdAt).Seconds()))
	close(s.done)
}

// HandleRTP implements transport.Handler. Viewers have nothing to send.
func (s *Session) HandleRTP(sealed []byte, now time.Time) {
	if s.ingest != nil {
		s.ingest.handleRTP(sealed, now)
		return
	}
	s.router.node.stats.unexpectedRTP.Add(1)
}

// HandleRTCP implements transport.Handler.
func (s *Session) HandleRTCP(packet []byte, now time.Time) {
	if s.ingest != nil {
		s.ingest.handleRTCP(packet, now)
		return
	}
	s.subscriber.handleRTCP(packet, now)
}

// HandleConnected implements transport.Handler.
func (s *Session) HandleConnected() {
	s.connected.Store(true)
	took := time.Since(s.createdAt)
	s.router.node.sessionConnected(s, took)
	if s.ingest != nil {
		s.router.node.addIngest(s.ingest)
		s.publisher.goLive(s, s.ingest.tracks)
	} else {
		s.subscriber.connected()
	}
	s.mu.Lock()
	link := s.transport
	s.mu.Unlock()
	s.log.Info("session connected", "remote_addr", link.Path().Remote(), "tcp", link.Path().TCP(), "srtp", link.Profile(), "milliseconds", took.Milliseconds())
}

// HandleClosed implements transport.Handler.
func (s *Session) HandleClosed(cause transport.Cause) {
	s.mu.Lock()
	if !s.ended {
		s.ended, s.reason = true, closeReasons[cause]
	}
	s.mu.Unlock()
	s.finish()
}

var closeReasons = map[transport.Cause]CloseReason{
	transport.CauseLocal: CloseDeleted, transport.CausePeer: ClosePeer, transport.CauseTimeout: CloseTimeout,
	transport.CauseSilent: CloseSilent, transport.CauseHandshake: CloseProtocol,
}

// SelectLayer asks for a layer of the session's video or audio. The zero value goes back to the automatic choice.
func (s *Session) SelectLayer(selection LayerSelection) error {
	if s.subscriber == nil {
		return fmt.Errorf("select layer: %w", ErrSessionState)
	}
	if selection.Kind == "" {
		selection.Kind = codec.Video.String()
	}
	return s.subscriber.selectLayer(selection)
}

// Layers lists what the watched publisher sends, by the index of this session's m-line. It is empty while nobody feeds the publisher.
func (s *Session) Layers() map[int][]LayerInfo {
	layers := map[int][]LayerInfo{}
	if s.subscriber == nil {
		return layers
	}
	tracks, _, _ := s.publisher.snapshot()
	for _, f := range s.subscriber.forwarders {
		if t := trackOf(tracks, f); t != nil {
			layers[f.index] = t.layerInfos(f.counters.current.Load(), f.choice.Load())
		}
	}
	return layers
}

// MediaIndex finds an m-line of the session by its index or its mid.
func (s *Session) MediaIndex(mediaID string) (index int, kind string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, m := range s.offer.Media {
		if fmt.Sprint(i) == mediaID || m.MID == mediaID {
			return i, string(m.Kind), true
		}
	}
	return 0, "", false
}

// offerError classes what package sdp refuses.
func offerError(err error) error {
	switch {
	case errors.Is(err, sdp.ErrUnacceptable):
		return fmt.Errorf("%w: %w", ErrOfferUnacceptable, err)
	default:
		return fmt.Errorf("%w: %w", ErrOfferInvalid, err)
	}
}
