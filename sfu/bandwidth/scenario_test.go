package bandwidth_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"rheomesh/sfu/bandwidth"
)

// seeds are run for each scenario, so that none passes by luck.
const seeds = 3

func each(t *testing.T, c conditions, check func(t *testing.T, w *world)) {
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			c := c
			c.seed = seed
			check(t, newWorld(c))
		})
	}
}

// The estimate is within 20 % of the limit after 10 s, wherever the limit lies at which there is something to find out; the layer that fits is sent, without
// hunting, and queues stay short.
func TestSettles(t *testing.T) {
	for _, row := range []struct {
		limit    float64
		rung     int
		estimate bool // whether traffic and probes reach the limit
	}{
		{250_000, 0, true},
		{300_000, 0, true},
		{450_000, 0, true},
		{700_000, 1, true},
		{1_000_000, 1, true},
		{1_500_000, 1, true},
		{2_200_000, 2, true},
		{2_500_000, 2, true},
		{10_000_000, 2, false}, // nothing higher is wanted, so nothing is probed
	} {
		t.Run(fmt.Sprint(row.limit), func(t *testing.T) {
			each(t, conditions{capacity: constant(row.limit)}, func(t *testing.T, w *world) {
				w.run(70_000)
				if row.estimate {
					assert.InEpsilon(t, row.limit, float64(w.estimates[10_000]), 0.2, "after 10 s")
				}
				assert.GreaterOrEqual(t, w.share(row.rung, 10_000, 70_000), 0.95, "time on the layer that fits")
				assert.LessOrEqual(t, w.switches(10_000, 70_000), 2)
				assert.LessOrEqual(t, w.queueP95(10_000, 70_000), int64(150), "ms")
				assert.LessOrEqual(t, w.freeze(10_000, 70_000), int64(600), "ms")
				assert.Less(t, w.padding*8/70, 30_000, "bit/s of padding")
			})
		})
	}
}

// A link that is narrower than the lowest layer is not filled: what is too much waits here and is skipped, not there.
func TestNarrowerThanTheLowest(t *testing.T) {
	each(t, conditions{capacity: constant(200_000)}, func(t *testing.T, w *world) {
		w.run(60_000)
		assert.LessOrEqual(t, w.queueP95(10_000, 60_000), int64(200), "ms")
		assert.LessOrEqual(t, w.freeze(10_000, 60_000), int64(1000), "ms")
		assert.Equal(t, 1.0, w.share(0, 10_000, 60_000))
	})
}

func TestStepDownAndUp(t *testing.T) {
	for _, row := range []struct {
		name string
		to   float64
		rung int
	}{
		{"to the middle layer", 800_000, 1},
		{"to the lowest layer", 300_000, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			each(t, conditions{capacity: steps(0, 2.5e6, 20_000, row.to, 50_000, 2.5e6)}, func(t *testing.T, w *world) {
				w.run(80_000)
				require.Equal(t, 2, w.rungs[19_999])
				assert.LessOrEqual(t, w.freeze(19_000, 50_000), int64(1000), "ms without a picture")
				assert.Less(t, w.reached(row.rung, 20_000), int64(22_000))
				assert.InEpsilon(t, row.to, float64(w.estimates[30_000]), 0.2)
				assert.LessOrEqual(t, w.queueP95(27_000, 50_000), int64(150), "ms")
				assert.LessOrEqual(t, w.switches(27_000, 50_000), 1)
				back := w.reached(2, 50_000)
				assert.True(t, back >= 0 && back <= 65_000, "on the full layer again at %d ms", back)
				assert.Equal(t, 1.0, w.share(2, 66_000, 80_000))
			})
		})
	}
}

func TestRamps(t *testing.T) {
	down := func(ms int64) float64 { return max(300_000, 2.5e6-float64(ms)*60) } // 60 kbit/s less each second
	t.Run("down", func(t *testing.T) {
		each(t, conditions{capacity: down}, func(t *testing.T, w *world) {
			w.run(60_000)
			assert.LessOrEqual(t, w.freeze(5_000, 60_000), int64(1000))
			assert.LessOrEqual(t, w.switches(5_000, 60_000), 5)
			assert.LessOrEqual(t, w.queueP95(5_000, 60_000), int64(300))
			assert.Equal(t, 0, w.sending)
		})
	})
	t.Run("up", func(t *testing.T) {
		each(t, conditions{capacity: func(ms int64) float64 { return down(40_000 - min(ms, 40_000)) }}, func(t *testing.T, w *world) {
			w.run(60_000)
			assert.LessOrEqual(t, w.freeze(5_000, 60_000), int64(600))
			assert.LessOrEqual(t, w.switches(5_000, 60_000), 4)
			assert.Equal(t, 2, w.sending)
		})
	})
}

