package whip

import (
	"encoding/json"
	"slices"
	"sync"
)

// Names of the events that a player may ask for (WHEP events draft). scte35 is not among them.
const (
	eventActive      = "active"
	eventInactive    = "inactive"
	eventLayers      = "layers"
	eventViewerCount = "viewercount"
	eventReconnect   = "reconnect"
)

var eventNames = []string{eventActive, eventInactive, eventLayers, eventViewerCount, eventReconnect}

// maxQueued bounds the messages that wait for a reader. Only active and inactive can pile up, since of
// every other event just the newest is kept.
const maxQueued = 64

// message is one server-sent event.
type message struct {
	event string
	data  string // one line of JSON
}

// isState reports whether m is one of the two events that take turns.
func (m message) isState() bool { return m.event == eventActive || m.event == eventInactive }

// reader is the connection that reads a stream.
type reader struct {
	wake chan struct{} // capacity 1: a message is waiting; never closed
	gone chan struct{} // closed when another reader takes over
}

// signal wakes the connection. It never blocks.
func (r *reader) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// stream is one event stream of a session.
type stream struct {
	id      string // unguessable: the capability of its URL
	session *session
	wanted  map[string]bool
	dropped chan struct{} // closed once, by hub.dropLocked

	mu           sync.Mutex // guards the fields below; leaf lock
	queue        []message  // at most maxQueued
	reader       *reader    // nil while nobody reads
	active       bool       // last state that was queued, or would have been if wanted
	viewers      int        // last count that was queued; -1 before the first
	reconnecting bool
}

func newStream(id string, s *session, events []string) *stream {
	st := &stream{id: id, session: s, wanted: map[string]bool{}, dropped: make(chan struct{}), viewers: -1}
	for _, name := range events {
		st.wanted[name] = true
	}
	return st
}

func (s *stream) key() publisherKey { return publisherKey{s.session.router, s.session.publisher} }

// update queues the differences between what the player was told and what is.
func (s *stream) update(live bool, viewers int, draining bool) {
	s.setActive(live)
	s.setViewers(viewers)
	s.setReconnecting(draining)
	s.sendLayers()
}

// setActive queues active or inactive on a change. Streams start out as inactive, so inactive is never
// the initial event.
func (s *stream) setActive(active bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active == active {
		return
	}
	s.active = active
	name := eventInactive
	if active {
		name = eventActive
	}
	s.pushLocked(message{name, "{}"})
}

func (s *stream) setViewers(viewers int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.viewers == viewers {
		return
	}
	s.viewers = viewers
	s.pushLocked(message{eventViewerCount, jsonLine(map[string]int{"viewercount": viewers})})
}

// setReconnecting asks the player to come again when the node starts draining. It names no URL: the
// one that the player knows leads to a node that takes sessions, if there is any.
func (s *stream) setReconnecting(draining bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reconnecting == draining {
		return
	}
	s.reconnecting = draining
	if draining {
		s.pushLocked(message{eventReconnect, "{}"})
	}
}

// sendLayers queues the present layers, if there are any.
func (s *stream) sendLayers() {
	if !s.wanted[eventLayers] {
		return
	}
	layers := layersOf(s.session.media)
	if len(layers) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pushLocked(message{eventLayers, jsonLine(layers)})
}

// pushLocked queues a wanted message and wakes the reader.
func (s *stream) pushLocked(m message) {
	if !s.wanted[m.event] {
		return
	}
	if !m.isState() {
		s.queue = without(s.queue, m.event)
	}
	s.queue = append(s.queue, m)
	if len(s.queue) > maxQueued {
		s.queue = trimmed(s.queue)
	}
	if s.reader != nil {
		s.reader.signal()
	}
}

// trimmed is queue without its oldest change of state and the one that undid it, so that active and
// inactive still alternate.
func trimmed(queue []message) []message {
	kept, dropped := make([]message, 0, len(queue)), 0
	for _, m := range queue {
		if dropped < 2 && m.isState() {
			dropped++
			continue
		}
		kept = append(kept, m)
	}
	return kept
}

// without is queue less its messages of one event.
func without(queue []message, event string) []message {
	return slices.DeleteFunc(queue, func(m message) bool { return m.event == event })
}

// attach makes the caller the reader. One that was there has to leave: it is most likely the dead
// half of a connection that the player has replaced.
func (s *stream) attach() *reader {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reader != nil {
		close(s.reader.gone)
	}
	s.reader = &reader{make(chan struct{}, 1), make(chan struct{})}
	return s.reader
}

// detach ends the reading of r.
func (s *stream) detach(r *reader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reader == r {
		s.reader = nil
	}
}

// take hands all waiting messages to r, which owns them. It has to giveBack what it cannot send.
func (s *stream) take(r *reader) []message {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reader != r {
		return nil
	}
	taken := s.queue
	s.queue = nil
	return taken
}

// giveBack queues messages again, before those that came meanwhile. Of what is only worth its newest
// value, the newer one stays.
func (s *stream) giveBack(taken []message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, newer := range s.queue {
		if !newer.isState() {
			taken = without(taken, newer.event)
		}
	}
	s.queue = append(taken, s.queue...)
	for len(s.queue) > maxQueued {
		s.queue = trimmed(s.queue)
	}
	if s.reader != nil { // another connection has taken over
		s.reader.signal()
	}
}

// jsonLine encodes a value that consists of strings and numbers, which cannot fail.
func jsonLine(v any) string {
	line, err := json.Marshal(v)
	if err != nil {
		panic("whip: " + err.Error())
	}
	return string(line)
}
