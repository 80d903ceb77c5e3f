package sfu

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"rheomesh/internal/codec"
	"rheomesh/internal/udpbatch"
)

const (
	batchDatagrams = 512                    // datagrams that one batch holds before it is sent
	batchBytes     = 1 << 20                // bytes of its arena
	burstPackets   = 128                    // packets that one viewer may get before the others have their turn
	tickInterval   = 50 * time.Millisecond  // what time drives is looked after this often while packets flow …
	idleInterval   = 200 * time.Millisecond // … and this often while none do
	reportInterval = time.Second            // between two sender reports of a subscriber
	attendLeast    = time.Millisecond       // the finest that the worker's alarm is set
	// inlineAudience is the number of cursors that the goroutine which received the packets moves itself. Waking another goroutine, and often another core,
	// costs more than serving so few; beyond it the cores share the work.
	inlineAudience = 64
)

// worker is one of the node's fan-out workers, one per core. It owns the forwarders of its subscribers for their whole life, so their state needs no locks
// of its own: everything that changes it runs in a round of the worker. Rounds run on the worker's goroutine, or on the receiving one when there is little to
// do, one at a time.
type worker struct {
	node     *Node
	assigned int // subscribers, guarded by Node.mu
	// wake has capacity 1: a token means that queue or tasks may hold something. It is never closed.
	wake chan struct{}
	stop chan struct{}
	done chan struct{}

	// mu guards queue, cursors, tasks, hurried and stopped.
	mu      sync.Mutex
	queue   []*logReader
	cursors int // of the readers in queue
	tasks   []func()
	hurried time.Time // when a viewer's report brought about a round last
	stopped bool

	// running is held by a round. It guards the fields below and all that the worker owns.
	running sync.Mutex
	// batches has one batch per UDP socket of the media port.
	batches []*udpbatch.WriteBatch
	// scratch is room to build packets that do not go through a batch: those of TCP paths, and the payloads of RTX.
	scratch        [maxDatagram]byte
	payload        [maxDatagram]byte
	readers        map[*Log]*logReader
	subscribers    []*Subscriber
	taps           []*Tap
	attending      []*Subscriber // have something to do before the next tick …
	attendNext     int64         // … the first of them then
	alarm          *time.Timer   // wakes the worker at attendNext; made when first needed
	spareQueue     []*logReader
	spareTasks     []func()
	spareAttending []*Subscriber
	ticked         time.Time
	sent           [2]sentTotals // of this round, by kind
	sampled        int64         // arrival of one packet that this round sends; 0 = none yet
}

// maxDatagram is the most that a packet can measure on its way out.
const maxDatagram = 2048

// logReader is a worker's interest in one log: the forwarders whose cursors it moves. Its forwarders belong to the worker; queued says that it waits there.
type logReader struct {
	log        *Log
	worker     *worker
	forwarders []*forwarder // guarded by worker.running
	sinks      []Sink       // the same
	cursors    atomic.Int32 // forwarders and sinks
	queued     bool         // guarded by worker.mu
}

// startWorker starts a worker's goroutine; close ends it and waits.
func startWorker(n *Node) *worker {
	w := &worker{node: n, wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}), readers: map[*Log]*logReader{}}
	for range n.port.Sockets() {
		w.batches = append(w.batches, udpbatch.NewWriteBatch(batchDatagrams, batchBytes))
	}
	go w.run()
	return w
}

func (w *worker) close() {
	w.mu.Lock()
	if w.stopped {
		w.mu.Unlock()
		return
	}
	w.stopped = true
	w.mu.Unlock()
	close(w.stop)
	<-w.done
}

// do runs task on the worker's goroutine, soon. After close it does nothing.
func (w *worker) do(task func()) {
	w.mu.Lock()
	if !w.stopped {
		w.tasks = append(w.tasks, task)
	}
	w.mu.Unlock()
	w.poke()
}

