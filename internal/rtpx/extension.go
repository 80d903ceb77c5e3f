package rtpx

// elements walks the elements of a header extension (RFC 8285). Padding is skipped; a broken or reserved element ends the walk.
type elements struct {
	rest    []byte
	twoByte bool

	id    uint8 // of the current element
	value []byte
}

// elementsOf returns a walk over the extension of the packet b, with nothing to walk when there is none or it is not RFC 8285's.
func elementsOf(b []byte, h *Header) elements {
	if !h.Extension || h.ExtOffset+h.ExtLen > len(b) {
		return elements{}
	}
	data := b[h.ExtOffset : h.ExtOffset+h.ExtLen]
	switch {
	case h.ExtProfile == profileOneByte:
		return elements{rest: data}
	case h.ExtProfile&0xfff0 == profileTwoByte:
		return elements{rest: data, twoByte: true}
	default:
		return elements{}
	}
}

// next steps to the next element and reports whether there is one.
func (e *elements) next() bool {
	for len(e.rest) > 0 && e.rest[0] == 0 { // padding, one byte in both forms (RFC 8285 sections 4.2, 4.3)
		e.rest = e.rest[1:]
	}
	if e.twoByte {
		return e.nextTwoByte()
	}
	return e.nextOneByte()
}

// nextOneByte reads | ID (4) | length-1 (4) | value | (RFC 8285 section 4.2). Id 15 stops the walk, and so does id 0 with a length.
func (e *elements) nextOneByte() bool {
	if len(e.rest) == 0 {
		return false
	}
	id, end := e.rest[0]>>4, 2+int(e.rest[0]&0x0f)
	if id == 0 || id == 15 || end > len(e.rest) {
		e.rest = nil
		return false
	}
	e.id, e.value, e.rest = id, e.rest[1:end], e.rest[end:]
	return true
}

// nextTwoByte reads | ID (8) | length (8) | value | (RFC 8285 section 4.3).
func (e *elements) nextTwoByte() bool {
	if len(e.rest) < 2 {
		return false
	}
	end := 2 + int(e.rest[1])
	if end > len(e.rest) {
		e.rest = nil
		return false
	}
	e.id, e.value, e.rest = e.rest[0], e.rest[2:end], e.rest[end:]
	return true
}

// Extension returns the value of the first header extension element with this id in the packet b, in the one-byte or the
// two-byte form (RFC 8285). The value aliases b. hot path.
func Extension(b []byte, h Header, id uint8) ([]byte, bool) {
	if id == 0 {
		return nil, false
	}
	for e := elementsOf(b, &h); e.next(); {
		if e.id == id {
			return e.value, true
		}
	}
	return nil, false
}
