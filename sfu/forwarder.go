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
	"rheomesh/sfu/mediaport"
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
	lastPicture uint16 // newest PictureID sent
	lastTL0     uint8  // newest TL0PICIDX sent
	rtxSeq      uint64
	gate        resendGate
	asked       [viewerKeyframes]int64 // when the viewer's last requests were passed on

	path mediaport.Path // of this round

	// sent is plain and published to counters after each round.
	sent     sentCounts
	counters forwarderCounters
}

type sentCounts struct{ packets, bytes, octets uint64 }

// forwarderCounters may be read by anybody.
type forwarderCounters struct {
	packets, bytes, nacks, resent, plis, skips, unmapped atomic.Uint64
	lost                                                 atomic.Uint64 // as the viewer reports
	current, wanted                                      atomic.Pointer[Layer]
}

func newForwarder(s *Subscriber, kind codec.Kind, index int, codecs []sdp.Codec, extensions []sdp.Extension) *forwarder {
	f := &forwarder{
		subscriber: s, worker: s.worker, kind: kind, index: index, codecs: codecs, extensions: extensions,
		ssrc: newSSRC(), nextOut: uint64(1 + rand.IntN(1<<14)), rtxSeq: uint64(1 + rand.IntN(1<<14)), // low, so that no early number wraps (RFC 3711 section 3.3.1)
	}
	for _, c := range codecs {
		if c.Name == sdp.RTX {
			f.rtxSSRC = newSSRC()
			break
		}
	}
	f.gate.credit = resendBurstBytes
	return f
}

// newSSRC draws a stream id; it must not be zero, which SDP reads as none.
func newSSRC() uint32 { return 1 + uint32(rand.Uint64N(1<<32-1)) }

// bind starts sending another track; nil sends nothing until the next bind. The viewer's numbers go on where they were.
func (f *forwarder) bind(t *Track) {
	f.release()
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
		}
	}
	f.track, f.layer, f.target = nil, nil, nil
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

func (f *forwarder) publishLayers() {
	f.counters.current.Store(f.layer)
	wanted := f.target
	if wanted == nil {
		wanted = f.layer
	}
	f.counters.wanted.Store(wanted)
}

// choose is the layer that the viewer should get.
func (f *forwarder) choose(now int64) *Layer {
	if f.selection.RID != "" {
		if l := f.track.layer(f.selection.RID); l != nil {
			return l
		}
	}
	return f.track.best(now)
}

// reconsider starts a switch when another layer should be sent.
func (f *forwarder) reconsider(now int64) {
	if f.track == nil || f.layer == nil || len(f.track.layers) < 2 {
		return
	}
	want := f.choose(now)
	switch {
	case want == f.layer && f.target != nil:
		f.worker.detach(f, f.target.log)
		f.target = nil
	case want == f.layer || want == f.target:
	case f.waiting && f.nextSegmentIsFirst():
		f.worker.detach(f, f.layer.log)
		f.follow(want)
	default:
		if f.target != nil {
			f.worker.detach(f, f.target.log)
		}
		f.target = want
		f.worker.attach(f, want.log)
		want.requestKeyframe(now)
	}
	f.publishLayers()
}

func (f *forwarder) nextSegmentIsFirst() bool { return f.segments.newest() == nil }

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
	if l != f.layer.log || (f.waiting && !f.start(now)) {
		return
	}
	before := f.sent
	f.drain(l, now)
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

// trySwitch goes over to the target layer once it has a keyframe that is newer than what the viewer has seen.
func (f *forwarder) trySwitch(now int64) {
	position, ok := f.target.log.Keyframe()
	if !ok {
		return
	}
	p := f.target.log.At(position)
	stopped := !f.layer.active(now)
	if p == nil || (p.born() < f.lastTime && !stopped && now-p.born() > int64(maxLag)) {
		return
	}
	f.worker.detach(f, f.layer.log)
	f.layer, f.target = f.target, nil
	f.waiting, f.catching, f.cursor, f.fresh = false, true, position, 0
	f.openAt = true
	f.publishLayers()
	f.subscriber.layerChanged()
	f.worker.again(f.layer.log)
}

