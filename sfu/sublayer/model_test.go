package sublayer_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"rheomesh/internal/depdesc"
	"rheomesh/sfu/sublayer"
)

// shape is a stream's pattern of layers.
type shape struct {
	name              string
	spatial, temporal uint8
	keyOnly           bool // layers depend on those below in keyframes only (K-SVC)
	described         bool // with dependency descriptors
	numbered          bool // with VP8's PictureID
	steady            bool // every frame of a higher temporal layer is a switch point
}

func shapes() []shape {
	return []shape{
		{name: "L1T1", spatial: 1, temporal: 1},
		{name: "L1T2", spatial: 1, temporal: 2},
		{name: "L1T3", spatial: 1, temporal: 3},
		{name: "L2T1", spatial: 2, temporal: 1},
		{name: "L3T3", spatial: 3, temporal: 3},
		{name: "L3T3_KEY", spatial: 3, temporal: 3, keyOnly: true},
		{name: "VP8 T3", spatial: 1, temporal: 3, numbered: true},
		{name: "described VP8 T3", spatial: 1, temporal: 3, numbered: true, described: true, steady: true},
		{name: "described L1T1", spatial: 1, temporal: 1, described: true, steady: true},
		{name: "described L1T3", spatial: 1, temporal: 3, described: true, steady: true},
		{name: "described L3T3", spatial: 3, temporal: 3, described: true, steady: true},
		{name: "described L3T3_KEY", spatial: 3, temporal: 3, keyOnly: true, described: true, steady: true},
	}
}

// frame is one layer's frame, with what its decoding depends on.
type frame struct {
	id, picture       int
	spatial, temporal uint8
	key               bool // in a keyframe
	opening           bool // depends on no earlier picture though it is in none
	sync              bool
	refs              []*frame
}

type packet struct {
	seq       uint64
	timestamp uint32
	marker    bool
	layers    sublayer.Layers
	frame     *frame
}

// generate draws a stream. Keyframes come at random.
func generate(t *rapid.T, sh shape, pictures int) []packet {
	var out []packet
	var all []*frame
	last := map[[2]uint8]*frame{} // by layers
	lastAny := map[uint8]*frame{} // lowest temporal layers, by spatial
	seq := uint64(70000)          // extended numbers start beyond zero
	sinceKey := 0
	for n := range pictures {
		if n == 0 || rapid.IntRange(0, 24).Draw(t, "key") == 0 {
			sinceKey = 0
			clear(last)
			clear(lastAny)
		}
		temporal := [][]uint8{{0}, {0, 1}, {0, 2, 1, 2}}[sh.temporal-1]
		tid := temporal[sinceKey%len(temporal)]
		sync := sh.steady || rapid.Bool().Draw(t, "sync")
		opening := !sh.described && !sh.keyOnly && sh.spatial > 1 && tid == 0 && sinceKey > 0 && rapid.IntRange(0, 9).Draw(t, "opening") == 0
		var below *frame
		for sid := range sh.spatial {
			f := &frame{id: len(all), picture: n, spatial: sid, temporal: tid, key: sinceKey == 0, sync: sync, opening: opening && sid > 0}
			all = append(all, f)
			if !f.key && !f.opening {
				for lower := int(tid); lower >= 0; lower-- { // the newest frame of a lower layer, or of the lowest
					if lower == int(tid) && tid > 0 {
						continue
					}
					if r := last[[2]uint8{sid, uint8(lower)}]; r != nil && (len(f.refs) == 0 || r.id > f.refs[0].id) {
						f.refs = []*frame{r}
					}
				}
				if own := last[[2]uint8{sid, tid}]; tid > 0 && !sync && own != nil {
					f.refs = append(f.refs, own)
				}
			}
			if f.opening { // what follows starts afresh
				for k := range sh.temporal {
					delete(last, [2]uint8{sid, k})
				}
			}
			inter := below != nil && (f.key || !sh.keyOnly)
			if inter {
				f.refs = append(f.refs, below)
			}
			last[[2]uint8{sid, tid}] = f
			below = f
			count := rapid.IntRange(1, 3).Draw(t, "packets")
			for i := range count {
				p := packet{seq: seq, timestamp: uint32(n) * 3000, frame: f, marker: sid == sh.spatial-1 && i == count-1}
				p.layers = layersOf(sh, f, inter, i == 0, i == count-1)
				out = append(out, p)
				seq++
			}
		}
		sinceKey++
	}
	return out
}

