package sfu

import (
	"encoding/binary"
	"slices"
	"time"

	"rheomesh/internal/codec"
	"rheomesh/internal/rtcpx"
	"rheomesh/internal/rtpx"
	"rheomesh/sfu/bandwidth"
)

const (
	// startBitrate is what a link is taken to carry before anything is known of it. It suffices for 720p, and is found to be wrong within a second.
	startBitrate = 2_000_000
	// reportsKept is how many transport-wide reports wait for the worker; viewers send one in 50 to 100 ms.
	reportsKept    = 16
	maxReportBytes = 2048
	maxPadding     = 255 // bytes, the most that the last of them can count (RFC 3550 section 5.1)
	// reportPause is the time between two rounds that reports alone bring about. Those of hundreds of viewers share rounds, with each other and with media.
	reportPause = 5 * time.Millisecond
)

// congestion is what a viewer's RTCP said about its link since the worker last looked. feedbackMu guards it.
type congestion struct {
	reports      []timedReport // transport-wide
	remb         uint64        // bit/s; 0 = none
	lost         bool          // fractionLost holds
	fractionLost uint8
	at           int64 // of remb and fractionLost
	queued       bool  // the worker has been told
}

// timedReport is a transport-wide report, and when it came in.
type timedReport struct {
	fci []byte
	at  int64
}

// estimate begins to estimate the link, now that there is something to choose.
func (f *forwarder) estimate(now int64) {
	if f.bandwidth != nil || f.kind != codec.Video {
		return
	}
	f.bandwidth = bandwidth.NewViewer(bandwidth.Config{StartBitrate: startBitrate}, now)
	f.audioAt, f.audioBytes = now, f.subscriber.audioBytes()
	f.subscriber.steered.Store(true)
}

// stopEstimating forgets what was learned; a new track may have nothing to choose.
func (f *forwarder) stopEstimating() {
	if f.bandwidth != nil {
		f.bandwidth = nil
		f.subscriber.steered.Store(false)
	}
}

// offerRungs tells the ladder what there is to choose from.
func (f *forwarder) offerRungs(rungs []rung) {
	var room [bandwidth.MaxRungs]bandwidth.Rung
	offered := room[:0]
	for i := range rungs {
		if r := &rungs[i]; len(offered) < cap(offered) {
			offered = append(offered, bandwidth.Rung{ID: r.id(f.track), Bitrate: int(r.bitrate), Width: r.width, Height: r.height, FrameShare: r.frames})
		}
	}
	f.bandwidth.SetRungs(offered)
}

// steer takes what the viewer has reported, and looks for more bandwidth where that would help. On the worker, every tickInterval.
func (f *forwarder) steer(now int64) {
	if f.bandwidth == nil {
		return
	}
	f.hear()
	if elapsed := now - f.audioAt; elapsed >= int64(time.Second) {
		sent := f.subscriber.audioBytes()
		f.bandwidth.SetAudio(int((sent - f.audioBytes) * 8 * uint64(time.Second) / uint64(elapsed)))
		f.audioAt, f.audioBytes = now, sent
	}
	f.bandwidth.Tick(now)
	f.counters.estimate.Store(int64(f.bandwidth.Estimate().Bitrate))
	f.probe(now)
}

// hear gives the estimator what the viewer has reported.
func (f *forwarder) hear() {
	pending := f.subscriber.takeCongestion()
	for _, r := range pending.reports {
		if f.bandwidth.Feedback(r.fci, r.at) != nil {
			f.worker.node.stats.malformedRTCP.Add(1)
		}
	}
	if pending.remb != 0 {
		f.bandwidth.REMB(pending.remb, pending.at)
	}
	if pending.lost {
		f.bandwidth.ReceiverReport(pending.fractionLost, int64(f.subscriber.roundTrip()), pending.at)
	}
}

// applyCongestion takes reports as they come, as a link that overflows has no time until the next tick. On the worker.
func (s *Subscriber) applyCongestion() {
	if s.ended.Load() {
		return
	}
	for _, f := range s.forwarders {
		if f.bandwidth == nil {
			continue
		}
		before := f.bandwidth.Estimate().Bitrate
		f.hear()
		if f.bandwidth.Estimate().Bitrate < before {
			f.reconsider(time.Now().UnixNano())
		}
	}
}

// doSoon is do for a viewer's report: in the next round, which is brought about unless one was a moment ago.
func (w *worker) doSoon(task func(), now time.Time) {
	w.mu.Lock()
	due := now.Sub(w.hurried) >= reportPause
	if due {
		w.hurried = now
	}
	if !w.stopped {
		w.tasks = append(w.tasks, task)
	}
	w.mu.Unlock()
	if due {
		w.poke()
	}
}

// probe sends what the prober asks for: newest packets once more, as RTX, which a viewer drops as duplicates; padding where that is not possible.
func (f *forwarder) probe(now int64) {
	s := f.segments.newest()
	for f.bandwidth != nil && s != nil && s.numbered {
		n, ok := f.bandwidth.Probe(now)
		if !ok {
			break
		}
		f.path = f.subscriber.transport.Path()
		if !f.path.Valid() || !f.repeat(s, n, now) && !f.probePadding(s, n, now) {
			return
		}
	}
	if at := f.bandwidth.ProbeAt(); at != 0 {
		f.worker.attendAt(f.subscriber, at)
	}
}

