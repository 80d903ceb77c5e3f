package api

import (
	"encoding/json"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"rheomesh/api/webhook"
	"rheomesh/sfu"
)

// What the feed remembers for readers that come again. The size matters for routers with much metadata.
const (
	historyEvents = 1024
	historyBytes  = 4 << 20
	historyAge    = 5 * time.Minute
)

// eventLost is not of the node: it tells a reader that events are missing before the next one.
const eventLost sfu.EventType = "events.lost"

// Why events are missing, a closed set.
const (
	lostExpired  = "expired"     // the reader was away for longer than the history reaches
	lostUnknown  = "unknown-id"  // the id is none of this run of the node
	lostSlow     = "slow-reader" // the reader took longer than the history reaches, and is dropped
	lostOverflow = "overflow"    // more happened at once than the node could note
)

// eventView is an event as event streams and webhooks show it. Data is the resource that the event is about, as the REST API
// shows it at the time of writing: a moment after the event.
type eventView struct {
	ID     string        `json:"id"`
	Type   sfu.EventType `json:"type"`
	Time   time.Time     `json:"time"`
	NodeID sfu.NodeID    `json:"node_id"`
	Data   any           `json:"data"`
}

// lostView is the data of events.lost.
type lostView struct {
	Reason string `json:"reason"`
}

// record is an event that is ready to be sent. It is immutable.
type record struct {
	seq    uint64
	id     string
	kind   sfu.EventType
	router sfu.RouterID // empty for events of the node
	key    string       // of the publisher: its events stay in order
	at     time.Time
	body   []byte // JSON in one line
}

// feed turns the node's events into records, hands each to deliver, and keeps the newest. Readers are cursors: a reader asks
// for what follows the number it has seen, so that a slow one costs nothing but its own place in the history.
//
// It runs from the first reader on, since a node that nobody listens to has nothing to render, and until close.
type feed struct {
	node    *sfu.Node
	run     string // names this run of the node in event ids: a number alone would mean another event after a restart
	show    func(sfu.Event) any
	deliver func(webhook.Event)

	slowReaders atomic.Uint64 // streams that were dropped

	running sync.WaitGroup // the goroutine that renders

	// mu guards the fields below.
	mu        sync.Mutex
	listening *sfu.Listening // nil before start
	closed    bool
	ended     bool          // the last record is there
	records   []*record     // ascending, at most historyEvents and historyBytes
	bytes     int           // of their bodies
	floor     uint64        // number of the newest event that is not in records any more
	last      uint64        // number of the newest event
	changed   chan struct{} // closed, and replaced, with each change of records or ended
}

func newFeed(node *sfu.Node, show func(sfu.Event) any, deliver func(webhook.Event)) *feed {
	run := strings.ReplaceAll(uuid.NewString(), "-", "")[:12]
	return &feed{node: node, run: run, show: show, deliver: deliver, changed: make(chan struct{})}
}

// start begins to listen to the node; only the first call does. close ends it.
func (f *feed) start() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.listening != nil || f.closed {
		return
	}
	f.listening = f.node.Listen(nil)
	f.floor, f.last = f.listening.Start(), f.listening.Start()
	f.running.Go(func() { f.pump(f.listening) })
}

// close stops listening, and returns when what was emitted before is recorded and delivered. Streams end then. It may be
// called twice.
func (f *feed) close() {
	f.mu.Lock()
	f.closed = true
	listening := f.listening
	f.mu.Unlock()
	if listening != nil {
		listening.Close()
		f.running.Wait()
	}
	f.mu.Lock()
	f.ended = true
	f.changeLocked()
	f.mu.Unlock()
}

// pump ends when the listening is closed.
func (f *feed) pump(listening *sfu.Listening) {
	seen := listening.Start()
	for e := range listening.C() {
		if e.Seq > seen+1 {
			f.add(f.render(sfu.Event{Seq: e.Seq - 1, Type: eventLost, Time: e.Time}, lostView{lostOverflow}))
		}
		seen = e.Seq
		f.add(f.render(e, f.show(e)))
	}
}

// eventID names the event of the number. It has no full stop, which would make the text that webhooks sign ambiguous.
func (f *feed) eventID(seq uint64) string { return fmt.Sprintf("evt-%s-%d", f.run, seq) }

// seqOf is the number in an id, if it is one of this run.
func (f *feed) seqOf(id string) (uint64, bool) {
	digits, ok := strings.CutPrefix(id, "evt-"+f.run+"-")
	seq, err := strconv.ParseUint(digits, 10, 64)
	return seq, ok && err == nil
}

func (f *feed) render(e sfu.Event, data any) *record {
	id := f.eventID(e.Seq)
	body, err := json.Marshal(eventView{ID: id, Type: e.Type, Time: e.Time.UTC(), NodeID: f.node.ID(), Data: data})
	if err != nil {
		panic(fmt.Sprintf("api: event: %v", err)) // strings, numbers and times always marshal
	}
	return &record{seq: e.Seq, id: id, kind: e.Type, router: e.RouterID, key: string(e.RouterID) + "/" + string(e.PublisherID), at: e.Time, body: body}
}

// add keeps a record, forgets what is beyond the bounds, wakes the readers and tells the webhooks.
func (f *feed) add(r *record) {
	f.mu.Lock()
	f.records = append(f.records, r)
	f.bytes += len(r.body)
	f.last = r.seq
	f.trimLocked(r.at)
	f.changeLocked()
	f.mu.Unlock()
	f.deliver(webhook.Event{ID: r.id, Type: string(r.kind), Key: r.key, Time: r.at, Body: r.body})
}

func (f *feed) trimLocked(now time.Time) {
	drop := 0
	for ; drop < len(f.records)-1; drop++ { // the newest stays
		oldest := f.records[drop]
		if len(f.records)-drop <= historyEvents && f.bytes <= historyBytes && now.Sub(oldest.at) <= historyAge {
			break
		}
		f.bytes -= len(oldest.body)
		f.floor = oldest.seq
	}
	clear(f.records[:drop])
	f.records = f.records[drop:]
}

func (f *feed) changeLocked() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// readBatch is the most records that one read looks at.
const readBatch = 64

// reading is what a read found.
type reading struct {
	records []*record
	next    uint64          // to read from next time
	missed  bool            // events between what was asked for and records are gone
	ended   bool            // nothing will follow
	changed <-chan struct{} // closed when there is more; nil when there is more already
}

// read returns records that match, among those after the number.
func (f *feed) read(after uint64, match func(*record) bool) (found reading) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if found.missed = after < f.floor; found.missed {
		after = f.floor
	}
	found.next = after
	first := sort.Search(len(f.records), func(i int) bool { return f.records[i].seq > after })
	rest := f.records[first:]
	for _, r := range rest[:min(len(rest), readBatch)] {
		found.next = r.seq
		if match(r) {
			found.records = append(found.records, r)
		}
	}
	if len(rest) <= readBatch {
		found.changed, found.ended = f.changed, f.ended
	}
	return found
}

// newest is the number to read from for a reader that wants what happens from now on.
func (f *feed) newest() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// oldest is the number after which everything is still there.
func (f *feed) oldest() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.trimLocked(time.Now())
	return f.floor
}
