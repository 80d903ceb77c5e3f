package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const routersPath = "/api/v1/routers"

func decodeRouter(t *testing.T, body []byte) (v routerView) {
	t.Helper()
	require.NoError(t, json.Unmarshal(body, &v))
	return v
}

func TestRouterLifeCycle(t *testing.T) {
	s := newTestServer(t, nil)
	settings := `{"metadata":{"floor":"2"},"max_publishers":3,"max_subscribers":4,"codecs":["H264","opus"]}`

	created := s.do(request{method: "PUT", path: routersPath + "/stage", body: settings})
	require.Equal(t, 201, created.Code, created.Body)
	assert.Equal(t, routersPath+"/stage", created.Header().Get("Location"))
	v := decodeRouter(t, created.Body.Bytes())
	assert.Equal(t, "stage", string(v.ID))
	assert.Equal(t, map[string]string{"floor": "2"}, v.Metadata)
	assert.Equal(t, []int{3, 4}, []int{v.MaxPublishers, v.MaxSubscribers})
	assert.Equal(t, []string{"H264", "opus"}, v.Codecs)
	assert.WithinDuration(t, time.Now(), v.CreatedAt, time.Minute)
	assert.Equal(t, time.UTC, v.CreatedAt.Location())

	again := s.do(request{method: "PUT", path: routersPath + "/stage", body: settings})
	assert.Equal(t, 200, again.Code)
	assert.Equal(t, created.Header().Get("ETag"), again.Header().Get("ETag"))
	assert.JSONEq(t, created.Body.String(), again.Body.String())

	shown := s.do(request{method: "GET", path: routersPath + "/stage"})
	assert.Equal(t, 200, shown.Code)
	assert.JSONEq(t, created.Body.String(), shown.Body.String())
	assert.Equal(t, created.Header().Get("ETag"), shown.Header().Get("ETag"))
	assert.Regexp(t, `^"[^"]+"$`, shown.Header().Get("ETag"), "strong")

	assert.Equal(t, 204, s.do(request{method: "DELETE", path: routersPath + "/stage"}).Code)
	requireProblem(t, s.do(request{method: "GET", path: routersPath + "/stage"}), 404, "router-not-found")
	requireProblem(t, s.do(request{method: "DELETE", path: routersPath + "/stage"}), 404, "router-not-found")
}

func TestRouterEmptyBody(t *testing.T) {
	s := newTestServer(t, nil)
	created := s.do(request{method: "PUT", path: routersPath + "/plain"})
	require.Equal(t, 201, created.Code, created.Body)
	assert.Contains(t, created.Body.String(), `"metadata":{}`)
	assert.Contains(t, created.Body.String(), `"codecs":[]`)
}

func TestCreateRouter(t *testing.T) {
	s := newTestServer(t, nil)
	first := s.do(request{method: "POST", path: routersPath, body: `{}`})
	require.Equal(t, 201, first.Code, first.Body)
	id := decodeRouter(t, first.Body.Bytes()).ID
	assert.NotEmpty(t, id)
	assert.Equal(t, routersPath+"/"+string(id), first.Header().Get("Location"))
	assert.Equal(t, 200, s.do(request{method: "GET", path: first.Header().Get("Location")}).Code)

	named := s.do(request{method: "POST", path: routersPath, body: `{"id":"mine","max_publishers":1}`})
	require.Equal(t, 201, named.Code)
	assert.Equal(t, "mine", string(decodeRouter(t, named.Body.Bytes()).ID))
	requireProblem(t, s.do(request{method: "POST", path: routersPath, body: `{"id":"mine"}`}), 409, "conflict")
}

