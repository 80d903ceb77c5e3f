package datachan

import (
	"time"
)

// Parameters are what the creator of a channel chose (RFC 8832 section 5.1).
type Parameters struct {
	Label, Protocol string
	Ordered         bool
	MaxRetransmits  *uint16        // nil = not limited
	MaxLifetime     *time.Duration // nil = not limited; at most one of both is set
}

// Reliable reports whether every message must arrive.
func (p Parameters) Reliable() bool { return p.MaxRetransmits == nil && p.MaxLifetime == nil }

// Equal reports whether both describe the same channel.
func (p Parameters) Equal(other Parameters) bool {
	return p.Label == other.Label && p.Protocol == other.Protocol && p.Ordered == other.Ordered &&
		equal(p.MaxRetransmits, other.MaxRetransmits) && equal(p.MaxLifetime, other.MaxLifetime)
}

func equal[T comparable](a, b *T) bool {
	return a == nil && b == nil || a != nil && b != nil && *a == *b
}
