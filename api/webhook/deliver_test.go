package webhook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestSignature lets the reference library verify what a receiver gets.
func TestSignature(t *testing.T) {
	rec := newReceiver(t, nil)
	s := newTestSet(t, private)
	r := add(t, s, rec.URL)
	s.Deliver(event("evt-1", "a"))
	rec.wait(t, 1)
	got := rec.requests()[0]
	verifier, err := standardwebhooks.NewWebhook(string(r.Secret))
	require.NoError(t, err)
	require.NoError(t, verifier.Verify(got.body, got.header))
	require.Error(t, verifier.Verify(append(got.body, ' '), got.header), "the body is signed")
	forged := got.header.Clone()
	forged.Set("Webhook-Id", "evt-2")
	require.Error(t, verifier.Verify(got.body, forged), "and so is the id")
	require.Equal(t, "evt-1", got.header.Get("Webhook-Id"))
	require.Equal(t, "application/json", got.header.Get("Content-Type"))
	require.JSONEq(t, `{"id":"evt-1"}`, string(got.body))
	eventually(t, s, r.ID, func(h Hook) bool { return h.Delivered == 1 && h.Queued == 0 && h.LastError == "" })
}

func TestFilter(t *testing.T) {
	rec := newReceiver(t, nil)
	s := newTestSet(t, private)
	r := add(t, s, rec.URL, "router.created")
	s.Deliver(event("evt-1", "a"))
	wanted := event("evt-2", "a")
	wanted.Type = "router.created"
	s.Deliver(wanted)
	eventually(t, s, r.ID, func(h Hook) bool { return h.Delivered == 1 })
	require.Equal(t, "evt-2", rec.requests()[0].header.Get("Webhook-Id"))
}

// TestOrder delivers events of several publishers to a receiver that fails now and then.
func TestOrder(t *testing.T) {
	var mu sync.Mutex
	taken := map[string][]int{}
	failed := map[string]bool{}
	s := newTestSet(t, private)
	s.post = func(_ context.Context, _ string, _ Secret, id string, _ []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		var key string
		var n int
		_, err := fmt.Sscanf(id, "%1s-%d", &key, &n)
		if n == 3 && !failed[id] {
			failed[id] = true
			return 500, err
		}
		taken[key] = append(taken[key], n)
		return 204, err
	}
	r := add(t, s, "http://192.0.2.1/")
	for n := range 20 {
		for _, key := range []string{"a", "b", "c", "d", "e", "f"} {
			s.Deliver(event(fmt.Sprintf("%s-%d", key, n), key))
		}
	}
	eventually(t, s, r.ID, func(h Hook) bool { return h.Delivered == 120 && h.Failed == 6 })
	mu.Lock()
	defer mu.Unlock()
	require.Len(t, taken, 6)
	for key, order := range taken {
		require.Len(t, order, 20, key)
		require.True(t, slices.IsSorted(order), "%s: %v", key, order)
	}
}

func TestRetries(t *testing.T) {
	for _, row := range []struct {
		name      string
		answer    func(http.ResponseWriter)
		lastError string
	}{
		{"server error", func(w http.ResponseWriter) { w.WriteHeader(500) }, "status 500 Internal Server Error"},
		{"client error", func(w http.ResponseWriter) { w.WriteHeader(410) }, "status 410 Gone"},
		{"redirect", func(w http.ResponseWriter) { w.Header().Set("Location", "/elsewhere"); w.WriteHeader(307) }, "redirect 307, which is not followed"},
		{"broken connection", func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, "no answer: EOF"},
	} {
		t.Run(row.name, func(t *testing.T) {
			rec := newReceiver(t, func(n int, w http.ResponseWriter, _ *http.Request) {
				if n == 1 {
					row.answer(w)
				}
			})
			s := newTestSet(t, private)
			r := add(t, s, rec.URL)
			start := time.Now()
			s.Deliver(event("evt-1", "a"))
			h := eventually(t, s, r.ID, func(h Hook) bool { return h.Delivered == 1 })
			require.GreaterOrEqual(t, time.Since(start), firstDelay*3/4)
			require.EqualValues(t, 1, h.Failed)
			require.Equal(t, row.lastError, h.LastError)
			requests := rec.requests()
			require.Len(t, requests, 2)
			require.Equal(t, requests[0].header.Get("Webhook-Id"), requests[1].header.Get("Webhook-Id"))
			require.Equal(t, requests[0].body, requests[1].body)
		})
	}
}

