package sfu

import (
	"sync/atomic"
	"time"

	"rheomesh/internal/codec"
)

// Sub-layers that are told apart: AV1 and VP9 have up to 4 spatial in practice (3 in their scalability modes), and up to 4 temporal ones.
const (
	maxSpatial  = 4
	maxTemporal = 4
)

// subBytes counts bytes by spatial and temporal sub-layer. It is the writer's.
type subBytes [maxSpatial][maxTemporal]uint64

// add books a packet. Hot path.
func (b *subBytes) add(info *codec.Info, bytes int) {
	b[min(info.Spatial, maxSpatial-1)][min(info.Temporal, maxTemporal-1)] += uint64(bytes)
}

// subRates are the bit rates of a layer's sub-layers, each by itself, in bit/s. 0 means that the sub-layer is not sent.
type subRates [maxSpatial][maxTemporal]float64

// rateWeight is the weight of the newest second: one with a keyframe in it must not look like a stream that has doubled.
const rateWeight = 0.5

// measured are the rates after elapsed, in which the counts have grown by what lies between before and now. A sub-layer that has stopped counts as stopped at
// once.
func (r subRates) measured(before, now *subBytes, elapsed time.Duration) subRates {
	var next subRates
	for s := range next {
		for t := range next[s] {
			rate := float64(now[s][t]-before[s][t]) * 8 / elapsed.Seconds()
			if rate > 0 && r[s][t] > 0 {
				rate = rateWeight*rate + (1-rateWeight)*r[s][t]
			}
			next[s][t] = rate
		}
	}
	return next
}

// upTo is what a viewer gets of the spatial and temporal sub-layers up to the given ones, in bit/s: each builds on those below.
func (r *subRates) upTo(spatial, temporal int) float64 {
	sum := 0.0
	for s := range min(spatial+1, maxSpatial) {
		for t := range min(temporal+1, maxTemporal) {
			sum += r[s][t]
		}
	}
	return sum
}

// extent is the highest spatial sub-layer that is sent, and the highest temporal one.
func (r *subRates) extent() (spatial, temporal int) {
	for s := range r {
		for t := range r[s] {
			if r[s][t] > 0 {
				spatial, temporal = max(spatial, s), max(temporal, t)
			}
		}
	}
	return spatial, temporal
}

// publishedRates is where a layer's rates may be read by anybody; nil before the first measurement.
type publishedRates struct{ atomic.Pointer[subRates] }

// now are the newest rates; zeros before the first.
func (p *publishedRates) now() subRates {
	if r := p.Load(); r != nil {
		return *r
	}
	return subRates{}
}
