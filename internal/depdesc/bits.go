package depdesc

// bitReader reads big-endian bit fields. Reading beyond the end gives zeros and sets overrun, so a caller may parse to the
// end and ask once.
type bitReader struct {
	data    []byte
	at      int // bits read
	overrun bool
}

// bits reads f(n) of the specification, n ≤ 16.
func (r *bitReader) bits(n int) uint32 {
	var v uint32
	for n > 0 {
		if r.at>>3 >= len(r.data) {
			r.overrun = true
			return 0
		}
		left := 8 - r.at&7
		take := min(n, left)
		v = v<<take | uint32(r.data[r.at>>3])>>(left-take)&(1<<take-1)
		r.at, n = r.at+take, n-take
	}
	return v
}

func (r *bitReader) flag() bool { return r.bits(1) == 1 }

// nonSymmetric reads ns(n) of the specification: a number below n in as few bits as its range needs (AV1 specification section 4.10.7).
func (r *bitReader) nonSymmetric(n uint32) uint32 {
	width := 0
	for x := n; x > 0; x >>= 1 {
		width++
	}
	short := uint32(1)<<width - n // so many of the numbers have a bit less
	v := r.bits(width - 1)
	if v < short {
		return v
	}
	return v<<1 - short + r.bits(1)
}
