//go:build !race

package sfu

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rheomesh/internal/codec"
)

// churnSessions is how many sessions come and go in TestChurn.
const churnSessions = 1000

// Forwarding allocates nothing: no packet, header, map entry or closure. The count is of the whole process, so it is held against many packets.
func TestForwardingDoesNotAllocate(t *testing.T) {
	s := newStage(t)
	s.v.mute = true
	const runs, packets = 30, burstPackets
	var allocs float64
	var forwarded uint64
	s.script(codec.Video, func(f *forwarder, put func(time.Duration, bool, []byte), advance func()) {
		for range (runs + 3) * packets {
			put(0, false, make([]byte, 1100))
		}
		advance() // warms up
		before := f.sent.packets
		allocs = testing.AllocsPerRun(runs, advance)
		forwarded = f.sent.packets - before
	})
	require.GreaterOrEqual(t, forwarded, uint64(runs*packets))
	require.Less(t, allocs/packets, 0.02, "allocations per forwarded packet")
}
