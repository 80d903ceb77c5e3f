package sdp

import (
	"strings"
	"testing"

	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"
)

// connection is a pion peer that makes offers for us to answer.
func connection(t *testing.T) *webrtc.PeerConnection {
	pc, err := webrtc.NewPeerConnection(webrtc.Configuration{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pc.Close()) })
	return pc
}

// track adds a local track; rids make it one encoding each.
func track(t *testing.T, pc *webrtc.PeerConnection, mime string, rids ...string) {
	var sender *webrtc.RTPSender
	for i := range max(1, len(rids)) {
		var options []func(*webrtc.TrackLocalStaticRTP)
		if len(rids) > 0 {
			options = append(options, webrtc.WithRTPStreamID(rids[i]))
		}
		local, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: mime}, "track", "stream", options...)
		require.NoError(t, err)
		if sender != nil {
			require.NoError(t, sender.AddEncoding(local))
			continue
		}
		transceiver, err := pc.AddTransceiverFromTrack(local, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
		require.NoError(t, err)
		sender = transceiver.Sender()
	}
}

func receive(t *testing.T, pc *webrtc.PeerConnection, kinds ...webrtc.RTPCodecType) {
	for _, kind := range kinds {
		_, err := pc.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
		require.NoError(t, err)
	}
}

// pion takes our answer to each of its offers.
func TestPionTakesAnswers(t *testing.T) {
	tests := map[string]struct {
		role  Role
		setUp func(*testing.T, *webrtc.PeerConnection)
	}{
		"publish audio and video": {Publish, func(t *testing.T, pc *webrtc.PeerConnection) {
			track(t, pc, webrtc.MimeTypeOpus)
			track(t, pc, webrtc.MimeTypeH264)
		}},
		"publish simulcast": {Publish, func(t *testing.T, pc *webrtc.PeerConnection) { track(t, pc, webrtc.MimeTypeVP8, "q", "h", "f") }},
		"publish audio":     {Publish, func(t *testing.T, pc *webrtc.PeerConnection) { track(t, pc, webrtc.MimeTypeOpus) }},
		"publish with data": {Publish, func(t *testing.T, pc *webrtc.PeerConnection) {
			track(t, pc, webrtc.MimeTypeAV1)
			_, err := pc.CreateDataChannel("chat", nil)
			require.NoError(t, err)
		}},
		"play": {Play, func(t *testing.T, pc *webrtc.PeerConnection) {
			receive(t, pc, webrtc.RTPCodecTypeVideo, webrtc.RTPCodecTypeAudio)
		}},
		"play video with data": {Play, func(t *testing.T, pc *webrtc.PeerConnection) {
			receive(t, pc, webrtc.RTPCodecTypeVideo)
			_, err := pc.CreateDataChannel("chat", nil)
			require.NoError(t, err)
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			pc := connection(t)
			test.setUp(t, pc)
			local, err := pc.CreateOffer(nil)
			require.NoError(t, err)
			require.NoError(t, pc.SetLocalDescription(local))

			offer, err := Parse([]byte(local.SDP), DefaultLimits)
			require.NoError(t, err)
			require.NoError(t, checkRole(offer, test.role))
			answer := answerTo(offer, test.role).Marshal(offer)
			require.Less(t, len(answer), 8192)
			require.NoError(t, pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}))
			requireNegotiated(t, pc, offer)
		})
	}
}

// requireNegotiated checks that pion keeps at least the codecs that it offered
// first: a mismatch would leave it with none.
func requireNegotiated(t *testing.T, pc *webrtc.PeerConnection, offer *Description) {
	t.Helper()
	for _, transceiver := range pc.GetTransceivers() {
		var codecs []webrtc.RTPCodecParameters
		if sender := transceiver.Sender(); sender != nil {
			codecs = sender.GetParameters().Codecs
		} else {
			codecs = transceiver.Receiver().GetParameters().Codecs
		}
		require.NotEmpty(t, codecs)
		require.Contains(t, names(offer.Media[0].Codecs)+" "+names(offer.Media[len(offer.Media)-1].Codecs),
			strings.Split(codecs[0].MimeType, "/")[1])
	}
}

// A pion player answers our offer, and we understand it.
func TestPionAnswersOffer(t *testing.T) {
	pc := connection(t)
	ours := testOffer()
	require.NoError(t, pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: ours.Marshal()}))
	local, err := pc.CreateAnswer(nil)
	require.NoError(t, err)

	answer, err := ParseAnswer([]byte(local.SDP), DefaultLimits)
	require.NoError(t, err)
	offer, err := ours.Description()
	require.NoError(t, err)
	require.NoError(t, MatchAnswer(offer, answer))
	require.Equal(t, SetupActive, answer.Setup)
	require.Contains(t, names(answer.Media[0].Codecs), Opus)
	require.Contains(t, names(answer.Media[1].Codecs), H264)
}
