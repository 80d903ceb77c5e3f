package rtcpx_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/pion/rtcp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"rheomesh/internal/rtcpx"
)

// recorder writes down what Walk hands over, one line each.
type recorder struct{ lines []string }

func (r *recorder) add(format string, args ...any) {
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

func (r *recorder) SenderReport(s rtcpx.SenderReport) {
	r.add("sr %x ntp %x rtp %d packets %d octets %d", s.SSRC, s.NTP, s.RTPTime, s.Packets, s.Octets)
}

func (r *recorder) ReportBlock(sender uint32, b rtcpx.ReportBlock) {
	r.add("block %x ssrc %x fraction %d lost %d highest %d jitter %d lsr %d dlsr %d",
		sender, b.SSRC, b.FractionLost, b.TotalLost, b.HighestSeq, b.Jitter, b.LastSR, b.Delay)
}

func (r *recorder) NACK(sender, media uint32, seq uint16) { r.add("nack %x %x %d", sender, media, seq) }
func (r *recorder) PLI(sender, media uint32)              { r.add("pli %x %x", sender, media) }
func (r *recorder) FIR(sender, media uint32, seq uint8)   { r.add("fir %x %x %d", sender, media, seq) }

func (r *recorder) REMB(sender uint32, bitrateBps uint64, media rtcpx.SSRCs) {
	r.add("remb %x %d %d", sender, bitrateBps, media.Len())
	for i := range media.Len() {
		r.add("remb for %x", media.At(i))
	}
}

func (r *recorder) TWCC(sender, media uint32, feedback []byte) {
	r.add("twcc %x %x %x", sender, media, feedback)
}
func (r *recorder) BYE(ssrc uint32) { r.add("bye %x", ssrc) }

func walk(b []byte) ([]string, error) {
	var r recorder
	err := rtcpx.Walk(b, &r)
	return r.lines, err
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	require.NoError(t, err)
	return b
}

const (
	srHex    = "81c8000c 00000001 e000000080000000 00000bb8 0000000a 00000400 00000002 ff800000 00010005 00000007 80000000 00010000"
	rrHex    = "81c90007 00000001 00000002 80fffffe 0001ffff 00000007 00000000 00000000"
	sdesHex  = "81ca0003 00000001 01036162 63000000"
	byeHex   = "82cb0002 00000001 00000002"
	nackHex  = "81cd0004 00000001 00000002 fffe8001 00100000"
	twccHex  = "8fcd0005 00000001 00000002 00010001 00000100 20010400"
	pliHex   = "81ce0002 00000001 00000002"
	firHex   = "84ce0006 00000001 00000000 00000002 07000000 00000003 08000000"
	rembHex  = "8fce0005 00000001 00000000 52454d42 010fd090 00000002"
	paddedRR = "a1c90008 00000001 00000002 80fffffe 0001ffff 00000007 00000000 00000000 00000004"
)

func TestWalk(t *testing.T) {
	block := "block 1 ssrc 2 fraction 128 lost -2 highest 131071 jitter 7 lsr 0 dlsr 0"
	for _, row := range []struct {
		name   string
		packet string
		want   []string
	}{
		{"SR", srHex, []string{
			"sr 1 ntp e000000080000000 rtp 3000 packets 10 octets 1024",
			"block 1 ssrc 2 fraction 255 lost -8388608 highest 65541 jitter 7 lsr 2147483648 dlsr 65536",
		}},
		{"RR with negative loss", rrHex, []string{block}},
		{"RR without blocks", "80c90001 00000001", nil},
		{"RR with a profile extension", "80c90002 00000001 ffffffff", nil},
		{"padded RR", paddedRR, []string{block}},
		{"SDES is skipped", sdesHex, nil},
		{"BYE of two", byeHex, []string{"bye 1", "bye 2"}},
		{"BYE with a reason", "81cb0002 00000001 03616263", []string{"bye 1"}},
		{"BYE of nobody", "80cb0000", nil},
		{"NACK across the wrap", nackHex, []string{"nack 1 2 65534", "nack 1 2 65535", "nack 1 2 14", "nack 1 2 16"}},
		{"TWCC", twccHex, []string{"twcc 1 2 000100010000010020010400"}},
		{"TWCC padded by two bytes", "afcd0005 00000001 00000002 00010001 00000100 20010002", []string{"twcc 1 2 00010001000001002001"}},
		{"PLI", pliHex, []string{"pli 1 2"}},
		{"FIR for two", firHex, []string{"fir 1 2 7", "fir 1 3 8"}},
		{"REMB", rembHex, []string{"remb 1 2000000 1", "remb for 2"}},
		{"REMB beyond 64 bits", "8fce0004 00000001 00000000 52454d42 00ffffff", []string{fmt.Sprintf("remb 1 %d 0", uint64(math.MaxUint64))}},
		{"other application feedback is skipped", "8fce0003 00000001 00000000 41424344", nil},
		{"other feedback is skipped", "82ce0003 00000001 00000002 00000000", nil},
		{"extended report is skipped", "80cf0001 00000001", nil},
		{"unknown type is skipped", "80df0000", nil},
		{"compound", rrHex + sdesHex + pliHex + nackHex, []string{
			block, "pli 1 2", "nack 1 2 65534", "nack 1 2 65535", "nack 1 2 14", "nack 1 2 16",
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := walk(unhex(t, row.packet))
			require.NoError(t, err)
			assert.Equal(t, row.want, got)
		})
	}
}

func TestWalkRefuses(t *testing.T) {
	for _, row := range []struct {
		name   string
		packet string
		want   error
	}{
		{"nothing", "", rtcpx.ErrShort},
		{"version 1", "41c90001 00000001", rtcpx.ErrVersion},
		{"longer than the datagram", "80c90002 00000001", rtcpx.ErrShort},
		{"rest too short for a header", pliHex + "80c900", rtcpx.ErrShort},
		{"SR without sender info", "80c80001 00000001", rtcpx.ErrFormat},
		{"SR with a block missing", "81c80006 00000001 00000000 00000000 00000000 00000000 00000000", rtcpx.ErrFormat},
		{"RR without SSRC", "80c90000", rtcpx.ErrFormat},
		{"RR with a block missing", "81c90001 00000001", rtcpx.ErrFormat},
		{"BYE with an SSRC missing", "82cb0001 00000001", rtcpx.ErrFormat},
		{"transport feedback without SSRCs", "81cd0001 00000001", rtcpx.ErrFormat},
		{"payload feedback without SSRCs", "81ce0001 00000001", rtcpx.ErrFormat},
		{"TWCC without its header", "8fcd0003 00000001 00000002 00000000", rtcpx.ErrFormat},
		{"FIR without entries", "84ce0002 00000001 00000000", rtcpx.ErrFormat},
		{"FIR with half an entry", "84ce0003 00000001 00000000 00000002", rtcpx.ErrFormat},
		{"REMB without a bitrate", "8fce0003 00000001 00000000 52454d42", rtcpx.ErrFormat},
		{"REMB with an SSRC missing", "8fce0004 00000001 00000000 52454d42 01000001", rtcpx.ErrFormat},
		{"padding without a body", "a0c90000", rtcpx.ErrPadding},
		{"padding zero", "a0c90001 00000000", rtcpx.ErrPadding},
		{"padding cuts into a block", "a1c90008 00000001 00000002 80fffffe 0001ffff 00000007 00000000 00000000 00000005", rtcpx.ErrFormat},
		{"padding longer than the body", "a0c90001 00000008", rtcpx.ErrPadding},
		{"padding leaves nothing", "a0c90001 00000004", rtcpx.ErrFormat},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := walk(unhex(t, row.packet))
			assert.ErrorIs(t, err, row.want)
		})
	}
}

