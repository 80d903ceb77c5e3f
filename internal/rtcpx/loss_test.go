package rtcpx_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"rheomesh/internal/rtcpx"
)

// at returns a moment of the test's time.
func at(milli int) time.Time {
	return time.Unix(1700000000, 0).Add(time.Duration(milli) * time.Millisecond)
}

func feed(t *rtcpx.LossTracker, milli int, seqs ...uint16) (last rtcpx.Arrival) {
	for _, seq := range seqs {
		last = t.OnPacket(seq, at(milli))
	}
	return last
}

func TestLossTrackerAsks(t *testing.T) {
	for _, row := range []struct {
		name string
		seqs []uint16
		want []uint16
	}{
		{"nothing", nil, nil},
		{"in order", []uint16{1, 2, 3}, nil},
		{"a gap", []uint16{1, 4}, []uint16{2, 3}},
		{"a gap across the wrap", []uint16{65534, 1}, []uint16{65535, 0}},
		{"two gaps", []uint16{1, 3, 5}, []uint16{2, 4}},
		{"reorder", []uint16{1, 3, 2}, nil},
		{"duplicate", []uint16{1, 2, 2, 3}, nil},
		{"before the first", []uint16{10, 8, 11}, nil},
		{"repeated lap of the ring", []uint16{500, 510, 514}, []uint16{501, 502, 503, 504, 505, 506, 507, 508, 509, 511, 512, 513}},
		{"jump larger than the window", []uint16{1, 514}, nil},
		{"jump, then a gap", []uint16{1, 20000, 20002}, []uint16{20001}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var tracker rtcpx.LossTracker
			feed(&tracker, 0, row.seqs...)
			assert.Equal(t, row.want, tracker.Due(at(0), nil))
			assert.Equal(t, len(row.want), tracker.Pending())
		})
	}
	t.Run("largest gap", func(t *testing.T) {
		var tracker rtcpx.LossTracker
		feed(&tracker, 0, 65300, 276)
		got := tracker.Due(at(0), nil)
		require.Len(t, got, 511)
		assert.Equal(t, uint16(65301), got[0])
		assert.True(t, slices.IsSortedFunc(got, func(a, b uint16) int { return int(int16(a - b)) }))
	})
}

func TestLossTrackerArrivals(t *testing.T) {
	var tracker rtcpx.LossTracker
	assert.Equal(t, rtcpx.Next, feed(&tracker, 0, 100))
	assert.Equal(t, rtcpx.Duplicate, feed(&tracker, 0, 100))
	assert.Equal(t, rtcpx.Next, feed(&tracker, 0, 103))
	assert.Equal(t, rtcpx.Recovered, feed(&tracker, 0, 101))
	assert.Equal(t, rtcpx.Duplicate, feed(&tracker, 0, 101))
	assert.Equal(t, rtcpx.Late, feed(&tracker, 0, 99), "before the first")
	assert.Equal(t, rtcpx.Duplicate, feed(&tracker, 0, 99))
	tracker.Due(at(1000), nil)
	assert.Equal(t, rtcpx.Late, feed(&tracker, 1000, 102), "given up")
	assert.Equal(t, rtcpx.Restarted, feed(&tracker, 1000, 2000))
	assert.Equal(t, rtcpx.Late, feed(&tracker, 1000, 2000-512), "out of the window")
	assert.Equal(t, rtcpx.Late, feed(&tracker, 1000, 40000))
	assert.Equal(t, rtcpx.Restarted, feed(&tracker, 1000, 40001), "two in a row from far behind")
	assert.Equal(t, rtcpx.Next, feed(&tracker, 1000, 40002))
	assert.Equal(t, uint64(1), tracker.Lost())
	assert.Equal(t, uint64(1), tracker.Recovered())
}

