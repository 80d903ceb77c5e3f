package sfu

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"rheomesh/internal/codec"
	"rheomesh/internal/rtcpx"
	"rheomesh/sfu/transport"
)

// LayerSelection says which layer of a track a viewer wants. The zero value means: choose for me. A nil number is no limit.
type LayerSelection struct {
	Kind string // "video" when empty
	RID  string
	// Spatial, Temporal, MaxSpatial, MaxTemporal, MaxWidth and MaxHeight narrow the choice within what the publisher sends.
	Spatial, Temporal, MaxSpatial, MaxTemporal, MaxWidth, MaxHeight *int
}

// Subscriber is a session's copy of a publisher: one forwarder per track. It belongs to the publisher's name and waits while nobody feeds it.
type Subscriber struct {
	id        SubscriberID
	session   *Session
	publisher *Publisher
	worker    *worker
	transport *transport.Session
	cname     string
	data      *dataViewer // nil without a data section

	// forwarders are fixed at the start; what they hold is the worker's.
	forwarders []*forwarder

	paused atomic.Bool  // by an operator
	silent atomic.Bool  // the client has not been heard from for a while
	rtt    atomic.Int64 // nanoseconds, smoothed; 0 while unknown
	lost   atomic.Uint32
	ended  atomic.Bool

	steered atomic.Bool // the link is estimated

	// The worker's alone.
	reports   []byte // scratch
	reported  time.Time
	number    uint16 // transport-wide, of the newest packet of video
	attending bool   // waits in worker.attending

	// feedbackMu guards feedback and congestion.
	feedbackMu sync.Mutex
	feedback   feedback
	congestion congestion
}

// feedback is what a viewer's RTCP asked for since the worker last looked. Its sizes are bounded; what does not fit is dropped, and asked for again by the
// viewer.
type feedback struct {
	nacks     []nack
	keyframes []uint32 // media SSRCs
	queued    bool
}

type nack struct {
	ssrc uint32
	seq  uint16
}

// ID names the subscriber in lists and logs.
func (s *Subscriber) ID() SubscriberID { return s.id }

// Close ends the subscriber's session.
func (s *Subscriber) Close(reason CloseReason) { s.session.Close(reason) }

// SetPaused holds all media of the viewer back, or lets it go on from the next keyframe.
func (s *Subscriber) SetPaused(paused bool) {
	s.paused.Store(paused)
	s.worker.do(s.applyPause)
}

// SelectLayer works as Session.SelectLayer.
func (s *Subscriber) SelectLayer(selection LayerSelection) error {
	return s.session.SelectLayer(selection)
}

// bind gives the forwarders new tracks; nil takes them away.
func (s *Subscriber) bind(tracks []*Track) {
	s.worker.do(func() {
		if s.ended.Load() {
			return
		}
		for _, f := range s.forwarders {
			f.bind(trackOf(tracks, f))
		}
	})
}

func trackOf(tracks []*Track, f *forwarder) *Track {
	for _, t := range tracks {
		if t.Kind == f.kind {
			return t
		}
	}
	return nil
}

// connected lets media flow; it runs when the keys are ready.
func (s *Subscriber) connected() {
	s.connectData()
	s.worker.do(func() {
		if s.ended.Load() {
			return
		}
		now := time.Now().UnixNano()
		for _, f := range s.forwarders {
			if f.layer == nil {
				continue
			}
			if f.waiting { // a round may have begun to send already
				f.await(0, now)
			}
			f.advance(f.layer.log, now)
		}
	})
}

// start puts the subscriber under its worker; stop takes it away and returns when the worker will not touch it again.
func (s *Subscriber) start() { s.worker.do(func() { s.worker.addSubscriber(s) }) }

func (s *Subscriber) stop() {
	s.ended.Store(true)
	s.worker.ask(func() {
		for _, f := range s.forwarders {
			f.release()
		}
		s.worker.removeSubscriber(s)
	})
}

// tick runs in a round.
func (s *Subscriber) tick(now time.Time) {
	if silent := s.transport.Connected() && s.transport.Paused(now); silent != s.silent.Load() {
		s.silent.Store(silent)
		s.applyPause()
	}
	for _, f := range s.forwarders {
		f.tick(now.UnixNano())
	}
	if now.Sub(s.reported) >= reportInterval && s.transport.Connected() {
		s.reported = now
		s.sendReports(now)
	}
}

// applyPause brings the forwarders in line with the pause switches. On the worker.
func (s *Subscriber) applyPause() {
	paused, now := s.paused.Load() || s.silent.Load(), time.Now().UnixNano()
	for _, f := range s.forwarders {
		if f.paused == paused {
			continue
		}
		f.paused = paused
		if f.layer != nil {
			f.await(f.cursor, now)
			f.advance(f.layer.log, now)
		}
	}
}

func (s *Subscriber) sendReports(now time.Time) {
	for _, f := range s.forwarders {
		s.reports = f.appendReport(s.reports[:0], now)
		if len(s.reports) > 0 {
			_ = s.transport.SendRTCP(s.reports)
		}
	}
}

