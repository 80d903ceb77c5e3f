package rtcpx_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"

	"rheomesh/internal/rtcpx"
)

func TestReceptionStats(t *testing.T) {
	span := func(first uint16, n int) (seqs []uint16) {
		for i := range n {
			seqs = append(seqs, first+uint16(i))
		}
		return seqs
	}
	for _, row := range []struct {
		name string
		seqs []uint16
		want rtcpx.ReportBlock
	}{
		{"nothing", nil, rtcpx.ReportBlock{}},
		{"one packet", []uint16{7}, rtcpx.ReportBlock{HighestSeq: 7}},
		{"no loss across the wrap", []uint16{65534, 65535, 0, 1}, rtcpx.ReportBlock{HighestSeq: 1<<16 + 1}},
		{"half lost", []uint16{0, 2, 4, 6, 7}, rtcpx.ReportBlock{HighestSeq: 7, TotalLost: 3, FractionLost: 96}},
		{"loss across the wrap", []uint16{65535, 1}, rtcpx.ReportBlock{HighestSeq: 1<<16 + 1, TotalLost: 1, FractionLost: 85}},
		{"reorder is no loss", []uint16{1, 3, 2, 4}, rtcpx.ReportBlock{HighestSeq: 4}},
		{"reorder across the wrap", []uint16{65534, 0, 65535, 1}, rtcpx.ReportBlock{HighestSeq: 1<<16 + 1}},
		{"duplicates make loss negative", []uint16{1, 2, 2, 2}, rtcpx.ReportBlock{HighestSeq: 2, TotalLost: -2}},
		{"largest dropout", []uint16{0, 2999}, rtcpx.ReportBlock{HighestSeq: 2999, TotalLost: 2998, FractionLost: 255}},
		{"one stray packet is ignored", []uint16{0, 30000, 1}, rtcpx.ReportBlock{HighestSeq: 1}},
		{"restart of the sender", append(span(100, 5), 30000, 30001, 30003), rtcpx.ReportBlock{HighestSeq: 30003, TotalLost: 1, FractionLost: 85}},
		{"restart at the wrap", append(span(1000, 5), 65535, 0, 1), rtcpx.ReportBlock{HighestSeq: 1}},
		{"restart at a lower number", append(span(30000, 5), 10, 11, 12), rtcpx.ReportBlock{HighestSeq: 12}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var s rtcpx.ReceptionStats
			for _, seq := range row.seqs {
				s.Update(seq, 0, 0)
			}
			assert.Equal(t, row.want, s.Report())
		})
	}
}

func TestReceptionStatsIntervals(t *testing.T) {
	var s rtcpx.ReceptionStats
	for _, seq := range []uint16{0, 1, 3} {
		s.Update(seq, 0, 0)
	}
	assert.Equal(t, rtcpx.ReportBlock{HighestSeq: 3, TotalLost: 1, FractionLost: 64}, s.Report())
	s.Update(4, 0, 0)
	assert.Equal(t, rtcpx.ReportBlock{HighestSeq: 4, TotalLost: 1}, s.Report(), "nothing was lost since the last report")
	assert.Equal(t, rtcpx.ReportBlock{HighestSeq: 4, TotalLost: 1}, s.Report(), "nothing came since the last report")
	s.Update(2, 0, 0)
	assert.Equal(t, rtcpx.ReportBlock{HighestSeq: 4}, s.Report(), "the late packet was not lost after all")
}

func TestReceptionStatsJitter(t *testing.T) {
	for _, row := range []struct {
		name             string
		arrivals, stamps []uint32
		want             uint32
	}{
		{"steady", []uint32{0, 3000, 6000}, []uint32{500, 3500, 6500}, 0},
		{"steady across both wraps", []uint32{1<<32 - 100, 2900}, []uint32{1<<32 - 3000, 0}, 0},
		{"one late by 160", []uint32{0, 3160}, []uint32{0, 3000}, 10},                     // 160/16
		{"late by 160, then early", []uint32{0, 3160, 6000}, []uint32{0, 3000, 6000}, 19}, // 10 + (160-10)/16
		{"early counts like late", []uint32{160, 3000}, []uint32{0, 3000}, 10},
	} {
		t.Run(row.name, func(t *testing.T) {
			var s rtcpx.ReceptionStats
			for i := range row.arrivals {
				s.Update(uint16(i), row.stamps[i], row.arrivals[i])
			}
			assert.Equal(t, row.want, s.Report().Jitter)
		})
	}
}

// Against a model that counts in 64 bits: loss is what was expected less what came, and the fraction that of the interval.
func TestReceptionStatsFollowModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s rtcpx.ReceptionStats
		base := int64(rapid.Uint16().Draw(t, "first"))
		highest, received, expectedBefore, receivedBefore := base, int64(1), int64(0), int64(0)
		s.Update(uint16(base), 0, 0)
		for range rapid.IntRange(0, 300).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"next", "gap", "old", "report"}).Draw(t, "step") {
			case "next":
				highest++
				s.Update(uint16(highest), 0, 0)
				received++
			case "gap":
				highest += rapid.Int64Range(2, 2999).Draw(t, "gap")
				s.Update(uint16(highest), 0, 0)
				received++
			case "old":
				s.Update(uint16(highest-rapid.Int64Range(0, 99).Draw(t, "age")), 0, 0)
				received++
			case "report":
				expected := highest - base + 1
				interval, lost := expected-expectedBefore, expected-expectedBefore-(received-receivedBefore)
				var fraction uint8
				if interval > 0 && lost > 0 {
					fraction = uint8(min(lost*256/interval, 255))
				}
				expectedBefore, receivedBefore = expected, received
				assert.Equal(t, rtcpx.ReportBlock{HighestSeq: uint32(highest), TotalLost: int32(expected - received), FractionLost: fraction}, s.Report())
			}
		}
	})
}

func TestReceptionStatsDoNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	var s rtcpx.ReceptionStats
	assert.Zero(t, testing.AllocsPerRun(10, func() {
		for i := range 1000 {
			s.Update(uint16(i*3), uint32(i), uint32(i))
		}
		s.Report()
	}))
}
