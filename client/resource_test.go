package client

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"rheomesh/clip"
)

func TestSession(t *testing.T) {
	f := newFake(t)
	publication := publish(t, PublishOptions{Options: f.options("/whip/a"), Audio: clip.Opus()})
	post := f.seen(http.MethodPost)[0]
	assert.Equal(t, "application/sdp", post.header.Get("Content-Type"))
	assert.Equal(t, "Bearer secret", post.header.Get("Authorization"))
	assert.Equal(t, publication.Offer(), post.body)
	assert.Equal(t, f.server.URL+"/session/1", publication.Location())
	assert.Equal(t, `"1"`, publication.ETag())
	assert.Equal(t, "ice-server", publication.Links()[0].Rel())
	assert.Equal(t, "application/sdp", publication.Header().Get("Content-Type"))
	assert.NoError(t, publication.Err())

	require.NoError(t, publication.Close(limited(t)))
	<-publication.Done()
	assert.ErrorIs(t, publication.Err(), ErrClosed)
	assert.ErrorIs(t, publication.Wait(limited(t)), ErrClosed)
	require.NoError(t, publication.Close(limited(t)), "a second time")
	deletes := f.seen(http.MethodDelete)
	require.Len(t, deletes, 1)
	assert.Equal(t, "/session/1", deletes[0].path)
	assert.Equal(t, "Bearer secret", deletes[0].header.Get("Authorization"))
}

func TestServerEnds(t *testing.T) {
	f := newFake(t)
	publication := publish(t, PublishOptions{Options: f.options("/whip/a"), Audio: clip.Opus()})
	f.waitUplinks(1) // the server's side is connected too, so that it can say good-bye
	f.delete("/session/1")
	assert.ErrorIs(t, publication.Wait(limited(t)), ErrDisconnected)
	assert.NoError(t, publication.Close(limited(t)), "a session that the server forgot is closed")
}

func TestDrop(t *testing.T) {
	f := newFake(t)
	publication := publish(t, PublishOptions{Options: f.options("/whip/a"), Audio: clip.Opus()})
	require.NoError(t, publication.Drop())
	require.NoError(t, publication.Close(limited(t)))
	assert.Empty(t, f.seen(http.MethodDelete))
}

func TestConnectedFails(t *testing.T) {
	f := newFake(t)
	options := f.options("/whip/a")
	options.NoCandidates = true
	f.edit = func(answer string) string { // nobody can find anybody
		return fragment{ufrag: fragmentOf(answer).ufrag, pwd: fragmentOf(answer).pwd}.apply(answer)
	}
	publication := publish(t, PublishOptions{Options: options, Audio: clip.Opus()})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	assert.ErrorIs(t, publication.Connected(ctx), ErrNoConnection)
	require.NoError(t, publication.Drop())
	assert.ErrorIs(t, publication.Connected(limited(t)), ErrNoConnection)
}

// stubbed posts to a server of one function and returns what post does.
func stubbed(t *testing.T, retryFor time.Duration, serve http.HandlerFunc) (*resource, string, error) {
	t.Helper()
	server := httptest.NewServer(serve)
	t.Cleanup(server.Close)
	options := Options{HTTPClient: server.Client(), Token: "secret"}
	r := &resource{client: options.httpClient(), token: options.Token}
	answer, err := r.post(limited(t), server.URL+"/whip/a/b?x=1", "offer", retryFor)
	return r, answer, err
}

func created(w http.ResponseWriter, location string) {
	w.Header().Set("Location", location)
	w.Header().Set("Content-Type", "Application/SDP; charset=utf-8")
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, "answer")
}

func TestLocation(t *testing.T) {
	tests := []struct{ name, location, want string }{
		{"absolute", "http://other.example/s/1", "http://other.example/s/1"},
		{"path", "/s/1", "/s/1"},
		{"path with query", "/s/1?k=v", "/s/1?k=v"},
		{"relative", "s/1", "/whip/a/s/1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r, answer, err := stubbed(t, 0, func(w http.ResponseWriter, _ *http.Request) { created(w, test.location) })
			require.NoError(t, err)
			assert.Equal(t, "answer", answer)
			assert.Equal(t, test.want, strings.TrimPrefix(r.location.String(), "http://"+r.postedTo(t)))
		})
	}
}

// postedTo is the host of the stub, or of the foreign location, whose prefix stays.
func (r *resource) postedTo(t *testing.T) string {
	t.Helper()
	if r.location.Host == "other.example" {
		return "unused"
	}
	return r.location.Host
}

func TestRedirects(t *testing.T) {
	tests := []struct {
		name   string
		status int
		want   int // status of the error; 0: followed
	}{
		{"307", http.StatusTemporaryRedirect, 0},
		{"308", http.StatusPermanentRedirect, 0},
		{"301", http.StatusMovedPermanently, http.StatusMovedPermanently},
		{"302", http.StatusFound, http.StatusFound},
		{"303", http.StatusSeeOther, http.StatusSeeOther},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				assert.Equal(t, "offer", string(body))
				assert.Equal(t, "Bearer secret", r.Header.Get("Authorization"))
				assert.Equal(t, http.MethodPost, r.Method)
				created(w, "/s/1")
			}))
			t.Cleanup(other.Close)
			// Another host as far as net/http's own rules are concerned.
			target := strings.Replace(other.URL, "127.0.0.1", "localhost", 1)
			r, _, err := stubbed(t, 0, func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, target+"/whip/there", test.status)
			})
			if test.want == 0 {
				require.NoError(t, err)
				assert.Equal(t, target+"/s/1", r.location.String())
				return
			}
			var status *StatusError
			require.ErrorAs(t, err, &status)
			assert.Equal(t, test.want, status.Status)
		})
	}
}

