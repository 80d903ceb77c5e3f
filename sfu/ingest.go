package sfu

import (
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"github.com/pion/interceptor/pkg/twcc"

	"rheomesh/internal/codec"
	"rheomesh/internal/rtcpx"
	"rheomesh/internal/rtpx"
	"rheomesh/internal/sdp"
	"rheomesh/internal/seqnum"
	"rheomesh/sfu/transport"
)

const (
	maxRTPBytes    = 1500 // larger packets are dropped: they would not fit a viewer's path
	maxTrackedTWCC = 8192 // packets that one feedback interval may record; a sender beyond it gets no finer estimate
)

// ingest is the receiving side of a publisher's session: it opens packets into the slabs of their layers, appends them, repairs losses by NACK, and gives the
// client the feedback that its congestion control lives on.
type ingest struct {
	session   *Session
	transport *transport.Session
	node      *Node
	media     []sdp.Media
	tracks    []*Track
	byMedia   []*Track // by m-line; nil for data sections
	extension ingestExtensions
	ssrc      uint32 // ours, as the sender of feedback

	// mu guards the fields below. Packets of one client come from one reader of the port but for the moments when it changes its path.
	mu       sync.Mutex
	streams  []*stream
	declared map[uint32]declaration // by SSRC, of the offer
	scratch  [maxRTPBytes + 64]byte
	recorder *twcc.Recorder
	recorded int
	packet   []byte // scratch of feedback
	// when feedback was last given, of each kind
	lookedAt, recordedAt, reportedAt time.Time
}

// ingestExtensions are the ids of the header extensions that the node reads; 0 when they were not negotiated.
type ingestExtensions struct{ mid, rid, repairedRID, transportCC uint8 }

// declaration is what an offer says of an SSRC.
type declaration struct {
	layer *Layer
	rtx   bool
}

// stream is one SSRC of a publisher: a layer's media, or its retransmissions.
type stream struct {
	ssrc   uint32
	layer  *Layer
	rtx    bool
	slab   slab
	base   uint64 // added to the unwrapped numbers; grows when the client restarts its numbering
	unwrap seqnum.Unwrapper
	top    uint64 // highest extended sequence number
	loss   rtcpx.LossTracker
	stats  rtcpx.ReceptionStats

	// for the next receiver report and rates
	lastSR     uint32
	lastSRAt   time.Time
	bytes      uint64
	bytesAt    time.Time
	bytesOld   uint64
	layering   *layering // of video
	level      level     // of audio
	sub        subBytes
	subOld     subBytes
	info       codec.Info
	duplicates uint64
	counted    uint64 // of loss.Lost
}

func newIngest(s *Session, description *sdp.Description) *ingest {
	in := &ingest{session: s, node: s.router.node, media: description.Media, ssrc: newSSRC(), declared: map[uint32]declaration{}}
	for _, m := range description.Media {
		track := in.newTrack(m)
		in.byMedia = append(in.byMedia, track)
		if track == nil {
			continue
		}
		in.tracks = append(in.tracks, track)
		in.readExtensions(m)
		in.declare(m, track)
	}
	return in
}

// newTrack makes the track of an m-line with all its layers; nil for a data section or one that we rejected.
func (in *ingest) newTrack(m sdp.Media) *Track {
	codecs := sdp.PublishCodecs(m)
	if m.Kind == sdp.Application || len(codecs) == 0 || !m.Active() {
		return nil
	}
	t := &Track{ID: TrackID(m.MID), Kind: codec.Audio, router: in.session.router, extensions: sdp.PublishExtensions(m)}
	if m.Kind == sdp.Video {
		t.Kind = codec.Video
	}
	for _, c := range codecs {
		if known, ok := codec.Parse(c.Name); ok {
			t.codecs[c.PT] = trackCodec{codec: known, sdp: c}
		}
	}
	for _, rid := range publishedRIDs(m) {
		t.layers = append(t.layers, newLayer(t, rid, in))
	}
	if len(t.layers) == 0 {
		t.layers = []*Layer{newLayer(t, "", in)}
	}
	return t
}

