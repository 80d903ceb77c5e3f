package whip

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"rheomesh/sfu"
)

// The numbered checks are the conformance list of the project. Those here are about HTTP alone and
// run against a node without media; media_test.go has the ones that need a connection.

// Check 1: what a successful POST answers.
func TestCheck01Created(t *testing.T) {
	s := newServer(t, Config{})
	tags := map[string]bool{}
	for _, endpoint := range []string{"/whip/live/cam", "/whep/live/cam", "/whip/live/cam"} {
		w := s.do(http.MethodPost, endpoint, offerBody, sdpHeader)
		require.Equal(t, http.StatusCreated, w.Code)
		assert.Equal(t, "application/sdp", w.Header().Get("Content-Type"))
		assert.Equal(t, "application/trickle-ice-sdpfrag", w.Header().Get("Accept-Patch"))
		location, etag := w.Header().Get("Location"), w.Header().Get("ETag")
		assert.Regexp(t, `^`+endpoint+`/[\w-]+$`, location)
		assert.Less(t, len(location), 255)
		assert.Regexp(t, `^"[^"]+"$`, etag, "strong and quoted")
		assert.False(t, tags[etag], "unique")
		tags[etag] = true
		assert.True(t, strings.HasPrefix(w.Body.String(), "v=0\r\n"))
	}
}

// Check 2: types and sizes are rows of TestStatusOfPost; these are the empty bodies.
func TestCheck02EmptyBody(t *testing.T) {
	for _, body := range []string{"", " \r\n"} {
		s := newServer(t, Config{})
		assert.Equal(t, http.StatusBadRequest, s.do(http.MethodPost, "/whip/live/cam", body, sdpHeader).Code)
		assert.Equal(t, http.StatusUnsupportedMediaType, s.do(http.MethodPost, "/whep/live/cam", body, jsonHeader).Code)
		for _, headers := range [][]string{{sdpHeader}, {"Accept: application/sdp"}, nil} {
			w := s.do(http.MethodPost, "/whep/live/cam", body, headers...)
			assert.Equal(t, http.StatusCreated, w.Code, "an offer of ours")
			assert.Contains(t, w.Body.String(), "s=offer")
			assert.NotEmpty(t, w.Header().Get("Location"))
		}
	}
}

// Check 8: entity tags are rows of TestStatusOfPatch; this is how candidates arrive.
func TestCheck08Trickle(t *testing.T) {
	s := newServer(t, Config{})
	location, etag := s.created("/whep/live/cam")
	w := s.do(http.MethodPatch, location, trickle, fragHeader, "If-Match: "+etag)
	assert.Equal(t, http.StatusNoContent, w.Code)
	assert.Empty(t, w.Header().Values("ETag"))
	assert.Empty(t, w.Body.String())
	assert.Len(t, s.node.last().candidates, 1)
}

// Check 9: the odd fragments of real clients are trickle.
func TestCheck09OddFragments(t *testing.T) {
	for _, row := range []struct{ name, body string }{
		{"RTP/AVP 0", "a=ice-ufrag:first\r\na=ice-pwd:firstpassword0123456789\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n" + trickle},
		{"component 0", "m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:1 0 UDP 1 192.0.2.1 4000 typ host\r\n"},
		{"repeated per mid", "m=audio 9 RTP/AVP 0\r\na=mid:0\r\n" + trickle + "m=video 9 RTP/AVP 0\r\na=mid:1\r\n" + trickle},
		{"named mid", "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:audio0\r\n" + trickle},
		{"LF only", strings.ReplaceAll("a=ice-ufrag:first\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n"+trickle, "\r\n", "\n")},
		{"end of candidates only", "a=end-of-candidates\r\n"},
		{"local name", "a=candidate:1 1 UDP 1 0b5c1c1e-1111-2222-3333-444444444444.local 4000 typ host\r\n"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newServer(t, Config{})
			location, _ := s.created("/whip/live/cam")
			w := s.do(http.MethodPatch, location, row.body, fragHeader, "If-Match: *")
			assert.Equal(t, http.StatusNoContent, w.Code, w.Body.String())
			assert.Zero(t, s.node.last().restarts)
		})
	}
}