// layersOf is what a packet tells: Chromium's descriptors, or the fields of VP9 and VP8.
func layersOf(sh shape, f *frame, inter, first, last bool) sublayer.Layers {
	l := sublayer.Layers{Spatial: f.spatial, Temporal: f.temporal, Flags: sublayer.Layered}
	set := func(flag sublayer.Flags, on bool) {
		if on {
			l.Flags |= flag
		}
	}
	set(sublayer.FrameStart, first)
	set(sublayer.FrameEnd, last && !sh.numbered || last && sh.described)
	set(sublayer.Keyframe, f.key && f.spatial == 0 && first)
	set(sublayer.SwitchPoint, f.sync && f.temporal > 0)
	set(sublayer.Predicted, !f.key && !f.opening)
	set(sublayer.InterLayer, inter)
	set(sublayer.NotInterLayer, f.spatial == sh.spatial-1 || sh.keyOnly && !f.key)
	set(sublayer.Numbered, sh.numbered)
	if !sh.described {
		return l
	}
	l.Flags |= sublayer.Described
	set(sublayer.Attached, f.key && f.spatial == 0)
	l.Frame = uint16(f.id + 65500) // wraps
	for _, r := range f.refs {
		l.Diffs |= 1 << (f.id - r.id - 1)
	}
	for i := range sh.spatial * sh.temporal {
		l.DTIs |= uint64(indication(sh, f, i/sh.temporal, i%sh.temporal)) << (2 * i)
	}
	return l
}

// indication is what Chromium's scalability structures say of a frame for the decode target of these layers.
func indication(sh shape, f *frame, spatial, temporal uint8) depdesc.DTI {
	switch {
	case spatial < f.spatial || temporal < f.temporal:
		return depdesc.NotPresent
	case f.key:
		return depdesc.Switch
	case sh.keyOnly && spatial != f.spatial:
		return depdesc.NotPresent
	case spatial != f.spatial:
		return depdesc.Required
	case f.temporal > 0 && temporal == f.temporal:
		return depdesc.Discardable
	default:
		return depdesc.Switch
	}
}

func (sh shape) target(spatial, temporal uint8) sublayer.Target {
	if sh.described {
		return sublayer.Target{Spatial: spatial, Temporal: temporal, Decode: int8(spatial*sh.temporal + temporal)}
	}
	return sublayer.Target{Spatial: spatial, Temporal: temporal, Decode: -1}
}

func (sh shape) drawTarget(t *rapid.T) sublayer.Target {
	if rapid.IntRange(0, 5).Draw(t, "all") == 0 {
		return sublayer.All
	}
	return sh.target(uint8(rapid.IntRange(0, int(sh.spatial)-1).Draw(t, "spatial")), uint8(rapid.IntRange(0, int(sh.temporal)-1).Draw(t, "temporal")))
}

// sentPacket is what the model of a viewer remembers.
type sentPacket struct {
	seq    uint64
	filled bool
	marker bool
	shift  uint16
	packet packet
}

// viewer checks what a selector decides.
type viewer struct {
	t        *rapid.T
	sh       shape
	s        sublayer.Selector
	arrived  map[uint64]bool
	sent     map[uint64]sentPacket
	highest  uint64 // number
	verdicts map[*frame]sublayer.Verdict
	decided  map[*frame]int  // arrivals before its first packet
	adopted  bool            // frames that depend on a late one which was given up, by way of others, are not looked for
	spoilt   map[*frame]bool // sent, but depends on one that was given up later
	count    int
}

func newViewer(t *rapid.T, sh shape, first uint64, target sublayer.Target) *viewer {
	v := &viewer{t: t, sh: sh, arrived: map[uint64]bool{}, sent: map[uint64]sentPacket{}, verdicts: map[*frame]sublayer.Verdict{}, decided: map[*frame]int{}, spoilt: map[*frame]bool{}}
	v.highest = 999
	v.s.Start(first, 1000, target)
	return v
}