// ask is do, and waits for the task to be done. It must not be called on the worker's goroutine.
func (w *worker) ask(task func()) {
	finished := make(chan struct{})
	w.do(func() {
		task()
		close(finished)
	})
	select {
	case <-finished:
	case <-w.done:
	}
}

// notify queues a reader whose log has grown. Hot path.
func (w *worker) notify(r *logReader) {
	w.mu.Lock()
	if !r.queued {
		r.queued = true
		w.queue = append(w.queue, r)
		w.cursors += int(r.cursors.Load())
	}
	w.mu.Unlock()
}

// again queues a reader that a round could not finish.
func (w *worker) again(l *Log) {
	w.notify(w.readers[l])
	w.poke()
}

func (w *worker) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// pending is how many cursors wait to be moved.
func (w *worker) pending() (cursors int, any bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cursors, len(w.queue) > 0
}

// notify tells the log's readers of appended packets; kick must follow. Hot path.
func (l *Log) notify() {
	for _, r := range *l.readers.Load() {
		r.worker.notify(r)
	}
}

// kick gets the workers going which have cursors to move: those with many on their own goroutines, those with few right here. Hot path.
func kick(workers []*worker) {
	for _, w := range workers {
		if cursors, _ := w.pending(); cursors > inlineAudience {
			w.poke()
		}
	}
	for _, w := range workers {
		if cursors, any := w.pending(); any && (cursors > inlineAudience || !w.tryRound()) {
			w.poke()
		}
	}
}

// tryRound runs a round here unless one is under way.
func (w *worker) tryRound() bool {
	if !w.running.TryLock() {
		return false
	}
	w.round()
	w.running.Unlock()
	return true
}

// run is the worker's loop. Batching is natural: everything that came in during a round is sent by the next one. It ends when stop is closed.
func (w *worker) run() {
	defer close(w.done)
	timer := time.NewTimer(idleInterval)
	defer timer.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-w.wake:
		case <-timer.C:
		}
		w.running.Lock()
		w.round()
		if len(w.subscribers) > 0 {
			timer.Reset(idleInterval)
		}
		w.running.Unlock()
	}
}

// round runs the tasks, moves every cursor whose log has grown, and sends what that filled. running is held.
func (w *worker) round() {
	w.mu.Lock()
	tasks, queue := w.tasks, w.queue
	w.tasks, w.queue, w.cursors = w.spareTasks[:0], w.spareQueue[:0], 0
	for _, r := range queue {
		r.queued = false
	}
	w.mu.Unlock()
	for _, task := range tasks {
		task()
	}
	now := time.Now()
	for _, r := range queue {
		for _, f := range r.forwarders {
			f.advance(r.log, now.UnixNano())
		}
		for _, s := range r.sinks {
			s.Advance(r.log, now.UnixNano())
		}
	}
	w.attend(now.UnixNano())
	if now.Sub(w.ticked) >= tickInterval {
		w.tick(now)
	}
	w.flush()
	for _, t := range w.taps {
		t.sender.Flush(now.UnixNano())
	}
	w.account()
	clear(tasks)
	clear(queue)
	w.spareTasks, w.spareQueue = tasks, queue
}

// count notes what a forwarder has sent in this round. Hot path.
func (w *worker) count(kind codec.Kind, packets, bytes uint64) {
	total := &w.sent[kindIndex(kind)]
	total.packets += packets
	total.bytes += bytes
}

// sample notes the first packet of a round, for the forward delay. Hot path.
func (w *worker) sample(p *Packet) {
	if w.sampled == 0 {
		w.sampled = p.Arrival
	}
}

// account publishes what the round has counted, once all of it is sent. Hot path, once per round.
func (w *worker) account() {
	w.node.stats.sent(&w.sent)
	if w.sampled != 0 {
		w.node.stats.forwardDelay.observeSince(w.sampled)
		w.sampled = 0
	}
}

