package sfu

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"rheomesh/internal/codec"
	"rheomesh/internal/rtcpx"
	"rheomesh/internal/rtpx"
	"rheomesh/internal/sdp"
	"rheomesh/sfu/bandwidth"
	"rheomesh/sfu/mediaport"
	"rheomesh/sfu/sublayer"
	"rheomesh/sfu/transport"
)

// The overload rule and the joining rule.
const (
	// maxLag is how old the next packet of a cursor may be. A viewer that is later skips: video to the newest keyframe, audio to the newest packet.
	maxLag = 500 * time.Millisecond
	// joinAge is how old a cached keyframe may be for a viewer to start from it at once. With an older one a new keyframe is asked for first, …
	joinAge = 2500 * time.Millisecond
	// joinWait … and the old one is taken after all when none came in that time, as some publishers ignore keyframe requests.
	joinWait = 500 * time.Millisecond
	// catchUpAge is the age of a cached keyframe from which on its frames are played faster than live.
	catchUpAge = 100 * time.Millisecond
	// maxSeqGap is the largest step in the publisher's numbers that viewers see as loss. A larger one is a restart of the encoder and is closed.
	maxSeqGap = 500
	// viewerKeyframes is how many keyframe requests of one viewer are passed on in viewerKeyframeWindow.
	viewerKeyframes      = 3
	viewerKeyframeWindow = 10 * time.Second
)

// Skip reasons, a closed set.
const (
	skipLapped = "lapped" // the log no longer had the next packet
	skipLate   = "late"   // the next packet was older than maxLag
	skipPath   = "path"   // the viewer's TCP connection took no more
)

// forwarder is the part of a subscriber that sends one track to one viewer: it holds the cursor, chooses the layer and rewrites headers. All of it but the
// counters is the worker's alone.
type forwarder struct {
	subscriber *Subscriber
	worker     *worker
	kind       codec.Kind
	index      int // of the viewer's m-line
	codecs     []sdp.Codec
	extensions []sdp.Extension
	clockRate  uint32
	ssrc       uint32
	rtxSSRC    uint32

	track     *Track
	layer     *Layer // being sent
	target    *Layer // to be sent from its next keyframe on; nil when layer is right
	selection LayerSelection
	choice    choice
	// targetFrom is when target was chosen; stopped says that nothing is sent until its keyframe.
	targetFrom int64
	stopped    bool
	heldBack   bool               // the switch waits for the end of a frame
	aimed      sublayer.Target    // what the viewer should get of layer …
	aimedNext  sublayer.Target    // … and of target, once it is sent
	selector   *sublayer.Selector // of segments that are thinned; nil before the first
	bandwidth  *bandwidth.Viewer  // nil while there is nothing to choose, and for audio
	numberID   uint8              // of the transport-wide number's extension; 0 = none
	audioAt    int64              // when the rate of audio was measured last …
	audioBytes uint64             // … and how much had been sent

	cursor     uint64
	fresh      uint64 // keyframes before this position are of no use
	waiting    bool   // for a place to start from
	waitedFrom int64
	openAt     bool // the next packet opens a segment
	catching   bool // the cursor is on its way from a cached keyframe to the head
	paused     bool

	segments    segments
	nextOut     uint64 // extended sequence number after the highest one sent
	lastIn      uint64 // highest number of the log sent in this segment
	lastTS      uint32 // newest timestamp sent
	lastTime    int64  // arrival of the packet that had it
	timeline    timeline
	lastPicture uint16 // newest PictureID sent
	lastTL0     uint8  // newest TL0PICIDX sent
	lastFrame   uint16 // newest frame number of a dependency descriptor sent
	frameEnded  bool   // the packet that had lastTS was the last of its picture
	rtxSeq      uint64
	gate        resendGate
	asked       [viewerKeyframes]int64 // when the viewer's last requests were passed on

	path mediaport.Path // of this round

	// describedID is the id of the dependency descriptor's extension; 0 = none.
	describedID uint8

	// sent is plain and published to counters after each round.
	sent     sentCounts
	counters forwarderCounters
}

type sentCounts struct{ packets, bytes, octets uint64 }

