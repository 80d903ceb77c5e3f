package rtcpx

import (
	"math/bits"
	"time"

	"rheomesh/internal/seqnum"
)

const (
	lossWindowPackets = 512         // a power of two; some two seconds of video at 2.5 Mbit/s
	lossWindow        = time.Second // later a repair is of no use to a live viewer
	lossMaxTries      = 10          // requests per packet

	// Asking again sooner than the answer can be here only doubles it: a quarter is allowed on top of the round trip.
	lossMinRetry         = 20 * time.Millisecond
	lossDefaultRoundTrip = 100 * time.Millisecond // until SetRoundTrip

	// lossRestartDistance is how far behind two packets in a row must lie for the sender to have begun anew rather than
	// for repairs to come late: the largest dropout of RFC 3550 appendix A.1.
	lossRestartDistance = maxDropout
)

// Arrival says what a packet is to its stream.
type Arrival uint8

// What OnPacket can say.
const (
	Next      Arrival = iota // newer than all before, or the first
	Recovered                // was missing and may have been asked for
	Duplicate                // is here already
	Late                     // too old to be missed, or was given up
	Restarted                // the numbers jumped: the stream goes on from here
)

// LossTracker follows the sequence numbers of one incoming stream and says which packets to ask for again (RFC 4585 section
// 6.2.1). It remembers the last 512 numbers. A missing one is asked for at once, then again after each retry interval, ten
// times at most; after a second, or when it leaves the window, it is given up. A larger jump than the window is not repaired:
// the tracker begins anew, and what was jumped over is for ReceptionStats to count. The zero value is ready; it belongs to one
// goroutine.
type LossTracker struct {
	started    bool
	highest    uint16
	restartSeq uint32    // the next number, if the last packet came from far behind; above 16 bits: it did not
	epoch      time.Time // of the first packet; the milliseconds below count from it
	retryMilli uint32    // 0 until the round trip is known

	// Two bits per number of the window, at number mod 512; neither is set where a number was given up or came before the first.
	received, missing [lossWindowPackets / 64]uint64
	pending           int // bits set in missing

	// For missing numbers only, at number mod 512.
	since, asked [lossWindowPackets]uint32
	tries        [lossWindowPackets]uint8

	lost, recovered uint64
}

// SetRoundTrip sets the round-trip time to the sender, from which the retry interval follows.
func (t *LossTracker) SetRoundTrip(rtt time.Duration) {
	t.retryMilli = uint32(min(max(rtt+rtt/4, lossMinRetry), lossWindow) / time.Millisecond)
}

// OnPacket takes note of a packet, retransmitted ones included, under its original sequence number. hot path.
func (t *LossTracker) OnPacket(seq uint16, now time.Time) Arrival {
	if !t.started {
		t.started, t.epoch = true, now
		t.restart(seq)
		return Next
	}
	ahead := int(seqnum.Diff(seq, t.highest))
	switch {
	case ahead == 1:
		t.setReceived(t.slide())
		return Next
	case ahead > lossWindowPackets:
		t.restart(seq)
		return Restarted
	case ahead > 0:
		milli := t.milli(now)
		for t.highest+1 != seq {
			t.setMissing(t.slide(), milli)
		}
		t.setReceived(t.slide())
		return Next
	case ahead > -lossWindowPackets:
		return t.within(seq % lossWindowPackets)
	default:
		return t.behind(seq, ahead)
	}
}

// within takes a packet that is not newer than the highest but inside the window.
func (t *LossTracker) within(slot uint16) Arrival {
	word, bit := slot/64, uint64(1)<<(slot%64)
	switch {
	case t.received[word]&bit != 0:
		return Duplicate
	case t.missing[word]&bit != 0:
		t.clearMissing(slot)
		t.recovered++
		t.setReceived(slot)
		return Recovered
	default:
		t.setReceived(slot)
		return Late
	}
}

