package relay

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"rheomesh/relay/wire"
	"rheomesh/sfu"
)

// inbound is the edge's half of one relay: the publishers that the peer feeds here.
type inbound struct {
	link *link

	mu     sync.Mutex // guards the fields below; held over apply
	router sfu.RouterID
	feeds  map[string]*inFeed // by key of the offer
	closed bool
}

// inFeed is one publisher that is fed over the link.
type inFeed struct {
	link    *link
	in      *inbound
	key     string
	feed    *sfu.Feed
	streams [][]*inStream
	data    atomic.Pointer[inData] // nil where the peer has none
}

// inboundFor finds or makes the half for a relay of the peer.
func (l *link) inboundFor(relay string) *inbound {
	l.streams.Lock()
	defer l.streams.Unlock()
	in := l.inbound[relay]
	if in == nil {
		in = &inbound{link: l, feeds: map[string]*inFeed{}, closed: l.ended}
		l.inbound[relay] = in
	}
	return in
}

func (l *link) endInbound(relay string) {
	l.streams.Lock()
	in := l.inbound[relay]
	delete(l.inbound, relay)
	l.streams.Unlock()
	if in != nil {
		in.close()
	}
}

// apply makes the feeds what the peer says that they should be: new ones begin, those that are not named any more end. Doing it twice changes nothing.
func (in *inbound) apply(set streamSet) ([]streamAnswer, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return nil, errLinkGone
	}
	router, err := in.link.node.media.Router(set.RemoteRouter)
	if err != nil {
		in.endAllLocked()
		return nil, fmt.Errorf("router %s: %w", set.RemoteRouter, ErrRemoteRouter)
	}
	in.router = set.RemoteRouter
	in.endAbsentLocked(set)
	answers := make([]streamAnswer, 0, len(set.Streams))
	for _, offer := range set.Streams {
		answers = append(answers, in.takeLocked(router, offer, set.MaxHops))
	}
	return answers, nil
}

func (in *inbound) endAbsentLocked(set streamSet) {
	keep := map[string]bool{}
	for _, offer := range set.Streams {
		keep[offer.Key] = true
	}
	for key, f := range in.feeds {
		if !keep[key] {
			delete(in.feeds, key)
			f.end(sfu.ClosePeer)
		}
	}
}

func (in *inbound) endAllLocked() {
	for key, f := range in.feeds {
		delete(in.feeds, key)
		f.end(sfu.ClosePeer)
	}
}

// takeLocked is steps 2 and 3 for one stream: does it exist already, and if not, ready its receiver.
func (in *inbound) takeLocked(router *sfu.Router, offer streamOffer, maxHops int) streamAnswer {
	if f := in.feeds[offer.Key]; f != nil {
		return streamAnswer{Key: offer.Key, Status: statusExists, Handles: f.handles(), Data: f.dataHandle()}
	}
	f, err := in.begin(router, offer, maxHops)
	if err != nil {
		in.link.log.Info("relayed publisher refused", "router_id", router.ID(), "publisher_id", offer.Origin.PublisherID, "err", err)
		return streamAnswer{Key: offer.Key, Status: reasonOf(err)}
	}
	in.feeds[offer.Key] = f
	f.feed.Start()
	in.link.node.poke()
	in.link.log.Info("relayed publisher begins", "router_id", router.ID(), "publisher_id", offer.Origin.PublisherID)
	return streamAnswer{Key: offer.Key, Status: statusCreated, Handles: f.handles(), Data: f.dataHandle()}
}

func (in *inbound) begin(router *sfu.Router, offer streamOffer, maxHops int) (*inFeed, error) {
	if slices.Contains(offer.Origin.Hops, in.link.node.media.ID()) {
		return nil, ErrLoop
	}
	if len(offer.Origin.Hops) > maxHops {
		return nil, ErrTooManyHops
	}
	f := &inFeed{link: in.link, in: in, key: offer.Key}
	request := sfu.FeedRequest{
		Publisher: offer.Origin.PublisherID, Source: f,
		Origin: sfu.Origin{NodeID: offer.Origin.NodeID, RouterID: offer.Origin.RouterID, PublisherID: offer.Origin.PublisherID, Hops: offer.Origin.Hops},
	}
	for _, t := range offer.Tracks {
		request.Tracks = append(request.Tracks, t.description())
	}
	feed, err := router.NewFeed(request)
	if err != nil {
		return nil, feedError(err)
	}
	f.feed = feed
	err = f.receive(offer)
	if err == nil {
		err = f.receiveData(offer)
	}
	if err != nil {
		f.end(sfu.CloseNode)
		return nil, err
	}
	return f, nil
}

