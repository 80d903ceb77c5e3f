package sdp

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite the golden answers")

// Our answer to every client, as a file to look at. Rewrite with -update.
func TestAnswerGolden(t *testing.T) {
	for _, name := range fixtures(t) {
		t.Run(name, func(t *testing.T) {
			offer := parsed(t, name)
			got := answerTo(offer, roleOf(name)).Marshal(offer)
			path := filepath.Join("testdata", name+".answer")
			// Golden files have plain line ends, so that they show well.
			plain := strings.ReplaceAll(got, "\r\n", "\n")
			if *update {
				require.NoError(t, os.WriteFile(path, []byte(plain), 0o644))
			}
			want, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, string(want), plain)
		})
	}
}

// What every answer keeps to, whoever asked.
func TestAnswerRules(t *testing.T) {
	for _, name := range fixtures(t) {
		t.Run(name, func(t *testing.T) {
			offer := parsed(t, name)
			role := roleOf(name)
			text := answerTo(offer, role).Marshal(offer)

			require.True(t, strings.HasPrefix(text, "v=0\r\n"))
			require.Less(t, len(text), 8192, "FFmpeg reads no more")
			require.Equal(t, strings.Count(text, "\n"), strings.Count(text, "\r\n"))
			requireBefore(t, text, "a=candidate:1 1 udp", "tcptype")
			require.Equal(t, 2, strings.Count(text, "a=candidate:"), "the list stands once")
			require.Equal(t, 1, strings.Count(text, "a=end-of-candidates"))
			require.Equal(t, len(offer.Media), strings.Count(text, "a=ice-ufrag:srv1"))
			require.Equal(t, len(offer.Media), strings.Count(text, "a=fingerprint:sha-256 "+testFingerprint.Value))

			answer, err := Parse([]byte(text), DefaultLimits)
			require.NoError(t, err)
			require.Len(t, answer.Media, len(offer.Media))
			require.Equal(t, AnswerSetup(offer.Setup, false), answer.Setup)
			for i, m := range answer.Media {
				theirs := offer.Media[i]
				require.Equal(t, theirs.MID, m.MID)
				require.Equal(t, theirs.Kind, m.Kind)
				if m.Kind == Application {
					continue
				}
				require.Contains(t, offer.Bundle, m.MID)
				require.Contains(t, answer.Bundle, m.MID)
				require.Equal(t, role.direction(), m.Direction)
				require.True(t, m.RTCPMux)
				require.Equal(t, theirs.RTCPReducedSize, m.RTCPReducedSize)
				require.Equal(t, theirs.MixedExtensions, m.MixedExtensions || len(m.Extensions) == 0 && theirs.MixedExtensions)
				for _, c := range m.Codecs {
					require.Equal(t, offeredAs(theirs, c.PT), c.Name, "payload types keep their meaning")
				}
				require.Empty(t, m.SimulcastSend)
			}
			rtp := strings.Count(text, "m=audio") + strings.Count(text, "m=video")
			require.Equal(t, rtp, strings.Count(text, "a=rtcp-mux-only\r\n"))
		})
	}
}

func requireBefore(t *testing.T, text, first, second string) {
	t.Helper()
	require.Contains(t, text, first)
	require.Less(t, strings.Index(text, first), strings.Index(text, second))
}

func offeredAs(m Media, pt uint8) string {
	for _, c := range m.Codecs {
		if c.PT == pt {
			return c.Name
		}
	}
	return ""
}

// OBS counts the semicolons of the one simulcast line.
func TestAnswerSimulcast(t *testing.T) {
	for fixture, want := range map[string]string{
		"obs32_simulcast1":           "0",
		"obs32_simulcast2":           "0;1",
		"obs32_simulcast3":           "0;1;2",
		"obs32_simulcast4":           "0;1;2;3",
		"chromium_publish_simulcast": "l;m;h",
		"medooze_publish":            "a;b;c",
	} {
		offer := parsed(t, fixture)
		text := answerTo(offer, Publish).Marshal(offer)
		require.Equal(t, 1, strings.Count(text, "a=simulcast:"))
		require.Contains(t, text, "a=simulcast:recv "+want+"\r\n")
		rids := regexp.MustCompile(`a=rid:(\S+) recv\r\n`).FindAllStringSubmatch(text, -1)
		require.Len(t, rids, strings.Count(want, ";")+1)
	}
	// Rids without simulcast are answered without it.
	offer, err := Parse([]byte(offerWith("a=rid:x send")), DefaultLimits)
	require.NoError(t, err)
	a := answerTo(offer, Publish)
	a.Media[0].RIDs = []string{"x"}
	text := a.Marshal(offer)
	require.Contains(t, text, "a=rid:x recv\r\n")
	require.NotContains(t, text, "a=simulcast")
}