// A packet cut anywhere must be refused; a compound cut between packets is a shorter compound.
func TestWalkRefusesEveryPrefix(t *testing.T) {
	for _, packet := range []string{srHex, rrHex, sdesHex, byeHex, nackHex, twccHex, pliHex, firHex, rembHex, paddedRR} {
		b := unhex(t, packet)
		for n := range b {
			_, err := walk(b[:n:n])
			assert.Error(t, err, "%s cut to %d bytes", packet, n)
		}
	}
}

// lines says in the recorder's words what pion read.
func lines(packets []rtcp.Packet) []string {
	var r recorder
	blocks := func(sender uint32, reports []rtcp.ReceptionReport) {
		for _, b := range reports {
			r.ReportBlock(sender, rtcpx.ReportBlock{
				SSRC: b.SSRC, FractionLost: b.FractionLost, TotalLost: int32(b.TotalLost<<8) >> 8,
				HighestSeq: b.LastSequenceNumber, Jitter: b.Jitter, LastSR: b.LastSenderReport, Delay: b.Delay,
			})
		}
	}
	for _, packet := range packets {
		switch p := packet.(type) {
		case *rtcp.SenderReport:
			r.SenderReport(rtcpx.SenderReport{SSRC: p.SSRC, NTP: p.NTPTime, RTPTime: p.RTPTime, Packets: p.PacketCount, Octets: p.OctetCount})
			blocks(p.SSRC, p.Reports)
		case *rtcp.ReceiverReport:
			blocks(p.SSRC, p.Reports)
		case *rtcp.Goodbye:
			for _, ssrc := range p.Sources {
				r.BYE(ssrc)
			}
		case *rtcp.TransportLayerNack:
			for _, pair := range p.Nacks {
				for _, seq := range pair.PacketList() {
					r.NACK(p.SenderSSRC, p.MediaSSRC, seq)
				}
			}
		case *rtcp.PictureLossIndication:
			r.PLI(p.SenderSSRC, p.MediaSSRC)
		case *rtcp.FullIntraRequest:
			for _, entry := range p.FIR {
				r.FIR(p.SenderSSRC, entry.SSRC, entry.SequenceNumber)
			}
		}
	}
	return r.lines
}