func TestRouterBodies(t *testing.T) {
	for _, row := range []struct {
		name, method, path, body string
		header                   []string
		status                   int
		cause, field             string
	}{
		{"unknown field", "PUT", "/a", `{"metdata":{}}`, nil, 400, "bad-request", "metdata"},
		{"other id in PUT", "PUT", "/a", `{"id":"b"}`, nil, 400, "bad-request", "id"},
		{"wrong type", "PUT", "/a", `{"max_publishers":"3"}`, nil, 400, "bad-request", "max_publishers"},
		{"fraction", "PUT", "/a", `{"max_publishers":1.5}`, nil, 400, "bad-request", "max_publishers"},
		{"wrong type inside", "PUT", "/a", `{"metadata":{"a":1}}`, nil, 400, "bad-request", "metadata"},
		{"wrong type in POST", "POST", "", `{"max_publishers":"3"}`, nil, 400, "bad-request", "max_publishers"},
		{"negative", "PUT", "/a", `{"max_subscribers":-1}`, nil, 400, "bad-request", "max_subscribers"},
		{"array", "PUT", "/a", `[]`, nil, 400, "bad-request", "body"},
		{"broken", "PUT", "/a", `{"metadata":`, nil, 400, "bad-request", ""},
		{"trailing data", "PUT", "/a", `{} {}`, nil, 400, "bad-request", ""},
		{"trailing garbage", "PUT", "/a", `{}x`, nil, 400, "bad-request", ""},
		{"bad id in POST", "POST", "", `{"id":"a b"}`, nil, 400, "bad-request", "id"},
		{"bad id in path", "PUT", "/a%20b", `{}`, nil, 400, "bad-request", ""},
		{"escaped slash in path", "PUT", "/a%2Fb", `{}`, nil, 400, "bad-request", ""},
		{"dots in path", "GET", "/%2E%2E", "", nil, 400, "bad-request", ""},
		{"id too long", "PUT", "/" + strings.Repeat("a", 65), `{}`, nil, 400, "bad-request", ""},
		{"no content type", "PUT", "/a", `{}`, []string{"Content-Type", ""}, 415, "unsupported-media-type", ""},
		{"form", "POST", "", `a=b`, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "unsupported-media-type", ""},
		{"compressed", "PUT", "/a", `{}`, []string{"Content-Encoding", "gzip"}, 415, "unsupported-media-type", ""},
		{"too large", "PUT", "/a", `{"metadata":{"a":"` + strings.Repeat("x", 64<<10) + `"}}`, nil, 413, "body-too-large", ""},
		{"too large with a space at the end", "PUT", "/a", `{}` + strings.Repeat(" ", 64<<10), nil, 413, "body-too-large", ""},
		{"method", "POST", "/live", `{}`, nil, 405, "method-not-allowed", ""},
		{"unknown path", "GET", "/live/nothing", "", nil, 404, "not-found", ""},
		{"limit of zero", "GET", "?limit=0", "", nil, 400, "bad-request", "limit"},
		{"limit too high", "GET", "?limit=1001", "", nil, 400, "bad-request", "limit"},
		{"foreign cursor", "GET", "?cursor=***", "", nil, 400, "bad-request", "cursor"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newTestServer(t, nil)
			p := requireProblem(t, s.do(request{row.method, routersPath + row.path, row.body, row.header}), row.status, row.cause)
			if row.field != "" {
				require.Len(t, p.Errors, 1)
				assert.Equal(t, row.field, p.Errors[0].Field)
				assert.NotEmpty(t, p.Errors[0].Message)
			}
			assert.NotContains(t, p.Detail, "Go ", "words of the decoder")
			assert.Len(t, s.cfg.Node.Routers(), 1, "a refused request changes nothing")
		})
	}
}

func TestBodyAtTheLimit(t *testing.T) {
	s := newTestServer(t, nil)
	body := `{"metadata":{"a":"%s"}}`
	body = fmt.Sprintf(body, strings.Repeat("x", 64<<10-len(body)+2))
	require.Len(t, body, 64<<10)
	assert.Equal(t, 201, s.do(request{method: "PUT", path: routersPath + "/a", body: body}).Code)
	requireProblem(t, s.do(request{method: "PUT", path: routersPath + "/a", body: body + " "}), 413, "body-too-large")
}

func TestMethodsOfRouter(t *testing.T) {
	s := newTestServer(t, nil)
	refused := s.do(request{method: "POST", path: routersPath + "/live"})
	requireProblem(t, refused, 405, "method-not-allowed")
	options := s.do(request{method: "OPTIONS", path: routersPath + "/live"})
	assert.Equal(t, 204, options.Code)
	for _, method := range []string{"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"} {
		assert.Contains(t, refused.Header().Get("Allow"), method)
		assert.Contains(t, options.Header().Get("Allow"), method)
	}
	assert.Equal(t, 200, s.do(request{method: "HEAD", path: routersPath + "/live"}).Code)
	assert.Equal(t, 404, s.do(request{method: "OPTIONS", path: "/api/v1/nothing"}).Code)
}

