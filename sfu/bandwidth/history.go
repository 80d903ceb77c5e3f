package bandwidth

import "rheomesh/internal/seqnum"

// historySize is how many packets are remembered: 8 KiB, and 1.1 s at 10 Mbit/s in packets of 1,200 bytes, where reports come within 0.25 s and a round trip.
const historySize = 1024

// What became of a packet.
const (
	fateUnknown = iota
	fateLost
	fateArrived
)

// record is one packet sent, in eight bytes.
type record struct {
	sentAt uint32 // microseconds since the origin, wraps after 71 minutes
	bytes  uint16
	lap    uint8 // of the ring, tells old records from new ones
	mark   uint8 // fate in the low two bits, probe cluster above
}

func (r *record) fate() int        { return int(r.mark & 3) }
func (r *record) cluster() uint8   { return r.mark >> 2 }
func (r *record) setFate(fate int) { r.mark = r.mark&^3 | uint8(fate) }

// history remembers the packets sent, by transport-wide number.
type history struct {
	origin  int64 // time that sentAt counts from
	numbers seqnum.Unwrapper
	highest uint64 // 0 before the first packet
	records [historySize]record
}

// add remembers a packet. Hot path.
func (h *history) add(number uint16, bytes int, cluster uint8, now int64) {
	n := h.numbers.Unwrap(number)
	h.highest = max(h.highest, n)
	h.records[n%historySize] = record{
		sentAt: uint32(h.micros(now)), bytes: uint16(min(max(bytes, 1), 1<<16-1)), lap: uint8(n / historySize), mark: cluster << 2,
	}
}

// micros is a time in microseconds since the origin.
func (h *history) micros(now int64) int64 { return (now - h.origin) / 1000 }

// extend places a 16-bit number among those sent: the newest one that is not newer than the highest.
func (h *history) extend(number uint16) (uint64, bool) {
	behind := uint64(uint16(h.highest) - number)
	if h.highest == 0 || behind > h.highest {
		return 0, false
	}
	return h.highest - behind, true
}

// find returns the record of a packet, nil when it was never sent or is forgotten. Hot path.
func (h *history) find(n uint64) *record {
	if n > h.highest || n+historySize <= h.highest {
		return nil
	}
	r := &h.records[n%historySize]
	if r.lap != uint8(n/historySize) || r.bytes == 0 {
		return nil
	}
	return r
}

// sentMicros is when a packet was sent, in microseconds since the origin.
func (h *history) sentMicros(r *record, now int64) int64 {
	micros := h.micros(now)
	return micros - int64(uint32(micros)-r.sentAt)
}