func drawBlocks(t *rapid.T) []rtcpx.ReportBlock {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) rtcpx.ReportBlock {
		return rtcpx.ReportBlock{
			SSRC: rapid.Uint32().Draw(t, "ssrc"), FractionLost: rapid.Uint8().Draw(t, "fraction"),
			TotalLost:  rapid.Int32Range(-1<<23, 1<<23-1).Draw(t, "lost"),
			HighestSeq: rapid.Uint32().Draw(t, "highest"), Jitter: rapid.Uint32().Draw(t, "jitter"),
			LastSR: rapid.Uint32().Draw(t, "lsr"), Delay: rapid.Uint32().Draw(t, "dlsr"),
		}
	}), 0, 3).Draw(t, "blocks")
}

// Whatever we append, pion reads as the same, and so does Walk.
func TestAppendAgreesWithPion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u32 := func(name string) uint32 { return rapid.Uint32().Draw(t, name) }
		sender, media := u32("sender"), u32("media")
		report := rtcpx.SenderReport{SSRC: sender, NTP: rapid.Uint64().Draw(t, "ntp"), RTPTime: u32("rtp"), Packets: u32("packets"), Octets: u32("octets")}
		seqs := rapid.SliceOfN(rapid.Uint16(), 0, 40).Draw(t, "seqs")
		cname := rapid.StringN(1, 255, 255).Draw(t, "cname")
		ssrcs := rapid.SliceOfN(rapid.Uint32(), 0, 5).Draw(t, "ssrcs")
		bitrate := uint64(rapid.Uint32Min(1).Draw(t, "bitrate")) // pion reads a mantissa of 0 wrongly

		b := rtcpx.AppendSenderReport(nil, report, drawBlocks(t))
		b = rtcpx.AppendReceiverReport(b, sender, drawBlocks(t))
		b = rtcpx.AppendSDES(b, sender, cname)
		b = rtcpx.AppendNACK(b, sender, media, seqs)
		b = rtcpx.AppendPLI(b, sender, media)
		b = rtcpx.AppendFIR(b, sender, media, rapid.Uint8().Draw(t, "fir"))
		b = rtcpx.AppendBYE(b, media)
		packets, err := rtcp.Unmarshal(b)
		require.NoError(t, err)
		got, err := walk(b)
		require.NoError(t, err)
		require.Equal(t, lines(packets), got)
		description, ok := packets[2].(*rtcp.SourceDescription)
		require.True(t, ok)
		require.Equal(t, cname, description.Chunks[0].Items[0].Text)
		require.Equal(t, sender, description.Chunks[0].Source)

		b = rtcpx.AppendREMB(nil, sender, bitrate, ssrcs)
		var remb rtcp.ReceiverEstimatedMaximumBitrate
		require.NoError(t, remb.Unmarshal(b))
		require.Equal(t, sender, remb.SenderSSRC)
		require.Equal(t, len(ssrcs), len(remb.SSRCs))
		require.InEpsilon(t, float64(bitrate), float64(remb.Bitrate), 1.0/(1<<17))
		var r recorder
		require.NoError(t, rtcpx.Walk(b, &r))
		require.Equal(t, fmt.Sprintf("remb %x %d %d", sender, uint64(remb.Bitrate), len(ssrcs)), r.lines[0])
	})
}

