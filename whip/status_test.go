package whip

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"rheomesh/sfu"
)

// TestStatusOfPost is the first column of the status table that clients rely on.
func TestStatusOfPost(t *testing.T) {
	auth := Config{Authorize: tokens}
	for _, row := range []struct {
		name    string
		cfg     Config
		refusal error
		path    string // below /whip and /whep; default /live/cam
		body    string // default a good offer
		headers []string
		want    int
		header  string // expected line
	}{
		{"ok", Config{}, nil, "", "", []string{sdpHeader}, 201, "Content-Type: application/sdp"},
		{"type with parameter", Config{}, nil, "", "", []string{"Content-Type: application/sdp; charset=utf-8"}, 201, ""},
		{"type in upper case", Config{}, nil, "", "", []string{"Content-Type: Application/SDP"}, 201, ""},
		{"wrong type", Config{}, nil, "", "", []string{jsonHeader}, 415, "Accept: application/sdp"},
		{"no type", Config{}, nil, "", "", nil, 415, "Accept: application/sdp"},
		{"encoded", Config{}, nil, "", "", []string{sdpHeader, "Content-Encoding: gzip"}, 415, "Accept-Encoding: identity"},
		{"identity encoding", Config{}, nil, "", "", []string{sdpHeader, "Content-Encoding: identity"}, 201, ""},
		{"not parsable", Config{}, nil, "", "hello", []string{sdpHeader}, 400, ""},
		{"not acceptable", Config{}, nil, "", "v=0 unacceptable", []string{sdpHeader}, 422, ""},
		{"largest body", Config{}, nil, "", "v=0" + strings.Repeat(" ", maxOfferBytes-3), []string{sdpHeader}, 201, ""},
		{"body too large", Config{}, nil, "", "v=0" + strings.Repeat(" ", maxOfferBytes-2), []string{sdpHeader}, 413, ""},
		{"body far too large", Config{}, nil, "", "v=0" + strings.Repeat(" ", 1<<20), []string{sdpHeader}, 413, ""},
		{"no token", auth, nil, "", "", []string{sdpHeader}, 401, "WWW-Authenticate: Bearer"},
		{"bad token", auth, nil, "", "", []string{sdpHeader, "Authorization: Bearer bad"}, 401, "WWW-Authenticate: Bearer"},
		{"no right", auth, nil, "", "", []string{sdpHeader, "Authorization: Bearer other"}, 403, "WWW-Authenticate: "},
		{"good token", auth, nil, "", "", []string{sdpHeader, "Authorization: Bearer good"}, 201, ""},
		{"token without Bearer", auth, nil, "", "", []string{sdpHeader, "Authorization: good"}, 201, ""},
		{"token undefined", auth, nil, "", "", []string{sdpHeader, "Authorization: Bearer undefined"}, 401, "WWW-Authenticate: Bearer"},
		{"token undefined, none needed", Config{}, nil, "", "", []string{sdpHeader, "Authorization: Bearer undefined"}, 201, ""},
		{"token empty, none needed", Config{}, nil, "", "", []string{sdpHeader, "Authorization: Bearer "}, 201, ""},
		{"unknown router", Config{}, nil, "/dead/cam", "", []string{sdpHeader}, 404, ""},
		{"unknown router, no token", auth, nil, "/dead/cam", "", []string{sdpHeader}, 401, ""},
		{"id too long", Config{}, nil, "/live/" + strings.Repeat("a", 65), "", []string{sdpHeader}, 400, ""},
		{"id with slash", Config{}, nil, "/live/a%2Fb", "", []string{sdpHeader}, 400, ""},
		{"id dots", Config{}, nil, "/live/%2e%2e", "", []string{sdpHeader}, 400, ""},
		{"published already", Config{}, sfu.ErrPublisherLive, "", "", []string{sdpHeader}, 409, "Retry-After: 5"},
		{"draining", Config{}, sfu.ErrDraining, "", "", []string{sdpHeader}, 503, "Retry-After: 5"},
		{"overload", Config{}, sfu.ErrCapacity, "", "", []string{sdpHeader}, 503, "Retry-After: 10"},
		{"rate limited", Config{}, sfu.ErrRateLimited, "", "", []string{sdpHeader}, 429, "Retry-After: 2"},
	} {
		for _, protocol := range []string{"/whip", "/whep"} {
			t.Run(protocol[1:]+" "+row.name, func(t *testing.T) {
				s := newServer(t, row.cfg)
				s.node.refusal = row.refusal
				path, body := row.path, row.body
				if path == "" {
					path = "/live/cam"
				}
				if body == "" {
					body = offerBody
				}
				w := s.do(http.MethodPost, protocol+path, body, row.headers...)
				assert.Equal(t, row.want, w.Code, w.Body.String())
				checkLine(t, w.Header(), row.header)
				assert.Equal(t, "*", w.Header().Get("Access-Control-Allow-Origin"), "CORS on every answer")
				assert.NotEmpty(t, w.Body.String(), "every failure has a body")
			})
		}
	}
}