func TestRedirectLoop(t *testing.T) {
	_, _, err := stubbed(t, 0, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
	})
	assert.ErrorIs(t, err, ErrResponse)
}

func TestBrokenResponses(t *testing.T) {
	tests := []struct {
		name  string
		serve http.HandlerFunc
	}{
		{"no location", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/sdp")
			w.WriteHeader(http.StatusCreated)
		}},
		{"wrong type", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/s/1")
			w.Header().Set("Content-Type", "text/plain")
			w.WriteHeader(http.StatusCreated)
		}},
		{"redirect to nowhere", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTemporaryRedirect) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := stubbed(t, 0, test.serve)
			assert.ErrorIs(t, err, ErrResponse)
		})
	}
}

func TestProblemDocument(t *testing.T) {
	_, _, err := stubbed(t, 0, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusConflict)
		_, _ = io.WriteString(w, `{"type":"urn:rheomesh:problem:conflict","title":"Conflict","status":409,"detail":"cam1 is live","instance":"/x"}`)
	})
	var status *StatusError
	require.ErrorAs(t, err, &status)
	assert.Equal(t, Problem{"urn:rheomesh:problem:conflict", "Conflict", 409, "cam1 is live", "/x"}, status.Problem)
	assert.Equal(t, 409, status.Status)
	assert.Equal(t, 7*time.Second, status.RetryAfter)
	assert.True(t, status.Temporary())
	assert.ErrorContains(t, err, "409 Conflict: cam1 is live")
}

func TestErrorWithoutDocument(t *testing.T) {
	_, _, err := stubbed(t, 0, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "gone fishing", http.StatusTeapot) })
	var status *StatusError
	require.ErrorAs(t, err, &status)
	assert.Equal(t, Problem{}, status.Problem)
	assert.Equal(t, "gone fishing\n", status.Body)
	assert.False(t, status.Temporary())
}

func TestRetry(t *testing.T) {
	tests := []struct {
		name     string
		status   int
		header   string
		retryFor time.Duration
		attempts int64 // until it succeeds or gives up
		ok       bool
	}{
		{"unavailable", http.StatusServiceUnavailable, "1", 5 * time.Second, 2, true},
		{"conflict without a pause", http.StatusConflict, "", 5 * time.Second, 2, true},
		{"pause too long", http.StatusServiceUnavailable, "60", 5 * time.Second, 1, false},
		{"not asked to", http.StatusServiceUnavailable, "1", 0, 1, false},
		{"not temporary", http.StatusNotFound, "", 5 * time.Second, 1, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var attempts atomic.Int64
			_, _, err := stubbed(t, test.retryFor, func(w http.ResponseWriter, _ *http.Request) {
				if attempts.Add(1) > 1 {
					created(w, "/s/1")
					return
				}
				if test.header != "" {
					w.Header().Set("Retry-After", test.header)
				}
				w.WriteHeader(test.status)
			})
			assert.Equal(t, test.ok, err == nil, "%v", err)
			assert.Equal(t, test.attempts, attempts.Load())
		})
	}
}

func TestRetryEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	cause := io.ErrClosedPipe
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "30")
		w.WriteHeader(http.StatusServiceUnavailable)
		time.AfterFunc(20*time.Millisecond, func() { cancel(cause) })
	}))
	defer server.Close()
	r := &resource{client: server.Client()}
	_, err := r.post(ctx, server.URL, "offer", time.Minute)
	var status *StatusError
	assert.ErrorIs(t, err, cause)
	assert.ErrorAs(t, err, &status, "the last refusal is told too")
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	tests := []struct {
		name, value string
		want        time.Duration
	}{
		{"seconds", "12", 12 * time.Second},
		{"spaces", " 3 ", 3 * time.Second},
		{"date", now.Add(time.Minute).Format(http.TimeFormat), time.Minute},
		{"date in the past", now.Add(-time.Minute).Format(http.TimeFormat), 0},
		{"absent", "", 0},
		{"negative", "-1", 0},
		{"nonsense", "soon", 0},
		{"huge", "99999999999", 24 * time.Hour},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { assert.Equal(t, test.want, retryAfter(test.value, now)) })
	}
}

func TestParseLinks(t *testing.T) {
	tests := []struct {
		name  string
		lines []string
		want  []Link
	}{
		{
			"ice server",
			[]string{`<turn:a?transport=udp>; rel="ice-server"; username="u"; credential="p;,\"q"; credential-type="password"`},
			[]Link{{"turn:a?transport=udp", map[string]string{"rel": "ice-server", "username": "u", "credential": `p;,"q`, "credential-type": "password"}}},
		},
		{"two on a line", []string{`<a>; rel=x, <b>; REL=y`}, []Link{{"a", map[string]string{"rel": "x"}}, {"b", map[string]string{"rel": "y"}}}},
		{"two lines", []string{`<a>`, `<b>`}, []Link{{"a", map[string]string{}}, {"b", map[string]string{}}}},
		{"comma in the target", []string{`<a,b;c>; rel=x`}, []Link{{"a,b;c", map[string]string{"rel": "x"}}}},
		{"flag", []string{`<a>; flag`}, []Link{{"a", map[string]string{"flag": ""}}}},
		{"no links", []string{"", "a", "<a"}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { assert.Equal(t, test.want, parseLinks(test.lines)) })
	}
}

func FuzzParseLinks(f *testing.F) {
	f.Add(`<turn:a>; rel="ice-server"; credential="p;,\"q"`)
	f.Add(`<a>; rel="`)
	f.Add(`<a>; rel="\`)
	f.Fuzz(func(_ *testing.T, line string) { parseLinks([]string{line}) })
}
