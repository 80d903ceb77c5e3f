package sfu

import (
	"net/netip"
	"time"

	"rheomesh/internal/codec"
	"rheomesh/sfu/audiolevel"
)

// PublisherInfo is a snapshot of a publisher.
type PublisherInfo struct {
	ID          PublisherID
	RouterID    RouterID
	State       string // "live" or "idle"
	Origin      Origin
	Tracks      []TrackInfo
	Subscribers int
	Since       time.Time // live since; zero while idle
}

// Origin says where a publisher's client publishes.
type Origin struct {
	NodeID      NodeID
	RouterID    RouterID
	PublisherID PublisherID
	Hops        []NodeID // nodes that it came over, the origin first; empty on the origin itself
}

// TrackInfo is a snapshot of a track.
type TrackInfo struct {
	ID     TrackID
	Kind   string
	Codec  string // of the newest packet; empty before the first
	Layers []LayerInfo
	// AudioLevelDBov is how loud the audio is, smoothed, from -127 for silence to 0; nil when its client does not tell.
	AudioLevelDBov *int
	// Channels of a data track, by label.
	Channels []DataChannelInfo
}

// LayerInfo is a snapshot of a layer. Width and Height are those that the stream itself tells, 0 when it does not.
type LayerInfo struct {
	RID                           string
	SSRC                          uint32
	Active                        bool
	Width, Height                 int
	BitrateBps                    int
	Packets, PacketsLost          uint64
	SpatialLayers, TemporalLayers int
	Selected                      bool // a viewer's current layer
	// SubLayers are the parts of the layer that a viewer may get, from the least; empty when there is only all of it.
	SubLayers []SubLayerInfo
}

// SubLayerInfo is a layer up to a spatial and a temporal sub-layer, both from 0.
type SubLayerInfo struct {
	Spatial, Temporal int
	Width, Height     int
	BitrateBps        int
	Selected          bool // what a viewer gets now
}

// Info is a snapshot of the publisher.
func (p *Publisher) Info() PublisherInfo {
	tracks, subscribers, since := p.snapshot()
	info := PublisherInfo{
		ID: p.id, RouterID: p.router.id, State: "idle", Subscribers: subscribers, Since: since, Tracks: []TrackInfo{},
		Origin: p.origin(),
	}
	if !since.IsZero() {
		info.State = "live"
	}
	for _, t := range tracks {
		info.Tracks = append(info.Tracks, t.info())
	}
	if track, ok := p.dataInfo(); ok {
		info.Tracks = append(info.Tracks, track)
	}
	return info
}

func (t *Track) info() TrackInfo {
	info := TrackInfo{ID: t.ID, Kind: t.Kind.String(), Codec: t.codecName(), Layers: t.layerInfos(nil, nil)}
	if loudness, told := t.loudness(time.Now().UnixNano()); told {
		info.AudioLevelDBov = new(int(loudness) - audiolevel.Silence)
	}
	return info
}

func (t *Track) codecName() string {
	for _, l := range t.layers {
		if c := codec.Codec(l.codec.Load()); c != codec.Unknown {
			return c.String()
		}
	}
	return ""
}

// layerInfos lists the track's layers; selected is the one that a viewer gets, want what it is to get.
func (t *Track) layerInfos(selected *Layer, want *chosen) []LayerInfo {
	now := time.Now().UnixNano()
	infos := make([]LayerInfo, len(t.layers))
	for i, l := range t.layers {
		infos[i] = l.info(now)
		infos[i].Selected = l == selected
		infos[i].SubLayers = l.subLayerInfos(want)
	}
	return infos
}

func (l *Layer) subLayerInfos(want *chosen) (infos []SubLayerInfo) {
	rungs := l.rungs(nil, true, true)
	if len(rungs) < 2 {
		return nil
	}
	for _, r := range rungs {
		infos = append(infos, SubLayerInfo{
			Spatial: r.spatial, Temporal: r.temporal, Width: r.width, Height: r.height, BitrateBps: int(r.bitrate),
			Selected: want != nil && want.layer == l && want.spatial == r.spatial && want.temporal == r.temporal,
		})
	}
	return infos
}

