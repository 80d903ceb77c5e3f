package sfu

import (
	"bytes"
	"encoding/binary"
	"sync"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"rheomesh/internal/codec"
	"rheomesh/internal/rtcpx"
	"rheomesh/internal/rtpx"
)

func isPLI(p rtcp.Packet) bool { _, ok := p.(*rtcp.PictureLossIndication); return ok }

// forwarderOfKind is the viewer's forwarder; all but its counters belongs to its worker.
func (p *RawPeer) forwarderOfKind(kind codec.Kind) *forwarder {
	for _, f := range p.Session().subscriber.forwarders {
		if f.kind == kind {
			return f
		}
	}
	panic("no forwarder")
}

// nack asks the node for packets of a stream.
func (p *RawPeer) nack(ssrc uint32, seqs ...uint16) {
	p.SendRTCP(&rtcp.TransportLayerNack{SenderSSRC: 1, MediaSSRC: ssrc, Nacks: rtcp.NackPairsFromSequenceNumbers(seqs)})
}

// Without RTX the node repeats a packet to the last bit; anything else would be a second packet under one SRTP index.
func TestPlainRetransmissionRepeatsThePacket(t *testing.T) {
	for _, row := range []struct {
		name    string
		profile dtls.SRTPProtectionProfile
	}{{"AES-GCM", dtls.SRTP_AEAD_AES_128_GCM}, {"AES-CM", dtls.SRTP_AES128_CM_HMAC_SHA1_80}} {
		t.Run(row.name, func(t *testing.T) {
			node, router := rawNode(t)
			p := RawPublish(t, router, "cam", []string{RawVideo})
			p.SendVP8(1, 1000, keyframeOf(0))
			v := RawWatch(t, router, "cam", []string{RawVideoWithoutRTX}, RawProfile(row.profile))
			sent := map[uint16][]byte{}
			var last uint16
			var ssrc uint32
			for n := range 20 {
				sealed, packet := v.NextRTP()
				require.Equal(t, byte(n), packet.Payload[len(packet.Payload)-1], "packet %d", n)
				sent[packet.SequenceNumber], last, ssrc = sealed, packet.SequenceNumber, packet.SSRC
				p.SendVP8(uint16(2+n), uint32(4000+3000*n), append(rawDelta[:4:4], byte(n+1)))
			}
			v.NextRTP()
			for _, behind := range []uint16{0, 5, 19} {
				v.nack(ssrc, last-behind)
				again, packet := v.NextRTP()
				require.Equal(t, last-behind, packet.SequenceNumber)
				require.Equal(t, sent[last-behind], again)
			}
			require.EqualValues(t, 3, node.Stats().Retransmitted)
			require.EqualValues(t, 3, node.Stats().NACKsReceived)
		})
	}
}

func TestRetransmissionByRTX(t *testing.T) {
	s := newStage(t)
	s.p.SendVP8(1001, 53000, frame(1))
	s.next(t, frame(1), 1, 3000)
	s.p.SendVP8(1002, 56000, frame(2))
	s.next(t, frame(2), 2, 6000)
	var numbers []uint16
	for _, ahead := range []uint16{2, 1} {
		wanted := s.first.SequenceNumber + ahead
		s.v.nack(s.first.SSRC, wanted)
		_, packet := s.v.NextRTP()
		require.EqualValues(t, 97, packet.PayloadType)
		require.NotEqual(t, s.first.SSRC, packet.SSRC)
		require.Contains(t, s.v.Session().Description(), "a=ssrc-group:FID")
		require.Equal(t, s.first.Timestamp+3000*uint32(ahead), packet.Timestamp)
		require.True(t, packet.Marker)
		require.Equal(t, wanted, binary.BigEndian.Uint16(packet.Payload))
		require.Equal(t, frame(int(ahead)), packet.Payload[2:])
		numbers = append(numbers, packet.SequenceNumber)
	}
	require.Equal(t, numbers[0]+1, numbers[1])
}

