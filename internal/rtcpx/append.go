package rtcpx

import (
	"encoding/binary"
	"math/bits"

	"rheomesh/internal/seqnum"
)

// maxCNAME is the most bytes an SDES item can hold (RFC 3550 section 6.5).
const maxCNAME = 255

// begin appends a header whose length finish fills in. count is the 5-bit count or feedback format.
func begin(dst []byte, typ, count uint8) []byte {
	return append(dst, 2<<6|count&0x1f, typ, 0, 0)
}

// finish sets the length of the packet that starts at start: 32-bit words less one.
func finish(dst []byte, start int) []byte {
	binary.BigEndian.PutUint16(dst[start+2:], uint16((len(dst)-start)/4-1))
	return dst
}

// AppendSenderReport appends an SR with at most 31 blocks; further ones are left out.
func AppendSenderReport(dst []byte, report SenderReport, blocks []ReportBlock) []byte {
	blocks = blocks[:min(len(blocks), maxCount)]
	start := len(dst)
	dst = begin(dst, typeSR, uint8(len(blocks)))
	dst = binary.BigEndian.AppendUint32(dst, report.SSRC)
	dst = binary.BigEndian.AppendUint64(dst, report.NTP)
	dst = binary.BigEndian.AppendUint32(dst, report.RTPTime)
	dst = binary.BigEndian.AppendUint32(dst, report.Packets)
	dst = binary.BigEndian.AppendUint32(dst, report.Octets)
	return finish(appendBlocks(dst, blocks), start)
}

// AppendReceiverReport appends an RR of the receiver ssrc with at most 31 blocks; further ones are left out.
func AppendReceiverReport(dst []byte, ssrc uint32, blocks []ReportBlock) []byte {
	blocks = blocks[:min(len(blocks), maxCount)]
	start := len(dst)
	dst = begin(dst, typeRR, uint8(len(blocks)))
	dst = binary.BigEndian.AppendUint32(dst, ssrc)
	return finish(appendBlocks(dst, blocks), start)
}

func appendBlocks(dst []byte, blocks []ReportBlock) []byte {
	for i := range blocks {
		b := &blocks[i]
		dst = binary.BigEndian.AppendUint32(dst, b.SSRC)
		dst = binary.BigEndian.AppendUint32(dst, uint32(b.FractionLost)<<24|uint32(b.TotalLost)&0xffffff)
		dst = binary.BigEndian.AppendUint32(dst, b.HighestSeq)
		dst = binary.BigEndian.AppendUint32(dst, b.Jitter)
		dst = binary.BigEndian.AppendUint32(dst, b.LastSR)
		dst = binary.BigEndian.AppendUint32(dst, b.Delay)
	}
	return dst
}

// AppendSDES appends a source description with the CNAME alone, as every compound must have (RFC 3550 section 6.5). It is cut
// to 255 bytes.
func AppendSDES(dst []byte, ssrc uint32, cname string) []byte {
	const itemCNAME = 1
	cname = cname[:min(len(cname), maxCNAME)]
	start := len(dst)
	dst = begin(dst, typeSDES, 1)
	dst = binary.BigEndian.AppendUint32(dst, ssrc)
	dst = append(dst, itemCNAME, byte(len(cname)))
	dst = append(dst, cname...)
	dst = append(dst, 0) // ends the items; then to the next word
	for (len(dst)-start)%4 != 0 {
		dst = append(dst, 0)
	}
	return finish(dst, start)
}

// AppendBYE appends the end of the stream ssrc (RFC 3550 section 6.6).
func AppendBYE(dst []byte, ssrc uint32) []byte {
	start := len(dst)
	dst = begin(dst, typeBYE, 1)
	return finish(binary.BigEndian.AppendUint32(dst, ssrc), start)
}

// appendFeedback appends header and SSRCs of a feedback packet (RFC 4585 section 6.1).
func appendFeedback(dst []byte, typ, format uint8, sender, media uint32) []byte {
	dst = begin(dst, typ, format)
	dst = binary.BigEndian.AppendUint32(dst, sender)
	return binary.BigEndian.AppendUint32(dst, media)
}

// AppendNACK appends a request for the packets seqs, at most a few hundred, or nothing when there are none. In ascending order they take the
// fewest pairs of PID and mask (RFC 4585 section 6.2.1); any order is correct.
func AppendNACK(dst []byte, sender, media uint32, seqs []uint16) []byte {
	if len(seqs) == 0 {
		return dst
	}
	start := len(dst)
	dst = appendFeedback(dst, typeRTPFB, formatNACK, sender, media)
	pid, mask := seqs[0], uint16(0)
	for _, seq := range seqs[1:] {
		switch ahead := seqnum.Diff(seq, pid); {
		case ahead == 0:
		case ahead > 0 && ahead <= 16:
			mask |= 1 << (ahead - 1)
		default:
			dst = appendNACKPair(dst, pid, mask)
			pid, mask = seq, 0
		}
	}
	return finish(appendNACKPair(dst, pid, mask), start)
}

func appendNACKPair(dst []byte, pid, mask uint16) []byte {
	dst = binary.BigEndian.AppendUint16(dst, pid)
	return binary.BigEndian.AppendUint16(dst, mask)
}

// AppendPLI appends a picture loss indication (RFC 4585 section 6.3.1).
func AppendPLI(dst []byte, sender, media uint32) []byte {
	start := len(dst)
	return finish(appendFeedback(dst, typePSFB, formatPLI, sender, media), start)
}

// AppendFIR appends a full intra request. seq grows by one with each new request and stays when one is repeated (RFC 5104
// section 4.3.1).
func AppendFIR(dst []byte, sender, media uint32, seq uint8) []byte {
	start := len(dst)
	dst = appendFeedback(dst, typePSFB, formatFIR, sender, 0) // media is 0 here (RFC 5104 section 4.3.1.2)
	dst = binary.BigEndian.AppendUint32(dst, media)
	return finish(append(dst, seq, 0, 0, 0), start)
}

// AppendREMB appends a receiver's estimate, in bits per second, for at most 255 streams; further ones are left out. The format
// has 18 significant bits; lower ones are cut (draft-alvestrand-rmcat-remb-03 section 2.2).
func AppendREMB(dst []byte, sender uint32, bitrateBps uint64, media []uint32) []byte {
	media = media[:min(len(media), 255)]
	exponent := max(bits.Len64(bitrateBps)-18, 0)
	start := len(dst)
	dst = appendFeedback(dst, typePSFB, formatAFB, sender, 0) // media is 0 here
	dst = binary.BigEndian.AppendUint32(dst, rembIdentifier)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(media))<<24|uint32(exponent)<<18|uint32(bitrateBps>>exponent))
	for _, ssrc := range media {
		dst = binary.BigEndian.AppendUint32(dst, ssrc)
	}
	return finish(dst, start)
}