// Check 10: a restart has a new tag, and the old one is worth nothing after it.
func TestCheck10Restart(t *testing.T) {
	for _, ifMatch := range []string{"*", `"*"`, "current"} {
		t.Run(ifMatch, func(t *testing.T) {
			s := newServer(t, Config{})
			location, old := s.created("/whip/live/cam")
			if ifMatch == "current" {
				ifMatch = old
			}
			w := s.do(http.MethodPatch, location, restart, fragHeader, "If-Match: "+ifMatch)
			require.Equal(t, http.StatusOK, w.Code, w.Body.String())
			assert.Equal(t, "application/trickle-ice-sdpfrag", w.Header().Get("Content-Type"))
			assert.Contains(t, w.Body.String(), "a=ice-ufrag:server\r\n")
			fresh := w.Header().Get("ETag")
			assert.Regexp(t, `^"[^"]+"$`, fresh)
			assert.NotEqual(t, old, fresh)

			assert.Equal(t, http.StatusPreconditionFailed, s.do(http.MethodPatch, location, trickle, fragHeader, "If-Match: "+old).Code)
			assert.Equal(t, http.StatusNoContent, s.do(http.MethodPatch, location, trickle, fragHeader, "If-Match: "+fresh).Code)
		})
	}
}

// A fragment that was overtaken by a restart must not restart backwards, whatever its If-Match.
func TestLateFragmentIsNoRestart(t *testing.T) {
	s := newServer(t, Config{})
	location, _ := s.created("/whip/live/cam")
	require.Equal(t, http.StatusOK, s.do(http.MethodPatch, location, restart, fragHeader).Code)
	late := "a=ice-ufrag:first\r\na=ice-pwd:firstpassword0123456789\r\n" + trickle
	for _, headers := range [][]string{{fragHeader}, {fragHeader, "If-Match: *"}} {
		assert.Equal(t, http.StatusPreconditionFailed, s.do(http.MethodPatch, location, late, headers...).Code)
	}
	assert.Equal(t, "second", s.node.last().RemoteUfrag())
}

// Check 11, its HTTP half: a restart that fails leaves the ICE session and its tag as they were.
func TestCheck11FailedRestart(t *testing.T) {
	s := newServer(t, Config{})
	location, etag := s.created("/whip/live/cam")
	for _, row := range []struct {
		body string
		want int
	}{{"a=ice-ufrag:second\r\n", http.StatusUnprocessableEntity}, {"a=ice-ufrag:second\r\na=ice-pwd:short\r\n", http.StatusBadRequest}} {
		w := s.do(http.MethodPatch, location, row.body, fragHeader, "If-Match: *")
		assert.Equal(t, row.want, w.Code, w.Body.String())
		assert.Empty(t, w.Header().Get("ETag"))
	}
	assert.Equal(t, http.StatusNoContent, s.do(http.MethodPatch, location, trickle, fragHeader, "If-Match: "+etag).Code)
	assert.Equal(t, http.StatusOK, s.do(http.MethodPatch, location, restart, fragHeader).Code, "the same ufrag may be tried again")
}

// Check 12: the life of a session URL.
func TestCheck12Delete(t *testing.T) {
	for _, endpoint := range []string{"/whip/live/cam", "/whep/live/cam"} {
		s := newServer(t, Config{})
		location, _ := s.created(endpoint)
		assert.Equal(t, http.StatusNoContent, s.do(http.MethodGet, location, "").Code)
		assert.Equal(t, http.StatusOK, s.do(http.MethodDelete, location, "", `If-Match: "random"`).Code)
		assert.Equal(t, http.StatusNotFound, s.do(http.MethodDelete, location, "").Code)
		assert.Equal(t, http.StatusNotFound, s.do(http.MethodPatch, location, trickle, fragHeader).Code)
		assert.Equal(t, http.StatusNotFound, s.do(http.MethodGet, location, "").Code)
	}
}