// Requests that cannot or must not be answered are not, and do no harm.
func TestRequestsThatAreNotAnswered(t *testing.T) {
	s := newStage(t)
	seq, ssrc := s.first.SequenceNumber, s.first.SSRC
	for _, ask := range []func(){
		func() { s.v.nack(ssrc, seq+1) },                    // not sent yet
		func() { s.v.nack(ssrc, seq-1) },                    // before the first
		func() { s.v.nack(ssrc, seq+30000, seq-30000) },     // nonsense
		func() { s.v.nack(ssrc+1, seq) },                    // a stream of nobody
		func() { s.v.nack(s.p.Session().ingest.ssrc, seq) }, // a stream of somebody else
		func() { s.v.SendRTCP(&rtcp.PictureLossIndication{SenderSSRC: 1, MediaSSRC: ssrc + 1}) },
		func() { s.v.SendRTCP(&rtcp.Goodbye{Sources: []uint32{ssrc}}) },
		func() {
			s.v.SendRTCP(&rtcp.ReceiverEstimatedMaximumBitrate{SenderSSRC: 1, Bitrate: 1, SSRCs: []uint32{ssrc}})
		},
		func() {
			s.v.SendRTCP(&rtcp.TransportLayerCC{SenderSSRC: 1, MediaSSRC: ssrc, Header: rtcp.Header{Length: 5}, PacketStatusCount: 1, PacketChunks: []rtcp.PacketStatusChunk{&rtcp.RunLengthChunk{Type: 1, PacketStatusSymbol: 0, RunLength: 1}}})
		},
	} {
		ask()
	}
	s.p.SendVP8(1001, 53000, frame(1))
	s.next(t, frame(1), 1, 3000)
	s.v.nack(ssrc, seq) // answered, so all before it have been read
	_, packet := s.v.NextRTP()
	require.Equal(t, keyframeOf(0), packet.Payload[2:])
	require.EqualValues(t, 1, s.node.Stats().Retransmitted)
	require.Zero(t, s.node.Stats().KeyframeRequestsSent)
}

// Fifty viewers who all want a keyframe are one wish to the publisher.
func TestKeyframeRequestsAreMerged(t *testing.T) {
	const viewers, wishes = 50, 5
	node, router := rawNode(t)
	p := RawPublish(t, router, "cam", []string{RawVideo})
	p.SendVP8(1, 1000, keyframeOf(0))
	var list []*RawPeer
	var ssrcs []uint32
	for range viewers {
		v := RawWatch(t, router, "cam", []string{RawVideo})
		_, packet := v.NextRTP()
		list, ssrcs = append(list, v), append(ssrcs, packet.SSRC)
	}
	require.Zero(t, node.Stats().KeyframeRequestsSent, "who joins at a cached keyframe asks for none")
	start := time.Now()
	var group sync.WaitGroup
	for i, v := range list {
		group.Go(func() {
			for range wishes {
				v.SendRTCP(&rtcp.PictureLossIndication{SenderSSRC: 1, MediaSSRC: ssrcs[i]}, &rtcp.FullIntraRequest{SenderSSRC: 1, MediaSSRC: ssrcs[i], FIR: []rtcp.FIREntry{{SSRC: ssrcs[i]}}})
			}
		})
	}
	group.Wait()
	pli := p.NextRTCP(isPLI).(*rtcp.PictureLossIndication)
	require.EqualValues(t, 0x1000, pli.MediaSSRC)
	require.Eventually(t, func() bool { return node.Stats().KeyframeRequestsReceived == 2*viewers*wishes }, RawPatience, time.Millisecond)
	most := 1 + int(time.Since(start)/keyframeInterval)
	require.LessOrEqual(t, int(node.Stats().KeyframeRequestsSent), most)
	for _, v := range list {
		require.Eventually(t, func() bool { return v.forwarderOfKind(codec.Video).counters.plis.Load() > 0 }, RawPatience, time.Millisecond)
	}
}

