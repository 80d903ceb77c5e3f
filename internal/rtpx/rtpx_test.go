package rtpx_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"rheomesh/internal/rtpx"
)

// unhex decodes a packet drawn in hex; spaces are for the reader.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	require.NoError(t, err)
	return b
}

const (
	plain   = "80e0 fffe 00000bb8 deadbeef"                               // marker, PT 96, seq 65534, timestamp 3000
	oneByte = "9060 0001 00000000 00000001 bede 0002 10ff 2261 6263 0000" // id 1: ff, id 2: "abc", padding
	twoByte = "9060 0001 00000000 00000001 1000 0002 0101 ff02 0200 6162" // id 1: ff, id 2: 00 61, then a cut element
)

func TestParse(t *testing.T) {
	for _, row := range []struct {
		name    string
		packet  string
		want    rtpx.Header
		payload string
	}{
		{
			"plain", plain + "0102",
			rtpx.Header{PayloadType: 96, Marker: true, Seq: 65534, Timestamp: 3000, SSRC: 0xdeadbeef, HeaderLen: 12},
			"0102",
		},
		{
			"empty payload", plain,
			rtpx.Header{PayloadType: 96, Marker: true, Seq: 65534, Timestamp: 3000, SSRC: 0xdeadbeef, HeaderLen: 12},
			"",
		},
		{
			"csrcs and padding", "a200 0001 00000002 00000003 0000000a 0000000b aabb 000003",
			rtpx.Header{Padding: true, CSRCCount: 2, Seq: 1, Timestamp: 2, SSRC: 3, HeaderLen: 20, PaddingLen: 3},
			"aabb",
		},
		{
			"padding alone", "a000 0001 00000002 00000003 00000004",
			rtpx.Header{Padding: true, Seq: 1, Timestamp: 2, SSRC: 3, HeaderLen: 12, PaddingLen: 4},
			"",
		},
		{
			"extension", oneByte + "cc",
			rtpx.Header{
				PayloadType: 96, Extension: true, Seq: 1, SSRC: 1, ExtProfile: 0xbede,
				HeaderLen: 24, ExtOffset: 16, ExtLen: 8,
			},
			"cc",
		},
		{
			"empty extension behind a csrc", "9100 0001 00000002 00000003 0000000a 1234 0000 cc",
			rtpx.Header{Extension: true, CSRCCount: 1, Seq: 1, Timestamp: 2, SSRC: 3, ExtProfile: 0x1234, HeaderLen: 20, ExtOffset: 20},
			"cc",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := unhex(t, row.packet)
			h, err := rtpx.Parse(b)
			require.NoError(t, err)
			assert.Equal(t, row.want, h)
			assert.Equal(t, unhex(t, row.payload), append([]byte{}, h.Payload(b)...))
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, row := range []struct {
		name   string
		packet string
		want   error
	}{
		{"nothing", "", rtpx.ErrShort},
		{"version 1", "40e0 fffe 00000bb8 deadbeef", rtpx.ErrVersion},
		{"version 3", "c0e0 fffe 00000bb8 deadbeef", rtpx.ErrVersion},
		{"csrc list cut", "8200 0001 00000002 00000003 0000000a 0000", rtpx.ErrShort},
		{"fifteen csrcs missing", "8f00 0001 00000002 00000003", rtpx.ErrShort},
		{"extension header cut", "9000 0001 00000002 00000003 bede", rtpx.ErrShort},
		{"extension longer than the packet", "9000 0001 00000002 00000003 bede 0002 00000000", rtpx.ErrExtension},
		{"largest extension", "9000 0001 00000002 00000003 bede ffff", rtpx.ErrExtension},
		{"padding zero", "a000 0001 00000002 00000003 0000", rtpx.ErrPadding},
		{"padding larger than the payload", "a000 0001 00000002 00000003 aa03", rtpx.ErrPadding},
		{"padding bit without a payload", "a000 0001 00000002 00000003", rtpx.ErrPadding},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := rtpx.Parse(unhex(t, row.packet))
			assert.ErrorIs(t, err, row.want)
		})
	}
}

// A datagram cut anywhere within its header must be refused.
func TestParseRefusesEveryPrefixOfTheHeader(t *testing.T) {
	for _, packet := range []string{
		plain, oneByte, twoByte,
		"9f60 0001 00000000 00000001" + strings.Repeat("0000000a", 15) + "bede 0001 10ff 0000",
	} {
		b := unhex(t, packet)
		for n := range b {
			_, err := rtpx.Parse(b[:n:n])
			assert.Error(t, err, "%s cut to %d bytes", packet, n)
		}
		_, err := rtpx.Parse(b)
		assert.NoError(t, err)
	}
}

func TestClassify(t *testing.T) {
	for _, row := range []struct {
		name string
		in   []byte
		want rtpx.Class
		text string
	}{
		{"empty", nil, rtpx.Unknown, "unknown"},
		{"binding request", []byte{0, 1}, rtpx.STUN, "stun"},
		{"last of STUN", []byte{3}, rtpx.STUN, "stun"},
		{"unassigned", []byte{4}, rtpx.Unknown, "unknown"},
		{"ZRTP", []byte{16}, rtpx.Unknown, "unknown"},
		{"first of DTLS", []byte{20}, rtpx.DTLS, "dtls"},
		{"last of DTLS", []byte{63}, rtpx.DTLS, "dtls"},
		{"TURN channel", []byte{64, 0}, rtpx.Unknown, "unknown"},
		{"unassigned below RTP", []byte{127, 96}, rtpx.Unknown, "unknown"},
		{"RTP", []byte{128, 96}, rtpx.RTP, "rtp"},
		{"RTP with marker, PT 63", []byte{128, 191}, rtpx.RTP, "rtp"},
		{"first of RTCP", []byte{128, 192}, rtpx.RTCP, "rtcp"},
		{"sender report", []byte{129, 200}, rtpx.RTCP, "rtcp"},
		{"last of RTCP", []byte{191, 223}, rtpx.RTCP, "rtcp"},
		{"RTP with marker, PT 96", []byte{191, 224}, rtpx.RTP, "rtp"},
		{"one byte of RTP", []byte{128}, rtpx.Unknown, "unknown"},
		{"above RTP", []byte{192, 200}, rtpx.Unknown, "unknown"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := rtpx.Classify(row.in)
			assert.Equal(t, row.want, got)
			assert.Equal(t, row.text, got.String())
			assert.Equal(t, row.want == rtpx.RTCP, row.in != nil && row.in[0]>>6 == 2 && rtpx.IsRTCP(row.in))
		})
	}
}

