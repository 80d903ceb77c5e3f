package client

// sequence follows the sequence numbers of one stream (RFC 3550 §A.1 and §A.3): it extends them to 64
// bits and counts losses, duplicates and disorder. The zero value waits for the first packet.
type sequence struct {
	started    bool
	first      uint64 // extended; begins at 2^16, so that earlier packets that come late stay positive
	highest    uint64
	seen       [seenWords]uint64 // a bit for each of the last seenPackets numbers
	unique     uint64            // packets without duplicates
	duplicates uint64
	disordered uint64
	restarts   uint64 // jumps back to numbers that are no late packets
	missed     uint64 // losses before the last restart
	stale      uint16 // number after the last packet from before the memory
	wasStale   bool   // the packet before was one
}

const (
	// seenPackets is how far back a duplicate is recognised: about four seconds of high-rate video.
	seenPackets = 2048
	seenWords   = seenPackets / 64
)

// take counts a packet and returns its extended number, and whether it is the first with it. A packet
// from before the memory counts as disordered and is not fresh.
func (s *sequence) take(seq uint16) (extended uint64, fresh bool) {
	if !s.started {
		s.started = true
		s.first = 1<<16 + uint64(seq)
		s.highest = s.first
		s.mark(s.first)
		s.unique++
		return s.first, true
	}
	extended = s.highest + uint64(int64(int16(seq-uint16(s.highest))))
	if extended > s.highest {
		s.advance(extended)
	} else if s.highest-extended >= seenPackets {
		return s.old(seq, extended)
	} else if s.marked(extended) {
		s.duplicates++
		return extended, false
	} else {
		s.disordered++
	}
	s.wasStale = false
	s.first = min(s.first, extended)
	s.mark(extended)
	s.unique++
	return extended, true
}

// old counts a packet from before the memory. Two in sequence are a sender that began anew (RFC 3550
// §A.1): numbering goes on above all numbers so far.
func (s *sequence) old(seq uint16, extended uint64) (uint64, bool) {
	if !s.wasStale || seq != s.stale {
		s.disordered++
		s.wasStale, s.stale = true, seq+1
		return extended, false
	}
	again := s.highest&^0xffff + 1<<17 + uint64(seq)
	*s = sequence{
		started: true, first: again, highest: again, unique: 1, missed: s.lost(),
		duplicates: s.duplicates, disordered: s.disordered, restarts: s.restarts + 1,
	}
	s.mark(again)
	return again, true
}

// advance moves the memory on to a new highest number and forgets what it overwrites.
func (s *sequence) advance(extended uint64) {
	if extended-s.highest >= seenPackets {
		s.seen = [seenWords]uint64{}
	} else {
		for n := s.highest + 1; n <= extended; n++ {
			s.seen[n/64%seenWords] &^= 1 << (n % 64)
		}
	}
	s.highest = extended
}

func (s *sequence) mark(n uint64)        { s.seen[n/64%seenWords] |= 1 << (n % 64) }
func (s *sequence) marked(n uint64) bool { return s.seen[n/64%seenWords]&(1<<(n%64)) != 0 }

// lost is how many packets between the first and the highest number are missing so far.
func (s *sequence) lost() uint64 {
	if !s.started {
		return 0
	}
	return s.missed + s.highest - s.first + 1 - s.unique
}
