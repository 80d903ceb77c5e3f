package client

import (
	"time"

	"github.com/pion/rtp"
)

// receiveBytes is the size of the buffers for incoming packets: the MTU of Ethernet, which is more than
// any WebRTC sender uses, and what pion itself reads with.
const receiveBytes = 1500

// packet is a received packet in its own buffer. It goes back to the free list of its track when the
// frame is done.
type packet struct {
	rtp.Packet
	extended uint64    // sequence number, extended
	arrival  time.Time // when it was read
	buffer   [receiveBytes]byte
}

const (
	// reorderPackets is how many numbers may wait behind a gap: more than a large keyframe.
	reorderPackets = 512
	// reorderTime is how long a gap is kept open for a retransmission, as long as a browser's jitter
	// buffer would.
	reorderTime = 400 * time.Millisecond
)

// reorder returns packets to the order of their numbers. A gap that is not filled in time is a loss.
type reorder struct {
	waiting [reorderPackets]*packet
	count   int
	next    uint64 // number that is due; zero before the first packet
	deliver func(p *packet, gap bool)
	discard func(p *packet)
}

// push takes in a fresh packet and delivers all that are due, gap telling that some before were lost.
func (r *reorder) push(p *packet) {
	if r.next == 0 {
		r.next = p.extended
	}
	if p.extended < r.next {
		r.discard(p) // its place was given up
		return
	}
	for p.extended-r.next >= reorderPackets && r.count > 0 {
		r.skip()
	}
	leap := p.extended-r.next >= reorderPackets // too far to wait for what is between
	if leap {
		r.next = p.extended
	}
	r.waiting[p.extended%reorderPackets] = p
	r.count++
	r.drain(leap)
	if r.count > 0 && p.arrival.Sub(r.oldest().arrival) > reorderTime {
		r.skip()
	}
}

// drain delivers from the number that is due up to the next gap.
func (r *reorder) drain(gap bool) {
	for slot := &r.waiting[r.next%reorderPackets]; *slot != nil; slot = &r.waiting[r.next%reorderPackets] {
		p := *slot
		*slot = nil
		r.count--
		r.next++
		r.deliver(p, gap)
		gap = false
	}
}

// skip gives up the gap and delivers what waits behind it. Something must be waiting.
func (r *reorder) skip() {
	r.next = r.oldest().extended
	r.drain(true)
}

// oldest is the waiting packet with the lowest number.
func (r *reorder) oldest() *packet {
	for n := r.next; ; n++ {
		if p := r.waiting[n%reorderPackets]; p != nil {
			return p
		}
	}
}
