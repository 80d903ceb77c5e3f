package sfu

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"
)

// frame is a VP8 delta frame that tells itself apart by n.
func frame(n int) []byte { return []byte{0x10, 0x11, byte(n >> 8), byte(n), 1} }

// keyframeOf is a VP8 keyframe that tells itself apart by n.
func keyframeOf(n int) []byte {
	return []byte{0x10, 0x10, 0x00, 0x00, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01, byte(n >> 8), byte(n)}
}

// stage is a publisher with a viewer who has got the first keyframe, of sequence number 1000 and timestamp 50000.
type stage struct {
	node   *Node
	router *Router
	p, v   *RawPeer
	first  *rtp.Packet // as the viewer got it
}

func newStage(t *testing.T, viewer ...string) *stage {
	t.Helper()
	if viewer == nil {
		viewer = []string{RawVideo, RawAudio}
	}
	s := &stage{}
	s.node, s.router = rawNode(t)
	s.p = RawPublish(t, s.router, "cam", []string{RawVideo, RawAudio})
	s.p.SendVP8(1000, 50000, keyframeOf(0))
	s.v = RawWatch(t, s.router, "cam", viewer)
	_, s.first = s.v.NextRTP()
	require.Equal(t, keyframeOf(0), s.first.Payload)
	return s
}

// next asserts what the viewer gets next: payload, and how far the numbers of video are from the first packet's.
func (s *stage) next(t *testing.T, payload []byte, seq int, ts int) {
	t.Helper()
	_, packet := s.v.NextRTP()
	require.Equal(t, payload, packet.Payload)
	if packet.SSRC != s.first.SSRC {
		return
	}
	require.Equal(t, seq, int(int16(packet.SequenceNumber-s.first.SequenceNumber)), "sequence number")
	if ts >= 0 {
		require.Equal(t, ts, int(int32(packet.Timestamp-s.first.Timestamp)), "timestamp")
	}
}

func TestBrokenDatagramsAreCountedAndDropped(t *testing.T) {
	s := newStage(t)
	plain := func(change func([]byte) []byte) []byte { return change(rawPacket(96, 1500, 1, 0x1000, frame(1))) }
	replayed := s.p.Seal(rawPacket(96, 1001, 53000, 0x1000, frame(1)))
	for i, row := range []struct {
		name    string
		data    []byte
		counter func(NodeStats) uint64
	}{
		{"empty", nil, func(n NodeStats) uint64 { return n.UnknownDatagrams }},
		{"largest datagram", append([]byte{0x80, 96}, make([]byte, 65505)...), func(n NodeStats) uint64 { return n.MalformedRTP }},
		{"one byte of RTP", []byte{0x80}, nil},
		{"11 bytes of RTP", rawPacket(96, 1, 1, 0x1000, nil)[:11], func(n NodeStats) uint64 { return n.MalformedRTP }},
		{"1501 bytes", rawPacket(96, 1, 1, 0x1000, make([]byte, 1489)), func(n NodeStats) uint64 { return n.MalformedRTP }},
		{"header only", rawPacket(96, 1, 1, 0x1000, nil), func(n NodeStats) uint64 { return n.UnopenedRTP }},
		{"extension longer than the packet", plain(func(b []byte) []byte { b[0] |= 0x10; return append(b[:12], 0xbe, 0xde, 0xff, 0xff) }), func(n NodeStats) uint64 { return n.UnopenedRTP }},
		{"more contributing sources than bytes", plain(func(b []byte) []byte { b[0] |= 0x0f; return b }), func(n NodeStats) uint64 { return n.UnopenedRTP }},
		{"not sealed", rawPacket(96, 5000, 1, 0x1000, make([]byte, 100)), func(n NodeStats) uint64 { return n.UnopenedRTP }},
		{"not sealed, unknown stream", rawPacket(96, 5000, 1, 0x7777, make([]byte, 100)), func(n NodeStats) uint64 { return n.UnopenedRTP }},
		{"sealed, padding longer than the payload", s.p.Seal(plain(func(b []byte) []byte { b[0] |= 0x20; b[len(b)-1] = 200; return b })), func(n NodeStats) uint64 { return n.MalformedRTP }},
		{"sealed, padding of zero", s.p.Seal(plain(func(b []byte) []byte { b[0] |= 0x20; b[len(b)-1] = 0; b[3]++; return b })), func(n NodeStats) uint64 { return n.MalformedRTP }},
		{"sealed, payload type of nobody", s.p.Seal(rawPacket(35, 1, 1, 0x2222, frame(1))), func(n NodeStats) uint64 { return n.UnresolvedRTP }},
		{"sealed, broken RTCP", s.sealRTCP(t, []byte{0x80, 201, 0, 100, 1, 2, 3, 4}), func(n NodeStats) uint64 { return n.MalformedRTCP }},
		{"STUN for nobody", append([]byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}, make([]byte, 12)...), func(n NodeStats) uint64 { return n.UnknownDatagrams }},
		{"neither protocol", []byte{0xff, 0xff, 0xff}, nil},
		{"DTLS garbage", append([]byte{22, 0xfe, 0xfd}, make([]byte, 500)...), nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			before := s.node.Stats()
			s.p.SendDatagram(row.data)
			s.p.SendVP8(uint16(1001+i), uint32(53000+3000*i), frame(i+1))
			s.next(t, frame(i+1), i+1, 3000*(i+1))
			if row.counter != nil {
				require.Equal(t, row.counter(before)+1, row.counter(s.node.Stats()))
			}
		})
	}
	before := s.node.Stats().UnopenedRTP
	s.p.SendDatagram(replayed)
	s.p.SendVP8(1100, 900000, frame(99))
	_, packet := s.v.NextRTP()
	require.Equal(t, frame(99), packet.Payload)
	require.Equal(t, before+1, s.node.Stats().UnopenedRTP, "replay")
	s.v.SendDatagram(rawPacket(96, 1, 1, 1, frame(1)))
	require.Eventually(t, func() bool { return s.node.Stats().UnexpectedRTP == 1 }, RawPatience, time.Millisecond, "media of a viewer")
}

