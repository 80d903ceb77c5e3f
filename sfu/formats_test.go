package sfu

import (
	"testing"

	"github.com/stretchr/testify/require"

	"rheomesh/internal/codec"
	"rheomesh/internal/rtpx"
	"rheomesh/internal/sdp"
)

// trackWith is a track as a publisher's offer makes it.
func trackWith(codecs ...sdp.Codec) *Track {
	t := &Track{}
	for _, c := range codecs {
		known, ok := codec.Parse(c.Name)
		if !ok {
			panic(c.Name)
		}
		t.codecs[c.PT] = trackCodec{codec: known, sdp: c}
	}
	return t
}

func h264(pt uint8, fmtp string) sdp.Codec {
	return sdp.Codec{PT: pt, Name: sdp.H264, ClockRate: 90000, Fmtp: fmtp}
}

func rtxOf(pt uint8, apt string) sdp.Codec {
	return sdp.Codec{PT: pt, Name: sdp.RTX, ClockRate: 90000, Fmtp: "apt=" + apt}
}

func opusAs(pt uint8) sdp.Codec {
	return sdp.Codec{PT: pt, Name: sdp.Opus, ClockRate: 48000, Channels: 2}
}

func redAs(pt uint8, fmtp string) sdp.Codec {
	return sdp.Codec{PT: pt, Name: sdp.RED, ClockRate: 48000, Channels: 2, Fmtp: fmtp}
}

const (
	baseline0 = "packetization-mode=0;profile-level-id=42001f"
	baseline1 = "packetization-mode=1;profile-level-id=42001f"
	cbp1      = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"
	main1     = "packetization-mode=1;profile-level-id=4d001f"
	high1     = "packetization-mode=1;profile-level-id=640032"
)

func TestFormatsOfAViewer(t *testing.T) {
	browser := []sdp.Codec{
		{PT: 96, Name: sdp.VP8, ClockRate: 90000},
		rtxOf(97, "96"),
		h264(102, baseline1), rtxOf(103, "102"), h264(104, baseline0), h264(106, cbp1), rtxOf(107, "106"), h264(112, main1), h264(115, high1),
		{PT: 98, Name: sdp.VP9, ClockRate: 90000, Fmtp: "profile-id=0"},
		{PT: 100, Name: sdp.VP9, ClockRate: 90000, Fmtp: "profile-id=2"},
		rtxOf(101, "100"),
	}
	for _, row := range []struct {
		name    string
		sent    []sdp.Codec
		offered []sdp.Codec
		pt      uint8 // of the publisher's packets
		want    format
	}{
		{"VP8 under another number", []sdp.Codec{{PT: 120, Name: sdp.VP8, ClockRate: 90000}}, browser, 120, format{known: true, pt: 96, rtxPT: 97}},
		{"constrained baseline of OBS", []sdp.Codec{h264(125, "profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1")}, browser, 125, format{known: true, pt: 106, rtxPT: 107}},
		{"42c0 means 42e0", []sdp.Codec{h264(125, "packetization-mode=1;profile-level-id=42c02a")}, browser, 125, format{known: true, pt: 106, rtxPT: 107}},
		{"baseline keeps off constrained baseline", []sdp.Codec{h264(125, baseline1)}, browser, 125, format{known: true, pt: 102, rtxPT: 103}},
		{"4d40 is main as 4d00 is", []sdp.Codec{h264(125, "packetization-mode=1;profile-level-id=4d401e")}, browser, 125, format{known: true, pt: 112}},
		{"high of another level", []sdp.Codec{h264(125, "packetization-mode=1;profile-level-id=64001f")}, browser, 125, format{known: true, pt: 115}},
		{"seven digits of FFmpeg", []sdp.Codec{h264(125, "packetization-mode=1;profile-level-id=422001f")}, browser, 125, format{known: true, pt: 106, rtxPT: 107}},
		{"no fmtp is single NAL unit mode", []sdp.Codec{h264(125, "")}, browser, 125, format{known: true, pt: 104}},
		{"profile that nobody lists", []sdp.Codec{h264(125, "packetization-mode=1;profile-level-id=f4001f")}, browser, 125, format{known: true, pt: 102, rtxPT: 103}},
		{"mode 0 to a viewer of mode 1 only", []sdp.Codec{h264(125, baseline0)}, []sdp.Codec{h264(102, high1)}, 125, format{known: true, pt: 102}},
		{"VP9 profile 2", []sdp.Codec{{PT: 35, Name: sdp.VP9, ClockRate: 90000, Fmtp: "profile-id=2"}}, browser, 35, format{known: true, pt: 100, rtxPT: 101}},
		{"VP9 profile 1 is not offered", []sdp.Codec{{PT: 35, Name: sdp.VP9, ClockRate: 90000, Fmtp: "profile-id=1"}}, browser, 35, format{}},
		{"codec that the viewer lacks", []sdp.Codec{{PT: 45, Name: sdp.AV1, ClockRate: 90000}}, browser, 45, format{}},
		{"payload type that the publisher never declared", []sdp.Codec{h264(125, cbp1)}, browser, 96, format{}},
		{"RED with the same numbers", []sdp.Codec{opusAs(111), redAs(63, "111/111")}, []sdp.Codec{opusAs(111), redAs(63, "111/111")}, 63, format{known: true, pt: 63}},
		{"RED with the same numbers but its own", []sdp.Codec{opusAs(111), redAs(63, "111/111")}, []sdp.Codec{opusAs(111), redAs(122, "111/111")}, 63, format{known: true, pt: 122}},
		{"RED over another number of opus", []sdp.Codec{opusAs(111), redAs(63, "111/111")}, []sdp.Codec{opusAs(109), redAs(63, "109/109")}, 63, format{known: true, pt: 109, primaryRED: true}},
		{"RED to a viewer without it", []sdp.Codec{opusAs(111), redAs(63, "111/111")}, []sdp.Codec{opusAs(111)}, 63, format{known: true, pt: 111, primaryRED: true}},
		{"opus beside RED", []sdp.Codec{opusAs(111), redAs(63, "111/111")}, []sdp.Codec{opusAs(109), redAs(63, "109/109")}, 111, format{known: true, pt: 109}},
		{"RED to a viewer without opus", []sdp.Codec{opusAs(111), redAs(63, "111/111")}, []sdp.Codec{{PT: 0, Name: sdp.PCMU, ClockRate: 8000, Channels: 1}}, 63, format{}},
		{"G722", []sdp.Codec{{PT: 9, Name: sdp.G722, ClockRate: 8000, Channels: 1}}, []sdp.Codec{{PT: 9, Name: sdp.G722, ClockRate: 8000}}, 9, format{known: true, pt: 9}},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := &forwarder{codecs: row.offered}
			require.Equal(t, row.want, f.mapFormats(trackWith(row.sent...))[row.pt])
		})
	}
}

