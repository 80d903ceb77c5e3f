package sdp

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseClients(t *testing.T) {
	tests := []struct {
		fixture    string
		mids       string
		directions string
		codecs     string // per section, separated by |
		setup      Setup
		ufrag      string
		candidates int
		simulcast  string
	}{
		{
			"chromium_publish_simulcast", "0 1", "sendonly sendonly",
			"opus red G722 PCMU PCMA CN telephone-event telephone-event|VP8 rtx H264 rtx H264 rtx H264 rtx H264 rtx H264 rtx H264 rtx AV1 rtx VP9 rtx VP9 rtx red rtx ulpfec",
			SetupActPass, "MpGU", 0, "l m h",
		},
		{"obs30", "0 1", "sendonly sendonly", "opus|H264", SetupActPass, "s4Pf", 2, ""},
		{"obs32", "0 1", "sendonly sendonly", "opus|H264", SetupActPass, "Kd8w", 0, ""},
		{"obs32_simulcast1", "0 1", "sendonly sendonly", "opus|H264", SetupActPass, "Kd8w", 0, "0"},
		{"obs32_simulcast4", "0 1", "sendonly sendonly", "opus|H264", SetupActPass, "Kd8w", 0, "0 1 2 3"},
		{"ffmpeg_passive", "0 1", "sendonly sendonly", "opus|H264", SetupPassive, "6a1f0c9e", 0, ""},
		{"ffmpeg_active_rtx", "0 1", "sendonly sendonly", "opus|H264 rtx", SetupActive, "6a1f0c9e", 0, ""},
		{"ffmpeg_seven_digits", "1", "sendonly", "H264", SetupPassive, "6a1f0c9e", 0, ""},
		{"gstreamer_publish", "video0 audio1", "sendonly sendonly", "H264 rtx red ulpfec rtx|opus", SetupActPass, "Wz0sQ9mZ1pYxT6uK8vR2nB4cE7dF3gHj", 6, ""},
		{"gstreamer_play", "video0 audio1", "recvonly recvonly", "VP8 VP9 H264 H265 AV1|opus", SetupActPass, "b7Kq2Lx9", 1, ""},
		{
			"firefox_publish", "0 1", "sendonly sendonly",
			"opus G722 PCMU PCMA telephone-event|VP8 rtx VP9 rtx H264 rtx H264 rtx ulpfec red rtx", SetupActPass, "a7c31e0f", 0, "",
		},
		{
			"safari_publish", "0 1", "sendrecv sendrecv",
			"opus red G722 PCMU PCMA CN telephone-event telephone-event|H264 rtx H264 rtx H265 rtx VP8 rtx", SetupActPass, "yN3c", 1, "",
		},
		{"eyevinn_play", "0 1", "recvonly recvonly", "VP8 rtx H264 rtx|opus G722", SetupActPass, "pL0k", 3, ""},
		{"medooze_publish", "0 1", "sendonly sendonly", "opus|VP9 rtx", SetupActPass, "Zx9v", 1, "a b c"},
		{"libdatachannel_play", "video audio data", "recvonly recvonly sendrecv", "H264|opus|", SetupActPass, "n2Bv", 0, ""},
	}
	for _, test := range tests {
		t.Run(test.fixture, func(t *testing.T) {
			d := parsed(t, test.fixture)
			var mids, directions, codecs, simulcast []string
			for _, m := range d.Media {
				mids, directions = append(mids, m.MID), append(directions, string(m.Direction))
				codecs = append(codecs, names(m.Codecs))
				simulcast = append(simulcast, m.SimulcastSend...)
			}
			require.Equal(t, test.mids, strings.Join(mids, " "))
			require.Equal(t, test.directions, strings.Join(directions, " "))
			require.Equal(t, test.codecs, strings.Join(codecs, "|"))
			require.Equal(t, test.simulcast, strings.Join(simulcast, " "))
			require.Equal(t, test.setup, d.Setup)
			require.Equal(t, test.ufrag, d.ICE.Ufrag)
			require.Len(t, d.Candidates, test.candidates)
			require.Equal(t, "sha-256", d.Fingerprint.Algorithm)
			require.Len(t, d.Fingerprint.Value, 95)
		})
	}
}

