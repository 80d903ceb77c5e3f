package depdesc

import "encoding/binary"

// MaxRewriteGrowth is by how many bytes AppendActive can make a descriptor longer: five bits of flags and 32 of bitmask.
const MaxRewriteGrowth = 5

// ShiftNumber adds to the frame number of a descriptor, in place, modulo 2¹⁶: a viewer that is switched to another encoding of a source goes on counting where
// it was. Differences between frames stay true as all frames of the encoding are shifted alike. It reports false, and changes nothing, when value is too short to be a
// descriptor. Hot path.
func ShiftNumber(value []byte, shift uint16) bool {
	if len(value) < mandatoryBytes {
		return false
	}
	binary.BigEndian.PutUint16(value[1:], binary.BigEndian.Uint16(value[1:])+shift)
	return true
}

// AppendActive appends the descriptor in value to dst with active as its bitmask of active decode targets, in place of the one it may have: what a viewer that gets
// fewer decode targets should be told, on a keyframe at least, so that it does not wait for the others (appendix A.8.3). value must have been read into d. Hot path.
func AppendActive(dst, value []byte, d *Descriptor, active uint32) []byte {
	const flagBits = 5
	w := bitWriter{dst: dst}
	w.bytes(value[:mandatoryBytes])
	r := bitReader{data: value, at: 8 * mandatoryBytes}
	var flags uint32
	if len(value) > mandatoryBytes {
		flags = r.bits(flagBits)
	}
	w.bits(flags|0x08, flagBits)
	for r.at < int(d.activeAt) { // the structure
		n := min(16, int(d.activeAt)-r.at)
		w.bits(r.bits(n), n)
	}
	w.bits(active>>16, max(int(d.Targets)-16, 0))
	w.bits(active, min(int(d.Targets), 16))
	if d.ActiveTold {
		r.at += int(d.Targets)
	}
	for r.at < int(d.end) { // what the frame has of its own
		n := min(16, int(d.end)-r.at)
		w.bits(r.bits(n), n)
	}
	return w.dst
}

// bitWriter appends big-endian bit fields.
type bitWriter struct {
	dst  []byte
	left int // unused bits of the last byte
}

func (w *bitWriter) bytes(b []byte) { w.dst = append(w.dst, b...) }

// bits appends the n lowest bits of v.
func (w *bitWriter) bits(v uint32, n int) {
	for n > 0 {
		if w.left == 0 {
			w.dst, w.left = append(w.dst, 0), 8
		}
		take := min(n, w.left)
		n, w.left = n-take, w.left-take
		w.dst[len(w.dst)-1] |= byte(v >> n & (1<<take - 1) << w.left)
	}
}
