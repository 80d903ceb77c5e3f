package wire

// windowPackets is how far behind the newest number a datagram may come. A link of a million packets a second needs 32 ms of reordering and repair covered;
// the least that the protocol promises is 8,192.
const windowPackets = 32768

// Window tells numbers of a flow that were seen from those that were not. What lies too far behind counts as seen. The zero value is ready; it is for one
// goroutine at a time.
type Window struct {
	next uint64 // one above the highest number seen
	bits [windowPackets / 64]uint64
}

// Seen reports whether a datagram with the number must be dropped. Hot path.
func (w *Window) Seen(seq uint64) bool {
	if seq >= w.next {
		return false
	}
	if w.next-seq > windowPackets {
		return true
	}
	return w.bits[seq/64%(windowPackets/64)]&(1<<(seq%64)) != 0
}

// Mark notes that a datagram with the number has come, after it was opened: a forged one must not move the window. Hot path.
func (w *Window) Mark(seq uint64) {
	if seq >= w.next {
		w.slide(seq + 1)
	}
	w.bits[seq/64%(windowPackets/64)] |= 1 << (seq % 64)
}

// slide empties the words that the new numbers fall into. next-1 is the highest number so far, so its own word is in use already.
func (w *Window) slide(next uint64) {
	first := (w.next + 63) / 64 // the first word that holds new numbers only
	last := (next - 1) / 64
	if last >= first && last-first >= windowPackets/64 {
		first = last - windowPackets/64 + 1
	}
	for word := first; word <= last; word++ {
		w.bits[word%(windowPackets/64)] = 0
	}
	w.next = next
}