func TestLossTrackerRetries(t *testing.T) {
	for _, row := range []struct {
		name string
		rtt  time.Duration // 0: never told
		want []int         // milliseconds at which the packet is asked for
	}{
		{"round trip unknown", 0, []int{0, 125, 250, 375, 500, 625, 750, 875}},
		{"shortest interval, ten tries", time.Millisecond, []int{0, 20, 40, 60, 80, 100, 120, 140, 160, 180}},
		{"a quarter above the round trip", 200 * time.Millisecond, []int{0, 250, 500, 750}},
		{"longer than the window", 5 * time.Second, []int{0}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var tracker rtcpx.LossTracker
			if row.rtt != 0 {
				tracker.SetRoundTrip(row.rtt)
			}
			feed(&tracker, 0, 1, 3)
			var asked []int
			for milli := range 1100 {
				if got := tracker.Due(at(milli), nil); len(got) > 0 {
					assert.Equal(t, []uint16{2}, got)
					asked = append(asked, milli)
				}
			}
			assert.Equal(t, row.want, asked)
			assert.Zero(t, tracker.Pending())
			assert.Equal(t, uint64(1), tracker.Lost())
			assert.Zero(t, tracker.Recovered())
		})
	}
}

func TestLossTrackerWindow(t *testing.T) {
	var tracker rtcpx.LossTracker
	feed(&tracker, 0, 0, 2)
	for seq := range uint16(510) {
		feed(&tracker, 0, seq+3) // up to 512: number 1 is the oldest of the window
	}
	assert.Equal(t, []uint16{1}, tracker.Due(at(0), nil))
	feed(&tracker, 0, 513)
	assert.Zero(t, tracker.Pending())
	assert.Equal(t, uint64(1), tracker.Lost())
	assert.Empty(t, tracker.Due(at(500), nil))
	assert.Equal(t, rtcpx.Late, feed(&tracker, 500, 1))
}

func TestLossTrackerKeepsWhatIsInDst(t *testing.T) {
	var tracker rtcpx.LossTracker
	feed(&tracker, 0, 1, 3)
	assert.Equal(t, []uint16{9, 2}, tracker.Due(at(0), []uint16{9}))
}

// A time slightly before that of the packets must neither give up nor repeat.
func TestLossTrackerToleratesEarlierTime(t *testing.T) {
	var tracker rtcpx.LossTracker
	feed(&tracker, 50, 1, 3)
	assert.Equal(t, []uint16{2}, tracker.Due(at(49), nil))
	assert.Empty(t, tracker.Due(at(48), nil))
	assert.Equal(t, 1, tracker.Pending())
}

// model is LossTracker in the plainest form: maps over numbers that never wrap.
type model struct {
	highest         int64
	received        map[int64]bool
	missing         map[int64]*entry
	lost, recovered uint64
}

type entry struct{ since, asked, tries int }

func (m *model) forget() {
	for seq := range m.missing {
		if seq <= m.highest-512 {
			delete(m.missing, seq)
			m.lost++
		}
	}
	for seq := range m.received {
		if seq <= m.highest-512 {
			delete(m.received, seq)
		}
	}
}

func (m *model) onPacket(seq int64, milli int) rtcpx.Arrival {
	switch {
	case seq > m.highest+512:
		m.lost += uint64(len(m.missing))
		clear(m.missing)
		clear(m.received)
		m.highest, m.received[seq] = seq, true
		return rtcpx.Restarted
	case seq > m.highest:
		for m.highest++; m.highest < seq; m.highest++ {
			m.missing[m.highest] = &entry{since: milli}
		}
		m.received[seq] = true
		m.forget()
		return rtcpx.Next
	case seq <= m.highest-512:
		return rtcpx.Late
	case m.received[seq]:
		return rtcpx.Duplicate
	}
	m.received[seq] = true
	if m.missing[seq] != nil {
		delete(m.missing, seq)
		m.recovered++
		return rtcpx.Recovered
	}
	return rtcpx.Late
}

func (m *model) due(milli, retry int) (out []uint16) {
	for seq := m.highest - 511; seq < m.highest; seq++ {
		e := m.missing[seq]
		switch {
		case e == nil:
		case milli-e.since >= 1000:
			delete(m.missing, seq)
			m.lost++
		case e.tries == 0 || e.tries < 10 && milli-e.asked >= retry:
			e.tries++
			e.asked = milli
			out = append(out, uint16(seq))
		}
	}
	return out
}

func TestLossTrackerFollowsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tracker rtcpx.LossTracker
		first := int64(rapid.Uint16().Draw(t, "first")) + 1<<16
		m := model{highest: first, received: map[int64]bool{first: true}, missing: map[int64]*entry{}}
		require.Equal(t, rtcpx.Next, tracker.OnPacket(uint16(first), at(0)))
		milli, retry := 0, 125
		for range rapid.IntRange(0, 400).Draw(t, "steps") {
			seq := m.highest + 1
			switch rapid.SampledFrom([]string{"next", "next", "next", "gap", "burst", "jump", "old", "older", "wait", "due", "rtt"}).Draw(t, "step") {
			case "next":
			case "gap":
				seq += rapid.Int64Range(1, 4).Draw(t, "gap")
			case "burst":
				seq += rapid.Int64Range(5, 600).Draw(t, "burst")
			case "jump":
				seq += rapid.Int64Range(600, 32000).Draw(t, "jump")
			case "old":
				seq -= rapid.Int64Range(1, 20).Draw(t, "age")
			case "older":
				seq -= rapid.Int64Range(1, 2999).Draw(t, "age")
			case "wait":
				milli += rapid.IntRange(1, 400).Draw(t, "wait")
				continue
			case "rtt":
				rtt := rapid.IntRange(0, 1200).Draw(t, "rtt")
				tracker.SetRoundTrip(time.Duration(rtt) * time.Millisecond)
				retry = min(max(rtt+rtt/4, 20), 1000)
				continue
			case "due":
				require.Equal(t, m.due(milli, retry), tracker.Due(at(milli), nil))
				continue
			}
			require.Equal(t, m.onPacket(seq, milli), tracker.OnPacket(uint16(seq), at(milli)), "packet %d", seq)
			require.Equal(t, len(m.missing), tracker.Pending())
			require.Equal(t, m.lost, tracker.Lost())
			require.Equal(t, m.recovered, tracker.Recovered())
		}
	})
}

// With any loss, each missing packet is answered for once: recovered, lost or still pending.
func TestLossTrackerAccountsForEveryPacket(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tracker rtcpx.LossTracker
		percent := rapid.IntRange(0, 60).Draw(t, "loss in percent")
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)) // a draw per packet would take seconds
		dropped, due := uint64(0), []uint16(nil)
		feed(&tracker, 0, 65000)
		for i := range 1500 {
			seq := uint16(65001 + i)
			if i != 1499 && random.IntN(100) < percent {
				dropped++
				continue
			}
			feed(&tracker, i, seq)
			due = tracker.Due(at(i), due[:0])
			for _, asked := range due {
				if random.IntN(2) == 0 {
					feed(&tracker, i, asked)
				}
			}
		}
		require.Equal(t, dropped, tracker.Lost()+tracker.Recovered()+uint64(tracker.Pending()))
		tracker.Due(at(10000), nil)
		require.Zero(t, tracker.Pending())
	})
}

func TestLossTrackerDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	var tracker rtcpx.LossTracker
	dst, seq := make([]uint16, 0, 512), uint16(0)
	assert.Zero(t, testing.AllocsPerRun(10, func() {
		for i := range 1000 {
			seq += 1 + uint16(i%7/6)
			tracker.OnPacket(seq, at(i))
			dst = tracker.Due(at(i), dst[:0])
		}
	}))
}

func BenchmarkLossTracker(b *testing.B) {
	for _, row := range []struct {
		name string
		step int // every step-th packet is lost
	}{{"no loss", 0}, {"1 % loss", 100}} {
		b.Run(row.name, func(b *testing.B) {
			var tracker rtcpx.LossTracker
			var dst []uint16
			now, seq := at(0), uint16(0)
			for i := 1; b.Loop(); i++ {
				seq++
				if row.step > 0 && i%row.step == 0 {
					seq++
				}
				now = now.Add(time.Millisecond)
				tracker.OnPacket(seq, now)
				dst = tracker.Due(now, dst[:0])
			}
		})
	}
}
