package sfu

import (
	"encoding/binary"
	"math/rand/v2"
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
	maxRTPBytes    = 1500                  // larger packets are dropped: they would not fit a viewer's path
	nackEvery      = 5 * time.Millisecond  // least time between two looks for missing packets while some are: reordering settles in it
	feedbackEvery  = 20 * time.Millisecond // and while none are
	twccEvery      = 50 * time.Millisecond // between two transport-wide reports: draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3 suggests 50 to 250 ms
	receiverEvery  = time.Second           // between two receiver reports
	missingPerNACK = 128
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
	t := &Track{ID: TrackID(m.MID), Kind: codec.Audio, extensions: sdp.PublishExtensions(m)}
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
	s := &stream{ssrc: ssrc, layer: l, rtx: rtx, bytesAt: time.Now()}
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
	s.layer.log.Append(Packet{
		Data: plain, Header: h, Seq: seq, Arrival: now.UnixNano(), Age: int64(age),
		Keyframe: s.info.Keyframe, Spatial: s.info.Spatial, Temporal: s.info.Temporal, Numbers: frameNumbers(&s.info),
	})
	s.layer.observe(c, &s.info, len(plain), now.UnixNano())
	s.bytes += uint64(len(plain))
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
	l.heard.Store(now)
	l.codec.Store(uint32(c))
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

// record notes the packet's transport-wide number for the client's congestion control.
func (in *ingest) record(h rtpx.Header, plain []byte, now time.Time) {
	if in.extension.transportCC == 0 || in.recorded >= maxTrackedTWCC {
		return
	}
	value, ok := rtpx.Extension(plain, h, in.extension.transportCC)
	if !ok || len(value) < 2 {
		return
	}
	if in.recorder == nil {
		in.recorder = twcc.NewRecorder(in.ssrc)
	}
	in.recorded++
	in.recorder.Record(h.SSRC, binary.BigEndian.Uint16(value), now.Sub(in.node.started).Microseconds())
}

// handleRTCP reads a publisher's reports.
func (in *ingest) handleRTCP(packet []byte, now time.Time) {
	if rtcpx.Walk(packet, &reportReader{ingest: in, now: now}) != nil {
		in.node.stats.malformedRTCP.Add(1)
	}
}

// reportReader implements rtcpx.Handler for a publisher.
type reportReader struct {
	ingest *ingest
	now    time.Time
}

func (r *reportReader) SenderReport(report rtcpx.SenderReport) {
	in := r.ingest
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, s := range in.streams {
		if s.ssrc != report.SSRC || s.rtx {
			continue
		}
		s.lastSR, s.lastSRAt = rtcpx.MiddleNTP(report.NTP), r.now
		s.layer.report.Store(&senderReport{ntp: report.NTP, rtpTime: report.RTPTime, arrival: r.now.UnixNano()})
	}
}

func (r *reportReader) ReportBlock(uint32, rtcpx.ReportBlock) {}
func (r *reportReader) NACK(uint32, uint32, uint16)           {}
func (r *reportReader) PLI(uint32, uint32)                    {}
func (r *reportReader) FIR(uint32, uint32, uint8)             {}
func (r *reportReader) REMB(uint32, uint64, rtcpx.SSRCs)      {}
func (r *reportReader) TWCC(uint32, uint32, []byte)           {}
func (r *reportReader) BYE(uint32)                            {}

var _ rtcpx.Handler = (*reportReader)(nil)

// requestKeyframe asks the client for a keyframe of one layer, by PLI (RFC 4585 section 6.3.1).
func (in *ingest) requestKeyframe(l *Layer) bool {
	ssrc := l.ssrc.Load()
	if ssrc == 0 || !in.transport.Connected() {
		return false
	}
	in.node.stats.keyframeRequestsSent.Add(1)
	return in.transport.SendRTCP(rtcpx.AppendPLI(rtcpx.AppendReceiverReport(nil, in.ssrc, nil), in.ssrc, ssrc)) == nil
}

// feedback gives the client what is due even when no packets come; the node's feedback loop calls it.
func (in *ingest) feedback(now time.Time) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.feedbackLocked(now)
}

