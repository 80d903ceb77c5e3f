package sfu

import "time"

// Gates of retransmission: they keep a viewer that asks for everything, all the time, from multiplying the traffic.
const (
	resendTries       = 3                     // times that one packet is sent again
	resendMinGap      = 20 * time.Millisecond // least time between two re-sends of one packet; the viewer's round trip if that is longer
	resendShare       = 4                     // re-sent bytes are at most one in this many of the bytes sent …
	resendBurstBytes  = 256 << 10             // … beyond this much, which is one keyframe of a high-quality stream
	resendSlots       = 512                   // packets whose re-sends are remembered
	resendQueueLength = 512                   // sequence numbers that one round takes from a viewer; more are dropped
)

// resendGate decides whether a packet may be sent again. It is the worker's alone.
type resendGate struct {
	slots  []resendSlot // made at the first NACK: most viewers never send one
	credit int          // bytes that may be re-sent
}

type resendSlot struct {
	seq   uint64
	at    int64
	tries uint8
}

// earn books sent bytes. Hot path.
func (g *resendGate) earn(bytes int) { g.credit = min(g.credit+bytes/resendShare, resendBurstBytes) }

// allow reports whether the packet may go out again now, and books it.
func (g *resendGate) allow(seq uint64, bytes int, now int64, roundTrip time.Duration) bool {
	if g.slots == nil {
		g.slots = make([]resendSlot, resendSlots)
	}
	slot := &g.slots[seq%resendSlots]
	if slot.seq != seq {
		*slot = resendSlot{seq: seq}
	}
	if slot.tries >= resendTries || now-slot.at < int64(max(roundTrip, resendMinGap)) || g.credit < bytes {
		return false
	}
	slot.tries++
	slot.at = now
	g.credit -= bytes
	return true
}
