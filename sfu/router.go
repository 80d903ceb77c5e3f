package sfu

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"rheomesh/internal/sdp"
)

// Router is a named meeting point: only what is in the same router can be subscribed to each other.
type Router struct {
	id        RouterID
	node      *Node
	createdAt time.Time
	speakers  *speakers

	// mu guards the fields below. It is taken before Publisher.mu.
	mu          sync.Mutex
	config      RouterConfig // replaced as a whole; what it points to is never changed
	publishers  map[PublisherID]*Publisher
	subscribers map[SubscriberID]*Subscriber
	feeds       map[*Feed]struct{}
	viewers     int // sessions that subscribe, those included that have not joined yet
	deleted     bool
}

// RouterConfig is what an operator may set of a router. A zero limit means the node's.
type RouterConfig struct {
	Metadata                      map[string]string
	MaxPublishers, MaxSubscribers int
	// Codecs are the names of those that publishers may send; empty means all.
	Codecs []string
}

// ID is the router's name.
func (r *Router) ID() RouterID { return r.id }

// CreatedAt is when the router was created.
func (r *Router) CreatedAt() time.Time { return r.createdAt }

// Config is what the router was created with, or last updated to. The caller must not change what it points to.
func (r *Router) Config() RouterConfig {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.config
}

// Update replaces the configuration, which the router then owns. It counts for sessions that begin later: those that
// exist go on, even beyond a lowered limit.
func (r *Router) Update(config RouterConfig) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.deleted {
		return fmt.Errorf("update router %s: %w", r.id, ErrRouterNotFound)
	}
	r.config = config
	return nil
}

// Publishers lists those that are live or waited for, by id.
func (r *Router) Publishers() []*Publisher {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]*Publisher, 0, len(r.publishers))
	for _, p := range r.publishers {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b *Publisher) int { return cmp.Compare(a.id, b.id) })
	return list
}

// Publisher finds one by id.
func (r *Router) Publisher(id PublisherID) (*Publisher, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.publishers[id]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("publisher %s/%s: %w", r.id, id, ErrPublisherNotFound)
}

// Subscribers lists the router's viewers, by id.
func (r *Router) Subscribers() []*Subscriber {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]*Subscriber, 0, len(r.subscribers))
	for _, s := range r.subscribers {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b *Subscriber) int { return cmp.Compare(a.id, b.id) })
	return list
}

// Subscriber finds one by id.
func (r *Router) Subscriber(id SubscriberID) (*Subscriber, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.subscribers[id]; s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("subscriber %s/%s: %w", r.id, id, ErrSubscriberNotFound)
}

// ConflictPolicy says what happens when a publisher is live already.
type ConflictPolicy int

// The conflict policies.
const (
	ConflictReplace ConflictPolicy = iota // the new session wins: encoders reconnect while their old session still looks alive
	ConflictReject                        // the old session stays
)

// PublishRequest asks to publish.
type PublishRequest struct {
	Publisher  PublisherID
	Offer      []byte
	OnConflict ConflictPolicy
	ClientIP   netip.Addr
	UserAgent  string
}

// SubscribeRequest asks to watch a publisher, which may come later.
type SubscribeRequest struct {
	Publisher PublisherID
	Offer     []byte
	// RequireLive refuses with ErrPublisherAbsent while the publisher is not live.
	RequireLive bool
	// SendData lets the viewer send data messages to the publisher.
	SendData  bool
	ClientIP  netip.Addr
	UserAgent string
}

