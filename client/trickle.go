package client

import (
	"context"
	"net/http"
	"sync"

	"github.com/pion/webrtc/v4"
)

// trickler collects candidates from the start and sends them by PATCH once the session has a URL
// (RFC 9725 §4.3.2): those that wait go together.
type trickler struct {
	session *Session
	wake    chan struct{} // capacity 1: a signal waits while the goroutine sends

	mu    sync.Mutex // guards queue
	queue fragment   // candidates not yet sent
}

// newTrickler begins to collect. Its run must be started when the session has been posted.
func newTrickler(session *Session) *trickler {
	t := &trickler{session: session, wake: make(chan struct{}, 1)}
	session.pc.OnICECandidate(t.add)
	return t
}

// add takes a candidate from pion; nil says that it was the last.
func (t *trickler) add(candidate *webrtc.ICECandidate) {
	t.mu.Lock()
	if candidate == nil {
		t.queue.complete = true
	} else {
		t.queue.candidates = append(t.queue.candidates, candidate.ToJSON().Candidate)
	}
	t.mu.Unlock()
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// run sends until the last candidate is sent or the session ends.
func (t *trickler) run() {
	ctx, cancel := t.session.context()
	defer cancel()
	for {
		select {
		case <-t.wake:
		case <-t.session.ended:
			return
		}
		fragment := t.take()
		if err := t.send(ctx, fragment); err != nil {
			t.session.log.Warn("trickle refused", "err", err)
			return
		}
		if fragment.complete {
			return
		}
	}
}

// take empties the queue.
func (t *trickler) take() fragment {
	credentials := fragmentOf(t.session.offer)
	t.mu.Lock()
	defer t.mu.Unlock()
	taken := t.queue
	taken.ufrag, taken.pwd = credentials.ufrag, credentials.pwd
	t.queue = fragment{}
	return taken
}

func (t *trickler) send(ctx context.Context, f fragment) error {
	x, err := t.session.resource.patch(ctx, t.session.ETag(), f.marshal(t.session.offer))
	if err != nil {
		return err
	}
	if x.response.StatusCode != http.StatusNoContent {
		return x.fail()
	}
	return nil
}