func (v *viewer) take(p packet) sublayer.Decision {
	d := v.s.Take(p.seq, p.timestamp, p.marker, &p.layers)
	v.arrived[p.seq] = true
	v.count++
	if before, ok := v.verdicts[p.frame]; ok {
		require.Equal(v.t, before == sublayer.Keep, d.Verdict == sublayer.Keep, "frame %d is cut in the middle", p.frame.id)
	} else {
		v.verdicts[p.frame], v.decided[p.frame] = d.Verdict, v.count
		if d.Verdict != sublayer.Keep && !v.adopted {
			v.spoil(p.frame)
		}
	}
	if d.Verdict == sublayer.Drop {
		return d
	}
	_, used := v.sent[d.Out]
	require.False(v.t, used, "number %d carries two packets", d.Out)
	v.sent[d.Out] = sentPacket{p.seq, d.Verdict == sublayer.Fill, d.Marker, d.PictureShift, p}
	for hole := v.highest + 1; hole < d.Out; hole++ {
		origin, ok := v.s.Find(hole)
		require.True(v.t, ok)
		require.False(v.t, v.arrived[origin.In], "a hole in the numbers is not loss")
	}
	v.highest = max(v.highest, d.Out)
	if d.Verdict == sublayer.Keep {
		v.checkReferences(p.frame)
	}
	return d
}

func (v *viewer) checkReferences(f *frame) {
	for _, r := range f.refs {
		if verdict, ok := v.verdicts[r]; ok && v.decided[r] <= v.decided[f] { // otherwise it is lost, or late
			require.Equal(v.t, sublayer.Keep, verdict, "frame %d (S%dT%d) needs %d (S%dT%d)", f.id, f.spatial, f.temporal, r.id, r.spatial, r.temporal)
			require.False(v.t, v.spoilt[r], "frame %d (S%dT%d) needs %d (S%dT%d), which cannot be decoded", f.id, f.spatial, f.temporal, r.id, r.spatial, r.temporal)
		}
	}
}

// spoil finds the frames which were sent before it was decided that one on which they depend is not.
func (v *viewer) spoil(missing *frame) {
	frames := slices.SortedFunc(maps.Keys(v.verdicts), func(a, b *frame) int { return a.id - b.id })
	for _, f := range frames {
		v.spoilt[f] = v.spoilt[f] || v.verdicts[f] == sublayer.Keep && slices.ContainsFunc(f.refs, func(r *frame) bool { return r == missing || v.spoilt[r] })
	}
}

// checkWhole checks that the viewer could have everything from here on.
func (v *viewer) checkWhole(stream []packet, head uint64) {
	if !v.s.Whole() {
		return
	}
	var last *frame
	for _, p := range stream {
		f := p.frame
		if p.seq <= head || f == last {
			continue
		}
		if f.key && f.spatial == 0 && p.seq > head+1 {
			return
		}
		last = f
		verdict, ok := v.verdicts[f]
		require.True(v.t, !ok || verdict == sublayer.Keep, "whole after %d, but frame %d is cut", head, f.id)
		for _, r := range f.refs {
			verdict, ok := v.verdicts[r]
			require.True(v.t, !ok || verdict == sublayer.Keep && !v.spoilt[r], "whole after %d, but frame %d (S%dT%d) needs %d (S%dT%d)", head, f.id, f.spatial, f.temporal, r.id, r.spatial, r.temporal)
		}
	}
}

// checkFind compares what went out with what a NACK would bring.
func (v *viewer) checkFind() {
	for out, want := range v.sent {
		origin, ok := v.s.Find(out)
		if !ok {
			require.Less(v.t, out+30, v.highest, "a recent number is forgotten")
			continue
		}
		require.Equal(v.t, want.seq, origin.In)
		require.Equal(v.t, want.filled, origin.Filled)
		if want.filled {
			continue
		}
		require.Equal(v.t, want.shift, origin.PictureShift)
		require.Equal(v.t, want.marker, origin.Marker(want.packet.marker, &want.packet.layers))
	}
}

