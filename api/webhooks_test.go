package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"rheomesh/api/webhook"
	"rheomesh/sfu"
)

// newHookServer is a server whose webhooks may go to this machine.
func newHookServer(t *testing.T, change func(*Config)) *Server {
	s := newTestServer(t, func(cfg *Config) {
		cfg.Limits = Limits{PostsPerSecondPerIP: 1000, PostBurstPerIP: 1000}
		cfg.Webhooks = webhook.NewSet(webhook.Config{Rule: webhook.Rule{AllowPrivate: true}, Limit: 3})
		if change != nil {
			change(cfg)
		}
	})
	closing(t, s)
	return s
}

// delivery is one request that a receiver got.
type delivery struct {
	header http.Header
	body   []byte
}

func newHookReceiver(t *testing.T) (url string, got <-chan delivery) {
	deliveries := make(chan delivery, 256)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // the signature tells what is missing
		deliveries <- delivery{r.Header, body}
	}))
	t.Cleanup(server.Close)
	return server.URL, deliveries
}

func await[T any](t *testing.T, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(10 * time.Second):
		t.Fatal("it did not come")
	}
	return v
}

func TestWebhookResource(t *testing.T) {
	s := newHookServer(t, nil)
	url, got := newHookReceiver(t)
	recorder := s.do(request{method: "POST", path: "/api/v1/webhooks", body: `{"url":"` + url + `","events":["router.deleted","router.created","router.created"]}`})
	require.Equal(t, 201, recorder.Code, recorder.Body)
	require.Equal(t, "no-store", recorder.Header().Get("Cache-Control"))
	var created createdWebhookView
	require.NoError(t, json.Unmarshal(recorder.Body.Bytes(), &created))
	require.Equal(t, []string{"router.created", "router.deleted"}, created.Events)
	path := "/api/v1/webhooks/" + created.ID
	require.Equal(t, path, recorder.Header().Get("Location"))

	putRouter(t, s, "stage")
	s.cfg.Node.SetDraining(true) // not wanted
	require.NoError(t, s.cfg.Node.DeleteRouter("stage"))
	verifier, err := standardwebhooks.NewWebhook(created.Secret)
	require.NoError(t, err)
	seen := map[string]json.RawMessage{}
	for range 2 {
		d := await(t, got)
		require.NoError(t, verifier.Verify(d.body, d.header))
		var v struct {
			ID, Type string
			Data     json.RawMessage
		}
		require.NoError(t, json.Unmarshal(d.body, &v))
		require.Equal(t, d.header.Get("Webhook-Id"), v.ID)
		seen[v.Type] = v.Data
	}
	require.Len(t, seen, 2)
	require.Contains(t, string(seen["router.created"]), `"id":"stage"`)

	var shown map[string]any
	require.Eventually(t, func() bool {
		shown = nil
		recorder := s.do(request{method: "GET", path: path})
		return recorder.Code == 200 && json.Unmarshal(recorder.Body.Bytes(), &shown) == nil && shown["delivered"] == 2.0
	}, 5*time.Second, time.Millisecond)
	require.NotContains(t, shown, "secret", "shown once")
	require.Nil(t, shown["last_error_at"])
	require.NotContains(t, s.do(request{method: "GET", path: "/api/v1/webhooks"}).Body.String(), "whsec_")

	require.Equal(t, 204, s.do(request{method: "DELETE", path: path}).Code)
	requireProblem(t, s.do(request{method: "DELETE", path: path}), 404, "not-found")
	requireProblem(t, s.do(request{method: "GET", path: path}), 404, "not-found")
}

func TestWebhookRefusals(t *testing.T) {
	s := newHookServer(t, nil)
	for _, row := range []struct{ name, body, field string }{
		{"no url", `{}`, "url"},
		{"not http", `{"url":"ftp://8.8.8.8/"}`, "url"},
		{"metadata service", `{"url":"http://169.254.169.254/latest"}`, "url"},
		{"unspecified", `{"url":"http://0.0.0.0:80/"}`, "url"},
		{"password", `{"url":"http://u:p@8.8.8.8/"}`, "url"},
		{"unknown event", `{"url":"http://8.8.8.8/","events":["router.created","nothing"]}`, "events"},
		{"no event", `{"url":"http://8.8.8.8/","events":[]}`, "events"},
		{"secret of our own form only", `{"url":"http://8.8.8.8/","secret":"hunter2"}`, "secret"},
		{"unknown field", `{"url":"http://8.8.8.8/","x":1}`, "x"},
		{"url of another type", `{"url":1}`, "url"},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := requireProblem(t, s.do(request{method: "POST", path: "/api/v1/webhooks", body: row.body}), 400, "bad-request")
			require.Equal(t, row.field, p.Errors[0].Field)
			require.NotContains(t, p.Detail, "hunter2")
		})
	}
	require.Zero(t, s.webhooks.Len())

	own := `{"url":"http://8.8.8.8/","secret":"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}`
	for range 3 {
		recorder := s.do(request{method: "POST", path: "/api/v1/webhooks", body: own})
		require.Equal(t, 201, recorder.Code, recorder.Body)
		require.Contains(t, recorder.Body.String(), `"secret":"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"`)
		require.Contains(t, recorder.Body.String(), `"events":[]`)
	}
	requireProblem(t, s.do(request{method: "POST", path: "/api/v1/webhooks", body: own}), 409, "conflict")
	first := s.do(request{method: "GET", path: "/api/v1/webhooks?limit=2"})
	var p page[webhookView]
	require.NoError(t, json.Unmarshal(first.Body.Bytes(), &p))
	require.Len(t, p.Items, 2)
	require.NotEmpty(t, p.NextCursor)
	requireProblem(t, s.do(request{method: "PUT", path: "/api/v1/webhooks", body: own}), 405, "method-not-allowed")

	strict := newTestServer(t, nil)
	closing(t, strict)
	refused := requireProblem(t, strict.do(request{method: "POST", path: "/api/v1/webhooks", body: `{"url":"http://127.0.0.1:1/"}`}), 400, "bad-request")
	require.Contains(t, refused.Detail, "webhooks.allow_private")
}

