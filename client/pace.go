package client

import (
	"fmt"
	"time"
)

// maxBehind is how late the pacing goroutine may be before it gives up to catch up: after a pause of the
// whole machine a burst of seconds of media would only hurt.
const maxBehind = time.Second

// pace sends the sources in real time until the session ends. All tracks are on one schedule: the time
// of a sample is the sum of the durations before it, counted from one start, so nothing drifts.
func (p *Publication) pace() {
	tracks := p.sourced()
	if len(tracks) == 0 {
		return
	}
	select {
	case <-p.connected:
	case <-p.ended:
		return
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for start := time.Now(); ; {
		track := earliest(tracks)
		wait := time.Until(start.Add(track.due))
		if wait < -maxBehind {
			start = start.Add(-wait)
		}
		if wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-p.ended:
				return
			}
		}
		if err := track.send(); err != nil {
			p.failed(err)
			return
		}
	}
}

// failed ends the session, unless it is the end of the session that failed the write.
func (p *Publication) failed(err error) {
	if p.Err() == nil {
		p.finish(fmt.Errorf("%w: %w", ErrDisconnected, err))
	}
}

func (p *Publication) sourced() (tracks []*LocalTrack) {
	for _, track := range p.tracks {
		if track.source != nil {
			tracks = append(tracks, track)
		}
	}
	return tracks
}

// earliest is the track whose sample is due first; among equals the first in the offer.
func earliest(tracks []*LocalTrack) *LocalTrack {
	first := tracks[0]
	for _, track := range tracks[1:] {
		if track.due < first.due {
			first = track
		}
	}
	return first
}
