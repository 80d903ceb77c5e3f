package depdesc_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"rheomesh/internal/depdesc"
)

func structures() map[string]*structureSpec {
	return map[string]*structureSpec{"L1T1": l1t1(), "L1T3": l1t3(), "L3T3": l3t3(), "L3T3_KEY": l3t3Key()}
}

func near(diffs ...int) (n depdesc.Near) {
	for _, d := range diffs {
		n |= 1 << (min(d, 64) - 1)
	}
	return n
}

func packed(dtis []depdesc.DTI) (p uint64) {
	for i, d := range dtis {
		p |= uint64(d) << (2 * i)
	}
	return p
}

// read reads a keyframe's descriptor, so that the structure is known.
func read(t testing.TB, s *structureSpec) *depdesc.Reader {
	t.Helper()
	r := new(depdesc.Reader)
	var d depdesc.Descriptor
	require.NoError(t, r.Read(spec{first: true, template: s.offset, structure: s}.bytes(), &d))
	return r
}

func TestReadFillsInTheTemplate(t *testing.T) {
	for name, s := range structures() {
		t.Run(name, func(t *testing.T) {
			r := read(t, s)
			for i, want := range s.templates {
				var d depdesc.Descriptor
				require.NoError(t, r.Read(spec{last: true, template: (s.offset + uint8(i)) & 63, number: 65535}.bytes(), &d))
				assert.False(t, d.First)
				assert.True(t, d.Last)
				assert.False(t, d.Attached)
				assert.False(t, d.Custom)
				assert.Equal(t, uint8(i), d.Template)
				assert.Equal(t, uint16(65535), d.Number)
				assert.Equal(t, [2]uint8{want.spatial, want.temporal}, [2]uint8{d.Spatial, d.Temporal})
				assert.Equal(t, packed(letters(want.dtis)), d.DTIs)
				for target, dti := range letters(want.dtis) {
					assert.Equal(t, dti, d.Target(uint8(target)))
				}
				assert.Equal(t, near(want.diffs...), d.Diffs)
				assert.Equal(t, want.chains, d.ChainDiffs[:d.Chains])
				assert.Equal(t, uint32(1)<<s.targets-1, d.Active)
			}
		})
	}
}

func TestReadStructure(t *testing.T) {
	s := read(t, l3t3()).Structure()
	assert.Equal(t, []int{3, 3, 9}, []int{s.SpatialLayers(), s.TemporalLayers(), s.Targets()})
	for i := range uint8(9) {
		assert.Equal(t, depdesc.Layer{Spatial: i / 3, Temporal: i % 3}, s.Layer(i))
		chain, ok := s.Chain(i)
		assert.True(t, ok)
		assert.Equal(t, i/3, chain)
	}
	size, ok := s.Resolution(1)
	assert.True(t, ok)
	assert.Equal(t, depdesc.Resolution{Width: 640, Height: 360}, size)
	_, ok = s.Resolution(3)
	assert.False(t, ok)
	_, ok = read(t, l3t3Key()).Structure().Resolution(0)
	assert.False(t, ok, "no sizes")

	for _, row := range []struct {
		name              string
		spatial, temporal uint8
		active            uint32
		want              uint8
		ok                bool
	}{
		{"everything", 7, 7, 1<<9 - 1, 8, true},
		{"exact", 1, 2, 1<<9 - 1, 5, true},
		{"lowest", 0, 0, 1<<9 - 1, 0, true},
		{"the sender stopped the highest layer", 2, 1, 1<<6 - 1, 4, true},
		{"the sender has only higher ones", 0, 0, 1 << 8, 0, false},
		{"none", 2, 2, 0, 0, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, ok := s.Best(row.spatial, row.temporal, row.active)
			assert.Equal(t, row.ok, ok)
			assert.Equal(t, row.want, got)
		})
	}
}