func TestRouterPreconditions(t *testing.T) {
	s := newTestServer(t, nil)
	path := routersPath + "/stage"
	put := func(header ...string) int { return s.do(request{"PUT", path, "", header}).Code }
	etag := func() string { return s.do(request{method: "GET", path: path}).Header().Get("ETag") }

	require.Equal(t, 412, put("If-Match", "*"), "only if it exists")
	require.Equal(t, 201, put("If-None-Match", "*"), "only if it does not exist")
	require.Equal(t, 412, put("If-None-Match", "*"))
	former := etag()
	require.Equal(t, 204, s.do(request{"DELETE", path, "", []string{"If-Match", former}}).Code)
	require.Equal(t, 201, put())
	now := etag()
	require.NotEqual(t, former, now, "another router of the same name")

	for _, row := range []struct {
		name, header, value string
		want                int
	}{
		{"current tag", "If-Match", now, 200},
		{"any", "If-Match", "*", 200},
		{"one of a list", "If-Match", `"x" , ` + now + `,"y"`, 200},
		{"tag of the former router", "If-Match", former, 412},
		{"weak tag", "If-Match", "W/" + now, 412},
		{"tag without quotes", "If-Match", strings.Trim(now, `"`), 412},
		{"other than the former", "If-None-Match", former, 200},
		{"other than the current", "If-None-Match", now, 412},
	} {
		assert.Equal(t, row.want, put(row.header, row.value), row.name)
	}
	requireProblem(t, s.do(request{"DELETE", path, "", []string{"If-Match", former}}), 412, "precondition-failed")
	assert.Equal(t, 204, s.do(request{"DELETE", path, "", []string{"If-Match", now}}).Code)
}

func TestPutChangesSettings(t *testing.T) {
	s := newTestServer(t, nil)
	path := routersPath + "/live"
	former := s.do(request{method: "GET", path: path})
	changed := s.do(request{method: "PUT", path: path, body: `{"max_publishers":2,"metadata":{"a":"1"}}`})
	require.Equal(t, 200, changed.Code, changed.Body)
	assert.NotEqual(t, former.Header().Get("ETag"), changed.Header().Get("ETag"))
	assert.Equal(t, 2, decodeRouter(t, changed.Body.Bytes()).MaxPublishers)

	same := s.do(request{method: "PUT", path: path})
	assert.Equal(t, 200, same.Code)
	assert.JSONEq(t, changed.Body.String(), same.Body.String(), "no body leaves the settings")
	emptied := s.do(request{method: "PUT", path: path, body: `{}`})
	assert.JSONEq(t, former.Body.String(), emptied.Body.String(), "an empty object is the defaults")

	stale := request{"PUT", path, `{"max_publishers":3}`, []string{"If-Match", changed.Header().Get("ETag")}}
	requireProblem(t, s.do(stale), 412, "precondition-failed")
}

