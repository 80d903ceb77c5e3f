package sfu

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"rheomesh/internal/sdp"
	"rheomesh/sfu/mediaport"
	"rheomesh/sfu/transport"
)

// Node is one media server: routers over one media port. All methods are safe for concurrent use.
type Node struct {
	id          NodeID
	version     string
	started     time.Time
	log         *slog.Logger
	limits      Limits
	port        *mediaport.Port
	transport   transport.Config
	fingerprint sdp.Fingerprint
	candidates  []string
	workers     []*worker
	hub         hub
	stats       statistics
	draining    atomic.Bool

	// mu guards the fields below.
	mu       sync.Mutex
	routers  map[RouterID]*Router
	sessions map[SessionID]*Session
	halfOpen map[*Session]struct{}
	closed   bool

	closing  sync.Once
	closeErr error // written within closing

	retainLastData bool

	grown    grownLogs
	feedback feedbackLoop
}

// NewNode binds the media port and starts the node's workers. Close ends it.
func NewNode(config Config) (*Node, error) {
	n := &Node{
		id: config.ID, version: config.Version, started: time.Now(), log: config.Logger, limits: config.Limits.withDefaults(),
		routers: map[RouterID]*Router{}, sessions: map[SessionID]*Session{}, halfOpen: map[*Session]struct{}{},
	}
	n.stats.init()
	n.retainLastData = config.RetainLastData
	if n.id == "" {
		n.id = NodeID("node-" + strings.ToLower(rand.Text()[:8]))
	}
	if n.log == nil {
		n.log = slog.New(slog.DiscardHandler)
	}
	certificate, err := loadCertificate(config.DataDir)
	if err != nil {
		return nil, err
	}
	value, err := transport.Fingerprint("sha-256", certificate.Certificate[0])
	if err != nil {
		return nil, err
	}
	n.fingerprint = sdp.Fingerprint{Algorithm: "sha-256", Value: value}
	n.port, err = mediaport.Listen(mediaport.Config{Addr: config.MediaAddr, DisableOffload: config.DisableOffload, AfterBatch: n.grown.tell, Logger: n.log})
	if err != nil {
		return nil, err
	}
	if n.candidates, err = hostCandidates(n.port, config.PublicIPs); err != nil {
		_ = n.port.Close()
		return nil, err
	}
	n.transport = transport.Config{
		Port: n.port, Certificate: certificate, Lite: config.ICELite, AllowLoopback: n.onLoopback(),
		ConnectTimeout: n.limits.ConnectTimeout, SilenceTimeout: n.limits.SilenceTimeout, Logger: n.log, PionLogger: pionLoggers{log: n.log},
	}
	for range runtime.GOMAXPROCS(0) {
		n.workers = append(n.workers, startWorker(n))
	}
	n.grown.workers = n.workers
	return n, nil
}

// onLoopback reports whether the media port is reachable from this machine only.
func (n *Node) onLoopback() bool {
	return !slices.ContainsFunc(n.port.LocalAddrs(), func(a netip.AddrPort) bool { return !a.Addr().IsLoopback() })
}

// Close ends every session, the workers and the media port, and returns when nothing of the node runs any more. It may be called twice.
func (n *Node) Close() error {
	n.closing.Do(func() { n.closeErr = n.close() })
	return n.closeErr
}

func (n *Node) close() error {
	n.mu.Lock()
	n.closed = true
	sessions := make([]*Session, 0, len(n.sessions))
	for _, s := range n.sessions {
		sessions = append(sessions, s)
	}
	n.mu.Unlock()
	for _, s := range sessions {
		s.Close(CloseNode)
	}
	for _, s := range sessions {
		<-s.Done()
	}
	for _, r := range n.Routers() {
		r.closeFeeds(CloseNode)
	}
	n.feedback.close()
	err := n.port.Close()
	n.grown.close()
	for _, w := range n.workers {
		w.close()
	}
	return err
}

// ID is the node's name.
func (n *Node) ID() NodeID { return n.id }

// Version is what the node was built as.
func (n *Node) Version() string { return n.version }

