package depdesc

import "encoding/binary"

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
