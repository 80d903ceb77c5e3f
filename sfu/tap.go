package sfu

import "slices"

// Sink takes the packets of layers somewhere else than to a viewer of this node. It holds a position (a cursor) in each log that it is attached to, and must
// keep up: the log forgets.
type Sink interface {
	// Advance moves the sink's cursor over what the log has got. It runs on the worker of its Tap, in a round, and must not block.
	Advance(l *Log, now int64)
}

// Sender is what sinks of one Tap share: Flush sends what their Advances have gathered, once per round of the worker.
type Sender interface{ Flush(now int64) }

// Tap is a place for sinks on one of the node's workers, which owns whatever state they and the sender have: nothing of it needs a lock.
type Tap struct {
	worker *worker
	sender Sender
}

// NewTap puts sender under a worker. Close takes it away again.
func (n *Node) NewTap(sender Sender) *Tap {
	n.mu.Lock()
	t := &Tap{worker: n.idlestLocked(), sender: sender}
	t.worker.assigned++
	n.mu.Unlock()
	t.worker.do(func() { t.worker.taps = append(t.worker.taps, t) })
	return t
}

// Do runs task in a round of the worker, soon. After the node's end it does nothing.
func (t *Tap) Do(task func()) { t.worker.do(task) }

// Attach makes s hear of a log that has packets for it. It must be called in a round.
func (t *Tap) Attach(s Sink, l *Log) {
	r := t.worker.reader(l)
	r.sinks = append(r.sinks, s)
	r.cursors.Add(1)
	l.watch()
}

// Detach ends what Attach began. It must be called in a round.
func (t *Tap) Detach(s Sink, l *Log) {
	r := t.worker.readers[l]
	if r == nil {
		return
	}
	if i := slices.Index(r.sinks, s); i >= 0 {
		r.sinks = slices.Delete(r.sinks, i, i+1)
		t.worker.left(r)
	}
}

// Again asks for one more round for a log that an attached sink has not come to the end of. It must be called in a round.
func (t *Tap) Again(l *Log) { t.worker.again(l) }

// Close takes the sender away from its worker. Its sinks must have been detached. It returns when the worker will not touch them any more.
func (t *Tap) Close() {
	t.worker.ask(func() {
		if i := slices.Index(t.worker.taps, t); i >= 0 {
			t.worker.taps = slices.Delete(t.worker.taps, i, i+1)
		}
	})
	t.worker.node.unassignWorker(t.worker)
}

// Tail is the position of the oldest packet that the log holds.
func (l *Log) Tail() uint64 { return l.tail.Load() }

// Born is when the packet reached its first node, in nanoseconds since the Unix epoch.
func (p *Packet) Born() int64 { return p.born() }
