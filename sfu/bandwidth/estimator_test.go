package bandwidth

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMeter(t *testing.T) {
	var m meter
	assert.Zero(t, m.rate())
	for at := int64(0); at < 3_000_000; at += 10_000 {
		m.add(at, 125)
	}
	assert.InEpsilon(t, 100_000, m.rate(), 0.01)
	assert.InEpsilon(t, 100_000, m.since(2_500_000, 4, 16), 0.1)
	assert.Zero(t, m.since(2_950_000, 4, 16), "too short")
	m.add(2_000_000, 1_000_000)
	m.add(500_000, 1_000_000) // out of reach
	assert.InDelta(t, 8_100_000, m.rate(), 300_000)
	m.add(100_000_000, 125)
	assert.Zero(t, m.rate(), "after a pause")
}

func TestTrailingMin(t *testing.T) {
	var m trailingMin
	assert.Equal(t, int64(50), m.add(0, 50, 100))
	assert.Equal(t, int64(40), m.add(50, 40, 100))
	assert.Equal(t, int64(40), m.add(120, 60, 100))
	assert.Equal(t, int64(60), m.add(230, 70, 100))
	assert.Equal(t, int64(90), m.add(1000, 90, 100))
}

// drive sends 1000-byte packets each 10 ms over a link whose one-way delay is given, and reports whether overuse was seen.
func drive(d *delay, from, to int64, oneWay func(at int64) int64) (overused bool) {
	for at := from; at < to; at += 10_000 {
		d.add(at, at+oneWay(at))
		overused = overused || d.overused()
	}
	return overused
}

func TestDelay(t *testing.T) {
	flat := func(int64) int64 { return 20_000 }
	for _, row := range []struct {
		name   string
		oneWay func(at int64) int64
		want   bool
	}{
		{"flat", flat, false},
		{"growing by 50 ms a second", func(at int64) int64 { return 20_000 + max(0, at-2_000_000)/20 }, true},
		{"growing by a second a second", func(at int64) int64 { return 20_000 + max(0, at-2_000_000) }, true},
		{"clocks that drift by 200 ppm", func(at int64) int64 { return 20_000 + at/5000 }, false},
		{"clocks that drift the other way", func(at int64) int64 { return 20_000 - at/5000 }, false},
		{"a saw of 20 ms", func(at int64) int64 { return 20_000 + at/10_000%5*5_000 }, false},
		{"a queue that stands", func(at int64) int64 { return 20_000 + min(max(0, at-2_000_000)*10, 130_000) }, true},
		{"one that is short", func(at int64) int64 { return 20_000 + min(max(0, at-2_000_000)/20, 15_000) }, false},
		{"a clock that was set", func(at int64) int64 { return 20_000 + at/3_000_000*7_000_000 }, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			var d delay
			assert.Equal(t, row.want, drive(&d, 0, 5_000_000, row.oneWay))
		})
	}
}

func TestDelayIgnoresWhatWasOvertaken(t *testing.T) {
	var d delay
	for at := int64(0); at < 3_000_000; at += 10_000 {
		d.add(at, at+20_000)
		if at > 100_000 && at%50_000 == 0 {
			d.add(at-40_000, at+21_000) // 61 ms on the way
		}
		require.False(t, d.overused())
	}
}

func TestLossWindows(t *testing.T) {
	var l loss
	window := func(now int64, lost int) bool {
		l.lost, l.arrived = lost, 100-lost
		return l.close(now)
	}
	assert.False(t, window(sec/2, 50), "too short")
	l.lost, l.arrived = 5, 5
	assert.False(t, l.close(2*sec), "too few")
	require.True(t, window(2*sec, 10))
	assert.InDelta(t, 0.1, l.excess(), 0.001, "at first no loss is inherent")
	for i := range int64(8) {
		require.True(t, window((4+2*i)*sec, 10+int(i)))
	}
	assert.InDelta(t, 0.07, l.excess(), 0.001)
	l.lost, l.arrived = -5, 100 // more came late than were missing
	require.True(t, l.close(40*sec))
	assert.Zero(t, l.fraction)
}

func TestREMB(t *testing.T) {
	v := NewViewer(Config{}, 0)
	v.SetRungs(threeRungs())
	v.SetAudio(40_000)
	v.REMB(300_000, sec)
	assert.Equal(t, SourceREMB, v.Estimate().Source)
	assert.Equal(t, 300_000, v.Estimate().Bitrate)
	v.Tick(sec)
	assert.Equal(t, 10, v.Choose(sec).ID)
	assert.False(t, v.prober.running(), "a probe could not be measured")
	v.REMB(0, 2*sec)
	assert.Equal(t, defaultMin, v.Estimate().Bitrate)
	v.REMB(1<<62, 3*sec)
	assert.Equal(t, defaultMax, v.Estimate().Bitrate)
	v.Sent(1, 1000, 3*sec)
	require.NoError(t, v.Feedback(unhex(t, spaceless("0001 0001 000001 00 2001 04")), 3*sec+50*ms))
	v.REMB(300_000, 4*sec)
	assert.Equal(t, SourceTransportWide, v.Estimate().Source, "the viewer's own estimate is not used beside its reports")
}