// publishedRIDs are the encodings that a client announced to send.
func publishedRIDs(m sdp.Media) []string {
	if len(m.SimulcastSend) > 0 {
		return m.SimulcastSend
	}
	var rids []string
	for _, r := range m.RIDs {
		if r.Direction == "send" {
			rids = append(rids, r.ID)
		}
	}
	return rids
}

func (in *ingest) readExtensions(m sdp.Media) {
	for _, e := range sdp.PublishExtensions(m) {
		switch id := uint8(e.ID); e.URI {
		case sdp.ExtMID:
			in.extension.mid = id
		case sdp.ExtRID:
			in.extension.rid = id
		case sdp.ExtRepairedRID:
			in.extension.repairedRID = id
		case sdp.ExtTransportCC:
			in.extension.transportCC = id
		}
	}
}

// declare notes the SSRCs that the offer names. With several layers the packets' own rids decide instead.
func (in *ingest) declare(m sdp.Media, t *Track) {
	if len(t.layers) != 1 {
		return
	}
	repair := map[uint32]bool{}
	for _, g := range m.Groups {
		if g.Semantics == "FID" {
			for _, id := range g.IDs[1:] {
				repair[id] = true
			}
		}
	}
	for _, s := range m.SSRCs {
		in.declared[s.ID] = declaration{layer: t.layers[0], rtx: repair[s.ID]}
	}
}

func newStream(ssrc uint32, l *Layer, rtx bool) *stream {
	s := &stream{ssrc: ssrc, layer: l, rtx: rtx, bytesAt: time.Now(), layering: newLayering(l.track), level: newLevel(l.track)}
	s.slab = slab{size: firstSlabBytes, most: videoSlabBytes}
	if l.track.Kind == codec.Audio {
		s.slab.most = audioSlabBytes
	}
	return s
}

// handleRTP takes one sealed packet. Hot path.
func (in *ingest) handleRTP(sealed []byte, now time.Time) {
	if len(sealed) < 12 || len(sealed) > maxRTPBytes {
		in.node.stats.malformedRTP.Add(1)
		return
	}
	ssrc := binary.BigEndian.Uint32(sealed[8:])
	in.mu.Lock()
	defer in.mu.Unlock()
	if s := in.stream(ssrc); s != nil {
		in.receive(s, sealed, now)
	} else {
		in.receiveFirst(ssrc, sealed, now)
	}
	in.feedbackLocked(now)
}

// stream finds a stream by its SSRC; there are a handful. Hot path.
func (in *ingest) stream(ssrc uint32) *stream {
	for _, s := range in.streams {
		if s.ssrc == ssrc {
			return s
		}
	}
	return nil
}

// receive opens a packet of a known stream into its layer's slab. Hot path.
func (in *ingest) receive(s *stream, sealed []byte, now time.Time) {
	plain, err := in.transport.OpenRTP(s.slab.room(len(sealed))[:0], sealed)
	if err != nil {
		in.node.stats.unopened.Add(1)
		return
	}
	h, err := rtpx.Parse(plain)
	if err != nil {
		in.node.stats.malformedRTP.Add(1)
		return
	}
	in.record(h, plain, now)
	if s.rtx {
		in.receiveRTX(s, plain, h, now)
		return
	}
	if in.append(s, plain, h, now, false) {
		s.slab.keep(len(plain))
	}
}

// receiveFirst opens the first packet of a stream and finds out what it is. Beyond the cap on streams nothing is even opened, so that a client which invents
// SSRCs makes the node hold nothing.
func (in *ingest) receiveFirst(ssrc uint32, sealed []byte, now time.Time) {
	if len(in.streams) >= in.node.limits.MaxSSRCsPerSession {
		in.node.stats.reject(rejectSSRCs)
		return
	}
	plain, err := in.transport.OpenRTP(in.scratch[:0], sealed)
	if err != nil {
		in.node.stats.unopened.Add(1)
		return
	}
	h, err := rtpx.Parse(plain)
	if err != nil {
		in.node.stats.malformedRTP.Add(1)
		return
	}
	in.record(h, plain, now)
	s := in.resolve(ssrc, plain, h)
	if s == nil {
		in.node.stats.unresolved.Add(1)
		return
	}
	if !s.rtx {
		s.layer.ssrc.Store(ssrc)
		s.base = in.baseFor(s.layer)
	}
	in.streams = append(in.streams, s)
	kept := s.slab.room(len(plain))
	copy(kept, plain)
	if s.rtx {
		in.receiveRTX(s, kept, h, now)
	} else if in.append(s, kept, h, now, false) {
		s.slab.keep(len(kept))
	}
}

