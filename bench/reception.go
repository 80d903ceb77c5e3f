package bench

import (
	"encoding/binary"
	"time"

	"rheomesh/internal/rtcpx"
	"rheomesh/internal/seqnum"
)

const rtpHeaderBytes = 12 // the fixed header (RFC 3550 section 5.1)

// header is what SRTP leaves in the clear of a packet's fixed header.
type header struct {
	marker    bool
	pt        uint8
	seq       uint16
	timestamp uint32
	ssrc      uint32
}

func parseHeader(b []byte) (h header, ok bool) {
	if len(b) < rtpHeaderBytes {
		return header{}, false
	}
	return header{
		marker: b[1]&0x80 != 0, pt: b[1] & 0x7f, seq: binary.BigEndian.Uint16(b[2:]),
		timestamp: binary.BigEndian.Uint32(b[4:]), ssrc: binary.BigEndian.Uint32(b[8:]),
	}, true
}

// duplicateWindow is how many numbers back a packet is known to be here already.
const duplicateWindow = 1024

// reception counts one incoming stream.
type reception struct {
	ssrc  uint32
	video bool

	numbers         seqnum.Unwrapper
	started         bool
	lowest, highest uint64 // extended numbers
	unique          uint64 // packets, each number once
	duplicates      uint64
	here            [duplicateWindow / 64]uint64 // bit n%duplicateWindow: number n has arrived

	reportedExpected, reportedUnique uint64             // at the last receiver report
	lost                             *rtcpx.LossTracker // nil unless the viewer asks for what is lost
}

// take counts a number, and with track follows what is missing.
func (r *reception) take(seq uint16, track bool) {
	r.count(seq)
	if !track {
		return
	}
	if r.lost == nil {
		r.lost = &rtcpx.LossTracker{}
		r.lost.SetRoundTrip(0)
	}
	r.lost.OnPacket(seq, time.Now())
}

// count takes note of a number.
func (r *reception) count(seq uint16) {
	n := r.numbers.Unwrap(seq)
	switch {
	case !r.started:
		r.started, r.lowest, r.highest = true, n, n
	case n > r.highest:
		r.forget(n)
		r.highest = n
	case r.highest-n >= duplicateWindow || r.has(n):
		r.duplicates++
		return
	case n < r.lowest:
		r.lowest = n
	}
	r.here[n%duplicateWindow/64] |= 1 << (n % 64)
	r.unique++
}

func (r *reception) has(n uint64) bool { return r.here[n%duplicateWindow/64]&(1<<(n%64)) != 0 }

// forget clears the window for the numbers after highest, up to n.
func (r *reception) forget(n uint64) {
	for i := r.highest + 1; i <= n && i <= r.highest+duplicateWindow; i++ {
		r.here[i%duplicateWindow/64] &^= 1 << (i % 64)
	}
}

// expected is how many packets were sent between the first and the last that arrived.
func (r *reception) expected() uint64 {
	if !r.started {
		return 0
	}
	return r.highest - r.lowest + 1
}

// missing is how many of those have not arrived.
func (r *reception) missing() uint64 { return r.expected() - r.unique }

// report is the block of a receiver report (RFC 3550 section 6.4.1). Jitter is not measured and stays 0. The unwrapped
// numbers begin one cycle up.
func (r *reception) report() rtcpx.ReportBlock {
	if !r.started {
		return rtcpx.ReportBlock{SSRC: r.ssrc}
	}
	expected, unique := r.expected(), r.unique
	b := rtcpx.ReportBlock{SSRC: r.ssrc, HighestSeq: uint32(r.highest - 1<<16), TotalLost: int32(min(r.missing(), 1<<23-1))}
	interval, got := expected-r.reportedExpected, unique-r.reportedUnique
	if interval > got {
		b.FractionLost = uint8(min((interval-got)*256/interval, 255))
	}
	r.reportedExpected, r.reportedUnique = expected, unique
	return b
}
