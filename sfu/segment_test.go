package sfu

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func drawSegment(t *rapid.T) segment {
	return segment{
		inSeq: rapid.Uint64Range(1<<16, 1<<40).Draw(t, "in"), outSeq: rapid.Uint64Range(1, 1<<40).Draw(t, "out"),
		tsOffset: rapid.Uint32().Draw(t, "offset"), liveTS: rapid.Uint32().Draw(t, "live"), catchUp: rapid.Bool().Draw(t, "catch-up"),
	}
}

// Timestamps that increase, wrap included, never come out decreasing, and the mapping has no memory: a packet that is sent again is the same.
func TestSegmentIsMonotoneAndPure(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSegment(t)
		in := s.liveTS - rapid.Uint32Range(0, 10*90000).Draw(t, "behind")
		first, start := s.timestamp(in), in
		previous := first
		var ins, outs []uint32
		for _, step := range rapid.SliceOfN(rapid.Uint32Range(0, 90000), 1, 100).Draw(t, "steps") {
			in += step
			out := s.timestamp(in)
			require.GreaterOrEqual(t, int32(out-previous), int32(0), "timestamp goes backwards")
			require.LessOrEqual(t, out-previous, in-start, "timestamp runs ahead")
			previous = out
			ins, outs = append(ins, in), append(outs, out)
		}
		for i, in := range slices.Backward(ins) {
			require.Equal(t, outs[i], s.timestamp(in))
		}
	})
}

func TestSegmentCatchUpCompressesWhatIsBeforeLive(t *testing.T) {
	const live = 50_000 // the cached part lies across the wrap
	s := segment{liveTS: live, catchUp: true, tsOffset: 7}
	require.Equal(t, uint32(live+7), s.timestamp(live))
	require.Equal(t, uint32(live+3000+7), s.timestamp(live+3000), "live frames keep their distance")
	second := uint32(90000)
	require.Equal(t, second*2/catchUpDivisor, s.timestamp(live)-s.timestamp(live-2*second))
	plain := segment{tsOffset: 7}
	require.Equal(t, 2*second, plain.timestamp(live)-plain.timestamp(live-2*second))
}

func TestSegmentNumbers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSegment(t)
		a, b := rapid.Uint64Range(0, 1<<20).Draw(t, "a"), rapid.Uint64Range(0, 1<<20).Draw(t, "b")
		require.Equal(t, s.outSeq, s.seq(s.inSeq))
		require.Equal(t, a-b, s.seq(s.inSeq+a)-s.seq(s.inSeq+b))
	})
}

func TestSegmentsFindTheOneThatHoldsANumber(t *testing.T) {
	var list segments
	require.Nil(t, list.newest())
	require.Nil(t, list.holding(5))
	for i := range uint64(segmentsKept + 2) {
		list.add(segment{inSeq: 1000 * i, outSeq: 10 * (i + 1)})
	}
	require.Len(t, list.list, segmentsKept)
	require.Equal(t, uint64(60), list.newest().outSeq)
	for _, row := range []struct {
		name string
		out  uint64
		want uint64 // outSeq of the segment; 0 for none
	}{
		{"first number of the newest", 60, 60},
		{"far ahead", 1 << 40, 60},
		{"last number of the one before", 59, 50},
		{"oldest kept", 30, 30},
		{"forgotten", 29, 0},
		{"zero", 0, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			found := list.holding(row.out)
			if row.want == 0 {
				require.Nil(t, found)
				return
			}
			require.Equal(t, row.want, found.outSeq)
		})
	}
}

func TestResendGate(t *testing.T) {
	ms := int64(time.Millisecond)
	const now = int64(1e18)
	full := func() *resendGate { return &resendGate{credit: resendBurstBytes} }

	t.Run("a packet goes out three times", func(t *testing.T) {
		g := full()
		for i := range int64(5) {
			require.Equal(t, i < resendTries, g.allow(7, 100, now+i*1000*ms, 0), "try %d", i)
		}
		require.True(t, g.allow(8, 100, now, 0), "its neighbour is not held back")
	})
	t.Run("not sooner than 20 ms", func(t *testing.T) {
		g := full()
		require.True(t, g.allow(7, 100, now, 0))
		require.False(t, g.allow(7, 100, now+int64(resendMinGap)-1, 0))
		require.True(t, g.allow(7, 100, now+int64(resendMinGap), 0))
	})
	t.Run("not sooner than a round trip", func(t *testing.T) {
		g := full()
		require.True(t, g.allow(7, 100, now, 300*time.Millisecond))
		require.False(t, g.allow(7, 100, now+299*ms, 300*time.Millisecond))
		require.True(t, g.allow(7, 100, now+300*ms, 300*time.Millisecond))
	})
	t.Run("a refused try does not count", func(t *testing.T) {
		g := full()
		require.True(t, g.allow(7, 100, now, 0))
		for i := range int64(10) {
			require.False(t, g.allow(7, 100, now+i, 0))
		}
		require.True(t, g.allow(7, 100, now+20*ms, 0))
		require.True(t, g.allow(7, 100, now+40*ms, 0))
	})
	t.Run("burst, then a quarter of what is sent", func(t *testing.T) {
		g := full()
		sent := 0
		for seq := uint64(1); g.allow(seq, 1000, now, 0); seq++ {
			sent += 1000
		}
		require.Equal(t, resendBurstBytes/1000*1000, sent)
		g.earn(4 * 1000)
		require.True(t, g.allow(1<<20, 1000, now, 0))
		require.False(t, g.allow(1<<21, 1000, now, 0))
		g.earn(1 << 40)
		require.Equal(t, resendBurstBytes, g.credit, "credit does not pile up")
	})
	t.Run("numbers that share a slot", func(t *testing.T) {
		g := full()
		require.True(t, g.allow(1, 100, now, 0))
		require.True(t, g.allow(1+resendSlots, 100, now, 0))
		require.True(t, g.allow(1, 100, now, 0), "forgotten meanwhile")
	})
	t.Run("makes nothing before the first request", func(t *testing.T) { require.Nil(t, full().slots) })
}

// A viewer that asks for everything all the time gets at most a quarter more (RFC 4585 is silent about it; 25 % is the budget).
func TestNACKFloodStaysWithinTheBudget(t *testing.T) {
	g := resendGate{}
	const size, packets = 1000, 1000
	again := 0
	for tick := range int64(packets) {
		g.earn(size)
		for seq := range uint64(tick) {
			if g.allow(seq+1, size, 1e18+tick*int64(10*time.Millisecond), 0) {
				again += size
			}
		}
	}
	require.LessOrEqual(t, again, packets*size/resendShare)
	require.Positive(t, again)
}