// Publish answers a publisher's offer. The session feeds the publisher once the client has connected.
func (r *Router) Publish(req PublishRequest) (*Session, error) {
	offer, err := r.admitOffer(req.Publisher, req.Offer, sdp.CheckPublish)
	if err != nil {
		return nil, fmt.Errorf("publish %s/%s: %w", r.id, req.Publisher, err)
	}
	s, err := r.newSession(RolePublish, req.Publisher, req.ClientIP, req.UserAgent)
	if err != nil {
		return nil, fmt.Errorf("publish %s/%s: %w", r.id, req.Publisher, err)
	}
	err = s.publish(offer, req.OnConflict)
	if err != nil {
		s.Close(CloseProtocol)
	}
	s.made()
	if err != nil {
		return nil, fmt.Errorf("publish %s/%s: %w", r.id, req.Publisher, err)
	}
	return s, nil
}

// Subscribe answers a viewer's offer.
func (r *Router) Subscribe(req SubscribeRequest) (*Session, error) {
	offer, err := r.admitOffer(req.Publisher, req.Offer, sdp.CheckPlay)
	if err != nil {
		return nil, fmt.Errorf("subscribe %s/%s: %w", r.id, req.Publisher, err)
	}
	return r.subscribe(req, func(s *Session) error { return s.answerPlayer(offer) })
}

// OfferSubscription makes the offer ourselves, for a player that wants it so. Session.Accept takes the player's answer.
func (r *Router) OfferSubscription(req SubscribeRequest) (*Session, error) {
	if !ValidID(string(req.Publisher)) {
		return nil, fmt.Errorf("subscribe %s/%s: publisher: %w", r.id, req.Publisher, ErrIDInvalid)
	}
	return r.subscribe(req, (*Session).offerPlayer)
}

func (r *Router) subscribe(req SubscribeRequest, negotiate func(*Session) error) (*Session, error) {
	if req.RequireLive && !r.live(req.Publisher) {
		return nil, fmt.Errorf("subscribe %s/%s: %w", r.id, req.Publisher, ErrPublisherAbsent)
	}
	s, err := r.newSession(RoleSubscribe, req.Publisher, req.ClientIP, req.UserAgent)
	if err != nil {
		return nil, fmt.Errorf("subscribe %s/%s: %w", r.id, req.Publisher, err)
	}
	s.maySendData = req.SendData
	err = negotiate(s)
	if err != nil {
		s.Close(CloseProtocol)
	} else {
		r.emit(EventSubscriberJoined, s.publisher, s.subscriber) // before made, after which it may leave
	}
	s.made()
	if err != nil {
		return nil, fmt.Errorf("subscribe %s/%s: %w", r.id, req.Publisher, err)
	}
	return s, nil
}

func (r *Router) live(id PublisherID) bool {
	p, err := r.Publisher(id)
	return err == nil && p.Live()
}

// admitOffer refuses what can be refused before anything is allocated for it.
func (r *Router) admitOffer(id PublisherID, text []byte, check func(*sdp.Description) error) (*sdp.Description, error) {
	if !ValidID(string(id)) {
		return nil, fmt.Errorf("publisher: %w", ErrIDInvalid)
	}
	if r.node.Draining() {
		r.node.stats.reject(rejectDraining)
		return nil, ErrDraining
	}
	offer, err := sdp.Parse(text, sdp.DefaultLimits)
	if err == nil {
		err = check(offer)
	}
	if err != nil {
		r.node.stats.reject(rejectOffer)
		return nil, offerError(err)
	}
	return offer, nil
}

// newSession books a session with the node's and the router's limits. The caller puts it together and then calls made.
func (r *Router) newSession(role Role, id PublisherID, ip netip.Addr, agent string) (*Session, error) {
	s := &Session{
		id: newSessionID(), role: role, router: r, publisherID: id, clientIP: ip.Unmap(), createdAt: time.Now(), done: make(chan struct{}), making: true,
	}
	s.log = r.node.log.With("router_id", r.id, "publisher_id", id, "role", role.String())
	publisher, err := r.admit(role, id)
	if err != nil {
		return nil, err
	}
	s.publisher = publisher
	if err := r.node.addSession(s); err != nil {
		r.drop(publisher, role)
		return nil, err
	}
	if r.isDeleted() { // since admit; whoever deletes it may not have seen the session
		s.Close(CloseRouterDeleted)
	}
	s.log.Debug("session created", "client_ip", ip, "user_agent", agent)
	return s, nil
}

