package client

import (
	"time"

	"github.com/pion/rtcp"
)

// bitrateWindow is the time over which the bitrate is measured.
const bitrateWindow = time.Second

// arrival measures how packets arrive: their number, rate, and jitter.
type arrival struct {
	clockRate              uint32
	packets, bytes, broken uint64
	first, last            time.Time

	// The last whole window and the one being filled.
	bitrateBps  float64
	windowStart time.Time
	windowBytes uint64

	// Interarrival jitter in units of the RTP clock (RFC 3550 §6.4.1), from first packets of frames only:
	// the packets of a frame share a timestamp but not a time of sending.
	jitter        float64
	transit       float64
	lastTimestamp uint32
}

// take counts a packet of size bytes, RTP header included.
func (a *arrival) take(p *packet, size int) {
	if a.packets == 0 {
		a.first, a.windowStart = p.arrival, p.arrival
	}
	a.packets++
	a.bytes += uint64(size)
	a.last = p.arrival
	if elapsed := p.arrival.Sub(a.windowStart); elapsed >= bitrateWindow {
		a.bitrateBps = float64(a.windowBytes*8) / elapsed.Seconds()
		a.windowStart, a.windowBytes = p.arrival, 0
	}
	a.windowBytes += uint64(size)
	a.disperse(p)
}

// disperse takes a packet into the jitter: D is the change of the relative transit time, and the jitter
// moves a sixteenth of the way to |D| (RFC 3550 §A.8).
func (a *arrival) disperse(p *packet) {
	if a.packets > 1 && p.Timestamp == a.lastTimestamp {
		return
	}
	elapsed := p.arrival.Sub(a.first).Seconds() * float64(a.clockRate)
	if a.packets > 1 {
		d := elapsed - a.transit - float64(int32(p.Timestamp-a.lastTimestamp))
		a.jitter += (max(d, -d) - a.jitter) / 16
	}
	a.transit, a.lastTimestamp = elapsed, p.Timestamp
}

// rate is the bitrate of the last window; before there is one, that since the first packet.
func (a *arrival) rate() float64 {
	if a.bitrateBps > 0 {
		return a.bitrateBps
	}
	if elapsed := a.last.Sub(a.first); elapsed > 0 {
		return float64(a.bytes*8) / elapsed.Seconds()
	}
	return 0
}

func (a *arrival) jitterTime() time.Duration {
	if a.clockRate == 0 {
		return 0
	}
	return time.Duration(a.jitter / float64(a.clockRate) * float64(time.Second))
}

// senderClock maps RTP time to the wall clock of the sender, by its last report (RFC 3550 §6.4.1).
type senderClock struct {
	known bool
	wall  time.Time
	rtp   uint32
	count uint64
}

func (c *senderClock) take(report *rtcp.SenderReport) {
	c.count++
	if report.NTPTime == 0 { // the sender has no clock
		return
	}
	c.known, c.wall, c.rtp = true, fromNTP(report.NTPTime), report.RTPTime
}

// latency is the time from capture to arrival.
func (c *senderClock) latency(timestamp uint32, arrival time.Time, clockRate uint32) (time.Duration, bool) {
	if !c.known || clockRate == 0 {
		return 0, false
	}
	since := time.Duration(int32(timestamp-c.rtp)) * time.Second / time.Duration(clockRate)
	return arrival.Sub(c.wall.Add(since)), true
}

// frameCounters count frames and sum up their latency.
type frameCounters struct {
	frames, decodable, keyframes, broken uint64
	plis                                 uint64
	width, height                        int
	firstFrame                           time.Duration // from POST to the first decodable frame

	measured          uint64 // frames with a known latency
	last, least, most time.Duration
	sum               time.Duration
}

// take counts a frame and reports whether it is the first that decodes.
func (c *frameCounters) take(f *Frame, posted time.Time) (first bool) {
	if !f.Complete {
		c.broken++
		return false
	}
	c.frames++
	if f.width > 0 {
		c.width, c.height = f.width, f.height
	}
	if f.LatencyKnown {
		c.measure(f.Latency)
	}
	if !f.Decodable {
		return false
	}
	if f.Keyframe {
		c.keyframes++
	}
	c.decodable++
	if c.decodable == 1 {
		c.firstFrame = f.Arrival.Sub(posted)
	}
	return c.decodable == 1
}

func (c *frameCounters) measure(latency time.Duration) {
	if c.measured == 0 {
		c.least, c.most = latency, latency
	}
	c.measured++
	c.last, c.sum = latency, c.sum+latency
	c.least, c.most = min(c.least, latency), max(c.most, latency)
}

func (c *frameCounters) mean() time.Duration {
	if c.measured == 0 {
		return 0
	}
	return c.sum / time.Duration(c.measured)
}
