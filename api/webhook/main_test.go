package webhook

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// received is one request as a receiver saw it.
type received struct {
	header http.Header
	body   []byte
}

// receiver is an HTTP server that answers by a function and keeps what it got.
type receiver struct {
	*httptest.Server
	mu   sync.Mutex // guards got
	got  []received
	came chan struct{} // capacity 4096: one token per request
}

func newReceiver(t *testing.T, answer func(n int, w http.ResponseWriter, r *http.Request)) *receiver {
	t.Helper()
	rec := &receiver{came: make(chan struct{}, 4096)}
	rec.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // a request that breaks off is none
		rec.mu.Lock()
		rec.got = append(rec.got, received{r.Header, body})
		n := len(rec.got)
		rec.mu.Unlock()
		rec.came <- struct{}{}
		if answer != nil {
			answer(n, w, r)
		}
	}))
	t.Cleanup(rec.Close)
	return rec
}

func (r *receiver) requests() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]received(nil), r.got...)
}

// wait returns when n more requests have come.
func (r *receiver) wait(t *testing.T, n int) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for range n {
		select {
		case <-r.came:
		case <-deadline:
			t.Fatal("the request did not come")
		}
	}
}

func newTestSet(t *testing.T, cfg Config) *Set {
	t.Helper()
	s := NewSet(cfg)
	t.Cleanup(func() { closeNow(s) })
	return s
}

// closeNow cuts off what is under way.
func closeNow(s *Set) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s.Close(ctx)
}

var private = Config{Rule: Rule{AllowPrivate: true}}

func event(id, key string) Event {
	return Event{ID: id, Type: "publisher.live", Key: key, Time: time.Now(), Body: []byte(`{"id":"` + id + `"}`)}
}

func add(t *testing.T, s *Set, url string, events ...string) Registration {
	t.Helper()
	r, err := s.Add(t.Context(), url, events, "")
	require.NoError(t, err)
	return r
}

// eventually waits for the status of a webhook.
func eventually(t *testing.T, s *Set, id string, ok func(Hook) bool) Hook {
	t.Helper()
	var h Hook
	require.Eventually(t, func() bool {
		var err error
		h, err = s.Find(id)
		return err == nil && ok(h)
	}, 10*time.Second, 2*time.Millisecond)
	return h
}