func TestReadCustomFields(t *testing.T) {
	s := l3t3()
	r := read(t, s)
	active := uint32(0x0f5)
	want := spec{
		first: true, last: true, template: s.offset + 5, number: 7, active: &active, known: s,
		dtis: letters("RD-SRD-SR"), diffs: []int{1, 16, 17, 63, 64, 4096}, chains: []uint8{255, 0, 17},
	}
	var d depdesc.Descriptor
	require.NoError(t, r.Read(want.bytes(), &d))
	assert.True(t, d.Custom)
	assert.True(t, d.ActiveTold)
	assert.Equal(t, active, d.Active)
	assert.Equal(t, packed(want.dtis), d.DTIs)
	assert.Equal(t, near(1, 16, 17, 63, 64), d.Diffs)
	assert.Equal(t, want.chains, d.ChainDiffs[:3])

	require.NoError(t, r.Read(spec{template: s.offset}.bytes(), &d))
	assert.Equal(t, active, d.Active, "it holds for what follows")
	assert.False(t, d.ActiveTold)
	require.NoError(t, r.Read(spec{template: s.offset, structure: s}.bytes(), &d))
	assert.Equal(t, uint32(1<<9-1), d.Active, "a structure makes all active")

	require.NoError(t, r.Read(spec{template: s.offset + 1, diffs: []int{}, known: s}.bytes(), &d))
	assert.Zero(t, d.Diffs, "a frame without references of its own")
}

func TestReadManyTargets(t *testing.T) {
	s := &structureSpec{targets: 32, templates: []templateSpec{{dtis: "SSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSR", chains: make([]uint8, 32)}}}
	for i := range uint8(32) {
		s.protectedBy = append(s.protectedBy, i)
		s.templates[0].chains[i] = i % 16
	}
	active := uint32(0x80000001)
	var d depdesc.Descriptor
	require.NoError(t, new(depdesc.Reader).Read(spec{structure: s, active: &active}.bytes(), &d))
	assert.Equal(t, active, d.Active)
	assert.Equal(t, depdesc.Required, d.Target(31))
	assert.Equal(t, s.templates[0].chains, d.ChainDiffs[:])
	chain, _ := d.Structure.Chain(31)
	assert.Equal(t, uint8(31), chain)
}

func TestReadRefuses(t *testing.T) {
	valid := l1t3()
	wide := &structureSpec{targets: 1}
	for i := range uint8(5) {
		wide.templates = append(wide.templates, templateSpec{spatial: i, dtis: "S"})
	}
	many := &structureSpec{targets: 1}
	for range 65 {
		many.templates = append(many.templates, templateSpec{dtis: "S"})
	}
	for _, row := range []struct {
		name  string
		value []byte
		want  error
	}{
		{"empty", nil, depdesc.ErrShort},
		{"two bytes", []byte{0xc0, 0}, depdesc.ErrShort},
		{"no structure yet", spec{}.bytes(), depdesc.ErrNoStructure},
		{"template below the structure's", spec{template: 61, structure: valid}.bytes(), depdesc.ErrTemplate},
		{"template above the structure's", spec{template: 3, structure: valid}.bytes(), depdesc.ErrTemplate},
		{"five spatial layers", spec{structure: wide}.bytes(), depdesc.ErrLayers},
		{"65 templates", spec{structure: many}.bytes(), depdesc.ErrLayers},
	} {
		t.Run(row.name, func(t *testing.T) {
			var r depdesc.Reader
			var d depdesc.Descriptor
			assert.ErrorIs(t, r.Read(row.value, &d), row.want)
			assert.Nil(t, r.Structure())
		})
	}
}

func TestReadEveryPrefix(t *testing.T) {
	for name, s := range structures() {
		t.Run(name, func(t *testing.T) {
			active := uint32(1)
			whole := spec{first: true, template: s.offset, structure: s, active: &active, dtis: letters(s.templates[0].dtis), diffs: []int{300}}.bytes()
			for cut := range whole {
				var r depdesc.Reader
				var d depdesc.Descriptor
				require.Error(t, r.Read(whole[:cut:cut], &d), "%d bytes", cut)
				require.Nil(t, r.Structure())
			}
		})
	}
}