func TestExtension(t *testing.T) {
	header := func(profileAndData string) string { return "9060 0001 00000000 00000001" + profileAndData }
	for _, row := range []struct {
		name   string
		packet string
		id     uint8
		want   string
		found  bool
	}{
		{"one-byte form, first", oneByte, 1, "ff", true},
		{"one-byte form, second", oneByte, 2, "616263", true},
		{"one-byte form, absent", oneByte, 3, "", false},
		{"id 0 is padding", oneByte, 0, "", false},
		{"one-byte form, longest", header("bede 0005 3f000102030405060708090a0b0c0d0e0f 000000"), 3, "000102030405060708090a0b0c0d0e0f", true},
		{"one-byte form, behind padding", header("bede 0001 0000 40aa"), 4, "aa", true},
		{"one-byte form, id 15 stops", header("bede 0001 f000 40aa"), 4, "", false},
		{"one-byte form, id 15 is not an element", header("bede 0001 f000 40aa"), 15, "", false},
		{"one-byte form, id 0 with a length stops", header("bede 0001 0100 40aa"), 4, "", false},
		{"one-byte form, element longer than the extension", header("bede 0001 43aa bbcc"), 4, "", false},
		{"two-byte form, first", twoByte, 1, "ff", true},
		{"two-byte form, second", twoByte, 2, "0061", true},
		{"two-byte form, cut", twoByte, 0x62, "", false},
		{"two-byte form, longer than the extension", header("1000 0001 0405 aabb"), 4, "", false},
		{"two-byte form, empty", header("1000 0001 c800 0000"), 200, "", true},
		{"two-byte form, application bits", header("100f 0001 0f02 aabb"), 15, "aabb", true},
		{"two-byte form, behind padding", header("1000 0001 0004 01aa"), 4, "aa", true},
		{"two-byte form, id without length", header("1000 0001 0000 0004"), 4, "", false},
		{"other profile", header("1234 0001 40aa 0000"), 4, "", false},
		{"no extension", plain, 1, "", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := unhex(t, row.packet)
			h, err := rtpx.Parse(b)
			require.NoError(t, err)
			got, ok := rtpx.Extension(b, h, row.id)
			assert.Equal(t, row.found, ok)
			assert.Equal(t, row.want, hex.EncodeToString(got))
		})
	}
	t.Run("header of a longer packet", func(t *testing.T) {
		h, err := rtpx.Parse(unhex(t, oneByte))
		require.NoError(t, err)
		_, ok := rtpx.Extension(unhex(t, plain), h, 1)
		assert.False(t, ok)
	})
}

// FuzzParse reads, looks up, rewrites and reads again; pion's parser must agree on what both accept.
func FuzzParse(f *testing.F) {
	for _, packet := range []string{plain, oneByte, twoByte, "a200 0001 00000002 00000003 0000000a 0000000b aabb 000003"} {
		f.Add(unhex(f, packet))
	}
	m := &rtpx.ExtensionMap{}
	for id := range uint8(rtpx.MaxExtensionID) {
		m.Map(id+1, rtpx.MaxExtensionID-id)
	}
	m.Set(9, []byte("mid"))
	rw := &rtpx.Rewrite{PayloadType: 127, Seq: 1, Timestamp: 2, SSRC: 3, Extensions: m}
	f.Fuzz(func(t *testing.T, b []byte) {
		rtpx.Classify(b)
		rtpx.IsRTCP(b)
		h, err := rtpx.Parse(b)
		if err != nil {
			return
		}
		require.LessOrEqual(t, len(h.Payload(b))+h.HeaderLen+h.PaddingLen, len(b))
		for id := range 256 {
			rtpx.Extension(b, h, uint8(id))
		}
		out := rtpx.AppendHeader(nil, b, h, rw)
		require.LessOrEqual(t, len(out), h.HeaderLen+rtpx.MaxHeaderGrowth)
		again, err := rtpx.Parse(out)
		require.NoError(t, err)
		require.Equal(t, len(out), again.HeaderLen)
		mid, ok := rtpx.Extension(out, again, 9)
		require.True(t, ok)
		require.Equal(t, "mid", string(mid))
		var theirs rtp.Header
		_, err = theirs.Unmarshal(out)
		require.NoError(t, err)

		var original rtp.Header
		if n, err := original.Unmarshal(b); err == nil {
			require.Equal(t, n, h.HeaderLen)
			require.Equal(t, original.SequenceNumber, h.Seq)
			require.Equal(t, original.SSRC, h.SSRC)
			require.Equal(t, original.Timestamp, h.Timestamp)
			require.Equal(t, original.PayloadType, h.PayloadType)
			require.Equal(t, original.Marker, h.Marker)
		}
	})
}
