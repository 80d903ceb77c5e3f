package sfu

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rheomesh/internal/codec"
)

// layered makes a layer that sends; rates are by spatial, then by temporal sub-layer, each by itself, in kbit/s.
func layered(t *Track, rid string, width, height uint32, kbps int64, rates ...[]float64) *Layer {
	l := newLayer(t, rid, nobody{})
	l.width.Store(width)
	l.height.Store(height)
	l.bitrate.Store(kbps * 1000)
	l.heard.Store(int64(time.Hour))
	var measured subRates
	for s := range rates {
		for i, rate := range rates[s] {
			measured[s][i] = rate * 1000
		}
	}
	l.rates.Store(&measured)
	t.layers = append(t.layers, l)
	return l
}

// show writes rungs as "rid S0T1 320x180 100", from the cheapest to the best.
func show(rungs []rung) string {
	var parts []string
	for _, r := range rungs {
		part := fmt.Sprintf("%s S%dT%d %dx%d %.0f", r.layer.rid, r.spatial, r.temporal, r.width, r.height, r.bitrate/1000)
		if r.whole {
			part += " whole"
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}

func TestRungs(t *testing.T) {
	simulcast, svc := &Track{Kind: codec.Video}, &Track{Kind: codec.Video}
	layered(simulcast, "f", 1280, 720, 1700)
	layered(simulcast, "q", 320, 180, 150, []float64{80, 30, 40})
	layered(simulcast, "h", 640, 360, 500, []float64{300, 100, 100})
	layered(svc, "", 1280, 720, 1000, []float64{100, 50}, []float64{200, 100}, []float64{300, 250})
	alike := &Track{Kind: codec.Video}
	layered(alike, "b", 640, 360, 510)
	layered(alike, "a", 640, 360, 500)
	dead := &Track{Kind: codec.Video}
	layered(dead, "f", 1280, 720, 1700).heard.Store(0)
	layered(dead, "q", 320, 180, 150)
	for _, row := range []struct {
		name  string
		track *Track
		all   bool
		want  string
	}{
		{
			"ordered by size, fewer frames at the bottom only", simulcast, false,
			"q S0T0 320x180 80, q S0T1 320x180 110, q S0T2 320x180 150 whole, h S0T2 640x360 500 whole, f S0T0 1280x720 1700 whole",
		},
		{
			"all frame rates", simulcast, true,
			"q S0T0 320x180 80, q S0T1 320x180 110, q S0T2 320x180 150 whole, h S0T0 640x360 300, h S0T1 640x360 400, h S0T2 640x360 500 whole, f S0T0 1280x720 1700 whole",
		},
		{"spatial sub-layers", svc, false, " S0T0 320x180 100,  S0T1 320x180 150,  S1T1 640x360 450,  S2T1 1280x720 1000 whole"},
		{"like layers stay in order", alike, false, "b S0T0 640x360 510 whole, a S0T0 640x360 500 whole"},
		{"what has stopped is left out", dead, false, "q S0T0 320x180 150 whole"},
	} {
		t.Run(row.name, func(t *testing.T) {
			rungs := row.track.rungs(nil, row.all, int64(time.Hour))
			require.Equal(t, row.want, show(rungs))
			seen := map[int]bool{}
			for i := range rungs {
				require.False(t, seen[rungs[i].id(row.track)], "two rungs have one id")
				seen[rungs[i].id(row.track)] = true
			}
		})
	}
}

func TestNarrow(t *testing.T) {
	track := &Track{Kind: codec.Video}
	layered(track, "q", 320, 180, 150)
	layered(track, "f", 1280, 720, 1700, []float64{400, 200}, []float64{700, 400})
	for _, row := range []struct {
		name      string
		selection LayerSelection
		want      string
	}{
		{"automatic", LayerSelection{}, "q S0T0 320x180 150 whole, f S0T1 640x360 600, f S1T1 1280x720 1700 whole"},
		{"an encoding", LayerSelection{RID: "f"}, "f S0T1 640x360 600, f S1T1 1280x720 1700 whole"},
		{"an encoding that is not sent", LayerSelection{RID: "h"}, "q S0T0 320x180 150 whole, f S0T1 640x360 600, f S1T1 1280x720 1700 whole"},
		{"an encoding's part", LayerSelection{RID: "f", Spatial: new(0), Temporal: new(0)}, "f S0T0 640x360 400"},
		{"more than there is", LayerSelection{RID: "f", Spatial: new(7), Temporal: new(7)}, "f S1T1 1280x720 1700 whole"},
		{"no wider than", LayerSelection{MaxWidth: new(640)}, "q S0T0 320x180 150 whole, f S0T1 640x360 600"},
		{"no higher than anything", LayerSelection{MaxHeight: new(90)}, "q S0T0 320x180 150 whole"},
		{"no more frames than", LayerSelection{RID: "f", MaxTemporal: new(0)}, "f S0T0 640x360 400, f S1T0 1280x720 1100"},
		{"no higher sub-layer than", LayerSelection{RID: "f", MaxSpatial: new(0)}, "f S0T1 640x360 600"},
	} {
		t.Run(row.name, func(t *testing.T) {
			rungs := track.rungs(nil, row.selection.fewerFrames(), int64(time.Hour))
			require.Equal(t, row.want, show(row.selection.narrow(rungs)))
		})
	}
	require.Empty(t, (&LayerSelection{RID: "q"}).narrow(nil))
}

// A second with a keyframe in it does not look like a stream that has doubled, and what has stopped is gone at once.
func TestRates(t *testing.T) {
	var none, first, second, third subBytes
	first[0][0], first[1][2] = 1000, 2000
	second[0][0], second[1][2] = 4000, 4000
	third = second
	third[0][0] = 5000
	rates := subRates{}.measured(&none, &first, time.Second)
	require.InDelta(t, 8000, rates[0][0], 0)
	require.InDelta(t, 24000, rates.upTo(1, 2), 0)
	rates = rates.measured(&first, &second, time.Second)
	require.InDelta(t, 16000, rates[0][0], 0, "half of 24,000 and half of 8,000")
	rates = rates.measured(&second, &third, time.Second)
	require.Zero(t, rates[1][2])
	spatial, temporal := rates.extent()
	require.Equal(t, [2]int{0, 0}, [2]int{spatial, temporal})
}

// Over a link that carries a tenth of it, a layer that was asked for goes out at its rate; what is chosen by itself is spread out.
func TestSelectedLayerIsNotStarved(t *testing.T) {
	track := &Track{Kind: codec.Video}
	layered(track, "q", 320, 180, 150)
	layered(track, "f", 1280, 720, 1700)
	for _, row := range []struct {
		rid     string
		starved bool
	}{{"f", false}, {"", true}} {
		f := &forwarder{subscriber: &Subscriber{}, kind: codec.Video, track: track, selection: LayerSelection{RID: row.rid}}
		now := int64(time.Hour)
		f.decide(now)
		allowed, number := 0, uint16(0)
		const packets = 1700
		for i := range packets { // of 1,250 bytes in 6 ms each: 1.67 Mbit/s
			now += int64(6 * time.Millisecond)
			for _, l := range track.layers {
				l.heard.Store(now)
			}
			if i%10 == 0 {
				f.bandwidth.REMB(150_000, now)
				f.bandwidth.Tick(now)
				f.decide(now)
			}
			if f.bandwidth.Allow(now) {
				allowed++
				number++
				f.bandwidth.Sent(number, 1250, now)
			}
		}
		if row.starved {
			require.Less(t, allowed, packets/2)
		} else {
			require.Greater(t, allowed, packets*9/10)
			require.Equal(t, "f", f.decide(now).layer.rid)
			require.Equal(t, reasonSelected, f.decide(now).reason)
		}
	}
}
