package sfu

import (
	"sync/atomic"
	"time"
)

// maxBounds is the most bounds that a histogram may have.
const maxBounds = 16

// histogram counts observations by their size, without locks and without allocation. A reader may see an observation in the sum and not yet in its bucket.
type histogram struct {
	bounds  []int64 // upper bounds, ascending, the bound included; at most maxBounds
	buckets [maxBounds + 1]atomic.Uint64
	sum     atomic.Int64
}

// observe counts one observation. Hot path.
func (h *histogram) observe(value int64) {
	i := 0
	for i < len(h.bounds) && value > h.bounds[i] {
		i++
	}
	h.buckets[i].Add(1)
	h.sum.Add(value)
}

// observeSince counts the time since start, which the clock may have been set back to: nothing took less than no time. Hot path.
func (h *histogram) observeSince(start int64) { h.observe(max(time.Now().UnixNano()-start, 0)) }

// Histogram is a snapshot of what was observed.
type Histogram struct {
	Bounds []float64 // upper bounds of the buckets
	Counts []uint64  // of each bucket alone, and of one more for what is above all bounds
	Sum    float64
}

// snapshot reads the histogram; unit is what one of the result is in the histogram's own numbers.
func (h *histogram) snapshot(unit float64) Histogram {
	out := Histogram{Bounds: make([]float64, len(h.bounds)), Counts: make([]uint64, len(h.bounds)+1), Sum: float64(h.sum.Load()) / unit}
	for i, bound := range h.bounds {
		out.Bounds[i] = float64(bound) / unit
	}
	for i := range out.Counts {
		out.Counts[i] = h.buckets[i].Load()
	}
	return out
}

// Count is the number of observations.
func (h Histogram) Count() (n uint64) {
	for _, count := range h.Counts {
		n += count
	}
	return n
}
