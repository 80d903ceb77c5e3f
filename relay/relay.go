package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"rheomesh/sfu"
)

// Relay is a standing order and what has become of it. Its loop compares what should flow with what does, whenever something may have changed, and acts on the
// difference.
type Relay struct {
	node      *Node
	order     Order
	log       *slog.Logger
	createdAt time.Time
	wireID    string        // names the relay to the peer
	stir      chan struct{} // capacity 1: a token means compare again
	stop      context.CancelFunc
	ctx       context.Context // ends with the relay; the loop runs on it
	ended     chan struct{}   // closed by the loop

	// mu guards the fields below.
	mu      sync.Mutex
	state   State
	err     error // behind a state other than active
	link    *link
	out     *outbound // mode push
	in      *inbound  // mode pull
	agreed  string    // what the peer has accepted, so that nothing is sent when nothing has changed
	synced  time.Time
	partial bool // the peer has refused some of it
}

func (n *Node) newRelay(o Order) *Relay {
	r := &Relay{
		node: n, order: o, createdAt: time.Now(), wireID: newRelayID(), stir: make(chan struct{}, 1), ended: make(chan struct{}), state: StateConnecting,
		log: n.log.With("relay_id", o.ID, "router_id", o.Router),
	}
	r.ctx, r.stop = context.WithCancel(n.ctx)
	return r
}

// poke makes the loop compare again soon.
func (r *Relay) poke() {
	select {
	case r.stir <- struct{}{}:
	default:
	}
}

// run is the relay's loop, until its context ends. The first comparison has been made by the request that created the relay, or is made here.
func (r *Relay) run(first error) {
	defer close(r.ended)
	backoff, err := firstBackoff, first
	for {
		delay := resyncEvery
		switch {
		case err == nil:
			backoff = firstBackoff
			if !r.complete() {
				delay = retryEvery
			}
		case errors.Is(err, ErrPublisherTaken), errors.Is(err, errLinkGone):
			delay, backoff = min(retryEvery, 2*backoff), min(2*backoff, lastBackoff)
		default:
			delay = backoff/2 + rand.N(backoff/2)
			backoff = min(2*backoff, lastBackoff)
		}
		if !r.wait(delay, err != nil) {
			return
		}
		err = r.reconcile(r.ctx)
		if r.ctx.Err() != nil {
			return
		}
		r.note(err)
	}
}

// wait waits for the delay, or until something has changed. After an error a change must wait for the least backoff, lest a peer that says no at once be asked in a loop.
func (r *Relay) wait(delay time.Duration, failed bool) bool {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-r.ctx.Done():
		return false
	case <-timer.C:
		return true
	case <-r.stir:
	}
	if !failed {
		return true
	}
	timer.Reset(min(delay, firstBackoff))
	select {
	case <-r.ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// reconcile makes the comparison once. An error says why it is not yet as it should be.
func (r *Relay) reconcile(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout+proveTimeout)
	defer cancel()
	l, err := r.node.dialerFor(r.order.Peer).connect(ctx)
	if err != nil {
		return err
	}
	if l.peer == r.node.media.ID() {
		return fmt.Errorf("peer %s is this node: %w", r.order.Peer, ErrLoop)
	}
	r.adopt(l)
	if !l.up.Load() {
		return fmt.Errorf("link to %s: %w", r.order.Peer, errSilent)
	}
	if r.order.Mode == ModePull {
		err = r.pull(ctx, l)
	} else {
		err = r.push(ctx, l)
	}
	if errors.Is(err, errLinkGone) {
		l.close(errLinkGone)
	}
	return err
}

// adopt moves the relay to a link, if it is another than before.
func (r *Relay) adopt(l *link) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.link == l {
		return
	}
	r.link, r.agreed, r.out, r.in = l, "", nil, nil
	l.setNews(r)
	if r.order.Mode == ModePush {
		r.out = l.outboundFor(r.wireID, r.order.Router, r.order.Publishers, r.order.MaxHops)
	} else {
		r.in = l.inboundFor(r.wireID)
	}
}

