package depdesc

import "math/bits"

// mandatoryBytes are those that every descriptor has (appendix A.8, mandatory_descriptor_fields).
const mandatoryBytes = 3

// Reader reads the descriptors of one stream, in the order of their arrival, and keeps its structure. The zero value is ready. It is
// not safe for concurrent use; the structures that it hands out are.
type Reader struct {
	structure *Structure
	spare     *Structure // being read into
	active    uint32
}

// Structure is the newest structure of the stream; nil before the first.
func (r *Reader) Structure() *Structure { return r.structure }

// flags are the extended fields (appendix A.8, extended_descriptor_fields).
type flags struct{ structure, active, dtis, diffs, chains bool }

// Read overwrites d with what the extension's value tells. It keeps nothing of value. After an error d is not to be used, and the reader is
// as it was. It allocates only for a structure that differs from the one before. Hot path.
//
//	 0                   1                   2
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8
//	+-+-+-----------+-------------------------------+-+-+-+-+-+
//	|S|E| template  |         frame number          |T|A|D|F|C|  the last five only in more than three bytes
//	+-+-+-----------+-------------------------------+-+-+-+-+-+
func (r *Reader) Read(value []byte, d *Descriptor) error {
	if len(value) < mandatoryBytes {
		return ErrShort
	}
	*d = Descriptor{First: value[0]&0x80 != 0, Last: value[0]&0x40 != 0, Number: uint16(value[1])<<8 | uint16(value[2])}
	in := bitReader{data: value, at: 8 * mandatoryBytes}
	structure, active := r.structure, r.active
	var has flags
	if len(value) > mandatoryBytes {
		has = flags{in.flag(), in.flag(), in.flag(), in.flag(), in.flag()}
	}
	if has.structure {
		if r.spare == nil {
			r.spare = new(Structure)
		}
		if err := in.structure(r.spare); err != nil {
			return err
		}
		structure, active = r.spare, 1<<r.spare.targets-1
	}
	if structure == nil {
		return ErrNoStructure
	}
	if has.active {
		active = in.bits32(int(structure.targets))
	}
	index := (value[0] - structure.offset) & (MaxTemplates - 1)
	if index >= structure.templates {
		return ErrTemplate
	}
	d.Template, d.Attached, d.ActiveTold, d.Custom = index, has.structure, has.active, has.dtis || has.diffs || has.chains
	in.frame(structure, has, d)
	if in.overrun {
		return ErrShort
	}
	r.accept(structure, active)
	d.Structure, d.Active = r.structure, active
	return nil
}

// accept takes what a whole descriptor told. A structure that says the same as the one before is not another one.
func (r *Reader) accept(s *Structure, active uint32) {
	r.active = active
	if s != r.spare || s == nil {
		return
	}
	if r.structure != nil && *r.structure == *s {
		return
	}
	r.structure, r.spare = s, nil
}

// frame reads what the frame has of its own and fills in the rest from its template (appendix A.8, frame_dependency_definition).
func (r *bitReader) frame(s *Structure, has flags, d *Descriptor) {
	t := &s.template[d.Template]
	d.Spatial, d.Temporal, d.Targets, d.Chains = t.spatial, t.temporal, s.targets, s.chains
	d.DTIs, d.Diffs = t.dtis, t.diffs
	if has.dtis {
		d.DTIs = r.indications(int(s.targets))
	}
	if has.diffs {
		d.Diffs = 0
		for size := r.bits(2); size != 0; size = r.bits(2) { // next_fdiff_size, in units of four bits
			d.Diffs = d.Diffs.with(r.bits(int(4*size)) + 1)
		}
	}
	for i := range s.chains {
		if has.chains {
			d.ChainDiffs[i] = uint8(r.bits(8))
		} else {
			d.ChainDiffs[i] = t.chainDiffs[i/2] >> (4 * (i % 2)) & 0x0f
		}
	}
}

// indications reads n of two bits each.
func (r *bitReader) indications(n int) (dtis uint64) {
	for i := range n {
		dtis |= uint64(r.bits(2)) << (2 * i)
	}
	return dtis
}

// bits32 reads n bits, n ≤ 32.
func (r *bitReader) bits32(n int) uint32 {
	if n <= 16 {
		return r.bits(n)
	}
	return r.bits(n-16)<<16 | r.bits(16)
}

// structure overwrites s with a template_dependency_structure (appendix A.8).
func (r *bitReader) structure(s *Structure) error {
	*s = Structure{offset: uint8(r.bits(6)), targets: uint8(r.bits(5)) + 1}
	if err := r.templateLayers(s); err != nil {
		return err
	}
	for i := range s.templates {
		s.template[i].dtis = r.indications(int(s.targets))
	}
	for i := range s.templates {
		for r.flag() { // fdiff_follows_flag
			s.template[i].diffs = s.template[i].diffs.with(r.bits(4) + 1)
		}
	}
	if err := r.templateChains(s); err != nil {
		return err
	}
	s.targetLayers()
	if s.sized = r.flag(); s.sized { // resolutions_present_flag
		for i := range s.spatial {
			s.sizes[i] = Resolution{Width: int(r.bits(16)) + 1, Height: int(r.bits(16)) + 1}
		}
	}
	if r.overrun {
		return ErrShort
	}
	return nil
}

// templateLayers reads the layer ids of the templates, which are sorted by spatial, then temporal layer.
func (r *bitReader) templateLayers(s *Structure) error {
	const same, nextTemporal, nextSpatial = 0, 1, 2 // next_layer_idc; 3 ends
	var at Layer
	for s.templates < MaxTemplates {
		t := &s.template[s.templates]
		t.spatial, t.temporal = at.Spatial, at.Temporal
		s.templates++
		s.spatial, s.temporal = at.Spatial+1, max(s.temporal, at.Temporal+1)
		switch r.bits(2) {
		case same:
		case nextTemporal:
			at.Temporal++
		case nextSpatial:
			at = Layer{Spatial: at.Spatial + 1}
		default:
			return nil
		}
		if r.overrun {
			return ErrShort
		}
		if at.Spatial >= MaxSpatial || at.Temporal >= MaxTemporal {
			return ErrLayers
		}
	}
	return ErrLayers
}

// templateChains reads which chain protects each decode target, and where the templates' frames stand in the chains.
func (r *bitReader) templateChains(s *Structure) error {
	count := r.nonSymmetric(uint32(s.targets) + 1)
	if count > uint32(s.targets) {
		return ErrChains
	}
	if s.chains = uint8(count); s.chains == 0 {
		return nil
	}
	for i := range s.targets {
		s.protected[i] = uint8(r.nonSymmetric(count))
	}
	for i := range s.templates {
		for c := range s.chains {
			s.template[i].chainDiffs[c/2] |= uint8(r.bits(4)) << (4 * (c % 2))
		}
	}
	return nil
}

// targetLayers finds the layers of each decode target: the highest of the frames that are needed for it (appendix A.8,
// decode_target_layers).
func (s *Structure) targetLayers() {
	for _, t := range s.template[:s.templates] {
		for dtis := t.dtis; dtis != 0; {
			i := bits.TrailingZeros64(dtis) / 2
			dtis &^= 3 << (2 * i)
			l := &s.layers[i]
			l.Spatial, l.Temporal = max(l.Spatial, t.spatial), max(l.Temporal, t.temporal)
		}
	}
}
