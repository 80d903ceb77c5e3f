package sdp

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func testOffer() *Offer {
	return &Offer{
		SessionID: 7, ICE: ICE{Ufrag: "srv1", Pwd: "serverserverserverserver"},
		Fingerprint: testFingerprint, Candidates: testAnswer(Play).Candidates,
		StreamID: "cam1", CNAME: "cname1",
		AudioSSRC: 1, VideoSSRC: 2, VideoRTXSSRC: 3,
	}
}

func TestOffer(t *testing.T) {
	text := testOffer().Marshal()
	require.Equal(t, strings.Count(text, "\n"), strings.Count(text, "\r\n"))
	require.Less(t, len(text), 8192)
	require.Equal(t, 2, strings.Count(text, "a=candidate:"))
	require.Equal(t, 1, strings.Count(text, ExtTransportCC), "for video")

	d, err := testOffer().Description()
	require.NoError(t, err)
	require.Equal(t, []string{"0", "1"}, d.Bundle)
	require.Equal(t, SetupActPass, d.Setup)
	require.Equal(t, "opus red G722 PCMU PCMA", names(d.Media[0].Codecs))
	require.Equal(t, "VP8 rtx H264 rtx H264 rtx H264 rtx H264 rtx VP9 rtx VP9 rtx AV1 rtx H265 rtx", names(d.Media[1].Codecs))
	require.Equal(t, []SSRCGroup{{Semantics: "FID", IDs: []uint32{2, 3}}}, d.Media[1].Groups)
	for _, m := range d.Media {
		require.Equal(t, SendOnly, m.Direction)
		require.Equal(t, m.Codecs, PlayCodecs(m), "we offer what we would accept")
	}
	used := make(map[uint8]bool)
	for _, m := range d.Media {
		for _, c := range m.Codecs {
			require.False(t, used[c.PT], "payload type %d is used twice in the bundle", c.PT)
			used[c.PT] = true
		}
	}

	_, err = (&Offer{}).Description()
	require.ErrorIs(t, err, ErrMalformed)
}

func TestOfferIDs(t *testing.T) {
	d, err := testOffer().Description()
	require.NoError(t, err)
	uris := make(map[int]string)
	for _, m := range d.Media {
		require.Equal(t, m.Extensions, PlayExtensions(m), "we offer what we would accept")
		require.Equal(t, m.Kind == Video, m.TransportWide())
		for _, e := range m.Extensions {
			require.Contains(t, []string{"", e.URI}, uris[e.ID], "an id means one thing in a bundle")
			uris[e.ID] = e.URI
		}
	}
}

// playerAnswer answers our offer as a player does.
func playerAnswer(t *testing.T) string {
	offer, err := testOffer().Description()
	require.NoError(t, err)
	a := testAnswer(Publish) // recvonly
	a.Setup = SetupActive
	for _, m := range offer.Media {
		a.Media = append(a.Media, AnswerMedia{Codecs: PlayCodecs(m)})
	}
	return a.Marshal(offer)
}

func TestParseAnswer(t *testing.T) {
	offer, err := testOffer().Description()
	require.NoError(t, err)
	valid := playerAnswer(t)
	audio, video := strings.Index(valid, "m=audio"), strings.Index(valid, "m=video")
	tests := map[string]struct{ text, parse, match string }{
		"whole":               {valid, "", ""},
		"no video":            {strings.Replace(valid, "m=video 9", "m=video 0", 1), "", ""},
		"inactive video":      {valid[:video] + strings.Replace(valid[video:], "recvonly", "inactive", 1), "", ""},
		"undecided":           {strings.ReplaceAll(valid, "setup:active", "setup:actpass"), "setup:actpass", ""},
		"sending":             {strings.ReplaceAll(valid, "recvonly", "sendonly"), "want recvonly or sendrecv", ""},
		"nothing wanted":      {strings.ReplaceAll(valid, "recvonly", "inactive"), "no audio, video or data section", ""},
		"one section":         {valid[:video], "", "answer with 1 sections to an offer with 2"},
		"other order":         {valid[:audio] + valid[video:] + valid[audio:video], "", `m-line 0 (mid "1"): answers audio section with mid "0"`},
		"payload type of own": {strings.NewReplacer(" 96 ", " 95 ", ":96 ", ":95 ", "=96", "=95").Replace(valid), "", "payload type 95 VP8 was not offered"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			answer, err := ParseAnswer([]byte(test.text), DefaultLimits)
			requireUnacceptable(t, err, test.parse)
			if err == nil {
				requireUnacceptable(t, MatchAnswer(offer, answer), test.match)
			}
		})
	}
	_, err = ParseAnswer([]byte("no"), DefaultLimits)
	require.ErrorIs(t, err, ErrMalformed)
}