// resolve finds the layer of a new SSRC: by rid and mid in the packet (RFC 8852, RFC 9143 section 9.2), by the offer, or by its payload type.
func (in *ingest) resolve(ssrc uint32, plain []byte, h rtpx.Header) *stream {
	track := in.trackOf(plain, h)
	if track != nil {
		if rid, ok := extensionText(plain, h, in.extension.rid); ok && track.layer(rid) != nil {
			return newStream(ssrc, track.layer(rid), false)
		}
		if rid, ok := extensionText(plain, h, in.extension.repairedRID); ok && track.layer(rid) != nil {
			return newStream(ssrc, track.layer(rid), true)
		}
	}
	if d, ok := in.declared[ssrc]; ok {
		return newStream(ssrc, d.layer, d.rtx)
	}
	if track == nil || len(track.layers) != 1 {
		return nil
	}
	return newStream(ssrc, track.layers[0], track.codecs[h.PayloadType].codec == codec.Unknown)
}

// trackOf finds a packet's track by its mid, or by its payload type when only one section has it.
func (in *ingest) trackOf(plain []byte, h rtpx.Header) *Track {
	if mid, ok := extensionText(plain, h, in.extension.mid); ok {
		for i, m := range in.media {
			if m.MID == mid {
				return in.byMedia[i]
			}
		}
		return nil
	}
	var found *Track
	for i, t := range in.byMedia {
		if t == nil || !hasPayloadType(in.media[i], h.PayloadType) {
			continue
		}
		if found != nil {
			return nil
		}
		found = t
	}
	return found
}

func hasPayloadType(m sdp.Media, pt uint8) bool {
	for _, c := range sdp.PublishCodecs(m) {
		if c.PT == pt {
			return true
		}
	}
	return false
}

func extensionText(plain []byte, h rtpx.Header, id uint8) (string, bool) {
	if id == 0 {
		return "", false
	}
	value, ok := rtpx.Extension(plain, h, id)
	return string(value), ok && len(value) > 0
}

// receiveRTX turns a retransmission back into the packet that it repeats (RFC 4588 section 4). Those without payload only probe the path.
func (in *ingest) receiveRTX(s *stream, plain []byte, h rtpx.Header, now time.Time) {
	payload := h.Payload(plain)
	if len(payload) < 2 {
		return
	}
	main := in.streamOf(s.layer)
	pt, ok := s.layer.track.apt(in.media, h.PayloadType)
	if main == nil || !ok {
		return
	}
	size := h.HeaderLen + len(payload) - 2
	room := main.slab.room(size)
	copy(room, plain[:h.HeaderLen])
	copy(room[h.HeaderLen:], payload[2:])
	room[0] &^= 0x20 // the padding, if any, was left out
	room[1] = room[1]&0x80 | pt
	copy(room[2:4], payload[:2])
	binary.BigEndian.PutUint32(room[8:], main.ssrc)
	restored, err := rtpx.Parse(room)
	if err == nil && in.append(main, room, restored, now, true) {
		main.slab.keep(size)
	}
}

// apt is the payload type that an RTX payload type repairs.
func (t *Track) apt(media []sdp.Media, pt uint8) (uint8, bool) {
	for _, m := range media {
		if m.MID != string(t.ID) {
			continue
		}
		for _, c := range m.Codecs {
			if c.PT == pt && c.Name == sdp.RTX {
				return c.APT()
			}
		}
	}
	return 0, false
}

// streamOf is the newest stream of a layer's media.
func (in *ingest) streamOf(l *Layer) *stream {
	for _, s := range slices.Backward(in.streams) {
		if s.layer == l && !s.rtx {
			return s
		}
	}
	return nil
}

