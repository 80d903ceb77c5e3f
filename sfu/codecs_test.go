package sfu_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"

	"rheomesh/sfu"
)

const (
	audioLevelURI   = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
	orientationURI  = "urn:3gpp:video-orientation"
	playoutDelayURI = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
	midURI          = "urn:ietf:params:rtp-hdrext:sdes:mid"
	ridURI          = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
	repairedURI     = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
)

var keyframeFeedback = []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}}

func parameters(pt webrtc.PayloadType, mime string, clock uint32, channels uint16, fmtp string) webrtc.RTPCodecParameters {
	c := webrtc.RTPCodecParameters{PayloadType: pt, RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: mime, ClockRate: clock, Channels: channels, SDPFmtpLine: fmtp}}
	if clock == 90000 {
		c.RTCPFeedback = keyframeFeedback
	}
	return c
}

func kindOf(mime string) webrtc.RTPCodecType {
	if strings.HasPrefix(mime, "video/") {
		return webrtc.RTPCodecTypeVideo
	}
	return webrtc.RTPCodecTypeAudio
}

// engineOf knows exactly these codecs.
func engineOf(t testing.TB, codecs ...webrtc.RTPCodecParameters) *webrtc.MediaEngine {
	t.Helper()
	media := &webrtc.MediaEngine{}
	for _, c := range codecs {
		require.NoError(t, media.RegisterCodec(c, kindOf(c.MimeType)))
	}
	return media
}

// browserEngine knows what browsers know, in their order and numbers; other numbers than pion's publishers use.
func browserEngine(t testing.TB) *webrtc.MediaEngine {
	t.Helper()
	const h264 = "level-asymmetry-allowed=1;packetization-mode=%d;profile-level-id=%s"
	media := engineOf(t,
		parameters(109, webrtc.MimeTypeOpus, 48000, 2, "minptime=10;useinbandfec=1"), parameters(9, webrtc.MimeTypeG722, 8000, 0, ""),
		parameters(0, webrtc.MimeTypePCMU, 8000, 0, ""), parameters(8, webrtc.MimeTypePCMA, 8000, 0, ""),
		parameters(120, webrtc.MimeTypeVP8, 90000, 0, ""), parameters(121, webrtc.MimeTypeVP9, 90000, 0, "profile-id=0"),
		parameters(123, webrtc.MimeTypeAV1, 90000, 0, ""), parameters(126, webrtc.MimeTypeH265, 90000, 0, "level-id=93;tx-mode=SRST"),
	)
	for i, profile := range []string{"42001f", "42e01f", "4d001f", "64001f"} {
		for mode := range 2 {
			c := parameters(webrtc.PayloadType(40+2*i+mode), webrtc.MimeTypeH264, 90000, 0, fmt.Sprintf(h264, mode, profile))
			require.NoError(t, media.RegisterCodec(c, webrtc.RTPCodecTypeVideo))
		}
	}
	return media
}

// source publishes one track of one codec.
type source struct {
	pc      *webrtc.PeerConnection
	track   *webrtc.TrackLocalStaticRTP
	session *sfu.Session
}

