package whip

import (
	"sync"
	"time"

	"rheomesh/sfu"
)

// refreshInterval is how often every stream is compared with the state of the node. Layers and viewer
// counts change all the time and are sent at this pace; for the rest it mends what a lost event broke.
const refreshInterval = 2 * time.Second

// maxStreams bounds the event streams of one session.
const maxStreams = 4

// publisherKey names a publisher in the node.
type publisherKey struct {
	router    sfu.RouterID
	publisher sfu.PublisherID
}

// hub finds the event streams that a change of the node concerns. One goroutine, Handler.run, feeds
// them all; requests only add, find and drop streams. The zero value with a node is ready.
type hub struct {
	node backend

	mu      sync.Mutex // guards streams, and session.streams of every session
	streams map[publisherKey]map[*stream]struct{}
}

// run feeds event streams and sweeps ended sessions. It ends when Close closes stop, which waits for it.
func (h *Handler) run() {
	feed, unlisten := h.node.listen(concernsStreams)
	defer unlisten()
	ticker := time.NewTicker(refreshInterval)
	defer ticker.Stop()
	for {
		select {
		case <-h.stop:
			return
		case e, open := <-feed:
			if !open { // the node is closing; the sweep goes on
				feed = nil
				continue
			}
			h.events.handle(e)
		case now := <-ticker.C:
			for _, s := range h.sessions.sweep(now) {
				h.events.dropSession(s)
			}
			h.events.refresh()
		}
	}
}

func concernsStreams(e sfu.Event) bool {
	switch e.Type {
	case sfu.EventPublisherLive, sfu.EventPublisherIdle, sfu.EventPublisherRemoved, sfu.EventPublisherLayers, sfu.EventNodeDraining:
		return true
	default:
		return false
	}
}

// handle tells the streams concerned about one event.
func (b *hub) handle(e sfu.Event) {
	if e.Type == sfu.EventNodeDraining {
		b.refresh()
		return
	}
	for _, s := range b.watching(publisherKey{e.RouterID, e.PublisherID}) {
		switch e.Type {
		case sfu.EventPublisherLive:
			s.setActive(true)
			s.sendLayers()
		case sfu.EventPublisherIdle, sfu.EventPublisherRemoved:
			s.setActive(false)
		case sfu.EventPublisherLayers:
			s.sendLayers()
		default: // of no concern to a player
		}
	}
}

// refresh brings every stream up to date.
func (b *hub) refresh() {
	b.mu.Lock()
	keys := make([]publisherKey, 0, len(b.streams))
	for key := range b.streams {
		keys = append(keys, key)
	}
	b.mu.Unlock()
	for _, key := range keys {
		live, viewers := b.node.audience(key.router, key.publisher)
		for _, s := range b.watching(key) {
			s.update(live, viewers, b.node.Draining())
		}
	}
}

// watching is a snapshot of the streams of a publisher.
func (b *hub) watching(key publisherKey) []*stream {
	b.mu.Lock()
	defer b.mu.Unlock()
	watching := make([]*stream, 0, len(b.streams[key]))
	for s := range b.streams[key] {
		watching = append(watching, s)
	}
	return watching
}

// add opens a stream and queues what is known at its start.
func (b *hub) add(s *stream) error {
	key := s.key()
	b.mu.Lock()
	if len(s.session.streams) >= maxStreams {
		b.mu.Unlock()
		return ErrStreamLimit
	}
	if s.session.streams == nil {
		s.session.streams = map[string]*stream{}
	}
	s.session.streams[s.id] = s
	if b.streams == nil {
		b.streams = map[publisherKey]map[*stream]struct{}{}
	}
	if b.streams[key] == nil {
		b.streams[key] = map[*stream]struct{}{}
	}
	b.streams[key][s] = struct{}{}
	b.mu.Unlock()

	live, viewers := b.node.audience(key.router, key.publisher)
	s.update(live, viewers, b.node.Draining())
	if s.session.gone() { // after the sweep may have looked for its streams
		b.dropSession(s.session)
	}
	return nil
}

// find is the stream of a session, nil if there is none of that id.
func (b *hub) find(s *session, id string) *stream {
	b.mu.Lock()
	defer b.mu.Unlock()
	return s.streams[id]
}

// drop closes a stream and forgets it. It reports whether it was there.
func (b *hub) drop(s *session, id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	st, found := s.streams[id]
	if found {
		b.dropLocked(st)
	}
	return found
}

// dropSession closes all streams of a session.
func (b *hub) dropSession(s *session) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, st := range s.streams {
		b.dropLocked(st)
	}
}

func (b *hub) dropLocked(s *stream) {
	key := s.key()
	delete(s.session.streams, s.id)
	delete(b.streams[key], s)
	if len(b.streams[key]) == 0 {
		delete(b.streams, key)
	}
	close(s.dropped)
}
