package api

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"rheomesh/whip"
)

var playLive = []map[string]any{{"routers": []string{"live"}, "actions": []string{"play"}}}

// withToken is what the node says to a bearer of the token who wants to play live/cam.
func withToken(v *TokenVerifier, token string) error {
	r := httptest.NewRequest("POST", "/", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	return NewAuthorizer(Credentials{Tokens: v}).Authorize(r, "play", "live", "cam")
}

func TestTokenClaims(t *testing.T) {
	v, err := NewTokenVerifier(TokenConfig{HS256Secret: tokenSecret, Issuer: "portal", Audience: "rheomesh"})
	require.NoError(t, err)
	at := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	for _, row := range []struct {
		name   string
		change map[string]any // nil removes a claim
		want   string         // "" = accepted
	}{
		{"good", nil, ""},
		{"one of several audiences", map[string]any{"aud": []string{"x", "rheomesh"}}, ""},
		{"unknown claims", map[string]any{"scope": "x"}, ""},
		{"just expired", map[string]any{"exp": at(-55 * time.Second)}, ""},
		{"expired", map[string]any{"exp": at(-65 * time.Second)}, "expired"},
		{"no exp", map[string]any{"exp": nil}, "lacks a claim"},
		{"exp of a wrong type", map[string]any{"exp": "tomorrow"}, "cannot be verified"},
		{"not yet valid", map[string]any{"nbf": at(65 * time.Second)}, "not valid yet"},
		{"valid within the leeway", map[string]any{"nbf": at(55 * time.Second)}, ""},
		{"issued in the future", map[string]any{"iat": at(65 * time.Second)}, "not valid yet"},
		{"a day", map[string]any{"iat": at(0), "exp": at(24 * time.Hour)}, ""},
		{"more than a day from now", map[string]any{"exp": at(24*time.Hour + 65*time.Second)}, "lives for more"},
		{"more than a day in all", map[string]any{"iat": at(-23 * time.Hour), "exp": at(2 * time.Hour)}, "lives for more"},
		{"other issuer", map[string]any{"iss": "x"}, "another issuer"},
		{"no issuer", map[string]any{"iss": nil}, "lacks a claim"},
		{"other audience", map[string]any{"aud": "x"}, "another audience"},
		{"no audience", map[string]any{"aud": nil}, "lacks a claim"},
		{"no grants", map[string]any{"grants": nil}, "not granted"},
		{"grants of a wrong type", map[string]any{"grants": "play"}, "cannot be verified"},
		{"wildcard that is none of ours", map[string]any{"publishers": []string{"[a-z]*"}}, "other wildcards"},
		{"publishers", map[string]any{"publishers": []string{"cam"}}, ""},
		{"other publishers", map[string]any{"publishers": []string{"cam2"}}, "not granted"},
		{"no publisher at all", map[string]any{"publishers": []string{}}, "not granted"},
	} {
		t.Run(row.name, func(t *testing.T) {
			claims := jwt.MapClaims{"sub": "viewer", "iss": "portal", "aud": "rheomesh", "exp": at(time.Hour), "grants": playLive}
			for name, value := range row.change {
				if claims[name] = value; value == nil {
					delete(claims, name)
				}
			}
			token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(tokenSecret)
			require.NoError(t, err)
			err = withToken(v, token)
			if row.want == "" {
				assert.NoError(t, err)
				return
			}
			assert.ErrorContains(t, err, row.want)
			if row.want != "not granted" {
				assert.ErrorIs(t, err, whip.ErrUnauthorized)
			}
		})
	}
}

// issuer publishes the public half of its keys.
type issuer struct {
	*httptest.Server
	keys    atomic.Pointer[map[string]*rsa.PrivateKey]
	fetches atomic.Int32
}

func newIssuer(t *testing.T, keys map[string]*rsa.PrivateKey) *issuer {
	i := &issuer{}
	i.keys.Store(&keys)
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		i.fetches.Add(1)
		set := []map[string]string{}
		for id, key := range *i.keys.Load() {
			set = append(set, map[string]string{
				"kty": "RSA", "use": "sig", "alg": "RS256", "kid": id, "n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()),
				"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes()),
			})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": set})
	}))
	t.Cleanup(i.Close)
	return i
}

func newKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	return key
}

func (i *issuer) verifier(t *testing.T, cfg TokenConfig) *TokenVerifier {
	t.Helper()
	cfg.JWKSURL = i.URL
	v, err := NewTokenVerifier(cfg)
	require.NoError(t, err)
	t.Cleanup(v.Close)
	return v
}

func signRSA(t *testing.T, key *rsa.PrivateKey, id string) string {
	t.Helper()
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{"exp": time.Now().Add(time.Hour).Unix(), "grants": playLive})
	token.Header["kid"] = id
	text, err := token.SignedString(key)
	require.NoError(t, err)
	return text
}

