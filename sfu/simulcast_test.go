package sfu_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"

	"rheomesh/sfu"
)

// simulcaster publishes one picture in several encodings, whose SSRCs no description names.
type simulcaster struct {
	t        testing.TB
	pc       *webrtc.PeerConnection
	session  *sfu.Session
	sender   *webrtc.RTPSender
	tracks   map[string]*webrtc.TrackLocalStaticRTP
	seq      map[string]uint16
	ts       uint32
	mid, rid uint8
}

func publishSimulcast(t testing.TB, router *sfu.Router, id sfu.PublisherID, rids ...string) *simulcaster {
	t.Helper()
	media := engineOf(t, parameters(96, webrtc.MimeTypeVP8, 90000, 0, ""))
	require.NoError(t, webrtc.ConfigureSimulcastExtensionHeaders(media))
	require.NoError(t, media.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: midURI}, webrtc.RTPCodecTypeVideo))
	s := &simulcaster{t: t, pc: newPeerWith(t, media), tracks: map[string]*webrtc.TrackLocalStaticRTP{}, seq: map[string]uint16{}, ts: 1 << 30}
	for i, rid := range rids {
		track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8}, "video", "stream", webrtc.WithRTPStreamID(rid))
		require.NoError(t, err)
		s.tracks[rid], s.seq[rid] = track, uint16(20000*i+60000)
		if i == 0 {
			transceiver, err := s.pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
			require.NoError(t, err)
			s.sender = transceiver.Sender()
			continue
		}
		require.NoError(t, s.sender.AddEncoding(track))
	}
	var err error
	s.session, err = router.Publish(sfu.PublishRequest{Publisher: id, Offer: []byte(offer(t, s.pc))})
	require.NoError(t, err)
	answer(t, s.pc, s.session.Description())
	connected(t, s.pc)
	for _, e := range s.sender.GetParameters().HeaderExtensions {
		switch e.URI {
		case midURI:
			s.mid = uint8(e.ID)
		case ridURI:
			s.rid = uint8(e.ID)
		}
	}
	return s
}

// sized is a VP8 keyframe of a width; the height is the same.
func sized(width uint16) []byte {
	payload := keyframe(byte(width / 10))
	binary.LittleEndian.PutUint16(payload[7:], width)
	binary.LittleEndian.PutUint16(payload[9:], width)
	return payload
}

func (s *simulcaster) write(rid string, payload []byte) {
	s.t.Helper()
	s.seq[rid]++
	packet := &rtp.Packet{Header: rtp.Header{Version: 2, Marker: true, SequenceNumber: s.seq[rid], Timestamp: s.ts}, Payload: payload}
	require.NoError(s.t, packet.SetExtension(s.mid, []byte("0")))
	require.NoError(s.t, packet.SetExtension(s.rid, []byte(rid)))
	require.NoError(s.t, s.tracks[rid].WriteRTP(packet))
}