// checkLine expects one header line; an empty value means that the header is absent.
func checkLine(t *testing.T, header http.Header, line string) {
	t.Helper()
	if line == "" {
		return
	}
	key, value, _ := strings.Cut(line, ": ")
	assert.Equal(t, value, header.Get(key), key)
}

// TestStatusOfPatch is the second column.
func TestStatusOfPatch(t *testing.T) {
	for _, row := range []struct {
		name    string
		strict  bool
		ifMatch string // "current" stands for the present tag; "" sends none
		path    string // default the session
		body    string
		headers []string
		want    int
		header  string
	}{
		{"trickle", false, "current", "", trickle, []string{fragHeader}, 204, "ETag: "},
		{"trickle, type with parameter", false, "", "", trickle, []string{fragHeader + "; charset=utf-8"}, 204, "ETag: "},
		{"trickle with the current ufrag", false, "", "", "a=ice-ufrag:first\r\na=ice-pwd:firstpassword0123456789\r\n" + trickle, []string{fragHeader}, 204, "ETag: "},
		{"restart", false, "*", "", restart, []string{fragHeader}, 200, `ETag: "session-0-1"`},
		{"restart without If-Match", false, "", "", restart, []string{fragHeader}, 200, `ETag: "session-0-1"`},
		{"wrong type", false, "", "", trickle, []string{jsonHeader}, 415, "Accept-Patch: application/trickle-ice-sdpfrag"},
		{"sdp without an offer of ours", false, "", "", offerBody, []string{sdpHeader}, 0, ""}, // 415 or 409, by role
		{"not parsable", false, "", "", "hello", []string{fragHeader}, 400, ""},
		{"empty", false, "", "", "", []string{fragHeader}, 400, ""},
		{"not acceptable", false, "", "", "a=ice-ufrag:second\r\n", []string{fragHeader}, 422, ""},
		{"too large", false, "", "", trickle + strings.Repeat("\n", maxFragmentBytes), []string{fragHeader}, 413, ""},
		{"wrong token", false, "", "", trickle, []string{fragHeader, "Authorization: Bearer bad"}, 401, "WWW-Authenticate: Bearer"},
		{"no right", false, "", "", trickle, []string{fragHeader, "Authorization: Bearer other"}, 403, ""},
		{"right token", false, "", "", trickle, []string{fragHeader, "Authorization: Bearer good"}, 204, ""},
		{"unknown session", false, "", "/live/cam/nothing", trickle, []string{fragHeader}, 404, ""},
		{"other publisher", false, "", "/live/other/session-0", trickle, []string{fragHeader}, 404, ""},
		{"other router", false, "", "/http-room/cam/session-0", trickle, []string{fragHeader}, 404, ""},
		{"mismatch", false, `"other"`, "", trickle, []string{fragHeader}, 412, ""},
		{"mismatch on restart", false, `"other"`, "", restart, []string{fragHeader}, 412, ""},
		{"weak, lenient", false, `W/"session-0-0"`, "", trickle, []string{fragHeader}, 204, ""},
		{"unquoted, lenient", false, "session-0-0", "", trickle, []string{fragHeader}, 204, ""},
		{"ETag instead of If-Match, lenient", false, "", "", trickle, []string{fragHeader, `ETag: "session-0-0"`}, 204, ""},
		{"strict, current", true, "current", "", trickle, []string{fragHeader}, 204, "ETag: "},
		{"strict, none", true, "", "", trickle, []string{fragHeader}, 428, ""},
		{"strict, ETag instead of If-Match", true, "", "", trickle, []string{fragHeader, `ETag: "session-0-0"`}, 428, ""},
		{"strict, weak", true, `W/"session-0-0"`, "", trickle, []string{fragHeader}, 412, ""},
		{"strict, unquoted", true, "session-0-0", "", trickle, []string{fragHeader}, 412, ""},
		{"strict, wildcard", true, "*", "", trickle, []string{fragHeader}, 204, "ETag: "},
		{"strict, quoted wildcard", true, `"*"`, "", restart, []string{fragHeader}, 200, `ETag: "session-0-1"`},
		{"strict, malformed body before precondition", true, "", "", "hello", []string{fragHeader}, 400, ""},
	} {
		for _, protocol := range []string{"/whip", "/whep"} {
			t.Run(protocol[1:]+" "+row.name, func(t *testing.T) {
				s := newServer(t, Config{StrictETag: row.strict, Authorize: tokens})
				w := s.do(http.MethodPost, protocol+"/live/cam", offerBody, sdpHeader, "Authorization: Bearer good")
				location, etag := w.Header().Get("Location"), w.Header().Get("ETag")
				if row.path != "" {
					location = protocol + row.path
				}
				headers := row.headers
				switch row.ifMatch {
				case "":
				case "current":
					headers = append(headers, "If-Match: "+etag)
				default:
					headers = append(headers, "If-Match: "+row.ifMatch)
				}
				want := row.want
				if want == 0 {
					want = map[string]int{"/whip": 415, "/whep": 409}[protocol]
				}
				w = s.do(http.MethodPatch, location, row.body, headers...)
				assert.Equal(t, want, w.Code, w.Body.String())
				checkLine(t, w.Header(), row.header)
			})
		}
	}
}