func TestKeyframeRequestsOfALayer(t *testing.T) {
	var asked []int64
	l := newLayer(&Track{}, "", requester(func(*Layer) { asked = append(asked, 0) }))
	now := time.Now().UnixNano()
	require.True(t, l.requestKeyframe(now))
	require.False(t, l.requestKeyframe(now+int64(keyframeInterval)-1))
	require.True(t, l.requestKeyframe(now+int64(keyframeInterval)))
	require.Len(t, asked, 2)
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() { l.requestKeyframe(now + 10*int64(keyframeInterval)) })
	}
	group.Wait()
	require.Len(t, asked, 3)
}

type requester func(*Layer)

func (r requester) requestKeyframe(l *Layer) bool {
	r(l)
	return true
}

// A request that reaches nobody does not make the next one wait.
func TestKeyframeRequestWithoutAnybodyToAsk(t *testing.T) {
	l := newLayer(&Track{}, "", nobody{})
	now := time.Now().UnixNano()
	require.False(t, l.requestKeyframe(now))
	l.source = requester(func(*Layer) {})
	require.True(t, l.requestKeyframe(now+1))
}

type nobody struct{}

func (nobody) requestKeyframe(*Layer) bool { return false }

// A viewer may have three keyframes in ten seconds, however often it asks.
func TestKeyframeRequestsOfAViewer(t *testing.T) {
	asked := 0
	f := &forwarder{layer: newLayer(&Track{}, "", requester(func(*Layer) { asked++ }))}
	now := time.Now().UnixNano()
	for i := range int64(100) {
		f.keyframeWanted(now + i*int64(keyframeInterval)/5)
	}
	require.LessOrEqual(t, asked, viewerKeyframes)
	require.Positive(t, asked)
	before := asked
	f.keyframeWanted(now + int64(viewerKeyframeWindow)*2)
	require.Equal(t, before+1, asked)
	require.EqualValues(t, 101, f.counters.plis.Load())
}

func TestWhereAViewerStarts(t *testing.T) {
	now := time.Now().UnixNano()
	ago := func(d time.Duration) int64 { return now - int64(d) }
	for _, row := range []struct {
		name   string
		age    time.Duration // of the keyframe; negative for none
		waited time.Duration
		fresh  uint64
		ok     bool
	}{
		{"none", -1, 0, 0, false},
		{"new", 0, 0, 0, true},
		{"as old as may be", joinAge, 0, 0, true},
		{"older: ask first", joinAge + time.Millisecond, 0, 0, false},
		{"older, and the publisher does not answer", joinAge + time.Millisecond, joinWait, 0, true},
		{"seen already", 0, 0, 2, false},
		{"seen already, however long it takes", 0, time.Minute, 2, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := newLayer(&Track{}, "", requester(func(*Layer) {}))
			l.log.Append(Packet{Seq: 1, Arrival: ago(5 * time.Second)})
			if row.age >= 0 {
				l.log.Append(Packet{Seq: 2, Header: rtpx.Header{Timestamp: 9}, Arrival: ago(row.age), Keyframe: true})
			}
			f := &forwarder{layer: l, fresh: row.fresh, waitedFrom: ago(row.waited)}
			position, ok := f.keyframe(l, now)
			require.Equal(t, row.ok, ok)
			if ok {
				require.EqualValues(t, 1, position)
			}
		})
	}
}