func TestExtensionsOfAViewer(t *testing.T) {
	var track Track
	for i, uri := range []string{sdp.ExtMID, sdp.ExtRID, sdp.ExtRepairedRID, sdp.ExtTransportCC, sdp.ExtAbsSendTime, sdp.ExtAudioLevel, sdp.ExtOrientation, sdp.ExtPlayoutDelay} {
		track.extensions = append(track.extensions, sdp.Extension{ID: i + 1, URI: uri})
	}
	f := &forwarder{extensions: []sdp.Extension{
		{ID: 1, URI: sdp.ExtPlayoutDelay}, {ID: 2, URI: sdp.ExtMID}, {ID: 3, URI: sdp.ExtAbsSendTime}, {ID: 4, URI: sdp.ExtTransportCC}, {ID: 5, URI: sdp.ExtAudioLevel}, {ID: 14, URI: sdp.ExtDependency},
	}}
	packet := rawPacket(96, 1, 2, 3, nil)
	packet[0] |= 0x10
	packet = append(packet, 0xbe, 0xde, 0, 4)
	for id := byte(1); id <= 8; id++ {
		packet = append(packet, id<<4, 0x40|id) // one byte of value
	}
	header, err := rtpx.Parse(packet)
	require.NoError(t, err)
	out := rtpx.AppendHeader(nil, packet, header, &rtpx.Rewrite{Extensions: f.mapExtensions(&track)})
	got, err := rtpx.Parse(out)
	require.NoError(t, err)
	for id, want := range map[uint8][]byte{1: {0x48}, 2: nil, 3: nil, 4: nil, 5: {0x46}, 14: nil} {
		value, _ := rtpx.Extension(out, got, id)
		require.Equal(t, want, value, "id %d", id)
	}
}

func TestREDPrimary(t *testing.T) {
	for _, row := range []struct {
		name          string
		payload, want []byte
	}{
		{"primary only", []byte{111, 1, 2, 3}, []byte{1, 2, 3}},
		{"empty primary", []byte{111}, []byte{}},
		{"one redundant block", []byte{0x80 | 111, 0, 0, 2, 111, 9, 9, 1, 2}, []byte{1, 2}},
		{"two redundant blocks", []byte{0x80 | 111, 0, 0, 1, 0x80 | 111, 0, 0, 2, 111, 7, 8, 8, 1}, []byte{1}},
		{"the offset shares a byte with the length", []byte{0x80 | 111, 0xff, 0xfc, 1, 111, 7, 1}, []byte{1}},
		{"redundant block longer than the packet", []byte{0x80 | 111, 0, 3, 0xff, 111, 1}, nil},
		{"header cut", []byte{0x80 | 111, 0, 0}, nil},
		{"no primary header", []byte{0x80 | 111, 0, 0, 0}, nil},
		{"nothing", nil, nil},
	} {
		t.Run(row.name, func(t *testing.T) { require.Equal(t, row.want, redPrimary(row.payload)) })
	}
}

// FuzzREDPrimary: whatever comes, the primary block is the end of the payload.
func FuzzREDPrimary(f *testing.F) {
	f.Add([]byte{0x80 | 111, 0, 0, 2, 111, 9, 9, 1, 2})
	f.Add([]byte{0x80 | 111, 0, 3, 0xff, 111, 1})
	f.Add([]byte{111})
	f.Fuzz(func(t *testing.T, payload []byte) {
		primary := redPrimary(payload)
		if len(primary) >= len(payload) && len(payload) > 0 {
			t.Fatalf("%d bytes from %d", len(primary), len(payload))
		}
		if string(payload[len(payload)-len(primary):]) != string(primary) {
			t.Fatal("not the end of the payload")
		}
	})
}
