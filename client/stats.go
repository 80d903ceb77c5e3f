package client

import (
	"slices"
	"time"
)

// Latency sums up the time from capture to arrival of frames. It means something only if both ends share
// a clock, and is all zero until the first sender report came.
type Latency struct {
	Frames               uint64 // measured ones
	Last, Min, Mean, Max time.Duration
}

// ReceiveStats are the counters of one stream.
type ReceiveStats struct {
	Kind        string // "audio" or "video"
	Codec       string // MIME type of the last packets; "" before the first
	PayloadType uint8
	MID         string // of the m-line, "" if pion does not know it
	SSRC        uint32

	Packets    uint64
	Bytes      uint64 // with RTP headers
	Lost       uint64 // missing between the lowest and the highest number
	OutOfOrder uint64
	Duplicates uint64
	Broken     uint64 // packets that are not RTP or of an unknown payload type
	BitrateBps float64
	Jitter     time.Duration

	Frames          uint64 // complete ones
	DecodableFrames uint64 // complete, and with all they refer to
	BrokenFrames    uint64 // with packets missing
	Keyframes       uint64 // decodable ones
	PLIs            uint64 // keyframe requests that were sent
	SenderReports   uint64
	Width, Height   int // of the last keyframe; zeros if unknown

	// Since the POST; zero until then.
	FirstPacket, FirstFrame time.Duration
	Latency                 Latency
}

// PlayStats are a snapshot of a playback.
type PlayStats struct {
	SetupTime time.Duration // from POST to connected; zero until then
	Tracks    []ReceiveStats
}

// Stats returns a snapshot of the counters.
func (p *Playback) Stats() PlayStats {
	stats := PlayStats{SetupTime: p.setupTime()}
	for _, track := range p.Tracks() {
		stats.Tracks = append(stats.Tracks, track.Stats())
	}
	return stats
}

// Stats returns a snapshot of the stream's counters.
func (t *RemoteTrack) Stats() ReceiveStats {
	t.mu.Lock()
	defer t.mu.Unlock()
	stats := ReceiveStats{
		Kind: t.Kind().String(), Codec: t.codec, PayloadType: uint8(t.remote.PayloadType()), SSRC: t.SSRC(),
		Packets: t.arrival.packets, Bytes: t.arrival.bytes, Broken: t.arrival.broken,
		Lost: t.sequence.lost(), OutOfOrder: t.sequence.disordered, Duplicates: t.sequence.duplicates,
		BitrateBps: t.arrival.rate(), Jitter: t.arrival.jitterTime(),
		Frames: t.frames.frames, DecodableFrames: t.frames.decodable, BrokenFrames: t.frames.broken,
		Keyframes: t.frames.keyframes, PLIs: t.frames.plis, SenderReports: t.clock.count,
		Width: t.frames.width, Height: t.frames.height,
		FirstFrame: t.frames.firstFrame,
		Latency: Latency{
			Frames: t.frames.measured, Last: t.frames.last, Min: t.frames.least, Mean: t.frames.mean(), Max: t.frames.most,
		},
	}
	if t.arrival.packets > 0 {
		stats.FirstPacket = t.arrival.first.Sub(t.playback.PostedAt())
	}
	if transceiver := t.receiver.RTPTransceiver(); transceiver != nil {
		stats.MID = transceiver.Mid()
	}
	return stats
}

// Decodable reports whether media that can be decoded has arrived on any track.
func (s PlayStats) Decodable() bool {
	for _, track := range s.Tracks {
		if track.DecodableFrames > 0 {
			return true
		}
	}
	return false
}

// Track returns the stream of a kind ("audio" or "video") that began last, since a stream may be
// replaced; false if there is none.
func (s PlayStats) Track(kind string) (ReceiveStats, bool) {
	for _, v := range slices.Backward(s.Tracks) {
		if v.Kind == kind {
			return v, true
		}
	}
	return ReceiveStats{}, false
}

// firstFrame is the earliest first frame of a kind.
func (s PlayStats) firstFrame(kind string) (first time.Duration) {
	for _, track := range s.Tracks {
		if track.Kind == kind && track.FirstFrame > 0 && (first == 0 || track.FirstFrame < first) {
			first = track.FirstFrame
		}
	}
	return first
}