// flush sends what the batches hold.
func (w *worker) flush() {
	for i, batch := range w.batches {
		if batch.Len() > 0 {
			w.send(i)
		}
	}
}

// send sends one batch. Datagrams that the kernel does not take are lost and counted by the socket.
func (w *worker) send(socket int) {
	w.node.stats.batches.observe(int64(w.batches[socket].Len()))
	_, _ = w.node.port.Sockets()[socket].Send(w.batches[socket])
}

// tick lets every subscriber look after what packets alone do not drive: reports, waiting for keyframes, layers, pauses.
func (w *worker) tick(now time.Time) {
	w.ticked = now
	for _, s := range w.subscribers {
		s.tick(now)
	}
}

// attendAt makes a round look after s at a time, or soon after it. It must be called in a round.
func (w *worker) attendAt(s *Subscriber, at int64) {
	if !s.attending {
		s.attending = true
		w.attending = append(w.attending, s)
	}
	if len(w.attending) == 1 || at < w.attendNext {
		w.attendNext = at
		w.ring(at)
	}
}

// ring wakes the worker at a time. A round may run anywhere, so its loop cannot wait for the time itself.
func (w *worker) ring(at int64) {
	after := max(time.Until(time.Unix(0, at)), attendLeast)
	if w.alarm == nil {
		w.alarm = time.AfterFunc(after, w.poke)
		return
	}
	w.alarm.Reset(after)
}

// attend looks after those who asked for it, all together once the first is due.
func (w *worker) attend(now int64) {
	if len(w.attending) == 0 || now < w.attendNext {
		return
	}
	due := w.attending
	w.attending = w.spareAttending[:0]
	for _, s := range due {
		s.attending = false
	}
	for _, s := range due {
		s.attend(now)
	}
	clear(due)
	w.spareAttending = due[:0]
}

// attach makes f hear of a layer's log.
func (w *worker) attach(f *forwarder, l *Log) {
	r := w.reader(l)
	r.forwarders = append(r.forwarders, f)
	r.cursors.Add(1)
	l.watch()
}

// reader finds or makes the worker's reader of a log.
func (w *worker) reader(l *Log) *logReader {
	r := w.readers[l]
	if r == nil {
		r = &logReader{log: l, worker: w}
		w.readers[l] = r
		l.addReader(r)
	}
	return r
}

func (w *worker) detach(f *forwarder, l *Log) {
	r := w.readers[l]
	if r == nil {
		return
	}
	if i := slices.Index(r.forwarders, f); i >= 0 {
		r.forwarders = slices.Delete(r.forwarders, i, i+1)
		w.left(r)
	}
}

// left notes that a cursor has left a reader; one without cursors is forgotten.
func (w *worker) left(r *logReader) {
	r.cursors.Add(-1)
	r.log.unwatch()
	if len(r.forwarders) == 0 && len(r.sinks) == 0 {
		delete(w.readers, r.log)
		r.log.removeReader(r)
	}
}

func (w *worker) addSubscriber(s *Subscriber) { w.subscribers = append(w.subscribers, s) }

func (w *worker) removeSubscriber(s *Subscriber) {
	if i := slices.Index(w.subscribers, s); i >= 0 {
		w.subscribers = slices.Delete(w.subscribers, i, i+1)
	}
}

// addReader and removeReader replace the snapshot that notify walks. Several workers may do so at once.
func (l *Log) addReader(r *logReader) {
	l.changeReaders(func(readers []*logReader) []*logReader { return append(slices.Clone(readers), r) })
}

func (l *Log) removeReader(r *logReader) {
	l.changeReaders(func(readers []*logReader) []*logReader {
		return slices.DeleteFunc(slices.Clone(readers), func(other *logReader) bool { return other == r })
	})
}

func (l *Log) changeReaders(change func([]*logReader) []*logReader) {
	for {
		old := l.readers.Load()
		changed := change(*old)
		if l.readers.CompareAndSwap(old, &changed) {
			return
		}
	}
}
