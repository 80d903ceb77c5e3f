package sfu

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"rheomesh/internal/codec"
	"rheomesh/internal/sdp"
)

const (
	// keyframeInterval is the least time between two keyframe requests to one layer, however many viewers ask.
	keyframeInterval = 500 * time.Millisecond
	// layerIdle is how long a layer may send nothing before it counts as inactive.
	layerIdle = time.Second
)

// Publisher is a named source in a router. It outlives the session that feeds it, so that viewers stay when the client reconnects, and exists without one
// while viewers wait for it.
type Publisher struct {
	id     PublisherID
	router *Router
	worker *worker // serves its newest viewers; guarded by Node.mu

	// mu guards the fields below.
	mu          sync.Mutex
	feeder      feeder   // nil while idle
	tracks      []*Track // of feeder, once it is connected
	liveSince   time.Time
	subscribers map[SubscriberID]*Subscriber
	held        int // sessions, of either role, that keep the publisher in its router
	feeding     int // sessions and feeds that publish under the name

	data dataTrack // under a lock of its own
}

// feeder is what a publisher's packets come from: a client's Session or a Feed.
type feeder interface {
	Close(reason CloseReason)
	// dataUp takes a viewer's message to the publisher's client.
	dataUp(m DataMessage) error
}

// Track is one audio or video medium of a publisher. It is made when a session starts and lives as long.
type Track struct {
	ID     TrackID
	Kind   codec.Kind
	router *Router
	// codecs by payload type, as the publisher numbers them.
	codecs     [128]trackCodec
	extensions []sdp.Extension
	layers     []*Layer
}

// trackCodec is what a payload type of a track means.
type trackCodec struct {
	codec codec.Codec
	sdp   sdp.Codec
}

// keyframeRequester asks whoever sends a layer for a keyframe.
// It reports whether the request went out.
type keyframeRequester interface{ requestKeyframe(l *Layer) bool }

// Layer is one encoding of a track: its only one, or one of a simulcast.
type Layer struct {
	track  *Track
	rid    string
	log    *Log
	source keyframeRequester

	shown layerShape // what listeners were told last; the writer's alone

	// Atomic only.
	ssrc          atomic.Uint32
	width, height atomic.Uint32
	bitrate       atomic.Int64 // bit/s, measured over the last second
	packets       atomic.Uint64
	bytes         atomic.Uint64
	lost          atomic.Uint64
	codec         atomic.Uint32 // codec.Codec of the newest packet
	spatial       atomic.Uint32 // spatial layers seen
	temporal      atomic.Uint32 // temporal layers seen
	heard         atomic.Int64  // arrival of the newest packet, nanoseconds since the epoch
	asked         atomic.Int64  // time of the last keyframe request
	report        atomic.Pointer[senderReport]
	rates         publishedRates
	loudness      publishedLoudness
	described     publishedDescription
}

// layerShape is what listeners are told of changes of.
type layerShape struct {
	active            bool
	width, height     uint32
	spatial, temporal int // the highest sub-layers that are sent
}

// senderReport is what a publisher's RTCP sender report said, and when it came (RFC 3550 section 6.4.1).
type senderReport struct {
	ntp     uint64
	rtpTime uint32
	arrival int64
}

func newLayer(t *Track, rid string, source keyframeRequester) *Layer {
	return &Layer{track: t, rid: rid, log: NewLog(), source: source}
}

// active reports whether the layer sends.
func (l *Layer) active(now int64) bool {
	heard := l.heard.Load()
	return heard != 0 && now-heard < int64(layerIdle)
}

// requestKeyframe passes the request on unless one went out less than keyframeInterval ago. It reports whether it did.
func (l *Layer) requestKeyframe(now int64) bool {
	last := l.asked.Load()
	if now-last < int64(keyframeInterval) || !l.asked.CompareAndSwap(last, now) {
		return false
	}
	if !l.source.requestKeyframe(l) {
		l.asked.CompareAndSwap(now, last) // nobody could be asked: the next request need not wait
		return false
	}
	return true
}

// layer finds a layer by rid.
func (t *Track) layer(rid string) *Layer {
	for _, l := range t.layers {
		if l.rid == rid {
			return l
		}
	}
	return nil
}

// ID is the publisher's name.
func (p *Publisher) ID() PublisherID { return p.id }

// Live reports whether a connected session feeds the publisher.
func (p *Publisher) Live() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.liveSince.IsZero()
}

// SubscriberCount is how many viewers watch or wait.
func (p *Publisher) SubscriberCount() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.subscribers)
}

// Close ends the session that feeds the publisher, if any. Viewers stay.
func (p *Publisher) Close(reason CloseReason) {
	p.mu.Lock()
	feeder := p.feeder
	p.mu.Unlock()
	if feeder != nil {
		feeder.Close(reason)
	}
}

// claim makes next what feeds the publisher and returns what it replaces, nil when the publisher was idle. What is fed from elsewhere is never replaced: its
// origin would only feed it again.
func (p *Publisher) claim(next feeder, policy ConflictPolicy) (old feeder, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, elsewhere := p.feeder.(*Feed); elsewhere || p.feeder != nil && policy == ConflictReject {
		return nil, ErrPublisherLive
	}
	old, p.feeder = p.feeder, next
	return old, nil
}

// goLive gives the connected feeder's tracks to the viewers.
func (p *Publisher) goLive(feeder feeder, tracks []*Track) {
	p.mu.Lock()
	if p.feeder != feeder {
		p.mu.Unlock()
		return
	}
	p.tracks, p.liveSince = tracks, time.Now()
	for _, s := range p.subscribers {
		s.bind(tracks)
	}
	p.mu.Unlock()
	p.router.emit(EventPublisherLive, p, nil)
}

// release takes the feeder away again.
func (p *Publisher) release(feeder feeder) {
	p.mu.Lock()
	wasLive := p.feeder == feeder && !p.liveSince.IsZero()
	if p.feeder == feeder {
		p.feeder, p.tracks, p.liveSince = nil, nil, time.Time{}
		for _, s := range p.subscribers {
			s.bind(nil)
		}
	}
	p.mu.Unlock()
	if wasLive {
		p.router.emit(EventPublisherIdle, p, nil)
	}
}

// join adds a viewer and gives it the tracks, if the publisher is live.
func (p *Publisher) join(s *Subscriber) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.subscribers[s.id] = s
	s.bind(p.tracks)
}

func (p *Publisher) leave(s *Subscriber) {
	p.mu.Lock()
	delete(p.subscribers, s.id)
	p.mu.Unlock()
}

// fed reports whether a session feeds the publisher or is about to.
func (p *Publisher) fed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.feeding > 0
}

// snapshot returns what is behind the lock, for Info.
func (p *Publisher) snapshot() (tracks []*Track, subscribers int, since time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.tracks), len(p.subscribers), p.liveSince
}
