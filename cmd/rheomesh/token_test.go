package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const jwtEnv = "RHEOMESH_AUTH_JWT_HS256_SECRET=" + testSecret

// TestTokenCreate makes tokens and lets a node judge them.
func TestTokenCreate(t *testing.T) {
	p := startServe(t, []string{jwtEnv, "RHEOMESH_AUTH_JWT_ISSUER=portal"})
	create := func(args ...string) string {
		code, out, stderr := execute(t, []string{jwtEnv, "RHEOMESH_AUTH_JWT_ISSUER=portal"}, append([]string{"token", "create", "--bare"}, args...)...)
		require.Equal(t, exitOK, code, stderr)
		return out[:len(out)-1]
	}
	status, _ := get(t, p.url+"/api/v1/routers/live", "")
	assert.Equal(t, 401, status)
	status, body := get(t, p.url+"/api/v1/routers/live", create("--router", "live", "--action", "admin", "--ttl", "1m"))
	assert.Equal(t, 200, status, body)
	status, _ = get(t, p.url+"/api/v1/routers/live", create("--router", "room-*", "--action", "admin"))
	assert.Equal(t, 403, status)
	status, _ = get(t, p.url+"/api/v1/routers/live", create("--router", "live", "--publisher", "cam1"))
	assert.Equal(t, 403, status)
}

func TestTokenCreatePrints(t *testing.T) {
	file := filepath.Join(t.TempDir(), "node.yaml")
	require.NoError(t, os.WriteFile(file, []byte("http: {public_url: 'https://sfu.example.org'}\nauth: {jwt: {hs256_secret: "+testSecret+"}}\n"), 0o600))
	code, out, stderr := execute(t, nil, "token", "create", "--config", file, "--router", "live", "--publisher", "cam1", "--action", "publish", "--ttl", "12h")
	require.Equal(t, exitOK, code, stderr)
	token := regexp.MustCompile(`(?m)^Token  (\S+)$`).FindStringSubmatch(out)
	require.NotNil(t, token, out)
	assert.Contains(t, out, "OBS    Settings, Stream: Service WHIP, Server https://sfu.example.org/whip/live/cam1, Bearer Token: "+token[1]+"\n")
	assert.Contains(t, out, "curl   curl -H 'Authorization: Bearer "+token[1]+"' -H 'Content-Type: application/sdp' --data-binary @offer.sdp https://sfu.example.org/whip/live/cam1\n")
	assert.NotContains(t, out, testSecret)
}

func TestTokenCreateRefused(t *testing.T) {
	for _, row := range []struct {
		name string
		env  []string
		args []string
		code int
		want string
	}{
		{"no secret", nil, nil, exitFailed, "no auth.jwt.hs256_secret"},
		{"secret too short", []string{jwtEnv[:len(jwtEnv)-1]}, nil, exitFailed, "at least 32 characters"},
		{"too long a life", []string{jwtEnv}, []string{"--ttl", "25h"}, exitUsage, "--ttl must be 1s to 24h"},
		{"no life", []string{jwtEnv}, []string{"--ttl", "0s"}, exitUsage, "--ttl"},
		{"unknown action", []string{jwtEnv}, []string{"--action", "watch"}, exitUsage, `"watch" is none of publish, play`},
		{"bad router", []string{jwtEnv}, []string{"--router", "a/b"}, exitUsage, `"a/b" is neither`},
		{"secret as an argument", []string{jwtEnv}, []string{"--secret", testSecret}, exitUsage, "unknown flag"},
	} {
		t.Run(row.name, func(t *testing.T) {
			code, out, stderr := execute(t, row.env, append([]string{"token", "create"}, row.args...)...)
			assert.Equal(t, row.code, code)
			assert.Contains(t, stderr, row.want)
			assert.Empty(t, out)
		})
	}
}

func TestOpenAPICommand(t *testing.T) {
	want, err := os.ReadFile("../../openapi.yaml")
	require.NoError(t, err)
	code, out, _ := execute(t, nil, "openapi")
	assert.Equal(t, exitOK, code)
	assert.Equal(t, string(want), out)
	p := startServe(t, nil)
	_, served := get(t, p.url+"/openapi.yaml", "")
	assert.Equal(t, string(want), served)
	_, inJSON := get(t, p.url+"/openapi.json", "")
	_, out, _ = execute(t, nil, "openapi", "--json")
	assert.Equal(t, inJSON, out)
}