func publishCodec(t testing.TB, router *sfu.Router, id sfu.PublisherID, codec webrtc.RTPCodecParameters, others ...webrtc.RTPCodecParameters) *source {
	t.Helper()
	s := &source{pc: newPeerWith(t, engineOf(t, append([]webrtc.RTPCodecParameters{codec}, others...)...))}
	var err error
	s.track, err = webrtc.NewTrackLocalStaticRTP(codec.RTPCodecCapability, "track", "stream")
	require.NoError(t, err)
	_, err = s.pc.AddTransceiverFromTrack(s.track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	require.NoError(t, err)
	s.session, err = router.Publish(sfu.PublishRequest{Publisher: id, Offer: []byte(offer(t, s.pc))})
	require.NoError(t, err)
	answer(t, s.pc, s.session.Description())
	connected(t, s.pc)
	return s
}

func (s *source) write(t testing.TB, seq uint16, ts uint32, marker bool, payload []byte) {
	t.Helper()
	require.NoError(t, s.track.WriteRTP(&rtp.Packet{Header: rtp.Header{Version: 2, Marker: marker, SequenceNumber: seq, Timestamp: ts}, Payload: payload}))
}

func pad(head []byte, n int) []byte {
	return append(head, bytes.Repeat([]byte{0xa5, 0x5a, 0x00}, n/3)...)
}

func TestEveryCodecArrivesByteForByte(t *testing.T) {
	sps := []byte{0x67, 0x42, 0xe0, 0x1f, 0x96, 0x54, 0x02, 0x80, 0x2d, 0x88}
	pps := []byte{0x68, 0xce, 0x38, 0x80}
	stapA := bytes.Join([][]byte{{0x78, 0, byte(len(sps))}, sps, {0, byte(len(pps))}, pps}, nil)
	h264Frames := [][]byte{
		stapA, pad([]byte{0x7c, 0x85, 0x88}, 1100), pad([]byte{0x7c, 0x05}, 1100), pad([]byte{0x7c, 0x45}, 400), // STAP-A, then an IDR in three FU-As
		pad([]byte{0x61, 0x9a}, 60),
	}
	singleUnits := [][]byte{sps, pps, pad([]byte{0x65, 0x88}, 900), pad([]byte{0x61, 0x9a}, 100)}
	h264 := func(name, fmtp string, viewer webrtc.PayloadType, payloads [][]byte) codecRow {
		return codecRow{"H264 " + name, parameters(96, webrtc.MimeTypeH264, 90000, 0, fmtp), viewer, payloads}
	}
	for _, row := range []codecRow{
		{"VP8", parameters(96, webrtc.MimeTypeVP8, 90000, 0, ""), 120, [][]byte{append([]byte{0x90, 0x80, 0x11}, pad(keyframe(1)[1:], 900)...), pad([]byte{0x80, 0x80, 0x11}, 900), pad([]byte{0x90, 0x80, 0x12, 0x11}, 90)}},
		{"VP9", parameters(98, webrtc.MimeTypeVP9, 90000, 0, "profile-id=0"), 121, [][]byte{pad([]byte{0x8a, 0x11, 0x18, 0x02, 0x7f, 0x01, 0x67, 0x82, 0x49, 0x83, 0x42}, 300), pad([]byte{0xcc, 0x12, 0x86}, 99)}},
		{"AV1", parameters(45, webrtc.MimeTypeAV1, 90000, 0, ""), 123, [][]byte{pad([]byte{0x18, 0x0a, 0x0b, 0x00, 0x00, 0x00}, 300), pad([]byte{0x10, 0x32}, 90)}},
		{"H265", parameters(116, webrtc.MimeTypeH265, 90000, 0, "level-id=93;tx-mode=SRST"), 126, [][]byte{
			pad([]byte{0x60, 0x01, 0, 5, 0x40, 0x01, 1, 2, 3, 0, 4, 0x42, 0x01, 1, 2}, 0), pad([]byte{0x62, 0x01, 0x93, 0x80}, 900), pad([]byte{0x62, 0x01, 0x53}, 90), pad([]byte{0x02, 0x01, 0x80}, 30),
		}},
		h264("OBS: constrained baseline", "profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1", 43, h264Frames),
		h264("baseline", "packetization-mode=1;profile-level-id=42001f", 41, h264Frames),
		h264("main as FFmpeg writes it", "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=4d401e", 45, h264Frames),
		h264("high of a higher level", "packetization-mode=1;profile-level-id=640034", 47, h264Frames),
		h264("seven digits", "packetization-mode=1;profile-level-id=422001f", 43, h264Frames),
		h264("unknown profile", "packetization-mode=1;profile-level-id=f4001f", 41, h264Frames),
		h264("mode 0", "packetization-mode=0;profile-level-id=42e01f", 42, singleUnits),
		h264("without fmtp", "", 42, singleUnits),
		{"opus", parameters(111, webrtc.MimeTypeOpus, 48000, 2, "minptime=10;useinbandfec=1"), 109, [][]byte{{0x78, 1, 2, 3}, {0x78}, pad(nil, 1200)}},
		{"opus in stereo", parameters(96, webrtc.MimeTypeOpus, 48000, 2, "stereo=1;sprop-stereo=1"), 109, [][]byte{{0x7c, 1}}},
		{"G722", parameters(9, webrtc.MimeTypeG722, 8000, 0, ""), 9, [][]byte{pad(nil, 160)}},
		{"PCMU", parameters(0, webrtc.MimeTypePCMU, 8000, 0, ""), 0, [][]byte{pad(nil, 160)}},
		{"PCMA", parameters(8, webrtc.MimeTypePCMA, 8000, 0, ""), 8, [][]byte{pad(nil, 160)}},
	} {
		t.Run(row.name, row.run)
	}
}

// codecRow is one codec of a publisher, the payload type under which browserEngine gets it, and payloads of one keyframe and what follows.
type codecRow struct {
	name     string
	codec    webrtc.RTPCodecParameters
	viewer   webrtc.PayloadType
	payloads [][]byte
}

func (row codecRow) run(t *testing.T) {
	_, router := newNode(t)
	p := publishCodec(t, router, "cam", row.codec)
	v := watchWith(t, router, "cam", browserEngine(t))
	out := v.video
	if kindOf(row.codec.MimeType) == webrtc.RTPCodecTypeAudio {
		out = v.audio
		v.awaitForwarding()
	}
	for i, payload := range row.payloads {
		p.write(t, uint16(65534+i), 1000+uint32(i/4*3000), i%4 == 3 || i == len(row.payloads)-1, payload)
	}
	var first *rtp.Packet
	for i, payload := range row.payloads {
		packet := nextOf(t, out)
		if first == nil {
			first = packet
		}
		require.Equal(t, payload, packet.Payload, "packet %d", i)
		require.EqualValues(t, row.viewer, packet.PayloadType)
		require.Equal(t, first.SequenceNumber+uint16(i), packet.SequenceNumber)
		require.Equal(t, first.Timestamp+uint32(i/4*3000), packet.Timestamp)
		require.Equal(t, i%4 == 3 || i == len(row.payloads)-1, packet.Marker)
	}
	publisher, err := router.Publisher("cam")
	require.NoError(t, err)
	_, name, _ := strings.Cut(row.codec.MimeType, "/")
	require.Equal(t, strings.ToLower(name), strings.ToLower(publisher.Info().Tracks[0].Codec))
}

func TestViewerWithoutTheCodecGetsNothingAndIsToldWhy(t *testing.T) {
	_, router := newNode(t)
	p := publishCodec(t, router, "cam", parameters(45, webrtc.MimeTypeAV1, 90000, 0, ""))
	p.write(t, 1, 1000, true, pad([]byte{0x18, 0x0a, 0x0b, 0x00, 0x00, 0x00}, 300))
	v := watchWith(t, router, "cam", engineOf(t, parameters(96, webrtc.MimeTypeVP8, 90000, 0, ""), parameters(111, webrtc.MimeTypeOpus, 48000, 2, "")))
	subscriber, err := router.Subscriber(v.session.SubscriberID())
	require.NoError(t, err)
	eventually(t, func() bool {
		for _, track := range subscriber.Info().Tracks {
			if track.Kind == "video" {
				return track.WithoutCommonCodec > 0 && track.Reason == "codec-not-offered"
			}
		}
		return false
	})
	require.Empty(t, v.video)
}

func TestHeaderExtensionsAreRenumbered(t *testing.T) {
	_, router := newNode(t)
	vp8 := parameters(96, webrtc.MimeTypeVP8, 90000, 0, "")
	media := func(uris ...string) *webrtc.MediaEngine {
		engine := engineOf(t, vp8, parameters(111, webrtc.MimeTypeOpus, 48000, 2, ""))
		for _, uri := range uris {
			require.NoError(t, engine.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: uri}, webrtc.RTPCodecTypeVideo))
		}
		return engine
	}
	pc := newPeerWith(t, media(midURI, orientationURI, playoutDelayURI))
	track, err := webrtc.NewTrackLocalStaticRTP(vp8.RTPCodecCapability, "track", "stream")
	require.NoError(t, err)
	transceiver, err := pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	require.NoError(t, err)
	session, err := router.Publish(sfu.PublishRequest{Publisher: "cam", Offer: []byte(offer(t, pc))})
	require.NoError(t, err)
	answer(t, pc, session.Description())
	connected(t, pc)
	ids := map[string]uint8{}
	for _, e := range transceiver.Sender().GetParameters().HeaderExtensions {
		ids[e.URI] = uint8(e.ID)
	}
	require.Len(t, ids, 3)
	packet := &rtp.Packet{Header: rtp.Header{Version: 2, Marker: true, SequenceNumber: 7, Timestamp: 9}, Payload: keyframe(1)}
	require.NoError(t, packet.SetExtension(ids[midURI], []byte("0")))
	require.NoError(t, packet.SetExtension(ids[orientationURI], []byte{3}))
	require.NoError(t, packet.SetExtension(ids[playoutDelayURI], []byte{1, 2, 3}))
	require.NoError(t, track.WriteRTP(packet))

	v := newViewerWith(t, media(playoutDelayURI, audioLevelURI, midURI, orientationURI))
	v.connect(router, "cam")
	got := v.next()
	remote := map[string]uint8{}
	for _, e := range v.pc.GetReceivers()[0].GetParameters().HeaderExtensions {
		remote[e.URI] = uint8(e.ID)
	}
	require.NotEqual(t, ids[orientationURI], remote[orientationURI])
	require.Equal(t, []byte{3}, got.GetExtension(remote[orientationURI]))
	require.Equal(t, []byte{1, 2, 3}, got.GetExtension(remote[playoutDelayURI]))
	require.Nil(t, got.GetExtension(remote[midURI]), "the publisher's mid means nothing to the viewer")
}
