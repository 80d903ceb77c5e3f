package rtcpx

import (
	"encoding/binary"
	"math"
)

// Walk reads the compound packet b, decrypted, and calls h for each thing in it. A compound may begin with any type
// (reduced size, RFC 5506). Types that forwarding does not need are skipped. What stands before a malformed packet has been
// handed over when the error returns. hot path.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|V=2|P|count/fmt|      type     |   length in words, less one   |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
func Walk(b []byte, h Handler) error {
	if len(b) == 0 {
		return ErrShort
	}
	for len(b) > 0 {
		if len(b) < headerLen {
			return ErrShort
		}
		if b[0]>>6 != 2 {
			return ErrVersion
		}
		end := headerLen + 4*int(binary.BigEndian.Uint16(b[2:]))
		if end > len(b) {
			return ErrShort
		}
		body, err := unpad(b[headerLen:end], b[0]&0x20 != 0)
		if err != nil {
			return err
		}
		if err := walkOne(b[1], b[0]&0x1f, body, h); err != nil {
			return err
		}
		b = b[end:]
	}
	return nil
}

// unpad cuts the padding off a body; its last byte counts it, itself included. RFC 3550 section 6.4.1 wants whole words, but
// transport-wide feedback is padded by single bytes in practice.
func unpad(body []byte, padded bool) ([]byte, error) {
	if !padded {
		return body, nil
	}
	if len(body) == 0 {
		return nil, ErrPadding
	}
	n := int(body[len(body)-1])
	if n == 0 || n > len(body) {
		return nil, ErrPadding
	}
	return body[:len(body)-n], nil
}

func walkOne(typ, count uint8, body []byte, h Handler) error {
	switch typ {
	case typeSR:
		return walkSenderReport(count, body, h)
	case typeRR:
		if len(body) < 4 {
			return ErrFormat
		}
		return walkBlocks(binary.BigEndian.Uint32(body), count, body[4:], h)
	case typeBYE:
		return walkBYE(count, body, h)
	case typeRTPFB:
		return walkTransportFeedback(count, body, h)
	case typePSFB:
		return walkPayloadFeedback(count, body, h)
	default:
		return nil
	}
}

func walkSenderReport(count uint8, body []byte, h Handler) error {
	if len(body) < senderInfoLen+int(count)*reportBlockLen {
		return ErrFormat
	}
	report := SenderReport{
		SSRC:    binary.BigEndian.Uint32(body),
		NTP:     binary.BigEndian.Uint64(body[4:]),
		RTPTime: binary.BigEndian.Uint32(body[12:]),
		Packets: binary.BigEndian.Uint32(body[16:]),
		Octets:  binary.BigEndian.Uint32(body[20:]),
	}
	h.SenderReport(report)
	return walkBlocks(report.SSRC, count, body[senderInfoLen:], h)
}

// walkBlocks reads count report blocks; what follows them is a profile's extension, which WebRTC has none of.
func walkBlocks(sender uint32, count uint8, body []byte, h Handler) error {
	if len(body) < int(count)*reportBlockLen {
		return ErrFormat
	}
	for ; count > 0; count-- {
		lost := binary.BigEndian.Uint32(body[4:])
		h.ReportBlock(sender, ReportBlock{
			SSRC:         binary.BigEndian.Uint32(body),
			FractionLost: uint8(lost >> 24),
			TotalLost:    int32(lost<<8) >> 8, // extends the sign of 24 bits
			HighestSeq:   binary.BigEndian.Uint32(body[8:]),
			Jitter:       binary.BigEndian.Uint32(body[12:]),
			LastSR:       binary.BigEndian.Uint32(body[16:]),
			Delay:        binary.BigEndian.Uint32(body[20:]),
		})
		body = body[reportBlockLen:]
	}
	return nil
}

// walkBYE reads the SSRCs that leave; the reason text behind them is ignored (RFC 3550 section 6.6).
func walkBYE(count uint8, body []byte, h Handler) error {
	if len(body) < 4*int(count) {
		return ErrFormat
	}
	for i := range int(count) {
		h.BYE(binary.BigEndian.Uint32(body[4*i:]))
	}
	return nil
}

func walkTransportFeedback(format uint8, body []byte, h Handler) error {
	if len(body) < feedbackLen {
		return ErrFormat
	}
	sender, media := binary.BigEndian.Uint32(body), binary.BigEndian.Uint32(body[4:])
	body = body[feedbackLen:]
	switch format {
	case formatNACK:
		for ; len(body) >= nackPairLen; body = body[nackPairLen:] {
			walkNACKPair(sender, media, binary.BigEndian.Uint16(body), binary.BigEndian.Uint16(body[2:]), h)
		}
	case formatTWCC:
		if len(body) < twccHeaderLen {
			return ErrFormat
		}
		h.TWCC(sender, media, body)
	}
	return nil
}

// walkNACKPair names the packet pid, and pid+1+i for each bit i set in the mask (RFC 4585 section 6.2.1).
func walkNACKPair(sender, media uint32, pid, mask uint16, h Handler) {
	h.NACK(sender, media, pid)
	for seq := pid + 1; mask != 0; seq, mask = seq+1, mask>>1 {
		if mask&1 != 0 {
			h.NACK(sender, media, seq)
		}
	}
}

func walkPayloadFeedback(format uint8, body []byte, h Handler) error {
	if len(body) < feedbackLen {
		return ErrFormat
	}
	sender, media := binary.BigEndian.Uint32(body), binary.BigEndian.Uint32(body[4:])
	body = body[feedbackLen:]
	switch format {
	case formatPLI:
		h.PLI(sender, media)
	case formatFIR: // the SSRCs stand in the entries, not in the common header (RFC 5104 section 4.3.1.2)
		if len(body) == 0 || len(body)%firEntryLen != 0 {
			return ErrFormat
		}
		for ; len(body) > 0; body = body[firEntryLen:] {
			h.FIR(sender, binary.BigEndian.Uint32(body), body[4])
		}
	case formatAFB:
		return walkREMB(sender, body, h)
	}
	return nil
}

// walkREMB reads | "REMB" | count (8) | exponent (6) | mantissa (18) | SSRCs | (draft-alvestrand-rmcat-remb-03 section 2.2). Other
// application feedback is skipped.
func walkREMB(sender uint32, body []byte, h Handler) error {
	if len(body) < 4 || binary.BigEndian.Uint32(body) != rembIdentifier {
		return nil
	}
	if len(body) < 8 || len(body) < 8+4*int(body[4]) {
		return ErrFormat
	}
	exponent, mantissa := body[5]>>2, uint64(binary.BigEndian.Uint32(body[4:])&(1<<18-1))
	bitrate := mantissa << exponent
	if bitrate>>exponent != mantissa {
		bitrate = math.MaxUint64
	}
	h.REMB(sender, bitrate, SSRCs{body[8 : 8+4*int(body[4])]})
	return nil
}
