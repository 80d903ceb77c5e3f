package wire

import "time"

const (
	historyPackets = 16384 // 1.6 s of a link that carries 100 Mbit/s
	resendTries    = 8     // times that one number is sent again
	resendMinGap   = 5 * time.Millisecond
	resendShare    = 2       // re-sent bytes are at most one in this many of the bytes sent …
	resendBurst    = 1 << 20 // … beyond this much
)

// Sent is what lies behind a number of a media flow. Payload is immutable; Key is the one that it was sealed with.
type Sent struct {
	Header  Header
	Payload []byte
	Key     *Key

	resent int64 // nanoseconds
	tries  int
}

// History remembers the newest packets of an outgoing media flow, and decides which may be sent again. It is for one goroutine at a time; the zero value is ready.
type History struct {
	sent   []Sent
	credit int // bytes that may be sent again beyond the share
}

// Add remembers a packet. Hot path.
func (h *History) Add(header Header, payload []byte, key *Key) {
	if h.sent == nil {
		h.sent, h.credit = make([]Sent, historyPackets), resendBurst
	}
	h.sent[header.Seq%historyPackets] = Sent{Header: header, Payload: payload, Key: key}
	h.credit = min(h.credit+len(payload)/resendShare, resendBurst)
}

// Again returns what to send for a number that the receiver misses, and whether it is its first request; nil when it is forgotten, was sent again just now, or
// would be too much.
func (h *History) Again(seq uint64, now int64, rtt time.Duration) (sent *Sent, first bool) {
	if len(h.sent) == 0 {
		return nil, false
	}
	s := &h.sent[seq%historyPackets]
	if s.Key == nil || s.Header.Seq != seq || s.tries >= resendTries || h.credit < len(s.Payload) {
		return nil, false
	}
	if s.tries > 0 && now-s.resent < int64(max(rtt*3/4, resendMinGap)) {
		return nil, false
	}
	s.tries++
	s.resent = now
	h.credit -= len(s.Payload)
	return s, s.tries == 1
}

// Clear forgets everything, and lets go of the memory that packets lie in.
func (h *History) Clear() { h.sent = nil }
