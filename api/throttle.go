package api

import (
	"container/list"
	"crypto/sha256"
	"errors"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"golang.org/x/time/rate"

	"rheomesh/whip"
)

// Why a Throttle refuses. Each is counted under its name in Server.Rejected.
var (
	errCredentialRate = errors.New("too many POST requests with this credential")
	errAddressRate    = errors.New("too many POST requests from this address")
	errFailedAttempts = errors.New("too many wrong credentials from this address")
)

// maxBuckets bounds what a Throttle remembers of each kind, about 2 MiB; beyond it the longest unused is forgotten.
const maxBuckets = 8192

// Throttle bounds how fast clients create things and guess credentials. Nothing waits in it: what is too fast is
// refused at once, so slow guessing holds no worker either. Loopback addresses stand for many clients, behind a proxy
// or in a test, and count only by their credentials. It is safe for concurrent use.
type Throttle struct {
	byCredential buckets[[sha256.Size]byte] // by the digest: short, and no secret
	byAddress    buckets[netip.Prefix]
	failures     buckets[netip.Prefix]
}

// NewThrottle returns a Throttle that lets through what limits allow.
func NewThrottle(limits Limits) *Throttle {
	t := &Throttle{}
	t.Set(limits)
	return t
}

// Set makes limits count from now on, with every client at its full burst again.
func (t *Throttle) Set(limits Limits) {
	limits = limits.withDefaults()
	t.byCredential.reset(rate.Limit(limits.PostsPerSecond), limits.PostBurst)
	t.byAddress.reset(rate.Limit(limits.PostsPerSecondPerIP), limits.PostBurstPerIP)
	t.failures.reset(rate.Limit(limits.FailedCredentialsPerMinutePerIP)/60, limits.FailedCredentialsPerMinutePerIP)
}

// Middleware refuses what is too fast, and counts the credentials that next finds wrong.
func (t *Throttle) Middleware(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		now, credential := time.Now(), presented(c.Request())
		address, counted := clientNetwork(c)
		if err := t.admit(c.Request().Method, address, counted, credential, now); err != nil {
			return err
		}
		err := next(c)
		if counted && credential != "" && errors.Is(err, whip.ErrUnauthorized) {
			t.failures.take(address, now)
		}
		return err
	}
}

func (t *Throttle) admit(method string, address netip.Prefix, counted bool, credential string, now time.Time) error {
	if counted && credential != "" {
		if wait := t.failures.wait(address, now); wait > 0 {
			return &tooFastError{errFailedAttempts, wait}
		}
	}
	if method != http.MethodPost {
		return nil
	}
	if counted {
		if wait := t.byAddress.take(address, now); wait > 0 {
			return &tooFastError{errAddressRate, wait}
		}
	}
	if credential != "" {
		if wait := t.byCredential.take(sha256.Sum256([]byte(credential)), now); wait > 0 {
			return &tooFastError{errCredentialRate, wait}
		}
	}
	return nil
}

// presented is the credential of a request, which may be a wrong one; "" = none.
func presented(r *http.Request) string {
	value := strings.TrimSpace(r.Header.Get(echo.HeaderAuthorization))
	if scheme, token, found := strings.Cut(value, " "); found || strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token)
	}
	return value
}

// clientNetwork is what counts as one client's address, and whether it counts at all.
func clientNetwork(c echo.Context) (network netip.Prefix, counted bool) {
	ip, err := netip.ParseAddr(c.RealIP())
	if err != nil || ip.Unmap().IsLoopback() {
		return netip.Prefix{}, false
	}
	return networkOf(ip), true
}

// tooFastError is a refusal that tells when to come again.
type tooFastError struct {
	cause error
	wait  time.Duration
}

func (e *tooFastError) Error() string { return e.cause.Error() }
func (e *tooFastError) Unwrap() error { return e.cause }

func (e *tooFastError) Header() http.Header {
	return http.Header{echo.HeaderRetryAfter: {strconv.Itoa(max(1, int(math.Ceil(e.wait.Seconds()))))}}
}

// buckets are token buckets by key, at most maxBuckets of them. Call reset first.
type buckets[K comparable] struct {
	mu    sync.Mutex // guards the fields below
	limit rate.Limit
	burst int
	byKey map[K]*list.Element // of *bucket[K]
	used  list.List           // of *bucket[K], the last used first
}

type bucket[K comparable] struct {
	key    K
	tokens *rate.Limiter
}

func (b *buckets[K]) reset(limit rate.Limit, burst int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.limit, b.burst, b.byKey = limit, burst, map[K]*list.Element{}
	b.used.Init()
}

// take takes a token, or returns how long it is until there is one.
func (b *buckets[K]) take(key K, now time.Time) (wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	tokens := b.bucketLocked(key)
	if tokens.AllowN(now, 1) {
		return 0
	}
	return b.untilTokenLocked(tokens, now)
}

// wait returns how long it is until there is a token, and takes none. A key that never took one is not remembered.
func (b *buckets[K]) wait(key K, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.byKey[key] == nil {
		return 0
	}
	return b.untilTokenLocked(b.bucketLocked(key), now)
}

func (b *buckets[K]) untilTokenLocked(tokens *rate.Limiter, now time.Time) time.Duration {
	missing := 1 - tokens.TokensAt(now)
	if missing <= 0 {
		return 0
	}
	return time.Duration(missing / float64(b.limit) * float64(time.Second))
}

func (b *buckets[K]) bucketLocked(key K) *rate.Limiter {
	if element := b.byKey[key]; element != nil {
		b.used.MoveToFront(element)
		return element.Value.(*bucket[K]).tokens
	}
	if len(b.byKey) >= maxBuckets {
		oldest := b.used.Back()
		delete(b.byKey, b.used.Remove(oldest).(*bucket[K]).key)
	}
	fresh := &bucket[K]{key, rate.NewLimiter(b.limit, b.burst)}
	b.byKey[key] = b.used.PushFront(fresh)
	return fresh.tokens
}

// size is how many keys are remembered.
func (b *buckets[K]) size() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.byKey)
}
