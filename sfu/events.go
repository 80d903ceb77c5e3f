package sfu

import (
	"sync"
	"sync/atomic"
	"time"
)

// EventType names what happened.
type EventType string

// The events of a node.
const (
	EventRouterCreated    EventType = "router.created"
	EventRouterDeleted    EventType = "router.deleted"
	EventRouterSpeakers   EventType = "router.speakers"
	EventPublisherLive    EventType = "publisher.live"
	EventPublisherIdle    EventType = "publisher.idle"
	EventPublisherRemoved EventType = "publisher.removed"
	EventPublisherLayers  EventType = "publisher.layers"
	EventSubscriberJoined EventType = "subscriber.joined"
	EventSubscriberLeft   EventType = "subscriber.left"
	EventSubscriberLayer  EventType = "subscriber.layer"
	EventDataOpened       EventType = "data.opened"
	EventDataClosed       EventType = "data.closed"
	EventNodeDraining     EventType = "node.draining"
)

// Event says that something happened to the resource that its ids name. Seq counts the events of the node from 1. The resource itself is there too, since by
// then it may be gone from the node's lists; it is as it is now, and not as it was when the event happened.
type Event struct {
	Seq          uint64
	Type         EventType
	Time         time.Time
	RouterID     RouterID
	PublisherID  PublisherID
	SubscriberID SubscriberID

	Router     *Router     // nil when the event is about the node
	Publisher  *Publisher  // nil when it is about the node or a router
	Subscriber *Subscriber // nil when it is not about a subscriber
	Data       *DataEvent  // the channel of EventDataOpened and EventDataClosed
	Subject    any         // what it is about when that is nothing of this package, as Announce got it
}

// listeningCapacity is how many events a listener may be late; then the oldest are dropped and counted.
const listeningCapacity = 256

// hub hands events to listeners. emit never blocks.
type hub struct {
	// mu guards the fields below.
	mu        sync.Mutex
	seq       uint64
	listeners map[*Listening]struct{}
}

// Listening is one listener's queue of events.
type Listening struct {
	hub    *hub
	match  func(Event) bool
	start  uint64
	events chan Event // capacity listeningCapacity; closed by Close
	missed atomic.Uint64
	closed bool // guarded by hub.mu
}

// Announce makes something that happened around the node an event of it, so that one order and one stream hold all events. router may be empty.
func (n *Node) Announce(event EventType, router RouterID, subject any) {
	n.hub.emit(Event{Type: event, RouterID: router, Subject: subject})
}

// Listen queues the node's events from now on for which match is true; a nil match means all. match must be quick and must not call the node.
func (n *Node) Listen(match func(Event) bool) *Listening { return n.hub.listen(match) }

func (h *hub) listen(match func(Event) bool) *Listening {
	l := &Listening{hub: h, match: match, events: make(chan Event, listeningCapacity)}
	h.mu.Lock()
	defer h.mu.Unlock()
	l.start = h.seq
	if h.listeners == nil {
		h.listeners = map[*Listening]struct{}{}
	}
	h.listeners[l] = struct{}{}
	return l
}

func (h *hub) emit(e Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seq++
	e.Seq, e.Time = h.seq, time.Now()
	for l := range h.listeners {
		if l.match == nil || l.match(e) {
			l.push(e)
		}
	}
}

// push drops the oldest event when the listener is too late.
func (l *Listening) push(e Event) {
	for {
		select {
		case l.events <- e:
			return
		default:
		}
		select {
		case <-l.events:
			l.missed.Add(1)
		default:
		}
	}
}

// C delivers the events in order. It is closed by Close.
func (l *Listening) C() <-chan Event { return l.events }

// Start is the Seq of the newest event before the listening began.
func (l *Listening) Start() uint64 { return l.start }

// Missed is how many events were dropped because the listener was late.
func (l *Listening) Missed() uint64 { return l.missed.Load() }

// Close ends the listening; it may be called twice.
func (l *Listening) Close() {
	l.hub.mu.Lock()
	defer l.hub.mu.Unlock()
	if l.closed {
		return
	}
	l.closed = true
	delete(l.hub.listeners, l)
	close(l.events)
}
