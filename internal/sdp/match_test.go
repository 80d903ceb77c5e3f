package sdp

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func h264(pt uint8, mode, profile string) Codec {
	fmtp := ""
	if mode != "" {
		fmtp = "packetization-mode=" + mode + ";"
	}
	if profile != "" {
		fmtp += "profile-level-id=" + profile
	}
	return Codec{PT: pt, Name: H264, ClockRate: 90000, Fmtp: fmtp}
}

func video(pt uint8, name, fmtp string) Codec {
	return Codec{PT: pt, Name: name, ClockRate: 90000, Fmtp: fmtp}
}

func audio(pt uint8, name string, clock uint32, channels int) Codec {
	return Codec{PT: pt, Name: name, ClockRate: clock, Channels: channels}
}

func TestMatch(t *testing.T) {
	tests := map[string]struct {
		sent, offered    Codec
		same, compatible bool
		any              bool // Best would take it
	}{
		"equal H264":                  {h264(1, "1", "42e01f"), h264(2, "1", "42E01F"), true, true, true},
		"constraint bits differ":      {h264(1, "1", "42e01f"), h264(2, "1", "42c01f"), true, true, true},
		"level differs":               {h264(1, "1", "42e01f"), h264(2, "1", "42e034"), false, true, true},
		"profile differs":             {h264(1, "1", "64001f"), h264(2, "1", "42e01f"), false, true, true},
		"mode differs":                {h264(1, "1", "42e01f"), h264(2, "0", "42e01f"), false, false, true},
		"absent mode is 0":            {h264(1, "", "42e01f"), h264(2, "0", "42e01f"), true, true, true},
		"seven digits":                {h264(1, "1", "422001f"), h264(2, "1", "42e01f"), true, true, true},
		"main by set1 only":           {h264(1, "1", "4d401e"), h264(2, "1", "4d001e"), true, true, true},
		"main with set0":              {h264(1, "1", "4de01f"), h264(2, "1", "42e01f"), true, true, true},
		"nonsense profile":            {h264(1, "1", "zzzzzz"), h264(2, "1", "42e01f"), false, true, true},
		"VP9 absent is 0":             {video(1, VP9, ""), video(2, VP9, "profile-id=0"), true, true, true},
		"VP9 profiles":                {video(1, VP9, "profile-id=2"), video(2, VP9, "profile-id=0"), false, false, false},
		"AV1 absent is 0":             {video(1, AV1, "level-idx=5;profile=0;tier=0"), video(2, AV1, ""), true, true, true},
		"AV1 profiles":                {video(1, AV1, "profile=1"), video(2, AV1, ""), false, true, true},
		"H265 absent is main":         {video(1, H265, "profile-id=1"), video(2, H265, ""), true, true, true},
		"H265 profiles":               {video(1, H265, "profile-id=2"), video(2, H265, ""), false, true, true},
		"names":                       {video(1, VP8, ""), video(2, VP9, ""), false, false, false},
		"opus whatever the channels":  {audio(1, Opus, 48000, 2), audio(2, Opus, 48000, 0), true, true, true},
		"G711 silent about its one":   {audio(0, PCMU, 8000, 0), audio(0, PCMU, 8000, 1), true, true, true},
		"G711 in stereo":              {audio(0, PCMU, 8000, 2), audio(0, PCMU, 8000, 1), false, false, false},
		"G722":                        {audio(9, G722, 8000, 1), audio(9, G722, 8000, 1), true, true, true},
		"red of audio and of video":   {audio(63, RED, 48000, 2), video(118, RED, ""), false, false, false},
		"a name in another case":      {video(1, VP8, ""), video(2, "vp8", ""), true, true, true},
		"mono named by empty clients": {audio(8, PCMA, 8000, 1), audio(8, PCMA, 16000, 1), false, false, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, test.same, test.sent.Same(test.offered))
			require.Equal(t, test.same, test.offered.Same(test.sent))
			require.Equal(t, test.compatible, Compatible(test.sent, test.offered))
			_, ok := Best([]Codec{test.offered}, test.sent)
			require.Equal(t, test.any, ok)
		})
	}
}

func TestBest(t *testing.T) {
	chrome := []Codec{
		video(96, VP8, ""), h264(102, "1", "42001f"), h264(104, "0", "42001f"), h264(108, "1", "42e01f"),
		h264(114, "0", "42e01f"), h264(116, "1", "4d001f"), h264(112, "1", "64001f"),
	}
	tests := map[string]struct {
		offered []Codec
		sent    Codec
		want    uint8
	}{
		"exact":                              {chrome, h264(1, "1", "4d001f"), 116},
		"same profile, other level":          {chrome, h264(1, "1", "640032"), 112},
		"constrained baseline, spelled":      {chrome, h264(1, "1", "42c033"), 108},
		"baseline":                           {chrome, h264(1, "1", "42001e"), 102},
		"mode 0":                             {chrome, h264(1, "0", "42e01f"), 114},
		"unknown profile, first of its mode": {chrome, h264(1, "1", "f4001f"), 102},
		"any when the mode is missing":       {chrome[:3:3][1:], h264(1, "2", "42e01f"), 102},
		"mode before profile":                {[]Codec{h264(1, "0", "64001f"), h264(2, "1", "42e01f")}, h264(3, "1", "64001f"), 2},
		"other codec":                        {chrome, video(1, VP8, ""), 96},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, ok := Best(test.offered, test.sent)
			require.True(t, ok)
			require.Equal(t, test.want, got.PT)
		})
	}
	_, ok := Best(chrome, video(1, AV1, ""))
	require.False(t, ok)
	_, ok = Best(nil, video(1, VP8, ""))
	require.False(t, ok)
}

func TestH264ProfileNames(t *testing.T) {
	for id, want := range map[string]string{
		"": "constrained-baseline", "42e01f": "constrained-baseline", "42c00d": "constrained-baseline",
		"42401f": "constrained-baseline", "422001f": "constrained-baseline", "4d8020": "constrained-baseline",
		"58c01f": "constrained-baseline", "42001f": "baseline", "42000a": "baseline", "58801f": "baseline",
		"4d001f": "main", "4d401e": "main", "64001f": "high", "640032": "high", "640c1f": "constrained-high",
		"f4001f": "f400", "58001f": "5800",
	} {
		require.Equal(t, want, parseH264Profile(id).name, id)
	}
}

func TestParam(t *testing.T) {
	c := Codec{Fmtp: "minptime=10; Stereo = 1 ;useinbandfec;apt=300"}
	require.Equal(t, "10", c.Param("minptime"))
	require.Equal(t, "1", c.Param("stereo"))
	require.Empty(t, c.Param("useinbandfec"))
	require.Empty(t, c.Param("cbr"))
	_, ok := c.APT()
	require.False(t, ok, "payload types have 7 bits")
}
