package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"

	"rheomesh/sfu"
)

// BenchmarkListPublishers reads a page of 1,000 publishers over a socket. They are idle: each is a name that one viewer
// waits for, which costs the list what a live one without tracks does. Target: 20 ms.
func BenchmarkListPublishers(b *testing.B) {
	const publishers = 1000
	node, err := sfu.NewNode(sfu.Config{MediaAddr: "127.0.0.1:0", Limits: sfu.Limits{MaxHalfOpen: publishers, ConnectTimeout: time.Hour}})
	require.NoError(b, err)
	router, _, err := node.PutRouter("live", sfu.RouterConfig{})
	require.NoError(b, err)
	offer := playerOffer(b)
	for i := range publishers {
		_, err := router.Subscribe(sfu.SubscribeRequest{Publisher: sfu.PublisherID(fmt.Sprintf("cam-%04d", i)), Offer: offer})
		require.NoError(b, err)
	}
	s := New(Config{Node: node, Addr: loopback})
	server := httptest.NewServer(s.Handler())
	client := server.Client()
	b.Cleanup(func() {
		client.CloseIdleConnections()
		server.Close()
		require.NoError(b, s.Close(context.Background()))
		require.NoError(b, node.Close())
	})
	read := func() []byte {
		response, err := client.Get(server.URL + "/api/v1/routers/live/publishers?limit=1000")
		require.NoError(b, err)
		body, err := io.ReadAll(response.Body)
		require.NoError(b, err)
		require.NoError(b, response.Body.Close())
		require.Equal(b, http.StatusOK, response.StatusCode)
		return body
	}
	var list page[publisherView]
	require.NoError(b, json.Unmarshal(read(), &list))
	require.Len(b, list.Items, publishers)
	for b.Loop() {
		read()
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/1e3/float64(b.N), "ms/list")
}

// playerOffer is what a player of video sends; every session of the benchmark may have the same.
func playerOffer(b *testing.B) []byte {
	b.Helper()
	pc, err := webrtc.NewPeerConnection(webrtc.Configuration{})
	require.NoError(b, err)
	defer pc.Close()
	_, err = pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
	require.NoError(b, err)
	offer, err := pc.CreateOffer(nil)
	require.NoError(b, err)
	return []byte(offer.SDP)
}
