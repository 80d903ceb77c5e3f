package relay

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"rheomesh/relay/wire"
	"rheomesh/sfu"
)

// outbound is the origin's half of one relay: the publishers of a router that go to the peer.
type outbound struct {
	link       *link
	router     sfu.RouterID
	publishers []sfu.PublisherID
	maxHops    int

	mu       sync.Mutex // guards the fields below
	sessions map[sfu.PublisherID]*outPublisher
	closed   bool
}

// outPublisher is one publisher's present session. The peer has accepted it when it has streams.
type outPublisher struct {
	publisher *sfu.Publisher
	tracks    []*sfu.Track // a new session brings new ones
	offer     streamOffer
	status    string // the peer's last word
	streams   []*outStream
	data      *outData // begins when the peer accepts it
}

// keys numbers publishers' sessions; never two alike in one process.
var keys atomic.Uint64

func newOutbound(l *link, router sfu.RouterID, publishers []sfu.PublisherID, maxHops int) *outbound {
	return &outbound{link: l, router: router, publishers: publishers, maxHops: maxHops, sessions: map[sfu.PublisherID]*outPublisher{}}
}

// outboundFor finds or makes the half for a relay that the peer pulls; one that has become another is begun anew.
func (l *link) outboundFor(relay string, router sfu.RouterID, publishers []sfu.PublisherID, maxHops int) *outbound {
	l.streams.Lock()
	out := l.outbound[relay]
	if out != nil && out.router == router && slices.Equal(out.publishers, publishers) && out.maxHops == maxHops {
		l.streams.Unlock()
		return out
	}
	next := newOutbound(l, router, publishers, maxHops)
	next.closed = l.ended
	l.outbound[relay] = next
	l.streams.Unlock()
	if out != nil {
		out.close()
	}
	return next
}

func (l *link) endOutbound(relay string) {
	l.streams.Lock()
	out := l.outbound[relay]
	delete(l.outbound, relay)
	l.streams.Unlock()
	if out != nil {
		out.close()
	}
}

// publishersChanged lets a peer that pulls from the router ask again.
func (l *link) publishersChanged(router sfu.RouterID) {
	l.streams.Lock()
	concerned := false
	for _, out := range l.outbound {
		concerned = concerned || !l.initiator && out.router == router
	}
	l.streams.Unlock()
	for range demandRepeats {
		if concerned {
			l.control.send(wire.TypeNews, nil)
		}
	}
}

func (out *outbound) matches(id sfu.PublisherID) bool {
	return slices.Contains(out.publishers, "*") || slices.Contains(out.publishers, id)
}

// offers compares with the router and returns the whole set to offer. Streams of sessions that are over end. The error says why publishers that match are not
// in it: they would run in a circle, or too far.
func (out *outbound) offers() (offers []streamOffer, left error) {
	router, err := out.link.node.media.Router(out.router)
	if err != nil {
		out.keep(nil)
		return nil, nil //nolint:nilerr // the router may come
	}
	live := map[sfu.PublisherID]bool{}
	for _, p := range router.Publishers() {
		if !out.matches(p.ID()) || !p.Live() {
			continue
		}
		tracks := p.Tracks() // none of one that publishes data alone
		origin, err := out.route(p)
		if err != nil {
			left = cmp.Or(left, err)
			continue
		}
		live[p.ID()] = true
		offers = append(offers, out.offer(p, tracks, origin))
	}
	out.keep(live)
	return offers, left
}

// route is the publisher's origin with the way to the peer; the error says that it must not go there.
func (out *outbound) route(p *sfu.Publisher) (originTerms, error) {
	origin, self := p.Info().Origin, out.link.node.media.ID()
	hops := append(slices.Clone(origin.Hops), self)
	if slices.Contains(hops, out.link.peer) || origin.NodeID == out.link.peer {
		return originTerms{}, fmt.Errorf("publisher %s: %w", p.ID(), ErrLoop)
	}
	if len(hops) > out.maxHops {
		return originTerms{}, fmt.Errorf("publisher %s: %w", p.ID(), ErrTooManyHops)
	}
	return originTerms{NodeID: origin.NodeID, RouterID: origin.RouterID, PublisherID: origin.PublisherID, Hops: hops}, nil
}