func (l *Layer) info(now int64) LayerInfo {
	info := LayerInfo{
		RID: l.rid, SSRC: l.ssrc.Load(), Active: l.active(now), Width: int(l.width.Load()), Height: int(l.height.Load()),
		Packets: l.packets.Load(), PacketsLost: l.lost.Load(), SpatialLayers: int(l.spatial.Load()), TemporalLayers: int(l.temporal.Load()),
	}
	if info.Active {
		info.BitrateBps = int(l.bitrate.Load())
	}
	return info
}

// SubscriberInfo is a snapshot of a viewer.
type SubscriberInfo struct {
	ID          SubscriberID
	RouterID    RouterID
	PublisherID PublisherID
	State       string // "connecting", "waiting" for a publisher, "playing", "paused" or "closed"
	RemoteAddr  netip.AddrPort
	Paused      bool
	RoundTrip   time.Duration // 0 while unknown
	PacketsLost uint64        // as the viewer reports
	Tracks      []SubscriberTrackInfo
}

// SubscriberTrackInfo is a snapshot of one forwarder.
type SubscriberTrackInfo struct {
	Kind, Codec               string
	CurrentLayer, TargetLayer *LayerInfo // nil while nothing is sent
	Reason                    string     // why the viewer gets this layer or nothing
	// Spatial and Temporal are the highest sub-layers that the viewer is to get, from 0.
	Spatial, Temporal                 int
	EstimateBps                       int // what the viewer's link carries; 0 while there is nothing to choose
	Packets, Bytes, NACKs, PLIs       uint64
	Resent, Skips, WithoutCommonCodec uint64
	Channels                          []DataChannelInfo // of a data track, by label
}

// Info is a snapshot of the subscriber.
func (s *Subscriber) Info() SubscriberInfo {
	info := SubscriberInfo{
		ID: s.id, RouterID: s.session.router.id, PublisherID: s.publisher.id, State: s.state(), RemoteAddr: s.session.RemoteAddr(),
		Paused: s.paused.Load(), RoundTrip: s.roundTrip(), PacketsLost: uint64(s.lost.Load()), Tracks: []SubscriberTrackInfo{},
	}
	for _, f := range s.forwarders {
		info.Tracks = append(info.Tracks, f.info(s.paused.Load()))
	}
	if s.data != nil {
		if track, ok := s.data.info(); ok {
			info.Tracks = append(info.Tracks, track)
		}
	}
	return info
}

func (s *Subscriber) state() string {
	switch {
	case s.ended.Load():
		return "closed"
	case !s.session.Connected():
		return "connecting"
	case s.paused.Load():
		return "paused"
	case !s.publisher.Live():
		return "waiting"
	}
	return "playing"
}

func (f *forwarder) info(paused bool) SubscriberTrackInfo {
	c, now := &f.counters, time.Now().UnixNano()
	info := SubscriberTrackInfo{
		Kind: f.kind.String(), Packets: c.packets.Load(), Bytes: c.bytes.Load(), NACKs: c.nacks.Load(), PLIs: c.plis.Load(),
		Resent: c.resent.Load(), Skips: c.skips.Load(), WithoutCommonCodec: c.unmapped.Load(),
	}
	current, wanted := c.current.Load(), c.wanted.Load()
	if current != nil {
		layer := current.info(now)
		info.CurrentLayer, info.Codec = &layer, codec.Codec(current.codec.Load()).String()
	}
	if wanted != nil {
		layer := wanted.info(now)
		info.TargetLayer = &layer
	}
	info.Reason, info.EstimateBps = f.reason(current, wanted, paused), int(c.estimate.Load())
	if newest := f.choice.Load(); newest != nil {
		info.Spatial, info.Temporal = newest.spatial, newest.temporal
	}
	return info
}

// reason tells an operator what the forwarder is doing, in words of a closed set.
func (f *forwarder) reason(current, wanted *Layer, paused bool) string {
	switch {
	case paused:
		return reasonPaused
	case current == nil:
		return reasonIdle
	case wanted != current:
		return reasonKeyframe
	case f.counters.unmapped.Load() > 0 && f.counters.packets.Load() == 0:
		return reasonCodec
	case f.counters.packets.Load() == 0:
		return reasonKeyframe
	}
	return f.choice.reason()
}