// The first DELETE of a session that ended by itself is 200 for a minute.
func TestDeleteAfterTheEnd(t *testing.T) {
	for _, row := range []struct {
		name string
		wait time.Duration // between end and DELETE
		want int
	}{
		{"at once", 0, http.StatusOK},
		{"after a sweep", 3 * refreshInterval, http.StatusOK},
		{"within the minute", endedMemory - time.Second, http.StatusOK},
		{"later", endedMemory + 2*refreshInterval, http.StatusNotFound},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t, Config{})
				location, _ := s.created("/whip/live/cam")
				s.node.last().Close(sfu.CloseSilent)
				time.Sleep(row.wait) // of the fake clock
				synctest.Wait()
				assert.Equal(t, http.StatusNotFound, s.do(http.MethodGet, location, "").Code)
				assert.Equal(t, http.StatusNotFound, s.do(http.MethodPatch, location, trickle, fragHeader).Code)
				assert.Equal(t, http.StatusNotFound, s.do(http.MethodDelete, strings.Replace(location, "cam", "other", 1), "").Code)
				assert.Equal(t, row.want, s.do(http.MethodDelete, location, "").Code)
				assert.Equal(t, http.StatusNotFound, s.do(http.MethodDelete, location, "").Code, "second")
				require.NoError(t, s.handler.Close())
			})
		})
	}
}

// Of many simultaneous DELETEs one succeeds.
func TestDeleteRace(t *testing.T) {
	s := newServer(t, Config{})
	location, _ := s.created("/whip/live/cam")
	codes := make(chan int, 16)
	var racers sync.WaitGroup
	for range cap(codes) {
		racers.Go(func() { codes <- s.do(http.MethodDelete, location, "").Code })
	}
	racers.Wait()
	close(codes)
	count := map[int]int{}
	for code := range codes {
		count[code]++
	}
	assert.Equal(t, map[int]int{http.StatusOK: 1, http.StatusNotFound: cap(codes) - 1}, count)
}

// PATCHes of one session run one by one; those of another do not wait for them.
func TestPatchesTakeTurns(t *testing.T) {
	s := newServer(t, Config{})
	location, _ := s.created("/whip/live/cam")
	media := s.node.last()
	media.hold = make(chan struct{})
	var patches sync.WaitGroup
	for range 8 {
		patches.Go(func() {
			assert.Equal(t, http.StatusNoContent, s.do(http.MethodPatch, location, trickle, fragHeader).Code)
		})
	}
	other, _ := s.created("/whip/live/cam2")
	assert.Equal(t, http.StatusNoContent, s.do(http.MethodPatch, other, trickle, fragHeader).Code)
	close(media.hold)
	patches.Wait()
	assert.Len(t, media.candidates, 8)
	assert.Zero(t, media.overlaps)
}

