package wire

import "time"

const (
	historyPackets = 16384 // 1.6 s of a link that carries 100 Mbit/s
	resendTries    = 8     // times that one number is sent again
	resendMinGap   = 5 * time.Millisecond
)

// Sent is what lies behind a number of a media flow. Payload is immutable; Key is the one that it was sealed with.
type Sent struct {
	Header  Header
	Payload []byte
	Key     *Key

	resent int64 // nanoseconds
	tries  int
}

// History remembers the newest packets of an outgoing media flow, and says which may be sent again: a Pacer says when. It is for one goroutine at a time; the zero value is ready.
type History struct {
	sent []Sent
}

// Add remembers a packet. Hot path.
func (h *History) Add(header Header, payload []byte, key *Key) {
	if h.sent == nil {
		h.sent = make([]Sent, historyPackets)
	}
	h.sent[header.Seq%historyPackets] = Sent{Header: header, Payload: payload, Key: key}
}

// Find returns what to send for a number that the receiver misses; nil when it is forgotten or was sent again just now. Resent must follow if it is sent.
func (h *History) Find(seq uint64, now int64, rtt time.Duration) *Sent {
	if len(h.sent) == 0 {
		return nil
	}
	s := &h.sent[seq%historyPackets]
	if s.Key == nil || s.Header.Seq != seq || s.tries >= resendTries {
		return nil
	}
	if s.tries > 0 && now-s.resent < int64(max(rtt*3/4, resendMinGap)) {
		return nil
	}
	return s
}

// Resent notes that the packet is sent again, and reports whether that is the first time.
func (s *Sent) Resent(now int64) (first bool) {
	s.tries++
	s.resent = now
	return s.tries == 1
}

// Clear forgets everything, and lets go of the memory that packets lie in.
func (h *History) Clear() { h.sent = nil }
