package sfu

import (
	"fmt"
	"sync/atomic"
	"time"

	"rheomesh/internal/codec"
	"rheomesh/internal/rtcpx"
	"rheomesh/internal/rtpx"
	"rheomesh/internal/sdp"
)

// TrackDescription is what must be known of a track to feed it on another node.
type TrackDescription struct {
	ID         TrackID
	Kind       string // "audio" or "video"
	Codecs     []sdp.Codec
	Extensions []sdp.Extension
	RIDs       []string // of its layers; one empty string without simulcast
}

// FeedSource is told what a Feed's viewers need. Its methods must not block, and may be called from any goroutine.
type FeedSource interface {
	// RequestKeyframe asks for a keyframe of a layer; requests of all viewers are merged before. It reports whether anybody could be asked.
	RequestKeyframe(l *FeedLayer) bool
	// Watched says that the first viewer of a layer has come, or the last has gone: see FeedLayer.Audience.
	Watched(l *FeedLayer)
	// FeedClosed says that the feed was closed by the node or an operator.
	FeedClosed(f *Feed, reason CloseReason)
}

// FeedRequest asks to feed a publisher with packets that come from elsewhere.
type FeedRequest struct {
	Publisher PublisherID
	Origin    Origin
	Tracks    []TrackDescription
	Source    FeedSource
}

// Feed feeds a publisher without a client: whoever holds it appends packets. It lives until Close.
type Feed struct {
	publisher *Publisher
	origin    Origin
	source    FeedSource
	tracks    []*Track
	layers    [][]*FeedLayer
	closed    atomic.Bool
}

// FeedLayer is where the packets of one layer go in. Room, Append and Describe are for one goroutine at a time.
type FeedLayer struct {
	feed   *Feed
	layer  *Layer
	stream *stream
}

// NewFeed makes a feed for an idle publisher; one that is live stays as it is, and the error is ErrPublisherLive. Viewers get the feed's tracks with Start.
func (r *Router) NewFeed(req FeedRequest) (*Feed, error) {
	f, err := r.newFeed(req)
	if err != nil {
		return nil, fmt.Errorf("feed %s/%s: %w", r.id, req.Publisher, err)
	}
	return f, nil
}

func (r *Router) newFeed(req FeedRequest) (*Feed, error) {
	if !ValidID(string(req.Publisher)) {
		return nil, fmt.Errorf("publisher: %w", ErrIDInvalid)
	}
	p, err := r.admit(RolePublish, req.Publisher)
	if err != nil {
		return nil, err
	}
	f := &Feed{publisher: p, origin: req.Origin, source: req.Source}
	for _, d := range req.Tracks {
		f.addTrack(d)
	}
	if _, err := p.claim(f, ConflictReject); err != nil {
		r.drop(p, RolePublish)
		return nil, err
	}
	r.mu.Lock()
	deleted := r.deleted
	r.feeds[f] = struct{}{}
	r.mu.Unlock()
	if deleted { // since admit; whoever deletes it may not have seen the feed
		f.Close(CloseRouterDeleted)
		return nil, ErrRouterNotFound
	}
	return f, nil
}

func (f *Feed) addTrack(d TrackDescription) {
	t := &Track{ID: d.ID, Kind: codec.Audio, router: f.publisher.router, extensions: d.Extensions}
	if d.Kind == codec.Video.String() {
		t.Kind = codec.Video
	}
	for _, c := range d.Codecs {
		if known, ok := codec.Parse(c.Name); ok {
			t.codecs[c.PT&0x7f] = trackCodec{codec: known, sdp: c}
		}
	}
	var layers []*FeedLayer
	for _, rid := range d.RIDs {
		l := &FeedLayer{feed: f}
		l.layer = newLayer(t, rid, l)
		l.layer.log.watched = func() { f.source.Watched(l) }
		l.stream = newStream(0, l.layer, false)
		t.layers = append(t.layers, l.layer)
		layers = append(layers, l)
	}
	f.tracks = append(f.tracks, t)
	f.layers = append(f.layers, layers)
}

// Start makes the publisher live.
func (f *Feed) Start() { f.publisher.goLive(f, f.tracks) }

