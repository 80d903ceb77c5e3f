package api

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"rheomesh/api/webhook"
	"rheomesh/relay"
	"rheomesh/sfu"
	"rheomesh/whip"
)

// TestProblems has one row for each sentinel that a handler may return.
func TestProblems(t *testing.T) {
	for _, row := range []struct {
		name       string
		err        error
		status     int
		cause      string
		retryAfter string
	}{
		{"ErrRouterNotFound", sfu.ErrRouterNotFound, 404, "router-not-found", ""},
		{"ErrPublisherNotFound", sfu.ErrPublisherNotFound, 404, "publisher-not-found", ""},
		{"ErrSubscriberNotFound", sfu.ErrSubscriberNotFound, 404, "subscriber-not-found", ""},
		{"ErrSessionNotFound", sfu.ErrSessionNotFound, 404, "session-not-found", ""},
		{"ErrLayerNotFound", sfu.ErrLayerNotFound, 404, "layer-not-found", ""},
		{"ErrIDInvalid", sfu.ErrIDInvalid, 400, "bad-request", ""},
		{"ErrOfferInvalid", sfu.ErrOfferInvalid, 400, "sdp-invalid", ""},
		{"ErrOfferUnacceptable", sfu.ErrOfferUnacceptable, 422, "sdp-unacceptable", ""},
		{"ErrFragmentInvalid", sfu.ErrFragmentInvalid, 400, "sdp-invalid", ""},
		{"ErrFragmentUnacceptable", sfu.ErrFragmentUnacceptable, 422, "sdp-unacceptable", ""},
		{"ErrPublisherLive", sfu.ErrPublisherLive, 409, "conflict", "5"},
		{"ErrPublisherAbsent", sfu.ErrPublisherAbsent, 409, "conflict", "2"},
		{"ErrCapacity", sfu.ErrCapacity, 503, "capacity", "10"},
		{"ErrRateLimited", sfu.ErrRateLimited, 429, "rate-limited", "5"},
		{"ErrDraining", sfu.ErrDraining, 503, "draining", "10"},
		{"ErrDataTooLarge", sfu.ErrDataTooLarge, 413, "body-too-large", ""},
		{"ErrDataLabelInvalid", sfu.ErrDataLabelInvalid, 400, "bad-request", ""},
		{"ErrDataChannelLimit", sfu.ErrDataChannelLimit, 409, "conflict", ""},
		{"ErrDataUndeliverable", sfu.ErrDataUndeliverable, 409, "conflict", ""},
		{"ErrClosed", sfu.ErrClosed, 503, "draining", "10"},
		{"ErrSessionState", sfu.ErrSessionState, 409, "conflict", ""},
		{"ErrRelayNotFound", relay.ErrRelayNotFound, 404, "relay-not-found", ""},
		{"ErrLinkNotFound", relay.ErrLinkNotFound, 404, "link-not-found", ""},
		{"ErrOrderInvalid", relay.ErrOrderInvalid, 400, "bad-request", ""},
		{"ErrOrderConflict", relay.ErrOrderConflict, 409, "conflict", ""},
		{"ErrUnreachable", relay.ErrUnreachable, 502, "relay-unreachable", ""},
		{"ErrUDPBlocked", relay.ErrUDPBlocked, 502, "relay-unreachable", ""},
		{"ErrRemoteRouter", relay.ErrRemoteRouter, 404, "relay-router-not-found", ""},
		{"ErrLoop", relay.ErrLoop, 409, "relay-loop", ""},
		{"ErrTooManyHops", relay.ErrTooManyHops, 409, "relay-too-many-hops", ""},
		{"ErrDenied", relay.ErrDenied, 403, "relay-denied", ""},
		{"ErrVersion", relay.ErrVersion, 502, "relay-version", ""},
		{"ErrPeerDraining", relay.ErrPeerDraining, 503, "draining", "10"},
		{"ErrPublisherTaken", relay.ErrPublisherTaken, 409, "conflict", ""},
		{"relay.ErrCapacity", relay.ErrCapacity, 503, "capacity", "10"},
		{"relay.ErrClosed", relay.ErrClosed, 503, "draining", "10"},
		{"errRelayExists", errRelayExists, 409, "conflict", ""},
		{"ErrUnauthorized", whip.ErrUnauthorized, 401, "unauthorized", ""},
		{"ErrForbidden", whip.ErrForbidden, 403, "forbidden", ""},
		{"ErrMediaType", whip.ErrMediaType, 415, "unsupported-media-type", ""},
		{"ErrBodyTooLarge", whip.ErrBodyTooLarge, 413, "body-too-large", ""},
		{"ErrBodyInvalid", whip.ErrBodyInvalid, 400, "bad-request", ""},
		{"ErrPreconditionFailed", whip.ErrPreconditionFailed, 412, "precondition-failed", ""},
		{"ErrPreconditionRequired", whip.ErrPreconditionRequired, 428, "precondition-required", ""},
		{"ErrMethodNotAllowed", whip.ErrMethodNotAllowed, 405, "method-not-allowed", ""},
		{"ErrStreamNotFound", whip.ErrStreamNotFound, 404, "session-not-found", ""},
		{"ErrStreamLimit", whip.ErrStreamLimit, 429, "rate-limited", "2"},
		{"ErrTooManyRequests", whip.ErrTooManyRequests, 429, "rate-limited", "2"},
		{"webhook.ErrNotFound", webhook.ErrNotFound, 404, "not-found", ""},
		{"webhook.ErrLimit", webhook.ErrLimit, 409, "conflict", ""},
		{"webhook.ErrTarget", webhook.ErrTarget, 400, "bad-request", ""},
		{"webhook.ErrSecret", webhook.ErrSecret, 400, "bad-request", ""},
		{"webhook.ErrRefused", webhook.ErrRefused, 403, "forbidden", ""},
		{"webhook.ErrUnavailable", webhook.ErrUnavailable, 503, "admission-unavailable", "5"},
		{"errRouterExists", errRouterExists, 409, "conflict", ""},
		{"errCredentialRate", &tooFastError{errCredentialRate, time.Millisecond}, 429, "rate-limited", "1"},
		{"errAddressRate", &tooFastError{errAddressRate, 1500 * time.Millisecond}, 429, "rate-limited", "2"},
		{"errFailedAttempts", &tooFastError{errFailedAttempts, 6 * time.Second}, 429, "rate-limited", "6"},
		{"errRouterChanged", errRouterChanged, 412, "precondition-failed", ""},
		{"errBadRequest", errBadRequest, 400, "bad-request", ""},
		{"errMediaType", errMediaType, 415, "unsupported-media-type", ""},
		{"field of a body", fieldError("id", "wrong"), 400, "bad-request", ""},
		{"wrong content type", &mediaTypeError{accept: "application/json"}, 415, "unsupported-media-type", ""},
		{"body beyond the reader's limit", &http.MaxBytesError{Limit: 1}, 413, "body-too-large", ""},
		{"echo: not found", echo.ErrNotFound, 404, "not-found", ""},
		{"echo: method", echo.ErrMethodNotAllowed, 405, "method-not-allowed", ""},
		{"echo: something else", echo.ErrBadGateway, 500, "internal", ""},
		{"unknown", errors.New("secret"), 500, "internal", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			p, header := problemOf(fmt.Errorf("publish live/cam: %w", row.err), "r1")
			assert.Equal(t, row.status, p.Status)
			assert.Equal(t, "urn:rheomesh:problem:"+row.cause, p.Type)
			assert.Equal(t, row.retryAfter, header.Get("Retry-After"))
			assert.NotContains(t, p.Detail, "secret")
		})
	}
}

