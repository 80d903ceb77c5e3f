package codec

// inspectVP8 reads the payload descriptor and, at the start of a frame, the VP8 frame header (RFC 7741 sections 4.2, 4.3).
//
//	     0 1 2 3 4 5 6 7
//	    +-+-+-+-+-+-+-+-+
//	    |X|R|N|S|R| PID |
//	    +-+-+-+-+-+-+-+-+
//	X:  |I|L|T|K|  RSV  |
//	    +-+-+-+-+-+-+-+-+
//	I:  |M| PictureID   |
//	    +-+-+-+-+-+-+-+-+
//	M:  |   PictureID   |
//	    +-+-+-+-+-+-+-+-+
//	L:  |   TL0PICIDX   |
//	    +-+-+-+-+-+-+-+-+
//	TK: |TID|Y| KEYIDX  |
//	    +-+-+-+-+-+-+-+-+
func inspectVP8(p []byte, info *Info) {
	info.Layered = true
	at := 1
	if p[0]&0x80 != 0 {
		if at = vp8Extended(p, info); at == 0 {
			return
		}
	}
	if p[0]&0x17 != 0x10 || at >= len(p) { // S set and PID 0: the first partition starts, with the frame header
		return
	}
	info.FrameStart = true
	info.Keyframe = p[at]&1 == 0 // inverse key frame flag P
	if info.Keyframe {
		vp8Size(p[at:], info)
	}
}

// vp8Extended reads the descriptor's optional fields and returns its length, or 0 when it is cut.
func vp8Extended(p []byte, info *Info) int {
	if len(p) < 2 {
		return 0
	}
	flags, at := p[1], 2
	if flags&0x80 != 0 {
		if at = pictureID(p, at, info); at == 0 {
			return 0
		}
	}
	if flags&0x40 != 0 {
		if at >= len(p) {
			return 0
		}
		info.TL0PicIdx, info.TL0PicIdxOffset = p[at], uint8(at)
		at++
	}
	if flags&0x30 != 0 {
		if at >= len(p) {
			return 0
		}
		if flags&0x20 != 0 {
			info.Temporal, info.SwitchPoint = p[at]>>6, p[at]&0x20 != 0
		}
		if flags&0x10 != 0 {
			info.KeyIdx, info.KeyIdxOffset = p[at]&0x1f, uint8(at)
		}
		at++
	}
	return at
}

// pictureID reads the 7- or 15-bit number at p[at], alike in VP8 and VP9, and returns the offset behind it, or 0 when it is cut.
func pictureID(p []byte, at int, info *Info) int {
	if at >= len(p) {
		return 0
	}
	id, long, end := int32(p[at]&0x7f), p[at]&0x80 != 0, at+1
	if long {
		if end >= len(p) {
			return 0
		}
		id = id<<8 | int32(p[end])
		end++
	}
	info.PictureID, info.PictureIDOffset, info.PictureIDLong = id, uint8(at), long
	return end
}

// vp8Size reads a keyframe's size: a 3-byte frame tag, the start code, then 14 bits each, least byte first, below two bits of
// scaling (RFC 6386 section 9.1).
func vp8Size(frame []byte, info *Info) {
	if len(frame) < 10 || frame[3] != 0x9d || frame[4] != 0x01 || frame[5] != 0x2a {
		return
	}
	info.setSize(uint64(frame[6])|uint64(frame[7]&0x3f)<<8, uint64(frame[8])|uint64(frame[9]&0x3f)<<8)
}
