package sdp

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAnswerSetup(t *testing.T) {
	tests := []struct {
		offer         Setup
		preferPassive bool
		want          Setup
	}{
		{SetupActPass, false, SetupActive},
		{SetupActPass, true, SetupPassive},
		{"", false, SetupActive},
		{"", true, SetupPassive},
		{SetupPassive, false, SetupActive},
		{SetupPassive, true, SetupActive},
		{SetupActive, false, SetupPassive},
		{SetupActive, true, SetupPassive},
	}
	for _, test := range tests {
		require.Equal(t, test.want, AnswerSetup(test.offer, test.preferPassive), test)
	}
}

// list writes codecs as "pt name [feedback, …]".
func list(codecs []Codec) string {
	var parts []string
	for _, c := range codecs {
		part := fmt.Sprintf("%d %s", c.PT, c.Name)
		if len(c.Feedback) > 0 {
			part += fmt.Sprintf(" [%s]", strings.Join(c.Feedback, ", "))
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "; ")
}

func TestAnswerCodecs(t *testing.T) {
	tests := map[string]struct {
		fixture string
		section int
		choose  func(Media) []Codec
		want    string
	}{
		"publish audio, Chromium": {
			"chromium_publish_simulcast", 0, PublishCodecs,
			"111 opus [transport-cc]; 63 red; 9 G722; 0 PCMU; 8 PCMA",
		},
		"publish video, Safari: each H264 profile": {
			"safari_publish", 1, PublishCodecs,
			"96 H264 [transport-cc, ccm fir, nack, nack pli]; 97 rtx; 98 H264 [nack, nack pli]; 99 rtx; " +
				"100 H265 [nack, nack pli]; 101 rtx; 127 VP8 [nack pli]; 125 rtx",
		},
		"publish video, OBS: REMB without TWCC": {
			"obs32", 1, PublishCodecs,
			"96 H264 [nack, nack pli, ccm fir, goog-remb]",
		},
		"publish video, GStreamer: no FEC": {
			"gstreamer_publish", 0, PublishCodecs,
			"96 H264 [nack, nack pli, ccm fir, transport-cc]; 97 rtx",
		},
		"publish video, Firefox: both modes": {
			"firefox_publish", 1, PublishCodecs,
			"120 VP8 [nack, nack pli, ccm fir, transport-cc]; 124 rtx; 121 VP9 [nack, nack pli, ccm fir, transport-cc]; 125 rtx; " +
				"126 H264 [nack, nack pli, ccm fir, transport-cc]; 127 rtx; 97 H264 [nack, nack pli, ccm fir, transport-cc]; 98 rtx",
		},
		"play video without the extension: REMB": {
			"eyevinn_play", 0, PlayCodecs,
			"96 VP8 [goog-remb, ccm fir, nack, nack pli]; 97 rtx; 102 H264 [goog-remb, ccm fir, nack, nack pli]; 103 rtx",
		},
		"play video with only REMB": {
			"libdatachannel_play", 0, PlayCodecs,
			"102 H264 [nack, nack pli, goog-remb]",
		},
		"play audio": {
			"eyevinn_play", 1, PlayCodecs,
			"111 opus [nack]; 9 G722",
		},
		"data": {"libdatachannel_play", 2, PublishCodecs, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			m := parsed(t, test.fixture).Media[test.section]
			require.Equal(t, test.want, list(test.choose(m)))
		})
	}
}

func TestAnswerCodecsHelpers(t *testing.T) {
	opus := audio(111, Opus, 48000, 2)
	red := func(fmtp string) Codec { return Codec{PT: 63, Name: RED, ClockRate: 48000, Channels: 2, Fmtp: fmtp} }
	rtx := func(pt uint8, apt string) Codec { return video(pt, RTX, "apt="+apt) }
	tests := map[string]struct {
		media Media
		want  string
	}{
		"red over opus":           {Media{Kind: Audio, Codecs: []Codec{red("111/111"), opus}}, "63 red; 111 opus"},
		"red of unstated content": {Media{Kind: Audio, Codecs: []Codec{opus, red("")}}, "111 opus; 63 red"},
		"red over something else": {Media{Kind: Audio, Codecs: []Codec{opus, red("0/0"), audio(0, PCMU, 8000, 1)}}, "111 opus; 0 PCMU"},
		"red without opus":        {Media{Kind: Audio, Codecs: []Codec{red(""), audio(0, PCMU, 8000, 1)}}, "0 PCMU"},
		"red in video":            {Media{Kind: Video, Codecs: []Codec{video(96, VP8, ""), video(97, RED, "")}}, "96 VP8"},
		"rtx before its codec":    {Media{Kind: Video, Codecs: []Codec{rtx(97, "96"), video(96, VP8, "")}}, "97 rtx; 96 VP8"},
		"two rtx of one codec":    {Media{Kind: Video, Codecs: []Codec{video(96, VP8, ""), rtx(97, "96"), rtx(98, "96")}}, "96 VP8; 97 rtx"},
		"rtx of itself":           {Media{Kind: Video, Codecs: []Codec{video(96, VP8, ""), rtx(97, "97"), rtx(98, "x")}}, "96 VP8"},
		"rtx of rtx":              {Media{Kind: Video, Codecs: []Codec{video(96, VP8, ""), rtx(97, "96"), rtx(98, "97")}}, "96 VP8; 97 rtx"},
		"video in audio":          {Media{Kind: Audio, Codecs: []Codec{video(96, VP8, "")}}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, test.want, list(PublishCodecs(test.media)))
			require.Equal(t, test.want, list(PlayCodecs(test.media)))
		})
	}
}

func TestAnswerCodecsCopy(t *testing.T) {
	m := parsed(t, "obs32").Media[1]
	before := strings.Join(m.Codecs[0].Feedback, ",")
	PlayCodecs(m)[0].Feedback[0] = "changed"
	require.Equal(t, before, strings.Join(m.Codecs[0].Feedback, ","))
}

func TestAnswerExtensions(t *testing.T) {
	ids := func(extensions []Extension) string {
		var ids []string
		for _, e := range extensions {
			ids = append(ids, fmt.Sprintf("%d%s", e.ID, strings.TrimPrefix(string(e.Direction), "sendrecv")))
		}
		return strings.Join(ids, " ")
	}
	publish := parsed(t, "chromium_publish_simulcast")
	require.Equal(t, "1 2 3 4", ids(PublishExtensions(publish.Media[0])))
	require.Equal(t, "2 13 3 5 8 4 10 11 12", ids(PublishExtensions(publish.Media[1])))

	play := parsed(t, "chromium_play")
	require.Equal(t, "3 4 5 9", ids(PlayExtensions(play.Media[0])))
	play.Media[0].Codecs = slices.DeleteFunc(play.Media[0].Codecs, func(c Codec) bool { return c.Name == RTX })
	require.Equal(t, "3 5 9", ids(PlayExtensions(play.Media[0])), "no new numbers without RTX")

	// Firefox only receives the playout delay, and says so.
	require.Equal(t, "3 6sendonly 7", ids(PlayExtensions(parsed(t, "firefox_play").Media[1])))
	require.Equal(t, "3 4 6recvonly 7", ids(PublishExtensions(parsed(t, "firefox_publish").Media[1])))
	receives := Media{Extensions: []Extension{{1, ExtMID, RecvOnly}, {2, ExtRID, Inactive}}}
	require.Empty(t, PublishExtensions(receives))
	require.Equal(t, "1sendonly", ids(PlayExtensions(receives)))
}
