package sfu

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rheomesh/internal/rtcpx"
	"rheomesh/internal/rtpx"
)

// A thousand switches, each of which is placed wrongly by up to a fifth of a second: the viewer's time stays with the publisher's clock.
func TestTimelineKeepsToThePublishersClock(t *testing.T) {
	const hour = 90000 * 3600
	source, begin := rand.New(rand.NewPCG(1, 2)), time.Now()
	track := &Track{}
	f := &forwarder{clockRate: 90000}
	var layers []*Layer
	for i := range 2 {
		l := newLayer(track, "", nobody{})
		l.report.Store(&senderReport{ntp: rtcpx.NTP(begin), rtpTime: uint32(i) * hour, arrival: begin.UnixNano()})
		layers = append(layers, l)
	}
	place := func(second int, wrong time.Duration) uint32 {
		i := second % 2
		f.layer = layers[i]
		p := &Packet{Header: rtpx.Header{Timestamp: uint32(i)*hour + uint32(second)*90000}}
		next := segment{tsOffset: 7 + uint32(second)*90000 + f.ticks(int64(wrong)) - p.Header.Timestamp}
		f.timeline.steady(f, &next, p)
		return next.timestamp(p.Header.Timestamp)
	}
	require.EqualValues(t, 7, place(0, 0))
	for second := 1; second <= 1000; second++ {
		wrong := time.Duration(source.Int64N(int64(400*time.Millisecond))) - 200*time.Millisecond
		require.InDelta(t, 7+second*90000, place(second, wrong), 2, "second %d", second)
	}
	far := place(1001, 2*plausibleSkew)
	require.InDelta(t, 7+1001*90000+int(f.ticks(int64(2*plausibleSkew))), far, 2, "reports that are so far off are not believed")

	// Two days fit, which in nanoseconds times the clock's rate is more than 63 bits.
	require.EqualValues(t, uint32(2*24*hour%(1<<32)), f.ticks(int64(48*time.Hour)))
	require.EqualValues(t, -90, int32(f.ticks(-int64(time.Millisecond))))
}
