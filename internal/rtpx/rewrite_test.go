package rtpx_test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"rheomesh/internal/rtpx"
)

func TestAppendHeader(t *testing.T) {
	type pair struct{ in, out uint8 }
	const long = "11223344556677889900aabbccddeeff" // the longest value of the one-byte form
	header := func(profileAndData string) string { return "9060 0001 00000000 00000001" + profileAndData }
	for _, row := range []struct {
		name   string
		packet string
		ids    []pair
		fixed  map[uint8]string
		want   string // behind the fixed header; empty when the extension bit must be clear
	}{
		{"no extension stays none", plain, []pair{{1, 1}}, nil, ""},
		{"nothing mapped drops the extension", oneByte, nil, nil, ""},
		{"one kept", oneByte, []pair{{2, 2}}, nil, "bede0001 22616263"},
		{"renumbered", oneByte, []pair{{1, 5}, {2, 14}}, nil, "bede0002 50ffe261 62630000"},
		{"swapped", oneByte, []pair{{1, 2}, {2, 1}}, nil, "bede0002 20ff1261 62630000"},
		{"mapped away again", oneByte, []pair{{1, 1}, {2, 2}, {1, 0}}, nil, "bede0001 22616263"},
		{"large id takes the two-byte form", oneByte, []pair{{1, 15}}, nil, "10000001 0f01ff00"},
		{"large id of an absent element does not", oneByte, []pair{{1, 1}, {3, 20}}, nil, "bede0001 10ff0000"},
		{"two-byte form shrinks when all fits", twoByte, []pair{{1, 1}, {2, 2}}, nil, "bede0002 10ff2100 61000000"},
		{"empty value needs the two-byte form", header("1000 0001 0300 0000"), []pair{{3, 3}}, nil, "10000001 03000000"},
		{"sixteen bytes fit the one-byte form", header("1000 0005 0310" + long + "0000"), []pair{{3, 3}}, nil, "bede0005 3f" + long + "000000"},
		{"seventeen do not", header("1000 0005 0311" + long + "77 00"), []pair{{3, 3}}, nil, "10000005 0311" + long + "7700"},
		{"long but dropped does not matter", header("1000 0006 0311" + long + "77 0401 aa00 00"), []pair{{4, 4}}, nil, "bede0001 40aa0000"},
		{"ids above the map are dropped", header("1000 0002 2001 aa00 0101 bb00"), []pair{{1, 1}}, nil, "bede0001 10bb0000"},
		{"fixed added to nothing", plain, nil, map[uint8]string{4: "video"}, "bede0002 44766964 656f0000"},
		{"fixed added behind", oneByte, []pair{{1, 1}}, map[uint8]string{4: "0"}, "bede0001 10ff4030"},
		{"fixed replaces a carried one", oneByte, []pair{{1, 4}, {2, 2}}, map[uint8]string{4: "0"}, "bede0002 22616263 40300000"},
		{"fixed with a large id", oneByte, []pair{{1, 1}}, map[uint8]string{16: "0"}, "10000002 0101ff10 01300000"},
		{"other profile is dropped", header("1234 0001 40aa 0000"), []pair{{4, 4}}, nil, ""},
		{"csrcs are dropped", "8200 0001 00000002 00000003 0000000a 0000000b aabb", nil, nil, ""},
		{"padding bit is dropped", "a000 0001 00000002 00000003 aa000002", nil, nil, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := unhex(t, row.packet)
			before := bytes.Clone(b)
			h, err := rtpx.Parse(b)
			require.NoError(t, err)
			var m rtpx.ExtensionMap
			for _, p := range row.ids {
				require.True(t, m.Map(p.in, p.out))
			}
			for id, value := range row.fixed {
				require.True(t, m.Set(id, []byte(value)))
			}
			rw := &rtpx.Rewrite{PayloadType: 111, Seq: 0x0203, Timestamp: 0x04050607, SSRC: 0x08090a0b, Marker: true, Extensions: &m}
			want := "80ef0203" + "04050607" + "08090a0b" + strings.ReplaceAll(row.want, " ", "")
			if row.want != "" {
				want = "90" + want[2:]
			}
			assert.Equal(t, "ff"+want, hex.EncodeToString(rtpx.AppendHeader([]byte{0xff}, b, h, rw)))
			assert.Equal(t, before, b, "the source packet is immutable")
		})
	}
}

