package sfu

import "rheomesh/internal/rtpx"

const (
	// catchUpDivisor compresses the timestamps of cached frames that a joining viewer gets at once: two seconds of them look like 62 ms to its jitter buffer,
	// which then plays live from the start instead of two seconds late for ever. The same goes for a viewer that changes to a layer's keyframe of a moment ago.
	catchUpDivisor = 32
	// segmentsKept is how many segments back a NACK is still answered.
	segmentsKept = 4
)

// segment is a stretch of a viewer's stream with one simple mapping from a log's numbers to the viewer's. A new one starts at each join, layer switch, skip
// and restart of the publisher. It is a pure function, so a packet that is sent again is the same to the last bit.
type segment struct {
	layer        *Layer
	inSeq        uint64 // extended sequence number of its first packet in the log
	outSeq       uint64 // the same packet's number for the viewer
	tsOffset     uint32 // added to timestamps
	liveTS       uint32 // timestamps before it are compressed towards it, when catchUp is set
	catchUp      bool
	renumber     bool   // pictureShift or tl0Shift is not zero
	pictureShift uint16 // added to PictureID
	tl0Shift     uint8  // added to TL0PICIDX
	frameShift   uint16 // added to frame numbers of dependency descriptors
	numbered     bool   // packets may have transport-wide numbers
	thinned      bool   // the forwarder's selector knows the numbers
	end          uint64 // position in the log at which the viewer left it for another layer; 0 = not yet
	formats      *formats
	extensions   *rtpx.ExtensionMap
}

// seq maps a sequence number of the log. Hot path.
func (s *segment) seq(in uint64) uint64 { return s.outSeq + (in - s.inSeq) }

// timestamp maps a timestamp of the log. Hot path.
func (s *segment) timestamp(in uint32) uint32 {
	if s.catchUp {
		if behind := int32(s.liveTS - in); behind > 0 {
			in = s.liveTS - uint32(behind)/catchUpDivisor
		}
	}
	return in + s.tsOffset
}

// apply writes the viewer's frame numbers into a copy of the packet's payload; dropped is how many frames were left out in this segment. Hot path after a
// viewer's first switch.
func (s *segment) apply(n *FrameNumbers, dropped uint16, payload []byte) {
	if at := int(n.PictureIDOffset); at != 0 {
		id := n.PictureID + s.pictureShift - dropped
		if n.PictureIDLong {
			payload[at], payload[at+1] = 0x80|byte(id>>8)&0x7f, byte(id)
		} else {
			payload[at] = byte(id) & 0x7f
		}
	}
	if at := int(n.TL0PicIdxOffset); at != 0 {
		payload[at] = n.TL0PicIdx + s.tl0Shift
	}
}

// formats says, for each payload type of a publisher's track, how a viewer gets it.
type formats [128]format

// anyRTX is an RTX payload type of the viewer's; 0 without any.
func (s *segment) anyRTX() uint8 {
	for i := range s.formats {
		if pt := s.formats[i].rtxPT; pt != 0 {
			return pt
		}
	}
	return 0
}

// format is how one payload type is sent to one viewer. The zero value is not sent at all.
type format struct {
	known      bool
	pt         uint8
	rtxPT      uint8 // 0 without RTX
	primaryRED bool  // the viewer gets the primary block of the RED packet only
}

// segments are the newest segments of a viewer's track, newest last.
type segments struct {
	list []segment
}

func (s *segments) newest() *segment {
	if len(s.list) == 0 {
		return nil
	}
	return &s.list[len(s.list)-1]
}

// before is the segment before the newest one.
func (s *segments) before() *segment {
	if len(s.list) < 2 {
		return nil
	}
	return &s.list[len(s.list)-2]
}

func (s *segments) add(next segment) {
	if len(s.list) == segmentsKept {
		copy(s.list, s.list[1:])
		s.list = s.list[:segmentsKept-1]
	}
	s.list = append(s.list, next)
}

// leave notes where the viewer leaves a layer.
func (s *segments) leave(l *Layer, cursor uint64) {
	for i := range s.list {
		if x := &s.list[i]; x.layer == l && x.end == 0 {
			x.end = cursor
		}
	}
}

// holding is the segment that a number of the viewer belongs to; nil when it is too old.
func (s *segments) holding(out uint64) *segment {
	for i := len(s.list) - 1; i >= 0; i-- {
		if out >= s.list[i].outSeq {
			return &s.list[i]
		}
	}
	return nil
}
