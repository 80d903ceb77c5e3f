package api

import (
	"crypto/sha256"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"

	"rheomesh/whip"
)

const (
	opsSecret  = "ops-0123456789abcdef0123456789abcdef"
	roomSecret = "room-0123456789abcdef0123456789abcde"
)

func testAuthorizer() *Authorizer { return NewAuthorizer(testCredentials()) }

func testCredentials() Credentials {
	return Credentials{Keys: []Key{
		{ID: "ops", Digest: sha256.Sum256([]byte(opsSecret)), Grants: []Grant{{Routers: []string{"*"}, Actions: []string{"publish", "play", "admin"}}}},
		{ID: "room", Digest: sha256.Sum256([]byte(roomSecret)), Grants: []Grant{
			{Routers: []string{"room-*", "lobby"}, Actions: []string{"publish", "admin"}},
			{Routers: []string{"stage"}, Actions: []string{"play"}},
		}},
	}}
}

func TestAuthorize(t *testing.T) {
	for _, row := range []struct {
		name, header, action, router string
		want                         error
	}{
		{"every right", "Bearer " + opsSecret, "publish", "live", nil},
		{"case of the scheme", "bearer " + opsSecret, "play", "live", nil},
		{"pattern", "Bearer " + roomSecret, "publish", "room-1", nil},
		{"pattern matches nothing more", "Bearer " + roomSecret, "publish", "room-", nil},
		{"exact", "Bearer " + roomSecret, "publish", "lobby", nil},
		{"second grant", "Bearer " + roomSecret, "play", "stage", nil},
		{"actions do not mix between grants", "Bearer " + roomSecret, "publish", "stage", whip.ErrForbidden},
		{"other router", "Bearer " + roomSecret, "publish", "live", whip.ErrForbidden},
		{"router that only starts the same", "Bearer " + roomSecret, "publish", "lobby2", whip.ErrForbidden},
		{"other action", "Bearer " + roomSecret, "play", "room-1", whip.ErrForbidden},
		{"no header", "", "play", "live", whip.ErrUnauthorized},
		{"wrong secret", "Bearer " + opsSecret + "x", "play", "live", whip.ErrUnauthorized},
		{"part of the secret", "Bearer " + opsSecret[:20], "play", "live", whip.ErrUnauthorized},
		{"empty token", "Bearer ", "play", "live", whip.ErrUnauthorized},
		{"other scheme", "Basic " + opsSecret, "play", "live", whip.ErrUnauthorized},
		{"scheme alone", "Bearer", "play", "live", whip.ErrUnauthorized},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/", nil)
			if row.header != "" {
				r.Header.Set("Authorization", row.header)
			}
			assert.ErrorIs(t, testAuthorizer().Authorize(r, row.action, row.router, "cam"), row.want)
		})
	}
}

func TestAuthorizeTwoHeaders(t *testing.T) {
	r := httptest.NewRequest("POST", "/", nil)
	r.Header["Authorization"] = []string{"Bearer " + opsSecret, "Bearer other"}
	assert.ErrorIs(t, testAuthorizer().Authorize(r, "play", "live", "cam"), whip.ErrUnauthorized)
}

func TestOpenAuthorizer(t *testing.T) {
	a := NewAuthorizer(Credentials{})
	assert.True(t, a.Open())
	assert.NoError(t, a.Authorize(httptest.NewRequest("POST", "/", nil), "publish", "live", "cam"))
}
