package bandwidth

import "time"

const (
	// pacingFactor lets frames that are larger than the mean pass faster than the estimate, and a backlog drain; draft-ietf-rmcat-gcc-02 section 4 leaves it open.
	pacingFactor = 1.25
	// pacingCongested is the factor while the link is overfull: its queue shall not fill while ours could.
	pacingCongested = 1.0
	// pacingBurst is how much passes at once: a frame is larger than its share of the rate, …
	pacingBurst = 40 * time.Millisecond
	// pacingBurstBytes … and two full packets always do.
	pacingBurstBytes = 3000
	// pacingDebt bounds how long padding and audio, which are not held back, can hold video back.
	pacingDebt = 100 * time.Millisecond
)

// pacer is a token bucket that may go into debt: a packet passes while the balance is positive and then takes what it weighs.
type pacer struct {
	rate    float64 // bytes per nanosecond
	balance float64 // bytes
	updated int64
}

// follow takes over the estimate, in bit/s.
func (p *pacer) follow(bitrate float64, congested bool, now int64) {
	p.refill(now)
	if p.rate == 0 {
		p.balance = pacingBurstBytes
	}
	factor := pacingFactor
	if congested {
		factor = pacingCongested
	}
	p.rate = bitrate * factor / 8e9
	p.balance = min(p.balance, p.burst())
}

func (p *pacer) burst() float64 { return max(pacingBurstBytes, p.rate*float64(pacingBurst)) }

func (p *pacer) refill(now int64) {
	if now <= p.updated {
		return
	}
	p.balance = min(p.balance+p.rate*float64(now-p.updated), p.burst())
	p.updated = now
}

// spend takes a packet's weight. Hot path.
func (p *pacer) spend(bytes int, now int64) {
	p.refill(now)
	p.balance = max(p.balance-float64(bytes), -p.rate*float64(pacingDebt))
}

// allow reports whether a packet may pass now. Hot path.
func (p *pacer) allow(now int64) bool {
	p.refill(now)
	return p.balance > 0
}

// nextAt returns when allow will say yes.
func (p *pacer) nextAt(now int64) int64 {
	if p.allow(now) || p.rate == 0 {
		return now
	}
	return now + int64(-p.balance/p.rate) + 1
}
