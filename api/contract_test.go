package api

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"rheomesh"
	"rheomesh/client"
	"rheomesh/clip"
	"rheomesh/whip"
)

// document is the contract as the repository has it. Objects are closed, so that a field which is not in it is found.
var document = sync.OnceValue(func() *openapi3.T {
	for _, text := range []string{"application/sdp", "application/trickle-ice-sdpfrag", "text/event-stream"} {
		openapi3filter.RegisterBodyDecoder(text, openapi3filter.PlainBodyDecoder)
	}
	doc, err := openapi3.NewLoader().LoadFromData(rheomesh.OpenAPIYAML())
	if err == nil {
		err = doc.Validate(context.Background())
	}
	if err != nil {
		panic(err)
	}
	for _, schema := range doc.Components.Schemas {
		if len(schema.Value.Properties) > 0 && schema.Value.AdditionalProperties.Has == nil {
			schema.Value.AdditionalProperties.Has = new(false)
		}
	}
	return doc
})

// operationOf finds what the document says about a request.
func operationOf(method, path string) (*routers.Route, map[string]string) {
	for pattern, item := range document().Paths.Map() {
		params, ok := matchPath(pattern, path)
		if operation := item.GetOperation(method); ok && operation != nil {
			return &routers.Route{Spec: document(), Path: pattern, PathItem: item, Method: method, Operation: operation}, params
		}
	}
	return nil, nil
}

func matchPath(pattern, path string) (map[string]string, bool) {
	want, got := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return nil, false
	}
	params := map[string]string{}
	for i := range want {
		if name, ok := strings.CutPrefix(want[i], "{"); ok {
			params[strings.TrimSuffix(name, "}")] = got[i]
		} else if want[i] != got[i] {
			return nil, false
		}
	}
	return params, true
}

// badRequest marks the context of a request that is wrong on purpose: only its response must be as the document says.
type badRequest struct{}

// contract is a transport that holds every request and response against the document.
type contract struct {
	t    *testing.T
	next http.RoundTripper

	mu   sync.Mutex     // guards seen
	seen map[string]int // by operation id and "success" or "problem"
}

func (c *contract) RoundTrip(r *http.Request) (*http.Response, error) {
	route, params := operationOf(r.Method, r.URL.Path)
	if route == nil {
		c.t.Errorf("%s %s is not in the document", r.Method, r.URL.Path)
		return c.next.RoundTrip(r)
	}
	input := c.checkRequest(r, route, params)
	response, err := c.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	c.checkResponse(response, input)
	return response, nil
}

func (c *contract) checkRequest(r *http.Request, route *routers.Route, params map[string]string) *openapi3filter.RequestValidationInput {
	input := &openapi3filter.RequestValidationInput{
		Request: r, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, SkipSettingDefaults: true, RejectWhenRequestBodyNotSpecified: true},
	}
	if r.Context().Value(badRequest{}) == nil {
		assert.NoError(c.t, openapi3filter.ValidateRequest(r.Context(), input), "request of %s", route.Operation.OperationID)
	}
	return input
}

func (c *contract) checkResponse(response *http.Response, input *openapi3filter.RequestValidationInput) {
	id := input.Route.Operation.OperationID
	outcome := "success"
	if response.StatusCode >= 400 && response.StatusCode != http.StatusNotAcceptable {
		outcome = "problem"
		assert.Equal(c.t, "application/problem+json", response.Header.Get("Content-Type"), id)
	}
	c.mu.Lock()
	c.seen[id+" "+outcome]++
	c.mu.Unlock()
	options := &openapi3filter.Options{IncludeResponseStatus: true}
	var body []byte
	if response.Header.Get("Content-Type") == "text/event-stream" {
		options.ExcludeResponseBody = true // it has no end
	} else {
		var err error
		body, err = io.ReadAll(response.Body)
		assert.NoError(c.t, err)
		assert.NoError(c.t, response.Body.Close())
		response.Body = io.NopCloser(bytes.NewReader(body))
	}
	output := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: response.StatusCode, Header: response.Header, Options: options, Body: io.NopCloser(bytes.NewReader(body)),
	}
	assert.NoError(c.t, openapi3filter.ValidateResponse(context.Background(), output), "response of %s: %d %s", id, response.StatusCode, body)
	documented := input.Route.Operation.Responses.Status(response.StatusCode)
	if documented != nil && documented.Value.Content == nil {
		assert.Empty(c.t, body, "%s %d has a body that the document does not know", id, response.StatusCode)
	}
}

