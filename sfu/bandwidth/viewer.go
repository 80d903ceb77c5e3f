package bandwidth

import "time"

// Config sets the bounds of a viewer's estimate, in bit/s. Zero values mean the defaults.
type Config struct {
	StartBitrate int // before anything is known; default 1 Mbit/s
	MinBitrate   int // default 50 kbit/s
	MaxBitrate   int // default 50 Mbit/s
}

const (
	defaultStart = 1_000_000
	defaultMin   = 50_000
	defaultMax   = 50_000_000
)

// Viewer is the bandwidth control of one viewer. It belongs to one goroutine. The order of calls:
//
//  1. NewViewer when the viewer has something to choose; SetRungs whenever the publisher's layers or their measured rates have changed (about once a second),
//     SetCaps when the viewer's wishes change, SetAudio with the rate of what goes out beside the video.
//  2. For each packet that goes out, media and audio and padding and resent: Allow (video only) says whether the pacer lets it go now, NextAt when it will; then the
//     packet gets the next transport-wide number, and Sent is told.
//  3. For each RTCP packet that comes in: Feedback, REMB, ReceiverReport.
//  4. Every 10 to 50 ms: Tick, then Choose for the layer to be sent, then Probe until it says no; each yes asks for one padding or RTX packet of about that
//     many bytes, sent at once past the pacer and told to Sent like any other.
//
// When Choice.Urgent is set, the layer being sent overfills the link: stop sending it at once and wait for a keyframe of the chosen one.
type Viewer struct {
	cfg       Config
	history   history
	estimator estimator
	prober    prober
	ladder    ladder
	pacer     pacer
	report    report
}

// NewViewer starts from the configured estimate.
func NewViewer(cfg Config, now int64) *Viewer {
	cfg = cfg.withDefaults()
	v := &Viewer{cfg: cfg}
	v.history.origin = now
	v.estimator.reset(cfg, now)
	v.ladder.reset(now)
	v.prober.reset(now)
	v.pacer.updated = now
	v.pace(now)
	return v
}

func (c Config) withDefaults() Config {
	if c.StartBitrate <= 0 {
		c.StartBitrate = defaultStart
	}
	if c.MinBitrate <= 0 {
		c.MinBitrate = defaultMin
	}
	if c.MaxBitrate <= 0 {
		c.MaxBitrate = defaultMax
	}
	c.MaxBitrate = max(c.MaxBitrate, c.MinBitrate)
	c.StartBitrate = min(max(c.StartBitrate, c.MinBitrate), c.MaxBitrate)
	return c
}

// SetRungs replaces the layers to choose from, ordered from the cheapest to the best. It copies them; those beyond MaxRungs are left out.
func (v *Viewer) SetRungs(rungs []Rung) { v.ladder.setRungs(rungs) }

// SetCaps replaces what the viewer allows or insists on.
func (v *Viewer) SetCaps(caps Caps) { v.ladder.setCaps(caps) }

// SetAudio reserves a rate, in bit/s, that is never given to video.
func (v *Viewer) SetAudio(bitrate int) { v.ladder.audio = float64(max(bitrate, 0)) }

// Sent tells that a packet with this transport-wide number went out. Numbers count up by one per packet over all streams of the viewer; a viewer whose offer
// lacks the extension is counted alike and then steered by REMB or receiver reports. Hot path.
func (v *Viewer) Sent(number uint16, bytes int, now int64) {
	v.history.add(number, bytes, v.prober.sent(bytes, now), now)
	v.estimator.sent(bytes, now)
	v.pacer.spend(bytes, now)
}

// Feedback takes a transport-wide report, from the base sequence number on (what rtcpx.Handler.TWCC delivers). A report that cannot be read changes nothing.
// Hot path.
func (v *Viewer) Feedback(fci []byte, now int64) error {
	if err := v.report.parse(fci); err != nil {
		return err
	}
	v.report.read(&v.history, &v.estimator, &v.prober, now)
	if result, ok := v.prober.finish(now); ok {
		v.estimator.probed(result, now)
	}
	v.estimator.update(now)
	v.pace(now)
	return nil
}

// REMB takes the viewer's own estimate in bit/s (draft-alvestrand-rmcat-remb-03). It is used while the viewer sends no transport-wide reports.
func (v *Viewer) REMB(bitrate uint64, now int64) {
	v.estimator.remb(bitrate, now)
	v.pace(now)
}

// ReceiverReport takes the fraction of packets lost since the last report, in 1/256 (RFC 3550 section 6.4.1), and the round trip in nanoseconds, 0 when
// unknown. The loss is used while there is nothing better.
func (v *Viewer) ReceiverReport(fractionLost uint8, roundTrip, now int64) {
	v.estimator.receiverReport(fractionLost, roundTrip, now)
	v.pace(now)
}

// Tick lets time pass: silence lowers the estimate, and probes start.
func (v *Viewer) Tick(now int64) {
	if result, ok := v.prober.finish(now); ok {
		v.estimator.probed(result, now)
	}
	v.estimator.tick(now)
	want := v.ladder.wants(&v.estimator, now)
	v.prober.consider(want, &v.estimator, now)
	v.pace(now)
}

func (v *Viewer) pace(now int64) {
	v.pacer.follow(max(v.estimator.bitrate, v.ladder.floor(now)), v.estimator.congested(now), now)
}

// Choose returns the rung to send.
func (v *Viewer) Choose(now int64) Choice {
	return v.ladder.choose(&v.estimator, v.prober.running(), now)
}

// Probe asks for one packet of padding or RTX of about this many bytes; ok is false when none is due.
func (v *Viewer) Probe(now int64) (bytes int, ok bool) { return v.prober.due(now) }

// ProbeAt returns when Probe will next have something, or 0 when no cluster is running.
func (v *Viewer) ProbeAt() int64 { return v.prober.nextAt() }

// Allow reports whether a packet of video may go out now. It takes nothing from the bucket; Sent does. Hot path.
func (v *Viewer) Allow(now int64) bool { return v.pacer.allow(now) }

// NextAt returns when Allow will say yes; not later than now if it does so already.
func (v *Viewer) NextAt(now int64) int64 { return v.pacer.nextAt(now) }

// Estimate is what is known of a link.
type Estimate struct {
	Bitrate   int // bit/s that the link carries for this viewer
	Delivered int // bit/s that arrived of late, as reported
	Sent      int // bit/s sent of late
	Loss      float64
	Queue     time.Duration // delay in queues on the way, over the least of late
	RoundTrip time.Duration // 0 while unknown
	State     State
	Reason    EstimateReason
	Source    Source
}

// Estimate returns what is known of the link now.
func (v *Viewer) Estimate() Estimate { return v.estimator.snapshot() }
