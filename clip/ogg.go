package clip

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media/oggreader"
)

// opusClockRate is that of Opus over RTP, in Hz, whatever the coder's own rate (RFC 7587 §4.1).
const opusClockRate = 48000

// parseOgg reads the Opus packets of an Ogg file with one stream (RFC 3533, RFC 7845). Pages hold many
// packets, and packets may cross pages, so the lacing values are read here; pion's reader, which hands
// out whole pages, parses the identification header.
func parseOgg(file []byte) (*Source, error) {
	packets, err := oggPackets(file)
	if err != nil {
		return nil, err
	}
	if len(packets) < 3 || len(packets[0]) < 8 || string(packets[0][:8]) != string(oggreader.HeaderOpusID) {
		return nil, fmt.Errorf("ogg without opus: %w", ErrFormat)
	}
	head, err := oggreader.ParseOpusHead(packets[0])
	if err != nil {
		return nil, fmt.Errorf("opus header: %w: %w", ErrFormat, err)
	}
	if head.Channels < 1 || head.Channels > 2 {
		return nil, fmt.Errorf("opus with %d channels: %w", head.Channels, ErrFormat)
	}
	source := &Source{codec: opusCodec(int(head.Channels))}
	for i, packet := range packets[2:] { // the second packet holds the tags
		duration, ok := opusDuration(packet)
		if !ok {
			return nil, fmt.Errorf("opus packet %d: %w", i, ErrFormat)
		}
		source.samples = append(source.samples, sample{data: packet, duration: duration, keyframe: true})
	}
	return source, nil
}

// opusCodec describes Opus for an offer; the rtpmap says two channels always (RFC 7587 §7).
func opusCodec(channels int) webrtc.RTPCodecCapability {
	parameters := "minptime=10;useinbandfec=1"
	if channels == 2 {
		parameters += ";stereo=1;sprop-stereo=1"
	}
	return webrtc.RTPCodecCapability{
		MimeType: webrtc.MimeTypeOpus, ClockRate: opusClockRate, Channels: 2, SDPFmtpLine: parameters,
	}
}

// oggPackets splits the pages of a file into packets (RFC 3533 §6).
func oggPackets(file []byte) (packets [][]byte, err error) {
	const headerSize = 27
	var partial []byte
	var serial uint32
	for page := 0; len(file) > 0; page++ {
		if len(file) < headerSize || string(file[:4]) != "OggS" || len(file) < headerSize+int(file[26]) {
			return nil, fmt.Errorf("ogg page %d: %w", page, ErrFormat)
		}
		if page == 0 {
			serial = binary.LittleEndian.Uint32(file[14:])
		}
		if binary.LittleEndian.Uint32(file[14:]) != serial {
			return nil, fmt.Errorf("ogg page %d: second stream: %w", page, ErrFormat)
		}
		lacing := file[headerSize : headerSize+int(file[26])]
		body := file[headerSize+len(lacing):]
		for _, size := range lacing {
			if int(size) > len(body) {
				return nil, fmt.Errorf("ogg page %d: %w", page, ErrFormat)
			}
			partial = append(partial, body[:size]...)
			body = body[size:]
			if size < 255 { // a packet ends with the first segment that is not full
				if len(partial) > 0 { // an empty one only carries the end of the stream
					packets = append(packets, partial)
				}
				partial = nil
			}
		}
		file = body
	}
	if partial != nil {
		return nil, fmt.Errorf("ogg ends inside a packet: %w", ErrFormat)
	}
	return packets, nil
}

// opusFrame lists how long a frame lasts by the configuration number in the first five bits of a packet
// (RFC 6716 §3.1): SILK, hybrid and CELT modes in turn.
var opusFrame = [32]time.Duration{
	10e6, 20e6, 40e6, 60e6, 10e6, 20e6, 40e6, 60e6, 10e6, 20e6, 40e6, 60e6,
	10e6, 20e6, 10e6, 20e6,
	2.5e6, 5e6, 10e6, 20e6, 2.5e6, 5e6, 10e6, 20e6, 2.5e6, 5e6, 10e6, 20e6, 2.5e6, 5e6, 10e6, 20e6,
}

// opusDuration is how long a packet lasts: the length of its frames times their number, at most 120 ms
// (RFC 6716 §3.1 and §3.2).
func opusDuration(packet []byte) (time.Duration, bool) {
	if len(packet) == 0 {
		return 0, false
	}
	frames := 2
	switch packet[0] & 3 {
	case 0:
		frames = 1
	case 3:
		if len(packet) < 2 {
			return 0, false
		}
		frames = int(packet[1] & 0x3f)
	}
	duration := time.Duration(frames) * opusFrame[packet[0]>>3]
	return duration, duration > 0 && duration <= 120*time.Millisecond
}