// Who joins behind live gets everything since the keyframe at once, with timestamps that do not make its jitter buffer late for ever.
func TestJoinCatchesUp(t *testing.T) {
	_, router := rawNode(t)
	p := RawPublish(t, router, "cam", []string{RawVideo})
	const cached, step, start = 4, 90000 / 20, 1<<32 - 2*90000/20 // across the wrap
	ts := func(n int) uint32 { return uint32(start + n*step) }
	for n := range cached {
		payload := frame(n)
		if n == 0 {
			payload = keyframeOf(0)
		}
		p.SendVP8(uint16(65534+n), ts(n), payload)
		time.Sleep(50 * time.Millisecond) // the pace of the medium
	}
	v := RawWatch(t, router, "cam", []string{RawVideo})
	_, first := v.NextRTP()
	require.Equal(t, keyframeOf(0), first.Payload)
	previous := first
	for n := 1; n < cached; n++ {
		_, packet := v.NextRTP()
		require.Equal(t, frame(n), packet.Payload)
		require.Equal(t, previous.SequenceNumber+1, packet.SequenceNumber)
		require.InDelta(t, step/catchUpDivisor, int(packet.Timestamp-previous.Timestamp), 1, "compressed")
		previous = packet
	}
	for n := cached; n < cached+5; n++ {
		p.SendVP8(uint16(65534+n), ts(n), frame(n))
		_, packet := v.NextRTP()
		require.Equal(t, previous.SequenceNumber+1, packet.SequenceNumber)
		require.EqualValues(t, step, packet.Timestamp-previous.Timestamp, "live")
		previous = packet
	}
}

// script runs on a viewer's worker: it appends packets that are as old as it says to the video log, then lets the cursor move.
func (s *stage) script(kind codec.Kind, body func(f *forwarder, put func(age time.Duration, key bool, payload []byte), advance func())) {
	f, in := s.v.forwarderOfKind(kind), s.p.Session().ingest
	f.worker.ask(func() {
		now, l := time.Now().UnixNano(), f.layer.log
		last := l.At(l.Head() - 1)
		pt, seq, ts := last.Header.PayloadType, last.Seq, last.Header.Timestamp
		put := func(age time.Duration, key bool, payload []byte) {
			seq, ts = seq+1, ts+3000
			data := rawPacket(pt, uint16(seq), ts, 1, payload)
			h, _ := rtpx.Parse(data)
			in.mu.Lock()
			defer in.mu.Unlock()
			l.Append(Packet{Data: data, Header: h, Seq: seq, Arrival: now - int64(age), Keyframe: key})
		}
		body(f, put, func() { f.advance(l, now); f.worker.flush() })
	})
}

func TestLateViewerSkips(t *testing.T) {
	t.Run("video to the newest keyframe", func(t *testing.T) {
		s := newStage(t)
		s.script(codec.Video, func(_ *forwarder, put func(time.Duration, bool, []byte), advance func()) {
			put(maxLag+time.Second, false, frame(1))
			put(maxLag+time.Second/2, true, keyframeOf(2))
			put(300*time.Millisecond, false, frame(3))
			put(200*time.Millisecond, true, keyframeOf(4))
			put(100*time.Millisecond, false, frame(5))
			advance()
			advance()
		})
		s.next(t, keyframeOf(4), 1, -1)
		s.next(t, frame(5), 2, -1)
		require.EqualValues(t, 1, s.node.Stats().Skipped[skipLate])
		require.EqualValues(t, 1, s.v.forwarderOfKind(codec.Video).counters.skips.Load())
	})
	t.Run("video waits for a keyframe, and asks for it", func(t *testing.T) {
		s := newStage(t)
		s.script(codec.Video, func(_ *forwarder, put func(time.Duration, bool, []byte), advance func()) {
			put(maxLag+time.Second, false, frame(1))
			put(10*time.Millisecond, false, frame(2))
			advance()
		})
		s.p.NextRTCP(isPLI)
		s.p.SendVP8(1003, 70000, frame(3))
		s.p.SendVP8(1004, 73000, keyframeOf(4))
		s.next(t, keyframeOf(4), 1, -1)
	})
	t.Run("audio to the newest packet", func(t *testing.T) {
		s := newStage(t)
		s.sendAudio(1, []byte{1})
		s.next(t, []byte{1}, 0, -1)
		s.script(codec.Audio, func(_ *forwarder, put func(time.Duration, bool, []byte), advance func()) {
			for n := range byte(50) {
				put(maxLag+time.Second, true, []byte{100 + n})
			}
			advance()
		})
		s.sendAudio(52, []byte{52})
		s.next(t, []byte{52}, 0, -1)
		require.EqualValues(t, 1, s.node.Stats().Skipped[skipLate])
	})
	t.Run("lapped", func(t *testing.T) {
		s := newStage(t)
		s.script(codec.Video, func(f *forwarder, put func(time.Duration, bool, []byte), advance func()) {
			for range logMaxPackets {
				put(0, false, frame(1))
			}
			put(0, true, keyframeOf(2))
			advance()
			advance()
		})
		s.next(t, keyframeOf(2), 1, -1)
		require.EqualValues(t, 1, s.node.Stats().Skipped[skipLapped])
	})
	t.Run("a fast viewer never", func(t *testing.T) {
		s := newStage(t)
		for n := 1; n < 600; n++ { // more than burstPackets at a time, yet in time
			s.p.SendVP8(uint16(1000+n), uint32(50000+3000*n), frame(n))
			if n%200 == 0 {
				for m := n - 199; m <= n; m++ {
					s.next(t, frame(m), m, 3000*m)
				}
			}
		}
		for reason, count := range s.node.Stats().Skipped {
			require.Zero(t, count, reason)
		}
	})
}