// feedError says in our own words why a feed cannot be.
func feedError(err error) error {
	switch {
	case errors.Is(err, sfu.ErrPublisherLive):
		return fmt.Errorf("%w: %w", ErrPublisherTaken, err)
	case errors.Is(err, sfu.ErrCapacity):
		return fmt.Errorf("%w: %w", ErrCapacity, err)
	case errors.Is(err, sfu.ErrRouterNotFound):
		return fmt.Errorf("%w: %w", ErrRemoteRouter, err)
	default:
		return err
	}
}

// receive readies a receiver for each layer.
func (f *inFeed) receive(offer streamOffer) error {
	l := f.link
	for i, layers := range f.feed.Layers() {
		var streams []*inStream
		for j, layer := range layers {
			s := &inStream{link: l, layer: layer, rid: offer.Tracks[i].RIDs[j], track: offer.Tracks[i].ID}
			s.receiver = &receiver{link: l, stream: s}
			if err := l.node.reserve(s.receiver); err != nil {
				f.streams = append(f.streams, streams)
				return err
			}
			streams = append(streams, s)
			l.streams.Lock()
			l.in[s.receiver.handle] = s
			l.streams.Unlock()
			l.node.publish(s.receiver)
		}
		f.streams = append(f.streams, streams)
	}
	return nil
}

func (f *inFeed) handles() [][]uint32 {
	handles := make([][]uint32, len(f.streams))
	for i, streams := range f.streams {
		for _, s := range streams {
			handles[i] = append(handles[i], uint32(s.receiver.handle))
		}
	}
	return handles
}

// stream finds the stream of a layer.
func (f *inFeed) stream(layer *sfu.FeedLayer) *inStream {
	for _, streams := range f.streams {
		for _, s := range streams {
			if s.layer == layer {
				return s
			}
		}
	}
	return nil
}

// end takes the publisher off the air and its streams off the link.
func (f *inFeed) end(reason sfu.CloseReason) {
	l := f.link
	for _, streams := range f.streams {
		for _, s := range streams {
			l.node.release(s.receiver)
			l.streams.Lock()
			delete(l.in, s.receiver.handle)
			l.streams.Unlock()
		}
	}
	if data := f.data.Load(); data != nil {
		data.close()
	}
	f.feed.Close(reason)
}

// FeedClosed implements sfu.FeedSource: an operator or the router's end has closed the feed. It is told to the peer, which then compares again.
func (f *inFeed) FeedClosed(*sfu.Feed, sfu.CloseReason) {
	f.link.node.tasks.start(func() {
		f.in.mu.Lock()
		known := f.in.feeds[f.key] == f
		if known {
			delete(f.in.feeds, f.key)
			f.end(sfu.ClosePeer)
		}
		f.in.mu.Unlock()
		if known {
			f.link.tellNews()
		}
	})
}

// tellNews lets both sides compare again: the peer by a message, repeated as it may get lost, and the relay of this node, if the link is its own.
func (l *link) tellNews() {
	for range demandRepeats {
		l.control.send(wire.TypeNews, nil)
	}
	l.heardNews()
}

// heardNews lets the relays of this node on the link ask the peer again.
func (l *link) heardNews() {
	l.streams.Lock()
	listeners := slices.Collect(maps.Values(l.onNews))
	l.streams.Unlock()
	for _, tell := range listeners { // without the lock: they take others
		tell()
	}
}

// settle pauses the feeds while the link is down.
func (in *inbound) settle() {
	in.mu.Lock()
	defer in.mu.Unlock()
	up := in.link.up.Load() // under the lock, so that of two that settle the later one wins
	for _, f := range in.feeds {
		if up {
			f.feed.Resume()
		} else {
			f.feed.Pause()
		}
	}
}

// close ends all feeds.
func (in *inbound) close() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.closed = true
	in.endAllLocked()
}

func (in *inbound) keys() []string {
	in.mu.Lock()
	defer in.mu.Unlock()
	return slices.Sorted(maps.Keys(in.feeds))
}