func TestWebhookCredentials(t *testing.T) {
	key := func(id string, grant Grant) Key {
		return Key{ID: id, Digest: sha256.Sum256([]byte(id)), Grants: []Grant{grant}}
	}
	s := newHookServer(t, func(cfg *Config) {
		cfg.Authorizer = NewAuthorizer(Credentials{Keys: []Key{
			key("all", Grant{Routers: []string{"*"}, Actions: []string{"admin"}}),
			key("rooms", Grant{Routers: []string{"room-*"}, Actions: []string{"admin"}}),
		}})
	})
	for _, r := range []request{
		{method: "GET", path: "/api/v1/webhooks"},
		{method: "GET", path: "/api/v1/webhooks/x"},
		{method: "DELETE", path: "/api/v1/webhooks/x"},
		{method: "POST", path: "/api/v1/webhooks", body: `{"url":"http://8.8.8.8/"}`},
		{method: "GET", path: "/metrics"},
	} {
		r.header = nil
		requireProblem(t, s.do(r), 401, "unauthorized")
		r.header = []string{"Authorization", "Bearer rooms"}
		requireProblem(t, s.do(r), 403, "forbidden")
		r.header = []string{"Authorization", "Bearer all"}
		assert.Contains(t, []int{200, 201, 404}, s.do(r).Code, r.path)
	}
}

// TestHangingWebhookHoldsNobody keeps a receiver silent: event streams and the API go on.
func TestHangingWebhookHoldsNobody(t *testing.T) {
	release := make(chan struct{})
	var once sync.Once
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer server.Close()
	defer once.Do(func() { close(release) })
	s := newHookServer(t, nil)
	require.Equal(t, 201, s.do(request{method: "POST", path: "/api/v1/webhooks", body: `{"url":"` + server.URL + `"}`}).Code)
	stream := openStream(t, overHTTP(t, s)+"/api/v1/events")
	stream.must(t)
	for n := range 50 {
		start := time.Now()
		putRouter(t, s, "stage")
		require.Equal(t, "router.created", stream.must(t).event)
		require.NoError(t, s.cfg.Node.DeleteRouter(sfu.RouterID("stage")))
		require.Equal(t, "router.deleted", stream.must(t).event)
		require.Less(t, time.Since(start), time.Second, "round %d", n)
	}
	require.Positive(t, s.webhooks.Totals().Queued)
}

// FuzzWebhookBody sees that whatever is accepted can be registered, and that nothing makes the decoder panic.
func FuzzWebhookBody(f *testing.F) {
	for _, seed := range []string{
		`{"url":"http://8.8.8.8/","events":["publisher.live"],"secret":"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}`,
		`{"url":"http://8.8.8.8/"}`, `{"url":null,"events":null,"secret":null}`, `{"events":[""]}`, `[]`, `{`, `{"url":"x"}{}`, "\x00", `{"url":"\ud800"}`,
	} {
		f.Add([]byte(seed))
	}
	s := &Server{throttle: &Throttle{}}
	s.SetLimits(Limits{})
	e := echo.New()
	f.Fuzz(func(t *testing.T, text []byte) {
		r := httptest.NewRequest(http.MethodPost, "/api/v1/webhooks", bytes.NewReader(text))
		r.Header.Set("Content-Type", "application/json")
		var body webhookBody
		if s.readJSON(e.NewContext(r, httptest.NewRecorder()), &body) != nil {
			return
		}
		events, secret, err := body.check()
		if err != nil {
			require.ErrorIs(t, err, errBadRequest)
			return
		}
		require.NotEmpty(t, body.URL)
		require.LessOrEqual(t, len(events), len(eventTypes))
		if secret != "" {
			_, err := webhook.ParseSecret(string(secret))
			require.NoError(t, err)
		}
	})
}
