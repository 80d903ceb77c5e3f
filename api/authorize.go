package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync/atomic"

	"rheomesh/whip"
)

// ActionAdmin is what everything under /api/v1 asks for. Publishing and playing are whip's actions.
const ActionAdmin = "admin"

// Key is one API key. The secret itself is not kept.
type Key struct {
	ID     string
	Digest [sha256.Size]byte // SHA-256 of the secret; enough, because secrets are long and random
	Grants []Grant
}

// Grant permits actions in the routers whose id matches one of the patterns, in which * stands for any characters.
type Grant struct {
	Routers []string `json:"routers"`
	Actions []string `json:"actions"`
}

// Credentials are what a node accepts. Without any, everything is permitted to everyone.
type Credentials struct {
	Keys   []Key
	Tokens *TokenVerifier // nil = no JWTs
}

// Close stops what fetches keys for tokens.
func (c Credentials) Close() {
	if c.Tokens != nil {
		c.Tokens.Close()
	}
}

// Authorizer decides who may do what. It is safe for concurrent use.
type Authorizer struct{ accepted atomic.Pointer[Credentials] }

// NewAuthorizer returns an Authorizer that accepts c, which it then owns.
func NewAuthorizer(c Credentials) *Authorizer {
	a := &Authorizer{}
	a.Replace(c)
	return a
}

// Replace makes c count from the next request on, and returns what counted before. Sessions that exist go on.
func (a *Authorizer) Replace(c Credentials) (former Credentials) {
	if old := a.accepted.Swap(&c); old != nil {
		former = *old
	}
	return former
}

// Open tells whether no credential is asked for.
func (a *Authorizer) Open() bool {
	c := a.accepted.Load()
	return len(c.Keys) == 0 && c.Tokens == nil
}

// Authorize returns nil when r may do action on a publisher of the router, else an error that wraps whip.ErrUnauthorized
// or whip.ErrForbidden.
func (a *Authorizer) Authorize(r *http.Request, action, router, publisher string) error {
	who, err := a.identify(r)
	if err != nil {
		return err
	}
	return who.mayPublisher(action, router, publisher)
}

// principal is who sent a request.
type principal struct {
	anybody    bool   // no credential is asked for
	name       string // of the key or the token, for errors
	grants     []Grant
	publishers []string // patterns; nil = not restricted to publishers
}

// identify finds the holder of the request's credential.
func (a *Authorizer) identify(r *http.Request) (principal, error) {
	if a.Open() {
		return principal{anybody: true}, nil
	}
	token, err := bearer(r)
	if err != nil {
		return principal{}, err
	}
	return a.accepted.Load().identify(r.Context(), token)
}

// identify compares the digest of the credential with that of every key, and always with all of them: how long it takes
// tells nothing about which keys exist.
func (c *Credentials) identify(ctx context.Context, token string) (principal, error) {
	digest := sha256.Sum256([]byte(token))
	match := -1
	for i := range c.Keys {
		match = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(digest[:], c.Keys[i].Digest[:]), i, match)
	}
	if match >= 0 {
		return principal{name: "key " + c.Keys[match].ID, grants: c.Keys[match].Grants}, nil
	}
	if c.Tokens != nil && looksLikeJWT(token) {
		return c.Tokens.identify(ctx, token)
	}
	return principal{}, &unauthorizedError{hint: invalidToken}
}

// bearer returns the credential of r (RFC 6750 section 2.1; the scheme's case is free, RFC 9110 section 11.1).
func bearer(r *http.Request) (string, error) {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return "", &unauthorizedError{}
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", &unauthorizedError{}
	}
	return token, nil
}

// may asks for action in a router as a whole, which a credential that is restricted to publishers never has.
func (p principal) may(action, router string) error {
	if p.anybody || p.publishers == nil && p.granted(action, router) {
		return nil
	}
	return fmt.Errorf("%s in router %s with %s: %w", action, router, p.name, whip.ErrForbidden)
}

// mayPublisher asks for action on one publisher of a router.
func (p principal) mayPublisher(action, router, publisher string) error {
	if p.anybody || p.granted(action, router) && (p.publishers == nil || matchesAny(p.publishers, publisher)) {
		return nil
	}
	return fmt.Errorf("%s on %s/%s with %s: %w", action, router, publisher, p.name, whip.ErrForbidden)
}

// mayNode asks for ActionAdmin in every router, which is what the node itself needs.
func (p principal) mayNode() error {
	everywhere := func(g Grant) bool { return slices.Contains(g.Actions, ActionAdmin) && slices.Contains(g.Routers, "*") }
	if p.anybody || p.publishers == nil && slices.ContainsFunc(p.grants, everywhere) {
		return nil
	}
	return fmt.Errorf("%s in every router with %s: %w", ActionAdmin, p.name, whip.ErrForbidden)
}

func (p principal) granted(action, router string) bool {
	return slices.ContainsFunc(p.grants, func(g Grant) bool {
		return slices.Contains(g.Actions, action) && matchesAny(g.Routers, router)
	})
}

// matchesAny tells whether an id matches one of the patterns. Ids hold no slash, so * covers all of one.
func matchesAny(patterns []string, id string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		ok, err := path.Match(pattern, id)
		return err == nil && ok
	})
}

// invalidToken is the error code of a credential that was presented and is no good (RFC 6750 section 3.1).
const invalidToken = `, error="invalid_token"`

// unauthorizedError is whip.ErrUnauthorized with the challenge that a 401 must carry (RFC 9110 section 11.6.1).
type unauthorizedError struct {
	hint   string
	reason string // for the holder of a token; "" = nothing to say
}

func (e *unauthorizedError) Error() string {
	if e.reason != "" {
		return e.reason
	}
	return whip.ErrUnauthorized.Error()
}

func (e *unauthorizedError) Unwrap() error { return whip.ErrUnauthorized }

func (e *unauthorizedError) Header() http.Header {
	return http.Header{"Www-Authenticate": {`Bearer realm="rheomesh"` + e.hint}}
}