func TestAnswerRejects(t *testing.T) {
	offer := parsed(t, "libdatachannel_play")
	tests := map[string]struct {
		change func(a *Answer, offer *Description)
		bundle string
		first  string // the section with the candidates
	}{
		"nothing":           {func(*Answer, *Description) {}, "video audio data", "m=video 9"},
		"data":              {func(a *Answer, _ *Description) { a.Media[2].Rejected = true }, "video audio", "m=video 9"},
		"first":             {func(a *Answer, _ *Description) { a.Media[0].Rejected = true }, "audio data", "m=audio 9"},
		"without codecs":    {func(a *Answer, _ *Description) { a.Media[0].Codecs = nil }, "audio data", "m=audio 9"},
		"missing entry":     {func(a *Answer, _ *Description) { a.Media = a.Media[:1] }, "video", "m=video 9"},
		"disabled in offer": {func(_ *Answer, o *Description) { o.Media[0].Port = 0 }, "audio data", "m=audio 9"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			changed := *offer
			changed.Media = append([]Media(nil), offer.Media...)
			a := answerTo(&changed, Play)
			test.change(a, &changed)
			text := a.Marshal(&changed)
			require.Contains(t, text, "a=group:BUNDLE "+test.bundle+"\r\n")
			section := text[strings.Index(text, test.first):]
			require.Contains(t, section[:1+strings.Index(section[1:]+"\nm=", "\nm=")], "a=candidate:")

			answer, err := Parse([]byte(text), DefaultLimits)
			require.NoError(t, err)
			require.Len(t, answer.Media, 3)
			for i, m := range answer.Media {
				require.Equal(t, offer.Media[i].MID, m.MID)
				require.Equal(t, strings.Contains(" "+test.bundle+" ", " "+m.MID+" "), m.Active())
				if !m.Active() {
					require.Equal(t, Inactive, m.Direction)
				}
			}
		})
	}
}

func TestAnswerPlaySources(t *testing.T) {
	offer := parsed(t, "eyevinn_play")
	a := answerTo(offer, Play)
	text := a.Marshal(offer)
	require.Contains(t, text, "a=msid:cam1 video\r\na=ssrc-group:FID 1000 1001\r\n")
	require.Contains(t, text, "a=ssrc:1000 cname:cname1\r\na=ssrc:1000 msid:cam1 video\r\na=ssrc:1001 cname:cname1\r\n")
	require.Contains(t, text, "a=msid:cam1 audio\r\na=ssrc:2000 cname:cname1\r\n")
	require.Contains(t, text, "a=fmtp:111 minptime=10;useinbandfec=1;stereo=1\r\n", "stereo stays when offered")

	plain := parsed(t, "libdatachannel_play")
	require.NotContains(t, answerTo(plain, Play).Marshal(plain), "FID", "no retransmission was offered")

	a.Media[0].SSRC = 0
	require.NotContains(t, a.Marshal(offer), "FID")
}

func TestAnswerText(t *testing.T) {
	t.Run("no group without an offered one", func(t *testing.T) {
		offer, err := Parse([]byte(offerWith()), DefaultLimits)
		require.NoError(t, err)
		require.NotContains(t, answerTo(offer, Publish).Marshal(offer), "a=group")
	})
	t.Run("mids that do not exist are not answered", func(t *testing.T) {
		offer := parsed(t, "ffmpeg_seven_digits")
		require.Contains(t, answerTo(offer, Publish).Marshal(offer), "a=group:BUNDLE 1\r\n")
	})
	t.Run("lite", func(t *testing.T) {
		offer := parsed(t, "obs32")
		a := answerTo(offer, Publish)
		require.NotContains(t, a.Marshal(offer), "a=ice-lite")
		a.ICE.Lite = true
		requireBefore(t, a.Marshal(offer), "a=ice-lite\r\n", "m=audio")
	})
	t.Run("the sender's own parameters are not repeated", func(t *testing.T) {
		offer := parsed(t, "gstreamer_publish")
		text := answerTo(offer, Publish).Marshal(offer)
		require.Contains(t, text, "a=fmtp:96 packetization-mode=1;profile-level-id=4d401e\r\n")
	})
	t.Run("OBS in stereo", func(t *testing.T) {
		offer := parsed(t, "obs30")
		text := answerTo(offer, Publish).Marshal(offer)
		require.Contains(t, text, "a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;maxaveragebitrate=96000;stereo=1;")
	})
	t.Run("data channel before RFC 8841", func(t *testing.T) {
		offer, err := Parse([]byte(offerWith("m=application 9 DTLS/SCTP 5000", "a=mid:1", "a=sctpmap:5000 webrtc-datachannel 1024")), DefaultLimits)
		require.NoError(t, err)
		text := answerTo(offer, Publish).Marshal(offer)
		require.Contains(t, text, "m=application 9 DTLS/SCTP 5000\r\n")
		require.Contains(t, text, "a=sctpmap:5000 webrtc-datachannel 1024\r\n")
	})
	t.Run("extension direction", func(t *testing.T) {
		offer := parsed(t, "firefox_play")
		text := answerTo(offer, Play).Marshal(offer)
		require.Contains(t, text, "a=extmap:6/sendonly "+ExtPlayoutDelay+"\r\n")
		require.Contains(t, text, "a=extmap:3 "+ExtMID+"\r\n")
	})
}
