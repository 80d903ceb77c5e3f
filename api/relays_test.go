package api

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"rheomesh/relay"
	"rheomesh/sfu"
)

// newPeer starts another node on loopback with the router "live".
func newPeer(t *testing.T, id sfu.NodeID) *relay.Node {
	t.Helper()
	media, err := sfu.NewNode(sfu.Config{ID: id, MediaAddr: "127.0.0.1:0"})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, media.Close()) })
	_, _, err = media.PutRouter("live", sfu.RouterConfig{})
	require.NoError(t, err)
	relays, err := relay.Listen(relay.Config{Media: media, Addr: "127.0.0.1:0"})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, relays.Close()) })
	return relays
}

// relays drives every operation on relays and links. "cam" is live.
func (s *contractServer) relays(t *testing.T) {
	const relays = "/api/v1/routers/live/relays"
	peer := newPeer(t, "peer").Addr().String()
	order := fmt.Sprintf(`{"peer":%q,"publishers":["cam"],"mode":"push"}`, peer)

	response, _ := s.good(201, "PUT", relays+"/r1", order)
	assert.Equal(t, relays+"/r1", response.Header.Get("Location"))
	s.good(200, "PUT", relays+"/r1", order)
	s.bad(409, "PUT", relays+"/r1", fmt.Sprintf(`{"peer":%q,"mode":"pull"}`, peer))
	s.bad(400, "PUT", relays+"/r2", `{"id":"r3","peer":"127.0.0.1:1"}`)
	s.bad(400, "PUT", relays+"/r2", `{"peer":""}`)
	s.bad(400, "POST", relays, `{"peers":"127.0.0.1:1"}`)
	s.bad(502, "POST", relays, `{"peer":"127.0.0.1:1"}`)
	s.bad(403, "POST", relays, `{"peer":"192.0.2.1:9443"}`)
	s.bad(404, "POST", relays, fmt.Sprintf(`{"peer":%q,"remote_router":"none"}`, peer))
	s.bad(409, "POST", relays, fmt.Sprintf(`{"peer":%q}`, s.cfg.Relay.Addr()))
	s.bad(409, "POST", relays, fmt.Sprintf(`{"id":"r1","peer":%q,"publishers":["cam"]}`, peer))
	s.bad(404, "POST", "/api/v1/routers/none/relays", order)
	s.good(201, "POST", relays, fmt.Sprintf(`{"peer":%q,"publishers":["later"],"max_hops":2}`, peer))

	_, text := s.good(200, "GET", relays+"/r1", "")
	var shown relayView
	require.NoError(t, json.Unmarshal(text, &shown))
	assert.Equal(t, "active", shown.State)
	assert.Len(t, shown.Streams, 3, "two encodings of video, one of audio")
	assert.Equal(t, sfu.RouterID("live"), shown.RemoteRouter)
	s.bad(404, "GET", relays+"/none", "")
	_, text = s.good(200, "GET", relays, "")
	var listed page[relayView]
	require.NoError(t, json.Unmarshal(text, &listed))
	assert.Len(t, listed.Items, 2, "what was refused has left nothing behind")
	s.bad(404, "GET", "/api/v1/routers/none/relays", "")

	s.links(t)
	s.good(204, "DELETE", relays+"/r1", "")
	s.bad(404, "DELETE", relays+"/r1", "")
}

func (s *contractServer) links(t *testing.T) {
	_, text := s.good(200, "GET", "/api/v1/links", "")
	s.bad(400, "GET", "/api/v1/links?limit=0", "")
	var listed page[linkView]
	require.NoError(t, json.Unmarshal(text, &listed))
	require.Len(t, listed.Items, 1, "relays to one peer share a link")
	assert.Equal(t, "up", listed.Items[0].State)
	s.good(200, "GET", "/api/v1/links/"+listed.Items[0].ID, "")
	s.bad(404, "GET", "/api/v1/links/none", "")
	s.good(204, "DELETE", "/api/v1/links/"+listed.Items[0].ID, "")
	s.bad(404, "DELETE", "/api/v1/links/"+listed.Items[0].ID, "")
}

// A relay's changes are events with the relay in them.
func TestRelayEvents(t *testing.T) {
	s := newTestServer(t, nil)
	listening := s.cfg.Node.Listen(func(e sfu.Event) bool { return e.Subject != nil })
	defer listening.Close()
	AnnounceRelay(s.cfg.Node, relay.Info{Order: relay.Order{Router: "live", ID: "r"}, State: relay.StateConnecting})
	AnnounceRelay(s.cfg.Node, relay.Info{Order: relay.Order{Router: "live", ID: "r"}, State: relay.StateActive})
	select {
	case e := <-listening.C():
		assert.Equal(t, eventRelayActive, e.Type, "connecting is no event")
		assert.Equal(t, "r", s.showEvent(e).(relayView).ID)
	case <-time.After(10 * time.Second):
		t.Fatal("no event")
	}
}
