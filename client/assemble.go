package client

import (
	"fmt"
	"time"

	"github.com/pion/rtp/codecs"
)

// Frame is a picture, or a packet of sound, that has arrived whole or in part. It and its packets are
// valid until OnFrame returns.
type Frame struct {
	Codec     string // MIME type
	Timestamp uint32 // RTP time
	Arrival   time.Time
	// Complete: no packet of it is missing. Decodable: complete, and decoding has not lost its way since
	// a keyframe with its parameter sets.
	Complete, Decodable bool
	Keyframe            bool
	// Latency is from capture to arrival of the last packet, by the sender reports of the stream; it means
	// something only if both ends share a clock. LatencyKnown is false before the first report.
	Latency      time.Duration
	LatencyKnown bool

	packets       []*packet
	sets          sets
	width, height int
}

// Packets is how many packets the frame had.
func (f *Frame) Packets() int { return len(f.packets) }

// Data depacketizes a complete frame into a new buffer: H.264 and H.265 with start codes, the others as
// a decoder takes them.
func (f *Frame) Data() ([]byte, error) {
	depacketizer := depacketizerOf(f.Codec)
	var data []byte
	for _, packet := range f.packets {
		part, err := depacketizer.Unmarshal(packet.Payload)
		if err != nil {
			return nil, fmt.Errorf("depacketize %s: %w", f.Codec, err)
		}
		data = append(data, part...)
	}
	return data, nil
}

// depacketizer strips what the payload format of a codec adds.
type depacketizer interface {
	Unmarshal(payload []byte) ([]byte, error)
}

// whole takes a payload as it is: the payload formats of sound have no header.
type whole struct{}

func (whole) Unmarshal(payload []byte) ([]byte, error) { return payload, nil }

func depacketizerOf(mimeType string) depacketizer {
	switch encodingName(mimeType) {
	case "vp8":
		return &codecs.VP8Packet{}
	case "vp9":
		return &codecs.VP9Packet{}
	case "av1":
		return &codecs.AV1Depacketizer{}
	case "h264":
		return &codecs.H264Packet{}
	case "h265":
		return &codecs.H265Depacketizer{}
	}
	return whole{}
}

// assembler gathers packets, which come in order, into frames.
type assembler struct {
	codec  string
	format format
	finish func(*Frame)  // hands out a frame; it must not be kept
	free   func(*packet) // takes back a packet

	frame   Frame
	started bool // the frame's first packet is its first
	torn    bool // a packet inside the frame is missing

	gap      bool // packets before the next one were lost
	sets     sets // parameter sets so far
	decoding bool // the frames since a keyframe were complete
}

// reset begins anew with a codec: nothing of the old is of use.
func (a *assembler) reset(codec string) {
	a.flush()
	*a = assembler{codec: codec, format: formatOf(codec), finish: a.finish, free: a.free, gap: true}
}

// push takes the next packet; gap says that some before it were lost.
func (a *assembler) push(p *packet, gap bool) {
	a.gap = a.gap || gap
	if len(p.Payload) == 0 { // padding that probes the bandwidth
		a.free(p)
		return
	}
	if a.format.classify == nil {
		a.started = true
		a.frame.Keyframe = true
		a.add(p)
		a.end()
		return
	}
	if len(a.frame.packets) > 0 && a.frame.packets[0].Timestamp != p.Timestamp {
		a.torn = a.torn || a.gap // the marker may have been among the lost
		a.end()
	}
	a.classify(p)
	a.add(p)
	if p.Marker {
		a.end()
	}
}

// classify notes what the packet says about its frame.
func (a *assembler) classify(p *packet) {
	facts := a.format.classify(p.Payload)
	if len(a.frame.packets) == 0 {
		a.started = facts.start || !a.gap
	} else {
		a.torn = a.torn || a.gap
	}
	if a.gap {
		a.decoding = false
	}
	a.gap = false
	a.frame.Keyframe = a.frame.Keyframe || facts.keyframe
	a.frame.sets |= facts.sets
	if facts.width > 0 {
		a.frame.width, a.frame.height = facts.width, facts.height
	}
}

func (a *assembler) add(p *packet) { a.frame.packets = append(a.frame.packets, p) }

// end judges the frame, hands it out, and begins the next.
func (a *assembler) end() {
	f := &a.frame
	last := f.packets[len(f.packets)-1]
	f.Codec, f.Timestamp, f.Arrival = a.codec, last.Timestamp, last.arrival
	f.Complete = a.started && !a.torn
	if f.Complete {
		a.sets |= f.sets
	}
	keyframe := f.Keyframe && a.sets&a.format.needs == a.format.needs
	f.Decodable = f.Complete && (keyframe || a.decoding)
	a.decoding = f.Decodable
	a.finish(f)
	a.flush()
}

// flush drops the packets of the frame.
func (a *assembler) flush() {
	for _, p := range a.frame.packets {
		a.free(p)
	}
	a.frame = Frame{packets: a.frame.packets[:0]}
	a.started, a.torn = false, false
}