func TestJWKS(t *testing.T) {
	first, second := newKey(t), newKey(t)
	i := newIssuer(t, map[string]*rsa.PrivateKey{"1": first})
	v := i.verifier(t, TokenConfig{})
	assert.NoError(t, withToken(v, signRSA(t, first, "1")))
	assert.ErrorIs(t, withToken(v, signRSA(t, second, "1")), whip.ErrUnauthorized, "another key under the same name")

	i.keys.Store(&map[string]*rsa.PrivateKey{"2": second}) // the issuer rotates its keys
	assert.NoError(t, withToken(v, signRSA(t, second, "2")), "a key that is not known yet is fetched")
	assert.ErrorIs(t, withToken(v, signRSA(t, first, "1")), whip.ErrUnauthorized, "a key that is published no more")
	fetches := i.fetches.Load()
	for range 20 {
		start := time.Now()
		assert.ErrorIs(t, withToken(v, signRSA(t, first, rand.Text())), whip.ErrUnauthorized)
		assert.Less(t, time.Since(start), jwksTimeout, "made-up keys hold no worker")
	}
	assert.LessOrEqual(t, i.fetches.Load(), fetches+1, "and cause no fetches")
}

// TestAlgorithmConfusion tries what RFC 8725 section 2.1 warns of.
func TestAlgorithmConfusion(t *testing.T) {
	key := newKey(t)
	i := newIssuer(t, map[string]*rsa.PrivateKey{"1": key})
	both, rsaOnly := i.verifier(t, TokenConfig{HS256Secret: tokenSecret}), i.verifier(t, TokenConfig{})
	secretOnly, err := NewTokenVerifier(TokenConfig{HS256Secret: tokenSecret})
	require.NoError(t, err)
	claims := jwt.MapClaims{"exp": time.Now().Add(time.Hour).Unix(), "grants": playLive}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: func() []byte { der, _ := x509.MarshalPKIXPublicKey(&key.PublicKey); return der }()})
	sign := func(method jwt.SigningMethod, key any) string {
		token := jwt.NewWithClaims(method, claims)
		token.Header["kid"] = "1"
		text, err := token.SignedString(key)
		require.NoError(t, err)
		return text
	}
	for _, row := range []struct {
		name, token string
		v           *TokenVerifier
	}{
		{"none", sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType), both},
		{"HMAC with the public key", sign(jwt.SigningMethodHS256, public), both},
		{"HMAC with the modulus", sign(jwt.SigningMethodHS256, key.N.Bytes()), both},
		{"HMAC where only RSA is meant", sign(jwt.SigningMethodHS256, tokenSecret), rsaOnly},
		{"RSA where only a secret is meant", sign(jwt.SigningMethodRS256, key), secretOnly},
		{"longer HMAC", sign(jwt.SigningMethodHS512, tokenSecret), both},
		{"other RSA padding", sign(jwt.SigningMethodPS256, key), both},
		{"signature cut off", strings.TrimRight(sign(jwt.SigningMethodHS256, tokenSecret), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"), both},
	} {
		assert.ErrorIs(t, withToken(row.v, row.token), whip.ErrUnauthorized, row.name)
	}
	assert.NoError(t, withToken(both, sign(jwt.SigningMethodHS256, tokenSecret)))
	assert.NoError(t, withToken(both, sign(jwt.SigningMethodRS256, key)))
}

// TestIssuerTroubles: a node starts without its issuer, and a hostile answer costs it nothing.
func TestIssuerTroubles(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"down":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
		"no JSON": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"redirects": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
		},
		"never ends": func(w http.ResponseWriter, _ *http.Request) { endless(w) },
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(handler)
			defer server.Close()
			v, err := NewTokenVerifier(TokenConfig{JWKSURL: server.URL})
			require.NoError(t, err)
			defer v.Close()
			assert.ErrorIs(t, withToken(v, signRSA(t, newKey(t), "1")), whip.ErrUnauthorized)
		})
	}
}

// endless writes more than a verifier may read.
func endless(w http.ResponseWriter) {
	block := []byte(`{"keys":[` + strings.Repeat(" ", 64<<10))
	for range 16 {
		if _, err := w.Write(block); err != nil {
			return
		}
	}
}

func TestTokenAndKeys(t *testing.T) {
	v, err := NewTokenVerifier(TokenConfig{HS256Secret: tokenSecret})
	require.NoError(t, err)
	a := NewAuthorizer(Credentials{Keys: testCredentials().Keys, Tokens: v})
	identify := func(credential string) error {
		_, err := a.accepted.Load().identify(context.Background(), credential)
		return err
	}
	assert.NoError(t, identify(opsSecret))
	assert.NoError(t, identify(signed(t, Token{})))
	assert.Error(t, identify("a.b.c"))
	former := a.Replace(Credentials{Keys: testCredentials().Keys[1:]})
	assert.Same(t, v, former.Tokens)
	assert.Error(t, identify(opsSecret), "revoked")
	assert.NoError(t, identify(roomSecret))
}

func FuzzToken(f *testing.F) {
	v, err := NewTokenVerifier(TokenConfig{HS256Secret: tokenSecret})
	require.NoError(f, err)
	good, err := Token{Lifetime: time.Hour}.Sign(tokenSecret, time.Now())
	require.NoError(f, err)
	for _, seed := range []string{good, "..", "a.b.c", good[:len(good)-1], strings.ToUpper(good), "eyJhbGciOiJub25lIn0.e30."} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		who, err := v.identify(t.Context(), token)
		if err != nil {
			require.ErrorIs(t, err, whip.ErrUnauthorized)
			return
		}
		// what is accepted was signed by us, so it is what we have signed
		parts := strings.Split(token, ".")
		require.Equal(t, strings.Split(good, ".")[:2], parts[:2])
		require.Empty(t, who.grants)
	})
}