func (s *stage) sealRTCP(t *testing.T, plain []byte) []byte {
	t.Helper()
	sealed, err := s.p.send.EncryptRTCP(nil, plain, nil)
	require.NoError(t, err)
	return sealed
}

// heap is what lives after a collection.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A valid publisher that invents streams makes the node hold nothing for those beyond the cap, whether their payload type is known or not.
func TestStreamFlood(t *testing.T) {
	const flood = 20000
	for _, row := range []struct {
		name string
		pt   uint8
	}{{"known payload type", 96}, {"unknown payload type", 35}, {"retransmission", 97}} {
		t.Run(row.name, func(t *testing.T) {
			s := newStage(t)
			s.sendAudio(1, []byte{1})
			s.next(t, []byte{1}, 0, -1)
			before := heap()
			for i := range uint32(flood) {
				if i%64 == 0 {
					s.p.RenewSealer()
				}
				s.p.SendDatagram(s.p.Seal(rawPacket(row.pt, 1, 1, 0x10000+i, []byte{1000 >> 8, 1000 & 0xff, 1})))
				if i%256 == 255 { // in step, so that the kernel drops nothing
					seen := func() uint64 {
						n := s.node.Stats()
						return n.Rejected[rejectSSRCs] + n.UnresolvedRTP + n.UnopenedRTP + n.VideoPacketsIn
					}
					require.Eventually(t, func() bool { return row.pt == 97 && s.node.Stats().Rejected[rejectSSRCs] > 0 || seen() >= uint64(i) }, RawPatience, time.Millisecond)
				}
			}
			s.p.RenewSealer()
			require.Less(t, heap()-before, int64(3<<20), "a slab for each stream within the cap is 2 MiB")
			require.Eventually(t, func() bool {
				n := s.node.Stats()
				return n.Rejected[rejectSSRCs]+n.UnopenedRTP >= flood-256
			}, RawPatience, time.Millisecond, "256 streams is what package transport opens")
			in := s.p.Session().ingest
			in.mu.Lock()
			require.LessOrEqual(t, len(in.streams), s.node.limits.MaxSSRCsPerSession)
			in.mu.Unlock()
			// The other track goes on.
			s.sendAudio(2, []byte{1, 2, 3})
			for {
				if _, packet := s.v.NextRTP(); bytes.Equal(packet.Payload, []byte{1, 2, 3}) {
					break
				}
			}
		})
	}
}

func (s *stage) sendAudio(seq uint16, payload []byte) {
	s.p.Send(&rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 111, SSRC: 0x2000, SequenceNumber: seq, Timestamp: 960 * uint32(seq)}, Payload: payload})
}

