package api

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"rheomesh/whip"
)

// need is what an operation asks of a credential.
type need int

const (
	needNothing    need = iota // health, documents
	needNode                   // admin of every router
	needSome                   // admin of some router; the answer shows no more than that
	needRouter                 // admin of the router in the path
	needData                   // data, or admin, on the publisher in the body
	needPublish                // publish on the publisher in the path
	needPlay                   // the same for play
	needCapability             // a session URL: no credential, but if there is one, one for it
)

// needs tells it from the document, apart from these.
var needs = map[string]need{
	"listRouters": needSome, "streamEvents": needSome, "getWhipPublisher": needCapability, "getWhepPublisher": needCapability,
	"sendData": needData,
}

func needOf(pattern string, operation *openapi3.Operation) need {
	if n, ok := needs[operation.OperationID]; ok {
		return n
	}
	secured := operation.Security != nil && len(*operation.Security) > 0
	switch {
	case strings.Contains(pattern, "{session}"):
		return needCapability
	case !secured:
		return needNothing
	case strings.HasPrefix(pattern, "/whip/"):
		return needPublish
	case strings.HasPrefix(pattern, "/whep/"):
		return needPlay
	case strings.Contains(pattern, "{router}"):
		return needRouter
	}
	return needNode
}

// actionOf is the right action of an operation, and another one.
func actionOf(pattern string) (right, wrong string) {
	switch {
	case strings.HasPrefix(pattern, "/whip/"):
		return whip.ActionPublish, whip.ActionPlay
	case strings.HasPrefix(pattern, "/whep/"):
		return whip.ActionPlay, whip.ActionPublish
	case strings.HasSuffix(pattern, "/data"):
		return whip.ActionData, whip.ActionPublish
	}
	return ActionAdmin, whip.ActionPublish
}

// expectation is the statuses of one operation; 0 = any but 401 and 403.
type expectation struct{ none, bad, wrongRouter, wrongAction, wrongPublisher, right int }

var expectations = map[need]expectation{
	needNothing:    {},
	needNode:       {none: 401, bad: 401, wrongRouter: 403, wrongAction: 403, wrongPublisher: 403},
	needSome:       {none: 401, bad: 401, wrongRouter: 0, wrongAction: 403, wrongPublisher: 403},
	needRouter:     {none: 401, bad: 401, wrongRouter: 403, wrongAction: 403, wrongPublisher: 403},
	needData:       {none: 401, bad: 401, wrongRouter: 403, wrongAction: 403, wrongPublisher: 0}, // TestSendData has the publisher
	needPublish:    {none: 401, bad: 401, wrongRouter: 403, wrongAction: 403, wrongPublisher: 403},
	needPlay:       {none: 401, bad: 401, wrongRouter: 403, wrongAction: 403, wrongPublisher: 403},
	needCapability: {none: 0, bad: 401, wrongRouter: 403, wrongAction: 403, wrongPublisher: 403},
}

var tokenSecret = []byte("hs256-0123456789abcdef0123456789abcdef")

func signed(t *testing.T, token Token) string {
	t.Helper()
	if token.Lifetime == 0 {
		token.Lifetime = time.Hour
	}
	text, err := token.Sign(tokenSecret, time.Now())
	require.NoError(t, err)
	return text
}

// TestAuthorization is the matrix of every operation that the document has and every kind of credential.
// TestDocumentIsComplete makes sure that there is no route which the document has not.
func TestAuthorization(t *testing.T) {
	verifier, err := NewTokenVerifier(TokenConfig{HS256Secret: tokenSecret})
	require.NoError(t, err)
	s := newFullServer(t, Credentials{Keys: testCredentials().Keys, Tokens: verifier}, nil)
	count := 0
	for _, pattern := range slices.Sorted(maps.Keys(document().Paths.Map())) {
		item := document().Paths.Value(pattern)
		for method, operation := range item.Operations() {
			count++
			t.Run(method+" "+pattern, func(t *testing.T) { s.checkAuthorization(t, method, pattern, operation) })
		}
	}
	assert.Greater(t, count, 35)
}

func (s *Server) checkAuthorization(t *testing.T, method, pattern string, operation *openapi3.Operation) {
	right, wrong := actionOf(pattern)
	grants := func(router, action string) []Grant {
		return []Grant{{Routers: []string{router}, Actions: []string{action}}}
	}
	want := expectations[needOf(pattern, operation)]
	for _, row := range []struct {
		name, credential string
		want             int
	}{
		{"none", "", want.none},
		{"unknown key", "nobody-0123456789abcdef0123456789ab", want.bad},
		{"token with a wrong signature", signed(t, Token{Grants: grants("*", right)}) + "x", want.bad},
		{"expired token", signed(t, Token{Grants: grants("*", right), Lifetime: -time.Hour}), want.bad},
		{"wrong router", signed(t, Token{Grants: grants("room-*", right)}), want.wrongRouter},
		{"wrong action", signed(t, Token{Grants: grants("*", wrong)}), want.wrongAction},
		{"wrong publisher", signed(t, Token{Grants: grants("*", right), Publishers: []string{"other"}}), want.wrongPublisher},
		{"right token", signed(t, Token{Grants: grants("*", right)}), want.right},
		{"right key", opsSecret, want.right},
	} {
		got := s.try(method, pattern, row.credential)
		if row.want != 0 {
			assert.Equal(t, row.want, got.Code, "%s: %s", row.name, got.Body)
		} else {
			assert.NotContains(t, []int{401, 403, 429, 500}, got.Code, "%s: %s", row.name, got.Body)
		}
		if got.Code == http.StatusUnauthorized {
			assert.Contains(t, got.Header().Get("WWW-Authenticate"), "Bearer", row.name)
		}
		if row.name == "wrong router" {
			assert.NotContains(t, got.Body.String(), `"id":"live"`, "what a credential may not see")
		}
	}
}

// TestPublisherToken is a token for one encoder.
func TestPublisherToken(t *testing.T) {
	verifier, err := NewTokenVerifier(TokenConfig{HS256Secret: tokenSecret})
	require.NoError(t, err)
	s := newFullServer(t, Credentials{Tokens: verifier}, nil)
	token := signed(t, Token{Publishers: []string{"cam1", "stage-*"}, Grants: []Grant{{Routers: []string{"live"}, Actions: []string{"publish"}}}})
	for _, row := range []struct {
		path string
		want int
	}{
		{"/whip/live/cam1", 400},
		{"/whip/live/stage-left", 400},
		{"/whip/live/cam2", 403},
		{"/whip/live/cam11", 403},
		{"/whip/other/cam1", 403},
		{"/whep/live/cam1", 403},
		{"/api/v1/routers/live", 403},
		{"/api/v1/node", 403},
		{"/api/v1/events", 403},
	} {
		method := "POST"
		if strings.HasPrefix(row.path, "/api") {
			method = "GET"
		}
		assert.Equal(t, row.want, s.try(method, row.path, token).Code, row.path)
	}
}
