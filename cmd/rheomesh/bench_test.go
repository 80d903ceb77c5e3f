package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"rheomesh/bench"
)

func TestParseBitrate(t *testing.T) {
	tests := []struct {
		text string
		want int
		ok   bool
	}{
		{"2500000", 2_500_000, true},
		{"800k", 800_000, true},
		{"2.5M", 2_500_000, true},
		{"", 0, false},
		{"M", 0, false},
		{"-1M", 0, false},
		{"NaN", 0, false},
		{"1e20", 0, false},
		{"2 M", 0, false},
	}
	for _, test := range tests {
		t.Run(test.text, func(t *testing.T) {
			got, err := parseBitrate(test.text)
			require.Equal(t, test.ok, err == nil)
			require.Equal(t, test.want, got)
		})
	}
}

// execBench runs "bench" with arguments and returns what it printed.
func execBench(t *testing.T, args ...string) (stdout string, err error) {
	t.Helper()
	cmd := newBench()
	var out, progress bytes.Buffer
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&progress)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err = cmd.ExecuteContext(context.Background())
	return out.String(), err
}

func TestBenchRefuses(t *testing.T) {
	for name, args := range map[string][]string{
		"one-url":                  {"--whip", "http://127.0.0.1:1/"},
		"bitrate":                  {"--bitrate", "fast"},
		"profile":                  {"--profile", "des"},
		"table":                    {"--table=rows"},
		"publishers-without-names": {"--whip", "http://h/a", "--whep", "http://h/b", "--publishers", "2"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := execBench(t, args...)
			require.ErrorIs(t, err, errUsage)
		})
	}
}

func TestBenchMeasuresANode(t *testing.T) {
	n, err := startNode(demoConfig(), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer func() { require.NoError(t, n.stop()) }()
	base := n.baseURLs()[0]
	out, err := execBench(t, "--whip", base+"/whip/live/b{n}", "--whep", base+"/whep/live/b{n}", "--pid", strconv.Itoa(os.Getpid()),
		"--viewers", "3", "--window", "500ms", "--gop", "200ms", "--json")
	require.NoError(t, err)
	var report bench.Report
	require.NoError(t, json.Unmarshal([]byte(out), &report))
	got := report.Rows[0].Worst
	require.Zero(t, got.Lost)
	require.Zero(t, got.WithoutMedia)
	require.Positive(t, got.ServerMicros)
	require.Zero(t, n.sessions(), "every session was deleted")
}
