package bandwidth

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	ms  = int64(time.Millisecond)
	sec = int64(time.Second)
)

func threeRungs() []Rung {
	return []Rung{
		{ID: 10, Bitrate: 150_000, Width: 320, Height: 180, FrameShare: 1},
		{ID: 11, Bitrate: 500_000, Width: 640, Height: 360, FrameShare: 1},
		{ID: 12, Bitrate: 1_700_000, Width: 1280, Height: 720, FrameShare: 1},
	}
}

// stand returns a ladder with an estimate that transport-wide reports have just borne out.
func stand(bitrate float64) (*ladder, *estimator) {
	l, e := &ladder{audio: 40_000}, &estimator{}
	l.reset(0)
	l.setRungs(threeRungs())
	e.reset(Config{}.withDefaults(), 0)
	e.source, e.bitrate = SourceTransportWide, bitrate
	return l, e
}

// pass lets time go by with the estimate borne out, and returns the last choice.
func pass(l *ladder, e *estimator, from, to int64) (c Choice) {
	for now := from; now <= to; now += 20 * ms {
		e.confirmedAt = now
		c = l.choose(e, false, now)
	}
	return c
}

func TestFirstChoice(t *testing.T) {
	for _, row := range []struct {
		name    string
		bitrate float64
		caps    Caps
		rungs   func([]Rung) []Rung
		want    Choice
	}{
		{"too little for any", 60_000, Caps{}, nil, Choice{ID: 10, Reason: ReasonBandwidth}},
		{"middle", 1_000_000, Caps{}, nil, Choice{ID: 11, Reason: ReasonBandwidth}},
		{"all", 5_000_000, Caps{}, nil, Choice{ID: 12, Reason: ReasonBest}},
		{"audio comes first", 520_000, Caps{}, nil, Choice{ID: 10, Reason: ReasonBandwidth}},
		{"limited by height", 5_000_000, Caps{MaxHeight: 400}, nil, Choice{ID: 11, Reason: ReasonLimit}},
		{"limited by width", 5_000_000, Caps{MaxWidth: 639}, nil, Choice{ID: 10, Reason: ReasonLimit}},
		{"limited by rate", 5_000_000, Caps{MaxBitrate: 600_000}, nil, Choice{ID: 11, Reason: ReasonLimit}},
		{"pinned beyond the link", 60_000, Caps{Pinned: true, Rung: 12}, nil, Choice{ID: 12, Reason: ReasonSelected}},
		{"pinned to what is not there", 5_000_000, Caps{Pinned: true, Rung: 99}, nil, Choice{ID: 12, Reason: ReasonBest}},
		{"the best is not being sent", 5_000_000, Caps{}, func(r []Rung) []Rung { r[2].Bitrate = 0; return r }, Choice{ID: 11, Reason: ReasonInactive}},
		{"none is being sent", 5_000_000, Caps{}, func(r []Rung) []Rung { return r[:0] }, Choice{ID: -1, Reason: ReasonInactive}},
	} {
		t.Run(row.name, func(t *testing.T) {
			l, e := stand(row.bitrate)
			l.caps = row.caps
			if row.rungs != nil {
				l.setRungs(row.rungs(threeRungs()))
			}
			assert.Equal(t, row.want, l.choose(e, false, sec))
		})
	}
}

// Back to the automatic choice: what fits, at once, and not where the viewer stood.
func TestInsistsNoLonger(t *testing.T) {
	l, e := stand(5_000_000)
	l.setCaps(Caps{Pinned: true, Rung: 10})
	require.Equal(t, 10, pass(l, e, 0, sec).ID)
	l.setCaps(Caps{})
	require.Equal(t, Choice{ID: 12, Reason: ReasonBest}, l.choose(e, false, sec+ms))
}

func TestTemporalRungs(t *testing.T) {
	l, e := stand(1_200_000)
	l.setRungs([]Rung{{ID: 0, Bitrate: 500_000, FrameShare: 0.5}, {ID: 1, Bitrate: 1_000_000, FrameShare: 1}})
	assert.Equal(t, 1, l.choose(e, false, sec).ID)
	l.caps.MaxFrameShare = 0.5
	assert.Equal(t, Choice{ID: 0, Reason: ReasonLimit}, l.choose(e, false, 2*sec))
}