func TestPatchRouter(t *testing.T) {
	s := newTestServer(t, nil)
	path := routersPath + "/live"
	require.Equal(t, 200, s.do(request{method: "PUT", path: path, body: `{"max_publishers":2,"codecs":["VP8"],"metadata":{"a":"1","b":"2"}}`}).Code)
	for _, row := range []struct{ name, body, want string }{
		{"nothing", `{}`, `{"max_publishers":2,"max_subscribers":0,"codecs":["VP8"],"metadata":{"a":"1","b":"2"}}`},
		{"one", `{"max_subscribers":9}`, `{"max_publishers":2,"max_subscribers":9,"codecs":["VP8"],"metadata":{"a":"1","b":"2"}}`},
		{"metadata merge", `{"metadata":{"b":null,"c":"3"}}`, `{"max_publishers":2,"max_subscribers":9,"codecs":["VP8"],"metadata":{"a":"1","c":"3"}}`},
		{"to the default", `{"max_publishers":0,"codecs":[]}`, `{"max_publishers":0,"max_subscribers":9,"codecs":[],"metadata":{"a":"1","c":"3"}}`},
	} {
		before := s.do(request{method: "GET", path: path})
		recorder := s.do(request{"PATCH", path, row.body, []string{"If-Match", before.Header().Get("ETag")}})
		require.Equal(t, 200, recorder.Code, row.name)
		var got, want map[string]any
		require.NoError(t, json.Unmarshal(recorder.Body.Bytes(), &got))
		require.NoError(t, json.Unmarshal([]byte(row.want), &want))
		assert.Subset(t, got, want, row.name)
		assert.Equal(t, row.name == "nothing", before.Header().Get("ETag") == recorder.Header().Get("ETag"), row.name)
	}
	for _, row := range []struct {
		name, path, body string
		header           []string
		status           int
		cause, field     string
	}{
		{"unknown field", path, `{"id":"x"}`, nil, 400, "bad-request", "id"},
		{"negative", path, `{"max_publishers":-1}`, nil, 400, "bad-request", "max_publishers"},
		{"no body", path, "", []string{"Content-Type", "application/json"}, 400, "bad-request", ""},
		{"stale", path, `{}`, []string{"If-Match", `"stale"`}, 412, "precondition-failed", ""},
		{"unknown router", routersPath + "/none", `{}`, nil, 404, "router-not-found", ""},
		{"condition on an unknown router", routersPath + "/none", `{}`, []string{"If-Match", "*"}, 404, "router-not-found", ""},
	} {
		p := requireProblem(t, s.do(request{"PATCH", row.path, row.body, row.header}), row.status, row.cause)
		if row.field != "" {
			require.Len(t, p.Errors, 1, row.name)
			assert.Equal(t, row.field, p.Errors[0].Field)
		}
	}
}

// TestPatchedMetadataAreBounded merges until a body could not hold the sum any more.
func TestPatchedMetadataAreBounded(t *testing.T) {
	s := newTestServer(t, func(cfg *Config) { cfg.Limits.MaxJSONBytes = 1000 })
	patch := func(key string, size int) *httptest.ResponseRecorder {
		return s.do(request{method: "PATCH", path: routersPath + "/live", body: `{"metadata":{"` + key + `":"` + strings.Repeat("x", size) + `"}}`})
	}
	require.Equal(t, 200, patch("a", 499).Code)
	require.Equal(t, 200, patch("b", 499).Code, "at the limit")
	p := requireProblem(t, patch("c", 0), 400, "bad-request")
	assert.Equal(t, "metadata", p.Errors[0].Field)
	assert.Equal(t, 200, patch("b", 498).Code, "less is possible")
}

// TestRouterRace has many writers that want to be the one who creates the router.
func TestRouterRace(t *testing.T) {
	s := newTestServer(t, nil)
	var wg sync.WaitGroup
	statuses := make(chan int, 20)
	for range cap(statuses) {
		wg.Go(func() {
			statuses <- s.do(request{"PUT", routersPath + "/stage", "", []string{"If-None-Match", "*"}}).Code
		})
	}
	wg.Wait()
	close(statuses)
	count := map[int]int{}
	for status := range statuses {
		count[status]++
	}
	assert.Equal(t, map[int]int{201: 1, 412: 19}, count)
}

func TestRouterPaging(t *testing.T) {
	s := newTestServer(t, nil)
	for i := range 6 {
		require.Equal(t, 201, s.do(request{method: "PUT", path: fmt.Sprintf("%s/r%d", routersPath, i)}).Code)
	}
	var ids []string
	next, pages := "", 0
	for {
		recorder := s.do(request{method: "GET", path: routersPath + "?limit=3&cursor=" + next})
		require.Equal(t, http.StatusOK, recorder.Code, recorder.Body)
		var p page[routerView]
		require.NoError(t, json.Unmarshal(recorder.Body.Bytes(), &p))
		for _, v := range p.Items {
			ids = append(ids, string(v.ID))
		}
		if pages++; pages == 1 { // the one that the cursor names goes away; the next page still starts after it
			require.Equal(t, 204, s.do(request{method: "DELETE", path: routersPath + "/" + ids[len(ids)-1]}).Code)
		}
		if next = p.NextCursor; next == "" {
			break
		}
	}
	assert.Equal(t, []string{"live", "r0", "r1", "r2", "r3", "r4", "r5"}, ids)
	assert.Equal(t, 3, pages)
	assert.Contains(t, s.do(request{method: "GET", path: routersPath + "?cursor=enp6"}).Body.String(), `"items":[]`)
}
