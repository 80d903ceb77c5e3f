package bandwidth

import (
	"encoding/binary"
	"errors"
)

// ErrReport means a transport-wide report that cannot be read.
var ErrReport = errors.New("transport-wide report malformed")

// The layout of a report after the SSRCs (draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1):
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	|      base sequence number     |      packet status count      |
//	|                 reference time                | fb pkt. count |
//	|          packet chunk         |         packet chunk          |
//	|         packet chunk          |  recv delta   |  recv delta   |
const (
	reportHeaderLen = 8
	chunkLen        = 2
	// maxStatuses bounds the work that one report can ask for: far more than the history holds.
	maxStatuses     = 8192
	deltaMicros     = 250       // unit of a delta
	referenceMicros = 64_000    // unit of the reference time
	referenceMask   = 1<<24 - 1 // the reference time wraps after 12 days
)

// Status symbols (section 3.1.1). The fourth is reserved.
const (
	statusLost = iota
	statusSmall
	statusLarge
	statusReserved
)

// report reads transport-wide reports in place, and unwraps their reference time and count from one to the next.
type report struct {
	base      uint16
	count     int
	reference uint32
	serial    uint8
	chunks    []byte // valid until the end of the call that parsed
	deltas    []byte

	// Kept from report to report.
	started       bool
	lastSerial    uint8
	lastReference int64  // unwrapped
	missed        uint64 // reports that never came
}

// parse checks the whole report.
func (r *report) parse(fci []byte) error {
	if len(fci) < reportHeaderLen+chunkLen {
		return ErrReport
	}
	r.base = binary.BigEndian.Uint16(fci)
	r.count = int(binary.BigEndian.Uint16(fci[2:]))
	last := binary.BigEndian.Uint32(fci[4:])
	r.reference, r.serial = last>>8, uint8(last)
	if r.count == 0 || r.count > maxStatuses {
		return ErrReport
	}
	body := fci[reportHeaderLen:]
	chunks, deltas, err := measure(body, r.count)
	if err != nil || len(body) < chunks+deltas {
		return ErrReport
	}
	r.chunks, r.deltas = body[:chunks], body[chunks:chunks+deltas]
	return nil
}

// measure returns the number of bytes that the chunks of count packets, and their deltas, take.
func measure(body []byte, count int) (chunks, deltas int, err error) {
	for count > 0 {
		if len(body) < chunks+chunkLen {
			return 0, 0, ErrReport
		}
		c := chunk(binary.BigEndian.Uint16(body[chunks:]))
		chunks += chunkLen
		n := min(c.len(), count)
		if n == 0 {
			return 0, 0, ErrReport // a run of none would let a report be without end
		}
		if c.run() {
			deltas += n * deltaLen(c.symbol(0))
			if c.symbol(0) == statusReserved {
				return 0, 0, ErrReport
			}
		} else {
			for i := range n {
				if c.symbol(i) == statusReserved {
					return 0, 0, ErrReport
				}
				deltas += deltaLen(c.symbol(i))
			}
		}
		count -= n
	}
	return chunks, deltas, nil
}

// deltaLen is the bytes of delta of a status: none, one unsigned, or two signed.
func deltaLen(symbol int) int { return symbol }

// chunk is a run of one symbol (section 3.1.3) or a vector of 14 short or 7 full ones (section 3.1.4).
type chunk uint16

func (c chunk) run() bool { return c>>15 == 0 }

func (c chunk) len() int {
	switch {
	case c.run():
		return int(c & 0x1fff)
	case c>>14&1 == 0:
		return 14
	}
	return 7
}

func (c chunk) symbol(i int) int {
	switch {
	case c.run():
		return int(c >> 13 & 3)
	case c>>14&1 == 0:
		return int(c >> (13 - i) & 1)
	}
	return int(c >> (12 - 2*i) & 3)
}

// read hands what the parsed report says about each packet to the estimator and the prober. Hot path.
func (r *report) read(h *history, e *estimator, p *prober, now int64) {
	missed := r.missed
	arrival, fresh := r.advance()
	number, known := h.extend(r.base)
	if !fresh || !known {
		return
	}
	if r.missed != missed {
		e.delay.hole()
	}
	e.heard(now)
	left, deltas := r.count, r.deltas
	for chunks := r.chunks; left > 0; chunks = chunks[chunkLen:] {
		c := chunk(binary.BigEndian.Uint16(chunks))
		n := min(c.len(), left)
		left -= n
		for i := range n {
			symbol := c.symbol(i)
			switch symbol {
			case statusSmall:
				arrival += deltaMicros * int64(deltas[0])
			case statusLarge:
				arrival += deltaMicros * int64(int16(binary.BigEndian.Uint16(deltas)))
			}
			deltas = deltas[deltaLen(symbol):]
			settle(h, e, p, number, symbol != statusLost, arrival, now)
			number++
		}
	}
}

// advance unwraps the reference time into microseconds and counts the reports that are missing. It is false for a report that came twice.
func (r *report) advance() (reference int64, fresh bool) {
	if !r.started {
		r.started, r.lastSerial, r.lastReference = true, r.serial, int64(r.reference)
		return r.lastReference * referenceMicros, true
	}
	unwrapped := r.lastReference + int64(int32((r.reference-uint32(r.lastReference&referenceMask))<<8)>>8)
	step := int8(r.serial - r.lastSerial)
	if step == 0 && unwrapped == r.lastReference {
		return 0, false
	}
	if step > 0 {
		r.missed += uint64(step - 1)
		r.lastSerial = r.serial
	}
	r.lastReference = max(unwrapped, r.lastReference)
	return unwrapped * referenceMicros, true
}

// settle notes the fate of one packet. A packet that was missing in one report may be in a later one; none counts twice.
func settle(h *history, e *estimator, p *prober, number uint64, arrived bool, arrival, now int64) {
	r := h.find(number)
	if r == nil || r.fate() == fateArrived {
		return
	}
	if !arrived {
		if r.fate() == fateUnknown {
			r.setFate(fateLost)
			e.lost()
			p.lost(r.cluster())
		}
		return
	}
	if r.fate() == fateLost {
		e.found()
		p.found(r.cluster())
	}
	r.setFate(fateArrived)
	sent := h.sentMicros(r, now)
	e.arrived(sent, arrival, h.micros(now), int(r.bytes), r.cluster() != 0)
	p.arrived(r.cluster(), sent, arrival, int(r.bytes))
}
