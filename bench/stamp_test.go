package bench

import (
	"bytes"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStamp(t *testing.T) {
	tests := []struct {
		name string
		at   int64
		seq  uint32
	}{
		{"zero", 0, 0},
		{"now", 1_790_000_000_123_456_789, 4711},
		{"largest", math.MaxInt64, math.MaxUint32},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			payload := make([]byte, stampBytes+3)
			putStamp(payload, test.at, test.seq)
			require.Equal(t, make([]byte, 3), payload[:3], "only the tail is written")
			require.NotContains(t, string(payload[3:]), "\x00", "needs no emulation prevention")
			at, seq, ok := parseStamp(payload)
			require.True(t, ok)
			require.Equal(t, test.at, at)
			require.Equal(t, test.seq, seq)
		})
	}
}

func TestStampPrefixesFail(t *testing.T) {
	payload := make([]byte, stampBytes)
	putStamp(payload, 1, 2)
	for n := range payload {
		_, _, ok := parseStamp(payload[:n])
		require.False(t, ok, "prefix of %d bytes", n)
	}
}

func FuzzParseStamp(f *testing.F) {
	payload := make([]byte, stampBytes)
	putStamp(payload, 1<<40, 77)
	f.Add(payload)
	f.Add([]byte("RhMb"))
	f.Add(bytes.Repeat([]byte{0x80}, 64))
	f.Fuzz(func(t *testing.T, payload []byte) {
		at, seq, ok := parseStamp(payload)
		if !ok {
			return
		}
		again := make([]byte, stampBytes)
		putStamp(again, at, seq)
		if gotAt, gotSeq, ok := parseStamp(again); !ok || gotAt != at || gotSeq != seq {
			t.Fatalf("%d %d became %d %d", at, seq, gotAt, gotSeq)
		}
	})
}
