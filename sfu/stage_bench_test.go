package sfu

import (
	"fmt"
	"testing"
	"time"

	"github.com/pion/rtp"

	"rheomesh/internal/codec"
	"rheomesh/internal/rtpx"
)

// Each stage of the packet's journey by itself, in the unit that matters there.

// framePackets and payloadBytes make a frame of 2.5 Mbit/s at 30 frames/s.
const (
	framePackets = 10
	payloadBytes = 1050
)

func BenchmarkLogAppend(b *testing.B) {
	l := NewLog()
	data := rawPacket(96, 1, 1, 1, make([]byte, payloadBytes))
	h, _ := rtpx.Parse(data)
	now := int64(0)
	for b.Loop() {
		l.Append(Packet{Data: data, Header: h, Seq: uint64(now), Arrival: now * int64(time.Millisecond)})
		now++
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N), "ns/packet")
}

// BenchmarkIngest opens, parses, inspects and appends packets that a publisher has sealed.
func BenchmarkIngest(b *testing.B) {
	_, router := rawNode(b)
	p := RawPublish(b, router, "cam", []string{RawVideo})
	in := p.Session().ingest
	const batch = 512 // sealed at a time, out of the timer's sight
	sealed := make([][]byte, batch)
	seq := uint16(0)
	for b.Loop() {
		b.StopTimer()
		for i := range sealed {
			packet := rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 96, SSRC: 0x1000, SequenceNumber: seq, Timestamp: uint32(seq) * 300}, Payload: append(frame(i), make([]byte, payloadBytes)...)}
			plain, _ := packet.Marshal()
			sealed[i] = p.Seal(plain)
			seq++
		}
		now := time.Now()
		b.StartTimer()
		for _, s := range sealed {
			in.handleRTP(s, now)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/packet")
}

// BenchmarkFanOut forwards a frame to viewers on loopback sockets: rewrite, seal, batch and send.
func BenchmarkFanOut(b *testing.B) {
	for _, viewers := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("viewers=%d", viewers), func(b *testing.B) { benchmarkFanOut(b, viewers) })
	}
}

func benchmarkFanOut(b *testing.B, viewers int) {
	node, router := rawNode(b)
	p := RawPublish(b, router, "cam", []string{RawVideo})
	p.SendVP8(1000, 50000, keyframeOf(0))
	for range viewers {
		RawWatch(b, router, "cam", []string{RawVideo}, RawMuted)
	}
	in := p.Session().ingest
	l := in.tracks[0].layers[0].log
	for l.Head() == 0 {
		time.Sleep(time.Millisecond)
	}
	last := l.At(l.Head() - 1)
	seq, ts := last.Seq, last.Header.Timestamp
	data := rawPacket(96, 1, 1, 1, make([]byte, payloadBytes))
	h, _ := rtpx.Parse(data)
	for b.Loop() {
		now := time.Now().UnixNano()
		ts += 3000
		in.mu.Lock()
		for i := range framePackets {
			seq++
			h.Seq, h.Timestamp, h.Marker = uint16(seq), ts, i == framePackets-1
			l.Append(Packet{Data: data, Header: h, Seq: seq, Arrival: now})
		}
		in.mu.Unlock()
		for _, w := range node.workers {
			w.running.Lock()
			for _, f := range w.forwardersOf(l) {
				f.advance(l, now)
			}
			w.flush()
			w.running.Unlock()
		}
	}
	sent := float64(b.N * framePackets * viewers)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/sent, "ns/packet·viewer")
}

// forwardersOf lists the worker's forwarders on a log.
func (w *worker) forwardersOf(l *Log) []*forwarder {
	if r := w.readers[l]; r != nil {
		return r.forwarders
	}
	return nil
}

// BenchmarkResend answers NACKs from the log, by retransmission of packets that a viewer has had.
func BenchmarkResend(b *testing.B) {
	_, router := rawNode(b)
	p := RawPublish(b, router, "cam", []string{RawVideo})
	p.SendVP8(1000, 50000, keyframeOf(0))
	v := RawWatch(b, router, "cam", []string{RawVideo})
	v.NextRTP()
	v.mute = true
	f := v.forwarderOfKind(codec.Video)
	f.worker.running.Lock()
	defer f.worker.running.Unlock()
	now := time.Now().UnixNano()
	for b.Loop() {
		now += int64(time.Second)
		f.gate.credit = resendBurstBytes // so that every request passes
		clear(f.gate.slots)
		f.resend(uint16(f.nextOut-1), now)
		f.worker.flush()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N), "ns/resend")
}