func TestSelectorInOrder(t *testing.T) {
	for _, sh := range shapes() {
		t.Run(sh.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				packets := generate(t, sh, rapid.IntRange(1, 120).Draw(t, "pictures"))
				v := newViewer(t, sh, packets[0].seq, sh.drawTarget(t))
				stable := true // the target has not changed since the keyframe
				var marked, lastKept bool
				var pictureID, shown int
				opened := false
				for i, p := range packets {
					if i == 0 || p.timestamp != packets[i-1].timestamp {
						if shown > 0 && !opened {
							require.True(t, lastKept && marked, "the last packet of a picture has the marker")
						}
						shown, marked, opened = 0, false, false
					}
					if rapid.IntRange(0, 39).Draw(t, "aim") == 0 {
						v.s.Aim(sh.drawTarget(t))
						stable = false
					}
					first := i == 0 || packets[i-1].frame != p.frame
					if p.frame.key && p.frame.spatial == 0 && first {
						stable = true
					}
					before := v.s.Current().Spatial
					d := v.take(p)
					opened = opened || shown > 0 && v.s.Current().Spatial > before // the layer below has ended the picture already
					require.NotEqual(t, sublayer.Fill, d.Verdict, "nothing is late")
					if stable {
						require.Equal(t, expected(sh, v.s.Target(), p.frame), d.Verdict == sublayer.Keep, "frame %d S%dT%d, target %+v", p.frame.id, p.frame.spatial, p.frame.temporal, v.s.Target())
					}
					if d.Verdict != sublayer.Keep {
						continue
					}
					if !opened {
						require.False(t, marked, "a packet after the marker")
					}
					marked, lastKept = d.Marker, true
					if shown == 0 && sh.numbered {
						id := p.frame.picture - int(d.PictureShift)
						require.Equal(t, pictureID, id, "picture ids have no holes")
						pictureID++
					}
					shown++
				}
				for out := uint64(1000); out <= v.highest; out++ {
					require.Contains(t, v.sent, out, "numbers have no holes")
				}
				v.checkFind()
			})
		})
	}
}

// expected is whether a viewer that had its target at the keyframe gets a frame.
func expected(sh shape, target sublayer.Target, f *frame) bool {
	if f.spatial > target.Spatial || f.temporal > target.Temporal {
		return false
	}
	if target == sublayer.All || !sh.keyOnly || f.key || f.spatial == target.Spatial {
		return true
	}
	return false
}

func TestSelectorWithLossAndReordering(t *testing.T) {
	for _, sh := range shapes() {
		t.Run(sh.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				stream := generate(t, sh, rapid.IntRange(1, 100).Draw(t, "pictures"))
				packets := disturb(t, stream)
				if len(packets) == 0 {
					return
				}
				v := newViewer(t, sh, 70000, sh.drawTarget(t))
				var head uint64
				for i, p := range packets {
					if rapid.IntRange(0, 39).Draw(t, "aim") == 0 {
						v.s.Aim(sh.drawTarget(t))
					}
					v.take(p)
					if i%50 == 0 {
						v.checkFind()
					}
					if head = max(head, p.seq); head == p.seq {
						v.checkWhole(stream, head)
					}
				}
				v.checkFind()
			})
		})
	}
}

// disturb loses some packets and lets others come later than those behind them.
func disturb(t *rapid.T, in []packet) []packet {
	type delayed struct {
		packet
		due int
	}
	var out []packet
	var waiting []delayed
	for i, p := range in {
		switch rapid.IntRange(0, 19).Draw(t, "fate") {
		case 0:
		case 1, 2:
			waiting = append(waiting, delayed{p, i + rapid.IntRange(1, 10).Draw(t, "delay")})
		default:
			out = append(out, p)
		}
		for len(waiting) > 0 && waiting[0].due <= i {
			out = append(out, waiting[0].packet)
			waiting = waiting[1:]
		}
	}
	return out
}

func TestSelectorAdoptsAndIsLeft(t *testing.T) {
	for _, sh := range shapes() {
		t.Run(sh.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				packets := generate(t, sh, 60)
				cut := rapid.IntRange(1, len(packets)-1).Draw(t, "cut")
				var s sublayer.Selector
				s.Adopt(packets[0].seq, 500, packets[cut-1].seq)
				for i := range cut { // what went out before can be found
					origin, ok := s.Find(500 + uint64(i))
					require.True(t, ok)
					require.Equal(t, packets[i].seq, origin.In)
					require.Equal(t, packets[i].marker, origin.Marker(packets[i].marker, &packets[i].layers))
				}
				require.True(t, s.Whole())
				for i, p := range packets[cut:] {
					d := s.Take(p.seq, p.timestamp, p.marker, &p.layers)
					require.Equal(t, sublayer.Decision{Out: 500 + uint64(cut+i), Verdict: sublayer.Keep, Marker: p.marker}, d)
				}
				require.True(t, s.Whole())
				out, shift, head := s.Next()
				require.Equal(t, 500+uint64(len(packets)), out)
				require.Zero(t, shift)
				require.Equal(t, packets[len(packets)-1].seq, head)
			})
		})
	}
}