// StartedAt is when the node started.
func (n *Node) StartedAt() time.Time { return n.started }

// Limits are the limits in force.
func (n *Node) Limits() Limits { return n.limits }

// Listener is a bound address of the media port, with what the kernel granted.
type Listener struct {
	Network                           string // "udp" or "tcp"
	Addr                              netip.AddrPort
	GSO, GRO                          bool
	ReadBufferBytes, WriteBufferBytes int
	Reason                            string // why offload is off; empty when it is on
}

// MediaListeners lists the bound addresses of the media port.
func (n *Node) MediaListeners() []Listener {
	var list []Listener
	for i, addr := range n.port.LocalAddrs() {
		c := n.port.Capabilities(i)
		list = append(list, Listener{
			Network: "udp", Addr: addr, GSO: c.GSO, GRO: c.GRO, ReadBufferBytes: c.ReadBufferBytes, WriteBufferBytes: c.WriteBufferBytes, Reason: c.Reason,
		})
	}
	if n.port.TCP() {
		for _, addr := range n.port.LocalAddrs() {
			list = append(list, Listener{Network: "tcp", Addr: addr})
		}
	}
	return list
}

// Candidates lists the addresses that answers advertise, as "host:port/protocol".
func (n *Node) Candidates() []string {
	var list []string
	for _, value := range n.candidates {
		if c, err := sdp.ParseCandidate(value); err == nil {
			list = append(list, c.Address.String()+"/"+c.Transport)
		}
	}
	return list
}

// SetDraining makes the node refuse new sessions, or take them again. Sessions that exist go on.
func (n *Node) SetDraining(draining bool) {
	if n.draining.Swap(draining) != draining && draining {
		n.hub.emit(Event{Type: EventNodeDraining})
	}
}

// Draining reports whether new sessions are refused.
func (n *Node) Draining() bool { return n.draining.Load() }

// PutRouter creates a router, or finds the one that has the id already, whose configuration then stays as it is.
func (n *Node) PutRouter(id RouterID, config RouterConfig) (r *Router, created bool, err error) {
	if !ValidID(string(id)) {
		return nil, false, fmt.Errorf("router: %w", ErrIDInvalid)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if r := n.routers[id]; r != nil {
		return r, false, nil
	}
	if n.closed {
		return nil, false, fmt.Errorf("router %s: %w", id, ErrClosed)
	}
	if len(n.routers) >= n.limits.MaxRouters {
		n.stats.reject(rejectRouters)
		return nil, false, fmt.Errorf("router %s: routers of node: %w", id, ErrCapacity)
	}
	r = &Router{
		id: id, node: n, config: config, createdAt: time.Now(), publishers: map[PublisherID]*Publisher{}, subscribers: map[SubscriberID]*Subscriber{},
		feeds: map[*Feed]struct{}{}, speakers: newSpeakers(),
	}
	n.routers[id] = r
	n.hub.emit(Event{Type: EventRouterCreated, RouterID: id, Router: r})
	return r, true, nil
}

// Router finds a router.
func (n *Node) Router(id RouterID) (*Router, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if r := n.routers[id]; r != nil {
		return r, nil
	}
	return nil, fmt.Errorf("router %s: %w", id, ErrRouterNotFound)
}

// Routers lists the routers, by id.
func (n *Node) Routers() []*Router {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := make([]*Router, 0, len(n.routers))
	for _, r := range n.routers {
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b *Router) int { return cmp.Compare(a.id, b.id) })
	return list
}

// DeleteRouter ends every session in the router and forgets it.
func (n *Node) DeleteRouter(id RouterID) error {
	n.mu.Lock()
	r := n.routers[id]
	delete(n.routers, id)
	n.mu.Unlock()
	if r == nil {
		return fmt.Errorf("router %s: %w", id, ErrRouterNotFound)
	}
	r.close(CloseRouterDeleted)
	n.hub.emit(Event{Type: EventRouterDeleted, RouterID: id, Router: r})
	return nil
}

// Session finds a session by its capability.
func (n *Node) Session(id SessionID) (*Session, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if s := n.sessions[id]; s != nil {
		return s, nil
	}
	return nil, ErrSessionNotFound
}

