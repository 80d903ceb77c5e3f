package sfu

import (
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/stretchr/testify/require"

	"rheomesh/internal/codec"
	"rheomesh/sfu/bandwidth"
	"rheomesh/sfu/sublayer"
)

// A viewer that waits for another layer, of which it is to get less, still gets all of the one that it has, also when it has to skip.
func TestSwitchWaitsWithItsAim(t *testing.T) {
	shape := layeredShape{codec: codec.VP8, rids: []string{"q", "h", "f"}, spatial: 1, temporal: 3}
	s := newLayersStage(t, shape, 1, shape.section(false))
	f := s.forwarders()[0]
	low, now := s.layer.track.layers[0], time.Now().UnixNano()
	f.stopEstimating() // nothing is paced
	f.aim(&decision{rung: rung{layer: low}, reason: reasonSelected})
	f.target, f.targetFrom = low, now
	f.worker.attach(f, low.log)
	f.skip(skipLate, now)
	f.advance(s.layer.log, now)
	require.True(t, s.layer == f.segments.newest().layer)
	require.False(t, f.segments.newest().thinned)
	s.layer.heard.Store(0) // so that the other layer's keyframe is taken although it is old
	f.advance(low.log, now)
	f.advance(low.log, now)
	require.True(t, low == f.segments.newest().layer)
	require.True(t, f.segments.newest().thinned)
	require.Equal(t, sublayer.Target{Decode: -1}, f.aimed)
	f.worker.flush()
}

// A report that the link is overfull is heard without waiting for a tick, and once for many.
func TestReportsAreHeardAtOnce(t *testing.T) {
	shape := layeredShape{codec: codec.VP8, rids: []string{"q", "h", "f"}, spatial: 1, temporal: 1}
	s := newLayersStage(t, shape, 1, shape.section(false))
	f := s.forwarders()[0]
	now := time.Now()
	if f.bandwidth == nil {
		f.bandwidth = bandwidth.NewViewer(bandwidth.Config{StartBitrate: 6_000_000}, now.UnixNano())
		f.subscriber.steered.Store(true)
	}
	s.tasks()
	before := f.bandwidth.Estimate().Bitrate
	remb, err := (&rtcp.ReceiverEstimatedMaximumBitrate{SenderSSRC: 1, Bitrate: 20_000, SSRCs: []uint32{f.ssrc}}).Marshal()
	require.NoError(t, err)
	for range 3 {
		f.subscriber.handleRTCP(remb, now)
	}
	require.Len(t, f.worker.tasks, 1)
	s.tasks()
	require.Less(t, f.bandwidth.Estimate().Bitrate, before)
	require.False(t, f.subscriber.congestion.queued)
}
