package seqnum_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"

	"rheomesh/internal/seqnum"
)

func TestNewerAndDiff(t *testing.T) {
	for _, row := range []struct {
		name  string
		a, b  uint16
		diff  int16
		newer bool
	}{
		{"equal", 7, 7, 0, false},
		{"next", 8, 7, 1, true},
		{"previous", 7, 8, -1, false},
		{"next across the wrap", 0, 65535, 1, true},
		{"previous across the wrap", 65535, 0, -1, false},
		{"largest step forward", 32767, 0, 32767, true},
		{"half the circle has no order", 32768, 0, -32768, false},
		{"half the circle has no order, the other way", 0, 32768, -32768, false},
		{"just beyond half is older", 32769, 0, -32767, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			assert.Equal(t, row.diff, seqnum.Diff(row.a, row.b))
			assert.Equal(t, row.newer, seqnum.Newer(row.a, row.b))
		})
	}
}

func TestUnwrapper(t *testing.T) {
	for _, row := range []struct {
		name string
		in   []uint16
		want []uint64
	}{
		{"from zero", []uint16{0, 1, 2}, []uint64{0x10000, 0x10001, 0x10002}},
		{"wrap", []uint16{65534, 65535, 0, 1}, []uint64{0x1fffe, 0x1ffff, 0x20000, 0x20001}},
		{"reorder back across the wrap", []uint16{65535, 0, 65534, 1}, []uint64{0x1ffff, 0x20000, 0x1fffe, 0x20001}},
		{"duplicate", []uint16{65535, 0, 0, 65535}, []uint64{0x1ffff, 0x20000, 0x20000, 0x1ffff}},
		{"before the first", []uint16{0, 65535, 65534}, []uint64{0x10000, 0xffff, 0xfffe}},
		{"gap across the wrap", []uint16{60000, 20000}, []uint64{0x10000 + 60000, 0x20000 + 20000}},
		{"old packets do not drag the window back", []uint16{50000, 20000, 50001}, []uint64{0x10000 + 50000, 0x10000 + 20000, 0x10000 + 50001}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var u seqnum.Unwrapper
			for i, v := range row.in {
				assert.Equal(t, row.want[i], u.Unwrap(v), "number %d", i)
			}
		})
	}
}

func TestTimestampUnwrapper(t *testing.T) {
	const max32 = 1<<32 - 1
	for _, row := range []struct {
		name string
		in   []uint32
		want []uint64
	}{
		{"from zero", []uint32{0, 3000}, []uint64{1 << 32, 1<<32 + 3000}},
		{"wrap", []uint32{max32, 0}, []uint64{1<<33 - 1, 1 << 33}},
		{"reorder back across the wrap", []uint32{max32, 5, max32 - 2}, []uint64{1<<33 - 1, 1<<33 + 5, 1<<33 - 3}},
		{"before the first", []uint32{1, max32}, []uint64{1<<32 + 1, 1<<32 - 1}},
		{"duplicate", []uint32{9, 9}, []uint64{1<<32 + 9, 1<<32 + 9}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var u seqnum.TimestampUnwrapper
			for i, v := range row.in {
				assert.Equal(t, row.want[i], u.Unwrap(v), "timestamp %d", i)
			}
		})
	}
}

// A stream is a walk of 64-bit numbers, each within half a circle of the highest so far; the unwrappers see only the low
// bits and must give the same walk back.
func TestUnwrappersFollowModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var u seqnum.Unwrapper
		model := 1<<16 | uint64(rapid.Uint16().Draw(t, "first"))
		highest := model
		for range rapid.IntRange(1, 200).Draw(t, "packets") {
			assert.Equal(t, model, u.Unwrap(uint16(model)))
			model = highest + uint64(rapid.Int64Range(-32768, 32767).Draw(t, "step"))
			highest = max(highest, model)
			if model > highest-32768 && rapid.Bool().Draw(t, "duplicate") {
				assert.Equal(t, model, u.Unwrap(uint16(model)))
			}
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		var u seqnum.TimestampUnwrapper
		model := 1<<32 | uint64(rapid.Uint32().Draw(t, "first"))
		highest := model
		for range rapid.IntRange(1, 200).Draw(t, "packets") {
			assert.Equal(t, model, u.Unwrap(uint32(model)))
			model = highest + uint64(rapid.Int64Range(-1<<31, 1<<31-1).Draw(t, "step"))
			highest = max(highest, model)
		}
	})
}

// The order is a strict one for any two numbers that are not half a circle apart, and a shift of both does not change it.
func TestNewerIsAntisymmetric(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, shift := rapid.Uint16().Draw(t, "a"), rapid.Uint16().Draw(t, "b"), rapid.Uint16().Draw(t, "shift")
		if a != b && a-b != 1<<15 {
			assert.NotEqual(t, seqnum.Newer(a, b), seqnum.Newer(b, a))
		}
		assert.Equal(t, seqnum.Newer(a, b), seqnum.Newer(a+shift, b+shift))
		assert.Equal(t, a, b+uint16(seqnum.Diff(a, b)))
	})
}

func TestUnwrapDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	var u seqnum.Unwrapper
	var ts seqnum.TimestampUnwrapper
	assert.Zero(t, testing.AllocsPerRun(10, func() {
		for v := range 1000 {
			u.Unwrap(uint16(v * 77))
			ts.Unwrap(uint32(v * 3000))
		}
	}))
}