// Short dips are ridden out: the viewer is back soon, and no picture stands for long.
func TestShortDips(t *testing.T) {
	dips := func(ms int64) float64 {
		if ms%10_000 > 9_700 {
			return 900_000
		}
		return 2.5e6
	}
	each(t, conditions{capacity: dips}, func(t *testing.T, w *world) {
		w.run(60_000)
		assert.LessOrEqual(t, w.freeze(5_000, 60_000), int64(1000))
		assert.GreaterOrEqual(t, w.share(2, 5_000, 60_000)+w.share(1, 5_000, 60_000), 0.95)
	})
}

// bursts is 3 Mbit/s for 150 ms in every 5 s.
func bursts(ms int64) float64 {
	if ms%5_000 < 150 {
		return 3e6
	}
	return 0
}

func TestTroubledLinks(t *testing.T) {
	for _, row := range []struct {
		name     string
		c        conditions
		rung     int
		share    float64 // least time on the rung or above it
		switches int     // in two minutes
		freeze   int64
	}{
		{"1 % loss", conditions{capacity: constant(2.5e6), loss: 0.01}, 2, 0.95, 2, 600},
		{"2 % loss", conditions{capacity: constant(2.5e6), loss: 0.02}, 2, 0.95, 2, 600},
		{"5 % loss", conditions{capacity: constant(2.5e6), loss: 0.05}, 2, 0.8, 6, 1200},
		{"10 % loss", conditions{capacity: constant(2.5e6), loss: 0.1}, 1, 0.95, 8, 1500},
		{"2 % loss, middle layer", conditions{capacity: constant(0.8e6), loss: 0.02}, 1, 0.9, 4, 800},
		{"jitter of 15 ms", conditions{capacity: constant(2.5e6), jitterMicros: 15_000}, 2, 0.95, 2, 600},
		{"jitter of 15 ms, middle layer", conditions{capacity: constant(0.8e6), jitterMicros: 15_000}, 1, 0.9, 4, 600},
		{"jitter of 50 ms", conditions{capacity: constant(2.5e6), jitterMicros: 50_000}, 2, 0.8, 8, 600},
		{"reordering", conditions{capacity: constant(2.5e6), reorder: 0.05}, 2, 0.95, 2, 600},
		{"30 % of the reports lost", conditions{capacity: constant(2.5e6), reportLoss: constant(0.3)}, 2, 0.95, 2, 600},
		{"30 % of the reports lost, middle layer", conditions{capacity: constant(0.8e6), reportLoss: constant(0.3)}, 1, 0.95, 2, 600},
		{"reports each 250 ms", conditions{capacity: constant(2.5e6), reportEvery: 250}, 2, 0.95, 2, 600},
		{"round trip of 400 ms", conditions{capacity: constant(2.5e6), delayMicros: 200_000}, 2, 0.95, 2, 600},
		{"a clock that is fast by 200 ppm", conditions{capacity: constant(0.8e6), driftPPM: 200}, 1, 0.95, 2, 600},
		{"a clock that is slow by 200 ppm", conditions{capacity: constant(0.8e6), driftPPM: -200}, 1, 0.95, 2, 600},
		{"a queue of 50 ms", conditions{capacity: constant(2.5e6), queueMillis: 50}, 2, 0.95, 2, 1200},
		{"another's 2 Mbit/s of 3", conditions{capacity: constant(3e6), crossing: constant(2e6)}, 1, 0.9, 4, 600},
		{"another's bursts", conditions{capacity: constant(2.5e6), crossing: bursts}, 2, 0.8, 8, 1000},
		{"a greedy flow", conditions{capacity: constant(5e6), queueMillis: 100, greedy: func(int64) bool { return true }}, 1, 0.8, 10, 1000},
	} {
		t.Run(row.name, func(t *testing.T) {
			each(t, row.c, func(t *testing.T, w *world) {
				w.run(130_000)
				share := 0.0
				for rung := row.rung; rung < 3; rung++ {
					share += w.share(rung, 10_000, 130_000)
				}
				assert.GreaterOrEqual(t, share, row.share)
				assert.LessOrEqual(t, w.switches(10_000, 130_000), row.switches)
				assert.LessOrEqual(t, w.freeze(10_000, 130_000), row.freeze, "ms")
				assert.LessOrEqual(t, w.queueP95(10_000, 130_000), int64(150), "ms")
			})
		})
	}
}

