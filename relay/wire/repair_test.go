package wire

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// A set is what the window should be, but for what is too old.
func TestWindowAgainstSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w Window
		seen, highest := map[uint64]bool{}, uint64(0)
		steps := rapid.SliceOfN(rapid.Int64Range(-40000, 40000), 1, 200).Draw(t, "steps")
		at := rapid.Uint64Range(0, 1<<43).Draw(t, "start")
		for _, step := range steps {
			seq := at
			if step < 0 {
				seq -= min(seq, uint64(-step))
			} else {
				seq += uint64(step) % 5
				if step > 39000 {
					seq += uint64(step)
				}
			}
			tooOld := len(seen) > 0 && highest+1-seq > windowPackets && seq <= highest
			if got := w.Seen(seq); got != (tooOld || seen[seq]) {
				t.Fatalf("number %d with highest %d: seen %v", seq, highest, got)
			}
			if !tooOld {
				w.Mark(seq)
				seen[seq] = true
				highest = max(highest, seq)
			}
			at = max(at, seq)
		}
	})
}

func FuzzWindow(f *testing.F) {
	f.Add([]byte{1, 2, 3, 200, 3})
	f.Fuzz(func(t *testing.T, steps []byte) {
		var w Window
		seen, at, highest := map[uint64]bool{}, uint64(1<<40), uint64(0)
		for _, step := range steps {
			at += (uint64(step) - 100) * uint64(step)
			if tooOld := len(seen) > 0 && highest >= at && highest-at >= windowPackets; tooOld {
				require.True(t, w.Seen(at))
				continue
			}
			require.Equal(t, seen[at], w.Seen(at))
			w.Mark(at)
			seen[at] = true
			highest = max(highest, at)
			require.True(t, w.Seen(at))
		}
	})
}

func TestWindowBounds(t *testing.T) {
	var w Window
	w.Mark(windowPackets + 10)
	require.False(t, w.Seen(11))
	require.True(t, w.Seen(10), "too old")
	w.Mark(11)
	require.True(t, w.Seen(11))
	require.GreaterOrEqual(t, windowPackets, 8192)
}

// The oldest numbers of the window and the newest never share a word of the ring: neither is taken for the other.
func TestWindowEnds(t *testing.T) {
	for offset := range uint64(64) {
		var w Window
		newest := uint64(10*windowWords*64) + offset
		w.Mark(newest - windowPackets + 1)
		w.Mark(newest)
		require.True(t, w.Seen(newest-windowPackets+1), "offset %d", offset)
		require.True(t, w.Seen(newest-windowPackets), "too old")
		for ahead := uint64(1); ahead < 128; ahead++ {
			require.False(t, w.Seen(newest+ahead), "offset %d", offset)
			w.Mark(newest + ahead)
			require.False(t, w.Seen(newest+ahead-windowPackets+1), "offset %d, %d ahead", offset, ahead)
		}
	}
}

// A link that loses, swaps and repeats: whatever is asked for and sent again closes its gap, and nothing is asked for that has come.
func TestGapsAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var g Gaps
		var w Window
		now, next := int64(0), uint64(0)
		missing := map[uint64]bool{}
		arrive := func(seq uint64) {
			if w.Seen(seq) {
				return
			}
			w.Mark(seq)
			if g.On(seq, now) != missing[seq] {
				t.Fatalf("number %d was missing: %v", seq, missing[seq])
			}
			delete(missing, seq)
		}
		arrive(next)
		for range rapid.IntRange(1, 100).Draw(t, "rounds") {
			now += int64(time.Millisecond)
			for range rapid.IntRange(1, 5).Draw(t, "sent") {
				next++
				if rapid.IntRange(0, 3).Draw(t, "lost") == 0 {
					continue
				}
				for seq := next - 1; seq > 0 && !w.Seen(seq) && !missing[seq]; seq-- {
					missing[seq] = true
				}
				arrive(next)
			}
			for _, seq := range g.Due(now, make([]uint64, 0, 16)) {
				if !missing[seq] {
					t.Fatalf("number %d is asked for and not missing", seq)
				}
				if rapid.Bool().Draw(t, "repaired") {
					arrive(seq)
				}
			}
			if g.Pending() != len(missing) {
				t.Fatalf("%d pending, %d missing", g.Pending(), len(missing))
			}
		}
	})
}

