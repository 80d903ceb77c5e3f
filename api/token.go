package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/time/rate"
)

// What a JWT may be, whoever signed it.
const (
	// MaxTokenLifetime is how long before its end a token is accepted, and from its issue to its end if it tells both.
	MaxTokenLifetime = 24 * time.Hour
	// tokenLeeway is how far the clocks of issuer and node may differ.
	tokenLeeway = time.Minute
)

// How the keys of an issuer are fetched. They are kept while fetching fails.
const (
	jwksTimeout    = 3 * time.Second
	jwksInterval   = 15 * time.Minute
	jwksUnknownKey = 30 * time.Second // least time between fetches that a token with an unknown key causes
	maxJWKSBytes   = 256 << 10
)

// Signature algorithms. Each belongs to one kind of key, so that a public key never serves as an HMAC secret
// (RFC 8725 section 3.1).
const (
	algorithmSecret = "HS256"
	algorithmJWKS   = "RS256"
)

// Token is what a JWT says. The claims are grants and publishers beside the registered ones of RFC 7519 section 4.1.
type Token struct {
	Subject    string // name in logs
	Issuer     string
	Audience   string
	Grants     []Grant
	Publishers []string // patterns of the only publishers that it is for; nil = all
	Lifetime   time.Duration
}

type tokenClaims struct {
	jwt.RegisteredClaims
	Grants     []Grant  `json:"grants"`
	Publishers []string `json:"publishers,omitempty"`
}

// Sign makes the JWT with HS256.
func (t Token) Sign(secret []byte, now time.Time) (string, error) {
	claims := tokenClaims{Grants: t.Grants, Publishers: t.Publishers, RegisteredClaims: jwt.RegisteredClaims{
		Subject: t.Subject, Issuer: t.Issuer, IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(t.Lifetime)),
	}}
	if t.Audience != "" {
		claims.Audience = jwt.ClaimStrings{t.Audience}
	}
	return jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(secret)
}

// TokenConfig says which JWTs a node accepts. It needs HS256Secret or JWKSURL, and may have both.
type TokenConfig struct {
	HS256Secret []byte
	JWKSURL     string // of the RS256 public keys (RFC 7517 section 5)
	Issuer      string // that iss must be; "" = any
	Audience    string // that aud must hold; "" = any
	Logger      *slog.Logger
}

// TokenVerifier checks JWTs. It is safe for concurrent use. Close it when it is replaced.
type TokenVerifier struct {
	cfg    TokenConfig
	jwks   keyfunc.Keyfunc // nil without a JWKSURL
	client *http.Client    // that fetches them
	stop   context.CancelFunc
	parser *jwt.Parser
}

// NewTokenVerifier fetches the keys of cfg.JWKSURL for the first time. That it fails is logged and no error: the issuer
// may start later than the node. A goroutine fetches them again every quarter of an hour, until Close.
func NewTokenVerifier(cfg TokenConfig) (*TokenVerifier, error) {
	v := &TokenVerifier{cfg: cfg, stop: func() {}}
	var algorithms []string
	if len(cfg.HS256Secret) > 0 {
		algorithms = append(algorithms, algorithmSecret)
	}
	if cfg.JWKSURL != "" {
		algorithms = append(algorithms, algorithmJWKS)
		if err := v.fetchKeys(); err != nil {
			return nil, fmt.Errorf("keys of %s: %w", cfg.JWKSURL, err)
		}
	}
	options := []jwt.ParserOption{
		jwt.WithValidMethods(algorithms), jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(tokenLeeway),
	}
	if cfg.Issuer != "" {
		options = append(options, jwt.WithIssuer(cfg.Issuer))
	}
	if cfg.Audience != "" {
		options = append(options, jwt.WithAudience(cfg.Audience))
	}
	v.parser = jwt.NewParser(options...)
	return v, nil
}