// Whatever pion writes, Walk reads as the same.
func TestWalkAgreesWithPion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u32 := func(name string) uint32 { return rapid.Uint32().Draw(t, name) }
		var reports []rtcp.ReceptionReport
		for _, b := range drawBlocks(t) {
			reports = append(reports, rtcp.ReceptionReport{
				SSRC: b.SSRC, FractionLost: b.FractionLost, TotalLost: uint32(b.TotalLost) & 0xffffff,
				LastSequenceNumber: b.HighestSeq, Jitter: b.Jitter, LastSenderReport: b.LastSR, Delay: b.Delay,
			})
		}
		packets := []rtcp.Packet{
			&rtcp.SenderReport{SSRC: u32("ssrc"), NTPTime: rapid.Uint64().Draw(t, "ntp"), RTPTime: u32("rtp"), PacketCount: u32("packets"), OctetCount: u32("octets"), Reports: reports},
			&rtcp.ReceiverReport{SSRC: u32("ssrc"), Reports: reports},
			rtcp.NewCNAMESourceDescription(u32("ssrc"), "name"),
			&rtcp.TransportLayerNack{SenderSSRC: u32("sender"), MediaSSRC: u32("media"), Nacks: []rtcp.NackPair{
				{PacketID: rapid.Uint16().Draw(t, "pid"), LostPackets: rtcp.PacketBitmap(rapid.Uint16().Draw(t, "mask"))},
				{PacketID: rapid.Uint16().Draw(t, "pid"), LostPackets: rtcp.PacketBitmap(rapid.Uint16().Draw(t, "mask"))},
			}},
			&rtcp.PictureLossIndication{SenderSSRC: u32("sender"), MediaSSRC: u32("media")},
			&rtcp.FullIntraRequest{SenderSSRC: u32("sender"), FIR: []rtcp.FIREntry{{SSRC: u32("media"), SequenceNumber: rapid.Uint8().Draw(t, "seq")}}},
			&rtcp.Goodbye{Sources: rapid.SliceOfN(rapid.Uint32(), 0, 31).Draw(t, "sources"), Reason: rapid.StringN(0, 20, 40).Draw(t, "reason")},
		}
		b, err := rtcp.Marshal(packets)
		require.NoError(t, err)
		got, err := walk(b)
		require.NoError(t, err)
		require.Equal(t, lines(packets), got)
	})
}

func TestWalkAgreesWithPionOnTWCC(t *testing.T) {
	packet := &rtcp.TransportLayerCC{
		SenderSSRC: 1, MediaSSRC: 2, BaseSequenceNumber: 7, PacketStatusCount: 1, ReferenceTime: 3, FbPktCount: 4,
		Header:       rtcp.Header{Count: rtcp.FormatTCC, Type: rtcp.TypeTransportSpecificFeedback, Length: 5, Padding: true},
		PacketChunks: []rtcp.PacketStatusChunk{&rtcp.RunLengthChunk{Type: rtcp.TypeTCCRunLengthChunk, PacketStatusSymbol: 1, RunLength: 1}},
		RecvDeltas:   []*rtcp.RecvDelta{{Type: rtcp.TypeTCCPacketReceivedSmallDelta, Delta: 250}},
	}
	b, err := packet.Marshal()
	require.NoError(t, err)
	got, err := walk(b)
	require.NoError(t, err)
	assert.Equal(t, []string{"twcc 1 2 " + hex.EncodeToString(b[12:23])}, got, "without its one byte of padding")
}

func TestAppendLimits(t *testing.T) {
	blocks := make([]rtcpx.ReportBlock, 40)
	got, err := walk(rtcpx.AppendReceiverReport(nil, 1, blocks))
	require.NoError(t, err)
	assert.Len(t, got, 31)
	got, err = walk(rtcpx.AppendSenderReport(nil, rtcpx.SenderReport{}, blocks))
	require.NoError(t, err)
	assert.Len(t, got, 32)
	got, err = walk(rtcpx.AppendREMB(nil, 1, math.MaxUint64, make([]uint32, 300)))
	require.NoError(t, err)
	assert.Len(t, got, 256)
	assert.Equal(t, fmt.Sprintf("remb 1 %d 255", uint64(1<<18-1)<<46), got[0])

	var description rtcp.SourceDescription
	require.NoError(t, description.Unmarshal(rtcpx.AppendSDES(nil, 1, strings.Repeat("x", 300))))
	assert.Len(t, description.Chunks[0].Items[0].Text, 255)
}