func TestGoesDown(t *testing.T) {
	t.Run("after the hold", func(t *testing.T) {
		l, e := stand(2_000_000)
		require.Equal(t, 12, pass(l, e, 0, sec).ID)
		e.bitrate = 1_600_000
		assert.Equal(t, 12, pass(l, e, sec, 2*sec-20*ms).ID)
		assert.Equal(t, Choice{ID: 11, Reason: ReasonBandwidth}, pass(l, e, 2*sec, 2*sec+40*ms))
	})
	t.Run("a short dip is ridden out", func(t *testing.T) {
		l, e := stand(2_000_000)
		pass(l, e, 0, sec)
		for now := sec; now < 20*sec; now += sec {
			e.bitrate = 1_600_000
			pass(l, e, now, now+500*ms)
			e.bitrate = 1_800_000
			require.Equal(t, 12, pass(l, e, now+520*ms, now+980*ms).ID)
		}
	})
	t.Run("at once when the link is congested", func(t *testing.T) {
		l, e := stand(2_000_000)
		pass(l, e, 0, sec)
		e.bitrate, e.overusedAt, e.delay.queue = 300_000, sec, suddenQueue+1
		assert.Equal(t, Choice{ID: 10, Reason: ReasonCongested, Urgent: true}, l.choose(e, false, sec+20*ms))
	})
	t.Run("a little later when its queue is short", func(t *testing.T) {
		l, e := stand(2_000_000)
		pass(l, e, 0, sec)
		e.bitrate, e.overusedAt, e.delay.queue = 300_000, sec+500*ms, leastQueue
		assert.Equal(t, 12, pass(l, e, sec, sec+580*ms).ID)
		assert.Equal(t, Choice{ID: 10, Reason: ReasonCongested, Urgent: true}, pass(l, e, sec+600*ms, sec+620*ms))
	})
	t.Run("a little below its need is enough to stay", func(t *testing.T) {
		l, e := stand(2_000_000)
		pass(l, e, 0, sec)
		e.bitrate = 1_700_000
		assert.Equal(t, 12, pass(l, e, sec, 60*sec).ID)
	})
}

func TestGoesUp(t *testing.T) {
	t.Run("after the hold and with headroom", func(t *testing.T) {
		l, e := stand(300_000)
		require.Equal(t, 10, pass(l, e, 0, 5*sec).ID)
		e.bitrate = 600_000 // enough for 540,000, without headroom
		require.Equal(t, 10, pass(l, e, 5*sec, 30*sec).ID)
		e.bitrate = 640_000
		assert.Equal(t, Choice{ID: 10, Reason: ReasonSettling}, pass(l, e, 30*sec, 30*sec+400*ms))
		assert.Equal(t, 11, pass(l, e, 30*sec, 31*sec).ID)
	})
	t.Run("not on an estimate that is stale", func(t *testing.T) {
		l, e := stand(300_000)
		pass(l, e, 0, 5*sec)
		e.bitrate = 5_000_000
		for now := 20 * sec; now < 60*sec; now += 20 * ms {
			require.Equal(t, 10, l.choose(e, false, now).ID)
		}
		assert.InDelta(t, 540_000*upFactor, l.wants(e, 60*sec), 1, "a probe is wanted first")
	})
	t.Run("backs off after a failure, longer each time", func(t *testing.T) {
		l, e := stand(300_000)
		pass(l, e, 0, 5*sec)
		now, pauses := 5*sec, []int64{}
		for range 4 {
			failed := now
			e.bitrate = 640_000
			for l.current == 10 {
				now += 20 * ms
				pass(l, e, now, now)
			}
			pauses = append(pauses, (now-failed)/sec)
			now += 3 * sec
			e.bitrate, e.overusedAt, e.delay.queue = 300_000, now, suddenQueue+1
			require.Equal(t, 10, l.choose(e, false, now).ID)
			assert.Zero(t, l.wants(e, now+sec), "nothing is probed for meanwhile")
		}
		assert.Equal(t, []int64{0, 8, 16, 32}, pauses)
	})
	t.Run("a success is forgiven", func(t *testing.T) {
		l, e := stand(700_000)
		l.backoff = int64(backoffMost)
		pass(l, e, 0, sec)
		l.rose = sec
		pass(l, e, sec, 60*sec)
		assert.Equal(t, int64(backoffFirst), l.backoff)
	})
}

func TestReasonWhileProbing(t *testing.T) {
	l, e := stand(300_000)
	assert.Equal(t, Choice{ID: 10, Reason: ReasonProbing}, l.choose(e, true, sec))
}

// When the rung in use goes away the next choice starts afresh.
func TestRungGoesAway(t *testing.T) {
	l, e := stand(5_000_000)
	require.Equal(t, 12, pass(l, e, 0, sec).ID)
	l.setRungs(threeRungs()[:2])
	assert.Equal(t, Choice{ID: 11, Reason: ReasonBest}, l.choose(e, false, 2*sec))
	l.setRungs(append(threeRungs(), make([]Rung, 2*MaxRungs)...))
	assert.Equal(t, MaxRungs, l.count)
}