// Every client's offer reads the same whatever its line ends, and passes the
// checks of its protocol.
func TestParseLineEnds(t *testing.T) {
	for _, name := range fixtures(t) {
		t.Run(name, func(t *testing.T) {
			want := parsed(t, name)
			require.NoError(t, checkRole(want, roleOf(name)))
			text := load(t, name)
			for form, altered := range map[string]string{
				"CRLF":             strings.ReplaceAll(text, "\n", "\r\n"),
				"no last line end": strings.TrimSuffix(text, "\n"),
				"blank lines":      strings.ReplaceAll(text, "\n", "\n\n"),
				"indented":         "  " + strings.ReplaceAll(text, "\n", "\n\t "),
				"preamble":         "HTTP/1.1 200 OK\r\nX: y\r\n\r\n" + text,
				"byte order mark":  "\ufeff" + text,
			} {
				got, err := Parse([]byte(altered), DefaultLimits)
				require.NoError(t, err, form)
				require.Equal(t, want, got, form)
			}
		})
	}
}

func TestParseSection(t *testing.T) {
	d := parsed(t, "ffmpeg_active_rtx")
	video := d.Media[1]
	require.Equal(t, Origin{SessionID: 4489045141692799359, Version: 2}, d.Origin)
	require.Equal(t, []string{"0", "1"}, d.Bundle)
	require.Equal(t, Codec{
		PT: 106, Name: H264, ClockRate: 90000,
		Fmtp:     "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42401f",
		Feedback: []string{"nack"},
	}, video.Codecs[0])
	apt, ok := video.Codecs[1].APT()
	require.True(t, ok)
	require.EqualValues(t, 106, apt)
	require.Equal(t, []SSRC{
		{ID: 1145324612, CNAME: "FFmpeg", StreamID: "FFmpeg"},
		{ID: 1717986918, CNAME: "FFmpeg", StreamID: "FFmpeg"},
	}, video.SSRCs)
	require.Equal(t, []SSRCGroup{{Semantics: "FID", IDs: []uint32{1145324612, 1717986918}}}, video.Groups)
	require.Equal(t, "FFmpeg", video.StreamID)
	require.Equal(t, "video", video.TrackID)
	require.True(t, video.RTCPMux)
	require.True(t, video.RTCPReducedSize)
	require.False(t, d.Media[0].RTCPReducedSize)
	require.Equal(t, Codec{PT: 111, Name: Opus, ClockRate: 48000, Channels: 2}, d.Media[0].Codecs[0])
}

func TestParseData(t *testing.T) {
	data := parsed(t, "libdatachannel_play").Media[2]
	require.Equal(t, Application, data.Kind)
	require.Equal(t, 5000, data.SCTPPort)
	require.Equal(t, 262144, data.MaxMessageSize)
	require.Empty(t, data.Codecs)

	tests := map[string]struct {
		lines      string
		port, size int
	}{
		"silent":        {"m=application 9 UDP/DTLS/SCTP webrtc-datachannel", 5000, 65536},
		"before 8841":   {"m=application 9 DTLS/SCTP 5001\na=sctpmap:5001 webrtc-datachannel 256", 5001, 65536},
		"huge messages": {"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\na=max-message-size:18446744073709551615", 5000, 1<<31 - 1},
		"no limit":      {"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\na=max-message-size:0", 5000, 0},
		"nonsense":      {"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\na=max-message-size:big", 5000, 65536},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			d, err := Parse([]byte(offerWith(test.lines)), DefaultLimits)
			require.NoError(t, err)
			require.Equal(t, test.port, d.Media[1].SCTPPort)
			require.Equal(t, test.size, d.Media[1].MaxMessageSize)
		})
	}
}