// contractServer is the whole of the API on a socket, with a client that holds it to the document.
type contractServer struct {
	*Server
	t        *testing.T
	url      string
	ctx      context.Context
	contract *contract
	client   *http.Client
}

func newContractServer(t *testing.T, credentials Credentials) *contractServer {
	t.Helper()
	s := newFullServer(t, credentials, nil)
	server := httptest.NewServer(s.Handler())
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	transport := &http.Transport{}
	t.Cleanup(func() {
		cancel()
		transport.CloseIdleConnections()
		server.CloseClientConnections()
		server.Close()
	})
	c := &contract{t: t, next: transport, seen: map[string]int{}}
	return &contractServer{Server: s, t: t, url: server.URL, ctx: ctx, contract: c, client: &http.Client{Transport: c}}
}

// newFullServer has WHIP and WHEP too, and limits that a test does not meet unless change lowers them.
func newFullServer(t *testing.T, credentials Credentials, change func(*Config)) *Server {
	t.Helper()
	authorizer, throttle := NewAuthorizer(credentials), &Throttle{}
	var handler *whip.Handler
	s := newTestServer(t, func(cfg *Config) {
		var err error
		handler, err = whip.New(whip.Config{Node: cfg.Node, Authorize: authorizer.Authorize, Middleware: throttle.Middleware})
		require.NoError(t, err)
		cfg.Authorizer, cfg.Throttle = authorizer, throttle
		cfg.Mount = func(e *echo.Echo) { handler.Register(e) }
		cfg.Limits = generous
		if change != nil {
			change(cfg)
		}
	})
	t.Cleanup(func() {
		assert.NoError(t, handler.Close())
		assert.NoError(t, s.Close(context.Background()))
	})
	return s
}

var generous = Limits{PostsPerSecond: 1e6, PostBurst: 1e6, PostsPerSecondPerIP: 1e6, PostBurstPerIP: 1e6, FailedCredentialsPerMinutePerIP: 1e6}

// call sends one request; header values alternate name and value.
func (s *contractServer) call(ctx context.Context, method, path, body string, header ...string) (*http.Response, []byte) {
	s.t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(ctx, method, s.url+path, reader)
	require.NoError(s.t, err)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	response, err := s.client.Do(r)
	require.NoError(s.t, err)
	if response.Header.Get("Content-Type") == "text/event-stream" {
		line := make([]byte, 5)
		_, err := io.ReadFull(response.Body, line)
		require.NoError(s.t, err)
		require.NoError(s.t, response.Body.Close())
		return response, line
	}
	text, err := io.ReadAll(response.Body)
	require.NoError(s.t, err)
	return response, text
}

// good sends what the document permits.
func (s *contractServer) good(status int, method, path, body string, header ...string) (*http.Response, []byte) {
	s.t.Helper()
	response, text := s.call(s.ctx, method, path, body, header...)
	require.Equal(s.t, status, response.StatusCode, "%s %s: %s", method, path, text)
	return response, text
}

// bad sends what the server must refuse.
func (s *contractServer) bad(status int, method, path, body string, header ...string) {
	s.t.Helper()
	response, text := s.call(context.WithValue(s.ctx, badRequest{}, true), method, path, body, header...)
	require.Equal(s.t, status, response.StatusCode, "%s %s: %s", method, path, text)
}

// TestContract drives every operation of the document, to success and to a problem, with media running.
func TestContract(t *testing.T) {
	s := newContractServer(t, Credentials{})
	t.Run("documents", s.documents)
	t.Run("routers", s.routers)
	publication := s.publishClip()
	playback := s.playClip()
	t.Run("publishers", s.publishers)
	t.Run("subscribers", s.subscribers)
	t.Run("relays", s.relays)
	t.Run("data", s.data)
	t.Run("events", s.eventsAndWebhooks)
	t.Run("WHIP", func(t *testing.T) { s.session(publication.Session, "whip") })
	t.Run("WHEP", func(t *testing.T) { s.session(playback.Session, "whep") })
	t.Run("extensions", func(t *testing.T) { s.extensions(pathOf(playback.Session)) })
	t.Run("ends", func(t *testing.T) { s.ends(publication.Session, playback.Session) })
	t.Run("node", s.node)

	for pattern, item := range document().Paths.Map() {
		for method, operation := range item.Operations() {
			id := operation.OperationID
			assert.NotZero(t, s.contract.seen[id+" success"], "no test lets %s (%s %s) succeed", id, method, pattern)
			if slices.ContainsFunc(slices.Collect(maps.Keys(operation.Responses.Map())), func(status string) bool { return status >= "4" }) {
				assert.NotZero(t, s.contract.seen[id+" problem"], "no test lets %s (%s %s) fail", id, method, pattern)
			}
		}
	}
}

