package sfu

import (
	"slices"
	"sync"
	"time"
)

const (
	// sinkQueueBytes is how much of a channel may wait for a sink, with sinkOverheadBytes for each message.
	sinkQueueBytes    = 1 << 20
	sinkOverheadBytes = 64
	// sinkRetry is how long a sink without room is left alone.
	sinkRetry = 2 * time.Millisecond
)

// dataSink feeds one DataSink from a goroutine of its own, which ends with stop.
type dataSink struct {
	sink  DataSink
	stats *dataStatistics
	wake  chan struct{} // capacity 1; never closed
	quit  chan struct{} // closed by stop
	done  sync.WaitGroup

	// mu guards queues and what is in them. It is taken after dataTrack.mu.
	mu     sync.Mutex
	queues []*sinkQueue
}

// sinkQueue is what waits of one channel, from its opening to its close.
type sinkQueue struct {
	channel  DataChannel
	told     bool // of the opening
	messages []DataMessage
	bytes    int
	closed   bool // after messages
}

func startDataSink(sink DataSink, stats *dataStatistics) *dataSink {
	s := &dataSink{sink: sink, stats: stats, wake: make(chan struct{}, 1), quit: make(chan struct{})}
	s.done.Go(s.run)
	return s
}

func (s *dataSink) stop() {
	close(s.quit)
	s.done.Wait()
}

func (s *dataSink) opened(c DataChannel) {
	s.mu.Lock()
	s.queues = append(s.queues, &sinkQueue{channel: c})
	s.mu.Unlock()
	s.awake()
}

func (s *dataSink) closed(label string) {
	s.mu.Lock()
	if q := s.queueLocked(label); q != nil {
		q.closed = true
	}
	s.mu.Unlock()
	s.awake()
}

// queueLocked finds the queue of the open channel of a label.
func (s *dataSink) queueLocked(label string) *sinkQueue {
	for _, q := range s.queues {
		if q.channel.Label == label && !q.closed {
			return q
		}
	}
	return nil
}

// message queues a message. A reliable channel that is too far behind is closed for the sink.
func (s *dataSink) message(m DataMessage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queueLocked(m.Channel)
	if q == nil {
		return
	}
	if q.bytes+len(m.Data)+sinkOverheadBytes > sinkQueueBytes {
		s.stats.drop(dropSink, 1)
		if q.channel.Reliable() {
			s.stats.drop(dropSink, len(q.messages))
			q.messages, q.bytes, q.closed = nil, 0, true
		}
		return
	}
	q.messages = append(q.messages, m)
	q.bytes += len(m.Data) + sinkOverheadBytes
	s.awake()
}

func (s *dataSink) awake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *dataSink) run() {
	retry := time.NewTimer(sinkRetry)
	retry.Stop()
	defer retry.Stop()
	for {
		select {
		case <-s.quit:
			return
		case <-s.wake:
		case <-retry.C:
		}
		s.mu.Lock()
		queues := slices.Clone(s.queues)
		s.mu.Unlock()
		for _, q := range queues {
			if !s.feed(q) {
				retry.Reset(sinkRetry)
			}
		}
	}
}

// feed gives the sink what waits of a channel; false when the sink has no room for a message that must arrive.
func (s *dataSink) feed(q *sinkQueue) bool {
	if !q.told {
		q.told = true
		s.sink.ChannelOpened(q.channel)
	}
	for {
		select {
		case <-s.quit:
			return true
		default:
		}
		m, ok := s.front(q)
		if !ok {
			return true
		}
		if s.sink.Message(m) {
			s.pop(q)
			continue
		}
		if q.channel.Reliable() {
			return false
		}
		s.stats.drop(dropSink, 1)
		s.pop(q)
	}
}

// front is the next message. When there is none of a closed channel, the channel ends.
func (s *dataSink) front(q *sinkQueue) (DataMessage, bool) {
	s.mu.Lock()
	if len(q.messages) > 0 {
		defer s.mu.Unlock()
		return q.messages[0], true
	}
	ended := q.closed
	if ended {
		s.queues = slices.DeleteFunc(s.queues, func(other *sinkQueue) bool { return other == q })
	}
	s.mu.Unlock()
	if ended {
		s.sink.ChannelClosed(q.channel.Label)
	}
	return DataMessage{}, false
}

// pop removes the message that front has shown, unless the channel was emptied in between.
func (s *dataSink) pop(q *sinkQueue) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(q.messages) == 0 {
		return
	}
	q.bytes -= len(q.messages[0].Data) + sinkOverheadBytes
	q.messages[0] = DataMessage{}
	q.messages = q.messages[1:]
}