// TestStatusOfDelete is the third column.
func TestStatusOfDelete(t *testing.T) {
	for _, row := range []struct {
		name    string
		path    string
		headers []string
		want    int
	}{
		{"ok", "", nil, 200},
		{"If-Match is ignored", "", []string{`If-Match: "other"`}, 200},
		{"strict too", "", []string{"If-Match: W/other"}, 200},
		{"wrong token", "", []string{"Authorization: Bearer bad"}, 401},
		{"no right", "", []string{"Authorization: Bearer other"}, 403},
		{"token undefined", "", []string{"Authorization: Bearer undefined"}, 200},
		{"unknown session", "/live/cam/nothing", nil, 404},
		{"other publisher", "/live/other/session-0", nil, 404},
	} {
		for _, protocol := range []string{"/whip", "/whep"} {
			t.Run(protocol[1:]+" "+row.name, func(t *testing.T) {
				s := newServer(t, Config{StrictETag: true, Authorize: tokens})
				w := s.do(http.MethodPost, protocol+"/live/cam", offerBody, sdpHeader, "Authorization: good")
				target := w.Header().Get("Location")
				if row.path != "" {
					target = protocol + row.path
				}
				w = s.do(http.MethodDelete, target, "", row.headers...)
				assert.Equal(t, row.want, w.Code, w.Body.String())
				assert.Equal(t, row.want == http.StatusOK, s.node.last().reason() == sfu.CloseDeleted, "session closed")
			})
		}
	}
}

// TestSessionOfOtherRole: a WHIP session is not found under /whep, nor the other way round.
func TestSessionOfOtherRole(t *testing.T) {
	s := newServer(t, Config{})
	for _, pair := range [][2]string{{"/whip", "/whep"}, {"/whep", "/whip"}} {
		location, _ := s.created(pair[0] + "/live/cam")
		foreign := strings.Replace(location, pair[0], pair[1], 1)
		for _, method := range []string{http.MethodGet, http.MethodPatch, http.MethodDelete} {
			assert.Equal(t, http.StatusNotFound, s.do(method, foreign, trickle, fragHeader).Code, "%s %s", method, foreign)
		}
		assert.Equal(t, http.StatusNoContent, s.do(http.MethodGet, location, "").Code)
	}
}