// feedbackLocked asks for missing packets and reports arrivals, each as often as it is due. It rides on arriving packets, so that a live publisher costs no
// wake-ups of its own. Hot path up to the first return.
func (in *ingest) feedbackLocked(now time.Time) {
	since := now.Sub(in.lookedAt)
	if since < nackEvery || (since < feedbackEvery && !in.missing()) || !in.transport.Connected() {
		return
	}
	in.lookedAt = now
	out := in.appendNACKs(in.packet[:0], now)
	if now.Sub(in.reportedAt) >= receiverEvery {
		in.reportedAt = now
		out = in.appendReports(out, now)
		in.measure(now)
	}
	in.packet = out
	if len(out) > 0 {
		_ = in.transport.SendRTCP(out)
	}
	in.sendTransportWide(now)
}

func (in *ingest) missing() bool {
	for _, s := range in.streams {
		if s.loss.Pending() > 0 {
			return true
		}
	}
	return false
}

func (in *ingest) appendNACKs(dst []byte, now time.Time) []byte {
	var missing [missingPerNACK]uint16
	for _, s := range in.streams {
		if s.rtx {
			continue
		}
		seqs := s.loss.Due(now, missing[:0])
		in.countLost(s)
		if len(seqs) == 0 || s.layer.track.Kind == codec.Audio && !s.layer.track.nacks() {
			continue
		}
		if len(dst) == 0 {
			dst = rtcpx.AppendReceiverReport(dst, in.ssrc, nil)
		}
		in.node.stats.nacksSent.Add(uint64(len(seqs)))
		dst = rtcpx.AppendNACK(dst, in.ssrc, s.ssrc, seqs)
	}
	return dst
}

// countLost adds what the stream has given up since the last time.
func (in *ingest) countLost(s *stream) {
	lost := s.loss.Lost() - s.counted
	s.counted += lost
	s.layer.lost.Add(lost)
	in.node.stats.lostIn.Add(lost)
}

// nacks reports whether any codec of the track negotiated NACK.
func (t *Track) nacks() bool {
	for i := range t.codecs {
		if slices.Contains(t.codecs[i].sdp.Feedback, "nack") {
			return true
		}
	}
	return false
}

// appendReports appends receiver reports for all streams (RFC 3550 section 6.4.2).
func (in *ingest) appendReports(dst []byte, now time.Time) []byte {
	var blocks [31]rtcpx.ReportBlock
	n := 0
	for _, s := range in.streams {
		if s.rtx || n == len(blocks) {
			continue
		}
		block := s.stats.Report()
		block.SSRC = s.ssrc
		if !s.lastSRAt.IsZero() {
			block.LastSR, block.Delay = s.lastSR, uint32(now.Sub(s.lastSRAt)*65536/time.Second)
		}
		blocks[n] = block
		n++
	}
	if n == 0 {
		return dst
	}
	return rtcpx.AppendReceiverReport(dst, in.ssrc, blocks[:n])
}

// measure updates the layer's bit rate.
func (s *stream) measure(now time.Time) {
	elapsed := now.Sub(s.bytesAt)
	if elapsed <= 0 {
		return
	}
	s.layer.bitrate.Store(int64(float64(s.bytes-s.bytesOld) * 8 / elapsed.Seconds()))
	s.bytesOld, s.bytesAt = s.bytes, now
}

// measure updates the layers' bit rates, and tells listeners when a layer came, went or changed its size.
func (in *ingest) measure(now time.Time) {
	for _, s := range in.streams {
		if !s.rtx {
			s.measure(now)
		}
	}
	changed := false
	for _, t := range in.tracks {
		for _, l := range t.layers {
			changed = l.shape(now.UnixNano()) || changed
		}
	}
	if changed {
		in.session.router.emitLayers(in.session.publisher)
	}
}

// shape reports whether the layer looks different from the last time: sending or not, and the size of its picture.
func (l *Layer) shape(now int64) bool {
	shape := layerShape{active: l.active(now), width: l.width.Load(), height: l.height.Load()}
	changed := shape != l.shown
	l.shown = shape
	return changed
}

// sendTransportWide reports the arrivals that were recorded since the last time.
func (in *ingest) sendTransportWide(now time.Time) {
	if in.recorder == nil || in.recorded == 0 || now.Sub(in.recordedAt) < twccEvery {
		return
	}
	in.recordedAt, in.recorded = now, 0
	for _, p := range in.recorder.BuildFeedbackPacket() {
		if raw, err := p.Marshal(); err == nil {
			_ = in.transport.SendRTCP(raw)
		}
	}
}

// newSessionNumber draws the number of an SDP origin line (RFC 9429 section 5.2.1).
func newSessionNumber() uint64 { return rand.Uint64() >> 1 }