// forwarderCounters may be read by anybody.
type forwarderCounters struct {
	packets, bytes, nacks, resent, plis, skips, unmapped atomic.Uint64
	lost                                                 atomic.Uint64 // as the viewer reports
	estimate                                             atomic.Int64  // bit/s; 0 = not estimated
	current, wanted                                      atomic.Pointer[Layer]
}

func newForwarder(s *Subscriber, kind codec.Kind, index int, codecs []sdp.Codec, extensions []sdp.Extension) *forwarder {
	f := &forwarder{
		subscriber: s, worker: s.worker, kind: kind, index: index, codecs: codecs, extensions: extensions,
		aimed: sublayer.All, ssrc: newSSRC(), nextOut: uint64(1 + rand.IntN(1<<14)), rtxSeq: uint64(1 + rand.IntN(1<<14)), // low, so that no early number wraps (RFC 3711 section 3.3.1)
	}
	for _, c := range codecs {
		if c.Name == sdp.RTX {
			f.rtxSSRC = newSSRC()
			break
		}
	}
	f.gate.credit = resendBurstBytes
	f.describedID = sdp.ExtensionID(extensions, sdp.ExtDependency)
	f.numberID = sdp.ExtensionID(extensions, sdp.ExtTransportCC)
	return f
}

// newSSRC draws a stream id; it must not be zero, which SDP reads as none.
func newSSRC() uint32 { return 1 + uint32(rand.Uint64N(1<<32-1)) }

// bind starts sending another track; nil sends nothing until the next bind. The viewer's numbers go on where they were.
func (f *forwarder) bind(t *Track) {
	f.release()
	f.stopEstimating()
	f.track = t
	if t == nil {
		return
	}
	f.follow(f.choose(time.Now().UnixNano()))
}

// release lets go of the current track's logs.
func (f *forwarder) release() {
	for _, l := range []*Layer{f.layer, f.target} {
		if l != nil {
			f.worker.detach(f, l.log)
			f.segments.leave(l, f.cursor)
		}
	}
	f.track, f.layer, f.target, f.stopped = nil, nil, nil, false
	f.publishLayers()
}

// follow makes l the layer to send, starting at a place that a decoder can start from.
func (f *forwarder) follow(l *Layer) {
	f.layer = l
	f.worker.attach(f, l.log)
	f.await(0, time.Now().UnixNano())
	f.publishLayers()
	f.advance(l.log, time.Now().UnixNano())
}

// await stops sending until there is a place to start from at fresh or later.
func (f *forwarder) await(fresh uint64, now int64) {
	f.waiting, f.fresh, f.waitedFrom = true, fresh, now
}

// advance moves the cursor over what its log has got, or finds out whether the viewer can switch to the log of its target layer. Hot path.
func (f *forwarder) advance(l *Log, now int64) {
	if f.layer == nil || f.paused {
		return
	}
	f.path = f.subscriber.transport.Path()
	if !f.path.Valid() || !f.subscriber.transport.Connected() {
		return
	}
	if f.target != nil && l == f.target.log {
		f.trySwitch(now)
	}
	if l != f.layer.log || f.stopped || (f.waiting && !f.start(now)) {
		return
	}
	before := f.sent
	f.drain(l, now)
	if f.target != nil && f.heldBack && f.frameEnded {
		f.worker.again(f.target.log)
	}
	f.worker.count(f.kind, f.sent.packets-before.packets, f.sent.bytes-before.bytes)
	f.counters.packets.Store(f.sent.packets)
	f.counters.bytes.Store(f.sent.bytes)
}

// drain sends from the cursor to the head, or burstPackets of it. Hot path.
func (f *forwarder) drain(l *Log, now int64) {
	for n := 0; ; n++ {
		p := l.At(f.cursor)
		if p == nil {
			break
		}
		if n == burstPackets {
			f.worker.again(l)
			return
		}
		if n == 0 && !f.catching && now-p.Arrival > int64(maxLag) {
			f.skip(skipLate, now)
			return
		}
		if n == 0 && !f.catching {
			f.worker.sample(p)
		}
		if f.bandwidth != nil && f.paced(now) {
			return
		}
		f.cursor++
		f.forward(p, now)
		if f.waiting {
			return
		}
	}
	if f.cursor < l.tail.Load() {
		f.skip(skipLapped, now)
		return
	}
	f.catching = false
}

