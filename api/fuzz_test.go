package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"rheomesh/sfu"
)

// FuzzRequest sends anything to the whole server. Whatever comes, the answer is one that the server means: no panic, no
// internal error, and every refusal a problem document.
func FuzzRequest(f *testing.F) {
	for _, seed := range []struct{ method, path, contentType, condition, body string }{
		{"PUT", "/api/v1/routers/a", "application/json", "", `{"metadata":{"a":"b"},"max_publishers":1}`},
		{"POST", "/api/v1/routers", "application/json", "", `{"id":"x","codecs":["VP8"]}`},
		{"PATCH", "/api/v1/routers/live", "application/json; charset=utf-8", "*", `{"metadata":{"a":null}}`},
		{"PATCH", "/api/v1/routers/live/subscribers/s1", "application/json", "", `{"paused":true,"layer":{"rid":"h","spatial":1}}`},
		{"GET", "/api/v1/routers?limit=1000&cursor=bGl2ZQ", "", "", ""},
		{"GET", "/api/v1/routers/%2e%2e/publishers", "", `W/"x", "y"`, ""},
		{"DELETE", "/api/v1/routers/none", "", `"x`, ""},
		{"POST", "/api/v1/webhooks", "application/json", "", `{"url":"https://example.org","events":["publisher.live"],"secret":"whsec_AAAA"}`},
		{"POST", "/whip/live/cam", "application/sdp", "", "v=0\r\n"},
		{"PATCH", "/whep/live/cam/x", "application/trickle-ice-sdpfrag", "*", "a=end-of-candidates\r\n"},
		{"POST", "/whep/live/cam/x/layer", "application/json", "", `{"mediaId":1}`},
		{"GET", "/swagger/..%2findex.html", "", "", ""},
		{"PUT", "/api/v1/routers/\xff", "application/json", "", "\xff"},
	} {
		f.Add(seed.method, seed.path, seed.contentType, seed.condition, []byte(seed.body))
	}
	s := newFuzzServer(f)
	f.Fuzz(func(t *testing.T, method, path, contentType, condition string, body []byte) {
		if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "/api/v1/events") || strings.ContainsAny(method, " \t\r\n") {
			return // no request line, or an answer without an end
		}
		r, err := http.NewRequestWithContext(t.Context(), method, "http://127.0.0.1:8080"+path, bytes.NewReader(body))
		if err != nil {
			return // the server's parser would not let it through
		}
		r.RemoteAddr = "127.0.0.1:4711"
		r.Header["Content-Type"], r.Header["If-Match"] = []string{contentType}, []string{condition}
		recorder := httptest.NewRecorder()
		s.Handler().ServeHTTP(recorder, r)
		require.NotContains(t, []int{0, http.StatusInternalServerError}, recorder.Code, recorder.Body)
		if recorder.Code >= 400 {
			require.Equal(t, "application/problem+json", recorder.Header().Get("Content-Type"))
			require.True(t, json.Valid(recorder.Body.Bytes()))
		}
	})
}

// newFuzzServer is a server that outlives the runs of a target.
func newFuzzServer(f *testing.F) *Server {
	f.Helper()
	node, err := sfu.NewNode(sfu.Config{MediaAddr: "127.0.0.1:0"})
	require.NoError(f, err)
	f.Cleanup(func() { assert.NoError(f, node.Close()) })
	_, _, err = node.PutRouter("live", sfu.RouterConfig{})
	require.NoError(f, err)
	return New(Config{Node: node, Addr: loopback, Limits: generous, Crash: func(value any) { f.Fatal(value) }})
}

// FuzzRouterPatch merges anything into settings. What was there is never changed, and what comes out is in bounds.
func FuzzRouterPatch(f *testing.F) {
	for _, seed := range []string{`{}`, `{"metadata":{"a":null,"b":"1"}}`, `{"max_publishers":-1}`, `{"codecs":["VP8"]}`, `{"metadata":null}`, `{"max_subscribers":1e3}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var p routerPatch
		if json.Unmarshal(body, &p) != nil {
			return
		}
		before := sfu.RouterConfig{Metadata: map[string]string{"a": "0"}, MaxPublishers: 1, Codecs: []string{"H264"}}
		after, err := p.apply(before, 100)
		require.Equal(t, map[string]string{"a": "0"}, before.Metadata)
		require.Equal(t, []string{"H264"}, before.Codecs)
		if err != nil {
			require.ErrorIs(t, err, errBadRequest)
			return
		}
		require.GreaterOrEqual(t, after.MaxPublishers, 0)
		require.GreaterOrEqual(t, after.MaxSubscribers, 0)
		size := 0
		for key, value := range after.Metadata {
			size += len(key) + len(value)
		}
		require.LessOrEqual(t, size, 100)
	})
}

// FuzzPage reads any paging parameters.
func FuzzPage(f *testing.F) {
	for _, seed := range []string{"", "limit=1", "limit=1001", "limit=-1", "cursor=bGl2ZQ", "cursor=*", "limit=1&limit=2&cursor=%00", "limit=9223372036854775808"} {
		f.Add(seed)
	}
	all := []string{"a", "b", "c", "d"}
	same := func(s string) string { return s }
	f.Fuzz(func(t *testing.T, query string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.URL.RawQuery = query
		p, err := paginate(echo.New().NewContext(r, nil), all, same, same)
		if err != nil {
			require.ErrorIs(t, err, errBadRequest)
			return
		}
		require.LessOrEqual(t, len(p.Items), maxPage)
		require.Subset(t, all, p.Items)
		require.Equal(t, p.NextCursor != "", len(p.Items) > 0 && p.Items[len(p.Items)-1] != "d")
	})
}
