package api

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"rheomesh/sfu"
)

// waitFor makes a publisher that somebody waits for.
func waitFor(t *testing.T, s *Server, id sfu.PublisherID) {
	t.Helper()
	router, _, err := s.cfg.Node.PutRouter("live", sfu.RouterConfig{})
	require.NoError(t, err)
	_, err = router.OfferSubscription(sfu.SubscribeRequest{Publisher: id})
	require.NoError(t, err)
}

func TestSendData(t *testing.T) {
	verifier, err := NewTokenVerifier(TokenConfig{HS256Secret: tokenSecret})
	require.NoError(t, err)
	s := newTestServer(t, func(cfg *Config) {
		cfg.Authorizer = NewAuthorizer(Credentials{Keys: testCredentials().Keys, Tokens: verifier})
		cfg.Limits.PostBurst, cfg.Limits.PostBurstPerIP = 100, 100
	})
	waitFor(t, s, "cam")
	data := []Grant{{Routers: []string{"*"}, Actions: []string{"data"}}}
	sender, other := signed(t, Token{Grants: data}), signed(t, Token{Grants: data, Publishers: []string{"other"}})
	own := signed(t, Token{Grants: data, Publishers: []string{"c*"}})
	large := base64.StdEncoding.EncodeToString(make([]byte, 256<<10))
	for name, row := range map[string]struct {
		token, router, body string
		status              int
		field               string // named in the problem
	}{
		"text":             {sender, "live", `{"publisher":"cam","label":"chat","text":"hello"}`, 202, ""},
		"empty text":       {sender, "live", `{"publisher":"cam","label":"","text":""}`, 202, ""},
		"binary":           {own, "live", `{"publisher":"cam","label":"chat","binary":"` + large + `"}`, 202, ""},
		"administrator":    {opsSecret, "live", `{"publisher":"cam","label":"chat","text":"hello"}`, 202, ""},
		"other publisher":  {other, "live", `{"publisher":"cam","label":"chat","text":"hello"}`, 403, ""},
		"no router":        {sender, "none", `{"publisher":"cam","label":"chat","text":"hello"}`, 404, ""},
		"no publisher":     {sender, "live", `{"publisher":"none","label":"chat","text":"hello"}`, 404, ""},
		"bad router":       {sender, "a*b", `{"publisher":"cam","label":"chat","text":"hello"}`, 400, ""},
		"bad publisher":    {sender, "live", `{"publisher":"a b","label":"chat","text":"hello"}`, 400, "publisher"},
		"long label":       {sender, "live", `{"publisher":"cam","label":"` + strings.Repeat("x", 257) + `","text":"hello"}`, 400, "label"},
		"nothing":          {sender, "live", `{"publisher":"cam","label":"chat"}`, 400, "text"},
		"both":             {sender, "live", `{"publisher":"cam","label":"chat","text":"a","binary":"AA=="}`, 400, "binary"},
		"not base64":       {sender, "live", `{"publisher":"cam","label":"chat","binary":"?"}`, 400, "binary"},
		"not a text":       {sender, "live", `{"publisher":"cam","label":"chat","text":1}`, 400, "text"},
		"unknown field":    {sender, "live", `{"publisher":"cam","label":"chat","text":"a","to":"b"}`, 400, "to"},
		"message too long": {sender, "live", `{"publisher":"cam","label":"chat","text":"` + strings.Repeat("x", 256<<10+1) + `"}`, 413, ""},
		"body too long":    {sender, "live", `{"publisher":"cam","label":"chat","text":"` + strings.Repeat("x", 384<<10) + `"}`, 413, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := s.do(request{
				method: "POST", path: "/api/v1/routers/" + row.router + "/data", body: row.body,
				header: []string{"Authorization", "Bearer " + row.token},
			})
			require.Equal(t, row.status, got.Code, got.Body.String())
			if row.field != "" {
				var p Problem
				require.NoError(t, json.Unmarshal(got.Body.Bytes(), &p))
				require.Len(t, p.Errors, 1)
				assert.Equal(t, row.field, p.Errors[0].Field)
			}
		})
	}
	for i := range sfu.MaxDataChannels - 2 { // "chat" and "" are there
		require.Equal(t, 202, s.sendTo(fmt.Sprint(i)), i)
	}
	assert.Equal(t, 409, s.sendTo("one more"))
}

func (s *Server) sendTo(label string) int {
	return s.do(request{
		method: "POST", path: "/api/v1/routers/live/data", body: fmt.Sprintf(`{"publisher":"cam","label":%q,"text":"hello"}`, label),
		header: []string{"Authorization", "Bearer " + opsSecret},
	}).Code
}