func TestMethods(t *testing.T) {
	s := newServer(t, Config{})
	whip, _ := s.created("/whip/live/cam")
	whep, _ := s.created("/whep/live/cam")
	stream := s.do(http.MethodPost, whep+"/sse", "").Header().Get("Location")
	for _, row := range []struct{ path, allow string }{
		{"/whip/live/cam", "OPTIONS, GET, HEAD, POST"},
		{"/whep/live/cam", "OPTIONS, GET, HEAD, POST"},
		{whip, "OPTIONS, GET, HEAD, PATCH, DELETE"},
		{whep, "OPTIONS, GET, HEAD, PATCH, DELETE"},
		{whep + "/sse", "OPTIONS, POST"},
		{stream, "OPTIONS, GET, DELETE"},
		{whep + "/layer", "OPTIONS, GET, POST, DELETE"},
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "PATCH", "DELETE", "PUT", "TRACE", "PROPFIND", "NONSENSE"} {
			if strings.Contains(row.allow, method) {
				continue
			}
			t.Run(method+" "+row.path, func(t *testing.T) {
				w := s.do(method, row.path, "")
				assert.Equal(t, http.StatusMethodNotAllowed, w.Code)
				assert.Equal(t, row.allow, w.Header().Get("Allow"))
				assert.Equal(t, "*", w.Header().Get("Access-Control-Allow-Origin"))
			})
		}
	}
}

// TestRequestsReachTheNode: what a request says about its client arrives there.
func TestRequestsReachTheNode(t *testing.T) {
	s := newServer(t, Config{OnConflict: sfu.ConflictReject})
	s.do(http.MethodPost, "/whip/live/cam", offerBody, sdpHeader, "User-Agent: OBS", "X-Forwarded-For: 203.0.113.9")
	assert.Equal(t, sfu.PublishRequest{
		Publisher: "cam", Offer: []byte(offerBody), OnConflict: sfu.ConflictReject, ClientIP: testIP, UserAgent: "OBS",
	}, s.node.publish, "a forged X-Forwarded-For is not believed")
	s.do(http.MethodPost, "/whep/live/cam", offerBody, sdpHeader, "User-Agent: VLC")
	assert.Equal(t, sfu.SubscribeRequest{Publisher: "cam", Offer: []byte(offerBody), ClientIP: testIP, UserAgent: "VLC", SendData: true}, s.node.play)
}

// TestPatchRate: a session that is PATCHed without end gets 429, others do not.
func TestPatchRate(t *testing.T) {
	s := newServer(t, Config{})
	location, _ := s.created("/whip/live/cam")
	refused := 0
	for range patchBurst * 3 {
		if w := s.do(http.MethodPatch, location, trickle, fragHeader); w.Code == http.StatusTooManyRequests {
			assert.NotEmpty(t, w.Header().Get("Retry-After"))
			refused++
		}
	}
	assert.Greater(t, refused, patchBurst)
	other, _ := s.created("/whip/live/cam2")
	assert.Equal(t, http.StatusNoContent, s.do(http.MethodPatch, other, trickle, fragHeader).Code)
}

// TestGuessingRate: guessing sessions ends in 429, while the real one is found.
func TestGuessingRate(t *testing.T) {
	s := newServer(t, Config{})
	location, _ := s.created("/whip/live/cam")
	refused := 0
	for range missBurst * 3 {
		switch w := s.do(http.MethodDelete, "/whip/live/cam/guess", ""); w.Code {
		case http.StatusTooManyRequests:
			refused++
		default:
			assert.Equal(t, http.StatusNotFound, w.Code)
		}
	}
	assert.Greater(t, refused, missBurst)
	assert.Equal(t, http.StatusOK, s.do(http.MethodDelete, location, "").Code)
}
