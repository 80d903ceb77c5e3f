package webhook

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// What a receiver that fails can make the node hold and do.
const (
	lanes       = 4       // of one webhook: events that may be under way at once
	laneEvents  = 1024    // that wait in one lane, about as many as a router's viewers; then the oldest is dropped
	laneBytes   = 2 << 20 // of their bodies, which all webhooks share
	tryTimeout  = 5 * time.Second
	maxTries    = 12
	maxEventAge = 15 * time.Minute // an event is not tried again when it would be older
	firstDelay  = time.Second      // before the second try; each later delay is twice the one before it …
	maxDelay    = 2 * time.Minute  // … up to this one
)

// lane is a queue of events for one webhook, and the goroutine that delivers them in order.
type lane struct {
	hook *hook
	wake chan struct{} // capacity 1: a token means that queue may hold something; never closed

	// mu guards the fields below.
	mu    sync.Mutex
	queue []Event
	bytes int
	busy  bool // an event that is not in queue any more is being tried
}

func newLane(h *hook) *lane { return &lane{hook: h, wake: make(chan struct{}, 1)} }

// push queues an event and returns how many older ones it has pushed out.
func (l *lane) push(e Event) (dropped int) {
	l.mu.Lock()
	l.queue = append(l.queue, e)
	l.bytes += len(e.Body)
	for len(l.queue) > laneEvents || l.bytes > laneBytes && len(l.queue) > 1 {
		l.shiftLocked()
		dropped++
	}
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return dropped
}

func (l *lane) shiftLocked() (e Event) {
	e, l.queue[0] = l.queue[0], Event{}
	l.queue = l.queue[1:]
	l.bytes -= len(e.Body)
	return e
}

// take removes the oldest event to try it, or finds that none waits.
func (l *lane) take() (e Event, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy = len(l.queue) > 0
	if !l.busy {
		l.queue = nil // lets the array go
		return Event{}, false
	}
	return l.shiftLocked(), true
}

func (l *lane) waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy {
		return len(l.queue) + 1
	}
	return len(l.queue)
}

// run delivers until ctx ends, or until stop is closed and nothing waits any more.
func (l *lane) run(ctx context.Context, stop <-chan struct{}) {
	for ctx.Err() == nil {
		if e, ok := l.take(); ok {
			l.deliver(ctx, stop, e)
			continue
		}
		select {
		case <-l.wake:
		case <-stop:
			if l.waiting() == 0 {
				return
			}
		case <-ctx.Done():
		}
	}
}

// deliver tries an event until the receiver takes it or there is no point in trying again.
func (l *lane) deliver(ctx context.Context, stop <-chan struct{}, e Event) {
	for try := 1; ; try++ {
		if l.hook.try(ctx, e) {
			return
		}
		delay := retryDelay(try)
		if try == maxTries || time.Since(e.Time)+delay > maxEventAge || !wait(ctx, stop, delay) {
			l.hook.expire(e, try)
			return
		}
	}
}

// retryDelay is the time between a failed try, counted from 1, and the next. The quarter of chance either way keeps the lanes
// of many webhooks from striking a receiver that comes back all at once.
func retryDelay(try int) time.Duration {
	delay := min(firstDelay<<min(try-1, 30), maxDelay)
	return delay - delay/4 + rand.N(delay/2+1)
}

// wait reports whether the whole delay has passed.
func wait(ctx context.Context, stop <-chan struct{}, delay time.Duration) bool {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-stop:
	case <-ctx.Done():
	}
	return false
}