// skip is the overload rule: what lies between the cursor and a new start is not sent.
func (f *forwarder) skip(reason string, now int64) {
	f.counters.skips.Add(1)
	f.worker.node.stats.skip(reason)
	f.await(f.cursor, now)
	f.start(now)
}

// start ends the waiting when there is a place to start from: for audio the head, for video a keyframe.
func (f *forwarder) start(now int64) bool {
	if f.kind == codec.Audio {
		f.waiting, f.catching, f.cursor = false, false, f.layer.log.Head()
		f.openAt = true
		return true
	}
	position, ok := f.keyframe(f.layer, now)
	if !ok {
		f.layer.requestKeyframe(now)
		return false
	}
	f.waiting, f.catching, f.cursor = false, true, position
	f.openAt = true
	return true
}

// keyframe is where the viewer may start on a layer.
func (f *forwarder) keyframe(l *Layer, now int64) (uint64, bool) {
	position, ok := l.log.Keyframe()
	if !ok || position < f.fresh {
		return 0, false
	}
	p := l.log.At(position)
	if p == nil {
		return 0, false
	}
	if now-p.born() > int64(joinAge) && now-f.waitedFrom < int64(joinWait) {
		return 0, false
	}
	return position, true
}

// forward sends one packet. Hot path.
func (f *forwarder) forward(p *Packet, now int64) {
	s := f.segments.newest()
	if f.openAt || p.Seq > f.lastIn+maxSeqGap {
		s = f.open(p)
	}
	if p.Seq < s.inSeq {
		f.thinLate(p, now)
		return
	}
	if s.thinned {
		f.thin(p, s, now)
		if p.Header.Marker && p.Seq == f.lastIn && f.selector.Whole() { // within a picture it cannot know what else is to come
			f.thicken(s)
		}
		return
	}
	out := s.seq(p.Seq)
	if f.emit(p, s, outgoing{seq: out, marker: p.Header.Marker}, now) && p.Seq >= f.lastIn {
		f.lastIn, f.nextOut = p.Seq, out+1
		f.sentNewest(p, s, outgoing{marker: p.Header.Marker})
	}
}

// sentNewest notes what the viewer's numbers go on from. Hot path.
func (f *forwarder) sentNewest(p *Packet, s *segment, out outgoing) {
	f.lastTS, f.lastTime, f.frameEnded = s.timestamp(p.Header.Timestamp), p.Arrival, out.marker
	f.lastPicture, f.lastTL0 = p.Numbers.PictureID+s.pictureShift-out.pictureShift, p.Numbers.TL0PicIdx+s.tl0Shift
	f.lastFrame = p.Layers.Frame + s.frameShift
}

// open starts a segment at p: its number follows the last one sent, its timestamp the time that has passed.
func (f *forwarder) open(p *Packet) *segment {
	f.openAt = false
	next := segment{layer: f.layer, inSeq: p.Seq, outSeq: f.nextOut}
	if f.catching {
		next.inSeq = f.layer.log.firstOf(p)
	}
	previous := f.segments.newest()
	if previous != nil && previous.layer.track == f.layer.track {
		next.formats, next.extensions, next.numbered = previous.formats, previous.extensions, previous.numbered
	} else {
		next.formats, next.extensions = f.mapFormats(f.layer.track), f.mapExtensions(f.layer.track)
		next.numbered = f.mayNumber(next.formats)
	}
	f.clockRate = max(f.layer.track.codecs[p.Header.PayloadType].sdp.ClockRate, 8000)
	f.continueTime(&next, previous, p)
	if previous != nil {
		next.pictureShift, next.tl0Shift = f.lastPicture+1-p.Numbers.PictureID, f.lastTL0+1-p.Numbers.TL0PicIdx
		next.renumber = next.pictureShift != 0 || next.tl0Shift != 0
	}
	if previous != nil {
		next.frameShift = f.continueFrames(previous, p)
	}
	if f.aimed != sublayer.All && f.kind == codec.Video {
		f.makeSelector()
		f.selector.Start(next.inSeq, next.outSeq, f.aimed)
		next.thinned = true
	}
	f.segments.add(next)
	f.lastIn = p.Seq
	return f.segments.newest()
}