// push offers the router's publishers to the peer, steps 2 to 4 of the journey in the package comment.
func (r *Relay) push(ctx context.Context, l *link) error {
	offers, left := r.out.offers()
	if offers == nil {
		offers = []streamOffer{}
	}
	if len(offers) == 0 && left != nil {
		return left
	}
	set := streamSet{Relay: r.wireID, RemoteRouter: r.order.RemoteRouter, MaxHops: r.order.MaxHops, Streams: offers}
	if r.unchanged(offers) {
		return r.explicit(left)
	}
	var answer acceptance
	if err := l.request(ctx, http.MethodPut, "/streams", set, &answer); err != nil {
		if errors.Is(err, ErrRemoteRouter) {
			r.out.keep(nil)
		}
		return err
	}
	refused := r.out.accept(answer.Streams)
	r.noteAgreed(offers, refused)
	if refused != nil && allRefused(answer.Streams) {
		return refused
	}
	return r.explicit(left)
}

// explicit turns "some publisher cannot go there" into the relay's error when that publisher was named; with "*" the others flow and that one never could.
func (r *Relay) explicit(left error) error {
	if left == nil || slices.Contains(r.order.Publishers, "*") {
		return nil
	}
	return left
}

func allRefused(answers []streamAnswer) bool {
	for _, a := range answers {
		if a.Status == statusCreated || a.Status == statusExists {
			return false
		}
	}
	return len(answers) > 0
}

// pull asks the peer what it has, readies receivers for it, and tells it their handles.
func (r *Relay) pull(ctx context.Context, l *link) error {
	order := pullOrder{
		Relay: r.wireID, Router: r.order.RemoteRouter, Publishers: r.order.Publishers, MaxHops: r.order.MaxHops, Accepted: acceptance{Streams: []streamAnswer{}},
	}
	var set streamSet
	if err := l.request(ctx, http.MethodPut, "/pulls", order, &set); err != nil {
		return err
	}
	if !set.valid() {
		return fmt.Errorf("pull: %w", ErrVersion)
	}
	set.RemoteRouter = r.order.Router
	answers, err := r.in.apply(set)
	if err != nil {
		return err
	}
	if len(answers) > 0 {
		order.Accepted.Streams = answers
		if err := l.request(ctx, http.MethodPut, "/pulls", order, &set); err != nil {
			return err
		}
	}
	if allRefused(answers) {
		return errorOf(answers[0].Status)
	}
	return nil
}

// unchanged reports whether the peer has accepted exactly these offers a short while ago.
func (r *Relay) unchanged(offers []streamOffer) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.agreed == fingerprint(offers) && time.Since(r.synced) < resyncEvery
}

// complete reports whether the peer has refused none of what it was offered last.
func (r *Relay) complete() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.partial
}

func (r *Relay) noteAgreed(offers []streamOffer, refused error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.agreed, r.synced = fingerprint(offers), time.Now()
	if r.partial = refused != nil; r.partial {
		r.agreed = ""
	}
}

// fingerprint is never empty, so that "" equals none.
func fingerprint(offers []streamOffer) string {
	var text strings.Builder
	text.WriteString("set")
	for _, o := range offers {
		text.WriteString(" " + o.Key)
	}
	return text.String()
}

// forget makes the next comparison ask the peer again.
func (r *Relay) forget() {
	r.mu.Lock()
	r.agreed = ""
	r.mu.Unlock()
	r.poke()
}

// note takes the outcome of a comparison.
func (r *Relay) note(err error) {
	r.mu.Lock()
	if r.state == StateClosed {
		r.mu.Unlock()
		return
	}
	before, reason := r.state, reasonOf(r.err)
	r.err = err
	r.state = r.stateLocked(err)
	changed := before != r.state || reason != reasonOf(err)
	r.mu.Unlock()
	if changed {
		r.changed(err)
	}
}

