package bench

import "rheomesh/internal/codec"

// keyframePackets is the largest keyframe that can be followed, in packets: 2 MB.
const keyframePackets = 2048

// keyframeFinder finds the first keyframe that has arrived whole, parameter sets included. The zero value is ready.
type keyframeFinder struct {
	active    bool
	timestamp uint32
	start     uint16 // number of the packet with the parameter sets
	arrived   map[uint16]struct{}
	count     int // packets of the keyframe; 0 until the marker has come
}

// add takes a packet in the clear and reports whether it completes a keyframe.
func (f *keyframeFinder) add(h header, payload []byte) bool {
	var info codec.Info
	codec.Inspect(videoCodec(h.pt), payload, &info)
	if info.Keyframe && (info.ParameterSet || h.pt == ptVP8) && (!f.active || f.timestamp != h.timestamp) {
		*f = keyframeFinder{active: true, timestamp: h.timestamp, start: h.seq, arrived: map[uint16]struct{}{}}
	}
	offset := h.seq - f.start
	if !f.active || h.timestamp != f.timestamp || offset >= keyframePackets {
		return false
	}
	f.arrived[offset] = struct{}{}
	if h.marker {
		f.count = int(offset) + 1
	}
	return f.count > 0 && len(f.arrived) == f.count
}

func videoCodec(pt uint8) codec.Codec {
	if pt == ptVP8 {
		return codec.VP8
	}
	return codec.H264
}
