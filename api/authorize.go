package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"

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
	Routers []string
	Actions []string
}

// Authorizer decides who may do what. It is immutable, and safe for concurrent use.
type Authorizer struct{ keys []Key }

// NewAuthorizer returns an Authorizer that knows the keys; without any, everything is permitted to everyone.
func NewAuthorizer(keys []Key) *Authorizer { return &Authorizer{keys: slices.Clone(keys)} }

// Open tells whether no credential is asked for.
func (a *Authorizer) Open() bool { return len(a.keys) == 0 }

// Authorize returns nil when r may do action in the router, else an error that wraps whip.ErrUnauthorized or whip.ErrForbidden.
func (a *Authorizer) Authorize(r *http.Request, action, router string) error {
	who, err := a.identify(r)
	if err != nil {
		return err
	}
	return who.may(action, router)
}

// principal is who sent a request: the holder of a key, or anybody when key is nil.
type principal struct{ key *Key }

// identify compares the digest of the credential with that of every key, and always with all of them: how long it takes
// tells nothing about which keys exist.
func (a *Authorizer) identify(r *http.Request) (principal, error) {
	if a.Open() {
		return principal{}, nil
	}
	token, err := bearer(r)
	if err != nil {
		return principal{}, err
	}
	digest := sha256.Sum256([]byte(token))
	match := -1
	for i := range a.keys {
		match = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(digest[:], a.keys[i].Digest[:]), i, match)
	}
	if match < 0 {
		return principal{}, &unauthorizedError{hint: `, error="invalid_token"`}
	}
	return principal{key: &a.keys[match]}, nil
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

func (p principal) may(action, router string) error {
	if p.key == nil || slices.ContainsFunc(p.key.Grants, func(g Grant) bool { return g.permits(action, router) }) {
		return nil
	}
	return fmt.Errorf("%s in router %s with key %s: %w", action, router, p.key.ID, whip.ErrForbidden)
}

// mayNode asks for the action in every router, which is what the node itself needs.
func (p principal) mayNode(action string) error {
	if p.key == nil {
		return nil
	}
	for _, grant := range p.key.Grants {
		if slices.Contains(grant.Actions, action) && slices.Contains(grant.Routers, "*") {
			return nil
		}
	}
	return fmt.Errorf("%s in every router with key %s: %w", action, p.key.ID, whip.ErrForbidden)
}

func (g Grant) permits(action, router string) bool {
	return slices.Contains(g.Actions, action) && slices.ContainsFunc(g.Routers, func(pattern string) bool {
		ok, err := path.Match(pattern, router) // ids hold no slash, so * covers all of one
		return err == nil && ok
	})
}

// unauthorizedError is whip.ErrUnauthorized with the challenge that a 401 must carry (RFC 9110 section 11.6.1).
type unauthorizedError struct{ hint string }

func (e *unauthorizedError) Error() string { return whip.ErrUnauthorized.Error() }
func (e *unauthorizedError) Unwrap() error { return whip.ErrUnauthorized }

func (e *unauthorizedError) Header() http.Header {
	return http.Header{"Www-Authenticate": {`Bearer realm="rheomesh"` + e.hint}}
}
