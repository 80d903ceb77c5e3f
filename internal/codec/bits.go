package codec

// bitReader reads big-endian bit fields. Reading beyond the end gives zeros and sets overrun, so a caller may parse to the
// end and ask once. In NAL units it skips the emulation prevention byte of 00 00 03 (H.264 section 7.4.1, H.265 section 7.4.2).
type bitReader struct {
	data    []byte // what is not yet in current
	current uint8  // the byte being read
	left    uint8  // its unread bits
	zeros   uint8  // zero bytes in a row just loaded
	escaped bool   // data is a NAL unit
	overrun bool
}

// load fetches the next byte.
func (r *bitReader) load() {
	if r.escaped && r.zeros >= 2 && len(r.data) > 0 && r.data[0] == 3 {
		r.data, r.zeros = r.data[1:], 0
	}
	if len(r.data) == 0 {
		r.overrun = true
		r.current, r.left = 0, 8
		return
	}
	r.current, r.left, r.data = r.data[0], 8, r.data[1:]
	if r.current != 0 {
		r.zeros = 0
		return
	}
	r.zeros = min(r.zeros+1, 2)
}

// bits reads n bits, n ≤ 32.
func (r *bitReader) bits(n uint8) uint32 {
	var v uint32
	for n > 0 {
		if r.left == 0 {
			r.load()
		}
		take := min(n, r.left)
		r.left -= take
		v = v<<take | uint32(r.current>>r.left)&(1<<take-1)
		n -= take
	}
	return v
}

// flag reads one bit.
func (r *bitReader) flag() bool {
	return r.bits(1) == 1
}

// skip passes over n bits; it stops at the end of the data.
func (r *bitReader) skip(n int) {
	for ; n > 0 && !r.overrun; n -= 32 {
		r.bits(uint8(min(n, 32)))
	}
}

// ue reads an unsigned Exp-Golomb number (H.264 section 9.1, H.265 section 9.2). Longer than 32 bits is an overrun: nothing we read needs it.
func (r *bitReader) ue() uint64 {
	var zeros uint8
	for !r.flag() {
		zeros++
		if zeros > 32 || r.overrun {
			r.overrun = true
			return 0
		}
	}
	return 1<<zeros - 1 + uint64(r.bits(zeros))
}

// se reads a signed Exp-Golomb number (H.264 section 9.1.1).
func (r *bitReader) se() int64 {
	v := int64(r.ue())
	if v&1 == 0 {
		return -v / 2
	}
	return (v + 1) / 2
}