func (v *TokenVerifier) fetchKeys() (err error) {
	v.client = &http.Client{
		Timeout:       jwksTimeout,
		Transport:     boundedBodies{&http.Transport{ForceAttemptHTTP2: true, MaxIdleConns: 1, IdleConnTimeout: jwksTimeout}}, // no proxy of the environment
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	ctx, stop := context.WithCancel(context.Background())
	v.stop = stop
	log := v.cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	v.jwks, err = keyfunc.NewDefaultOverrideCtx(ctx, []string{v.cfg.JWKSURL}, keyfunc.Override{
		Client: v.client, HTTPTimeout: jwksTimeout, RefreshInterval: jwksInterval,
		RefreshUnknownKID: rate.NewLimiter(rate.Every(jwksUnknownKey), 1), RateLimitWaitMax: jwksTimeout,
		RefreshErrorHandlerFunc: func(string) func(context.Context, error) {
			return func(_ context.Context, err error) { log.Warn("token keys not fetched", "err", err) }
		},
	})
	return err
}

// Close stops fetching keys.
func (v *TokenVerifier) Close() {
	v.stop()
	if v.client != nil {
		v.client.CloseIdleConnections()
	}
}

// boundedBodies cuts response bodies off at maxJWKSBytes.
type boundedBodies struct{ *http.Transport }

func (b boundedBodies) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := b.Transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	response.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(response.Body, maxJWKSBytes), response.Body}
	return response, nil
}

// looksLikeJWT tells whether token has the three parts of a signed JWT (RFC 7515 section 3.1).
func looksLikeJWT(token string) bool { return strings.Count(token, ".") == 2 }

// identify checks the token and returns whom it names.
func (v *TokenVerifier) identify(ctx context.Context, text string) (principal, error) {
	var claims tokenClaims
	_, err := v.parser.ParseWithClaims(text, &claims, func(token *jwt.Token) (any, error) { return v.key(ctx, token) })
	if err == nil {
		err = claims.judge(time.Now())
	}
	if err != nil {
		return principal{}, &unauthorizedError{hint: invalidToken, reason: tokenReason(err)}
	}
	name := claims.Subject
	if name == "" {
		name = "without subject"
	}
	return principal{name: "token " + name, grants: claims.Grants, publishers: claims.Publishers}, nil
}

// key chooses by the algorithm, of which the parser has made sure that it is one of ours.
func (v *TokenVerifier) key(ctx context.Context, token *jwt.Token) (any, error) {
	if token.Method.Alg() == algorithmSecret {
		return v.cfg.HS256Secret, nil
	}
	return v.jwks.KeyfuncCtx(ctx)(token)
}

var (
	errTokenLifetime = errors.New("token lives too long")
	errTokenPattern  = errors.New("token has a pattern that is none")
)

// judge checks what is special to our tokens.
func (c *tokenClaims) judge(now time.Time) error {
	lifetime := c.ExpiresAt.Sub(now) - tokenLeeway
	if c.IssuedAt != nil {
		lifetime = max(lifetime, c.ExpiresAt.Sub(c.IssuedAt.Time))
	}
	if lifetime > MaxTokenLifetime {
		return errTokenLifetime
	}
	patterns := slices.Clone(c.Publishers)
	for _, grant := range c.Grants {
		patterns = append(patterns, grant.Routers...)
	}
	for _, pattern := range patterns { // path.Match knows more than the star
		if strings.ContainsAny(pattern, `?[\`) {
			return errTokenPattern
		}
	}
	return nil
}

// tokenReason says what the holder of a token can do something about, and nothing about keys.
func tokenReason(err error) string {
	for _, row := range []struct {
		err    error
		reason string
	}{
		{jwt.ErrTokenExpired, "the token has expired"},
		{jwt.ErrTokenNotValidYet, "the token is not valid yet"},
		{jwt.ErrTokenUsedBeforeIssued, "the token is not valid yet"},
		{jwt.ErrTokenRequiredClaimMissing, "the token lacks a claim: exp, iss or aud"},
		{jwt.ErrTokenInvalidIssuer, "the token has another issuer"},
		{jwt.ErrTokenInvalidAudience, "the token has another audience"},
		{errTokenLifetime, "the token lives for more than " + MaxTokenLifetime.String()},
		{errTokenPattern, "the token has a pattern with other wildcards than *"},
	} {
		if errors.Is(err, row.err) {
			return row.reason
		}
	}
	return "the token cannot be verified"
}
