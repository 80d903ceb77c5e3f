package wire

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestHeaderGolden(t *testing.T) {
	b := make([]byte, Overhead)
	h := Header{Type: TypePing, Phase: 1, Handle: 0xabcdef, Age: 258 * time.Millisecond, Cycle: 5, Seq: 0x123_4567_89ab}
	h.Put(b)
	require.Equal(t, []byte{0xe1, 0xab, 0xcd, 0xef, 0x01, 0x02, 0x51, 0x23, 0x45, 0x67, 0x89, 0xab}, b[:HeaderLen])
	parsed, err := ParseHeader(b)
	require.NoError(t, err)
	require.Equal(t, h, parsed)
}

func TestHeaderRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		types := []Type{TypeMedia, TypeSenderReport, TypeStreamEnd, TypeData, TypeDataAck, TypePing, TypePong, TypeNACK, TypeDemand, TypeKeyframe, TypeLayers, TypeNews, TypeGoAway}
		h := Header{
			Type: rapid.SampledFrom(types).Draw(t, "type"), Phase: rapid.Uint8Range(0, 1).Draw(t, "phase"), Handle: Handle(rapid.Uint32Range(0, 1<<24-1).Draw(t, "handle")),
			Age: time.Duration(rapid.IntRange(0, 0xffff).Draw(t, "age")) * time.Millisecond, Cycle: rapid.Uint8Range(0, 15).Draw(t, "cycle"),
			Seq: rapid.Uint64Range(0, MaxSeq).Draw(t, "seq"),
		}
		b := make([]byte, Overhead)
		h.Put(b)
		parsed, err := ParseHeader(b)
		if err != nil || parsed != h {
			t.Fatalf("%+v became %+v, %v", h, parsed, err)
		}
	})
}

func TestHeaderRefused(t *testing.T) {
	good := make([]byte, Overhead)
	Header{Type: TypeMedia}.Put(good)
	for n := range good {
		_, err := ParseHeader(good[:n])
		require.ErrorIs(t, err, ErrShort, "prefix of %d bytes", n)
	}
	for _, row := range []struct {
		name  string
		first byte
	}{
		{"STUN", 0x00}, {"DTLS", 0x16}, {"TURN", 0x40}, {"RTP", 0x80}, {"reserved bit", 0xc2}, {"unknown type", 0xc0 | 3<<2}, {"unknown type", 0xc0 | 7<<2},
	} {
		bad := append([]byte(nil), good...)
		bad[0] = row.first
		_, err := ParseHeader(bad)
		require.ErrorIs(t, err, ErrForeign, row.name)
	}
}

func TestAgeIsCut(t *testing.T) {
	for age, want := range map[time.Duration]time.Duration{-time.Second: 0, 1500 * time.Microsecond: time.Millisecond, time.Hour: maxAge} {
		b := make([]byte, Overhead)
		Header{Age: age}.Put(b)
		h, err := ParseHeader(b)
		require.NoError(t, err)
		require.Equal(t, want, h.Age)
	}
}

func TestHandle(t *testing.T) {
	h := NewHandle(0x1234, 0x56)
	require.Equal(t, uint16(0x1234), h.Slot())
	require.Equal(t, uint8(0x56), h.Generation())
	require.Less(t, h, Handle(1<<24))
}

func FuzzParseHeader(f *testing.F) {
	b := make([]byte, Overhead)
	Header{Type: TypeGoAway, Phase: 1, Handle: 7, Age: time.Second, Cycle: 3, Seq: 99}.Put(b)
	f.Add(b)
	f.Add([]byte{0xc0})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHeader(b)
		if err != nil {
			return
		}
		again := make([]byte, len(b))
		h.Put(again)
		require.Equal(t, b[:HeaderLen], again[:HeaderLen])
	})
}
