package relay

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"rheomesh/sfu"
)

func newNode(t testing.TB) *Node {
	t.Helper()
	media, err := sfu.NewNode(sfu.Config{ID: "node", MediaAddr: "127.0.0.1:0"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, media.Close()) })
	n, err := Listen(Config{Media: media, Addr: "127.0.0.1:0"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.Close()) })
	return n
}

// call sends a request to the server for nodes as if it came from this machine.
func (n *Node) call(method, path, authorization string, body []byte) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, bytes.NewReader(body))
	r.RemoteAddr = "127.0.0.1:4711"
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	w := httptest.NewRecorder()
	n.http.Handler.ServeHTTP(w, r)
	return w
}

// offer is a good handshake of another node.
func (n *Node) offer(t testing.TB, terms offerTerms) []byte {
	t.Helper()
	raw, err := json.Marshal(terms)
	require.NoError(t, err)
	_, message, err := propose(raw, n.keys.Load().current())
	require.NoError(t, err)
	body, err := json.Marshal(handshake{Terms: raw, Noise: message})
	require.NoError(t, err)
	return body
}

func TestHandshakeTwiceIsOneLink(t *testing.T) {
	n := newNode(t)
	body := n.offer(t, offerTerms{VersionMin: 1, VersionMax: 3, NodeID: "other", Epoch: "e", Nonce: "n", Line: "l", Handle: 7})
	first := n.call("PUT", "/relay/v1/links/other", "", body)
	require.Equal(t, http.StatusOK, first.Code, first.Body)
	for range 50 { // well below the limit of handshakes
		require.Equal(t, first.Body.Bytes(), n.call("PUT", "/relay/v1/links/other", "", body).Body.Bytes())
	}
	require.Len(t, n.Links(), 1)
	require.Equal(t, "connecting", n.Links()[0].State, "nothing was heard of it over UDP")
}

func TestHandshakeRefused(t *testing.T) {
	n := newNode(t)
	good := offerTerms{VersionMin: 1, VersionMax: 1, NodeID: "other", Epoch: "e", Nonce: "n"}
	for _, row := range []struct {
		name   string
		change func(*offerTerms)
		status int
	}{
		{"this node's own id", func(o *offerTerms) { o.NodeID = "node" }, http.StatusConflict},
		{"newer versions", func(o *offerTerms) { o.VersionMin, o.VersionMax = 2, 3 }, http.StatusUpgradeRequired},
		{"no id", func(o *offerTerms) { o.NodeID = "" }, http.StatusUpgradeRequired},
		{"handle of more than 24 bits", func(o *offerTerms) { o.Handle = 1 << 24 }, http.StatusUpgradeRequired},
	} {
		terms := good
		row.change(&terms)
		id := terms.NodeID
		if id == "" {
			id = "x"
		}
		w := n.call("PUT", "/relay/v1/links/"+string(id), "", n.offer(t, terms))
		require.Equal(t, row.status, w.Code, row.name)
	}
	body := n.offer(t, good)
	require.Equal(t, http.StatusUpgradeRequired, n.call("PUT", "/relay/v1/links/someone", "", body).Code, "another id in the path")
	changed := bytes.Replace(body, []byte(`"epoch":"e"`), []byte(`"epoch":"f"`), 1)
	require.NotEqual(t, body, changed)
	require.Equal(t, http.StatusUnauthorized, n.call("PUT", "/relay/v1/links/other", "", changed).Code, "changed on the way")
	for size := range body {
		require.Equal(t, http.StatusUnauthorized, n.call("PUT", "/relay/v1/links/other", "", body[:size]).Code, "prefix of %d bytes", size)
		if size > 60 {
			break // handshakes are limited in number; the rest is FuzzDecode's
		}
	}
	require.Empty(t, n.Links())
}

// Without proof everything has the same answer.
func TestWithoutProof(t *testing.T) {
	n := newNode(t)
	var first []byte
	for _, path := range []string{"", "/streams", "/streams/r"} {
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			for _, authorization := range []string{"", "Bearer x", "Rheomesh-Link 1 1 AAAA", "Rheomesh-Link 16777216 1 AAAA", "Rheomesh-Link x y z"} {
				w := n.call(method, "/relay/v1/links/node"+path, authorization, []byte("{}"))
				if w.Code == http.StatusMethodNotAllowed {
					continue
				}
				require.Equal(t, http.StatusUnauthorized, w.Code, "%s %s", method, path)
				if first == nil {
					first = w.Body.Bytes()
				}
				require.Equal(t, first, w.Body.Bytes())
			}
		}
	}
}