// A PATCH that waits for its turn gives up with its client.
func TestPatchGivesUpItsTurn(t *testing.T) {
	s := newServer(t, Config{})
	location, _ := s.created("/whip/live/cam")
	at := address{sfu.RolePublish, "live", "cam", "session-0"}
	turn := s.handler.sessions.find(at)
	require.NoError(t, turn.takeTurn(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequest(http.MethodPatch, location, strings.NewReader(trickle)).WithContext(ctx)
	r.Header.Set("Content-Type", typeFragment)
	s.echo.ServeHTTP(httptest.NewRecorder(), r)
	assert.Empty(t, s.node.last().candidates)
	turn.leaveTurn()
}

// Check 13: GET and HEAD; other methods are in TestMethods.
func TestCheck13GetAndHead(t *testing.T) {
	s := newServer(t, Config{})
	for _, row := range []struct {
		method, path string
		want         int
		contentType  string
	}{
		{http.MethodGet, "/whip/live/cam", 204, ""},
		{http.MethodHead, "/whip/live/cam", 204, ""},
		{http.MethodGet, "/whep/live/cam", 204, "application/sdp"},
		{http.MethodHead, "/whep/live/cam", 200, "application/sdp"},
		{http.MethodGet, "/whep/dead/cam", 404, "application/problem+json"},
		{http.MethodHead, "/whip/dead/cam", 404, "application/problem+json"},
	} {
		w := s.do(row.method, row.path, "")
		assert.Equal(t, row.want, w.Code, "%s %s", row.method, row.path)
		assert.Equal(t, row.contentType, w.Header().Get("Content-Type"), "%s %s", row.method, row.path)
	}
	for _, endpoint := range []string{"/whip/live/cam", "/whep/live/cam"} {
		location, _ := s.created(endpoint)
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			w := s.do(method, location, "")
			assert.Equal(t, http.StatusNoContent, w.Code)
			assert.Empty(t, w.Body.String())
		}
	}
}

// Without credentials GET does not tell which routers exist.
func TestProbeHidesRouters(t *testing.T) {
	s := newServer(t, Config{Authorize: tokens})
	for _, row := range []struct {
		path, authorization string
		want                int
	}{
		{"/whip/live/cam", "", 204},
		{"/whip/dead/cam", "", 204},
		{"/whip/live/cam", "Bearer bad", 401},
		{"/whip/dead/cam", "Bearer bad", 401},
		{"/whip/live/cam", "Bearer good", 204},
		{"/whip/dead/cam", "Bearer good", 404},
	} {
		assert.Equal(t, row.want, s.do(http.MethodGet, row.path, "", "Authorization: "+row.authorization).Code, "%s %s", row.path, row.authorization)
	}
}

// Check 14: OPTIONS.
func TestCheck14Options(t *testing.T) {
	cfg := Config{ICEServers: []ICEServer{{URL: "stun:a"}}, Authorize: tokens}
	s := newServer(t, cfg)
	preflight := []string{"Origin: https://page.example", "Access-Control-Request-Method: POST"}
	for _, row := range []struct {
		name, path string
		headers    []string
		want       int
		acceptPost string
		links      int
	}{
		{"preflight", "/whip/live/cam", preflight, 204, "application/sdp", 0},
		{"preflight with token", "/whep/live/cam", append(preflight, "Authorization: Bearer good"), 204, "application/sdp", 0},
		{"plain", "/whip/live/cam", nil, 200, "application/sdp", 0},
		{"plain with token", "/whip/live/cam", []string{"Authorization: Bearer good"}, 200, "application/sdp", 1},
		{"plain with wrong token", "/whip/live/cam", []string{"Authorization: Bearer bad"}, 200, "application/sdp", 0},
		{"origin but no method", "/whep/live/cam", []string{"Origin: https://page.example", "Authorization: good"}, 200, "application/sdp", 1},
		{"session", "/whip/live/cam/any", []string{"Authorization: Bearer good"}, 200, "", 0},
		{"sse", "/whep/live/cam/any/sse", preflight, 204, "application/json", 0},
		{"layer", "/whep/live/cam/any/layer", nil, 200, "application/json", 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := s.do(http.MethodOptions, row.path, "", row.headers...)
			assert.Equal(t, row.want, w.Code)
			assert.Equal(t, row.acceptPost, w.Header().Get("Accept-Post"))
			assert.Len(t, w.Header().Values("Link"), row.links)
			assert.NotEmpty(t, w.Header().Get("Allow"))
			assert.Equal(t, "*", w.Header().Get("Access-Control-Allow-Origin"))
			assert.Contains(t, w.Header().Get("Access-Control-Allow-Methods"), "PATCH")
			assert.Contains(t, w.Header().Get("Access-Control-Allow-Headers"), "Authorization")
			assert.Contains(t, w.Header().Get("Access-Control-Allow-Headers"), "ETag")
			assert.Contains(t, w.Header().Get("Access-Control-Expose-Headers"), "Access-Control-Allow-Methods")
			assert.Empty(t, w.Header().Get("Access-Control-Allow-Private-Network"))
		})
	}
	w := s.do(http.MethodOptions, "/whip/live/cam", "", append(preflight, "Access-Control-Request-Private-Network: true")...)
	assert.Equal(t, "true", w.Header().Get("Access-Control-Allow-Private-Network"))
	open := newServer(t, Config{ICEServers: cfg.ICEServers})
	assert.Len(t, open.do(http.MethodOptions, "/whip/live/cam", "").Header().Values("Link"), 1, "no credentials needed")
}