// addSession books a new session with the node's limits.
func (n *Node) addSession(s *Session) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.closed:
		return ErrClosed
	case n.draining.Load():
		n.stats.reject(rejectDraining)
		return ErrDraining
	case len(n.sessions) >= n.limits.MaxSessions:
		n.stats.reject(rejectSessions)
		return fmt.Errorf("sessions of node: %w", ErrCapacity)
	case len(n.halfOpen) >= n.limits.MaxHalfOpen:
		n.stats.reject(rejectHalfOpen)
		return fmt.Errorf("connecting sessions of node: %w", ErrCapacity)
	case n.manyLocked(s.clientIP, rejectSessionsIP, n.limits.MaxSessionsPerIP, maps.Values(n.sessions)):
		return fmt.Errorf("connected or not: %w", ErrRateLimited)
	case n.manyLocked(s.clientIP, rejectHalfOpenIP, n.limits.MaxHalfOpenPerIP, maps.Keys(n.halfOpen)):
		return fmt.Errorf("still connecting: %w", ErrRateLimited)
	}
	n.sessions[s.id] = s
	n.halfOpen[s] = struct{}{}
	return nil
}

// manyLocked reports whether an address has as many of the sessions as it may, and then counts the rejection. A loopback address stands for many clients, behind
// a proxy or in a test.
func (n *Node) manyLocked(ip netip.Addr, reason string, limit int, sessions iter.Seq[*Session]) bool {
	if !ip.IsValid() || ip.IsLoopback() {
		return false
	}
	count := 0
	for s := range sessions {
		if s.clientIP == ip {
			count++
		}
	}
	if count >= limit {
		n.stats.reject(reason)
	}
	return count >= limit
}

func (n *Node) sessionConnected(s *Session, took time.Duration) {
	n.mu.Lock()
	delete(n.halfOpen, s)
	n.mu.Unlock()
	n.stats.setup[s.role].observe(int64(took))
}

func (n *Node) removeSession(s *Session) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.sessions, s.id)
	delete(n.halfOpen, s)
}

func (n *Node) sessionsOf(r *Router) []*Session {
	n.mu.Lock()
	defer n.mu.Unlock()
	var list []*Session
	for _, s := range n.sessions {
		if s.router == r {
			list = append(list, s)
		}
	}
	return list
}

// workerSlack is by how many subscribers a worker may exceed the idlest one for the sake of keeping a publisher's viewers together: a packet then wakes one
// worker and not all.
const workerSlack = 16

// assignWorker chooses the worker of a new subscriber: the one that serves the publisher's other viewers, unless it has too many more than the idlest.
func (n *Node) assignWorker(p *Publisher) *worker {
	n.mu.Lock()
	defer n.mu.Unlock()
	idlest := n.idlestLocked()
	if p.worker == nil || p.worker.assigned > idlest.assigned+workerSlack {
		p.worker = idlest
	}
	p.worker.assigned++
	return p.worker
}

func (n *Node) idlestLocked() *worker {
	return slices.MinFunc(n.workers, func(a, b *worker) int { return cmp.Compare(a.assigned, b.assigned) })
}

// unassignWorker books a subscriber that left.
func (n *Node) unassignWorker(w *worker) {
	n.mu.Lock()
	w.assigned--
	n.mu.Unlock()
}

func (n *Node) addIngest(in *ingest)    { n.feedback.add(in) }
func (n *Node) removeIngest(in *ingest) { n.feedback.remove(in) }

func (n *Node) countResources(out *NodeStats) {
	n.mu.Lock()
	out.Routers, out.Sessions, out.HalfOpen = len(n.routers), len(n.sessions), len(n.halfOpen)
	for _, s := range n.sessions {
		if s.role == RolePublish {
			out.PublishSessions++
		}
	}
	out.SubscribeSessions = out.Sessions - out.PublishSessions
	n.mu.Unlock()
	for _, r := range n.Routers() {
		r.mu.Lock()
		out.Publishers += r.fedLocked()
		out.Subscribers += len(r.subscribers)
		r.mu.Unlock()
	}
}