// A selector begins in the middle of a stream of which packets are missing, and they come: nobody can tell.
func TestSelectorAdoptsWithLoss(t *testing.T) {
	for _, sh := range shapes() {
		t.Run(sh.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				stream := generate(t, sh, 60)
				packets := disturb(t, stream)
				if len(packets) < 2 {
					return
				}
				cut := rapid.IntRange(1, len(packets)-1).Draw(t, "cut")
				calm := rapid.IntRange(0, 20).Draw(t, "calm")
				v := newViewer(t, sh, 70000, sublayer.All)
				var head uint64
				aimed := false
				for _, p := range packets[:cut] {
					v.sendWhole(p)
					head = max(head, p.seq)
				}
				v.s.Adopt(70000, 1000, head)
				v.adopted = true
				adopted := head
				for i, p := range packets[cut:] {
					if i > calm && rapid.IntRange(0, 39).Draw(t, "aim") == 0 {
						v.s.Aim(sh.drawTarget(t))
						aimed = true
					}
					d := v.take(p)
					require.True(t, aimed || p.seq > adopted || d.Verdict == sublayer.Keep, "everything was sent")
					if head = max(head, p.seq); head == p.seq {
						v.checkWhole(stream, head)
					}
				}
				v.checkFind()
			})
		})
	}
}

// sendWhole is what happens to a packet before there is a selector.
func (v *viewer) sendWhole(p packet) {
	out := 1000 + p.seq - 70000
	v.arrived[p.seq] = true
	v.count++
	if _, ok := v.verdicts[p.frame]; !ok {
		v.verdicts[p.frame], v.decided[p.frame] = sublayer.Keep, v.count
	}
	v.sent[out] = sentPacket{p.seq, false, p.marker, 0, p}
	v.highest = max(v.highest, out)
}

func ExampleSelector() {
	var s sublayer.Selector
	s.Start(100, 1, sublayer.Target{Decode: -1}) // lowest temporal layer
	for i, temporal := range []uint8{0, 1, 0, 1} {
		l := sublayer.Layers{Temporal: temporal, Flags: sublayer.Layered | sublayer.Predicted}
		d := s.Take(100+uint64(i), uint32(i)*3000, true, &l)
		fmt.Println(d.Verdict == sublayer.Keep, d.Out)
	}
	// Output:
	// true 1
	// false 0
	// true 2
	// false 0
}

// A layer all of whose frames came late, and were left out, is a layer: a viewer without it has not got everything.
func TestWholeCountsLateLayers(t *testing.T) {
	var s sublayer.Selector
	s.Start(70000, 1000, sublayer.Target{Spatial: 0, Temporal: 1, Decode: -1})
	take := func(seq uint64, temporal uint8, flags sublayer.Flags) sublayer.Verdict {
		l := sublayer.Layers{Temporal: temporal, Flags: flags | sublayer.Layered | sublayer.FrameStart | sublayer.FrameEnd}
		return s.Take(seq, uint32(seq-70000)*3000, true, &l).Verdict
	}
	require.Equal(t, sublayer.Keep, take(70000, 0, sublayer.Keyframe))
	require.Equal(t, sublayer.Keep, take(70002, 1, sublayer.SwitchPoint|sublayer.Predicted))
	require.Equal(t, sublayer.Fill, take(70001, 2, sublayer.SwitchPoint|sublayer.Predicted), "late, and not wanted")
	s.Aim(sublayer.All)
	require.Equal(t, sublayer.Keep, take(70003, 0, sublayer.Predicted))
	require.False(t, s.Whole())
	require.Equal(t, sublayer.Keep, take(70004, 2, sublayer.SwitchPoint|sublayer.Predicted))
	require.True(t, s.Whole())
}
