package bench

import (
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParseStat(t *testing.T) {
	const tail = " S 1 4711 4711 0 -1 4194304 100 0 3 0 250 75 0 0 20 0 9 0 12345 1000000 500 18446744073709551615"
	tests := []struct {
		name, stat string
		want       time.Duration
		ok         bool
	}{
		{"plain", "4711 (rheomesh)" + tail, 3250 * time.Millisecond, true},
		{"name-with-spaces-and-parentheses", "4711 (a) b (c))" + tail, 3250 * time.Millisecond, true},
		{"no-name", "4711 rheomesh" + tail, 0, false},
		{"cut", "4711 (rheomesh) S 1 4711 4711 0 -1 4194304 100 0 3 0 250", 0, false},
		{"no-number", "4711 (rheomesh) S 1 4711 4711 0 -1 4194304 100 0 3 0 x 75 0", 0, false},
		{"empty", "", 0, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := parseStat([]byte(test.stat))
			require.Equal(t, test.ok, err == nil)
			require.Equal(t, test.want, got)
		})
	}
}

func TestParseStatus(t *testing.T) {
	tests := []struct {
		name, status string
		rss          int64
		threads      int
		ok           bool
	}{
		{"plain", "Name:\tx\nVmPeak:\t 99 kB\nVmRSS:\t   1536 kB\nThreads:\t7\n", 1536 << 10, 7, true},
		{"zombie-without-memory", "Name:\tx\nThreads:\t1\n", 0, 0, false},
		{"no-threads", "VmRSS:\t1 kB\n", 0, 0, false},
		{"bad-threads", "VmRSS:\t1 kB\nThreads:\tmany\n", 0, 0, false},
		{"empty", "", 0, 0, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			rss, threads, err := parseStatus([]byte(test.status))
			require.Equal(t, test.ok, err == nil)
			require.Equal(t, test.rss, rss)
			require.Equal(t, test.threads, threads)
		})
	}
}

func FuzzParseProc(f *testing.F) {
	f.Add([]byte("4711 (x) S 1 4711 4711 0 -1 4194304 100 0 3 0 250 75 0 0"))
	f.Add([]byte("VmRSS:\t1 kB\nThreads:\t2\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if cpu, err := parseStat(b); err != nil && cpu != 0 {
			t.Fatal("a time with an error")
		}
		if rss, threads, err := parseStatus(b); err != nil && (rss != 0 || threads != 0) {
			t.Fatal("figures with an error")
		}
	})
}

func TestUsageOfThisProcess(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	p := process{os.Getpid()}
	before, err := p.usage()
	require.NoError(t, err)
	require.Positive(t, before.RSSBytes)
	require.Positive(t, before.Threads)
	require.Positive(t, before.Descriptors)
	fine, ok := cpuClock(p.pid)
	require.True(t, ok)
	stat, err := os.ReadFile(p.path("stat"))
	require.NoError(t, err)
	coarse, err := parseStat(stat)
	require.NoError(t, err)
	require.InDelta(t, coarse.Seconds(), fine.Seconds(), 0.5, "both clocks tell the same time")

	for used := before.CPU; used < before.CPU+20*time.Millisecond; {
		used, err = p.cpu() // which is work, too
		require.NoError(t, err)
	}
	_, err = process{1 << 29}.usage()
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestParseMachineStat(t *testing.T) {
	tests := []struct {
		name, stat string
		want       time.Duration
	}{
		{"plain", "cpu  100 10 50 9999 777 5 15 20 3 4\ncpu0 1 2 3\n", 2 * time.Second},
		{"without-guests", "cpu 1 1 1 9 9 1 1 1", 60 * time.Millisecond},
		{"old-kernel", "cpu 1 1 1 9\n", 0},
		{"no-number", "cpu 1 x 1 9 9 1 1 1\n", 0},
		{"another-line", "intr 1 1 1 9 9 1 1 1\n", 0},
		{"empty", "", 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { require.Equal(t, test.want, parseMachineStat([]byte(test.stat))) })
	}
}
