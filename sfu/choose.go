package sfu

import (
	"sync/atomic"

	"rheomesh/internal/codec"
	"rheomesh/sfu/bandwidth"
)

// Reasons why a viewer gets a layer, or nothing. Those of package bandwidth come on top: together they are a closed set.
const (
	reasonPaused   = "paused"
	reasonIdle     = "publisher-idle"
	reasonKeyframe = "waiting-for-keyframe"
	reasonCodec    = "codec-not-offered"
	reasonBest     = string(bandwidth.ReasonBest)
	reasonSelected = string(bandwidth.ReasonSelected)
	reasonLimit    = string(bandwidth.ReasonLimit)
	reasonInactive = string(bandwidth.ReasonInactive)
)

// chosen is what was decided last, for anybody to read.
type chosen struct {
	layer             *Layer
	spatial, temporal int
	reason            string
}

// choice holds a forwarder's newest decision; nil before the first. The worker makes it, anybody may read it.
type choice struct{ atomic.Pointer[chosen] }

// reason is that of the newest decision.
func (c *choice) reason() string {
	if newest := c.Load(); newest != nil {
		return newest.reason
	}
	return reasonBest
}

// publish makes a decision readable; most are the one before, and cost nothing.
func (c *choice) publish(layer *Layer, spatial, temporal int, reason string) {
	if old := c.Load(); old == nil || *old != (chosen{layer, spatial, temporal, reason}) {
		c.Store(&chosen{layer, spatial, temporal, reason})
	}
}

// decision is what a viewer should get.
type decision struct {
	rung
	reason string
	urgent bool // what is sent now overfills the link
}

// decide finds what the viewer should get now: within its selection the best that its link carries.
func (f *forwarder) decide(now int64) decision {
	var room [bandwidth.MaxRungs]rung
	all := f.track.rungs(room[:0], f.selection.fewerFrames(), now)
	if len(all) == 0 {
		return decision{rung: rung{layer: f.resting(), whole: true}, reason: reasonInactive}
	}
	if len(all) > 1 {
		f.estimate(now)
	}
	best := all[len(all)-1].id(f.track)
	permitted := f.selection.narrow(all)
	top := permitted[len(permitted)-1]
	unlimited := f.selection.reason(top.id(f.track) == best)
	if f.bandwidth == nil {
		return decision{rung: top, reason: unlimited}
	}
	f.offerRungs(permitted)
	// Who asks for one thing gets it at its rate, whatever the link carries.
	f.bandwidth.SetCaps(bandwidth.Caps{Pinned: len(permitted) == 1 && unlimited == reasonSelected, Rung: top.id(f.track)})
	chosen := f.bandwidth.Choose(now)
	for i := range permitted {
		if permitted[i].id(f.track) != chosen.ID {
			continue
		}
		d := decision{rung: permitted[i], reason: string(chosen.Reason), urgent: chosen.Urgent}
		if chosen.Reason == bandwidth.ReasonBest {
			d.reason = unlimited
		}
		return d
	}
	return decision{rung: permitted[0], reason: reasonInactive}
}

// reason says why a viewer whose link carries all that it may have gets it.
func (s *LayerSelection) reason(best bool) string {
	switch {
	case s.RID != "" || s.Spatial != nil || s.Temporal != nil:
		return reasonSelected
	case best:
		return reasonBest
	}
	return reasonLimit
}

// resting is where a viewer waits while nothing of the track is sent.
func (f *forwarder) resting() *Layer {
	switch {
	case f.selection.RID != "" && f.track.layer(f.selection.RID) != nil:
		return f.track.layer(f.selection.RID)
	case f.layer != nil:
		return f.layer
	}
	return f.track.layers[0]
}

// reconsider starts a switch when something else should be sent.
func (f *forwarder) reconsider(now int64) {
	if f.track == nil || f.layer == nil || f.kind == codec.Audio && len(f.track.layers) == 1 {
		return
	}
	want := f.decide(now)
	f.aim(&want)
	switch {
	case want.layer == f.layer:
		f.keepLayer()
	case want.layer == f.target:
	case f.waiting && f.segments.newest() == nil: // nothing was sent yet, so nothing needs to be continued
		f.dropTarget()
		f.worker.detach(f, f.layer.log)
		f.aimed = f.aimedNext
		f.follow(want.layer)
	default:
		f.dropTarget()
		f.target, f.targetFrom = want.layer, now
		f.worker.attach(f, f.target.log)
		f.target.requestKeyframe(now)
	}
	if want.urgent {
		f.halt(now)
	}
	f.publishLayers()
}

// keepLayer gives up a switch that was under way.
func (f *forwarder) keepLayer() {
	f.dropTarget()
	f.stopped = false
}

func (f *forwarder) dropTarget() {
	if f.target != nil {
		f.worker.detach(f, f.target.log)
		f.target = nil
	}
}

// trySwitch goes over to the target layer once it has a keyframe that continues what the viewer has seen. Older ones are taken only where the viewer sees
// nothing anyway: the current layer has died, or overfilled the link, and no new keyframe has come in joinWait.
func (f *forwarder) trySwitch(now int64) {
	position, ok := f.target.log.Keyframe()
	if !ok {
		return
	}
	p := f.target.log.At(position)
	if p == nil {
		return
	}
	older := p.born() < f.lastTime && now-p.born() > int64(maxLag)
	dark := !f.layer.active(now) || f.stopped && now-f.targetFrom > int64(joinWait)
	f.heldBack = !f.frameEnded && !f.stopped && !f.waiting && f.layer.active(now)
	if older && !dark || f.heldBack {
		return
	}
	f.worker.detach(f, f.layer.log)
	f.segments.leave(f.layer, f.cursor)
	f.layer, f.target, f.aimed, f.stopped = f.target, nil, f.aimedNext, false
	f.waiting, f.catching, f.cursor, f.fresh = false, true, position, 0
	f.openAt = true
	f.publishLayers()
	f.subscriber.layerChanged()
	f.worker.again(f.layer.log)
}

// halt stops the current layer, which overfills the link, until a switch to a smaller one.
func (f *forwarder) halt(now int64) {
	if f.target != nil && !f.stopped {
		f.stopped = true
		f.await(f.cursor, now)
	}
}

func (f *forwarder) publishLayers() {
	f.counters.current.Store(f.layer)
	wanted := f.target
	if wanted == nil {
		wanted = f.layer
	}
	f.counters.wanted.Store(wanted)
}

// choose is the layer that a viewer begins with.
func (f *forwarder) choose(now int64) *Layer {
	want := f.decide(now)
	f.aim(&want)
	return want.layer
}

// aim notes what the viewer should get. While a switch waits, the layer that is still sent is sent as before.
func (f *forwarder) aim(want *decision) {
	f.choice.publish(want.layer, want.spatial, want.temporal, want.reason)
	if f.layer != nil && f.layer != want.layer {
		f.aimedNext = targetOf(&want.rung)
		return
	}
	f.aimed = targetOf(&want.rung)
	f.aimSelector()
}