func (s *contractServer) documents(t *testing.T) {
	_, text := s.good(200, "GET", "/openapi.yaml", "")
	assert.Equal(t, rheomesh.OpenAPIYAML(), text, "the bytes of the file")
	_, inJSON := s.good(200, "GET", "/openapi.json", "")
	fromJSON, err := openapi3.NewLoader().LoadFromData(inJSON)
	require.NoError(t, err)
	fromYAML, err := openapi3.NewLoader().LoadFromData(text)
	require.NoError(t, err)
	assert.Equal(t, fromYAML.Paths.Len(), fromJSON.Paths.Len())
	assert.Equal(t, fromYAML.Info.Title, fromJSON.Info.Title)
	s.good(200, "GET", "/healthz", "")
}

func (s *contractServer) routers(*testing.T) {
	const routers = "/api/v1/routers"
	s.good(201, "POST", routers, `{"id":"stage","max_publishers":3,"max_subscribers":9,"metadata":{"floor":"2"},"codecs":["VP8","opus"]}`)
	s.good(201, "POST", routers, `{}`)
	s.bad(409, "POST", routers, `{"id":"stage"}`)
	s.bad(400, "POST", routers, `{"idd":"stage"}`)
	s.bad(415, "POST", routers, `a=b`, "Content-Type", "text/plain")
	s.bad(413, "POST", routers, `{"id":"`+strings.Repeat("x", 70<<10)+`"}`)
	s.good(200, "GET", routers+"?limit=1", "")
	s.bad(400, "GET", routers+"?limit=0", "")
	response, _ := s.good(200, "GET", routers+"/stage", "")
	s.good(200, "PUT", routers+"/stage", `{"max_publishers":4}`, "If-Match", response.Header.Get("ETag"))
	s.bad(412, "PUT", routers+"/stage", `{}`, "If-Match", response.Header.Get("ETag"))
	s.good(201, "PUT", routers+"/other", "", "If-None-Match", "*")
	s.good(200, "PATCH", routers+"/stage", `{"metadata":{"floor":null,"room":"1"}}`)
	s.bad(404, "PATCH", routers+"/none", `{}`)
	s.bad(412, "DELETE", routers+"/stage", "", "If-Match", `"stale"`)
	s.good(204, "DELETE", routers+"/stage", "")
	s.bad(404, "GET", routers+"/stage", "")
}

func (s *contractServer) publishClip() *client.Publication {
	s.bad(400, "POST", "/whip/live/cam", "nonsense", "Content-Type", "application/sdp")
	s.bad(404, "POST", "/whip/none/cam", "v=0\r\n", "Content-Type", "application/sdp")
	s.bad(415, "POST", "/whip/live/cam", "{}")
	s.bad(422, "POST", "/whip/live/cam", unacceptable, "Content-Type", "application/sdp")
	s.good(204, "GET", "/whip/live/cam", "")
	s.bad(404, "GET", "/whip/none/cam", "")
	publication, err := client.Publish(s.ctx, client.PublishOptions{
		Options: client.Options{URL: s.url + "/whip/live/cam", HTTPClient: s.client}, Audio: clip.Opus(), AnswerPLI: true,
		Simulcast: []client.Encoding{{RID: "h", Source: clip.VP8(clip.Large)}, {RID: "l", Source: clip.VP8(clip.Small)}},
	})
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = publication.Close(context.Background()) }) // the test ends it
	require.NoError(s.t, publication.Connected(s.ctx))
	return publication
}

// unacceptable is an offer of an RTP stream that is not secured.
const unacceptable = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 9 RTP/AVP 96\r\nc=IN IP4 0.0.0.0\r\na=rtpmap:96 VP8/90000\r\na=sendonly\r\n"

func (s *contractServer) playClip() *client.Playback {
	s.bad(400, "POST", "/whep/live/cam", "nonsense", "Content-Type", "application/sdp")
	s.good(204, "GET", "/whep/live/cam", "")
	s.bad(404, "GET", "/whep/none/cam", "")
	response, _ := s.good(201, "POST", "/whep/live/later", "") // the node makes the offer
	s.good(200, "DELETE", response.Header.Get("Location"), "")
	playback, err := client.Play(s.ctx, client.PlayOptions{Options: client.Options{URL: s.url + "/whep/live/cam", HTTPClient: s.client}})
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = playback.Close(context.Background()) }) // the test ends it
	require.NoError(s.t, playback.Connected(s.ctx))
	return playback
}

