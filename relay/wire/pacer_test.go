package wire

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const millisecond = int64(time.Millisecond)

// flow sends bytes per millisecond for a while, with a batch in each.
func (p *Pacer) flow(from, milliseconds int64, bytes int) (now int64) {
	for now = from; now < from+milliseconds*millisecond; now += millisecond {
		p.Sent(bytes, now)
	}
	return now
}

// A burst of requests for everything of the last half second is answered over time: never more than half of the flow beside it, but for a short burst.
func TestPacerSpreadsBurst(t *testing.T) {
	var p Pacer
	const perMillisecond = 12_500 // 100 Mbit/s
	now := p.flow(1, 1000, perMillisecond)
	queue, sent, first := 500*perMillisecond, 0, 0
	start := now
	for ; queue > 0; now += millisecond {
		p.Sent(perMillisecond, now)
		for queue > 0 && p.Take(1200, now) {
			queue -= 1200
			sent += 1200
		}
		if now == start {
			first = sent
		}
		elapsed := int((now-start)/millisecond) + 1
		most := elapsed*perMillisecond/resendShare + perMillisecond*int(resendBurst.Milliseconds())/resendShare + 2*1200
		require.LessOrEqual(t, sent, most, "after %d ms", elapsed)
	}
	require.Less(t, first, 30*perMillisecond, "at once")
	require.Less(t, now-start, 1100*millisecond, "all of it")
}

// A flow of little is repaired at once: an audio packet waits for nothing, and neither does one that is larger than all that the flow is given.
func TestPacerOfSlowFlow(t *testing.T) {
	var p Pacer
	now := p.flow(1, 1000, 5)
	for range 50 {
		require.True(t, p.Take(200, now))
	}
	require.True(t, p.Take(60_000, now))
	require.False(t, p.Take(1, now), "but then there is none left")
	require.True(t, p.Take(1, now+int64(time.Second)))
}

// The rate follows the flow up at once and down slowly; time that goes back does no harm.
func TestPacerRate(t *testing.T) {
	var p Pacer
	now := p.flow(1, 200, 10_000)
	require.InDelta(t, 10e6, p.rate, 0.5e6)
	now = p.flow(now, 60, 100)
	require.Greater(t, p.rate, 5e6)
	now = p.flow(now, 3000, 100)
	require.InDelta(t, 0.1e6, p.rate, 0.05e6)
	before := p.rate
	p.Sent(1, now-int64(time.Second))
	p.Take(1, now)
	p.Take(1, now-int64(time.Second))
	require.Equal(t, before, p.rate)
}