func TestSimulcast(t *testing.T) {
	node, router := newNode(t)
	p := publishSimulcast(t, router, "cam", "q", "h", "f")
	require.Contains(t, p.session.Description(), "a=simulcast:recv q;h;f\r\n")
	for _, rid := range []string{"q", "h", "f"} {
		require.Contains(t, p.session.Description(), "a=rid:"+rid+" recv\r\n")
	}
	sizes := map[string]uint16{"q": 160, "h": 320, "f": 640}
	for _, rid := range []string{"f", "q", "h"} {
		p.write(rid, sized(sizes[rid]))
	}
	eventually(t, func() bool { return node.Stats().VideoPacketsIn == 3 })
	events := node.Listen(func(e sfu.Event) bool { return e.Type == sfu.EventSubscriberLayer })
	defer events.Close()

	v := watch(t, router, "cam")
	previous := v.next()
	require.Equal(t, sized(640), previous.Payload, "the largest picture, whatever its name")

	layers := v.session.Layers()
	index, _, ok := v.session.MediaIndex("0")
	require.True(t, ok)
	require.Len(t, layers[index], 3)
	for _, l := range layers[index] {
		require.EqualValues(t, sizes[l.RID], l.Width)
		require.True(t, l.Active)
		require.NotZero(t, l.SSRC)
		require.Equal(t, l.RID == "f", l.Selected)
	}
	require.ErrorIs(t, v.session.SelectLayer(sfu.LayerSelection{RID: "none"}), sfu.ErrLayerNotFound)
	require.ErrorIs(t, v.session.SelectLayer(sfu.LayerSelection{Kind: "data"}), sfu.ErrLayerNotFound)
	require.ErrorIs(t, p.session.SelectLayer(sfu.LayerSelection{RID: "q"}), sfu.ErrSessionState)

	// From layer to layer and back by the automatic choice: always at a keyframe, in one unbroken stream.
	for _, step := range []struct {
		selection sfu.LayerSelection
		from, to  string
	}{
		{sfu.LayerSelection{RID: "q"}, "f", "q"},
		{sfu.LayerSelection{Kind: "video", RID: "h"}, "q", "h"},
		{sfu.LayerSelection{}, "h", "f"},
	} {
		// Cached keyframes grow too old to switch to; the old layer goes on until there is a new one.
		time.Sleep(600 * time.Millisecond)
		p.ts += 54000
		p.write(step.from, delta(0))
		next := v.next()
		continues(t, previous, next)
		previous = next
		require.NoError(t, v.session.SelectLayer(step.selection))
		require.NoError(t, sfu.Settle(v.session))
		for n := range byte(5) {
			p.ts += 3000
			for rid := range sizes {
				p.write(rid, delta(byte(sizes[rid]/10)+n))
			}
			next := v.next()
			continues(t, previous, next)
			require.Equal(t, delta(byte(sizes[step.from]/10)+n), next.Payload)
			previous = next
		}
		p.ts += 3000
		p.write(step.to, sized(sizes[step.to]))
		next = v.next()
		continues(t, previous, next)
		require.Equal(t, sized(sizes[step.to]), next.Payload)
		previous = next
		e := eventOf(t, events, sfu.EventSubscriberLayer)
		require.Equal(t, v.session.SubscriberID(), e.SubscriberID)
	}
	// A retransmission from before the last switch is still answered.
	require.NoError(t, v.pc.WriteRTCP([]rtcp.Packet{&rtcp.TransportLayerNack{MediaSSRC: previous.SSRC, Nacks: []rtcp.NackPair{{PacketID: previous.SequenceNumber - 3}}}}))
	eventually(t, func() bool { return node.Stats().Retransmitted == 1 })
}

// The layer that a viewer watches stops: the viewer goes on with the best of the others.
func TestLayerThatStops(t *testing.T) {
	node, router := newNode(t)
	p := publishSimulcast(t, router, "cam", "a", "b")
	p.write("a", sized(640))
	p.write("b", sized(320))
	eventually(t, func() bool { return node.Stats().VideoPacketsIn == 2 })
	v := watch(t, router, "cam")
	previous := v.next()
	require.Equal(t, sized(640), previous.Payload)
	next := make(chan *rtp.Packet, 1)
	go func() { next <- v.next() }()
	for {
		select {
		case packet := <-next:
			continues(t, previous, packet)
			require.Equal(t, sized(320), packet.Payload)
			return
		case <-time.After(50 * time.Millisecond):
			p.ts += 4500
			p.write("b", sized(320))
		}
	}
}

// A layer that never starts holds nothing up, and neither do one to four of them.
func TestLayersThatNeverStart(t *testing.T) {
	for _, rids := range [][]string{{"1"}, {"1", "2"}, {"1", "2", "3", "4"}} {
		_, router := newNode(t)
		p := publishSimulcast(t, router, "cam", rids...)
		v := watch(t, router, "cam")
		p.write(rids[len(rids)-1], sized(320))
		require.Equal(t, sized(320), v.next().Payload)
	}
}
