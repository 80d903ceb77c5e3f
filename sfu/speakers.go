package sfu

import (
	"math"
	"sync/atomic"
	"time"

	"rheomesh/internal/codec"
	"rheomesh/internal/rtpx"
	"rheomesh/internal/sdp"
	"rheomesh/sfu/audiolevel"
)

const (
	// rankInterval is how often a router's speakers are looked at, while any of its publishers tells how loud it is.
	rankInterval = 100 * time.Millisecond
	// levelStale is how long a publisher's level counts when no packet follows; senders with discontinuous transmission send one in 400 ms.
	levelStale = 500 * time.Millisecond
	// speakersStale is how long a list counts that no packet has renewed.
	speakersStale = 2 * time.Second
)

// Speaker is one of the loudest publishers of a router.
type Speaker struct {
	Publisher PublisherID
	LevelDBov int       // smoothed, from -127 for silence to 0 for the loudest that can be
	Since     time.Time // in the list since
}

// speakers is who speaks in a router. Packets drive it: nobody who is silent has to be looked at.
type speakers struct {
	next    atomic.Int64 // when the ranking is due
	ranking *audiolevel.Ranking[PublisherID]
	levels  map[PublisherID]float32 // scratch of the ranking
	list    atomic.Pointer[ranked]
}

type ranked struct {
	at   int64
	list []Speaker
}

func newSpeakers() *speakers {
	return &speakers{ranking: audiolevel.NewRanking[PublisherID](audiolevel.Config{}), levels: map[PublisherID]float32{}}
}

// Speakers are the loudest publishers of the router that are loud enough to speak, the active speaker first: at most three.
func (r *Router) Speakers() []Speaker {
	newest := r.speakers.list.Load()
	if newest == nil || time.Now().UnixNano()-newest.at > int64(speakersStale) {
		return []Speaker{}
	}
	return newest.list
}

// rank brings the list up to date. It runs in rounds of one worker.
func (r *Router) rank(now int64) {
	s := r.speakers
	clear(s.levels)
	for _, p := range r.Publishers() {
		for _, t := range p.Tracks() {
			if loudness, told := t.loudness(now); told {
				s.levels[p.id] = max(s.levels[p.id], loudness)
			}
		}
	}
	changed := s.ranking.Update(now, s.levels)
	next := &ranked{at: now, list: []Speaker{}}
	for _, l := range s.ranking.List() {
		next.list = append(next.list, Speaker{Publisher: l.ID, LevelDBov: int(l.Loudness) - audiolevel.Silence, Since: time.Unix(0, l.Since)})
	}
	s.list.Store(next)
	if changed {
		r.node.hub.emit(Event{Type: EventRouterSpeakers, RouterID: r.id, Router: r})
	}
}

// level reads how loud the packets of one audio stream are. It is the writer's.
type level struct {
	extension uint8 // id; 0 = not negotiated
	meter     audiolevel.Meter
}

func newLevel(t *Track) level {
	if t.Kind != codec.Audio {
		return level{}
	}
	return level{extension: sdp.ExtensionID(t.extensions, sdp.ExtAudioLevel)}
}

// take notes what a packet tells. Hot path of audio.
func (l *level) take(h rtpx.Header, plain []byte, to *Layer, now int64) {
	value, _ := rtpx.Extension(plain, h, l.extension)
	told, ok := audiolevel.Parse(value)
	if !ok {
		return
	}
	l.meter.Add(told, now)
	to.loudness.store(l.meter.Loudness(now))
	r := to.track.router
	if due := r.speakers.next.Load(); now >= due && r.speakers.next.CompareAndSwap(due, now+int64(rankInterval)) {
		r.node.workers[0].do(func() { r.rank(now) })
	}
}

// publishedLoudness is a layer's loudness, from 0 for silence to 127, for anybody to read.
type publishedLoudness struct {
	bits atomic.Uint32
	told atomic.Bool
}

func (p *publishedLoudness) store(loudness float32) {
	p.bits.Store(math.Float32bits(loudness))
	if !p.told.Load() {
		p.told.Store(true)
	}
}

// loudness is the loudest of the track's layers, silence when it sends nothing; told is false when its client does not tell.
func (t *Track) loudness(now int64) (loudness float32, told bool) {
	for _, l := range t.layers {
		if !l.loudness.told.Load() {
			continue
		}
		told = true
		if now-l.heard.Load() < int64(levelStale) {
			loudness = max(loudness, math.Float32frombits(l.loudness.bits.Load()))
		}
	}
	return loudness, told
}
