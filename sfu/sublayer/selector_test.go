package sublayer_test

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"

	"rheomesh/internal/codec"
	"rheomesh/internal/depdesc"
	"rheomesh/sfu/sublayer"
)

func TestSelectorIsSmall(t *testing.T) {
	assert.LessOrEqual(t, unsafe.Sizeof(sublayer.Selector{}), uintptr(2<<10))
	assert.LessOrEqual(t, unsafe.Sizeof(sublayer.Layers{}), uintptr(24))
}

func TestFromInfo(t *testing.T) {
	var info codec.Info
	codec.Inspect(codec.VP9, []byte{0xed, 0x05, 0x33, 0x07, 0x86}, &info) // I P L, B E, Z; TID 1, U, SID 1, D
	l := sublayer.FromInfo(codec.VP9, &info)
	const all = sublayer.FrameStart | sublayer.FrameEnd | sublayer.SwitchPoint | sublayer.Predicted | sublayer.InterLayer | sublayer.NotInterLayer | sublayer.Layered
	assert.Equal(t, sublayer.Layers{Spatial: 1, Temporal: 1, Flags: all}, l)
	codec.Inspect(codec.VP8, []byte{0x90, 0xe0, 0x05, 0x07, 0x60, 0x01}, &info)
	l = sublayer.FromInfo(codec.VP8, &info)
	assert.Equal(t, sublayer.Layers{Temporal: 1, Flags: sublayer.FrameStart | sublayer.SwitchPoint | sublayer.Predicted | sublayer.Layered | sublayer.Numbered}, l)
	l.Describe(&depdesc.Descriptor{Last: true, Attached: true, Temporal: 2, DTIs: 9, Diffs: 3, Number: 4})
	assert.Equal(t, sublayer.Layers{Temporal: 2, DTIs: 9, Diffs: 3, Frame: 4, Flags: l.Flags}, l)
	assert.NotZero(t, l.Flags&sublayer.FrameEnd)
	assert.Zero(t, l.Flags&sublayer.FrameStart)
}

// A late packet of a dropped frame leaves a hole, which is filled once, and told on request.
func TestSelectorFillsHoles(t *testing.T) {
	var s sublayer.Selector
	s.Start(100, 1, sublayer.Target{Decode: -1})
	low, high := sublayer.Layers{Flags: sublayer.Layered | sublayer.Predicted}, sublayer.Layers{Temporal: 1, Flags: sublayer.Layered | sublayer.Predicted}
	assert.Equal(t, sublayer.Decision{Out: 1, Verdict: sublayer.Keep, Marker: true}, s.Take(100, 0, true, &low))
	assert.Equal(t, sublayer.Decision{Out: 3, Verdict: sublayer.Keep, Marker: true}, s.Take(102, 6000, true, &low), "101 may come yet")
	assert.Equal(t, sublayer.Decision{Out: 2, Verdict: sublayer.Fill}, s.Take(101, 3000, true, &high))
	origin, ok := s.Find(2)
	assert.True(t, ok)
	assert.True(t, origin.Filled)
	assert.Equal(t, uint64(101), origin.In)
	assert.Equal(t, sublayer.Decision{}, s.Take(101, 3000, true, &high), "not twice")
	_, ok = s.Find(4)
	assert.False(t, ok, "not in use yet")
	assert.Equal(t, sublayer.Decision{}, s.Take(99, 0, true, &low), "from before the start")
}

// The numbers of an earlier input can be found, and mean nothing to the packets of the next.
func TestSelectorStartsAgain(t *testing.T) {
	var s sublayer.Selector
	l := sublayer.Layers{Flags: sublayer.Layered}
	s.Start(100, 1, sublayer.All)
	s.Take(100, 0, true, &l)
	s.Start(500, 2, sublayer.All)
	s.Take(500, 9000, true, &l)
	for out, in := range map[uint64]uint64{1: 100, 2: 500} {
		origin, ok := s.Find(out)
		assert.True(t, ok)
		assert.Equal(t, in, origin.In)
	}
	assert.Equal(t, sublayer.Decision{}, s.Take(101, 0, true, &l), "a number of the earlier input")
	s.Start(900, 77, sublayer.All) // numbers in between were given without the selector
	_, ok := s.Find(2)
	assert.False(t, ok)
}

func TestSelectorAsksForKeyframe(t *testing.T) {
	var s sublayer.Selector
	low := sublayer.Layers{Flags: sublayer.Layered | sublayer.Predicted | sublayer.FrameStart | sublayer.FrameEnd}
	high := low
	high.Spatial, high.Flags = 1, high.Flags|sublayer.InterLayer
	s.Start(1, 1, sublayer.Target{Decode: -1})
	s.Take(1, 0, false, &low)
	assert.False(t, s.WantsKeyframe())
	assert.Equal(t, sublayer.Drop, s.Take(2, 0, true, &high).Verdict)
	assert.False(t, s.WantsKeyframe())
	s.Aim(sublayer.Target{Spatial: 1, Decode: -1})
	s.Take(3, 3000, false, &low)
	assert.Equal(t, sublayer.Drop, s.Take(4, 3000, true, &high).Verdict)
	assert.True(t, s.WantsKeyframe())
	key := low
	key.Flags = key.Flags&^sublayer.Predicted | sublayer.Keyframe
	s.Take(5, 6000, false, &key)
	assert.False(t, s.WantsKeyframe())
	assert.Equal(t, sublayer.Keep, s.Take(6, 6000, true, &high).Verdict)
}

func benchmarkPackets() []packet {
	var out []packet
	for n := range 64 {
		for sid := range uint8(3) {
			f := &frame{key: n == 0, spatial: sid, temporal: []uint8{0, 2, 1, 2}[n%4], sync: true}
			sh := shape{spatial: 3, temporal: 3}
			for i := range 4 {
				out = append(out, packet{timestamp: uint32(n) * 3000, marker: sid == 2 && i == 3, layers: layersOf(sh, f, true, i == 0, i == 3)})
			}
		}
	}
	return out
}

func TestTakeDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	packets := benchmarkPackets()
	var s sublayer.Selector
	assert.Zero(t, testing.AllocsPerRun(10, func() {
		s.Start(1, 1, sublayer.Target{Spatial: 1, Temporal: 1, Decode: -1})
		for i, p := range packets {
			s.Take(uint64(1+i), p.timestamp, p.marker, &p.layers)
			s.Find(uint64(i))
		}
	}))
}

func BenchmarkTake(b *testing.B) {
	packets := benchmarkPackets()
	for _, row := range []struct {
		name   string
		target sublayer.Target
	}{{"all", sublayer.All}, {"S1T1", sublayer.Target{Spatial: 1, Temporal: 1, Decode: -1}}} {
		b.Run(row.name, func(b *testing.B) {
			var s sublayer.Selector
			s.Start(1, 1, row.target)
			i := 0
			for b.Loop() {
				p := &packets[i%len(packets)]
				s.Take(uint64(1+i), p.timestamp+uint32(i/len(packets))*200000, p.marker, &p.layers)
				i++
			}
		})
	}
}