func TestAuthority(t *testing.T) {
	secrets := [2][]byte{bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)}
	initiator, err := newAuthority(secrets)
	require.NoError(t, err)
	responder, err := newAuthority(secrets)
	require.NoError(t, err)
	r := httptest.NewRequest("PUT", "/relay/v1/links/a/streams", nil)
	number := initiator.sign(r, 5, []byte("body"))
	require.Equal(t, uint64(1), number)
	handle, text, mac, ok := credential(r)
	require.True(t, ok)
	require.Equal(t, uint32(5), handle)
	require.False(t, responder.verify(r, text, mac, []byte("bodY")), "another body")
	require.False(t, responder.verify(httptest.NewRequest("PUT", "/relay/v1/links/b/streams", nil), text, mac, []byte("body")), "another path")
	require.True(t, responder.verify(r, text, mac, []byte("body")))
	require.False(t, responder.verify(r, text, mac, []byte("body")), "repeated")
	w := httptest.NewRecorder()
	w.Header().Set(headerProof, responder.answer(text, 200, []byte("ok")))
	w.WriteHeader(200)
	require.True(t, initiator.answered(number, w.Result(), []byte("ok")))
	require.False(t, initiator.answered(number, w.Result(), []byte("no")))
	require.False(t, initiator.answered(number+1, w.Result(), []byte("ok")), "an answer to another request")
}

func TestStreamSetBounds(t *testing.T) {
	offer := streamOffer{
		Key: "k", Origin: originTerms{NodeID: "a", RouterID: "live", PublisherID: "cam", Hops: []sfu.NodeID{"a"}},
		Tracks: []trackTerms{{ID: "0", Kind: "video", RIDs: []string{""}, Codecs: []codecTerms{{PT: 96, Name: "VP8", ClockRate: 90000}}}},
	}
	set := streamSet{Relay: "r", RemoteRouter: "live", MaxHops: 4, Streams: []streamOffer{offer}}
	require.True(t, set.valid())
	for name, change := range map[string]func(*streamSet){
		"key twice":     func(s *streamSet) { s.Streams = append(s.Streams, offer) },
		"no key":        func(s *streamSet) { s.Streams[0].Key = "" },
		"no hops":       func(s *streamSet) { s.Streams[0].Origin.Hops = nil },
		"bad hop":       func(s *streamSet) { s.Streams[0].Origin.Hops = []sfu.NodeID{"/"} },
		"no tracks":     func(s *streamSet) { s.Streams[0].Tracks = nil },
		"kind":          func(s *streamSet) { s.Streams[0].Tracks[0].Kind = "data" },
		"payload type":  func(s *streamSet) { s.Streams[0].Tracks[0].Codecs[0].PT = 128 },
		"no layers":     func(s *streamSet) { s.Streams[0].Tracks[0].RIDs = nil },
		"max hops":      func(s *streamSet) { s.MaxHops = maxHopsAllowed + 1 },
		"relay id":      func(s *streamSet) { s.Relay = "" },
		"remote router": func(s *streamSet) { s.RemoteRouter = ".." },
	} {
		raw, err := json.Marshal(set)
		require.NoError(t, err)
		var changed streamSet
		require.NoError(t, json.Unmarshal(raw, &changed))
		change(&changed)
		require.False(t, changed.valid(), name)
	}
}

func TestSlotsAreUsedInTurn(t *testing.T) {
	var p slotPool
	first, _ := p.take()
	p.give(first)
	for range tableSlots - 1 {
		h, ok := p.take()
		require.True(t, ok)
		require.NotEqual(t, first.Slot(), h.Slot(), "a place is used again as late as possible")
	}
	again, ok := p.take()
	require.True(t, ok)
	require.Equal(t, first.Slot(), again.Slot())
	require.NotEqual(t, first, again, "the generation differs")
	_, ok = p.take()
	require.False(t, ok)
}

// FuzzDecode sends anything to every decoder of bodies: nothing panics, and what is valid stays within the bounds.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"relay":"r","remote_router":"live","max_hops":4,"streams":[{"key":"k","origin":{"node_id":"a","router_id":"live","publisher_id":"c","hops":["a"]},"tracks":[]}]}`))
	f.Add([]byte(`{"relay":"r","router":"live","publishers":["*"],"max_hops":1,"accepted":{"streams":[{"key":"k","status":"created","handles":[[1,2]]}]}}`))
	f.Add([]byte(`{"terms":{"version_min":1},"noise":"AAAA"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var set streamSet
		if decodeStrict(body, &set) == nil && set.valid() {
			for _, o := range set.Streams {
				for _, track := range o.Tracks {
					_ = track.description()
				}
			}
		}
		var order pullOrder
		if decodeStrict(body, &order) == nil {
			_ = order.valid()
		}
		var h handshake
		if decodeStrict(body, &h) == nil {
			_, _, _ = greet(h, newClusterKeys("one", "two"))
		}
		var orders []Order
		if decodeStrict(body, &orders) == nil {
			for _, o := range orders {
				_ = o.withDefaults().check()
			}
		}
	})
}