func (s *contractServer) publishers(t *testing.T) {
	require.Eventually(t, func() bool { // all that a live publisher can show
		_, text := s.good(200, "GET", publishersPath+"/cam", "")
		var v publisherView
		return json.Unmarshal(text, &v) == nil && len(v.Tracks) == 2 && v.Subscribers == 1
	}, 10*time.Second, 20*time.Millisecond)
	s.good(200, "GET", publishersPath, "")
	s.bad(400, "GET", publishersPath+"?cursor=*", "")
	s.bad(404, "GET", publishersPath+"/none", "")
	s.bad(404, "DELETE", publishersPath+"/none", "")
}

func (s *contractServer) data(t *testing.T) {
	const data = "/api/v1/routers/live/data"
	s.good(202, "POST", data, `{"publisher":"cam","label":"chat","text":"hello"}`)
	s.good(202, "POST", data, `{"publisher":"cam","label":"chat","binary":"AAEC"}`)
	s.bad(404, "POST", data, `{"publisher":"none","label":"chat","text":"hello"}`)
	_, text := s.good(200, "GET", publishersPath+"/cam", "")
	var v publisherView
	require.NoError(t, json.Unmarshal(text, &v))
	require.Len(t, v.Tracks, 3)
	assert.Equal(t, []channelView{{Label: "chat", Ordered: true, Messages: 2, Bytes: 8}}, v.Tracks[2].Channels)
}

func (s *contractServer) subscribers(t *testing.T) {
	s.good(200, "GET", "/api/v1/routers/live/speakers", "")
	s.bad(404, "GET", "/api/v1/routers/none/speakers", "")
	_, text := s.good(200, "GET", subscribersPath, "")
	s.bad(404, "GET", "/api/v1/routers/none/subscribers", "")
	var list page[subscriberView]
	require.NoError(t, json.Unmarshal(text, &list))
	require.Len(t, list.Items, 1)
	path := subscribersPath + "/" + string(list.Items[0].ID)
	s.good(200, "GET", path, "")
	s.good(200, "PATCH", path, `{"paused":true,"layer":{"rid":"l","spatial":0,"temporal":0}}`)
	s.good(200, "PATCH", path, `{"paused":false,"layer":{}}`)
	s.bad(400, "PATCH", path, `{"pause":true}`)
	s.bad(404, "GET", subscribersPath+"/none", "")
	s.bad(404, "DELETE", subscribersPath+"/none", "")
}

func (s *contractServer) eventsAndWebhooks(t *testing.T) {
	response, _ := s.good(200, "GET", "/api/v1/events?types=publisher.live&router=live", "")
	assert.Equal(t, "text/event-stream", response.Header.Get("Content-Type"))
	s.bad(400, "GET", "/api/v1/events?types=nothing", "")
	_, text := s.good(201, "POST", "/api/v1/webhooks", `{"url":"https://hooks.example.org/x","events":["publisher.live"]}`)
	var created struct{ ID string }
	require.NoError(t, json.Unmarshal(text, &created))
	s.bad(400, "POST", "/api/v1/webhooks", `{"url":"ftp://x"}`)
	s.good(200, "GET", "/api/v1/webhooks", "")
	s.bad(400, "GET", "/api/v1/webhooks?limit=x", "")
	s.good(200, "GET", "/api/v1/webhooks/"+created.ID, "")
	s.bad(404, "GET", "/api/v1/webhooks/none", "")
	s.good(204, "DELETE", "/api/v1/webhooks/"+created.ID, "")
	s.bad(404, "DELETE", "/api/v1/webhooks/"+created.ID, "")
}

// pathOf is the location of a session without the server.
func pathOf(session *client.Session) string {
	_, rest, _ := strings.Cut(session.Location(), "//")
	return rest[strings.Index(rest, "/"):]
}

