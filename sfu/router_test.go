package sfu_test

import (
	"sync"
	"testing"

	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"rheomesh/sfu"
)

// TestUpdateRouter: new settings count for the next session, and leave those that exist.
func TestUpdateRouter(t *testing.T) {
	node, router := newNode(t)
	playing := watch(t, router, "cam")
	require.NoError(t, router.Update(sfu.RouterConfig{MaxSubscribers: 1, Codecs: []string{"H264"}, Metadata: map[string]string{"floor": "2"}}))
	assert.Equal(t, "2", router.Config().Metadata["floor"])
	_, err := router.OfferSubscription(sfu.SubscribeRequest{Publisher: "cam"})
	assert.ErrorIs(t, err, sfu.ErrCapacity)
	_, ended := playing.session.Closed()
	assert.False(t, ended, "a lowered limit ends nobody")

	pc := newPeer(t)
	track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8}, "video", "stream")
	require.NoError(t, err)
	_, err = pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	require.NoError(t, err)
	text := []byte(offer(t, pc))
	require.NoError(t, router.Update(sfu.RouterConfig{Codecs: []string{"opus"}}))
	_, err = router.Publish(sfu.PublishRequest{Publisher: "cam", Offer: text})
	assert.ErrorIs(t, err, sfu.ErrOfferUnacceptable)
	require.NoError(t, router.Update(sfu.RouterConfig{}))
	_, err = router.Publish(sfu.PublishRequest{Publisher: "cam", Offer: text})
	assert.NoError(t, err)

	require.NoError(t, node.DeleteRouter("live"))
	assert.ErrorIs(t, router.Update(sfu.RouterConfig{}), sfu.ErrRouterNotFound)
}

// TestUpdateRouterRace has readers beside writers; the race detector judges.
func TestUpdateRouterRace(t *testing.T) {
	_, router := newNode(t)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range 200 {
				if i%2 == 0 {
					_ = router.Update(sfu.RouterConfig{MaxPublishers: n, Codecs: []string{"VP8"}})
				} else {
					_ = len(router.Config().Codecs) + router.Config().MaxPublishers
				}
			}
		})
	}
	wg.Wait()
}