// repeat sends a packet of the newest ones again that has about n bytes.
func (f *forwarder) repeat(s *segment, n int, now int64) bool {
	const looked = 8
	for back := range uint64(looked) {
		p, sent, filled := f.origin(s, f.nextOut-1-back)
		if f.nextOut-1-back < s.outSeq || p == nil || filled || len(p.Data) < n/2 || len(p.Data) > 2*n {
			continue
		}
		f.emitRTX(p, s, sent, false, now)
		return true
	}
	return false
}

// probePadding sends about n bytes of padding in the RTX stream.
func (f *forwarder) probePadding(s *segment, n int, now int64) bool {
	pt := s.anyRTX()
	for ; n > 0 && pt != 0; n -= maxPadding {
		rewrite := rtpx.Rewrite{PayloadType: pt, Timestamp: f.lastTS, SSRC: f.rtxSSRC}
		if !f.pad(s, &rewrite, f.rtxSeq, maxPadding, now) {
			return false
		}
		f.rtxSeq++
	}
	return pt != 0
}

// pad sends a packet that is nothing but n bytes of padding, at most maxPadding (RFC 3550 section 5.1).
func (f *forwarder) pad(s *segment, rewrite *rtpx.Rewrite, seq uint64, n int, now int64) bool {
	rewrite.Padding = true
	padding := f.worker.payload[:n]
	clear(padding)
	padding[n-1] = byte(n)
	return f.dispatch(bare, s, rewrite, padding, seq, now) != 0
}

// bare is a packet without extensions and payload, whose header is all rewritten.
var bare = &Packet{Data: make([]byte, 12), Header: rtpx.Header{HeaderLen: 12}}

// number gives the next packet of the viewer its transport-wide number. Hot path of steered viewers.
func (f *forwarder) number(s *segment) {
	f.subscriber.number++
	if s.numbered {
		var value [2]byte
		binary.BigEndian.PutUint16(value[:], f.subscriber.number)
		s.extensions.Set(f.numberID, value[:])
	}
}

// mayNumber reports whether packets in these formats may have transport-wide numbers: none of them would ever be sent again as it was, to the last bit.
func (f *forwarder) mayNumber(m *formats) bool {
	if f.numberID == 0 || f.rtxSSRC == 0 {
		return false
	}
	return !slices.ContainsFunc(m[:], func(to format) bool { return to.known && to.rtxPT == 0 })
}

// paced reports whether the link is to be spared a packet for now; the cursor then waits, and the worker comes back. Hot path of steered viewers.
func (f *forwarder) paced(now int64) bool {
	if f.bandwidth.Allow(now) {
		return false
	}
	f.worker.attendAt(f.subscriber, f.bandwidth.NextAt(now))
	return true
}

// audioBytes is what the viewer was sent of audio.
func (s *Subscriber) audioBytes() (n uint64) {
	for _, f := range s.forwarders {
		if f.kind == codec.Audio {
			n += f.sent.bytes
		}
	}
	return n
}

// attend does what has become due between two ticks. On the worker.
func (s *Subscriber) attend(now int64) {
	if s.ended.Load() {
		return
	}
	for _, f := range s.forwarders {
		if f.bandwidth != nil && f.layer != nil {
			f.advance(f.layer.log, now)
			f.probe(now)
		}
	}
}

// takeCongestion empties what was reported.
func (s *Subscriber) takeCongestion() congestion {
	s.feedbackMu.Lock()
	defer s.feedbackMu.Unlock()
	pending := s.congestion
	s.congestion = congestion{}
	return pending
}

// REMB takes the viewer's own estimate (draft-alvestrand-rmcat-remb-03).
func (r *feedbackReader) REMB(_ uint32, bitrateBps uint64, _ rtcpx.SSRCs) {
	r.congestion(func(c *congestion) { c.remb = bitrateBps })
}

// TWCC takes the viewer's report of arrivals (draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1).
func (r *feedbackReader) TWCC(_, _ uint32, fci []byte) {
	if len(fci) > maxReportBytes {
		return
	}
	r.congestion(func(c *congestion) {
		if len(c.reports) < reportsKept {
			c.reports = append(c.reports, timedReport{fci: slices.Clone(fci), at: r.now.UnixNano()})
		}
	})
}

// congestion leaves something for the worker, if anybody is going to read it.
func (r *feedbackReader) congestion(note func(*congestion)) {
	s := r.subscriber
	if !s.steered.Load() {
		return
	}
	s.feedbackMu.Lock()
	note(&s.congestion)
	s.congestion.at = r.now.UnixNano()
	queue := !s.congestion.queued
	s.congestion.queued = true
	s.feedbackMu.Unlock()
	if queue {
		s.worker.doSoon(s.applyCongestion, r.now)
	}
}