// Check 15: a single node never redirects, in particular not with a status that turns POST into GET.
func TestCheck15NoRedirect(t *testing.T) {
	s := newServer(t, Config{PublicURL: "https://sfu.example.org"})
	for _, path := range []string{"/whip/live/cam", "/whip/live/cam/", "/whip//cam", "//whip/live/cam", "/whip/live", "/WHIP/live/cam", "/whip/./live/cam"} {
		code := s.do(http.MethodPost, path, offerBody, sdpHeader).Code
		assert.False(t, code >= 300 && code < 400, "%s: %d", path, code)
	}
}

// Check 16: when to come again. Draining is a row of TestStatusOfPost.
func TestCheck16WithoutPublisher(t *testing.T) {
	s := newServer(t, Config{WithoutPublisher: AbsenceConflict})
	w := s.do(http.MethodPost, "/whep/live/cam", offerBody, sdpHeader)
	assert.Equal(t, http.StatusConflict, w.Code)
	assert.Regexp(t, `^\d+$`, w.Header().Get("Retry-After"))
	s.node.set(func() { s.node.live = true })
	s.created("/whep/live/cam")
	s = newServer(t, Config{})
	s.created("/whep/live/cam") // waits for the publisher
}

// Check 18: server-sent events.
func TestCheck18Events(t *testing.T) {
	s := newServer(t, Config{Authorize: tokens})
	location := s.do(http.MethodPost, "/whep/live/cam", offerBody, sdpHeader, "Authorization: Bearer good").Header().Get("Location")
	for _, row := range []struct {
		name, body string
		headers    []string
		want       int
	}{
		{"all", "", nil, 201},
		{"subset", `["active","inactive"]`, []string{jsonHeader}, 201},
		{"no type", `["layers"]`, nil, 201},
		{"repeated", `["layers","layers"]`, []string{jsonHeader}, 201},
		{"one too many", `["layers"]`, []string{jsonHeader}, 429},
		{"unknown", `["active","nonsense"]`, []string{jsonHeader}, 400},
		{"not advertised", `["scte35"]`, []string{jsonHeader}, 400},
		{"object", `{"events":["active"]}`, []string{jsonHeader}, 400},
		{"null", `null`, []string{jsonHeader}, 400},
		{"numbers", `[1]`, []string{jsonHeader}, 400},
		{"cut", `["active"`, []string{jsonHeader}, 400},
		{"type", `["active"]`, []string{"Content-Type: text/plain"}, 415},
		{"too large", `["` + strings.Repeat("a", maxJSONBytes) + `"]`, []string{jsonHeader}, 413},
		{"wrong token", "", []string{"Authorization: Bearer bad"}, 401},
	} {
		w := s.do(http.MethodPost, location+"/sse", row.body, row.headers...)
		assert.Equal(t, row.want, w.Code, row.name)
		if row.want == http.StatusCreated {
			assert.Regexp(t, `^`+location+`/sse/\w{20,}$`, w.Header().Get("Location"), row.name)
		}
		if row.want == http.StatusTooManyRequests {
			assert.NotEmpty(t, w.Header().Get("Retry-After"))
		}
	}
	assert.Equal(t, http.StatusNotFound, s.do(http.MethodPost, "/whep/live/cam/nothing/sse", "").Code)
	assert.Equal(t, http.StatusNotFound, s.do(http.MethodGet, location+"/sse/nothing", "").Code)
	assert.Equal(t, http.StatusNotFound, s.do(http.MethodDelete, location+"/sse/nothing", "").Code)
}