// TestRetryTiming runs all tries of an event against a receiver that always fails, in a bubble whose clock jumps.
func TestRetryTiming(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSet(Config{})
		var tries []time.Time
		s.post = func(context.Context, string, Secret, string, []byte) (int, error) {
			tries = append(tries, time.Now())
			return 503, nil
		}
		r, err := s.Add(t.Context(), "http://8.8.8.8/", nil, "")
		require.NoError(t, err)
		s.Deliver(event("evt-1", "a"))
		time.Sleep(maxEventAge)
		synctest.Wait()
		require.Len(t, tries, maxTries)
		for i := range tries[1:] {
			gap, want := tries[i+1].Sub(tries[i]), min(firstDelay<<i, maxDelay)
			assert.GreaterOrEqual(t, gap, want*3/4, "try %d", i+2)
			assert.LessOrEqual(t, gap, want*5/4+1, "try %d", i+2)
		}
		h, err := s.Find(r.ID)
		require.NoError(t, err)
		require.EqualValues(t, 1, h.Expired)
		require.EqualValues(t, maxTries, h.Failed)
		require.Zero(t, h.Queued)
		require.Equal(t, "status 503 Service Unavailable", h.LastError)

		tries = nil
		old := event("evt-2", "a")
		old.Time = time.Now().Add(-maxEventAge + 2*time.Second)
		s.Deliver(old)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.LessOrEqual(t, len(tries), 2, "an old event is given up early")
		require.NotEmpty(t, tries)
		s.Close(t.Context())
	})
}

func TestRetryDelay(t *testing.T) {
	seen := map[time.Duration]bool{}
	for range 50 {
		seen[retryDelay(1)] = true
		require.LessOrEqual(t, retryDelay(1000), maxDelay*5/4+1)
	}
	require.Greater(t, len(seen), 25, "jitter")
}

// TestTimeout uses a receiver that takes the request and never answers.
func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSet(Config{})
		s.post = func(ctx context.Context, _ string, _ Secret, _ string, _ []byte) (int, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		}
		r, err := s.Add(t.Context(), "http://8.8.8.8/", nil, "")
		require.NoError(t, err)
		start := time.Now()
		s.Deliver(event("evt-1", "a"))
		for {
			time.Sleep(100 * time.Millisecond)
			h, err := s.Find(r.ID)
			require.NoError(t, err)
			if h.Failed == 1 {
				require.Equal(t, "timeout", h.LastError)
				break
			}
		}
		require.InDelta(t, tryTimeout.Seconds(), time.Since(start).Seconds(), 0.2)
		closeNow(s)
	})
}