// forward sends one packet. Hot path.
func (f *forwarder) forward(p *Packet, now int64) {
	s := f.segments.newest()
	if f.openAt || p.Seq > f.lastIn+maxSeqGap {
		s = f.open(p)
	}
	if p.Seq < s.inSeq {
		return // from before the segment: the viewer has never had a number for it
	}
	out := s.seq(p.Seq)
	if !f.emit(p, s, out, now) {
		return
	}
	if p.Seq >= f.lastIn {
		f.lastIn, f.nextOut = p.Seq, out+1
		f.lastTS, f.lastTime = s.timestamp(p.Header.Timestamp), p.Arrival
		f.lastPicture, f.lastTL0 = p.Numbers.PictureID+s.pictureShift, p.Numbers.TL0PicIdx+s.tl0Shift
	}
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
		next.formats, next.extensions = previous.formats, previous.extensions
	} else {
		next.formats, next.extensions = f.mapFormats(f.layer.track), f.mapExtensions(f.layer.track)
	}
	f.clockRate = max(f.layer.track.codecs[p.Header.PayloadType].sdp.ClockRate, 8000)
	if newest := f.layer.log.At(f.layer.log.Head() - 1); f.catching && newest != nil && newest.Arrival-p.born() > int64(catchUpAge) {
		next.catchUp, next.liveTS = true, newest.Header.Timestamp+uint32(newest.Age*int64(f.clockRate)/int64(time.Second))
	}
	start := rand.Uint32()
	if previous != nil {
		elapsed := max(p.Arrival-f.lastTime, int64(time.Millisecond))
		start = f.lastTS + uint32(elapsed*int64(f.clockRate)/int64(time.Second))
	}
	next.tsOffset = start - next.timestamp(p.Header.Timestamp)
	if previous != nil {
		next.pictureShift, next.tl0Shift = f.lastPicture+1-p.Numbers.PictureID, f.lastTL0+1-p.Numbers.TL0PicIdx
		next.renumber = next.pictureShift != 0 || next.tl0Shift != 0
	}
	f.segments.add(next)
	f.lastIn = p.Seq
	return f.segments.newest()
}

// emit rewrites, seals and sends one packet under the viewer's number. Hot path.
func (f *forwarder) emit(p *Packet, s *segment, out uint64, now int64) bool {
	format := &s.formats[p.Header.PayloadType]
	if !format.known {
		f.counters.unmapped.Add(1)
		return false
	}
	buf := f.room(len(p.Data))
	rewrite := rtpx.Rewrite{
		PayloadType: format.pt, Seq: uint16(out), Timestamp: s.timestamp(p.Header.Timestamp), SSRC: f.ssrc, Marker: p.Header.Marker, Extensions: s.extensions,
	}
	header := rtpx.AppendHeader(buf[:0], p.Data, p.Header, &rewrite)
	payload := p.Payload()
	if format.primaryRED {
		payload = redPrimary(payload)
	}
	if s.renumber && p.Numbers != (FrameNumbers{}) {
		payload = append(f.worker.payload[:0], payload...)
		s.apply(&p.Numbers, payload)
	}
	n, err := f.subscriber.transport.SealRTP(buf, len(header), payload, f.ssrc, out)
	if err != nil {
		return false
	}
	f.commit(buf, n, now)
	f.sent.packets++
	f.sent.bytes += uint64(n)
	f.sent.octets += uint64(len(payload))
	f.gate.earn(n)
	return true
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
	p := s.layer.log.BySeq(s.inSeq + (out - s.outSeq))
	if p == nil || !f.gate.allow(out, len(p.Data), now, f.subscriber.roundTrip()) {
		return
	}
	f.path = f.subscriber.transport.Path()
	format := s.formats[p.Header.PayloadType]
	if f.rtxSSRC != 0 && format.rtxPT != 0 {
		f.emitRTX(p, s, out, format, now)
	} else {
		before := f.sent
		f.emit(p, s, out, now)
		f.sent = before
	}
	f.counters.resent.Add(1)
	f.worker.node.stats.resent.Add(1)
}

func (f *forwarder) emitRTX(p *Packet, s *segment, out uint64, format format, now int64) {
	original := p.Payload()
	if format.primaryRED {
		original = redPrimary(original)
	}
	payload := binary.BigEndian.AppendUint16(f.worker.payload[:0], uint16(out))
	payload = append(payload, original...)
	if s.renumber {
		s.apply(&p.Numbers, payload[2:])
	}
	buf := f.room(len(p.Data) + 2)
	rewrite := rtpx.Rewrite{
		PayloadType: format.rtxPT, Seq: uint16(f.rtxSeq), Timestamp: s.timestamp(p.Header.Timestamp), SSRC: f.rtxSSRC, Marker: p.Header.Marker, Extensions: s.extensions,
	}
	header := rtpx.AppendHeader(buf[:0], p.Data, p.Header, &rewrite)
	n, err := f.subscriber.transport.SealRTP(buf, len(header), payload, f.rtxSSRC, f.rtxSeq)
	if err != nil {
		return
	}
	f.rtxSeq++
	f.commit(buf, n, now)
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