func TestParseSloppyCodecs(t *testing.T) {
	tests := map[string]struct {
		mline string
		lines []string
		want  []Codec
	}{
		"static types without rtpmap": {"m=audio 9 UDP/TLS/RTP/SAVPF 0 8 9 13", nil, []Codec{
			{PT: 0, Name: PCMU, ClockRate: 8000, Channels: 1},
			{PT: 8, Name: PCMA, ClockRate: 8000, Channels: 1},
			{PT: 9, Name: G722, ClockRate: 8000, Channels: 1},
		}},
		"upper case, no channels": {
			"m=audio 9 UDP/TLS/RTP/SAVPF 96",
			[]string{"a=rtpmap:96 OPUS/48000"},
			[]Codec{{PT: 96, Name: Opus, ClockRate: 48000, Channels: 2}},
		},
		"parameters before the name, in two lines": {
			"m=video 9 UDP/TLS/RTP/SAVPF 96",
			[]string{"a=fmtp:96 profile-level-id=42e01f; ", "a=fmtp:96 packetization-mode=1", "a=rtpmap:96 h264/90000"},
			[]Codec{{PT: 96, Name: H264, ClockRate: 90000, Fmtp: "profile-level-id=42e01f;packetization-mode=1"}},
		},
		"feedback for all": {
			"m=video 9 UDP/TLS/RTP/SAVPF 96 97",
			[]string{"a=rtcp-fb:* nack  pli", "a=rtcp-fb:96 nack", "a=rtpmap:96 VP8/90000", "a=rtpmap:97 VP9/90000"},
			[]Codec{
				{PT: 96, Name: VP8, ClockRate: 90000, Feedback: []string{"nack", "nack pli"}},
				{PT: 97, Name: VP9, ClockRate: 90000, Feedback: []string{"nack pli"}},
			},
		},
		"unknown, repeated, out of range and unlisted types": {
			"m=video 9 UDP/TLS/RTP/SAVPF 96 96 128 97 x",
			[]string{"a=rtpmap:96 VP8/90000", "a=rtpmap:98 VP9/90000", "a=rtpmap:97 VP9/fast"},
			[]Codec{{PT: 96, Name: VP8, ClockRate: 90000}},
		},
		"static type with another name": {
			"m=audio 9 UDP/TLS/RTP/SAVPF 9",
			[]string{"a=rtpmap:9 L16/44100/2"},
			[]Codec{{PT: 9, Name: "L16", ClockRate: 44100, Channels: 2}},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			text := offerWith(append([]string{test.mline}, test.lines...)...)
			d, err := Parse([]byte(text), DefaultLimits)
			require.NoError(t, err)
			require.Equal(t, test.want, d.Media[1].Codecs)
		})
	}
}

func TestParseSimulcast(t *testing.T) {
	rids := []string{"a=rid:a send", "a=rid:b send pt=111;max-width=640", "a=rid:c send", "a=rid:d recv"}
	tests := map[string]struct {
		value string
		want  []string
	}{
		"plain":            {"send a;b;c", []string{"a", "b", "c"}},
		"paused":           {"send a;~b;~c", []string{"a", "b", "c"}},
		"alternatives":     {"send ~a,b;c", []string{"a", "c"}},
		"both directions":  {"recv d send c;a", []string{"c", "a"}},
		"draft form":       {" send rid=a;b", []string{"a", "b"}},
		"undeclared":       {"send a;x;d", []string{"a"}},
		"repeated":         {"send a;a;b", []string{"a", "b"}},
		"receive only":     {"recv d", nil},
		"nothing":          {"", nil},
		"direction only":   {"send", nil},
		"empty alternates": {"send ;,;~", nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			d, err := Parse([]byte(offerWith(append(rids, "a=simulcast:"+test.value)...)), DefaultLimits)
			require.NoError(t, err)
			require.Equal(t, test.want, d.Media[0].SimulcastSend)
			require.Equal(t, RID{ID: "d", Direction: "recv"}, d.Media[0].RIDs[3])
		})
	}
}

func TestParseExtensions(t *testing.T) {
	text := strings.Replace(offerWith(
		"a=extmap:1 urn:a", "a=extmap:2/sendonly urn:b attributes=1", "a=extmap:1 urn:c", "a=extmap:3 urn:a",
		"a=extmap:15 urn:d", "a=extmap:0 urn:e", "a=extmap:4096 urn:f", "a=extmap:200 urn:g", "a=extmap:5",
	), "m=audio", "a=extmap:6 urn:session\na=extmap:2 urn:taken\nm=audio", 1)
	d, err := Parse([]byte(text), DefaultLimits)
	require.NoError(t, err)
	require.Equal(t, []Extension{
		{1, "urn:a", SendRecv}, {2, "urn:b", SendOnly}, {200, "urn:g", SendRecv}, {6, "urn:session", SendRecv},
	}, d.Media[0].Extensions)
}