// loop sends what was chosen each 20 ms, and lets the caller report each 500 ms.
func loop(v *Viewer, from, to int64, report func(now int64)) (c Choice) {
	rates := map[int]int{10: 150_000, 11: 500_000, 12: 1_700_000}
	for now := from; now < to; now += 20 * ms {
		v.Tick(now)
		c = v.Choose(now)
		v.Sent(uint16(now/(20*ms)), (rates[c.ID]+40_000)/8/50, now)
		if now%(500*ms) == 0 {
			report(now)
		}
	}
	return c
}

// Without measurable probes, a higher rung is tried when the link has been quiet, and left at the first sign of trouble, for longer each time.
func TestTrials(t *testing.T) {
	t.Run("receiver reports, a link that carries it", func(t *testing.T) {
		v := NewViewer(Config{StartBitrate: 300_000}, 0)
		v.SetRungs(threeRungs())
		v.SetAudio(40_000)
		c := loop(v, 0, 60*sec, func(now int64) { v.ReceiverReport(0, 50*ms, now) })
		assert.Equal(t, 12, c.ID)
		assert.Equal(t, SourceReport, v.Estimate().Source)
	})
	t.Run("receiver reports, a link that does not", func(t *testing.T) {
		v := NewViewer(Config{StartBitrate: 300_000}, 0)
		v.SetRungs(threeRungs())
		v.SetAudio(40_000)
		high := 0
		loop(v, 0, 120*sec, func(now int64) {
			lost := uint8(0)
			if v.ladder.current != 10 {
				high++
				lost = 100
			}
			v.ReceiverReport(lost, 50*ms, now)
		})
		assert.Positive(t, high)
		assert.Less(t, high, 24, "of 240 half seconds")
	})
	t.Run("REMB that follows", func(t *testing.T) {
		v := NewViewer(Config{StartBitrate: 300_000}, 0)
		v.SetRungs(threeRungs())
		v.SetAudio(40_000)
		remb := 285_000.0
		c := loop(v, 0, 60*sec, func(now int64) {
			remb = min(remb*1.04, 1.5*max(v.estimator.sending.rate(), 190_000))
			v.REMB(uint64(remb), now)
		})
		assert.Equal(t, 12, c.ID)
	})
	t.Run("nothing is reported at all", func(t *testing.T) {
		v := NewViewer(Config{}, 0)
		v.SetRungs(threeRungs())
		c := loop(v, 0, 60*sec, func(int64) {})
		assert.Equal(t, 11, c.ID, "what the start allows")
		assert.Equal(t, SourceNone, v.Estimate().Source)
	})
}

// A viewer that insists on a rung gets it at its rate, whatever the estimate.
func TestPinnedIsNotStarved(t *testing.T) {
	v := NewViewer(Config{StartBitrate: 100_000}, 0)
	v.SetRungs(threeRungs())
	v.SetCaps(Caps{Pinned: true, Rung: 12})
	v.Choose(0)
	v.Tick(1)
	assert.GreaterOrEqual(t, v.pacer.rate*8e9, 1_700_000.0)
}

func TestConfigDefaults(t *testing.T) {
	for _, row := range []struct {
		name string
		in   Config
		want Config
	}{
		{"zero", Config{}, Config{defaultStart, defaultMin, defaultMax}},
		{"start below least", Config{StartBitrate: 10, MinBitrate: 100, MaxBitrate: 1000}, Config{100, 100, 1000}},
		{"start above most", Config{StartBitrate: 5000, MinBitrate: 100, MaxBitrate: 1000}, Config{1000, 100, 1000}},
		{"most below least", Config{MinBitrate: 200, MaxBitrate: 100}, Config{200, 200, 200}},
	} {
		t.Run(row.name, func(t *testing.T) { assert.Equal(t, row.want, row.in.withDefaults()) })
	}
}

func TestSnapshot(t *testing.T) {
	v := NewViewer(Config{}, 0)
	e := v.Estimate()
	assert.Equal(t, Estimate{Bitrate: defaultStart, State: StateHold, Reason: EstimateStart, Source: SourceNone}, e)
	for n := range uint16(50) {
		v.Sent(n, 1250, int64(n)*20*ms)
	}
	assert.InEpsilon(t, 500_000, v.Estimate().Sent, 0.05)
	assert.Equal(t, time.Duration(0), v.Estimate().RoundTrip)
}