func (r *Relay) stateLocked(err error) State {
	switch {
	case errors.Is(err, ErrPeerDraining), err == nil && r.link != nil && r.link.draining.Load(), err == nil && r.node.media.Draining():
		return StateDraining
	case err == nil:
		return StateActive
	case errors.Is(err, errSilent), errors.Is(err, errLinkGone):
		return StateStalled
	case r.state != StateConnecting && r.state != StateFailed && errors.Is(err, ErrUnreachable):
		return StateStalled
	}
	return StateFailed
}

// changed tells whoever listens of the relay's state.
func (r *Relay) changed(err error) {
	info := r.Info()
	level := slog.LevelInfo
	if info.State == StateFailed || info.State == StateStalled {
		level = slog.LevelWarn
	}
	r.log.LogAttrs(context.Background(), level, "relay changed", slog.String("state", string(info.State)), slog.String("reason", info.Reason), slog.Any("err", err))
	if tell := r.node.config.OnChange; tell != nil {
		tell(info)
	}
}

// Info is a snapshot of the relay.
func (r *Relay) Info() Info {
	r.mu.Lock()
	info := Info{Order: r.order, State: r.state, Reason: reasonOf(r.err), CreatedAt: r.createdAt, Streams: []StreamInfo{}}
	l, out, in := r.link, r.out, r.in
	r.mu.Unlock()
	if info.State == StateDraining && info.Reason == "" {
		info.Reason = "draining"
	}
	if l != nil {
		info.LinkID = l.id
	}
	switch {
	case out != nil:
		info.Streams = out.infos()
	case in != nil:
		info.Streams = in.infos()
	}
	return info
}

// end stops the relay. With withdraw, what it carries ends on both sides. It waits for the loop.
func (r *Relay) end(withdraw bool) {
	r.stop()
	<-r.ended
	r.mu.Lock()
	l := r.link
	r.state, r.err = StateClosed, nil
	r.mu.Unlock()
	if !withdraw { // the node stops, and takes the relay up again when it starts
		return
	}
	if l != nil {
		r.withdraw(l)
	}
	r.changed(nil)
}

// withdraw ends what the relay carries, here and, if it can be reached, on the peer; otherwise the link's end does it there.
func (r *Relay) withdraw(l *link) {
	path := "/streams/"
	l.dropNews(r)
	if r.order.Mode == ModePull {
		path = "/pulls/"
		l.endInbound(r.wireID)
	} else {
		l.endOutbound(r.wireID)
	}
	if !l.up.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(r.node.ctx, requestTimeout)
	defer cancel()
	if err := l.request(ctx, http.MethodDelete, path+r.wireID, nil, nil); err != nil {
		r.log.Info("relay not withdrawn from the peer", "err", err)
	}
}

// linkChanged lets the relays on a link compare again when its state has changed.
func (n *Node) linkChanged(l *link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.relays {
		r.mu.Lock()
		concerned := r.link == l
		r.mu.Unlock()
		if concerned {
			r.poke()
		}
	}
}

// setNews makes the peer's news come to a relay: to one that pulls, that there are other streams; to one that pushes, that some ended there.
func (l *link) setNews(r *Relay) {
	l.streams.Lock()
	l.onNews[r.wireID] = r.forget
	l.streams.Unlock()
}

func (l *link) dropNews(r *Relay) {
	l.streams.Lock()
	delete(l.onNews, r.wireID)
	l.streams.Unlock()
}

// publisherIDs is the order's list as a set of one kind: "*" alone, or names.
func publisherIDs(list []sfu.PublisherID) []sfu.PublisherID {
	if slices.Contains(list, "*") {
		return []sfu.PublisherID{"*"}
	}
	return slices.Compact(slices.Sorted(slices.Values(list)))
}