func TestPause(t *testing.T) {
	s := newStage(t)
	viewer := s.v.Session().subscriber
	settle := func() { viewer.worker.ask(func() {}) }
	viewer.SetPaused(true)
	settle()
	require.Equal(t, "paused", viewer.Info().State)
	s.p.SendVP8(1001, 53000, keyframeOf(1))
	s.p.SendVP8(1002, 56000, frame(2))
	require.Eventually(t, func() bool { return s.node.Stats().VideoPacketsIn == 3 }, RawPatience, time.Millisecond)
	settle()
	viewer.SetPaused(false)
	s.next(t, keyframeOf(1), 1, -1) // newer than all that the viewer has seen
	s.next(t, frame(2), 2, -1)
	viewer.SetPaused(true)
	viewer.SetPaused(true)
	settle()
	viewer.SetPaused(false)
	settle()
	s.p.NextRTCP(isPLI) // nothing newer to start from
	s.p.SendVP8(1003, 59000, frame(3))
	s.p.SendVP8(1004, 62000, keyframeOf(4))
	s.next(t, keyframeOf(4), 3, -1)
	require.Equal(t, "playing", viewer.Info().State)
}

// Lips stay in sync when both streams' reports map the publisher's clock to what the viewer gets, as the publisher's own reports do.
func TestSenderReportsKeepThePublishersClock(t *testing.T) {
	s := newStage(t)
	s.sendAudio(1, []byte{1})
	_, audio := s.v.NextRTP()
	wall := time.Date(2031, 5, 6, 7, 8, 9, 123456789, time.UTC) // the publisher's clock is off by years
	s.p.SendRTCP(&rtcp.SenderReport{SSRC: 0x1000, NTPTime: rtcpx.NTP(wall), RTPTime: 50000 + 90000})
	s.p.SendRTCP(&rtcp.SenderReport{SSRC: 0x2000, NTPTime: rtcpx.NTP(wall), RTPTime: 960 + 24000})
	for _, row := range []struct {
		kind  string
		first *rtp.Packet
		clock int64
		at    time.Time // when the publisher made the first packet, by its own reports
	}{
		{"video", s.first, 90000, wall.Add(-time.Second)},
		{"audio", audio, 48000, wall.Add(-time.Second / 2)},
	} {
		t.Run(row.kind, func(t *testing.T) {
			report := s.v.NextRTCP(func(p rtcp.Packet) bool {
				r, ok := p.(*rtcp.SenderReport)
				return ok && r.SSRC == row.first.SSRC && rtcpx.NTPTime(r.NTPTime).Year() == 2031
			}).(*rtcp.SenderReport)
			behind := time.Duration(int64(int32(row.first.Timestamp-report.RTPTime)) * int64(time.Second) / row.clock)
			require.InDelta(t, 0, rtcpx.NTPTime(report.NTPTime).Add(behind).Sub(row.at), float64(time.Millisecond))
			require.EqualValues(t, 1, report.PacketCount)
			require.EqualValues(t, len(row.first.Payload), report.OctetCount)
		})
	}
}

