package sfu_test

import (
	"testing"

	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"
)

func TestViewerGetsEveryPacketOfThePublisher(t *testing.T) {
	_, router := newNode(t)
	p := publish(t, router, "cam", webrtc.MimeTypeVP8)
	p.write(65530, 1000, keyframe(0))
	v := watch(t, router, "cam")
	first := v.next()
	require.Equal(t, keyframe(0), first.Payload)
	require.True(t, first.Marker)
	for i := 1; i < 200; i++ {
		p.write(uint16(65530+i), uint32(1000+3000*i), delta(byte(i)))
	}
	previous := first
	for i := 1; i < 200; i++ {
		packet := v.next()
		require.Equal(t, delta(byte(i)), packet.Payload)
		require.Equal(t, previous.SequenceNumber+1, packet.SequenceNumber)
		require.Equal(t, previous.Timestamp+3000, packet.Timestamp)
		require.Equal(t, first.SSRC, packet.SSRC)
		previous = packet
	}
}

func TestViewerMayComeBeforeThePublisher(t *testing.T) {
	_, router := newNode(t)
	v := watch(t, router, "later")
	p := publish(t, router, "later", webrtc.MimeTypeVP8)
	p.write(1, 1000, keyframe(7))
	require.Equal(t, keyframe(7), v.next().Payload)
}