func TestAppendNACK(t *testing.T) {
	for _, row := range []struct {
		name string
		seqs []uint16
		want string
	}{
		{"none", nil, ""},
		{"one", []uint16{7}, "81cd0003 00000001 00000002 00070000"},
		{"a full pair", []uint16{7, 8, 23}, "81cd0003 00000001 00000002 00078001"},
		{"one too far for the pair", []uint16{7, 24}, "81cd0004 00000001 00000002 00070000 00180000"},
		{"across the wrap", []uint16{65535, 0, 15}, "81cd0003 00000001 00000002 ffff8001"},
		{"duplicates", []uint16{7, 7, 8, 8}, "81cd0003 00000001 00000002 00070001"},
		{"descending", []uint16{8, 7}, "81cd0004 00000001 00000002 00080000 00070000"},
	} {
		t.Run(row.name, func(t *testing.T) {
			assert.Equal(t, strings.ReplaceAll(row.want, " ", ""), hex.EncodeToString(rtcpx.AppendNACK(nil, 1, 2, row.seqs)))
		})
	}
}

// counter is a handler that does nothing slow, for the allocation guard.
type counter struct{ calls int }

func (c *counter) SenderReport(rtcpx.SenderReport)        { c.calls++ }
func (c *counter) ReportBlock(uint32, rtcpx.ReportBlock)  { c.calls++ }
func (c *counter) NACK(uint32, uint32, uint16)            { c.calls++ }
func (c *counter) PLI(uint32, uint32)                     { c.calls++ }
func (c *counter) FIR(uint32, uint32, uint8)              { c.calls++ }
func (c *counter) REMB(_ uint32, _ uint64, s rtcpx.SSRCs) { c.calls += s.Len() }
func (c *counter) TWCC(uint32, uint32, []byte)            { c.calls++ }
func (c *counter) BYE(uint32)                             { c.calls++ }

func TestWalkAndAppendDoNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	compound := unhex(t, srHex+rrHex+sdesHex+nackHex+twccHex+pliHex+firHex+rembHex+byeHex)
	dst := make([]byte, 0, 1500)
	blocks := make([]rtcpx.ReportBlock, 2)
	seqs, ssrcs := []uint16{1, 2, 300}, []uint32{1}
	var c counter
	assert.Zero(t, testing.AllocsPerRun(10, func() {
		for range 100 {
			if err := rtcpx.Walk(compound, &c); err != nil {
				t.Fatal(err)
			}
			dst = rtcpx.AppendSenderReport(dst[:0], rtcpx.SenderReport{}, blocks)
			dst = rtcpx.AppendReceiverReport(dst, 1, blocks)
			dst = rtcpx.AppendSDES(dst, 1, "cname")
			dst = rtcpx.AppendNACK(dst, 1, 2, seqs)
			dst = rtcpx.AppendPLI(dst, 1, 2)
			dst = rtcpx.AppendFIR(dst, 1, 2, 3)
			dst = rtcpx.AppendREMB(dst, 1, 1e6, ssrcs)
			dst = rtcpx.AppendBYE(dst, 1)
		}
	}))
}

func BenchmarkWalk(b *testing.B) {
	compound := unhex(b, rrHex+nackHex)
	var c counter
	for b.Loop() {
		if err := rtcpx.Walk(compound, &c); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzWalk: no panic, no change of the packet, a bounded number of calls, and the same reading as pion where both accept.
func FuzzWalk(f *testing.F) {
	for _, packet := range []string{srHex, rrHex, sdesHex, byeHex, nackHex, twccHex, pliHex, firHex, rembHex, paddedRR} {
		f.Add(unhex(f, packet))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		got, err := walk(b)
		require.Equal(t, before, b)
		require.LessOrEqual(t, len(got), 17*len(b)/4, "at most 17 numbers per NACK word")
		if err != nil {
			return
		}
		packets, err := rtcp.Unmarshal(b)
		if err != nil {
			return
		}
		for _, packet := range packets {
			switch packet.(type) {
			case *rtcp.SenderReport, *rtcp.ReceiverReport, *rtcp.Goodbye, *rtcp.TransportLayerNack, *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
			default:
				return
			}
		}
		for p := b; len(p) > 0; p = p[4+4*(int(p[2])<<8+int(p[3])):] {
			if p[0]&0x20 != 0 {
				return // pion reads padding as contents
			}
		}
		want := lines(packets)
		require.Equal(t, len(want), len(got))
		require.Equal(t, want, got)
	})
}