// A flow that comes takes its part, and the layer is given back when it goes.
func TestCompetingFlowComesAndGoes(t *testing.T) {
	each(t, conditions{capacity: constant(2.5e6), crossing: steps(0, 0, 15_000, 1.7e6, 40_000, 0)}, func(t *testing.T, w *world) {
		w.run(70_000)
		require.Equal(t, 2, w.rungs[14_999])
		assert.GreaterOrEqual(t, w.share(1, 20_000, 40_000), 0.9)
		assert.LessOrEqual(t, w.freeze(14_000, 40_000), int64(1000))
		back := w.reached(2, 40_000)
		assert.True(t, back >= 0 && back <= 55_000, "on the full layer again at %d ms", back)
	})
}

// A handover makes the way longer: that is not taken for a queue for ever.
func TestLongerWay(t *testing.T) {
	for _, row := range []struct{ micros float64 }{{60_000}, {100_000}, {200_000}} {
		t.Run(fmt.Sprint(row.micros), func(t *testing.T) {
			each(t, conditions{capacity: constant(2.5e6), detour: steps(0, 0, 20_000, row.micros)}, func(t *testing.T, w *world) {
				w.run(60_000)
				assert.LessOrEqual(t, w.freeze(18_000, 60_000), int64(1000))
				back := w.reached(2, 21_500)
				assert.True(t, back >= 0 && back <= 37_000, "on the full layer again at %d ms", back)
				assert.GreaterOrEqual(t, w.share(2, 40_000, 60_000), 0.95)
			})
		})
	}
}

// Reports that stop altogether bring the estimate down step by step; it is found again when they come back.
func TestReportsStop(t *testing.T) {
	each(t, conditions{capacity: constant(2.5e6), reportLoss: func(ms int64) float64 {
		if ms >= 20_000 && ms < 28_000 {
			return 1
		}
		return 0
	}}, func(t *testing.T, w *world) {
		w.run(20_900)
		assert.Greater(t, w.viewer.Estimate().Bitrate, 1_900_000, "a second without reports is nothing")
		w.run(28_000)
		assert.Less(t, w.viewer.Estimate().Bitrate, 400_000)
		assert.Equal(t, bandwidth.EstimateSilence, w.viewer.Estimate().Reason)
		w.run(50_000)
		back := w.reached(2, 28_000)
		assert.True(t, back >= 0 && back <= 43_000, "on the full layer again at %d ms", back)
	})
}

// A viewer that was paused for long goes on as before when the link still is what it was, and is corrected soon when not.
func TestLongSilence(t *testing.T) {
	mute := func(ms int64) bool { return ms >= 20_000 && ms < 50_000 }
	t.Run("same link", func(t *testing.T) {
		each(t, conditions{capacity: constant(2.5e6), mute: mute}, func(t *testing.T, w *world) {
			w.run(80_000)
			assert.GreaterOrEqual(t, w.share(2, 51_000, 80_000), 0.95)
		})
	})
	t.Run("narrower link", func(t *testing.T) {
		each(t, conditions{capacity: steps(0, 2.5e6, 30_000, 0.8e6), mute: mute}, func(t *testing.T, w *world) {
			w.run(80_000)
			assert.Less(t, w.reached(1, 50_000), int64(53_000))
			assert.LessOrEqual(t, w.freeze(51_500, 80_000), int64(1000))
		})
	})
}

// What the viewer caps is not probed for; when the cap goes, the full layer comes.
func TestCapsOverALink(t *testing.T) {
	caps := func(ms int64) bandwidth.Caps {
		if ms < 20_000 {
			return bandwidth.Caps{MaxHeight: 360}
		}
		return bandwidth.Caps{}
	}
	each(t, conditions{capacity: constant(2.5e6), caps: caps}, func(t *testing.T, w *world) {
		w.run(19_900)
		assert.Equal(t, bandwidth.Choice{ID: 1, Reason: bandwidth.ReasonLimit}, w.choice)
		assert.Zero(t, w.padding)
		w.run(30_000)
		back := w.reached(2, 20_000)
		assert.True(t, back >= 0 && back <= 25_000, "at %d ms", back)
		assert.Equal(t, bandwidth.ReasonBest, w.choice.Reason)
	})
}