// baseFor is the base of a new stream's numbers: a client may change its SSRC at any time (RFC 3550 section 8.2), and the layer's numbers must go on.
func (in *ingest) baseFor(l *Layer) (base uint64) {
	for _, s := range in.streams {
		if s.layer == l && !s.rtx {
			base = max(base, beyond(s.top))
		}
	}
	return base
}

// beyond is a base for numbers far above all earlier ones, so that they cannot be taken for late packets.
func beyond(top uint64) uint64 { return (top | 0xffff) + 1 + 1<<17 }

// append adds a plain packet of the client to its layer's log and reports whether the log keeps its bytes. restored says that it came by retransmission, which
// receiver reports must not count as received in time. Hot path.
func (in *ingest) append(s *stream, plain []byte, h rtpx.Header, now time.Time, restored bool) bool {
	known := &s.layer.track.codecs[h.PayloadType]
	if known.codec == codec.Unknown {
		in.node.stats.unresolved.Add(1)
		return false
	}
	seq, ok := s.take(h, now)
	if !ok {
		return false
	}
	if !restored {
		s.stats.Update(h.Seq, h.Timestamp, uint32(now.UnixNano()/1000*int64(known.sdp.ClockRate)/1e6))
	}
	s.append(in.node, known.codec, plain, h, seq, now, 0)
	return true
}

// append adds a plain packet, which was age old when it came in, to the stream's log under its extended number. Hot path.
func (s *stream) append(n *Node, c codec.Codec, plain []byte, h rtpx.Header, seq uint64, now time.Time, age time.Duration) {
	codec.Inspect(c, h.Payload(plain), &s.info)
	arrival := now.UnixNano()
	p := s.layer.log.allocate() // and filled in there: a copy costs as much as all the rest
	p.Data, p.Header, p.Seq, p.Arrival, p.Age = plain, h, seq, arrival, int64(age)
	p.Keyframe, p.Numbers = s.info.Keyframe, frameNumbers(&s.info)
	if s.level.extension != 0 {
		s.level.take(h, plain, s.layer, arrival)
	}
	if s.layering != nil {
		p.Layers = s.layering.of(c, h, plain, &s.info, s.layer)
	}
	s.layer.log.publish(p)
	s.layer.observe(c, &s.info, len(plain), arrival)
	s.bytes += uint64(len(plain))
	s.sub.add(&s.info, len(plain))
	n.stats.received(s.layer.track.Kind, len(plain))
	n.grown.add(s.layer.log)
}

// take extends the packet's number and tells duplicates and hopelessly late packets. Hot path.
func (s *stream) take(h rtpx.Header, now time.Time) (uint64, bool) {
	switch s.loss.OnPacket(h.Seq, now) {
	case rtcpx.Duplicate, rtcpx.Late:
		s.duplicates++
		return 0, false
	case rtcpx.Restarted:
		s.base, s.unwrap = beyond(s.top), seqnum.Unwrapper{} // the client began new numbers, or more was lost than can be repaired
		if s.layer.track.Kind == codec.Video {
			s.layer.requestKeyframe(now.UnixNano())
		}
	case rtcpx.Next, rtcpx.Recovered:
	}
	seq := s.base + s.unwrap.Unwrap(h.Seq)
	s.top = max(s.top, seq)
	return seq, true
}

// observe updates what is measured of a layer. Hot path.
func (l *Layer) observe(c codec.Codec, info *codec.Info, bytes int, now int64) {
	l.packets.Add(1)
	l.bytes.Add(uint64(bytes))
	if l.heard.Load() != now { // packets of one batch have one time, and a store costs more than a look
		l.heard.Store(now)
	}
	if l.codec.Load() != uint32(c) {
		l.codec.Store(uint32(c))
	}
	if info.Width != 0 {
		l.width.Store(uint32(info.Width))
		l.height.Store(uint32(info.Height))
	}
	if n := uint32(info.Temporal) + 1; n > l.temporal.Load() {
		l.temporal.Store(n)
	}
	if n := max(uint32(info.Spatial)+1, uint32(info.SpatialLayers)); n > l.spatial.Load() {
		l.spatial.Store(n)
	}
}
