package client

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"
)

// keyframePause is the least time between two keyframes that are asked for, or two requests.
const keyframePause = 500 * time.Millisecond

// sendCounters count what one encoding sent and was told.
type sendCounters struct {
	packets, bytes, frames, keyframes atomic.Uint64
	nacks, plis                       atomic.Uint64

	mu     sync.Mutex // guards the rest, which comes from receiver reports
	report SendReport
}

// SendReport is what the server's last receiver report said of an encoding (RFC 3550 §6.4.1). All is
// zero until one came.
type SendReport struct {
	RTT          time.Duration // zero until a sender report was answered
	FractionLost float64       // since the report before, 0 to 1
	PacketsLost  uint64        // in all
	Jitter       time.Duration // interarrival jitter
}

// SendStats are the counters of one encoding.
type SendStats struct {
	Kind              string // "audio" or "video"
	Codec             string // MIME type
	RID               string // "" without simulcast
	SSRC              uint32
	Packets           uint64
	Bytes             uint64 // of payload
	Frames, Keyframes uint64 // zero for a track without a source
	NACKs             uint64 // packets asked for again
	PLIs              uint64 // keyframe requests: PLI and FIR
	SendReport
}

// PublishStats are a snapshot of a publication.
type PublishStats struct {
	SetupTime time.Duration // from POST to connected; zero until then
	Tracks    []SendStats   // in the order of the offer
}

// Stats returns a snapshot of the counters.
func (p *Publication) Stats() PublishStats {
	stats := PublishStats{SetupTime: p.setupTime()}
	for _, track := range p.tracks {
		stats.Tracks = append(stats.Tracks, track.Stats())
	}
	return stats
}

// Stats returns a snapshot of the track's counters.
func (t *LocalTrack) Stats() SendStats {
	c := &t.counters
	c.mu.Lock()
	defer c.mu.Unlock()
	return SendStats{
		Kind: t.Kind().String(), Codec: t.codec.MimeType, RID: t.RID(), SSRC: t.SSRC(),
		Packets: c.packets.Load(), Bytes: c.bytes.Load(), Frames: c.frames.Load(), Keyframes: c.keyframes.Load(),
		NACKs: c.nacks.Load(), PLIs: c.plis.Load(), SendReport: c.report,
	}
}

// feedback reads the RTCP for one encoding until the connection ends. Reading also drives the
// interceptors, which answer NACKs.
func (p *Publication) feedback(track *LocalTrack, answerPLI bool) {
	buffer := make([]byte, receiveBytes)
	var answered time.Time
	for {
		n, err := readRTCP(track.transceiver.Sender(), track.RID(), buffer)
		if err != nil {
			return
		}
		packets, err := rtcp.Unmarshal(buffer[:n])
		if err != nil {
			p.log.Debug("bad rtcp", "err", err)
			continue
		}
		now := time.Now()
		if !track.count(packets, now) || !answerPLI || now.Sub(answered) < keyframePause {
			continue
		}
		answered = now
		track.keyframeWanted.Store(true)
	}
}

func readRTCP(sender *webrtc.RTPSender, rid string, buffer []byte) (n int, err error) {
	if rid == "" {
		n, _, err = sender.Read(buffer)
	} else {
		n, _, err = sender.ReadSimulcast(buffer, rid)
	}
	return n, err
}

// count takes in a compound packet and reports whether it asks for a keyframe of this encoding.
func (t *LocalTrack) count(packets []rtcp.Packet, now time.Time) (keyframe bool) {
	for _, packet := range packets {
		switch packet := packet.(type) {
		case *rtcp.PictureLossIndication:
			keyframe = t.asked(packet.MediaSSRC) || keyframe
		case *rtcp.FullIntraRequest:
			for _, entry := range packet.FIR {
				keyframe = t.asked(entry.SSRC) || keyframe
			}
		case *rtcp.TransportLayerNack:
			t.nacked(packet)
		case *rtcp.ReceiverReport:
			t.reported(packet.Reports, now)
		case *rtcp.SenderReport:
			t.reported(packet.Reports, now)
		}
	}
	return keyframe
}

func (t *LocalTrack) asked(ssrc uint32) bool {
	if ssrc != t.SSRC() {
		return false
	}
	t.counters.plis.Add(1)
	return true
}

func (t *LocalTrack) nacked(packet *rtcp.TransportLayerNack) {
	if packet.MediaSSRC != t.SSRC() {
		return
	}
	for _, pair := range packet.Nacks {
		t.counters.nacks.Add(uint64(len(pair.PacketList())))
	}
}

func (t *LocalTrack) reported(reports []rtcp.ReceptionReport, now time.Time) {
	for _, report := range reports {
		if report.SSRC != t.SSRC() {
			continue
		}
		c := &t.counters
		c.mu.Lock()
		c.report.FractionLost = float64(report.FractionLost) / 256
		c.report.PacketsLost = uint64(report.TotalLost)
		c.report.Jitter = time.Duration(report.Jitter) * time.Second / time.Duration(t.codec.ClockRate)
		if rtt, ok := roundTrip(report, now); ok {
			c.report.RTT = rtt
		}
		c.mu.Unlock()
	}
}

// roundTrip is now − LSR − DLSR in the middle 32 bits of NTP time (RFC 3550 §6.4.1); it is false if the
// report answers no sender report of ours. Clocks of both ends with a coarser step may make it negative,
// which counts as zero.
func roundTrip(report rtcp.ReceptionReport, now time.Time) (time.Duration, bool) {
	if report.LastSenderReport == 0 {
		return 0, false
	}
	delta := int32(uint32(toNTP(now)>>16) - report.LastSenderReport - report.Delay)
	return max(time.Duration(delta)*time.Second>>16, 0), true
}
