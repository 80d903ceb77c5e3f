package sfu

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// holdAudience is the number of viewers from which on a frame's packets are held until its last one is in. All packets of a frame then leave together: one
	// system call, and for each viewer one segmented message, since a frame is a row of equal packets and a shorter one.
	holdAudience = 8
	// holdTime is the longest that a packet is held for the rest of its frame.
	holdTime = time.Millisecond
)

// grownLogs are the logs that have grown since their readers were told. The media port's readers add to it, and tell the logs' readers once they are through
// with what one system call returned, so that a viewer's worker finds the packets together.
type grownLogs struct {
	workers []*worker
	some    atomic.Bool // logs is not empty

	// mu guards the fields below.
	mu     sync.Mutex
	logs   []*Log
	timer  *time.Timer // tells what is held; made with the first held frame
	armed  bool
	closed bool
}

// add notes that a log has grown. Hot path.
func (g *grownLogs) add(l *Log) {
	if l.dirty.Load() || l.dirty.Swap(true) { // mostly it is, and a look costs less
		return
	}
	g.mu.Lock()
	g.logs = append(g.logs, l)
	g.mu.Unlock()
	g.some.Store(true)
}

// tell tells the readers of all logs but those whose frame is not complete and which many watch. Hot path, once per received batch.
func (g *grownLogs) tell() {
	if !g.some.Load() {
		return
	}
	g.mu.Lock()
	told := g.tellLocked(func(l *Log) bool { return l.audience.Load() >= holdAudience && !l.ended() })
	switch {
	case len(g.logs) == 0 && g.armed:
		g.timer.Stop()
		g.armed = false
	case len(g.logs) > 0 && !g.armed && !g.closed:
		g.arm()
	}
	g.mu.Unlock()
	if told {
		kick(g.workers)
	}
}

func (g *grownLogs) arm() {
	g.armed = true
	if g.timer == nil {
		g.timer = time.AfterFunc(holdTime, g.tellAll)
		return
	}
	g.timer.Reset(holdTime)
}

// tellAll runs from the timer: what is held has waited long enough.
func (g *grownLogs) tellAll() {
	g.mu.Lock()
	g.armed = false
	told := g.tellLocked(func(*Log) bool { return false })
	g.mu.Unlock()
	if told {
		kick(g.workers)
	}
}

// tellLocked reports whether it told any.
func (g *grownLogs) tellLocked(hold func(*Log) bool) bool {
	all, held := len(g.logs), g.logs[:0]
	for _, l := range g.logs {
		if hold(l) {
			held = append(held, l)
			continue
		}
		l.dirty.Store(false)
		l.notify()
	}
	clear(g.logs[len(held):])
	g.logs = held
	g.some.Store(len(held) > 0)
	return len(held) < all
}

// close stops the timer. The media port's readers must have ended.
func (g *grownLogs) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	if g.timer != nil {
		g.timer.Stop()
	}
}
