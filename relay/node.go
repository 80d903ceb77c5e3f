package relay

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"rheomesh/relay/wire"
	"rheomesh/sfu"
)

// Node is the relaying side of a media node: its listener, its links and its relays. All methods are safe for concurrent use.
type Node struct {
	config    Config
	media     *sfu.Node
	log       *slog.Logger
	epoch     string // drawn at the start, so that peers notice a restart
	keys      atomic.Pointer[clusterKeys]
	sockets   []*socket
	listeners []net.Listener
	http      *http.Server
	client    *http.Client
	greetings *rate.Limiter // of handshakes, whose arithmetic costs something
	table     [tableSlots]atomic.Pointer[receiver]
	counters  counters
	store     store
	listening *sfu.Listening
	wake      chan struct{} // capacity 1: a token means that a link has something to say
	ctx       context.Context
	cancel    context.CancelFunc
	running   sync.WaitGroup // the node's own goroutines
	tasks     tasks          // what relays, links and requests have under way
	closing   sync.Once

	// mu guards the fields below. It is taken before any lock of a link or relay.
	mu      sync.Mutex
	links   map[string]*link
	dialers map[string]*dialer
	relays  map[orderKey]*Relay
	slots   slotPool
	closed  bool
}

// orderKey names a relay.
type orderKey struct {
	router sfu.RouterID
	relay  string
}

// receiver is whose datagrams come under a handle: a link's control messages when stream and data are nil.
type receiver struct {
	handle wire.Handle
	link   *link
	stream *inStream
	data   *dataStream
}

// Listen opens the relay listener, TCP and UDP on one number, and restores the relays of the last run. Close ends all of it.
func Listen(config Config) (*Node, error) {
	config = config.withDefaults()
	n := &Node{
		config: config, media: config.Media, log: config.Logger, epoch: rand.Text(),
		greetings: rate.NewLimiter(50, 100), store: store{dir: config.DataDir}, wake: make(chan struct{}, 1),
		links: map[string]*link{}, dialers: map[string]*dialer{}, relays: map[orderKey]*Relay{},
	}
	n.keys.Store(newClusterKeys(config.Secret, config.PreviousSecret))
	n.ctx, n.cancel = context.WithCancel(context.Background())
	orders, err := n.store.load()
	if err != nil {
		n.cancel()
		return nil, err
	}
	if err := n.bind(); err != nil {
		n.cancel()
		return nil, fmt.Errorf("listen on relay port %q: %w", config.Addr, err)
	}
	n.start()
	for _, o := range orders {
		n.restore(o)
	}
	return n, nil
}

// start starts the node's goroutines: a reader per UDP socket, a server per TCP listener, the clock, and the watch on the media node's events. They end in Close.
func (n *Node) start() {
	n.client = newClient()
	n.http = newServer(n)
	for _, s := range n.sockets {
		n.running.Go(func() { n.read(s) })
	}
	for _, l := range n.listeners {
		n.running.Go(func() { _ = n.http.Serve(limitConnections(l)) })
	}
	n.running.Go(n.clock)
	n.listening = n.media.Listen(concernsPublishers)
	n.running.Go(n.watch)
}

// Close ends every relay and link and returns when nothing of the node runs any more. Relays are remembered for the next start. It may be called twice.
func (n *Node) Close() error {
	var err error
	n.closing.Do(func() { err = n.close() })
	return err
}

func (n *Node) close() error {
	n.mu.Lock()
	n.closed = true
	relays, links := slices.Collect(maps.Values(n.relays)), slices.Collect(maps.Values(n.links))
	n.mu.Unlock()
	n.cancel()
	for _, r := range relays {
		r.end(false)
	}
	for _, l := range links {
		l.sayBye()
		l.close(ErrClosed)
	}
	errs := []error{n.http.Close()}
	for _, s := range n.sockets {
		errs = append(errs, s.conn.Close())
	}
	n.listening.Close()
	n.running.Wait()
	n.tasks.wait()
	n.client.CloseIdleConnections()
	return errors.Join(errs...)
}

// Addr is where the relay listener is bound; the first of several.
func (n *Node) Addr() netip.AddrPort { return n.sockets[0].conn.LocalAddr() }

// tasks counts what is under way, so that Close can wait for it.
type tasks struct {
	mu      sync.Mutex // guards closed, and is held while group grows
	closed  bool
	running sync.WaitGroup
}

// begin reports whether something may begin; then done must follow. After wait has been called nothing may.
func (t *tasks) begin() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.running.Add(1)
	return true
}

func (t *tasks) done() { t.running.Done() }

// start runs task on a goroutine, unless it is too late.
func (t *tasks) start(task func()) bool {
	if !t.begin() {
		return false
	}
	go func() {
		defer t.done()
		task()
	}()
	return true
}

func (t *tasks) wait() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.running.Wait()
}

// clock looks after what time drives, every tickInterval while there are links, and at once when a link asks. It ends with the node's context.
func (n *Node) clock() {
	timer := time.NewTimer(tickInterval)
	defer timer.Stop()
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-n.wake:
		case <-timer.C:
		}
		links := n.allLinks()
		now := time.Now()
		for _, l := range links {
			l.tick(now)
		}
		if len(links) > 0 {
			timer.Reset(tickInterval)
		}
	}
}

// poke makes the clock look after the links soon.
func (n *Node) poke() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

func (n *Node) allLinks() []*link {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Collect(maps.Values(n.links))
}

func concernsPublishers(e sfu.Event) bool {
	switch e.Type {
	case sfu.EventPublisherLive, sfu.EventPublisherIdle, sfu.EventPublisherRemoved, sfu.EventPublisherLayers, sfu.EventRouterDeleted, sfu.EventRouterCreated, sfu.EventNodeDraining:
		return true
	default:
		return false
	}
}

// watch lets everything that concerns a router compare again when its publishers change. It ends when the listening is closed.
func (n *Node) watch() {
	for e := range n.listening.C() {
		n.mu.Lock()
		relays, links := slices.Collect(maps.Values(n.relays)), slices.Collect(maps.Values(n.links))
		n.mu.Unlock()
		for _, r := range relays {
			if r.order.Router == e.RouterID || e.RouterID == "" {
				r.poke()
			}
		}
		for _, l := range links {
			l.publishersChanged(e.RouterID)
		}
	}
}

// slotPool hands out places of the table. A place that was given back is used again as late as possible, under another generation.
type slotPool struct {
	unused      int // places from here on were never used
	free        []uint16
	generations [tableSlots]uint8
}

func (p *slotPool) take() (wire.Handle, bool) {
	var slot uint16
	switch {
	case p.unused < tableSlots:
		slot = uint16(p.unused)
		p.unused++
	case len(p.free) > 0:
		slot = p.free[0]
		p.free = p.free[1:]
	default:
		return 0, false
	}
	p.generations[slot]++
	return wire.NewHandle(slot, p.generations[slot]), true
}

func (p *slotPool) give(h wire.Handle) { p.free = append(p.free, h.Slot()) }

// reserve draws a handle for r. publish makes datagrams under it come to r; release takes both back.
func (n *Node) reserve(r *receiver) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	handle, ok := n.slots.take()
	if !ok {
		return fmt.Errorf("streams of node: %w", ErrCapacity)
	}
	r.handle = handle
	return nil
}

func (n *Node) publish(r *receiver) { n.table[r.handle.Slot()].Store(r) }

func (n *Node) release(r *receiver) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.table[r.handle.Slot()].CompareAndSwap(r, nil)
	n.slots.give(r.handle)
}