// behind takes a packet older than the window.
func (t *LossTracker) behind(seq uint16, ahead int) Arrival {
	if ahead > -lossRestartDistance {
		return Late
	}
	if uint32(seq) != t.restartSeq {
		t.restartSeq = uint32(seq + 1)
		return Late
	}
	t.restart(seq)
	return Restarted
}

// restart begins anew with seq as the only number known.
func (t *LossTracker) restart(seq uint16) {
	t.lost += uint64(t.pending)
	t.pending = 0
	clear(t.received[:])
	clear(t.missing[:])
	t.highest, t.restartSeq = seq, noRestart
	t.setReceived(seq % lossWindowPackets)
}

// slide moves the window on by one number and returns the slot of the new highest, emptied of the number it held.
func (t *LossTracker) slide() uint16 {
	t.highest++
	slot := t.highest % lossWindowPackets
	word, bit := slot/64, uint64(1)<<(slot%64)
	if t.missing[word]&bit != 0 {
		t.clearMissing(slot)
		t.lost++
	}
	t.received[word] &^= bit
	return slot
}

func (t *LossTracker) setReceived(slot uint16) {
	t.received[slot/64] |= 1 << (slot % 64)
}

func (t *LossTracker) setMissing(slot uint16, milli uint32) {
	t.missing[slot/64] |= 1 << (slot % 64)
	t.pending++
	t.since[slot], t.tries[slot] = milli, 0
}

func (t *LossTracker) clearMissing(slot uint16) {
	t.missing[slot/64] &^= 1 << (slot % 64)
	t.pending--
}

// Due appends the numbers to ask for now to dst, oldest first, at most 511, and counts them as asked. It gives up those missing for
// too long. It does not allocate when dst has the room. hot path.
func (t *LossTracker) Due(now time.Time, dst []uint16) []uint16 {
	if t.pending == 0 {
		return dst
	}
	milli := t.milli(now)
	oldest := (t.highest + 1) % lossWindowPackets // slot; the window begins one behind the highest, going round
	for i := range uint16(len(t.missing) + 1) {
		word := (oldest/64 + i) % uint16(len(t.missing))
		set := t.missing[word]
		switch i {
		case 0: // the oldest word holds the newest numbers too, below the oldest
			set &= ^uint64(0) << (oldest % 64)
		case uint16(len(t.missing)):
			set &^= ^uint64(0) << (oldest % 64)
		}
		for ; set != 0; set &= set - 1 {
			slot := word*64 + uint16(bits.TrailingZeros64(set))
			if t.dueSlot(slot, milli) {
				dst = append(dst, t.highest-(t.highest-slot)%lossWindowPackets)
			}
		}
	}
	return dst
}

// dueSlot reports whether the missing number in slot is to be asked for now, or gives it up.
func (t *LossTracker) dueSlot(slot uint16, milli uint32) bool {
	// Differences are signed: a batch may be told a slightly earlier time than the one before.
	if int32(milli-t.since[slot]) >= int32(lossWindow/time.Millisecond) {
		t.clearMissing(slot)
		t.lost++
		return false
	}
	if t.tries[slot] >= lossMaxTries || t.tries[slot] > 0 && int32(milli-t.asked[slot]) < t.retry() {
		return false
	}
	t.tries[slot]++
	t.asked[slot] = milli
	return true
}

// retry returns the retry interval in milliseconds.
func (t *LossTracker) retry() int32 {
	if t.retryMilli == 0 {
		t.SetRoundTrip(lossDefaultRoundTrip)
	}
	return int32(t.retryMilli)
}

// milli returns now in milliseconds since the first packet; it wraps after 49 days, and only differences are used.
func (t *LossTracker) milli(now time.Time) uint32 {
	return uint32(now.Sub(t.epoch).Milliseconds())
}

// Pending returns how many packets are missing and not given up.
func (t *LossTracker) Pending() int {
	return t.pending
}

// Lost returns how many packets were given up so far.
func (t *LossTracker) Lost() uint64 {
	return t.lost
}

// Recovered returns how many missing packets came after all, asked for or merely out of order.
func (t *LossTracker) Recovered() uint64 {
	return t.recovered
}