// The transport is described where the BUNDLE tag points, or else at the
// session level, or else anywhere.
func TestParseTransportLevel(t *testing.T) {
	const (
		head   = "v=0\no=- 1 1 IN IP4 0.0.0.0\ns=-\nt=0 0\n"
		audio  = "m=audio 9 UDP/TLS/RTP/SAVPF 0\na=mid:a\n"
		video  = "m=video 9 UDP/TLS/RTP/SAVPF 96\na=mid:v\na=rtpmap:96 VP8/90000\n"
		bundle = "a=group:BUNDLE v a\n"
	)
	transport := func(ufrag string) string {
		return "a=ice-ufrag:" + ufrag + "\na=ice-pwd:" + strings.Repeat(ufrag, 6) +
			"\na=fingerprint:" + testFingerprint.Algorithm + " " + strings.ToLower(testFingerprint.Value) +
			"\na=candidate:" + ufrag + " 1 udp 1 192.0.2.1 1 typ host\n"
	}
	tests := map[string]struct{ text, ufrag string }{
		"tagged section":                {head + bundle + audio + transport("aaaa") + video + transport("vvvv"), "vvvv"},
		"first section, no group":       {head + audio + transport("aaaa") + video + transport("vvvv"), "aaaa"},
		"disabled sections do not tag":  {head + bundle + audio + transport("aaaa") + strings.Replace(video, " 9 ", " 0 ", 1) + transport("vvvv"), "aaaa"},
		"bundle-only sections may tag":  {head + bundle + audio + transport("aaaa") + strings.Replace(video, " 9 ", " 0 ", 1) + "a=bundle-only\n" + transport("vvvv"), "vvvv"},
		"session level":                 {head + transport("ssss") + bundle + audio + video, "ssss"},
		"section before session":        {head + transport("ssss") + bundle + audio + video + transport("vvvv"), "vvvv"},
		"another section":               {head + bundle + audio + transport("aaaa") + video, "aaaa"},
		"group of mids that are absent": {head + "a=group:BUNDLE x v\n" + audio + transport("aaaa") + video + transport("vvvv"), "vvvv"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			d, err := Parse([]byte(test.text), DefaultLimits)
			require.NoError(t, err)
			require.Equal(t, test.ufrag, d.ICE.Ufrag)
			require.Equal(t, strings.Repeat(test.ufrag, 6), d.ICE.Pwd)
			require.Equal(t, testFingerprint, d.Fingerprint)
			require.Equal(t, []string{test.ufrag + " 1 udp 1 192.0.2.1 1 typ host"}, d.Candidates)
		})
	}
}

func TestParseSessionAttributes(t *testing.T) {
	text := strings.Replace(without(offerWith("a=candidate:1", "a=candidate:1", "a=candidate:", "a=candidate:2"), "a=sendonly"), "m=audio",
		"a=ice-lite\na=ice-options:ice2 trickle\na=recvonly\na=setup:ACTIVE\nm=audio", 1)
	d, err := Parse([]byte(without(text, "a=setup:actpass")), DefaultLimits)
	require.NoError(t, err)
	require.Equal(t, ICE{Ufrag: "abcd", Pwd: "abcdefghijklmnopqrstuv", Lite: true, Options: []string{"ice2", "trickle"}}, d.ICE)
	require.Equal(t, RecvOnly, d.Media[0].Direction)
	require.Equal(t, SetupActive, d.Setup)
	require.Equal(t, []string{"1", "2"}, d.Candidates)
}

