package bench

import (
	"math"
	"slices"
	"sync"
	"time"
)

// samples collects durations from several goroutines.
type samples struct {
	mu     sync.Mutex // guards values
	values []time.Duration
}

func (s *samples) add(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values = append(s.values, d)
}

// take returns what has been collected, and begins anew.
func (s *samples) take() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	values := s.values
	s.values = nil
	return values
}

// Spread sums up durations. All are zero without any.
type Spread struct {
	P50MS   float64 `json:"p50_ms"`
	P99MS   float64 `json:"p99_ms"`
	MaxMS   float64 `json:"max_ms"`
	Samples int     `json:"samples"`
}

// spread sorts values.
func spread(values []time.Duration) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	slices.Sort(values)
	return Spread{
		P50MS: milliseconds(percentile(values, 50)), P99MS: milliseconds(percentile(values, 99)),
		MaxMS: milliseconds(values[len(values)-1]), Samples: len(values),
	}
}

// percentile is the smallest of the sorted values that at least p percent do not exceed (nearest rank).
func percentile(sorted []time.Duration, p float64) time.Duration {
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[max(rank, 1)-1]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// per is a ratio that is 0 when there is nothing to divide by.
func per[N int | uint64 | float64 | time.Duration](a float64, b N) float64 {
	if b == 0 {
		return 0
	}
	return a / float64(b)
}
