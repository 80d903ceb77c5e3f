package bandwidth

import (
	"encoding/binary"
	"encoding/hex"
	"testing"

	"github.com/pion/rtcp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// reading is what a report said of one packet.
type reading struct {
	number  uint16
	arrived bool
	micros  int64
}

// readAll walks a parsed report as read does, without a history.
func readAll(r *report) (readings []reading) {
	arrival, number, left, deltas := int64(r.reference)*referenceMicros, r.base, r.count, r.deltas
	for chunks := r.chunks; left > 0; chunks = chunks[chunkLen:] {
		c := chunk(binary.BigEndian.Uint16(chunks))
		n := min(c.len(), left)
		left -= n
		for i := range n {
			got := reading{number: number}
			switch c.symbol(i) {
			case statusSmall:
				arrival += deltaMicros * int64(deltas[0])
				got.arrived, got.micros = true, arrival
			case statusLarge:
				arrival += deltaMicros * int64(int16(binary.BigEndian.Uint16(deltas)))
				got.arrived, got.micros = true, arrival
			}
			deltas = deltas[deltaLen(c.symbol(i)):]
			readings = append(readings, got)
			number++
		}
	}
	return readings
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return b
}

func TestReportParse(t *testing.T) {
	for _, row := range []struct {
		name string
		fci  string
		want []reading
	}{
		{"a run of small deltas", "0001 0002 000001 00 2002 04 08", []reading{{1, true, 65_000}, {2, true, 67_000}}},
		{"a run of lost ones, then one that came", "ffff 0003 000000 00 0002 2001 04", []reading{{65535, false, 0}, {0, false, 0}, {1, true, 1000}}},
		{"large deltas, one negative", "0005 0002 000001 07 4002 0190 fff0", []reading{{5, true, 164_000}, {6, true, 160_000}}},
		{"a vector of bits", "0000 0003 000000 00 a800 04 08", []reading{{0, true, 1000}, {1, false, 0}, {2, true, 3000}}},
		{"a vector of symbols", "0000 0003 000000 00 d200 04 0100", []reading{{0, true, 1000}, {1, false, 0}, {2, true, 65_000}}},
		{"a run beyond the count", "0000 0001 000000 00 3fff 01", []reading{{0, true, 250}}},
		{"zeros behind", "0000 0001 000000 00 2001 01 00", []reading{{0, true, 250}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var r report
			require.NoError(t, r.parse(unhex(t, spaceless(row.fci))))
			assert.Equal(t, row.want, readAll(&r))
		})
	}
}

func spaceless(s string) string {
	out := make([]byte, 0, len(s))
	for _, c := range []byte(s) {
		if c != ' ' {
			out = append(out, c)
		}
	}
	return string(out)
}

func TestReportRefuses(t *testing.T) {
	for _, row := range []struct{ name, fci string }{
		{"nothing", ""},
		{"no chunk", "0001 0001 000000 00"},
		{"no packets", "0001 0000 000000 00 2001 04"},
		{"too many packets", "0001 2001 000000 00 1fff 1fff"},
		{"a run of none", "0001 0001 000000 00 2000 04"},
		{"a reserved run", "0001 0001 000000 00 6001 04"},
		{"a reserved symbol", "0001 0001 000000 00 f000 04"},
		{"chunks that are too few", "0001 0010 000000 00 2001 04"},
		{"a delta that is missing", "0001 0002 000000 00 2002 04"},
		{"half a delta", "0001 0001 000000 00 4001 04"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var r report
			assert.ErrorIs(t, r.parse(unhex(t, spaceless(row.fci))), ErrReport)
		})
	}
}

func TestEveryPrefixOfAReportFails(t *testing.T) {
	for _, fci := range []string{"0001000200000100200204 08", "000500020000010740020190fff0", "0000000300000000d200040100", "00000003 00000000 a800 04 08"} {
		whole := unhex(t, spaceless(fci))
		var r report
		require.NoError(t, r.parse(whole))
		for n := range whole {
			assert.ErrorIs(t, r.parse(whole[:n]), ErrReport, "%d of %d bytes", n, len(whole))
		}
	}
}

// pion's reader is the other opinion.
func readByPion(fci []byte) ([]reading, error) {
	raw := append([]byte{0x8f, 205, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2}, fci...)
	raw = append(raw, 0, 0, 0, 0) // it wants bytes behind the chunks even when there are no deltas
	for len(raw)%4 != 0 {
		raw = append(raw, 0)
	}
	binary.BigEndian.PutUint16(raw[2:], uint16(len(raw)/4-1))
	var p rtcp.TransportLayerCC
	if err := p.Unmarshal(raw); err != nil {
		return nil, err
	}
	arrival, number, deltas := int64(p.ReferenceTime)*referenceMicros, p.BaseSequenceNumber, p.RecvDeltas
	var readings []reading
	take := func(symbol uint16) {
		if len(readings) == int(p.PacketStatusCount) {
			return
		}
		got := reading{number: number, arrived: symbol != 0}
		if got.arrived {
			arrival += deltas[0].Delta
			got.micros, deltas = arrival, deltas[1:]
		}
		readings = append(readings, got)
		number++
	}
	for _, c := range p.PacketChunks {
		switch c := c.(type) {
		case *rtcp.RunLengthChunk:
			for range c.RunLength {
				take(c.PacketStatusSymbol)
			}
		case *rtcp.StatusVectorChunk:
			for _, symbol := range c.SymbolList {
				take(symbol)
			}
		}
	}
	return readings, nil
}