// hanging answers a request when the client has gone.
func hanging(_ int, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// TestHangingReceiver floods a webhook whose receiver never answers: what the node holds for it is bounded, and counted.
func TestHangingReceiver(t *testing.T) {
	rec := newReceiver(t, hanging)
	s := newTestSet(t, private)
	r := add(t, s, rec.URL)
	body := []byte(`"` + strings.Repeat("x", 2000) + `"`)
	const events = 50_000
	before := heap()
	for n := range events {
		s.Deliver(Event{ID: fmt.Sprint("evt-", n), Type: "x", Key: fmt.Sprint(n), Time: time.Now(), Body: slices.Clone(body)})
	}
	h := eventually(t, s, r.ID, func(h Hook) bool { return h.Queued > 0 })
	grown := int64(heap()) - int64(before)
	t.Logf("%d events of %d bytes: %d queued, %d dropped, heap grew by %d KiB", events, len(body), h.Queued, h.Dropped, grown>>10)
	require.LessOrEqual(t, h.Queued, lanes*(laneEvents+1))
	require.EqualValues(t, events, uint64(h.Queued)+h.Dropped)
	require.Less(t, grown, int64(lanes*(laneBytes+laneBytes/2)), "bounded by the lanes")
	require.EqualValues(t, h.Dropped, s.Totals().Dropped)
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestLaneBounds(t *testing.T) {
	l := newLane(nil)
	for n := range laneEvents {
		require.Zero(t, l.push(Event{ID: fmt.Sprint(n)}), "at the limit")
	}
	require.Equal(t, 1, l.push(Event{ID: "one more"}))
	e, ok := l.take()
	require.True(t, ok)
	require.Equal(t, "1", e.ID, "the oldest went")
	require.Equal(t, laneEvents, l.waiting(), "the one being tried counts")

	l = newLane(nil)
	large := Event{Body: make([]byte, laneBytes/4)}
	for range 4 {
		require.Zero(t, l.push(large), "at the limit")
	}
	require.Equal(t, 1, l.push(large))
	require.Equal(t, 4, l.push(Event{Body: make([]byte, 2*laneBytes)}), "a giant is kept alone")
	require.Equal(t, 1, l.waiting())
}

func TestLongAnswerIsNotRead(t *testing.T) {
	var wrote int
	var failed error
	rec := newReceiver(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
		chunk := make([]byte, 64<<10)
		for wrote < 64<<20 && failed == nil {
			var n int
			n, failed = w.Write(chunk)
			wrote += n
		}
	})
	s := newTestSet(t, private)
	r := add(t, s, rec.URL)
	s.Deliver(event("evt-1", "a"))
	eventually(t, s, r.ID, func(h Hook) bool { return h.Delivered == 1 })
	rec.Close() // waits for the handler
	require.Error(t, failed, "the connection was closed")
	require.Less(t, wrote, 32<<20)
}

func TestRemoveEndsDelivery(t *testing.T) {
	rec := newReceiver(t, hanging)
	s := newTestSet(t, private)
	r := add(t, s, rec.URL)
	s.Deliver(event("evt-1", "a"))
	rec.wait(t, 1)
	require.NoError(t, s.Remove(r.ID))
	require.ErrorIs(t, s.Remove(r.ID), ErrNotFound)
	s.Deliver(event("evt-2", "a"))
	require.Len(t, rec.requests(), 1)
	_, err := s.Find(r.ID)
	require.ErrorIs(t, err, ErrNotFound)
	require.EqualValues(t, 1, s.Totals().Expired, "what was under way is counted as lost")
}

func TestCloseDeliversWhatWaits(t *testing.T) {
	rec := newReceiver(t, nil)
	s := NewSet(private)
	add(t, s, rec.URL)
	for n := range 100 {
		s.Deliver(event(fmt.Sprint("evt-", n), fmt.Sprint(n)))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	s.Close(ctx)
	s.Close(ctx)
	require.EqualValues(t, 100, s.Totals().Delivered)
	require.Len(t, rec.requests(), 100)
}

func TestCloseIsBounded(t *testing.T) {
	rec := newReceiver(t, hanging)
	s := NewSet(private)
	add(t, s, rec.URL)
	for n := range 100 {
		s.Deliver(event(fmt.Sprint("evt-", n), fmt.Sprint(n)))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	s.Close(ctx)
	require.Less(t, time.Since(start), 3*time.Second)
	require.ErrorIs(t, ctx.Err(), context.DeadlineExceeded)
}

func TestAddressIsCheckedAtEachConnection(t *testing.T) {
	rec := newReceiver(t, nil)
	s := newTestSet(t, Config{}) // nothing private
	hooks := []string{rec.URL, strings.Replace(rec.URL, "127.0.0.1", "localhost", 1)}
	for _, url := range hooks {
		// as if the name had resolved to something else when it was registered
		s.mu.Lock()
		s.hooks[url] = s.start(Registration{ID: url, URL: url, Secret: NewSecret()})
		s.mu.Unlock()
	}
	s.Deliver(event("evt-1", "a"))
	for _, id := range hooks {
		h := eventually(t, s, id, func(h Hook) bool { return h.Failed > 0 })
		require.Equal(t, "address not permitted", h.LastError)
	}
	require.Empty(t, rec.requests())
}

func TestProxyOfTheEnvironmentIsNotUsed(t *testing.T) {
	proxy := newReceiver(t, nil)
	t.Setenv("HTTP_PROXY", proxy.URL)
	rec := newReceiver(t, nil)
	c := newClient(Rule{AllowPrivate: true})
	defer c.close()
	status, err := c.post(t.Context(), rec.URL, "", "id", nil)
	require.NoError(t, err)
	require.Equal(t, 200, status)
	require.Empty(t, proxy.requests())
}

func TestDescribe(t *testing.T) {
	for _, row := range []struct {
		status int
		err    error
		want   string
	}{
		{200, nil, ""},
		{204, nil, ""},
		{299, nil, ""},
		{302, nil, "redirect 302, which is not followed"},
		{0, fmt.Errorf("x: %w", context.DeadlineExceeded), "timeout"},
		{0, context.Canceled, "interrupted"},
		{0, fmt.Errorf("x: %w", ErrTarget), "address not permitted"},
		{0, fmt.Errorf("Post \"http://h/?token=t\": %w", io.EOF), "no answer: EOF"},
		{0, errors.New("plain"), "no answer: plain"},
	} {
		assert.Equal(t, row.want, describe(row.status, row.err))
	}
}