// Before the publisher has reported, the node's own clock stands in.
func TestSenderReportsWithoutThePublishers(t *testing.T) {
	s := newStage(t)
	report := s.v.NextRTCP(func(p rtcp.Packet) bool { _, ok := p.(*rtcp.SenderReport); return ok }).(*rtcp.SenderReport)
	require.WithinDuration(t, time.Now(), rtcpx.NTPTime(report.NTPTime), 5*time.Second)
	require.Equal(t, s.first.SSRC, report.SSRC)
}

func TestRoundTripOfAViewer(t *testing.T) {
	s := newStage(t)
	report := s.v.NextRTCP(func(p rtcp.Packet) bool { _, ok := p.(*rtcp.SenderReport); return ok }).(*rtcp.SenderReport)
	s.v.SendRTCP(&rtcp.ReceiverReport{SSRC: 1, Reports: []rtcp.ReceptionReport{
		{SSRC: s.first.SSRC, LastSenderReport: uint32(report.NTPTime >> 16), Delay: 0, TotalLost: 7},
		{SSRC: 0xdead, TotalLost: 99}, // of somebody else
	}})
	viewer := s.v.Session().subscriber
	require.Eventually(t, func() bool { return viewer.Info().PacketsLost == 7 }, RawPatience, time.Millisecond)
	require.Less(t, viewer.Info().RoundTrip, 5*time.Second)
}

func TestREDReachesAViewerWithoutIt(t *testing.T) {
	_, router := rawNode(t)
	const redSection = "m=audio 9 UDP/TLS/RTP/SAVPF 63 111\r\na=sendrecv\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\n"
	p := RawPublish(t, router, "cam", []string{redSection})
	plain := RawWatch(t, router, "cam", []string{RawAudio})
	red := RawWatch(t, router, "cam", []string{redSection})
	block := []byte{0x80 | 111, 0, 0, 2, 111, 9, 9, 1, 2, 3}
	for !plain.forwarderReady() || !red.forwarderReady() {
		time.Sleep(time.Millisecond)
	}
	p.Send(&rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 63, SSRC: 5, SequenceNumber: 1}, Payload: block})
	_, packet := plain.NextRTP()
	require.EqualValues(t, 111, packet.PayloadType)
	require.Equal(t, []byte{1, 2, 3}, packet.Payload)
	_, packet = red.NextRTP()
	require.EqualValues(t, 63, packet.PayloadType)
	require.Equal(t, block, packet.Payload)
}

// forwarderReady reports whether the viewer's cursor is at the head of a log: audio that comes before is not for it.
func (p *RawPeer) forwarderReady() (ready bool) {
	f := p.Session().subscriber.forwarders[0]
	f.worker.ask(func() { ready = f.layer != nil && !f.waiting })
	return ready
}

// Two publishers with the same stream ids, payload types and numbers do not mix.
func TestEqualStreamsDoNotMix(t *testing.T) {
	_, router := rawNode(t)
	a, b := RawPublish(t, router, "a", []string{RawVideo}), RawPublish(t, router, "b", []string{RawVideo})
	a.SendVP8(1, 1000, keyframeOf('a'))
	b.SendVP8(1, 1000, keyframeOf('b'))
	va, vb := RawWatch(t, router, "a", []string{RawVideo}), RawWatch(t, router, "b", []string{RawVideo})
	for n := range 50 {
		a.SendVP8(uint16(2+n), uint32(4000+n), frame('a'))
		b.SendVP8(uint16(2+n), uint32(4000+n), frame('b'))
	}
	for n := range 51 {
		_, pa := va.NextRTP()
		_, pb := vb.NextRTP()
		require.True(t, bytes.Contains(pa.Payload, []byte{'a'}) && bytes.Contains(pb.Payload, []byte{'b'}), "packet %d", n)
		require.NotEqual(t, pa.SSRC, pb.SSRC)
	}
}
