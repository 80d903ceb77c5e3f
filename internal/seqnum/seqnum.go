// Package seqnum does arithmetic on the numbers of RTP that wrap: 16-bit sequence numbers and 32-bit timestamps (RFC 3550 section 5.1).
//
// On a circle "greater" has no meaning by itself: 0 comes after 65535. The package compares two numbers by the shorter way
// between them (RFC 1982, serial number arithmetic), and unwraps a stream of them into 64-bit numbers that never wrap, so
// that the rest of the program can subtract and compare as usual.
package seqnum

// Newer reports whether a comes after b (RFC 1982 section 3.2). Two numbers exactly half the circle (32768) apart have no
// order: neither is newer.
func Newer(a, b uint16) bool {
	return Diff(a, b) > 0
}

// Diff returns the number of steps from b to a by the shorter way: positive when a is newer, negative when it is older,
// -32768 when they are half the circle apart.
func Diff(a, b uint16) int16 {
	return int16(a - b)
}

// Unwrapper turns 16-bit sequence numbers into 64-bit ones that do not wrap. Each number is placed within half a circle
// of the highest one so far, so reordering and duplicates are harmless, also across the wrap. The first number v becomes
// 1<<16 | v: packets that were sent before it but arrive later stay positive. The zero value is ready to use; it belongs to one goroutine.
type Unwrapper struct {
	highest uint64 // 0 before the first number; never 0 afterwards
}

// Unwrap returns the 64-bit form of v and remembers it when it is the highest so far. hot path.
func (u *Unwrapper) Unwrap(v uint16) uint64 {
	if u.highest == 0 {
		u.highest = 1<<16 | uint64(v)
		return u.highest
	}
	extended := u.highest + uint64(Diff(v, uint16(u.highest))) // the conversion extends the sign, so older numbers subtract
	u.highest = max(u.highest, extended)
	return extended
}

// TimestampUnwrapper is Unwrapper for 32-bit RTP timestamps: the first timestamp v becomes 1<<32 | v.
type TimestampUnwrapper struct {
	highest uint64 // 0 before the first timestamp; never 0 afterwards
}

// Unwrap returns the 64-bit form of v, in the same clock-rate units. hot path.
func (u *TimestampUnwrapper) Unwrap(v uint32) uint64 {
	if u.highest == 0 {
		u.highest = 1<<32 | uint64(v)
		return u.highest
	}
	extended := u.highest + uint64(int32(v-uint32(u.highest)))
	u.highest = max(u.highest, extended)
	return extended
}
