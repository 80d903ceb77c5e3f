package bench

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestReceptionCounts(t *testing.T) {
	tests := []struct {
		name                        string
		seqs                        []uint16
		expected, missing, repeated uint64
	}{
		{"none", nil, 0, 0, 0},
		{"one", []uint16{7}, 1, 0, 0},
		{"in-order-over-the-wrap", []uint16{65534, 65535, 0, 1}, 4, 0, 0},
		{"gap", []uint16{1, 2, 5}, 5, 2, 0},
		{"gap-filled-late", []uint16{1, 2, 5, 4, 3}, 5, 0, 0},
		{"duplicate", []uint16{1, 2, 2, 1}, 2, 0, 2},
		{"older-than-the-first", []uint16{5, 6, 4}, 3, 0, 0},
		{"older-than-the-first-over-the-wrap", []uint16{0, 1, 65535}, 3, 0, 0},
		{"gap-over-the-wrap", []uint16{65535, 2}, 4, 2, 0},
		{"far-too-late", []uint16{1, 2000, 3}, 2000, 1998, 1},
		{"window-is-cleared", []uint16{1, 1025, 2049, 1026}, 2049, 2045, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var r reception
			for _, seq := range test.seqs {
				r.count(seq)
			}
			require.Equal(t, test.expected, r.expected())
			require.Equal(t, test.missing, r.missing())
			require.Equal(t, test.repeated, r.duplicates)
		})
	}
}

// TestReceptionModel compares with a set of all numbers, for arrivals that stay within the window.
func TestReceptionModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := rapid.Uint16().Draw(t, "start")
		var r reception
		have := map[int]bool{}
		at, lowest, highest, repeated := 0, 0, 0, uint64(0)
		for i := range rapid.IntRange(1, 300).Draw(t, "packets") {
			if i > 0 {
				at = max(highest-500, highest+rapid.IntRange(-400, 60).Draw(t, "step"))
			}
			if have[at] {
				repeated++
			}
			have[at] = true
			lowest, highest = min(lowest, at), max(highest, at)
			r.count(start + uint16(at))
		}
		require.Equal(t, uint64(highest-lowest+1), r.expected())
		require.Equal(t, uint64(len(have)), r.unique)
		require.Equal(t, repeated, r.duplicates)
	})
}

func TestReceptionReport(t *testing.T) {
	var r reception
	r.ssrc = 9
	require.Zero(t, r.report().HighestSeq)
	for _, seq := range []uint16{65534, 65535, 1, 2} {
		r.count(seq)
	}
	got := r.report()
	require.Equal(t, uint32(1<<16|2), got.HighestSeq)
	require.Equal(t, int32(1), got.TotalLost)
	require.Equal(t, uint8(256/5), got.FractionLost)
	require.Zero(t, r.report().FractionLost, "a new interval")
}

func TestBottleneck(t *testing.T) {
	b := bottleneck{bytesPerSecond: 1000}
	passed := 0
	for i := range 200 { // 10 kB in one second
		if b.admit(50, 1e9+int64(i)*5e6) {
			passed += 50
		}
	}
	require.InDelta(t, 1000+250, passed, 100, "a tenth, and the bucket")
}

func TestKeyframeFinder(t *testing.T) {
	source := newVideoSource(testStream())
	var frames [][][]byte
	for range source.gop + 1 {
		payloads, _ := source.next()
		var frame [][]byte
		for _, payload := range payloads {
			frame = append(frame, append([]byte(nil), payload...))
		}
		frames = append(frames, frame)
	}
	key, delta := frames[0], frames[1]
	feed := func(f *keyframeFinder, frame [][]byte, seq uint16, timestamp uint32, skip int) (complete bool) {
		for i, payload := range frame {
			if i == skip {
				continue
			}
			h := header{marker: i == len(frame)-1, pt: ptH264, seq: seq + uint16(i), timestamp: timestamp}
			complete = f.add(h, payload) || complete
		}
		return complete
	}
	const none = -1
	t.Run("whole-keyframe-over-the-wrap", func(t *testing.T) {
		var f keyframeFinder
		require.True(t, feed(&f, key, 65530, 1, none))
	})
	t.Run("delta-frame", func(t *testing.T) {
		var f keyframeFinder
		require.False(t, feed(&f, delta, 1, 1, none))
	})
	t.Run("a-packet-is-missing-then-the-next-keyframe", func(t *testing.T) {
		for skip := range key {
			var f keyframeFinder
			require.False(t, feed(&f, key, 1, 1, skip), "without packet %d", skip)
			require.False(t, feed(&f, delta, 100, 2, none))
			require.True(t, feed(&f, key, 200, 3, none))
		}
	})
	t.Run("the-missing-packet-comes-late", func(t *testing.T) {
		var f keyframeFinder
		require.False(t, feed(&f, key, 1, 1, 5))
		require.True(t, f.add(header{pt: ptH264, seq: 6, timestamp: 1}, key[5]))
	})
}
