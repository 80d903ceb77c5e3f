package client

// sequence follows the sequence numbers of one stream (RFC 3550 §A.1 and §A.3): it extends them to 64
// bits and counts losses, duplicates and disorder. The zero value waits for the first packet. A sender that begins
// anew with lower numbers needs no care: SRTP takes its packets for replays (RFC 3711 §3.3.2).
type sequence struct {
	started    bool
	first      uint64 // extended; begins at 2^16, so that earlier packets that come late stay positive
	highest    uint64
	seen       [seenWords]uint64 // a bit for each of the last seenPackets numbers
	unique     uint64            // packets without duplicates
	duplicates uint64
	disordered uint64
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
		s.disordered++
		return extended, false
	} else if s.marked(extended) {
		s.duplicates++
		return extended, false
	} else {
		s.disordered++
	}
	s.first = min(s.first, extended)
	s.mark(extended)
	s.unique++
	return extended, true
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
	return s.highest - s.first + 1 - s.unique
}