// admit finds or makes the publisher that a session or a feed is for, within the router's limits.
func (r *Router) admit(role Role, id PublisherID) (*Publisher, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.deleted {
		return nil, ErrRouterNotFound
	}
	limits := r.node.limits
	if role == RoleSubscribe && r.viewers >= orDefault(r.config.MaxSubscribers, limits.MaxSubscribersPerRouter) {
		r.node.stats.reject(rejectSubscribers)
		return nil, fmt.Errorf("subscribers of router: %w", ErrCapacity)
	}
	p := r.publishers[id]
	if role == RolePublish && (p == nil || !p.fed()) && r.fedLocked() >= orDefault(r.config.MaxPublishers, limits.MaxPublishersPerRouter) {
		r.node.stats.reject(rejectPublishers)
		return nil, fmt.Errorf("publishers of router: %w", ErrCapacity)
	}
	if p == nil {
		p = &Publisher{id: id, router: r, subscribers: map[SubscriberID]*Subscriber{}}
		r.publishers[p.id] = p
	}
	p.mu.Lock()
	p.held++
	if role == RolePublish {
		p.feeding++
	} else {
		r.viewers++
	}
	p.mu.Unlock()
	return p, nil
}

// fedLocked counts the publishers that a session feeds; those that are only waited for are bounded by their viewers.
func (r *Router) fedLocked() (n int) {
	for _, p := range r.publishers {
		if p.fed() {
			n++
		}
	}
	return n
}

func orDefault(value, standard int) int {
	if value == 0 {
		return standard
	}
	return value
}

func (r *Router) isDeleted() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.deleted
}

// drop lets go of a publisher that a session or a feed held; the last one removes it.
func (r *Router) drop(p *Publisher, role Role) {
	r.mu.Lock()
	p.mu.Lock()
	p.held--
	if role == RolePublish {
		p.feeding--
	} else {
		r.viewers--
	}
	remove := p.held == 0
	p.mu.Unlock()
	if remove {
		delete(r.publishers, p.id)
	}
	r.mu.Unlock()
	if remove {
		r.emit(EventPublisherRemoved, p, nil)
	}
}

func (r *Router) addSubscriber(s *Subscriber) {
	r.mu.Lock()
	r.subscribers[s.id] = s
	r.mu.Unlock()
}

func (r *Router) removeSubscriber(s *Subscriber) {
	r.mu.Lock()
	delete(r.subscribers, s.id)
	r.mu.Unlock()
	r.emit(EventSubscriberLeft, s.publisher, s)
}

// close ends every session and feed in the router.
func (r *Router) close(reason CloseReason) {
	r.mu.Lock()
	r.deleted = true
	r.mu.Unlock()
	r.closeFeeds(reason)
	sessions := r.node.sessionsOf(r)
	for _, s := range sessions {
		s.Close(reason)
	}
	for _, s := range sessions {
		<-s.Done()
	}
}

// emit tells of an event of a publisher, or of a subscriber when it is not nil.
func (r *Router) closeFeeds(reason CloseReason) {
	r.mu.Lock()
	feeds := slices.Collect(maps.Keys(r.feeds))
	r.mu.Unlock()
	for _, f := range feeds {
		f.Close(reason)
	}
}

// emitLayers tells listeners that a publisher's layers look different.
func (r *Router) emitLayers(p *Publisher) { r.emit(EventPublisherLayers, p, nil) }

func (r *Router) emit(t EventType, p *Publisher, s *Subscriber) {
	e := Event{Type: t, RouterID: r.id, PublisherID: p.id, Router: r, Publisher: p, Subscriber: s}
	if s != nil {
		e.SubscriberID = s.id
	}
	r.node.hub.emit(e)
}
