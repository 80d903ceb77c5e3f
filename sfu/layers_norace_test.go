//go:build linux && !race

package sfu

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rheomesh/internal/codec"
	"rheomesh/sfu/bandwidth"
	"rheomesh/sfu/sublayer"
)

// Steering a viewer and thinning its stream allocate nothing per packet either. The count is of the whole process, so it is held against many packets.
func TestSteeringDoesNotAllocate(t *testing.T) {
	simulcast := layeredShape{codec: codec.VP8, rids: []string{"q", "h", "f"}, spatial: 1, temporal: 3}
	for _, row := range []struct {
		name string
		aim  sublayer.Target
	}{{"steered", sublayer.All}, {"thinned", sublayer.Target{Spatial: 7, Temporal: 1, Decode: -1}}} {
		t.Run(row.name, func(t *testing.T) {
			const viewers, runs = 8, 60
			s := newLayersStage(t, simulcast, viewers, simulcast.section(false))
			now := time.Now()
			for _, f := range s.forwarders() {
				f.bandwidth = bandwidth.NewViewer(bandwidth.Config{StartBitrate: 6_000_000}, now.UnixNano())
				f.aimed = row.aim
				f.aimSelector()
			}
			pattern := [...]uint8{0, 2, 1, 2}
			for n := range 2 * (runs + 20) { // what the log allocates is not the forwarders'
				s.put(now.UnixNano(), pattern[n%len(pattern)])
			}
			var sent uint64
			step := func() {
				now = now.Add(stageFrame)
				for _, w := range s.node.workers {
					for _, f := range w.forwardersOf(s.layer.log) {
						for range framePackets {
							if p := s.layer.log.At(f.cursor); p != nil {
								f.path = f.subscriber.transport.Path()
								f.cursor++
								f.forward(p, now.UnixNano())
								sent++
							}
						}
						f.steer(now.UnixNano())
					}
					w.flush()
				}
			}
			for range 20 { // warms up
				step()
			}
			sent = 0
			allocs := testing.AllocsPerRun(runs, step)
			require.GreaterOrEqual(t, sent, uint64(runs*viewers*framePackets))
			require.Less(t, allocs/(viewers*framePackets), 0.02, "allocations per packet")
			for _, f := range s.forwarders() {
				require.Equal(t, row.aim != sublayer.All, f.segments.newest().thinned)
			}
		})
	}
}
