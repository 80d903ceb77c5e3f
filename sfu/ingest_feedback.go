package sfu

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/pion/interceptor/pkg/twcc"

	"rheomesh/internal/codec"
	"rheomesh/internal/rtcpx"
	"rheomesh/internal/rtpx"
)

// How often a publisher's client hears from us.
const (
	nackEvery      = 5 * time.Millisecond  // least time between two looks for missing packets while some are: reordering settles in it
	feedbackEvery  = 20 * time.Millisecond // and while none are
	twccEvery      = 50 * time.Millisecond // between two transport-wide reports: draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3 suggests 50 to 250 ms
	receiverEvery  = time.Second           // between two receiver reports
	missingPerNACK = 128
)

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
	if s.layer.track.Kind == codec.Video {
		rates := s.layer.rates.now().measured(&s.subOld, &s.sub, elapsed)
		s.layer.rates.Store(&rates)
	}
	s.bytesOld, s.bytesAt, s.subOld = s.bytes, now, s.sub
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

// shape reports whether the layer looks different from the last time: sending or not, the size of its picture, and its sub-layers.
func (l *Layer) shape(now int64) bool {
	shape := layerShape{active: l.active(now), width: l.width.Load(), height: l.height.Load()}
	if rates := l.rates.Load(); rates != nil {
		shape.spatial, shape.temporal = rates.extent()
	}
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
