package bench

import "bytes"

const (
	stampTimeBytes = 10 // 64 bits in groups of 7
	stampSeqBytes  = 5  // 32 bits in groups of 7
	stampBytes     = len(stampMagic) + stampTimeBytes + stampSeqBytes
)

// stampMagic tells a stamp from other payload.
const stampMagic = "RhMb"

// putStamp writes the stamp into the last stampBytes of payload. at is in nanoseconds since the Unix epoch.
func putStamp(payload []byte, at int64, seq uint32) {
	tail := payload[len(payload)-stampBytes:]
	copy(tail, stampMagic)
	put7(tail[len(stampMagic):][:stampTimeBytes], uint64(at))
	put7(tail[len(stampMagic)+stampTimeBytes:], uint64(seq))
}

// parseStamp reads the stamp at the end of payload; false when there is none.
func parseStamp(payload []byte) (at int64, seq uint32, ok bool) {
	if len(payload) < stampBytes {
		return 0, 0, false
	}
	tail := payload[len(payload)-stampBytes:]
	if !bytes.Equal(tail[:len(stampMagic)], []byte(stampMagic)) {
		return 0, 0, false
	}
	time, okTime := take7(tail[len(stampMagic):][:stampTimeBytes])
	number, okSeq := take7(tail[len(stampMagic)+stampTimeBytes:])
	return int64(time), uint32(number), okTime && okSeq
}

// put7 fills b with the low bits of v, seven to a byte, the top bit of each set.
func put7(b []byte, v uint64) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = 0x80 | byte(v)
		v >>= 7
	}
}

func take7(b []byte) (v uint64, ok bool) {
	for _, c := range b {
		if c&0x80 == 0 {
			return 0, false
		}
		v = v<<7 | uint64(c&0x7f)
	}
	return v, true
}
