package wire

import "time"

// How much is sent again.
const (
	rateWindow  = 50 * time.Millisecond // the rate of the flow is measured over this long
	rateDecay   = 5                     // a lower rate is believed by a fifth per window: media comes in bursts
	resendShare = 2                     // what is sent again is at most one byte in this many of the flow's …
	resendFloor = 256 << 10             // … or this many bytes a second, so that a flow of little is repaired at once
	resendBurst = 50 * time.Millisecond // of that rate may leave at a time
)

// Pacer spreads what is sent again: a burst of requests must not double a flow that a full path has just cut. It is a token bucket whose rate is a share of
// the flow's own. It is for one goroutine at a time; the zero value is ready.
type Pacer struct {
	rate   float64 // of the flow, bytes/s
	bytes  int     // since start
	start  int64   // nanoseconds
	tokens float64 // bytes that may be sent again now
	filled int64
}

// Sent notes bytes of the flow, once per batch. Hot path.
func (p *Pacer) Sent(bytes int, now int64) {
	if p.start == 0 {
		p.start = now
	}
	p.bytes += bytes
	took := now - p.start
	if took < int64(rateWindow) {
		return
	}
	measured := float64(p.bytes) / time.Duration(took).Seconds()
	p.rate = max(measured, p.rate+(measured-p.rate)/rateDecay)
	p.start, p.bytes = now, 0
}

// Take reports whether so many bytes may be sent again now, and counts them then.
func (p *Pacer) Take(bytes int, now int64) bool {
	rate := max(p.rate/resendShare, resendFloor)
	most := rate * resendBurst.Seconds()
	if p.filled == 0 {
		p.tokens = most
	} else if now > p.filled {
		p.tokens = min(p.tokens+rate*time.Duration(now-p.filled).Seconds(), most)
	}
	p.filled = max(p.filled, now)
	if p.tokens <= 0 { // one packet may overdraw: it can be larger than all that a slow flow is given
		return false
	}
	p.tokens -= float64(bytes)
	return true
}