// What a publisher's numbers do, and what the viewer's do then.
func TestJumpsOfThePublisher(t *testing.T) {
	t.Run("lost packets stay lost", func(t *testing.T) {
		s := newStage(t)
		s.p.SendVP8(1010, 80000, frame(1))
		s.next(t, frame(1), 10, 30000)
	})
	t.Run("reordered packets keep their order numbers", func(t *testing.T) {
		s := newStage(t)
		s.p.SendVP8(1002, 56000, frame(2))
		s.p.SendVP8(1001, 53000, frame(1))
		s.next(t, frame(2), 2, 6000)
		s.next(t, frame(1), 1, 3000)
	})
	t.Run("duplicates are dropped", func(t *testing.T) {
		s := newStage(t)
		s.p.SendVP8(1001, 53000, frame(1))
		s.p.RenewSealer()
		s.p.SendDatagram(s.p.Seal(rawPacket(96, 1001, 53000, 0x1000, frame(9))))
		s.p.SendVP8(1002, 56000, frame(2))
		s.next(t, frame(1), 1, 3000)
		s.next(t, frame(2), 2, 6000)
	})
	t.Run("timestamps backwards are not repaired", func(t *testing.T) {
		s := newStage(t)
		s.p.SendVP8(1001, 59000, frame(1))
		s.p.SendVP8(1002, 53000, frame(2))
		s.p.SendVP8(1003, 56000, frame(3))
		s.next(t, frame(1), 1, 9000)
		s.next(t, frame(2), 2, 3000)
		s.next(t, frame(3), 3, 6000)
	})
	t.Run("numbers far ahead close up", func(t *testing.T) {
		s := newStage(t)
		s.p.SendVP8(1000+20000, 53000, keyframeOf(1))
		s.p.SendVP8(1001+20000, 56000, frame(2))
		s.next(t, keyframeOf(1), 1, -1)
		s.next(t, frame(2), 2, -1)
	})
	t.Run("numbers far behind close up from the second packet on", func(t *testing.T) {
		s := newStage(t)
		s.p.SendVP8(60000, 53000, keyframeOf(1)) // behind 1000, by the shorter way
		s.p.SendVP8(60001, 56000, keyframeOf(2))
		s.p.SendVP8(60002, 59000, frame(3))
		s.next(t, keyframeOf(2), 1, -1)
		s.next(t, frame(3), 2, -1)
	})
	t.Run("numbers wrap", func(t *testing.T) {
		s := newStage(t)
		seq := 1000
		for n := 1; n < 400; n++ {
			seq += 200
			s.p.SendVP8(uint16(seq), uint32(50000+n*3000), frame(n))
			s.next(t, frame(n), int(int16(200*n)), n*3000)
		}
	})
	t.Run("another stream id in the same session", func(t *testing.T) {
		s := newStage(t)
		for i := range 3 {
			payload := keyframeOf(i)
			s.p.Send(&rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 96, Marker: true, SSRC: 0x5000, SequenceNumber: uint16(7 + i), Timestamp: uint32(99 + 3000*i)}, Payload: payload})
			s.next(t, payload, i+1, -1)
		}
	})
}

func TestNACKsToThePublisher(t *testing.T) {
	s := newStage(t)
	s.p.SendVP8(1004, 62000, frame(4))
	s.next(t, frame(4), 4, 12000)
	asked := map[uint16]bool{}
	for len(asked) < 3 {
		nack := s.p.NextRTCP(func(p rtcp.Packet) bool { _, ok := p.(*rtcp.TransportLayerNack); return ok }).(*rtcp.TransportLayerNack)
		require.EqualValues(t, 0x1000, nack.MediaSSRC)
		for _, pair := range nack.Nacks {
			for _, seq := range pair.PacketList() {
				require.True(t, seq >= 1001 && seq <= 1003, "%d is not missing", seq)
				asked[seq] = true
			}
		}
	}
	// One comes again as it was, one by RTX, and one never.
	s.p.SendVP8(1002, 56000, frame(2))
	s.next(t, frame(2), 2, 6000)
	s.p.Send(&rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 97, SSRC: 0x1001, SequenceNumber: 1, Timestamp: 53000, Marker: true, Padding: true, PaddingSize: 5}, Payload: append([]byte{1001 >> 8, 1001 & 0xff}, frame(1)...)})
	s.next(t, frame(1), 1, 3000)
	require.EqualValues(t, 4, s.node.Stats().VideoPacketsIn)
	nack := s.p.NextRTCP(func(p rtcp.Packet) bool { _, ok := p.(*rtcp.TransportLayerNack); return ok }).(*rtcp.TransportLayerNack)
	for !slices.Equal(nack.Nacks[0].PacketList(), []uint16{1003}) {
		nack = s.p.NextRTCP(func(p rtcp.Packet) bool { _, ok := p.(*rtcp.TransportLayerNack); return ok }).(*rtcp.TransportLayerNack)
	}
}

