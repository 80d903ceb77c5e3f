package sfu_test

import (
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"rheomesh/sfu"
)

const levelledAudio = sfu.RawAudio + "a=extmap:3 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n"

// talker sends audio of a level, a packet in 20 ms of its own time.
type talker struct {
	peer *sfu.RawPeer
	seq  uint16
}

func (k *talker) say(t *testing.T, dBov uint8) {
	t.Helper()
	k.seq++
	packet := &rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 111, SequenceNumber: k.seq, Timestamp: uint32(k.seq) * 960, SSRC: 7}, Payload: []byte{1, 2, 3}}
	require.NoError(t, packet.SetExtension(3, []byte{0x80 | dBov}))
	k.peer.Send(packet)
}

func TestSpeakers(t *testing.T) {
	node, router := newNode(t)
	require.Empty(t, router.Speakers())
	events := node.Listen(func(e sfu.Event) bool { return e.Type == sfu.EventRouterSpeakers })
	defer events.Close()
	anna := &talker{peer: sfu.RawPublish(t, router, "anna", []string{levelledAudio})}
	ben := &talker{peer: sfu.RawPublish(t, router, "ben", []string{levelledAudio})}
	sfu.RawPublish(t, router, "mute", []string{sfu.RawAudio})

	speak := func(a, b uint8, until func() bool) {
		t.Helper()
		eventually(t, func() bool {
			anna.say(t, a)
			ben.say(t, b)
			return until()
		})
	}
	first := func() sfu.PublisherID {
		if list := router.Speakers(); len(list) > 0 {
			return list[0].Publisher
		}
		return ""
	}
	speak(20, 127, func() bool { return first() == "anna" })
	require.Len(t, router.Speakers(), 1)
	require.InDelta(t, -20, router.Speakers()[0].LevelDBov, 15)
	require.WithinDuration(t, time.Now(), router.Speakers()[0].Since, 5*time.Second)
	e := <-events.C()
	require.Equal(t, router, e.Router)
	require.Equal(t, sfu.RouterID("live"), e.RouterID)

	speak(127, 10, func() bool { return first() == "ben" })
	levels := map[sfu.PublisherID]*int{}
	for _, p := range router.Publishers() {
		for _, track := range p.Info().Tracks {
			levels[p.ID()] = track.AudioLevelDBov
		}
	}
	require.NotNil(t, levels["ben"])
	require.Less(t, *levels["anna"], *levels["ben"])
	require.Nil(t, levels["mute"], "its client does not tell")

	// Who leaves speaks no more, and nobody has to send for that to be seen.
	ben.peer.Session().Close(sfu.CloseDeleted)
	eventually(t, func() bool { return first() != "ben" })
}
