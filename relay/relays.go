package relay

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"

	"rheomesh/sfu"
)

func newRelayID() string { return rand.Text()[:16] }

// Put carries out an order, or finds that it is being carried out; an order of the same id with another peer, router or mode is a conflict. A new one is tried once
// before Put returns: when it cannot work, the error says why and nothing is left behind.
func (n *Node) Put(ctx context.Context, o Order) (r *Relay, created bool, err error) {
	o = o.withDefaults()
	o.Publishers = publisherIDs(o.Publishers)
	if err := o.check(); err != nil {
		return nil, false, fmt.Errorf("relay %s/%s: %w", o.Router, o.ID, err)
	}
	if _, err := n.media.Router(o.Router); err != nil {
		return nil, false, fmt.Errorf("relay %s: %w", o.ID, err)
	}
	r, created, err = n.add(o)
	if err != nil || !created {
		return r, false, err
	}
	err = r.reconcile(ctx)
	if err != nil {
		r.abandon()
		return nil, false, fmt.Errorf("relay %s/%s: %w", o.Router, o.ID, err)
	}
	n.launch(r, nil)
	r.note(nil)
	n.save()
	return r, true, nil
}

// add books a new relay; one that is there already is returned when it is the same.
func (n *Node) add(o Order) (r *Relay, created bool, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	key := orderKey{o.Router, o.ID}
	switch r = n.relays[key]; {
	case n.closed:
		return nil, false, ErrClosed
	case r != nil && r.order.same(o):
		return r, false, nil
	case r != nil:
		return nil, false, fmt.Errorf("relay %s/%s: %w", o.Router, o.ID, ErrOrderConflict)
	case len(n.relays) >= maxRelays:
		return nil, false, fmt.Errorf("relays of node: %w", ErrCapacity)
	}
	r = n.newRelay(o)
	n.relays[key] = r
	return r, true, nil
}

// launch starts the relay's loop, which ends when the relay does.
func (n *Node) launch(r *Relay, first error) {
	if !n.tasks.start(func() { r.run(first) }) {
		close(r.ended)
	}
}

// abandon takes back a relay whose first try failed.
func (r *Relay) abandon() {
	close(r.ended)
	r.stop()
	n := r.node
	n.mu.Lock()
	delete(n.relays, orderKey{r.order.Router, r.order.ID})
	n.mu.Unlock()
	r.mu.Lock()
	l := r.link
	r.mu.Unlock()
	if l != nil {
		r.withdraw(l)
	}
	n.retire(r.order.Peer)
}

// restore takes an order of the last run up again. Its peer may be away; it is tried until it works or is deleted.
func (n *Node) restore(o Order) {
	r, created, err := n.add(o)
	if err != nil || !created {
		return
	}
	n.launch(r, ErrUnreachable)
}

// Delete ends a relay.
func (n *Node) Delete(router sfu.RouterID, id string) error {
	n.mu.Lock()
	r := n.relays[orderKey{router, id}]
	delete(n.relays, orderKey{router, id})
	n.mu.Unlock()
	if r == nil {
		return fmt.Errorf("relay %s/%s: %w", router, id, ErrRelayNotFound)
	}
	r.end(true)
	n.retire(r.order.Peer)
	n.save()
	return nil
}

// retire ends the link to a peer that no relay needs any more.
func (n *Node) retire(peer string) {
	n.mu.Lock()
	d := n.dialers[peer]
	for _, r := range n.relays {
		if r.order.Peer == peer {
			d = nil
		}
	}
	if d != nil {
		delete(n.dialers, peer)
	}
	n.mu.Unlock()
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.link != nil {
		d.link.sayBye()
		d.link.close(ErrClosed)
	}
}

// Relay finds a relay.
func (n *Node) Relay(router sfu.RouterID, id string) (*Relay, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if r := n.relays[orderKey{router, id}]; r != nil {
		return r, nil
	}
	return nil, fmt.Errorf("relay %s/%s: %w", router, id, ErrRelayNotFound)
}

// Relays lists the relays of a router, by id.
func (n *Node) Relays(router sfu.RouterID) []*Relay {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := []*Relay{}
	for key, r := range n.relays {
		if key.router == router {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b *Relay) int { return cmp.Compare(a.order.ID, b.order.ID) })
	return list
}

// Links lists the node's links, by id.
func (n *Node) Links() []LinkInfo {
	list := []LinkInfo{}
	for _, l := range n.allLinks() {
		list = append(list, l.info())
	}
	slices.SortFunc(list, func(a, b LinkInfo) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// Link finds a link.
func (n *Node) Link(id string) (LinkInfo, error) {
	n.mu.Lock()
	l := n.links[id]
	n.mu.Unlock()
	if l == nil {
		return LinkInfo{}, fmt.Errorf("link %s: %w", id, ErrLinkNotFound)
	}
	return l.info(), nil
}

// DeleteLink ends a link. Relays that need it make a new one.
func (n *Node) DeleteLink(id string) error {
	n.mu.Lock()
	l := n.links[id]
	n.mu.Unlock()
	if l == nil {
		return fmt.Errorf("link %s: %w", id, ErrLinkNotFound)
	}
	l.sayBye()
	l.close(errLinkGone)
	n.linkChanged(l)
	return nil
}

// save writes the present orders down for the next start.
func (n *Node) save() {
	n.mu.Lock()
	relays := slices.Collect(maps.Values(n.relays))
	n.mu.Unlock()
	orders := make([]Order, 0, len(relays))
	for _, r := range relays {
		orders = append(orders, r.order)
	}
	slices.SortFunc(orders, func(a, b Order) int { return cmp.Or(cmp.Compare(a.Router, b.Router), cmp.Compare(a.ID, b.ID)) })
	if err := n.store.save(orders); err != nil {
		n.log.Error("relays not saved: they will be missing after a restart", "err", err)
	}
}