func (s *Subscriber) layerChanged() {
	s.session.router.emit(EventSubscriberLayer, s.publisher, s)
}

func (s *Subscriber) roundTrip() time.Duration { return time.Duration(s.rtt.Load()) }

// selectLayer checks a selection against what is live and hands it to the worker.
func (s *Subscriber) selectLayer(selection LayerSelection) error {
	tracks, _, _ := s.publisher.snapshot()
	for _, f := range s.forwarders {
		if f.kind.String() != selection.Kind {
			continue
		}
		if t := trackOf(tracks, f); selection.RID != "" && t != nil && t.layer(selection.RID) == nil {
			return fmt.Errorf("select layer %q of %s: %w", selection.RID, s.publisher.id, ErrLayerNotFound)
		}
		s.worker.do(func() {
			f.selection = selection
			f.reconsider(time.Now().UnixNano())
		})
		return nil
	}
	return fmt.Errorf("select layer of %s: no %s track: %w", s.publisher.id, selection.Kind, ErrLayerNotFound)
}

// handleRTCP reads a viewer's feedback on the port's reader and leaves what concerns the forwarders to the worker.
func (s *Subscriber) handleRTCP(packet []byte, now time.Time) {
	reader := feedbackReader{subscriber: s, now: now}
	if rtcpx.Walk(packet, &reader) != nil {
		s.worker.node.stats.malformedRTCP.Add(1)
	}
	s.feedbackMu.Lock()
	queue := !s.feedback.queued && len(s.feedback.nacks)+len(s.feedback.keyframes) > 0
	s.feedback.queued = s.feedback.queued || queue
	s.feedbackMu.Unlock()
	if queue {
		s.worker.do(s.applyFeedback)
	}
}

// applyFeedback runs on the worker.
func (s *Subscriber) applyFeedback() {
	s.feedbackMu.Lock()
	pending := s.feedback
	s.feedback = feedback{}
	s.feedbackMu.Unlock()
	if s.ended.Load() || s.paused.Load() {
		return
	}
	now := time.Now().UnixNano()
	for _, n := range pending.nacks {
		if f := s.forwarder(n.ssrc); f != nil {
			f.resend(n.seq, now)
		}
	}
	for _, ssrc := range pending.keyframes {
		if f := s.forwarder(ssrc); f != nil {
			s.worker.node.stats.keyframe(f.keyframeWanted(now))
		}
	}
}

// forwarder finds the forwarder that sends a stream; feedback about streams of others finds none.
func (s *Subscriber) forwarder(ssrc uint32) *forwarder {
	for _, f := range s.forwarders {
		if f.ssrc == ssrc {
			return f
		}
	}
	return nil
}

// maxKeyframeWishes is how many PLIs one packet is read for; a viewer has one video stream.
const maxKeyframeWishes = 4

// feedbackReader implements rtcpx.Handler for a viewer.
type feedbackReader struct {
	subscriber *Subscriber
	now        time.Time
}

func (r *feedbackReader) NACK(_, media uint32, seq uint16) {
	s := r.subscriber
	s.worker.node.stats.nacksReceived.Add(1)
	s.feedbackMu.Lock()
	defer s.feedbackMu.Unlock()
	if len(s.feedback.nacks) < resendQueueLength {
		s.feedback.nacks = append(s.feedback.nacks, nack{ssrc: media, seq: seq})
	}
}

func (r *feedbackReader) PLI(_, media uint32) {
	s := r.subscriber
	s.worker.node.stats.keyframeRequestsReceived.Add(1)
	s.feedbackMu.Lock()
	defer s.feedbackMu.Unlock()
	if len(s.feedback.keyframes) < maxKeyframeWishes {
		s.feedback.keyframes = append(s.feedback.keyframes, media)
	}
}

func (r *feedbackReader) FIR(sender, media uint32, _ uint8) { r.PLI(sender, media) }

// rttWeight is the share of a new round-trip sample in the smoothed value (RFC 6298 section 2 uses the same eighth).
const rttWeight = 8

func (r *feedbackReader) ReportBlock(_ uint32, block rtcpx.ReportBlock) {
	s := r.subscriber
	f := s.forwarder(block.SSRC)
	if f == nil {
		return
	}
	f.reportLost(uint64(max(block.TotalLost, 0)))
	s.lost.Store(uint32(max(block.TotalLost, 0)))
	if f.kind == codec.Video {
		r.congestion(func(c *congestion) { c.lost, c.fractionLost = true, block.FractionLost })
	}
	if rtt, ok := block.RoundTrip(r.now); ok {
		smoothed := time.Duration(s.rtt.Load())
		if smoothed == 0 {
			smoothed = rtt
		}
		s.rtt.Store(int64(smoothed + (rtt-smoothed)/rttWeight))
	}
}

func (r *feedbackReader) SenderReport(rtcpx.SenderReport) {}
func (r *feedbackReader) BYE(uint32)                      {}

var _ rtcpx.Handler = (*feedbackReader)(nil)
