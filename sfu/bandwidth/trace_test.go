package bandwidth_test

import (
	"bufio"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"rheomesh/sfu/bandwidth"
)

var update = flag.Bool("update", false, "record the traces in testdata anew")

// A trace is a text file of what happened on a link, one event a line, in order of time, which is in microseconds:
//
//	# anything                        a comment
//	S <time> <number> <bytes>         a packet was sent
//	R <time> <hex>                    a transport-wide report came, from the base sequence number on
//	E <time> <bit/s> <rung> <reason>  the estimate, within 15 %, and the choice
//
// A replay ticks each 20 ms with the rungs of the simulated source. Traces of real links can be added in the same form; those here come from the simulation.

func traceFiles() map[string]conditions {
	return map[string]conditions{
		"thin.trace":      {capacity: constant(300_000), seed: 1},
		"step-down.trace": {capacity: steps(0, 2.5e6, 6_000, 500_000), seed: 2},
		"lossy.trace":     {capacity: constant(900_000), loss: 0.02, jitterMicros: 8_000, reorder: 0.01, reportLoss: constant(0.1), seed: 3},
	}
}

const traceMillis = 14_000

func TestRecordTraces(t *testing.T) {
	if !*update {
		t.Skip("only with -update")
	}
	for name, c := range traceFiles() {
		var out strings.Builder
		fmt.Fprintf(&out, "# %s: recorded from the simulated link by -update\n", name)
		w := newWorld(c)
		w.onSent = func(number uint16, bytes int, now int64) {
			fmt.Fprintf(&out, "S %d %d %d\n", (now-epoch)/1000, number, bytes)
		}
		w.onReport = func(fci []byte, now int64) { fmt.Fprintf(&out, "R %d %s\n", (now-epoch)/1000, hex.EncodeToString(fci)) }
		for ms := int64(1000); ms <= traceMillis; ms += 1000 {
			w.run(ms)
			fmt.Fprintf(&out, "E %d %d %d %s\n", ms*1000, w.viewer.Estimate().Bitrate, w.choice.ID, w.choice.Reason)
		}
		require.NoError(t, os.WriteFile(filepath.Join("testdata", name), []byte(out.String()), 0o644))
	}
}

func TestReplayTraces(t *testing.T) {
	files, err := filepath.Glob("testdata/*.trace")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 3)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) { replay(t, file) })
	}
}

func replay(t *testing.T, file string) {
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	viewer := bandwidth.NewViewer(bandwidth.Config{}, 0)
	viewer.SetAudio(40_000)
	viewer.SetRungs([]bandwidth.Rung{{ID: 0, Bitrate: layerRates[0]}, {ID: 1, Bitrate: layerRates[1]}, {ID: 2, Bitrate: layerRates[2]}})
	var choice bandwidth.Choice
	ticked, checked := int64(-1), 0
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || fields[0] == "#" {
			continue
		}
		var micros int64
		_, err := fmt.Sscan(fields[1], &micros)
		require.NoError(t, err)
		for next := (ticked + 1) * 20_000; next < micros; next = (ticked + 1) * 20_000 {
			ticked++
			viewer.Tick(next * 1000)
			choice = viewer.Choose(next * 1000)
		}
		switch fields[0] {
		case "S":
			var number uint16
			var bytes int
			_, err := fmt.Sscan(strings.Join(fields[2:], " "), &number, &bytes)
			require.NoError(t, err)
			viewer.Sent(number, bytes, micros*1000)
		case "R":
			fci, err := hex.DecodeString(fields[2])
			require.NoError(t, err)
			require.NoError(t, viewer.Feedback(fci, micros*1000))
		case "E":
			var bitrate, rung int
			_, err := fmt.Sscan(strings.Join(fields[2:4], " "), &bitrate, &rung)
			require.NoError(t, err)
			assert.InEpsilon(t, bitrate, viewer.Estimate().Bitrate, 0.15, "at %d ms", micros/1000)
			assert.Equal(t, rung, choice.ID, "at %d ms", micros/1000)
			assert.Equal(t, fields[4], string(choice.Reason), "at %d ms", micros/1000)
			checked++
		default:
			t.Fatalf("line %q", lines.Text())
		}
	}
	require.NoError(t, lines.Err())
	require.Positive(t, checked)
}