// offer is what the peer is told of a publisher's present session.
func (out *outbound) offer(p *sfu.Publisher, tracks []*sfu.Track, origin originTerms) streamOffer {
	out.mu.Lock()
	defer out.mu.Unlock()
	session := out.sessions[p.ID()]
	if session != nil && slices.Equal(session.tracks, tracks) && slices.Equal(session.offer.Origin.Hops, origin.Hops) {
		return session.offer
	}
	if session != nil {
		session.end()
		session.endData()
	}
	session = &outPublisher{publisher: p, tracks: tracks}
	session.offer = streamOffer{Key: fmt.Sprintf("%s.%d", p.ID(), keys.Add(1)), Origin: origin}
	for _, t := range tracks {
		session.offer.Tracks = append(session.offer.Tracks, describeTrack(t))
	}
	session.prepareData(out.link)
	out.sessions[p.ID()] = session
	return session.offer
}

// keep ends the sessions of all publishers that are not in live.
func (out *outbound) keep(live map[sfu.PublisherID]bool) {
	out.mu.Lock()
	defer out.mu.Unlock()
	for id, session := range out.sessions {
		if !live[id] {
			delete(out.sessions, id)
			session.end()
			session.endData()
		}
	}
}

// accept takes the peer's answers: streams begin for what it has accepted. It returns the first refusal.
func (out *outbound) accept(answers []streamAnswer) (refused error) {
	out.mu.Lock()
	defer out.mu.Unlock()
	if out.closed {
		return errLinkGone
	}
	for _, answer := range answers {
		for _, session := range out.sessions {
			if session.offer.Key == answer.Key {
				refused = cmp.Or(refused, out.acceptLocked(session, answer))
			}
		}
	}
	return refused
}

func (out *outbound) acceptLocked(session *outPublisher, answer streamAnswer) error {
	session.status = answer.Status
	if answer.Status != statusCreated && answer.Status != statusExists {
		session.end()
		session.resetData()
		return fmt.Errorf("publisher %s: %w", session.offer.Origin.PublisherID, errorOf(answer.Status))
	}
	session.acceptData(answer.Data)
	if session.sameHandles(answer.Handles) {
		return nil
	}
	session.end()
	for i, t := range session.tracks {
		for j, layer := range t.Layers() {
			if i >= len(answer.Handles) || j >= len(answer.Handles[i]) || answer.Handles[i][j] >= 1<<24 {
				session.end()
				return fmt.Errorf("publisher %s: handles: %w", session.offer.Origin.PublisherID, ErrVersion)
			}
			session.streams = append(session.streams, &outStream{
				link: out.link, layer: layer, handle: wire.Handle(answer.Handles[i][j]), video: t.Kind.String() == "video", several: len(t.Layers()) > 1,
				publisher: session.offer.Origin.PublisherID, track: t.ID,
			})
		}
	}
	out.link.streams.Lock()
	for _, s := range session.streams {
		out.link.out[s.handle] = s
	}
	out.link.streams.Unlock()
	return nil
}

func (p *outPublisher) sameHandles(handles [][]uint32) bool {
	var flat []uint32
	for _, of := range handles {
		flat = append(flat, of...)
	}
	return len(p.streams) > 0 && slices.EqualFunc(p.streams, flat, func(s *outStream, h uint32) bool { return uint32(s.handle) == h })
}

// end takes the session's streams off the link.
func (p *outPublisher) end() {
	for _, s := range p.streams {
		l := s.link
		l.streams.Lock()
		if l.out[s.handle] == s {
			delete(l.out, s.handle)
		}
		last := len(l.out) == 0
		l.streams.Unlock()
		s.end(last)
	}
	p.streams = nil
}

// close ends everything that goes to the peer.
func (out *outbound) close() {
	out.mu.Lock()
	out.closed = true
	out.mu.Unlock()
	out.keep(nil)
}

// infos lists what goes to the peer, by publisher.
func (out *outbound) infos() []StreamInfo {
	out.mu.Lock()
	defer out.mu.Unlock()
	list := []StreamInfo{}
	for id, session := range out.sessions {
		if len(session.streams) == 0 {
			list = append(list, StreamInfo{PublisherID: id, State: cmp.Or(session.status, "offered")})
		}
		for _, s := range session.streams {
			list = append(list, s.info())
		}
		if session.data != nil {
			list = session.data.appendInfo(list, id)
		}
	}
	sortStreams(list)
	return list
}