// emit rewrites, seals and sends one packet under the viewer's numbers. Hot path.
func (f *forwarder) emit(p *Packet, s *segment, out outgoing, now int64) bool {
	format := &s.formats[p.Header.PayloadType]
	if !format.known {
		f.counters.unmapped.Add(1)
		return false
	}
	payload := p.Payload()
	if format.primaryRED {
		payload = redPrimary(payload)
	}
	if (s.renumber || out.pictureShift != 0) && p.Numbers != (FrameNumbers{}) {
		payload = append(f.worker.payload[:0], payload...)
		s.apply(&p.Numbers, out.pictureShift, payload)
	}
	rewrite := rtpx.Rewrite{PayloadType: format.pt, Timestamp: s.timestamp(p.Header.Timestamp), SSRC: f.ssrc, Marker: out.marker}
	n := f.dispatch(p, s, &rewrite, payload, out.seq, now)
	if n == 0 {
		return false
	}
	f.sent.packets++
	f.sent.bytes += uint64(n)
	f.sent.octets += uint64(len(payload))
	f.gate.earn(n)
	return true
}

// dispatch seals a packet under a number and queues it: p's header with what rewrite and the segment change, and the payload. It returns the length of the sealed
// packet, 0 when it could not be sealed. Hot path.
func (f *forwarder) dispatch(p *Packet, s *segment, rewrite *rtpx.Rewrite, payload []byte, seq uint64, now int64) int {
	if f.bandwidth != nil {
		f.number(s)
	}
	rewrite.Seq, rewrite.Extensions = uint16(seq), s.extensions
	buf := f.room(p.Header.HeaderLen + len(payload))
	header := rtpx.AppendHeader(buf[:0], p.Data, p.Header, rewrite)
	if s.frameShift != 0 {
		f.shiftFrame(header, s.frameShift)
	}
	n, err := f.subscriber.transport.SealRTP(buf, len(header), payload, rewrite.SSRC, seq)
	if err != nil {
		return 0
	}
	f.commit(buf, n, now)
	if f.bandwidth != nil {
		f.bandwidth.Sent(f.subscriber.number, n, now)
	}
	return n
}

// room is space for a packet of n bytes and what forwarding adds: in the batch of the path's socket, or in the worker's scratch for TCP. Hot path.
func (f *forwarder) room(n int) []byte {
	n += rtpx.MaxHeaderGrowth + transport.Overhead
	socket := f.path.Socket()
	if socket == nil {
		return f.worker.scratch[:]
	}
	batch := f.worker.batches[socket.Index]
	buf := batch.Next(n)
	if buf == nil {
		f.worker.send(socket.Index)
		buf = batch.Next(n)
	}
	return buf
}

// commit queues what was built in room's space. Hot path.
func (f *forwarder) commit(buf []byte, n int, now int64) {
	if socket := f.path.Socket(); socket != nil {
		f.worker.batches[socket.Index].Commit(n, f.path.Remote())
		return
	}
	if err := f.path.Write(buf[:n]); errors.Is(err, mediaport.ErrQueueFull) {
		f.counters.skips.Add(1)
		f.worker.node.stats.skip(skipPath)
		f.await(f.cursor, now)
	}
}

// resend answers a NACK for the viewer's 16-bit number: bit for bit the same packet, or the same payload in the RTX stream (RFC 4588 section 4).
func (f *forwarder) resend(seq uint16, now int64) {
	f.counters.nacks.Add(1)
	behind := uint16(f.nextOut-1) - seq
	if behind > 1<<15 || uint64(behind) >= f.nextOut {
		return
	}
	out := f.nextOut - 1 - uint64(behind)
	s := f.segments.holding(out)
	if s == nil {
		return
	}
	p, sent, filled := f.origin(s, out)
	if p != nil && s.end == 0 && p.Position >= f.cursor {
		return // it has just come in, and is about to be sent
	}
	if p == nil || !f.gate.allow(out, len(p.Data), now, f.subscriber.roundTrip()) {
		return
	}
	f.path = f.subscriber.transport.Path()
	format := s.formats[p.Header.PayloadType]
	before := f.sent
	switch {
	case f.rtxSSRC != 0 && format.rtxPT != 0:
		f.emitRTX(p, s, sent, filled || f.outdated(s), now)
	case filled:
		f.fill(p, s, out, now)
	default:
		f.emit(p, s, sent, now)
	}
	f.sent = before
	f.counters.resent.Add(1)
	f.worker.node.stats.resent.Add(1)
}