// Pause lets viewers wait because nothing comes for now; the name stays the feed's. A feed that is paused already stays so.
func (f *Feed) Pause() {
	p := f.publisher
	p.mu.Lock()
	live := p.feeder == f && len(p.tracks) > 0
	if live {
		p.tracks, p.liveSince = nil, time.Time{}
		for _, s := range p.subscribers {
			s.bind(nil)
		}
	}
	p.mu.Unlock()
	if live {
		p.router.emit(EventPublisherIdle, p, nil)
	}
}

// Resume ends a Pause.
func (f *Feed) Resume() {
	if !f.publisher.Live() {
		f.Start()
	}
}

// Layers are the layers of each track, in the order of the request.
func (f *Feed) Layers() [][]*FeedLayer { return f.layers }

// Origin is where the publisher's client publishes.
func (f *Feed) Origin() Origin { return f.origin }

// Publisher is what the feed feeds.
func (f *Feed) Publisher() *Publisher { return f.publisher }

// Close takes the publisher off the air; its viewers wait. It may be called twice. Nobody may append any more.
func (f *Feed) Close(reason CloseReason) {
	if f.closed.Swap(true) {
		return
	}
	r := f.publisher.router
	r.mu.Lock()
	delete(r.feeds, f)
	r.mu.Unlock()
	f.publisher.release(f)
	f.publisher.releaseData(f)
	r.drop(f.publisher, RolePublish)
	f.source.FeedClosed(f, reason)
}

// Feed is what the layer belongs to.
func (l *FeedLayer) Feed() *Feed { return l.feed }

// Audience is how many viewers and sinks there are on the layer.
func (l *FeedLayer) Audience() int { return int(l.layer.log.audience.Load()) }

func (l *FeedLayer) requestKeyframe(*Layer) bool { return l.feed.source.RequestKeyframe(l) }

// Room is memory for n bytes of the next packet; Append takes it over. Hot path.
func (l *FeedLayer) Room(n int) []byte { return l.stream.slab.room(n) }

// Append adds a plain RTP packet, which lies at the start of what Room returned last. cycle is the low 4 bits of how often its number has wrapped, age how long ago
// it reached its first node. It reports whether the log has taken the packet: not if it is there already, or older than all that is. Node.Wake must follow, once for many packets. Hot path.
func (l *FeedLayer) Append(plain []byte, cycle uint8, now time.Time, age time.Duration) bool {
	n, s := l.feed.publisher.router.node, l.stream
	h, err := rtpx.Parse(plain)
	if err != nil || l.feed.closed.Load() {
		n.stats.malformedRTP.Add(1)
		return false
	}
	known := l.layer.track.codecs[h.PayloadType].codec
	if known == codec.Unknown {
		n.stats.unresolved.Add(1)
		return false
	}
	seq := l.extend(h.Seq, cycle)
	if !l.layer.log.misses(seq) {
		s.duplicates++
		return false
	}
	s.top = max(s.top, seq)
	s.loss.OnPacket(h.Seq, now)
	if h.SSRC != s.ssrc {
		s.ssrc = h.SSRC
		l.layer.ssrc.Store(h.SSRC)
	}
	s.append(n, known, plain, h, seq, now, age)
	s.slab.keep(len(plain))
	if now.Sub(s.bytesAt) >= receiverEvery {
		s.measure(now)
		l.tellShape(now)
		l.countLost(now)
	}
	return true
}

// countLost counts the numbers that have not come within a second: lost by the client, or on the way here.
func (l *FeedLayer) countLost(now time.Time) {
	var due [64]uint16
	l.stream.loss.Due(now, due[:0]) // it gives up what is too old; the hop has asked for the rest already
	l.publishLost()
}

func (l *FeedLayer) publishLost() {
	lost := l.stream.loss.Lost() - l.stream.counted
	l.stream.counted += lost
	l.layer.lost.Add(lost)
}

// Skip says that what is missing before the next packet was not sent for want of viewers, and is not lost.
func (l *FeedLayer) Skip() {
	l.publishLost()
	l.stream.loss, l.stream.counted = rtcpx.LossTracker{}, 0
}

