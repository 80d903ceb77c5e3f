// Package rtcpx reads RTCP in place and writes what the node sends, without allocating.
//
// Walk reads a compound packet from a viewer or publisher (RFC 3550 section 6, RFC 4585, RFC 5104, RFC 5506) and calls a
// Handler for what matters to forwarding. The Append functions build packets onto a buffer; several of them in a row make a
// compound. ReceptionStats and LossTracker follow one incoming stream and give the contents of receiver reports and NACKs;
// both are told the time and own no clock.
package rtcpx

import (
	"encoding/binary"
	"errors"
	"time"
)

// What Walk refuses.
var (
	ErrShort   = errors.New("rtcp: packet is shorter than its header says")
	ErrVersion = errors.New("rtcp: version is not 2")
	ErrPadding = errors.New("rtcp: padding is zero or longer than the packet")
	ErrFormat  = errors.New("rtcp: contents do not fit the packet's length")
)

// Packet types (RFC 3550 section 12.1, RFC 4585 section 6.1) and feedback formats.
const (
	typeSR    = 200
	typeRR    = 201
	typeSDES  = 202
	typeBYE   = 203
	typeRTPFB = 205 // transport layer feedback
	typePSFB  = 206 // payload-specific feedback

	formatNACK = 1  // RTPFB, RFC 4585 section 6.2.1
	formatTWCC = 15 // RTPFB, draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1
	formatPLI  = 1  // PSFB, RFC 4585 section 6.3.1
	formatFIR  = 4  // PSFB, RFC 5104 section 4.3.1
	formatAFB  = 15 // PSFB, RFC 4585 section 6.4; REMB when it says so

	rembIdentifier = 'R'<<24 | 'E'<<16 | 'M'<<8 | 'B' // draft-alvestrand-rmcat-remb-03 section 2.2
)

// Sizes in bytes.
const (
	headerLen      = 4
	senderInfoLen  = 24 // SSRC and sender info (RFC 3550 section 6.4.1)
	reportBlockLen = 24 // RFC 3550 section 6.4.1
	feedbackLen    = 8  // SSRCs of sender and media (RFC 4585 section 6.1)
	nackPairLen    = 4  // PID and BLP (RFC 4585 section 6.2.1)
	firEntryLen    = 8  // RFC 5104 section 4.3.1.1
	twccHeaderLen  = 8  // base, count, reference time, feedback count
	maxCount       = 31 // the 5-bit count of blocks, chunks or SSRCs
)

// SenderReport is the sender information of an SR (RFC 3550 section 6.4.1).
type SenderReport struct {
	SSRC    uint32
	NTP     uint64 // wall time in NTP format: 2^-32 s since 1900
	RTPTime uint32 // the same moment in RTP timestamp units
	Packets uint32 // sent so far
	Octets  uint32 // payload bytes sent so far
}

// ReportBlock is one receiver's view of one stream (RFC 3550 section 6.4.1).
type ReportBlock struct {
	SSRC         uint32 // of the stream reported on
	FractionLost uint8  // since the last report, in 1/256
	TotalLost    int32  // 24 bits signed; duplicates make it negative
	HighestSeq   uint32 // extended: cycles in the upper half
	Jitter       uint32 // in timestamp units
	LastSR       uint32 // MiddleNTP of the last SR received, 0 when none was
	Delay        uint32 // since that SR, in 1/65536 s
}

// RoundTrip returns the round-trip time that the block tells a sender when it arrives at now (RFC 3550 section 6.4.1, figure
// 2). It is false when the receiver has had no SR, and when clocks make it negative.
func (b ReportBlock) RoundTrip(now time.Time) (time.Duration, bool) {
	units := int32(MiddleNTP(NTP(now)) - b.LastSR - b.Delay) // 1/65536 s
	if b.LastSR == 0 || units < 0 {
		return 0, false
	}
	return time.Duration(units) * time.Second >> 16, true
}

// SSRCs is a list of SSRCs inside the packet being walked; it is valid until the handler returns.
type SSRCs struct{ raw []byte }

// Len returns the number of SSRCs.
func (s SSRCs) Len() int {
	return len(s.raw) / 4
}

// At returns the i-th SSRC, 0 ≤ i < Len.
func (s SSRCs) At(i int) uint32 {
	return binary.BigEndian.Uint32(s.raw[4*i:])
}

// Handler receives what Walk reads. sender is the SSRC of whoever wrote the packet, media that of the stream it speaks of; it
// is for the handler to ignore media SSRCs that are not the peer's to speak of. Nothing handed over may be kept.
type Handler interface {
	// SenderReport: the sender information of an SR; its blocks follow one by one.
	SenderReport(report SenderReport)
	// ReportBlock: a block of an SR or RR.
	ReportBlock(sender uint32, block ReportBlock)
	// NACK: a packet that is missing, named once per call, in the order written.
	NACK(sender, media uint32, seq uint16)
	// PLI: a keyframe is wanted.
	PLI(sender, media uint32)
	// FIR: a keyframe is wanted; a repeated seq repeats the same request.
	FIR(sender, media uint32, seq uint8)
	// REMB: the receiver's estimate for all media together, in bits per second.
	REMB(sender uint32, bitrateBps uint64, media SSRCs)
	// TWCC: transport-wide congestion feedback, from the base sequence number on.
	TWCC(sender, media uint32, feedback []byte)
	// BYE: a stream ends.
	BYE(ssrc uint32)
}