// Check 19: the layer resource.
func TestCheck19Layers(t *testing.T) {
	two, zero := 2, 0
	for _, row := range []struct {
		name, method, body string
		headers            []string
		want               int
		selection          sfu.LayerSelection // what the session is told, if 200
	}{
		{"rid", "POST", `{"rid":"h"}`, []string{jsonHeader}, 200, sfu.LayerSelection{Kind: "video", RID: "h"}},
		{"encodingId", "POST", `{"encodingId":"h"}`, []string{jsonHeader}, 200, sfu.LayerSelection{Kind: "video", RID: "h"}},
		{"rid before encodingId", "POST", `{"encodingId":"l","rid":"h"}`, []string{jsonHeader}, 200, sfu.LayerSelection{Kind: "video", RID: "h"}},
		{"mediaId string", "POST", `{"mediaId":"1","rid":"h"}`, []string{jsonHeader}, 200, sfu.LayerSelection{Kind: "video", RID: "h"}},
		{"mediaId number", "POST", `{"mediaId":1,"rid":"h"}`, []string{jsonHeader}, 200, sfu.LayerSelection{Kind: "video", RID: "h"}},
		{"mediaId mid", "POST", `{"mediaId":"video0","rid":"h"}`, []string{jsonHeader}, 200, sfu.LayerSelection{Kind: "video", RID: "h"}},
		{"mediaId null", "POST", `{"mediaId":null,"rid":"h"}`, []string{jsonHeader}, 200, sfu.LayerSelection{Kind: "video", RID: "h"}},
		{"mediaId audio", "POST", `{"mediaId":0}`, []string{jsonHeader}, 200, sfu.LayerSelection{Kind: "audio"}},
		{
			"ids and limits", "POST", `{"spatialLayerId":2,"temporalLayerId":0,"maxSpatialLayerId":2,"maxTemporalLayerId":0,"maxWidth":2,"maxHeight":0}`,
			[]string{jsonHeader},
			200,
			sfu.LayerSelection{Kind: "video", Spatial: &two, Temporal: &zero, MaxSpatial: &two, MaxTemporal: &zero, MaxWidth: &two, MaxHeight: &zero},
		},
		{"back to automatic", "POST", `{"mediaId":"1"}`, []string{jsonHeader}, 200, sfu.LayerSelection{Kind: "video"}},
		{"empty object", "POST", `{}`, nil, 200, sfu.LayerSelection{Kind: "video"}},
		{"unknown members", "POST", `{"rid":"h","simulcastIdx":1,"x":{}}`, []string{jsonHeader}, 200, sfu.LayerSelection{Kind: "video", RID: "h"}},
		{"delete", "DELETE", ``, nil, 200, sfu.LayerSelection{Kind: "video"}},
		{"unknown rid", "POST", `{"rid":"missing"}`, []string{jsonHeader}, 404, sfu.LayerSelection{}},
		{"unknown medium", "POST", `{"mediaId":"9"}`, []string{jsonHeader}, 400, sfu.LayerSelection{}},
		{"negative", "POST", `{"spatialLayerId":-1}`, []string{jsonHeader}, 400, sfu.LayerSelection{}},
		{"fraction", "POST", `{"mediaId":1.5}`, []string{jsonHeader}, 400, sfu.LayerSelection{}},
		{"array", "POST", `[]`, []string{jsonHeader}, 400, sfu.LayerSelection{}},
		{"null", "POST", `null`, []string{jsonHeader}, 400, sfu.LayerSelection{}},
		{"empty", "POST", ``, []string{jsonHeader}, 400, sfu.LayerSelection{}},
		{"type", "POST", `{}`, []string{sdpHeader}, 415, sfu.LayerSelection{}},
		{"wrong token", "POST", `{}`, []string{"Authorization: Bearer bad"}, 401, sfu.LayerSelection{}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newServer(t, Config{Authorize: tokens})
			location := s.do(http.MethodPost, "/whep/live/cam", offerBody, sdpHeader, "Authorization: Bearer good").Header().Get("Location")
			s.node.last().selection.RID = "before"
			w := s.do(row.method, location+"/layer", row.body, row.headers...)
			assert.Equal(t, row.want, w.Code, w.Body.String())
			if row.want == http.StatusOK {
				assert.Equal(t, row.selection, s.node.last().selection)
			}
		})
	}
}