// outdated reports whether what the viewer lost in a segment is of no use: its link was overfull, and it has gone on with a keyframe of another layer. Such packets are
// sent again without payload, so that the viewer stops asking and the keyframe need not wait behind them.
func (f *forwarder) outdated(s *segment) bool {
	return s.layer != f.segments.newest().layer && f.choice.reason() == string(bandwidth.ReasonCongested)
}

// emitRTX sends a packet once more in the RTX stream (RFC 4588 section 4); one that went out as padding has no payload.
func (f *forwarder) emitRTX(p *Packet, s *segment, out outgoing, filled bool, now int64) {
	format := &s.formats[p.Header.PayloadType]
	var original []byte
	switch {
	case filled:
	case format.primaryRED:
		original = redPrimary(p.Payload())
	default:
		original = p.Payload()
	}
	payload := binary.BigEndian.AppendUint16(f.worker.payload[:0], uint16(out.seq))
	payload = append(payload, original...)
	if (s.renumber || out.pictureShift != 0) && !filled {
		s.apply(&p.Numbers, out.pictureShift, payload[2:])
	}
	rewrite := rtpx.Rewrite{PayloadType: format.rtxPT, Timestamp: s.timestamp(p.Header.Timestamp), SSRC: f.rtxSSRC, Marker: out.marker}
	if f.dispatch(p, s, &rewrite, payload, f.rtxSeq, now) != 0 {
		f.rtxSeq++
	}
}

// keyframeWanted passes a viewer's PLI or FIR on, within its allowance; requests of all viewers of a layer are merged there. It
// returns what became of the request, or nothing while there is nobody to ask.
func (f *forwarder) keyframeWanted(now int64) (result string) {
	f.counters.plis.Add(1)
	if f.layer == nil {
		return ""
	}
	if now-f.asked[0] < int64(viewerKeyframeWindow) {
		return keyframeLimited
	}
	copy(f.asked[:], f.asked[1:])
	f.asked[viewerKeyframes-1] = now
	if f.layer.requestKeyframe(now) {
		return keyframeForwarded
	}
	return keyframeMerged
}

// reportLost takes the viewer's count of lost packets, which grows but for reports that overtake each other.
func (f *forwarder) reportLost(total uint64) {
	if before := f.counters.lost.Load(); total > before {
		f.counters.lost.Store(total)
		f.worker.node.stats.lostOut.Add(total - before)
	}
}

// tick looks after what packets do not drive.
func (f *forwarder) tick(now int64) {
	if f.layer == nil {
		return
	}
	if f.waiting {
		f.advance(f.layer.log, now)
	}
	f.steer(now)
	f.reconsider(now)
	if f.target != nil {
		f.target.requestKeyframe(now)
		f.advance(f.target.log, now)
	}
}

// appendReport appends a sender report for the viewer (RFC 3550 section 6.4.1): the publisher's own mapping of wall clock to media time, carried over to the
// viewer's timestamps and to now, so that lips stay in sync whatever the node did in between.
func (f *forwarder) appendReport(dst []byte, now time.Time) []byte {
	s := f.segments.newest()
	if s == nil || f.layer == nil || f.sent.packets == 0 || s.layer != f.layer {
		return dst
	}
	report := rtcpx.SenderReport{SSRC: f.ssrc, Packets: uint32(f.sent.packets), Octets: uint32(f.sent.octets)}
	if r := f.layer.report.Load(); r != nil {
		elapsed := now.UnixNano() - r.arrival
		report.NTP = r.ntp + ntpDuration(elapsed)
		report.RTPTime = r.rtpTime + s.tsOffset + uint32(elapsed*int64(f.clockRate)/int64(time.Second))
	} else {
		elapsed := now.UnixNano() - f.lastTime
		report.NTP = rtcpx.NTP(now)
		report.RTPTime = f.lastTS + uint32(elapsed*int64(f.clockRate)/int64(time.Second))
	}
	dst = rtcpx.AppendSenderReport(dst, report, nil)
	return rtcpx.AppendSDES(dst, f.ssrc, f.subscriber.cname)
}

// ntpDuration is nanoseconds in units of 2⁻³² seconds.
func ntpDuration(ns int64) uint64 {
	return uint64(ns/int64(time.Second))<<32 | uint64(ns%int64(time.Second))<<32/uint64(time.Second)
}