// A broken descriptor leaves the structure that was there, and the same structure again is no new one.
func TestReaderKeepsItsStructure(t *testing.T) {
	r := read(t, l3t3())
	s := r.Structure()
	var d depdesc.Descriptor
	broken := spec{template: 3, structure: l1t3()}.bytes()
	require.Error(t, r.Read(broken, &d))
	assert.Same(t, s, r.Structure())
	require.NoError(t, r.Read(spec{template: 10, structure: l3t3()}.bytes(), &d))
	assert.Same(t, s, r.Structure())
	assert.Same(t, s, d.Structure)
	require.NoError(t, r.Read(spec{template: 62, structure: l1t3()}.bytes(), &d))
	assert.NotSame(t, s, r.Structure())
	assert.Equal(t, 9, s.Targets(), "the old one does not change")
}

func TestShiftNumber(t *testing.T) {
	value := spec{first: true, template: 5, number: 65530}.bytes()
	require.True(t, depdesc.ShiftNumber(value, 10))
	assert.Equal(t, spec{first: true, template: 5, number: 4}.bytes(), value)
	assert.False(t, depdesc.ShiftNumber(value[:2], 1))
}

func TestReadDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	s := l3t3()
	r := read(t, s)
	key, delta := spec{template: s.offset, structure: s}.bytes(), spec{template: s.offset + 1, dtis: letters(s.templates[1].dtis)}.bytes()
	var d depdesc.Descriptor
	require.NoError(t, r.Read(key, &d))
	assert.Zero(t, testing.AllocsPerRun(10, func() {
		for range 100 {
			_ = r.Read(key, &d)
			_ = r.Read(delta, &d)
		}
	}))
}

func BenchmarkRead(b *testing.B) {
	s := l3t3()
	r := read(b, s)
	for _, row := range []struct {
		name  string
		value []byte
	}{
		{"template only", spec{template: s.offset + 5, number: 3}.bytes()},
		{"with own fields", spec{template: s.offset + 5, dtis: letters(s.templates[5].dtis), diffs: []int{1, 12}, chains: []uint8{1, 2, 3}}.bytes()},
		{"with structure", spec{template: s.offset, structure: s}.bytes()},
	} {
		b.Run(row.name, func(b *testing.B) {
			var d depdesc.Descriptor
			for b.Loop() {
				if err := r.Read(row.value, &d); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	active := uint32(5)
	for _, s := range structures() {
		f.Add(spec{first: true, template: s.offset, structure: s}.bytes(), spec{last: true, template: s.offset + 1, number: 1}.bytes())
		f.Add(spec{template: s.offset, structure: s, active: &active}.bytes(), spec{template: s.offset, dtis: letters(s.templates[0].dtis), diffs: []int{300}, known: s}.bytes())
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		var r depdesc.Reader
		for _, value := range [][]byte{first, second, first} {
			before := bytes.Clone(value)
			var d depdesc.Descriptor
			if r.Read(value, &d) != nil {
				continue
			}
			require.Equal(t, before, value)
			require.Same(t, r.Structure(), d.Structure)
			require.Less(t, d.Spatial, uint8(depdesc.MaxSpatial))
			require.Less(t, d.Temporal, uint8(depdesc.MaxTemporal))
			require.Less(t, int(d.Template), depdesc.MaxTemplates)
			require.Zero(t, d.DTIs>>(2*min(d.Targets, 31))>>(2*(d.Targets-min(d.Targets, 31))))
			again, fresh := d, r
			require.True(t, depdesc.ShiftNumber(before, 1000))
			require.NoError(t, fresh.Read(before, &again))
			require.Equal(t, d.Number+1000, again.Number)
			require.Equal(t, [2]uint64{d.DTIs, uint64(d.Diffs)}, [2]uint64{again.DTIs, uint64(again.Diffs)})
			require.Equal(t, d.Active, again.Active)
			d.Structure.Best(7, 7, d.Active)
		}
	})
}