func TestAppendHeaderWithoutMapDropsTheExtension(t *testing.T) {
	b := unhex(t, oneByte)
	h, err := rtpx.Parse(b)
	require.NoError(t, err)
	got := rtpx.AppendHeader(nil, b, h, &rtpx.Rewrite{PayloadType: 255, SSRC: 9})
	assert.Equal(t, "807f00000000000000000009", hex.EncodeToString(got), "payload type is 7 bits")
}

func TestExtensionMapLimits(t *testing.T) {
	var m rtpx.ExtensionMap
	assert.False(t, m.Map(0, 1))
	assert.False(t, m.Map(rtpx.MaxExtensionID+1, 1))
	assert.False(t, m.Map(1, rtpx.MaxExtensionID+1))
	assert.True(t, m.Map(rtpx.MaxExtensionID, rtpx.MaxExtensionID))
	assert.False(t, m.Set(0, []byte{1}))
	assert.False(t, m.Set(rtpx.MaxExtensionID+1, []byte{1}))
	assert.False(t, m.Set(1, nil))
	assert.False(t, m.Set(1, make([]byte, rtpx.MaxFixedValueBytes+1)))
	for id := range uint8(rtpx.MaxFixedElements) {
		assert.True(t, m.Set(id+1, make([]byte, rtpx.MaxFixedValueBytes)))
	}
	assert.False(t, m.Set(9, []byte{1}), "no place left")
	assert.True(t, m.Set(2, []byte{1}), "a known element only changes its value")
}

// The worst case: every element changes form, every place is used. It must reach the documented bound, or the bound is too lax.
func TestMaxHeaderGrowth(t *testing.T) {
	var m rtpx.ExtensionMap
	m.Map(1, 20)
	for id := range uint8(rtpx.MaxFixedElements) {
		m.Set(16+id, make([]byte, rtpx.MaxFixedValueBytes))
	}
	withElements := unhex(t, "9060 0001 00000000 00000001 bede 0010"+strings.Repeat("10ff", 32))
	for _, b := range [][]byte{withElements, unhex(t, plain)} {
		h, err := rtpx.Parse(b)
		require.NoError(t, err)
		out := rtpx.AppendHeader(nil, b, h, &rtpx.Rewrite{Extensions: &m})
		assert.LessOrEqual(t, len(out), h.HeaderLen+rtpx.MaxHeaderGrowth)
	}
	h, _ := rtpx.Parse(unhex(t, plain))
	out := rtpx.AppendHeader(nil, unhex(t, plain), h, &rtpx.Rewrite{Extensions: &m})
	assert.Len(t, out, h.HeaderLen+4+16*rtpx.MaxFixedElements)
}

type element struct {
	id    uint8
	value []byte
}