// buildReport draws a valid report.
func buildReport(t *rapid.T) []byte {
	fci := []byte{0, 0, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint16(fci, rapid.Uint16().Draw(t, "base"))
	binary.BigEndian.PutUint32(fci[4:], rapid.Uint32().Draw(t, "reference and count"))
	var symbols []int
	for range rapid.IntRange(1, 6).Draw(t, "chunks") {
		switch rapid.IntRange(0, 2).Draw(t, "form") {
		case 0:
			n, symbol := rapid.IntRange(1, 40).Draw(t, "run"), rapid.IntRange(0, 2).Draw(t, "symbol")
			fci = binary.BigEndian.AppendUint16(fci, uint16(symbol<<13|n))
			for range n {
				symbols = append(symbols, symbol)
			}
		case 1:
			bits := rapid.IntRange(0, 1<<14-1).Draw(t, "bits")
			fci = binary.BigEndian.AppendUint16(fci, uint16(1<<15|bits))
			for i := range 14 {
				symbols = append(symbols, bits>>(13-i)&1)
			}
		case 2:
			word := 3 << 14
			for i := range 7 {
				symbol := rapid.IntRange(0, 2).Draw(t, "symbol")
				word |= symbol << (12 - 2*i)
				symbols = append(symbols, symbol)
			}
			fci = binary.BigEndian.AppendUint16(fci, uint16(word))
		}
	}
	binary.BigEndian.PutUint16(fci[2:], uint16(len(symbols)))
	for _, symbol := range symbols {
		for range symbol {
			fci = append(fci, rapid.Byte().Draw(t, "delta"))
		}
	}
	return fci
}

func TestReportAgreesWithPion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fci := buildReport(t)
		var r report
		require.NoError(t, r.parse(fci))
		want, err := readByPion(fci)
		require.NoError(t, err)
		assert.Equal(t, want, readAll(&r))
	})
}

func TestReportAdvance(t *testing.T) {
	type step struct {
		reference uint32
		serial    uint8
		want      int64 // unwrapped units
		fresh     bool
		missed    uint64
	}
	for _, row := range []struct {
		name  string
		steps []step
	}{
		{"in order", []step{{5, 1, 5, true, 0}, {6, 2, 6, true, 0}}},
		{"the reference wraps", []step{{1<<24 - 1, 1, 1<<24 - 1, true, 0}, {1, 2, 1<<24 + 1, true, 0}, {1<<24 - 2, 3, 1<<24 - 2, true, 0}}},
		{"the count wraps", []step{{5, 255, 5, true, 0}, {6, 0, 6, true, 0}}},
		{"two are missing", []step{{5, 254, 5, true, 0}, {6, 1, 6, true, 2}}},
		{"one comes late", []step{{5, 1, 5, true, 0}, {7, 3, 7, true, 1}, {6, 2, 6, true, 1}, {8, 4, 8, true, 1}}},
		{"one comes twice", []step{{5, 1, 5, true, 0}, {5, 1, 0, false, 0}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var r report
			for i, s := range row.steps {
				r.reference, r.serial = s.reference, s.serial
				micros, fresh := r.advance()
				assert.Equal(t, s.fresh, fresh, "step %d", i)
				assert.Equal(t, s.want*referenceMicros, micros, "step %d", i)
				assert.Equal(t, s.missed, r.missed, "step %d", i)
			}
		})
	}
}

// A packet that is reported missing and comes late counts as arrived, once.
func TestSettleCountsOnce(t *testing.T) {
	v := NewViewer(Config{}, 0)
	for n := range uint16(4) {
		v.Sent(n, 1000, int64(n)*1_000_000)
	}
	first := unhex(t, spaceless("0000 0004 000001 00 a800 04 08")) // 0 and 2
	require.NoError(t, v.Feedback(first, 50_000_000))
	assert.Equal(t, 2, v.estimator.loss.arrived)
	assert.Equal(t, 2, v.estimator.loss.lost)
	again := unhex(t, spaceless("0000 0004 000001 01 ac00 04 08 04")) // 0, 2 and 3
	require.NoError(t, v.Feedback(again, 60_000_000))
	assert.Equal(t, 3, v.estimator.loss.arrived)
	assert.Equal(t, 1, v.estimator.loss.lost)
	unknown := unhex(t, spaceless("0100 0001 000001 02 2001 04"))
	require.NoError(t, v.Feedback(unknown, 70_000_000))
	assert.Equal(t, 3, v.estimator.loss.arrived)
}

// FuzzReport starts from the seeds in testdata/fuzz.
func FuzzReport(f *testing.F) {
	f.Fuzz(func(t *testing.T, fci []byte) {
		var r report
		if r.parse(fci) != nil {
			return
		}
		got := readAll(&r)
		require.Len(t, got, r.count)
		if want, err := readByPion(fci); err == nil {
			assert.Equal(t, want, got)
		}
		v := NewViewer(Config{}, 0)
		for n := range uint16(historySize) {
			v.Sent(n+r.base-100, 1000, int64(n)*1_000_000)
		}
		require.NoError(t, v.Feedback(fci, historySize*1_000_000))
		checkSane(t, v)
	})
}

func checkSane(t require.TestingT, v *Viewer) {
	e := v.estimator
	require.True(t, e.bitrate >= e.least && e.bitrate <= e.most, "estimate %v", e.bitrate)
	require.GreaterOrEqual(t, e.roundTrip, int64(0))
	require.True(t, v.pacer.rate > 0 && v.pacer.balance <= v.pacer.burst(), "pacer %+v", v.pacer)
}