func TestOddRetransmissionsOfThePublisher(t *testing.T) {
	s := newStage(t)
	rtx := func(seq uint16, payload []byte) {
		s.p.Send(&rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 97, SSRC: 0x1001, SequenceNumber: seq, Timestamp: 53000}, Payload: payload})
	}
	rtx(1, nil)                                             // probes the path
	rtx(2, []byte{3})                                       // too short for a number
	rtx(3, append([]byte{1000 >> 8, 1000 & 0xff}, 1, 2, 3)) // is there already
	rtx(4, []byte{1001 >> 8, 1001 & 0xff})                  // without payload
	s.p.SendVP8(1002, 56000, frame(2))
	_, packet := s.v.NextRTP()
	if len(packet.Payload) == 0 {
		_, packet = s.v.NextRTP()
	}
	require.Equal(t, frame(2), packet.Payload)
}

// The first packet of a keyframe may come after its second one, by reordering or by a retransmission. Who joins there needs both.
func TestJoinAtAReorderedKeyframe(t *testing.T) {
	node, router := rawNode(t)
	p := RawPublish(t, router, "cam", []string{RawVideo})
	send := func(seq uint16, marker bool, payload []byte) {
		p.Send(&rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 96, Marker: marker, SSRC: 0x1000, SequenceNumber: seq, Timestamp: 50000}, Payload: payload})
	}
	p.SendVP8(99, 47000, frame(0))
	second, third := []byte{0x00, 1, 2, 3}, []byte{0x00, 4, 5, 6}
	send(101, false, second)
	send(102, true, third)
	send(100, false, keyframeOf(1))
	require.Eventually(t, func() bool { return node.Stats().VideoPacketsIn == 4 }, RawPatience, time.Millisecond)
	v := RawWatch(t, router, "cam", []string{RawVideo})
	got := map[uint16][]byte{}
	for range 3 {
		_, packet := v.NextRTP()
		got[packet.SequenceNumber] = packet.Payload
	}
	seqs := []uint16{}
	for seq := range got {
		seqs = append(seqs, seq)
	}
	slices.Sort(seqs)
	require.Equal(t, [][]byte{keyframeOf(1), second, third}, [][]byte{got[seqs[0]], got[seqs[1]], got[seqs[2]]})
}

func TestReceiverReportsToThePublisher(t *testing.T) {
	s := newStage(t)
	for i := 1; i < 10; i++ {
		s.p.SendVP8(uint16(1000+i), uint32(50000+3000*i), frame(i))
	}
	const ntp = 0xe000_0000_1234_5678
	s.p.SendRTCP(&rtcp.SenderReport{SSRC: 0x1000, NTPTime: ntp, RTPTime: 50000})
	report := s.p.NextRTCP(func(p rtcp.Packet) bool {
		r, ok := p.(*rtcp.ReceiverReport)
		return ok && len(r.Reports) > 0 && r.Reports[0].LastSenderReport != 0
	}).(*rtcp.ReceiverReport)
	block := report.Reports[0]
	require.EqualValues(t, 0x1000, block.SSRC)
	require.EqualValues(t, 1009, block.LastSequenceNumber&0xffff)
	require.Zero(t, block.TotalLost)
	require.EqualValues(t, ntp>>16&0xffffffff, block.LastSenderReport)
	require.Less(t, block.Delay, uint32(5*65536))
}

func TestTransportWideFeedback(t *testing.T) {
	_, router := rawNode(t)
	section := RawVideo + "a=extmap:5 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\na=rtcp-fb:96 transport-cc\r\n"
	p := RawPublish(t, router, "cam", []string{section})
	for i := range uint16(20) {
		packet := &rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 96, SSRC: 0x1000, SequenceNumber: i, Timestamp: 1}, Payload: frame(int(i))}
		require.NoError(t, packet.SetExtension(5, binary.BigEndian.AppendUint16(nil, 65530+i)))
		p.Send(packet)
	}
	covered := 0
	for covered < 20 {
		feedback := p.NextRTCP(func(p rtcp.Packet) bool { _, ok := p.(*rtcp.TransportLayerCC); return ok }).(*rtcp.TransportLayerCC)
		require.Equal(t, uint16(65530+covered), feedback.BaseSequenceNumber)
		require.Len(t, feedback.RecvDeltas, int(feedback.PacketStatusCount))
		covered += int(feedback.PacketStatusCount)
	}
}
