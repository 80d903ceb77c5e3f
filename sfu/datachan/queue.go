package datachan

import "time"

const (
	// MaxQueuedBytes is how much of a channel may wait for a client that is behind.
	MaxQueuedBytes = 1 << 20
	// messageOverheadBytes is charged for each message besides its bytes, so that a queue of empty ones is bounded too; about what an entry costs.
	messageOverheadBytes = 64
)

// message is one that waits. data is shared with other queues.
type message struct {
	data   []byte
	binary bool
	at     time.Time // when it was queued, on channels with a lifetime
}

func (m message) cost() int { return len(m.data) + messageOverheadBytes }

// queue holds the messages of one channel which SCTP has not taken yet, at most MaxQueuedBytes with overhead.
type queue struct {
	messages []message
	head     int // of messages
	bytes    int
}

// room reports whether a message fits.
func (q *queue) room(m message) bool { return q.bytes+m.cost() <= MaxQueuedBytes }

// push adds a message that fits.
func (q *queue) push(m message) {
	if q.head > len(q.messages)/2 { // the front half is free: move the rest there instead of growing
		n := copy(q.messages, q.messages[q.head:])
		clear(q.messages[n:])
		q.messages, q.head = q.messages[:n], 0
	}
	q.messages = append(q.messages, m)
	q.bytes += m.cost()
}

// pushOut adds a message and drops the oldest until it fits. It returns how many it dropped.
func (q *queue) pushOut(m message) (dropped int) {
	for ; !q.room(m); dropped++ {
		if _, ok := q.pop(); !ok {
			return dropped + 1 // longer than the whole queue
		}
	}
	q.push(m)
	return dropped
}

func (q *queue) pop() (message, bool) {
	if q.len() == 0 {
		return message{}, false
	}
	m := q.messages[q.head]
	q.messages[q.head] = message{}
	q.head++
	q.bytes -= m.cost()
	if q.len() == 0 {
		q.messages, q.head = q.messages[:0], 0
	}
	return m, true
}

// expire drops the messages at the front that were queued before the time. It returns how many.
func (q *queue) expire(before time.Time) (dropped int) {
	for q.len() > 0 && q.messages[q.head].at.Before(before) {
		q.pop()
		dropped++
	}
	return dropped
}

func (q *queue) len() int { return len(q.messages) - q.head }

func (q *queue) clear() { *q = queue{} }

// Of what SCTP may hold for a channel, unsent and unacknowledged. It keeps a copy of each message in chunks of its own, several hundred bytes apiece.
const (
	maxHandedBytes    = MaxMessageBytes
	maxHandedMessages = 4096
)

// window counts the messages that SCTP holds, which itself tells their bytes only. Those are taken for the newest, as they are on an ordered channel.
type window struct {
	sizes []int
	head  int
	bytes int // sum of sizes
}

func (w *window) add(size int) {
	if w.head > len(w.sizes)/2 {
		n := copy(w.sizes, w.sizes[w.head:])
		w.sizes, w.head = w.sizes[:n], 0
	}
	w.sizes = append(w.sizes, size)
	w.bytes += size
}

// full reports whether SCTP should get no more, while it holds so many bytes.
func (w *window) full(buffered int) bool {
	for w.head < len(w.sizes) && w.bytes-w.sizes[w.head] >= buffered {
		w.bytes -= w.sizes[w.head]
		w.head++
	}
	return buffered >= maxHandedBytes || len(w.sizes)-w.head >= maxHandedMessages && buffered > 0
}
