package bench

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPercentile(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	tests := []struct {
		name   string
		values []time.Duration
		p      float64
		want   time.Duration
	}{
		{"one", []time.Duration{7}, 99, 7},
		{"two-median-is-the-lower", []time.Duration{1, 2}, 50, 1},
		{"two-p99-is-the-upper", []time.Duration{1, 2}, 99, 2},
		{"hundred-median", hundred, 50, 50},
		{"hundred-p99", hundred, 99, 99},
		{"hundred-p100", hundred, 100, 100},
		{"zero", hundred, 0, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { require.Equal(t, test.want, percentile(test.values, test.p)) })
	}
}

func TestSpread(t *testing.T) {
	require.Zero(t, spread(nil))
	got := spread([]time.Duration{3 * time.Millisecond, time.Millisecond, 2500 * time.Microsecond})
	require.Equal(t, Spread{P50MS: 2.5, P99MS: 3, MaxMS: 3, Samples: 3}, got)
}

func TestPer(t *testing.T) {
	require.Zero(t, per(5, 0))
	require.Equal(t, 2.5, per(5, uint64(2)))
}

func TestWorst(t *testing.T) {
	runs := []Result{
		{ServerMicros: 3, PacketsPerSecond: 100, Lost: 0, Delay: Spread{P50MS: 1, P99MS: 9, Samples: 50}},
		{ServerMicros: 2, PacketsPerSecond: 90, Lost: 4, Delay: Spread{P50MS: 2, P99MS: 8, Samples: 60}, Disturbance: nil},
	}
	got := worst(runs)
	require.Equal(t, 3.0, got.ServerMicros)
	require.Equal(t, 90.0, got.PacketsPerSecond)
	require.Equal(t, uint64(4), got.Lost)
	require.Equal(t, Spread{P50MS: 2, P99MS: 9, Samples: 50}, got.Delay)
	require.Equal(t, runs[0], worst(runs[:1]))
}

func TestReadingSince(t *testing.T) {
	before := reading{server: 5, packets: 10, missing: 3, each: []uint64{4, 6}}
	after := reading{server: 9, packets: 30, missing: 5, each: []uint64{4, 26}}
	got := after.since(before)
	require.Equal(t, reading{server: 4, packets: 20, missing: 2, silent: 1}, got)
	after.missing = 1
	require.Zero(t, after.since(before).missing, "repaired meanwhile")
}
