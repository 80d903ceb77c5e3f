package wire

import (
	"encoding/binary"
	"errors"
)

// ErrMessage says that the payload of a datagram is not what its type promises.
var ErrMessage = errors.New("message cannot be parsed")

// MaxPayload is the most that a control message may measure, so that its datagram fits the least path of IPv6 (RFC 8200 section 5) with headers.
const MaxPayload = 1152

// Sizes of messages and their parts in bytes.
const (
	probeLen  = 8 + 8 + 8
	nackEntry = 6 + 4
	nackSpan  = 33 // numbers that one entry covers: the first, and a bit for each of the 32 after it
	flagEntry = 4
	layerLen  = 3 + 1 + 2 + 2 + 4 + 1 + 1
	reportLen = 8 + 4
)

// Probe is a ping, or the pong that repeats it. Nonce is unguessable: who repeats it can be reached where it was sent to.
//
//	nonce (64) | sender's clock, ns (64) | highest number of the media flow + 1 (64)
//
// In a ping Next lets the receiver find losses at the end of a burst; in a pong it is the pong's sender's. Zeros may follow in a ping.
type Probe struct{ Nonce, Time, Next uint64 }

// Append appends the message to dst.
func (p Probe) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, p.Nonce)
	dst = binary.BigEndian.AppendUint64(dst, p.Time)
	return binary.BigEndian.AppendUint64(dst, p.Next)
}

// ParseProbe reads a Probe. Pings may be padded, to see whether their size passes.
func ParseProbe(b []byte, padded bool) (Probe, error) {
	if len(b) < probeLen || len(b) > probeLen && !padded || len(b) > MaxPath-Overhead {
		return Probe{}, ErrMessage
	}
	return Probe{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:])}, nil
}

// AppendNACK appends ascending numbers to dst, each as the first of a group of 33 or a bit in one: number (48) | bits for the 32 after it (32). It stops at
// MaxPayload and says how many numbers it took.
func AppendNACK(dst []byte, seqs []uint64) (out []byte, taken int) {
	for taken < len(seqs) && len(dst)+nackEntry <= MaxPayload {
		first, bits := seqs[taken], uint32(0)
		for taken++; taken < len(seqs) && seqs[taken] > first && seqs[taken]-first < nackSpan; taken++ {
			bits |= 1 << (seqs[taken] - first - 1)
		}
		dst = binary.BigEndian.AppendUint16(dst, uint16(first>>32))
		dst = binary.BigEndian.AppendUint32(dst, uint32(first))
		dst = binary.BigEndian.AppendUint32(dst, bits)
	}
	return dst, taken
}

// ParseNACK appends the numbers of a NACK to dst.
func ParseNACK(dst []uint64, b []byte) ([]uint64, error) {
	if len(b) == 0 || len(b)%nackEntry != 0 || len(b) > MaxPayload {
		return dst, ErrMessage
	}
	for ; len(b) > 0; b = b[nackEntry:] {
		first := uint64(binary.BigEndian.Uint16(b))<<32 | uint64(binary.BigEndian.Uint32(b[2:]))
		dst = append(dst, first)
		for bits, seq := binary.BigEndian.Uint32(b[6:]), first+1; bits != 0; bits, seq = bits>>1, seq+1 {
			if bits&1 != 0 {
				dst = append(dst, seq)
			}
		}
	}
	return dst, nil
}

// Flag is one handle with a yes or no: watched or not in TypeDemand, always yes in TypeKeyframe.
type Flag struct {
	Handle Handle
	Set    bool
}

// AppendFlag appends handle (24) | zero (7) | flag (1).
func AppendFlag(dst []byte, f Flag) []byte {
	entry := uint32(f.Handle) << 8
	if f.Set {
		entry |= 1
	}
	return binary.BigEndian.AppendUint32(dst, entry)
}

// ParseFlags appends the flags of a message to dst.
func ParseFlags(dst []Flag, b []byte) ([]Flag, error) {
	if len(b) == 0 || len(b)%flagEntry != 0 || len(b) > MaxPayload {
		return dst, ErrMessage
	}
	for ; len(b) > 0; b = b[flagEntry:] {
		entry := binary.BigEndian.Uint32(b)
		dst = append(dst, Flag{Handle: Handle(entry >> 8), Set: entry&1 != 0})
	}
	return dst, nil
}

// LayerState is what the origin sees of a layer, so that the edge can choose among layers that it does not get.
//
//	handle (24) | active (8) | width (16) | height (16) | bit rate, bit/s (32) | spatial layers (8) | temporal layers (8)
type LayerState struct {
	Handle            Handle
	Active            bool
	Width, Height     uint16
	BitrateBps        uint32
	Spatial, Temporal uint8
}

// AppendLayerState appends one state.
func AppendLayerState(dst []byte, s LayerState) []byte {
	dst = AppendFlag(dst, Flag{Handle: s.Handle, Set: s.Active})
	dst = binary.BigEndian.AppendUint16(dst, s.Width)
	dst = binary.BigEndian.AppendUint16(dst, s.Height)
	dst = binary.BigEndian.AppendUint32(dst, s.BitrateBps)
	return append(dst, s.Spatial, s.Temporal)
}

// ParseLayerStates appends the states of a message to dst.
func ParseLayerStates(dst []LayerState, b []byte) ([]LayerState, error) {
	if len(b) == 0 || len(b)%layerLen != 0 || len(b) > MaxPayload {
		return dst, ErrMessage
	}
	for ; len(b) > 0; b = b[layerLen:] {
		dst = append(dst, LayerState{
			Handle: Handle(binary.BigEndian.Uint32(b) >> 8), Active: b[3]&1 != 0,
			Width: binary.BigEndian.Uint16(b[4:]), Height: binary.BigEndian.Uint16(b[6:]), BitrateBps: binary.BigEndian.Uint32(b[8:]),
			Spatial: b[12], Temporal: b[13],
		})
	}
	return dst, nil
}

// SenderReport is a stream's mapping of wall clock to media time. How old it is stands in the header.
type SenderReport struct {
	NTP     uint64
	RTPTime uint32
}

// Append appends NTP time (64) | RTP time (32).
func (r SenderReport) Append(dst []byte) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(dst, r.NTP), r.RTPTime)
}

// ParseSenderReport reads a SenderReport.
func ParseSenderReport(b []byte) (SenderReport, error) {
	if len(b) != reportLen {
		return SenderReport{}, ErrMessage
	}
	return SenderReport{NTP: binary.BigEndian.Uint64(b), RTPTime: binary.BigEndian.Uint32(b[8:])}, nil
}