// TestSentinelsHaveRows finds every exported sentinel of the packages whose errors arrive here, in their source.
func TestSentinelsHaveRows(t *testing.T) {
	covered := map[string]bool{}
	source, err := parser.ParseFile(token.NewFileSet(), "problem.go", nil, 0)
	require.NoError(t, err)
	ast.Inspect(source, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if pkg, ok := sel.X.(*ast.Ident); ok {
				covered[pkg.Name+"."+sel.Sel.Name] = true
			}
		}
		return true
	})
	for _, pkg := range []string{"sfu", "whip"} {
		file, err := parser.ParseFile(token.NewFileSet(), "../"+pkg+"/errors.go", nil, 0)
		require.NoError(t, err)
		for name := range file.Scope.Objects {
			if strings.HasPrefix(name, "Err") && name != "ErrorHeader" {
				assert.True(t, covered[pkg+"."+name], "%s.%s has no row in outcomes: give it a cause and a row in TestProblems", pkg, name)
			}
		}
	}
}

func TestCausesHaveStatuses(t *testing.T) {
	for _, outcome := range outcomes {
		assert.NotZero(t, causes[outcome.cause].status, outcome.cause)
		assert.NotEmpty(t, causes[outcome.cause].title, outcome.cause)
	}
}

func TestHeaderOfError(t *testing.T) {
	_, header := problemOf(fmt.Errorf("x: %w", &unauthorizedError{}), "")
	assert.Equal(t, `Bearer realm="rheomesh"`, header.Get("WWW-Authenticate"))
	_, header = problemOf(&mediaTypeError{accept: "application/json"}, "")
	assert.Equal(t, "application/json", header.Get("Accept"))
}

func TestInternalIsLoggedNotShown(t *testing.T) {
	var log bytes.Buffer
	s := newTestServer(t, func(cfg *Config) {
		cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		cfg.Mount = func(e *echo.Echo) {
			e.GET("/broken", func(echo.Context) error { return errors.New("disk /dev/sda1 is gone") })
		}
	})
	recorder := s.do(request{method: "GET", path: "/broken"})
	p := requireProblem(t, recorder, 500, "internal")
	assert.NotContains(t, recorder.Body.String(), "sda1")
	id := recorder.Header().Get("X-Request-Id")
	assert.Contains(t, p.Detail, id)
	assert.Contains(t, log.String(), "disk /dev/sda1 is gone")
	assert.Contains(t, log.String(), id)
}

func TestCommittedResponseIsLeftAlone(t *testing.T) {
	s := newTestServer(t, func(cfg *Config) {
		cfg.Mount = func(e *echo.Echo) {
			e.GET("/half", func(c echo.Context) error {
				_ = c.String(http.StatusOK, "half")
				return errors.New("late")
			})
		}
	})
	recorder := s.do(request{method: "GET", path: "/half"})
	assert.Equal(t, 200, recorder.Code)
	assert.Equal(t, "half", recorder.Body.String())
}

func TestRefusalLogIsBounded(t *testing.T) {
	var log bytes.Buffer
	s := newTestServer(t, func(cfg *Config) { cfg.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	for range 1000 {
		s.do(request{method: "GET", path: "/nowhere"})
	}
	lines := strings.Count(log.String(), "request refused")
	assert.GreaterOrEqual(t, lines, refusalBurst)
	assert.Less(t, lines, 2*refusalBurst, "a client chooses how often it errs, so it must not choose how much is logged")
	assert.Positive(t, s.refusalsUnlogged.Load())
}

func TestHeadOfProblem(t *testing.T) {
	s := newTestServer(t, nil)
	server := httptest.NewServer(s.Handler())
	defer server.Close()
	response, err := http.Head(server.URL + "/nowhere")
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	assert.Equal(t, 404, response.StatusCode)
	http.DefaultClient.CloseIdleConnections()
}