// extend finds the 64-bit number that has the given 20 low bits and is nearest to the highest so far.
func (l *FeedLayer) extend(seq uint16, cycle uint8) uint64 {
	const span = 1 << 20
	low := uint64(cycle&0xf)<<16 | uint64(seq)
	if l.stream.top == 0 {
		return low + span // so that none before the first is below zero
	}
	ahead := (low - l.stream.top) % span
	if ahead < span/2 {
		return l.stream.top + ahead
	}
	return l.stream.top + ahead - span
}

// Describe tells what the origin knows of a layer, of which packets may not come for want of viewers.
func (l *FeedLayer) Describe(info LayerInfo, now time.Time) {
	l.layer.width.Store(uint32(info.Width))
	l.layer.height.Store(uint32(info.Height))
	l.layer.bitrate.Store(int64(info.BitrateBps))
	l.layer.spatial.Store(uint32(info.SpatialLayers))
	l.layer.temporal.Store(uint32(info.TemporalLayers))
	if info.Active {
		l.layer.heard.Store(now.UnixNano())
	}
	l.tellShape(now)
}

// tellShape tells listeners when the layer came, went or changed its size.
func (l *FeedLayer) tellShape(now time.Time) {
	if l.layer.shape(now.UnixNano()) {
		l.feed.publisher.router.emitLayers(l.feed.publisher)
	}
}

// Idle says that the layer has stopped, so that viewers go to another one without waiting for its silence.
func (l *FeedLayer) Idle() { l.layer.heard.Store(0) }

// Report sets the mapping of wall clock to media time (RFC 3550 section 6.4.1) that the client sent age ago.
func (l *FeedLayer) Report(report SenderReport, now time.Time, age time.Duration) {
	l.layer.report.Store(&senderReport{ntp: report.NTP, rtpTime: report.RTPTime, arrival: now.Add(-age).UnixNano()})
}

// SenderReport is a client's mapping of wall clock to media time, and when it came in nanoseconds since the Unix epoch.
type SenderReport struct {
	NTP     uint64
	RTPTime uint32
	Arrival int64
}

// Wake tells the readers of all logs that have grown.
func (n *Node) Wake() { n.grown.tell() }

// Tracks are what feeds the publisher now, empty while it is idle. A new session brings new tracks.
func (p *Publisher) Tracks() []*Track {
	tracks, _, _ := p.snapshot()
	return tracks
}

// Router is where the publisher lives.
func (p *Publisher) Router() *Router { return p.router }

// origin says where the publisher's client is.
func (p *Publisher) origin() Origin {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f, ok := p.feeder.(*Feed); ok {
		return f.origin
	}
	return Origin{NodeID: p.router.node.id, RouterID: p.router.id, PublisherID: p.id, Hops: []NodeID{}}
}

// Describe is what another node must know to feed the track there.
func (t *Track) Describe() TrackDescription {
	d := TrackDescription{ID: t.ID, Kind: t.Kind.String(), Extensions: t.extensions}
	for pt := range t.codecs {
		if t.codecs[pt].codec != codec.Unknown {
			d.Codecs = append(d.Codecs, t.codecs[pt].sdp)
		}
	}
	for _, l := range t.layers {
		d.RIDs = append(d.RIDs, l.rid)
	}
	return d
}

// Layers are the track's encodings.
func (t *Track) Layers() []*Layer { return t.layers }

// RID names the encoding in its track; empty without simulcast.
func (l *Layer) RID() string { return l.rid }

// Log is where the layer's packets are.
func (l *Layer) Log() *Log { return l.log }

// Info is a snapshot of the layer.
func (l *Layer) Info(now time.Time) LayerInfo { return l.info(now.UnixNano()) }

// RequestKeyframe asks whoever sends the layer for a keyframe, unless that was done just now.
func (l *Layer) RequestKeyframe(now time.Time) bool { return l.requestKeyframe(now.UnixNano()) }

// Report is the newest sender report of the layer's client; the zero value before the first.
func (l *Layer) Report() SenderReport {
	r := l.report.Load()
	if r == nil {
		return SenderReport{}
	}
	return SenderReport{NTP: r.ntp, RTPTime: r.rtpTime, Arrival: r.arrival}
}
