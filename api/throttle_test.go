package api

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/time/rate"
)

// from sends a request of a client at address.
func (s *Server) from(address, method, path, token string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://127.0.0.1:8080"+path, strings.NewReader("{}"))
	r.RemoteAddr = netip.AddrPortFrom(netip.MustParseAddr(address), 4711).String()
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	recorder := httptest.NewRecorder()
	s.Handler().ServeHTTP(recorder, r)
	return recorder
}

// limitedServer has the default limits and some keys.
func limitedServer(t *testing.T) *Server {
	return newFullServer(t, testCredentials(), func(cfg *Config) { cfg.Limits = Limits{} })
}

func TestPostRateOfAddress(t *testing.T) {
	for _, path := range []string{"/whip/live/cam", "/whep/live/cam", "/api/v1/routers"} {
		t.Run(path, func(t *testing.T) {
			s := limitedServer(t)
			for i := range defaultLimits.PostBurstPerIP {
				require.Equal(t, 401, s.from("192.0.2.1", "POST", path, "").Code, "POST %d is within the burst", i)
			}
			beyond := s.from("192.0.2.1", "POST", path, "")
			requireProblem(t, beyond, 429, "rate-limited")
			wait, err := strconv.Atoi(beyond.Header().Get("Retry-After"))
			require.NoError(t, err)
			assert.Equal(t, 1, wait)
			if strings.HasPrefix(path, "/wh") {
				assert.Equal(t, "*", beyond.Header().Get("Access-Control-Allow-Origin"), "pages must be able to read the refusal")
			}
			assert.Equal(t, 401, s.from("192.0.2.2", "POST", path, "").Code, "another address")
			assert.NotEqual(t, 429, s.from("192.0.2.1", "GET", path, "").Code, "another method")
			assert.EqualValues(t, 1, s.Rejected()["post-rate-ip"])
		})
	}
}

func TestPostRateOfNetwork(t *testing.T) {
	s := limitedServer(t)
	for i := range defaultLimits.PostBurstPerIP {
		require.Equal(t, 401, s.from(fmt.Sprintf("2001:db8:0:1::%x", i+1), "POST", "/api/v1/routers", "").Code)
	}
	assert.Equal(t, 429, s.from("2001:db8:0:1:ffff::1", "POST", "/api/v1/routers", "").Code, "the same /64")
	assert.Equal(t, 401, s.from("2001:db8:0:2::1", "POST", "/api/v1/routers", "").Code, "another /64")
}

func TestPostRateOfCredential(t *testing.T) {
	s := limitedServer(t)
	for i := range defaultLimits.PostBurst {
		require.Equal(t, 201, s.from("127.0.0.1", "POST", "/api/v1/routers", opsSecret).Code, "POST %d is within the burst", i)
	}
	requireProblem(t, s.from("127.0.0.1", "POST", "/api/v1/routers", opsSecret), 429, "rate-limited")
	requireProblem(t, s.from("::1", "POST", "/whip/live/cam", opsSecret), 429, "rate-limited")
	assert.Equal(t, 403, s.from("127.0.0.1", "POST", "/api/v1/routers", roomSecret).Code, "another credential")
	assert.Equal(t, 401, s.from("127.0.0.1", "POST", "/api/v1/routers", "").Code, "loopback has no limit of its own")
	assert.EqualValues(t, 2, s.Rejected()["post-rate-credential"])
}

func TestFailedCredentials(t *testing.T) {
	s := limitedServer(t)
	paths := []string{"/api/v1/node", "/whip/live/cam/unknown", "/whep/live/cam"}
	for i := range defaultLimits.FailedCredentialsPerMinutePerIP {
		require.Equal(t, 401, s.from("192.0.2.1", "GET", paths[i%len(paths)], "wrong").Code, "attempt %d", i)
	}
	beyond := s.from("192.0.2.1", "GET", "/api/v1/node", opsSecret)
	requireProblem(t, beyond, 429, "rate-limited")
	assert.Equal(t, "6", beyond.Header().Get("Retry-After"), "ten in a minute")
	assert.Equal(t, 401, s.from("192.0.2.1", "GET", "/api/v1/node", "").Code, "without a credential there is nothing to guess")
	assert.Equal(t, 204, s.from("192.0.2.1", "GET", "/whep/live/cam", "").Code)
	assert.Equal(t, 200, s.from("192.0.2.2", "GET", "/api/v1/node", opsSecret).Code, "another address")
	assert.EqualValues(t, 1, s.Rejected()["failed-credentials"])

	for range 3 * defaultLimits.FailedCredentialsPerMinutePerIP {
		require.Equal(t, 401, s.from("127.0.0.1", "GET", "/api/v1/node", "wrong").Code, "loopback may be a proxy of many")
	}
	for range 3 * defaultLimits.FailedCredentialsPerMinutePerIP {
		require.Equal(t, 200, s.from("192.0.2.3", "GET", "/api/v1/node", opsSecret).Code, "right ones do not count")
	}
}

