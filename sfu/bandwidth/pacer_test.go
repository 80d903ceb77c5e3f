package bandwidth

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// spread sends packets as soon as they are allowed and returns when the last one went.
func spread(p *pacer, packets, bytes int, now int64) int64 {
	for range packets {
		now = max(now, p.nextAt(now))
		if !p.allow(now) {
			panic("not allowed at the time that nextAt named")
		}
		p.spend(bytes, now)
	}
	return now
}

func TestPacer(t *testing.T) {
	for _, row := range []struct {
		name           string
		bitrate        float64
		congested      bool
		packets, bytes int
		least, most    time.Duration
	}{
		{"an ordinary frame of a thin layer passes at once", 250_000, false, 1, 700, 0, 0},
		{"an ordinary frame of 1.7 Mbit/s passes at once", 2_000_000, false, 7, 1100, 0, 0},
		{"a keyframe on a thin link is spread", 300_000, false, 10, 1100, 140 * time.Millisecond, 220 * time.Millisecond},
		{"more so when it is congested", 300_000, true, 10, 1100, 175 * time.Millisecond, 280 * time.Millisecond},
		{"a keyframe on a wide link", 20_000_000, false, 32, 1100, 0, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			var p pacer
			p.follow(row.bitrate, row.congested, 0)
			start := int64(time.Second)
			took := time.Duration(spread(&p, row.packets, row.bytes, start) - start)
			assert.GreaterOrEqual(t, took, row.least)
			assert.LessOrEqual(t, took, row.most)
		})
	}
}

func TestPacerRate(t *testing.T) {
	var p pacer
	p.follow(1_000_000, false, 0)
	end := spread(&p, 1000, 1000, 0)
	rate := 1000 * 8000 / (float64(end) / float64(time.Second))
	assert.InEpsilon(t, 1_250_000, rate, 0.01)
}

// What is not held back may go into debt, but not so far that video stands still.
func TestPacerDebtIsBounded(t *testing.T) {
	var p pacer
	p.follow(300_000, false, 0)
	for range 100 {
		p.spend(1200, 0)
	}
	assert.False(t, p.allow(0))
	assert.LessOrEqual(t, p.nextAt(0), int64(pacingDebt)+2)
}

// Time that stands still or goes back gives no credit.
func TestPacerTimeGoesBack(t *testing.T) {
	var p pacer
	p.follow(1_000_000, false, int64(time.Second))
	before := p.balance
	p.refill(0)
	assert.Equal(t, before, p.balance)
}