func TestGapsAskInTime(t *testing.T) {
	var g Gaps
	g.SetRoundTrip(40 * time.Millisecond)
	at := func(d time.Duration) []uint64 { return g.Due(int64(d), make([]uint64, 0, 8)) }
	g.On(1, 0)
	g.On(4, 0)
	require.Empty(t, at(time.Millisecond), "the path may have swapped them")
	require.Equal(t, []uint64{2, 3}, at(2*time.Millisecond))
	require.Empty(t, at(40*time.Millisecond), "the answer is on its way")
	require.True(t, g.On(2, 0))
	require.False(t, g.On(2, 0), "it is not missing any more")
	require.Equal(t, []uint64{3}, at(52*time.Millisecond))
	require.Empty(t, at(repairLife+time.Millisecond))
	require.Equal(t, uint64(1), g.Lost)
	require.Equal(t, uint64(1), g.Recovered)
	require.Zero(t, g.Pending())
}

func TestGapsExpect(t *testing.T) {
	var g Gaps
	g.Expect(10, 0)
	require.Zero(t, g.Pending(), "before the first number nothing is missing")
	g.On(5, 0)
	g.Expect(8, 0)
	require.Equal(t, []uint64{6, 7}, g.Due(int64(time.Second/10), make([]uint64, 0, 8)), "the end of a burst")
}

func TestGapsBeyondRepair(t *testing.T) {
	var g Gaps
	g.On(1, 0)
	g.On(maxGaps+10, 0)
	require.Zero(t, g.Pending())
	require.Equal(t, uint64(maxGaps+8), g.Lost)
	g.On(maxGaps+12, 0)
	require.Equal(t, 1, g.Pending(), "what follows is repaired again")
}

func TestHistory(t *testing.T) {
	k, err := NewKey(secret)
	require.NoError(t, err)
	var h History
	require.Nil(t, h.Find(0, 0, 0))
	for seq := range uint64(historyPackets + 10) {
		h.Add(Header{Seq: seq}, []byte{byte(seq)}, k)
	}
	require.Nil(t, h.Find(9, 0, 0), "forgotten")
	sent := h.Find(10, 1, 0)
	require.Equal(t, []byte{10}, sent.Payload)
	require.Same(t, sent, h.Find(10, 1, 0), "it was not sent yet")
	require.True(t, sent.Resent(1))
	require.Nil(t, h.Find(10, 2, 0), "sent just now")
	require.Nil(t, h.Find(10, int64(30*time.Millisecond), 100*time.Millisecond), "the round trip is longer")
	sent = h.Find(10, int64(80*time.Millisecond), 100*time.Millisecond)
	require.NotNil(t, sent)
	require.False(t, sent.Resent(int64(80*time.Millisecond)))
	for at := int64(time.Second); h.Find(10, at, 0) != nil; at += int64(time.Second) {
		sent.Resent(at)
		require.Less(t, at, int64(20*time.Second), "it is sent again for ever")
	}
	h.Clear()
	require.Nil(t, h.Find(11, 0, 0))
}

func TestNACK(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set := rapid.SliceOfNDistinct(rapid.Uint64Range(0, 5000), 1, 300, rapid.ID[uint64]).Draw(t, "numbers")
		slices.Sort(set)
		base := rapid.Uint64Range(0, MaxSeq-5000).Draw(t, "base")
		for i := range set {
			set[i] += base
		}
		var got []uint64
		for rest := set; len(rest) > 0; {
			message, taken := AppendNACK(nil, rest)
			if taken == 0 || len(message) > MaxPayload {
				t.Fatalf("%d numbers in %d bytes", taken, len(message))
			}
			var err error
			if got, err = ParseNACK(got, message); err != nil {
				t.Fatal(err)
			}
			rest = rest[taken:]
		}
		if !slices.Equal(set, got) {
			t.Fatalf("%v became %v", set, got)
		}
	})
}
