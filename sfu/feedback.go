package sfu

import (
	"slices"
	"sync"
	"time"
)

// idleFeedback is how often publishers are looked after whose packets do not come, and so do not carry the look-after along.
const idleFeedback = 100 * time.Millisecond

// feedbackLoop drives the feedback of all publishers' sessions from one goroutine, which exists only while there are any.
type feedbackLoop struct {
	// mu guards the fields below.
	mu      sync.Mutex
	ingests []*ingest
	running bool
	stopped chan struct{} // closed when the goroutine has ended; nil before the first
}

func (l *feedbackLoop) add(in *ingest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ingests = append(l.ingests, in)
	if !l.running {
		l.running, l.stopped = true, make(chan struct{})
		go l.run(l.stopped)
	}
}

func (l *feedbackLoop) remove(in *ingest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.ingests, in); i >= 0 {
		l.ingests = slices.Delete(l.ingests, i, i+1)
	}
}

// close waits for the goroutine, which ends once the last session has been removed.
func (l *feedbackLoop) close() {
	l.mu.Lock()
	l.ingests = nil
	stopped := l.stopped
	l.mu.Unlock()
	if stopped != nil {
		<-stopped
	}
}

func (l *feedbackLoop) run(stopped chan struct{}) {
	defer close(stopped)
	ticker := time.NewTicker(idleFeedback)
	defer ticker.Stop()
	var ingests []*ingest
	for now := range ticker.C {
		l.mu.Lock()
		ingests = append(ingests[:0], l.ingests...)
		if len(ingests) == 0 {
			l.running = false
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		for _, in := range ingests {
			in.feedback(now)
		}
	}
}