// session drives the resource of a session, but for its end.
func (s *contractServer) session(session *client.Session, kind string) {
	const fragment = "application/trickle-ice-sdpfrag"
	location, unknown := pathOf(session), "/"+kind+"/live/cam/unknown"
	s.good(204, "GET", location, "")
	s.bad(404, "GET", unknown, "")
	s.good(204, "PATCH", location, "a=end-of-candidates\r\n", "Content-Type", fragment)
	require.NoError(s.t, session.RestartICE(s.ctx))
	s.bad(412, "PATCH", location, "a=end-of-candidates\r\n", "Content-Type", fragment, "If-Match", `"stale"`)
	s.bad(400, "PATCH", location, "nonsense", "Content-Type", fragment)
	s.bad(415, "PATCH", location, "{}")
	s.bad(404, "PATCH", unknown, "a=end-of-candidates\r\n", "Content-Type", fragment)
	s.bad(404, "DELETE", unknown, "")
}

func (s *contractServer) extensions(location string) {
	response, _ := s.good(201, "POST", location+"/sse", `["active","layers"]`)
	stream := response.Header.Get("Location")
	s.bad(400, "POST", location+"/sse", `["nothing"]`)
	s.good(200, "GET", stream, "")
	s.bad(404, "GET", location+"/sse/unknown", "")
	s.good(200, "DELETE", stream, "")
	s.bad(404, "DELETE", stream, "")
	s.good(200, "GET", location+"/layer", "")
	s.good(200, "POST", location+"/layer", `{"mediaId":"1","encodingId":"l"}`)
	s.bad(400, "POST", location+"/layer", `[]`)
	s.good(200, "DELETE", location+"/layer", "")
	for _, method := range []string{"GET", "DELETE"} {
		s.bad(404, method, "/whep/live/cam/unknown/layer", "")
	}
}

func (s *contractServer) ends(publication, playback *client.Session) {
	s.good(200, "DELETE", pathOf(playback), "")
	s.good(200, "DELETE", pathOf(publication), "")

	// once more, to end them as an operator does
	s.publishClip()
	s.playClip()
	_, text := s.good(200, "GET", subscribersPath, "")
	var list page[subscriberView]
	require.NoError(s.t, json.Unmarshal(text, &list))
	require.Len(s.t, list.Items, 1)
	s.good(204, "DELETE", subscribersPath+"/"+string(list.Items[0].ID), "")
	s.good(204, "DELETE", publishersPath+"/cam", "")
}

func (s *contractServer) node(*testing.T) {
	s.good(200, "GET", "/metrics", "")
	s.good(200, "GET", "/api/v1/node", "")
	s.good(200, "GET", "/readyz", "")
	s.good(204, "PUT", "/api/v1/node/drain", "")
	s.bad(503, "GET", "/readyz", "")
	s.bad(503, "POST", "/whip/live/cam", "v=0\r\n", "Content-Type", "application/sdp")
	s.good(204, "DELETE", "/api/v1/node/drain", "")

	// what only a node with credentials refuses
	former := s.auth.Replace(testCredentials())
	defer s.auth.Replace(former)
	for _, request := range []struct{ method, path string }{{"GET", "/api/v1/node"}, {"PUT", "/api/v1/node/drain"}, {"DELETE", "/api/v1/node/drain"}, {"GET", "/metrics"}} {
		s.bad(401, request.method, request.path, "")
		s.bad(403, request.method, request.path, "", "Authorization", "Bearer "+roomSecret)
	}
}

// pages are routes that serve people rather than programs, and stay out of the document.
var pages = map[string]bool{"/swagger": true, "/swagger/": true, "/swagger/:file": true}

// TestDocumentIsComplete compares the document with the routes as they are registered, both ways. HEAD belongs to each GET
// and OPTIONS to each path, by HTTP and by CORS.
func TestDocumentIsComplete(t *testing.T) {
	documented, served := map[string]bool{}, map[string]bool{}
	for pattern, item := range document().Paths.Map() {
		for method := range item.Operations() {
			documented[method+" "+pattern] = true
		}
	}
	for _, route := range newFullServer(t, Credentials{}, nil).routes().Routes() {
		if pages[route.Path] || route.Method == echo.RouteNotFound || route.Method == http.MethodOptions || route.Method == http.MethodHead {
			continue
		}
		served[route.Method+" "+templateOf(route.Path)] = true
	}
	assert.Equal(t, slices.Sorted(maps.Keys(documented)), slices.Sorted(maps.Keys(served)),
		"a route without an annotation, or an annotation without a route; make generate writes the document")
}

// templateOf turns echo's parameters into those of OpenAPI.
func templateOf(route string) string {
	parts := strings.Split(route, "/")
	for i, part := range parts {
		if name, ok := strings.CutPrefix(part, ":"); ok {
			parts[i] = "{" + name + "}"
		}
	}
	return strings.Join(parts, "/")
}
