package rtcpx

const (
	// maxDropout is the largest step forward taken for loss rather than a restart of the sender (RFC 3550 appendix A.1).
	maxDropout = 3000
	// maxMisorder is how far a late packet may lie behind (RFC 3550 appendix A.1).
	maxMisorder = 100
)

// ReceptionStats follows one incoming stream and makes the contents of receiver reports (RFC 3550 appendices A.1, A.3, A.8). SRTP
// has proved every packet's origin, so a new source needs no probation. The zero value is ready; it belongs to one goroutine.
type ReceptionStats struct {
	started    bool
	base       uint32 // extended sequence number of the first packet
	highest    uint32 // extended sequence number, cycles in the upper half
	received   uint32
	restartSeq uint32 // the next number, if the last out-of-range packet began a restart; above 16 bits: none did

	expectedBefore, receivedBefore uint32 // at the last report

	transit  uint32 // of the last packet: arrival less timestamp, in timestamp units
	jitter16 uint32 // jitter estimate times 16
}

const noRestart = 1 << 16 // not a sequence number

// Update takes one packet in the order of arrival; arrival is the local time in units of the stream's clock rate, from any
// origin. Retransmissions on an RTX stream are not the stream's own packets. hot path.
func (s *ReceptionStats) Update(seq uint16, timestamp, arrival uint32) {
	transit := arrival - timestamp
	if !s.started {
		s.start(seq, transit)
	} else if !s.advance(seq, transit) {
		return
	}
	s.received++
	s.updateJitter(transit)
}

func (s *ReceptionStats) start(seq uint16, transit uint32) {
	s.started = true
	s.base, s.highest = uint32(seq), uint32(seq)
	s.received, s.expectedBefore, s.receivedBefore = 0, 0, 0
	s.restartSeq = noRestart
	s.transit = transit
}

// advance moves the highest number and reports whether the packet counts (RFC 3550 appendix A.1, update_seq).
func (s *ReceptionStats) advance(seq uint16, transit uint32) bool {
	switch ahead := seq - uint16(s.highest); {
	case ahead < maxDropout:
		s.highest += uint32(ahead)
	case ahead <= 1<<16-maxMisorder:
		// A large jump. Two packets in a row on the other side mean that the sender began anew.
		if uint32(seq) != s.restartSeq {
			s.restartSeq = uint32(seq + 1)
			return false
		}
		s.start(seq, transit)
	}
	return true
}

// updateJitter smooths the change of transit time by 1/16 (RFC 3550 section 6.4.1, appendix A.8).
func (s *ReceptionStats) updateJitter(transit uint32) {
	d := int32(transit - s.transit)
	if d < 0 {
		d = -d
	}
	s.transit = transit
	s.jitter16 += uint32(d) - (s.jitter16+8)>>4
}

// Report returns the stream's report block and begins the next interval (RFC 3550 appendix A.3). The caller fills in SSRC,
// LastSR and Delay. Before the first packet it is empty.
func (s *ReceptionStats) Report() ReportBlock {
	if !s.started {
		return ReportBlock{}
	}
	expected := s.highest - s.base + 1
	lost := int32(expected - s.received)
	expectedNow, receivedNow := expected-s.expectedBefore, s.received-s.receivedBefore
	s.expectedBefore, s.receivedBefore = expected, s.received
	var fraction uint32
	if lostNow := int32(expectedNow - receivedNow); expectedNow > 0 && lostNow > 0 {
		fraction = min(uint32(uint64(lostNow)<<8/uint64(expectedNow)), 255)
	}
	return ReportBlock{
		FractionLost: uint8(fraction),
		TotalLost:    min(max(lost, -1<<23), 1<<23-1),
		HighestSeq:   s.highest,
		Jitter:       s.jitter16 >> 4,
	}
}