// pion writes a packet, we rewrite it, pion reads it: header fields, surviving elements in order, and payload must be what
// the rewrite asked for.
func TestRewriteAgreesWithPion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		twoByte := rapid.Bool().Draw(t, "two-byte form")
		maxID, minLen, maxLen := 14, 1, 16
		if twoByte {
			maxID, minLen, maxLen = 40, 0, 40
		}
		source := rtp.Packet{Header: rtp.Header{
			Version: 2, Marker: rapid.Bool().Draw(t, "marker"), PayloadType: 96, SequenceNumber: rapid.Uint16().Draw(t, "seq"),
			Timestamp: rapid.Uint32().Draw(t, "ts"), SSRC: rapid.Uint32().Draw(t, "ssrc"),
			CSRC: rapid.SliceOfN(rapid.Uint32(), 0, 15).Draw(t, "csrc"),
		}, Payload: rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "payload")}
		ids := rapid.SliceOfNDistinct(rapid.IntRange(1, maxID), 0, 8, rapid.ID[int]).Draw(t, "ids")
		var elements []element
		if len(ids) > 0 {
			source.Extension, source.ExtensionProfile = true, rtp.ExtensionProfileOneByte
			if twoByte {
				source.ExtensionProfile = rtp.ExtensionProfileTwoByte
			}
		}
		for _, id := range ids {
			e := element{uint8(id), rapid.SliceOfN(rapid.Byte(), minLen, maxLen).Draw(t, "value")}
			require.NoError(t, source.SetExtension(e.id, e.value))
			elements = append(elements, e)
		}
		if n := rapid.IntRange(0, 255).Draw(t, "padding"); n > 0 {
			source.Padding, source.PaddingSize = true, byte(n)
		}
		b, err := source.Marshal()
		require.NoError(t, err)

		var m rtpx.ExtensionMap
		outgoing := rapid.Permutation([]uint8{0, 1, 2, 3, 4, 5, 14, 15, 16, 31}).Draw(t, "outgoing")
		var want []element
		fixed := element{7, rapid.SliceOfN(rapid.Byte(), 0, rtpx.MaxFixedValueBytes).Draw(t, "fixed")}
		for i, e := range elements {
			if m.Map(e.id, outgoing[i]) && outgoing[i] != 0 {
				want = append(want, element{outgoing[i], e.value})
			}
		}
		if m.Set(fixed.id, fixed.value) {
			want = append(want, fixed)
		}

		h, err := rtpx.Parse(b)
		require.NoError(t, err)
		require.Equal(t, int(source.PaddingSize), h.PaddingLen)
		for _, e := range elements {
			value, ok := rtpx.Extension(b, h, e.id)
			require.True(t, ok)
			require.True(t, bytes.Equal(e.value, value))
		}
		rw := rtpx.Rewrite{PayloadType: 101, Seq: 65535, Timestamp: 7, SSRC: 8, Marker: !source.Marker, Extensions: &m}
		out := rtpx.AppendHeader(nil, b, h, &rw)
		require.LessOrEqual(t, len(out), h.HeaderLen+rtpx.MaxHeaderGrowth)
		out = append(out, h.Payload(b)...)

		var got rtp.Packet
		require.NoError(t, got.Unmarshal(out))
		require.Equal(t, rw.PayloadType, got.PayloadType)
		require.Equal(t, rw.Seq, got.SequenceNumber)
		require.Equal(t, rw.Timestamp, got.Timestamp)
		require.Equal(t, rw.SSRC, got.SSRC)
		require.Equal(t, rw.Marker, got.Marker)
		require.Empty(t, got.CSRC)
		require.True(t, bytes.Equal(source.Payload, got.Payload))
		require.Equal(t, len(want) > 0, got.Extension)
		narrow := true
		for _, e := range want {
			require.True(t, bytes.Equal(e.value, got.GetExtension(e.id)), "id %d", e.id)
			narrow = narrow && e.id <= 14 && len(e.value) >= 1 && len(e.value) <= 16
		}
		require.Len(t, got.GetExtensionIDs(), len(want))
		if len(want) > 0 {
			require.Equal(t, narrow, got.ExtensionProfile == rtp.ExtensionProfileOneByte)
		}
	})
}

func TestHotPathDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	packets := [][]byte{unhex(t, plain+"0102"), unhex(t, oneByte+"0102"), unhex(t, twoByte+"0102")}
	var m rtpx.ExtensionMap
	m.Map(1, 3)
	m.Map(2, 20)
	rw := &rtpx.Rewrite{PayloadType: 96, Extensions: &m}
	dst, mid := make([]byte, 0, 1500), []byte("0")
	assert.Zero(t, testing.AllocsPerRun(10, func() {
		for i := range 300 {
			b := packets[i%len(packets)]
			h, err := rtpx.Parse(b)
			if err != nil || rtpx.Classify(b) != rtpx.RTP {
				t.Fatal("not RTP")
			}
			rtpx.Extension(b, h, 2)
			m.Set(4, mid)
			rw.Seq++
			dst = append(rtpx.AppendHeader(dst[:0], b, h, rw), h.Payload(b)...)
		}
	}))
}

func BenchmarkParse(b *testing.B) {
	packet := unhex(b, oneByte+"0102")
	for b.Loop() {
		if _, err := rtpx.Parse(packet); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendHeader(b *testing.B) {
	packet := unhex(b, oneByte+"0102")
	h, err := rtpx.Parse(packet)
	require.NoError(b, err)
	var m rtpx.ExtensionMap
	m.Map(1, 3)
	m.Map(2, 5)
	m.Set(4, []byte("0"))
	dst := make([]byte, 0, 1500)
	for _, row := range []struct {
		name string
		m    *rtpx.ExtensionMap
	}{{"bare", nil}, {"extensions", &m}} {
		b.Run(row.name, func(b *testing.B) {
			rw := &rtpx.Rewrite{PayloadType: 96, Extensions: row.m}
			for b.Loop() {
				dst = rtpx.AppendHeader(dst[:0], packet, h, rw)
			}
		})
	}
}

// The padding bit is the caller's word about what it appends, whatever the publisher's packet had.
func TestRewritePadding(t *testing.T) {
	source := []byte{0xa0, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 9, 1}
	h, err := rtpx.Parse(source)
	require.NoError(t, err)
	require.True(t, h.Padding)
	require.EqualValues(t, 0x80, rtpx.AppendHeader(nil, source, h, &rtpx.Rewrite{})[0])
	require.EqualValues(t, 0xa0, rtpx.AppendHeader(nil, source, h, &rtpx.Rewrite{Padding: true})[0])
}
