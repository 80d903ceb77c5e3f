package sfu

import (
	"cmp"
	"slices"
)

// maxLayers is how many encodings of one track viewers may choose from; more are accepted, the smallest of them left out.
const maxLayers = 4

// rung is one way to send a track to one viewer: a layer, and how far up its sub-layers.
type rung struct {
	layer             *Layer
	spatial, temporal int  // the highest sub-layers that are sent; 0 where there is one
	whole             bool // nothing of the layer is left out
	width, height     int
	bitrate           float64 // bit/s, measured; at least 1
	frames            float64 // the share of the layer's frames
}

// id tells rungs of one track apart.
func (r *rung) id(t *Track) int {
	return slices.Index(t.layers, r.layer)<<4 | r.spatial<<2 | r.temporal
}

// rungs appends what of the track can be sent now, from the cheapest to the best. Fewer frames are offered where there is nothing smaller to go to, and
// everywhere with allFrameRates: a small picture that moves looks better than a large one that stutters.
func (t *Track) rungs(dst []rung, allFrameRates bool, now int64) []rung {
	var sorted [maxLayers]*Layer
	layers := sorted[:0]
	for _, l := range t.layers {
		if l.active(now) && len(layers) < maxLayers {
			layers = append(layers, l)
		}
	}
	slices.SortStableFunc(layers, (*Layer).compare)
	for i, l := range layers {
		dst = l.rungs(dst, i == 0, allFrameRates)
	}
	return dst
}

// rungs appends what of the layer can be sent; smallest says that no other layer is smaller.
func (l *Layer) rungs(dst []rung, smallest, allFrameRates bool) []rung {
	rates := l.rates.now()
	topSpatial, topTemporal := rates.extent()
	for s := range topSpatial + 1 {
		for t := range topTemporal + 1 {
			fewer := t < topTemporal
			if fewer && !allFrameRates && (!smallest || s > 0) {
				continue
			}
			r := rung{
				layer: l, spatial: s, temporal: t, whole: s == topSpatial && !fewer, bitrate: rates.upTo(s, t), frames: 1 / float64(int(1)<<(topTemporal-t)),
			}
			r.width, r.height = l.size(s, topSpatial)
			if r.bitrate == 0 { // not measured yet, or nobody watches it on another node
				r.bitrate = float64(l.bitrate.Load())
			}
			r.bitrate = max(r.bitrate, 1)
			dst = append(dst, r)
		}
	}
	return dst
}

// size is that of the picture up to a spatial sub-layer: what the sender says, or else half of the next one's. The size of an AV1 sequence counts sub-layers that are
// not sent at present.
func (l *Layer) size(spatial, top int) (width, height int) {
	if d := l.described.Load(); d != nil && d.structure != nil {
		if told, ok := d.structure.Resolution(uint8(spatial)); ok {
			return told.Width, told.Height
		}
	}
	return int(l.width.Load()) >> (top - spatial), int(l.height.Load()) >> (top - spatial)
}

// narrow leaves the rungs that a selection allows. An encoding that is not sent is as good as not asked for; when the rest allows none, the cheapest is left.
func (s *LayerSelection) narrow(rungs []rung) []rung {
	if len(rungs) == 0 {
		return rungs
	}
	if slices.ContainsFunc(rungs, func(r rung) bool { return r.layer.rid == s.RID }) {
		rungs = keep(rungs, func(r *rung) bool { return r.layer.rid == s.RID })
	}
	topSpatial, topTemporal := 0, 0
	for i := range rungs {
		topSpatial, topTemporal = max(topSpatial, rungs[i].spatial), max(topTemporal, rungs[i].temporal)
	}
	return keep(rungs, func(r *rung) bool {
		return exactly(s.Spatial, r.spatial, topSpatial) && exactly(s.Temporal, r.temporal, topTemporal) && within(s.MaxSpatial, r.spatial) &&
			within(s.MaxTemporal, r.temporal) && within(s.MaxWidth, r.width) && within(s.MaxHeight, r.height)
	})
}

// keep filters in place, but for the first one when none pass.
func keep(rungs []rung, pass func(*rung) bool) []rung {
	first, kept := rungs[0], rungs[:0]
	for i := range rungs {
		if pass(&rungs[i]) {
			kept = append(kept, rungs[i])
		}
	}
	if len(kept) == 0 {
		kept = append(kept, first)
	}
	return kept
}

// exactly compares with what was asked for, as far as there is so much.
func exactly(asked *int, is, top int) bool { return asked == nil || is == min(*asked, top) }

func within(limit *int, is int) bool { return limit == nil || is <= *limit }

// fewerFrames reports whether the selection is about frame rates.
func (s *LayerSelection) fewerFrames() bool { return s.Temporal != nil || s.MaxTemporal != nil }

// compare orders layers by what is measured: the size of the picture, then the bit rate. Names of rids say nothing: clients order them either way.
// Like layers stay in the order in which they were offered.
func (l *Layer) compare(other *Layer) int {
	return cmp.Or(
		cmp.Compare(l.width.Load()*l.height.Load(), other.width.Load()*other.height.Load()),
		compareRates(l.bitrate.Load(), other.bitrate.Load()),
	)
}

// compareRates takes bit rates for equal that differ by less than a fifth: those of like layers do from one measurement to the next, and a viewer must not change
// layers for that.
func compareRates(a, b int64) int {
	if min(a, b)*5 > max(a, b)*4 {
		return 0
	}
	return cmp.Compare(a, b)
}
