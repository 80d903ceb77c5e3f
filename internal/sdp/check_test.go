package sdp

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheck(t *testing.T) {
	const (
		audioLine = "m=audio 9 UDP/TLS/RTP/SAVPF 111\na=mid:0\na=rtpmap:111 opus/48000/2"
		videoLine = "m=video 9 UDP/TLS/RTP/SAVPF 96\na=mid:1\na=rtpmap:96 VP8/90000"
		dataLine  = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\na=mid:2"
		send      = "a=sendonly"
		receive   = "a=recvonly"
		both      = "a=sendrecv"
		none      = "a=inactive"
		bundle    = "a=group:BUNDLE 0 1 2 3"
	)
	tests := map[string]struct {
		lines         []string
		publish, play string // "" = accepted, else part of the error
	}{
		"sending":   {[]string{bundle, audioLine, send, videoLine, send}, "", "m-line 0 (mid \"0\"): direction sendonly, want recvonly or sendrecv"},
		"receiving": {[]string{bundle, audioLine, receive, videoLine, receive}, "direction recvonly, want sendonly or sendrecv", ""},
		"both ways": {[]string{bundle, audioLine, both, videoLine}, "", ""},
		"inactive":  {[]string{bundle, audioLine, both, videoLine, none}, "m-line 1 (mid \"1\"): direction inactive", "m-line 1 (mid \"1\"): direction inactive"},
		"mixed":     {[]string{bundle, audioLine, send, videoLine, receive}, "m-line 1", "m-line 0"},
		"audio":     {[]string{audioLine}, "", ""},
		"video":     {[]string{videoLine}, "", ""},
		"data too":  {[]string{bundle, videoLine, dataLine}, "", ""},
		"data only": {[]string{dataLine}, "", ""},
		"two videos": {
			[]string{bundle, videoLine, strings.Replace(videoLine, "mid:1", "mid:3", 1)},
			"m-line 1 (mid \"3\"): more than one video section", "more than one video section",
		},
		"two audios": {
			[]string{bundle, audioLine, strings.Replace(audioLine, "mid:0", "mid:3", 1)},
			"more than one audio section", "more than one audio section",
		},
		"two data sections": {
			[]string{bundle, audioLine, dataLine, strings.Replace(dataLine, "mid:2", "mid:3", 1)},
			"more than one application section", "more than one application section",
		},
		"disabled second video": {[]string{bundle, videoLine, "m=video 0 UDP/TLS/RTP/SAVPF 96\na=mid:3\na=inactive"}, "", ""},
		"all disabled":          {[]string{strings.Replace(videoLine, " 9 ", " 0 ", 1)}, "no audio, video or data section", "no audio, video or data section"},
		"no group":              {[]string{audioLine, videoLine}, "m-line 0 (mid \"0\"): not in the BUNDLE group", "not in the BUNDLE group"},
		"no group, one active":  {[]string{audioLine, strings.Replace(videoLine, " 9 ", " 0 ", 1)}, "", ""},
		"outside the group":     {[]string{"a=group:BUNDLE 0", audioLine, videoLine}, "m-line 1 (mid \"1\")", "m-line 1 (mid \"1\")"},
		"group without mids":    {[]string{bundle, audioLine, strings.Replace(videoLine, "a=mid:1", "a=x", 1)}, "m-line 1 (mid \"\")", "m-line 1"},
		"no known codec": {
			[]string{"m=video 9 UDP/TLS/RTP/SAVPF 96 97 98\na=rtpmap:96 MPV/90000\na=rtpmap:97 rtx/90000\na=rtpmap:98 MPV/90000"},
			"no video codec in common: offered MPV rtx, accepted H264 H265 VP8 VP9 AV1", "no video codec in common",
		},
		"no codec at all":   {[]string{"m=audio 9 UDP/TLS/RTP/SAVPF 111"}, "no audio codec in common: offered none, accepted opus PCMU PCMA G722", "offered none"},
		"another medium":    {[]string{"m=text 9 UDP/TLS/RTP/SAVPF 96"}, `media type "text"`, `media type "text"`},
		"another protocol":  {[]string{bundle, audioLine, "m=application 9 TCP/BFCP *\na=mid:2"}, `"TCP/BFCP" "*" is not a data channel`, "not a data channel"},
		"another SCTP user": {[]string{bundle, audioLine, "m=application 9 UDP/DTLS/SCTP sip\na=mid:2"}, "not a data channel", "not a data channel"},
		"data, old form":    {[]string{bundle, audioLine, "m=application 9 DTLS/SCTP 5000\na=mid:2"}, "", ""},
	}
	head := offerWith()[:strings.Index(offerWith(), "m=audio")]
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			identity := "a=ice-ufrag:abcd\na=ice-pwd:abcdefghijklmnopqrstuv\na=fingerprint:sha-256 " + testFingerprint.Value + "\n"
			d, err := Parse([]byte(head+identity+strings.Join(test.lines, "\n")), DefaultLimits)
			require.NoError(t, err)
			requireUnacceptable(t, CheckPublish(d), test.publish)
			requireUnacceptable(t, CheckPlay(d), test.play)
		})
	}
}

func requireUnacceptable(t *testing.T, err error, says string) {
	t.Helper()
	if says == "" {
		require.NoError(t, err)
		return
	}
	require.ErrorIs(t, err, ErrUnacceptable)
	require.ErrorContains(t, err, says)
}
