package relay

import (
	"sync/atomic"
	"time"

	"rheomesh/relay/wire"
	"rheomesh/sfu"
)

// inStream is one layer on its way in.
type inStream struct {
	link     *link
	layer    *sfu.FeedLayer
	receiver *receiver
	rid      string
	track    sfu.TrackID

	wanted      atomic.Bool
	begun       atomic.Bool // it has become wanted, and no packet has come since
	keyframes   atomic.Uint64
	lastWatched time.Time // the clock's

	packets, bytes, recovered uint64 // guarded by link.receive
}

// reckon finds out whether the layer is to be sent, and whether that has changed. A layer that nobody watches goes on for a while: viewers come back, and switch to
// and fro.
func (s *inStream) reckon(now time.Time) (changed bool) {
	watched := s.layer.Audience() > 0
	if watched {
		s.lastWatched = now
	}
	wanted := watched || s.wanted.Load() && now.Sub(s.lastWatched) < demandLinger
	changed = s.wanted.Swap(wanted) != wanted
	if changed && wanted {
		s.begun.Store(true)
	}
	return changed
}

// report passes a sender report on. link.receive is held.
func (s *inStream) report(r wire.SenderReport, now time.Time, age time.Duration) {
	s.layer.Report(sfu.SenderReport{NTP: r.NTP, RTPTime: r.RTPTime}, now, age)
}

// RequestKeyframe implements sfu.FeedSource.
func (f *inFeed) RequestKeyframe(layer *sfu.FeedLayer) bool {
	s := f.stream(layer)
	if s == nil || !f.link.up.Load() {
		return false
	}
	s.keyframes.Add(1)
	l := s.link
	l.streams.Lock()
	l.keyframes[s.receiver.handle] = struct{}{}
	l.streams.Unlock()
	l.node.poke()
	return true
}

// Watched implements sfu.FeedSource.
func (f *inFeed) Watched(*sfu.FeedLayer) { f.link.node.poke() }
