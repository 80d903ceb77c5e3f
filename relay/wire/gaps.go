package wire

import "time"

// Bounds of repair on the hop.
const (
	maxGaps       = 4096                   // numbers missed at once; a longer outage is not repaired but restarted by a keyframe
	reorderDelay  = 2 * time.Millisecond   // a number is missed for this long before it is asked for: the path may have swapped packets
	repairLife    = 500 * time.Millisecond // then a repair is of no use to a live viewer
	minRetry      = 10 * time.Millisecond  // between two requests for a number, however short the round trip
	maxTries      = 12
	defaultRTT    = 50 * time.Millisecond // before the first pong
	retryFraction = 4                     // a quarter of the round trip is allowed on top of it before the request is repeated
)

// Gaps follows the numbers of an incoming media flow and says which to ask for. It is for one goroutine at a time; the zero value is ready.
type Gaps struct {
	next    uint64 // expected
	started bool
	missing []gap // ascending
	rtt     time.Duration

	Recovered, Lost uint64 // numbers that came after all, and that were given up
}

type gap struct {
	seq          uint64
	since, asked int64 // nanoseconds
	tries        int
}

// SetRoundTrip sets how long an answer takes.
func (g *Gaps) SetRoundTrip(rtt time.Duration) { g.rtt = rtt }

// Pending is how many numbers are missed.
func (g *Gaps) Pending() int { return len(g.missing) }

// On notes that a number has come, which Window has not seen before, and reports whether it had been missed. Hot path.
func (g *Gaps) On(seq uint64, now int64) (recovered bool) {
	if seq == g.next || !g.started {
		g.started, g.next = true, seq+1
		return false
	}
	if seq > g.next {
		g.open(seq, now)
		g.next = seq + 1
		return false
	}
	return g.close(seq)
}

// Expect notes that the sender has used all numbers below next, some of which may be on their way.
func (g *Gaps) Expect(next uint64, now int64) {
	if g.started && next > g.next {
		g.open(next, now)
		g.next = next
	}
}

// open notes the numbers that were jumped over; of a jump that is too long the last ones would be too late as well, so all are lost.
func (g *Gaps) open(seq uint64, now int64) {
	skipped := seq - g.next
	if skipped > uint64(maxGaps-len(g.missing)) {
		g.Lost += skipped + uint64(len(g.missing))
		g.missing = g.missing[:0]
	} else {
		for ; g.next < seq; g.next++ {
			g.missing = append(g.missing, gap{seq: g.next, since: now})
		}
	}
}

func (g *Gaps) close(seq uint64) bool {
	low, high := 0, len(g.missing)
	for low < high {
		middle := (low + high) / 2
		if g.missing[middle].seq < seq {
			low = middle + 1
		} else {
			high = middle
		}
	}
	if low == len(g.missing) || g.missing[low].seq != seq {
		return false
	}
	g.missing = append(g.missing[:low], g.missing[low+1:]...)
	g.Recovered++
	return true
}

// Due appends the numbers to ask for now to dst, at most the room that dst has, and gives up those that are too old.
func (g *Gaps) Due(now int64, dst []uint64) []uint64 {
	rtt := g.rtt
	if rtt == 0 {
		rtt = defaultRTT
	}
	retry := int64(max(rtt+rtt/retryFraction, minRetry))
	kept := g.missing[:0]
	for _, m := range g.missing {
		if now-m.since > int64(repairLife) || m.tries == maxTries {
			g.Lost++
			continue
		}
		due := m.tries == 0 && now-m.since >= int64(reorderDelay) || m.tries > 0 && now-m.asked >= retry
		if due && len(dst) < cap(dst) {
			m.tries++
			m.asked = now
			dst = append(dst, m.seq)
		}
		kept = append(kept, m)
	}
	g.missing = kept
	return dst
}