// TestThrottleHoldsNoWorker: what is too fast is answered at once.
func TestThrottleHoldsNoWorker(t *testing.T) {
	s := limitedServer(t)
	start := time.Now()
	for range 1000 {
		s.from("192.0.2.1", "POST", "/api/v1/routers", "wrong")
	}
	assert.Less(t, time.Since(start), 5*time.Second)
	assert.EqualValues(t, 1000-defaultLimits.FailedCredentialsPerMinutePerIP, s.Rejected()["failed-credentials"])
}

func TestBucketsRefill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b buckets[string]
		b.reset(2, 3)
		for range 3 {
			require.Zero(t, b.take("a", time.Now()))
		}
		assert.InDelta(t, 500*time.Millisecond, b.take("a", time.Now()), float64(time.Millisecond))
		assert.InDelta(t, 500*time.Millisecond, b.wait("a", time.Now()), float64(time.Millisecond))
		assert.Zero(t, b.wait("b", time.Now()))
		assert.Equal(t, 1, b.size(), "asking remembers nothing")
		time.Sleep(500 * time.Millisecond)
		assert.Zero(t, b.take("a", time.Now()))
		assert.NotZero(t, b.take("a", time.Now()))
		b.reset(rate.Limit(1), 1)
		assert.Zero(t, b.take("a", time.Now()), "new limits start afresh")
	})
}

func TestBucketsAreBounded(t *testing.T) {
	var b buckets[[sha256.Size]byte]
	b.reset(1, 1)
	now := time.Now()
	key := func(i int) [sha256.Size]byte { return sha256.Sum256([]byte(strconv.Itoa(i))) }
	for i := range maxBuckets {
		require.Zero(t, b.take(key(i), now))
	}
	require.NotZero(t, b.take(key(0), now), "still remembered, and now the last used")
	require.Zero(t, b.take(key(maxBuckets), now))
	assert.Equal(t, maxBuckets, b.size())
	assert.NotZero(t, b.take(key(0), now), "the longest unused was forgotten, which is another")
	assert.Zero(t, b.take(key(1), now))
	assert.Equal(t, maxBuckets, b.size())
}

func TestSetLimits(t *testing.T) {
	s := limitedServer(t)
	s.SetLimits(Limits{MaxJSONBytes: 10, PostBurstPerIP: 1})
	assert.Equal(t, 413, s.do(request{"PUT", routersPath + "/a", `{"metadata":{"a":"b"}}`, []string{"Authorization", "Bearer " + opsSecret}}).Code)
	assert.Equal(t, 401, s.from("192.0.2.9", "POST", "/api/v1/routers", "").Code)
	assert.Equal(t, 429, s.from("192.0.2.9", "POST", "/api/v1/routers", "").Code)
	s.SetLimits(Limits{})
	assert.Equal(t, 201, s.do(request{"PUT", routersPath + "/a", `{"metadata":{"a":"b"}}`, []string{"Authorization", "Bearer " + opsSecret}}).Code)
	assert.Equal(t, 401, s.from("192.0.2.9", "POST", "/api/v1/routers", "").Code)
	assert.EqualValues(t, 1, s.Rejected()["body"])
}

func TestRejectedConnectionsCount(t *testing.T) {
	s := newTestServer(t, nil)
	addr := serve(t, s, 1, 1)
	open, status := get(t, addr)
	require.Equal(t, "HTTP/1.1 200 OK", status)
	beyond, status := get(t, addr)
	require.Empty(t, status)
	require.NoError(t, beyond.Close())
	require.NoError(t, open.Close())
	assert.EqualValues(t, 1, s.Rejected()["http-connections"])
}

func TestPresented(t *testing.T) {
	for value, want := range map[string]string{"": "", "Bearer": "", "Bearer x": "x", "bearer  x ": "x", "x": "x", "Basic eA==": "eA=="} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Authorization", value)
		assert.Equal(t, want, presented(r), "%q", value)
	}
}
