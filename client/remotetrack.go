package client

import (
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"
)

// RemoteTrack is one stream that is received. Its accessors may be called from any goroutine.
type RemoteTrack struct {
	playback *Playback
	remote   *webrtc.TrackRemote
	receiver *webrtc.RTPReceiver

	// Owned by the reading goroutine.
	free      []*packet // buffers not in use
	reorder   reorder
	assembler assembler
	payload   uint8 // payload type of the codec in use; changes with the codec
	asked     time.Time
	saver     *saver // nil: nothing is saved

	mu       sync.Mutex // guards the rest
	codec    string
	sequence sequence
	arrival  arrival
	clock    senderClock
	frames   frameCounters
}

func newRemoteTrack(playback *Playback, remote *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) *RemoteTrack {
	t := &RemoteTrack{playback: playback, remote: remote, receiver: receiver, payload: 0xff}
	t.arrival.clockRate = remote.Codec().ClockRate
	t.reorder.deliver, t.reorder.discard = t.deliver, t.recycle
	t.assembler.finish, t.assembler.free = t.finish, t.recycle
	if playback.play.SaveDir != "" {
		t.saver = &saver{playback: playback, kind: remote.Kind()}
	}
	return t
}

// Kind is audio or video.
func (t *RemoteTrack) Kind() webrtc.RTPCodecType { return t.remote.Kind() }

// SSRC is that of the packets.
func (t *RemoteTrack) SSRC() uint32 { return uint32(t.remote.SSRC()) }

// Remote is pion's track; only its reading belongs to this package.
func (t *RemoteTrack) Remote() *webrtc.TrackRemote { return t.remote }

// read takes packets until the stream or the connection ends.
func (t *RemoteTrack) read() {
	defer t.closeSaver()
	for {
		p := t.buffer()
		n, _, err := t.remote.Read(p.buffer[:])
		p.arrival = time.Now()
		switch {
		case err != nil && n == 0:
			return // the stream has ended
		case err != nil || p.Unmarshal(p.buffer[:n]) != nil:
			t.broken() // an unknown payload type, or not RTP
			t.recycle(p)
			continue
		}
		if t.playback.play.OnRTP != nil {
			t.playback.play.OnRTP(t, &p.Packet, p.arrival)
		}
		if t.count(p, n) {
			t.reorder.push(p)
		} else {
			t.recycle(p)
		}
	}
}

// buffer takes an unused buffer, or a new one.
func (t *RemoteTrack) buffer() *packet {
	last := len(t.free) - 1
	if last < 0 {
		return &packet{}
	}
	p := t.free[last]
	t.free = t.free[:last]
	return p
}

func (t *RemoteTrack) recycle(p *packet) { t.free = append(t.free, p) }

func (t *RemoteTrack) broken() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.arrival.broken++
}

// count takes a packet into the counters and reports whether it is new.
func (t *RemoteTrack) count(p *packet, size int) (fresh bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p.extended, fresh = t.sequence.take(p.SequenceNumber)
	t.arrival.take(p, size)
	return fresh
}

// deliver takes packets in order and sees to it that the assembler knows their codec.
func (t *RemoteTrack) deliver(p *packet, gap bool) {
	if p.PayloadType != t.payload && len(p.Payload) > 0 {
		codec := t.codecOf(p.PayloadType)
		if codec == "" {
			t.recycle(p)
			return
		}
		t.payload = p.PayloadType
		t.assembler.reset(codec)
		t.mu.Lock()
		t.codec = codec
		t.mu.Unlock()
	}
	t.assembler.push(p, gap)
}

// codecOf finds the codec of a payload type among the negotiated ones; "" if there is none.
func (t *RemoteTrack) codecOf(payload uint8) string {
	if t.remote.PayloadType() == webrtc.PayloadType(payload) {
		return t.remote.Codec().MimeType
	}
	for _, codec := range t.receiver.GetParameters().Codecs {
		if codec.PayloadType == webrtc.PayloadType(payload) {
			return codec.MimeType
		}
	}
	return ""
}

// finish takes a frame from the assembler.
func (t *RemoteTrack) finish(f *Frame) {
	t.mu.Lock()
	f.Latency, f.LatencyKnown = t.clock.latency(f.Timestamp, f.Arrival, t.arrival.clockRate)
	first := t.frames.take(f, t.playback.PostedAt())
	t.mu.Unlock()
	if first {
		t.playback.sawFrame(t.Kind())
	}
	if t.saver != nil && f.Decodable {
		t.saver.write(f)
	}
	if t.playback.play.OnFrame != nil {
		t.playback.play.OnFrame(t, f)
	}
	if !f.Decodable && !t.playback.play.NoPLI {
		t.ask(f.Arrival)
	}
}

// ask requests a keyframe, unless that was done a moment ago.
func (t *RemoteTrack) ask(now time.Time) {
	if now.Sub(t.asked) < keyframePause {
		return
	}
	t.asked = now
	err := t.playback.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: t.SSRC()}})
	if err != nil {
		t.playback.log.Debug("keyframe request", "err", err)
		return
	}
	t.mu.Lock()
	t.frames.plis++
	t.mu.Unlock()
}

func (t *RemoteTrack) closeSaver() {
	if t.saver != nil {
		t.saver.close()
	}
}

// reports reads the RTCP of the stream until it ends, for the sender reports.
func (t *RemoteTrack) reports() {
	buffer := make([]byte, receiveBytes)
	for {
		n, _, err := t.receiver.Read(buffer)
		if err != nil {
			return
		}
		packets, err := rtcp.Unmarshal(buffer[:n])
		if err != nil {
			t.playback.log.Debug("bad rtcp", "err", err)
			continue
		}
		for _, packet := range packets {
			if report, ok := packet.(*rtcp.SenderReport); ok && report.SSRC == t.SSRC() {
				t.mu.Lock()
				t.clock.take(report)
				t.mu.Unlock()
			}
		}
	}
}

// sawFrame lets go who waits for the first frame of a kind.
func (p *Playback) sawFrame(kind webrtc.RTPCodecType) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.first[kind]:
	default:
		close(p.first[kind])
	}
}