var someLayers = map[int][]sfu.LayerInfo{
	0: {{SSRC: 1, Active: true, BitrateBps: 48_000}}, // audio
	1: {
		{RID: "h", Active: true, BitrateBps: 900_000, Width: 1280, Height: 720, Selected: true, TemporalLayers: 3},
		{RID: "l", Active: false, BitrateBps: 100_000},
	},
}

const someLayersJSON = `{"1":[{"rid":"h","temporalLayerId":2,"bitrate":900000,"width":1280,"height":720,"selected":true},{"rid":"l","bitrate":0}]}`

func TestLayersShown(t *testing.T) {
	s := newServer(t, Config{})
	location, _ := s.created("/whep/live/cam")
	w := s.do(http.MethodGet, location+"/layer", "")
	assert.Equal(t, http.StatusOK, w.Code)
	assert.JSONEq(t, `{}`, w.Body.String(), "nobody publishes")
	s.node.last().layers = someLayers
	assert.JSONEq(t, someLayersJSON, s.do(http.MethodGet, location+"/layer", "").Body.String())
	s.node.last().layers = map[int][]sfu.LayerInfo{1: {{Active: true, BitrateBps: 5, SpatialLayers: 3}}}
	assert.JSONEq(t, `{"1":[{"spatialLayerId":2,"bitrate":5}]}`, s.do(http.MethodGet, location+"/layer", "").Body.String())
	s.node.last().layers = map[int][]sfu.LayerInfo{1: {{Active: true, BitrateBps: 5}}}
	assert.JSONEq(t, `{"1":[{"spatialLayerId":0,"bitrate":5}]}`, s.do(http.MethodGet, location+"/layer", "").Body.String(), "one of rid and ids is there")
}

// Check 20: the counter-offer, and the offer to an empty body.
func TestCheck20CounterOffer(t *testing.T) {
	const impossible = "v=0 unacceptable"
	for _, row := range []struct {
		name    string
		enabled bool
		headers []string
		want    int
	}{
		{"enabled and asked for", true, []string{sdpHeader, "Accept: text/plain, application/sdp;q=1"}, 406},
		{"not enabled", false, []string{sdpHeader, "Accept: application/sdp"}, 422},
		{"not asked for", true, []string{sdpHeader}, 422},
		{"any type is not asking", true, []string{sdpHeader, "Accept: */*"}, 422},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newServer(t, Config{CounterOffer: row.enabled})
			w := s.do(http.MethodPost, "/whep/live/cam", impossible, row.headers...)
			require.Equal(t, row.want, w.Code)
			if row.want == http.StatusNotAcceptable {
				assert.Equal(t, "application/sdp", w.Header().Get("Content-Type"))
				assert.Contains(t, w.Body.String(), "s=offer")
				assert.Equal(t, http.StatusNoContent, s.do(http.MethodGet, w.Header().Get("Location"), "").Code)
			}
		})
	}
	s := newServer(t, Config{CounterOffer: true})
	w := s.do(http.MethodPost, "/whip/live/cam", impossible, sdpHeader, "Accept: application/sdp")
	assert.Equal(t, http.StatusUnprocessableEntity, w.Code, "not on WHIP")

	location := s.do(http.MethodPost, "/whep/live/cam", "", "Accept: application/sdp").Header().Get("Location")
	patch := func(body string) int {
		return s.do(http.MethodPatch, location, body, sdpHeader, `If-Match: "ignored"`).Code
	}
	assert.Equal(t, http.StatusBadRequest, patch("hello"), "malformed")
	assert.Equal(t, http.StatusRequestEntityTooLarge, patch("v=0"+strings.Repeat(" ", maxOfferBytes)))
	assert.Equal(t, http.StatusConflict, s.do(http.MethodPatch, location, restart, fragHeader).Code, "no restart while the answer is pending")
	assert.Zero(t, s.node.last().restarts)
	assert.Equal(t, http.StatusNoContent, patch("v=0\r\n"))
	assert.Equal(t, http.StatusConflict, patch("v=0\r\n"), "second answer")
	s.node.last().Close(sfu.CloseTimeout)
	assert.Equal(t, http.StatusNotFound, patch("v=0\r\n"), "expired")
}