func TestParseErrors(t *testing.T) {
	valid := offerWith()
	tests := map[string]struct {
		text string
		want error
		says string
	}{
		"empty":                 {"", ErrMalformed, "no v=0 line"},
		"web page":              {"<!DOCTYPE html><html></html>", ErrMalformed, "no v=0 line"},
		"escaped JSON":          {`{"sdp":"v=0\r\no=- 1 1"}`, ErrUnacceptable, "no media section"},
		"line without type":     {valid + "garbage\n", ErrMalformed, "line 13: not of the form"},
		"control character":     {valid + "a=mid:0\r1\n", ErrMalformed, "line 13"},
		"short media line":      {valid + "m=video 9 UDP/TLS/RTP/SAVPF\n", ErrMalformed, "line 13: m-line 1"},
		"media port":            {valid + "m=video x UDP/TLS/RTP/SAVPF 96\n", ErrMalformed, `m-line 1: port "x"`},
		"no media":              {"v=0\n", ErrUnacceptable, "no media section"},
		"mid with blanks":       {valid + "a=mid:a b\n", ErrMalformed, `line 13: m-line 0: mid "a b"`},
		"empty mid":             {valid + "a=mid:\n", ErrMalformed, "line 13"},
		"mid twice":             {valid + "m=video 9 UDP/TLS/RTP/SAVPF 96\na=mid:0\n", ErrMalformed, `m-line 1: mid "0" is taken`},
		"rid twice":             {valid + "a=rid:a send\na=rid:a send\n", ErrMalformed, `line 14: m-line 0: rid "a" is taken`},
		"rid without direction": {valid + "a=rid:a\n", ErrMalformed, "line 13"},
		"rid that splits lists": {valid + "a=rid:a;b send\n", ErrMalformed, "line 13"},
		"no ufrag":              {without(valid, "a=ice-ufrag"), ErrUnacceptable, "no ice-ufrag"},
		"no pwd":                {without(valid, "a=ice-pwd"), ErrUnacceptable, "no ice-pwd"},
		"no fingerprint":        {without(valid, "a=fingerprint"), ErrUnacceptable, "no fingerprint"},
		"nothing at all":        {without(without(valid, "a=ice"), "a=fing"), ErrUnacceptable, "no ice-ufrag, ice-pwd, fingerprint"},
		"short ufrag":           {valid + "a=ice-ufrag:abc\n", ErrMalformed, "ice-ufrag of 3 characters, not 4 to 256"},
		"long ufrag":            {valid + "a=ice-ufrag:" + strings.Repeat("a", 257) + "\n", ErrMalformed, "ice-ufrag of 257"},
		"ufrag with colon":      {valid + "a=ice-ufrag:ab:cd\n", ErrMalformed, `ice-ufrag with the character ':'`},
		"short pwd":             {valid + "a=ice-pwd:abcdefghijklmnopqrstu\n", ErrMalformed, "ice-pwd of 21 characters, not 22 to 256"},
		"weak hash": {
			strings.Replace(valid, "sha-256", "md5", 1), ErrUnacceptable,
			`no fingerprint (hash "md5" is not supported)`,
		},
		"short digest": {valid + "a=fingerprint:sha-256 AA:BB\n", ErrMalformed, "sha-256 fingerprint is not 32 hex pairs"},
		"digest without colons": {
			valid + "a=fingerprint:sha-256 " + strings.ReplaceAll(testFingerprint.Value, ":", "") + "\n",
			ErrMalformed, "line 13",
		},
		"holdconn": {valid + "a=setup:holdconn\n", ErrUnacceptable, `line 13: setup "holdconn"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(test.text), DefaultLimits)
			require.ErrorIs(t, err, test.want)
			require.ErrorContains(t, err, test.says)
			require.Less(t, len(err.Error()), 300)
		})
	}
}

func TestParseFingerprints(t *testing.T) {
	sha512 := "a=fingerprint:SHA-512 " + strings.TrimSuffix(strings.Repeat("AB:", 64), ":")
	d, err := Parse([]byte(strings.Replace(offerWith(), "a=fingerprint", sha512+"\na=fingerprint:md5 00\na=fingerprint", 1)), DefaultLimits)
	require.NoError(t, err)
	require.Equal(t, testFingerprint, d.Fingerprint, "SHA-256 is preferred")

	d, err = Parse([]byte(without(offerWith(), "a=fingerprint")+sha512), DefaultLimits)
	require.NoError(t, err)
	require.Equal(t, "sha-512", d.Fingerprint.Algorithm)
}

// A body that was cut anywhere is read or refused, never a panic. Of the long
// offers, which repeat themselves, every seventh cut is enough.
func TestParsePrefixes(t *testing.T) {
	for _, name := range fixtures(t) {
		text := []byte(load(t, name))
		step := 1
		if len(text) > 2500 {
			step = 7
		}
		for n := 0; n < len(text); n += step {
			d, err := Parse(text[:n], DefaultLimits)
			require.True(t, (d == nil) == (err != nil), "%s cut at %d", name, n)
			if err != nil {
				require.True(t, isOurs(err), "%s cut at %d: %v", name, n, err)
			}
		}
	}
}
