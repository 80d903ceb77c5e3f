package wire

// windowWords is the size of the window's ring, in words of 64 numbers.
const windowWords = 512

// windowPackets is how far behind the newest number a datagram may come. A link of a million packets a second needs 32 ms of reordering and repair covered;
// the least that the protocol promises is 8,192. One word of the ring is always partly ahead of the newest number, so it cannot also be the oldest
// (RFC 6479, section 2).
const windowPackets = (windowWords - 1) * 64

// Window tells numbers of a flow that were seen from those that were not. What lies too far behind counts as seen. The zero value is ready; it is for one
// goroutine at a time.
type Window struct {
	next uint64 // one above the highest number seen
	bits [windowWords]uint64
}

// Seen reports whether a datagram with the number must be dropped. Hot path.
func (w *Window) Seen(seq uint64) bool {
	if seq >= w.next {
		return false
	}
	if w.next-seq > windowPackets {
		return true
	}
	return w.bits[seq/64%windowWords]&(1<<(seq%64)) != 0
}

// Mark notes that a datagram with the number has come, after it was opened: a forged one must not move the window. Hot path.
func (w *Window) Mark(seq uint64) {
	if seq >= w.next {
		w.slide(seq + 1)
	}
	w.bits[seq/64%windowWords] |= 1 << (seq % 64)
}

// slide empties the words that the new numbers fall into. next-1 is the highest number so far, so its own word is in use already.
func (w *Window) slide(next uint64) {
	first := (w.next + 63) / 64 // the first word that holds new numbers only
	last := (next - 1) / 64
	if last >= first && last-first >= windowWords {
		first = last - windowWords + 1
	}
	for word := first; word <= last; word++ {
		w.bits[word%windowWords] = 0
	}
	w.next = next
}
