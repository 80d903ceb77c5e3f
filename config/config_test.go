package config_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"rheomesh/config"
)

const secret = "0123456789abcdef0123456789abcdef"

// write puts content into a file of the test's own directory.
func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

// flagsOf builds a parsed flag set with the annotated flag --http and the foreign flag --insecure.
func flagsOf(t *testing.T, args ...string) *pflag.FlagSet {
	t.Helper()
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	flags.String("http", "", "")
	flags.StringSlice("router", nil, "")
	flags.Bool("insecure", false, "")
	require.NoError(t, flags.SetAnnotation("http", config.FlagKey, []string{"http.addr"}))
	require.NoError(t, flags.SetAnnotation("router", config.FlagKey, []string{"routers"}))
	require.NoError(t, flags.Parse(args))
	return flags
}

func TestPrecedence(t *testing.T) {
	file := "http: {addr: '127.0.0.1:1'}\n"
	env := []string{"RHEOMESH_HTTP_ADDR=127.0.0.1:2", "OTHER=1"}
	for _, row := range []struct {
		name string
		src  config.Sources
		want string
	}{
		{"default", config.Sources{}, "127.0.0.1:8080"},
		{"file over default", config.Sources{File: write(t, "a.yaml", file)}, "127.0.0.1:1"},
		{"environment over file", config.Sources{File: write(t, "b.yaml", file), Environ: env}, "127.0.0.1:2"},
		{"flag over environment", config.Sources{File: write(t, "c.yaml", file), Environ: env, Flags: flagsOf(t, "--http=127.0.0.1:3")}, "127.0.0.1:3"},
		{"flag not given", config.Sources{File: write(t, "d.yaml", file), Environ: env, Flags: flagsOf(t)}, "127.0.0.1:2"},
		{"default when insecure", config.Sources{Insecure: true}, ":8080"},
		{"empty file", config.Sources{File: write(t, "e.yaml", "# nothing\n")}, "127.0.0.1:8080"},
	} {
		t.Run(row.name, func(t *testing.T) {
			cfg, err := config.Load(row.src)
			require.NoError(t, err)
			assert.Equal(t, row.want, cfg.HTTP.Addr)
		})
	}
}

func TestEnvironmentValues(t *testing.T) {
	cfg, err := config.Load(config.Sources{Environ: []string{
		"RHEOMESH_ROUTERS=live, stage",
		"RHEOMESH_MEDIA_PUBLIC_IPS=203.0.113.7,2001:db8::7",
		"RHEOMESH_MEDIA_ICE_LITE=true",
		"RHEOMESH_LIMITS_MAX_SESSIONS=7",
		"RHEOMESH_LIMITS_CONNECT_TIMEOUT=1500ms",
		`RHEOMESH_AUTH_API_KEYS=[{"id":"ops","secret":"` + secret + `","grants":[{"routers":["room-*"],"actions":["admin"]}]}]`,
		`RHEOMESH_ICE_SERVERS=[{urls: ["stun:stun.example.org:3478"]}]`,
		"RHEOMESH_CONFIG=/elsewhere", "RHEOMESH_TOKEN=t",
		"RHEOMESH_SERVICE_HOST=10.0.0.1", "RHEOMESH_PORT=tcp://10.0.0.1:8080", "RHEOMESH_PORT_8080_TCP_ADDR=10.0.0.1",
	}})
	require.NoError(t, err)
	assert.Equal(t, []string{"live", "stage"}, cfg.Routers)
	assert.Equal(t, "[203.0.113.7 2001:db8::7]", fmt.Sprint(cfg.Media.PublicIPs))
	assert.True(t, cfg.Media.ICELite)
	assert.Equal(t, 7, cfg.Limits.MaxSessions)
	assert.Equal(t, 1500*time.Millisecond, cfg.Limits.ConnectTimeout)
	assert.Equal(t, sha256.Sum256([]byte(secret)), cfg.Auth.APIKeys[0].Digest())
	assert.Empty(t, cfg.Auth.APIKeys[0].Secret, "the secret itself is not kept")
	assert.Equal(t, []string{"room-*"}, cfg.Auth.APIKeys[0].Grants[0].Routers)
	assert.Equal(t, []string{"stun:stun.example.org:3478"}, cfg.ICEServers[0].URLs)
	assert.Equal(t, ":8080", cfg.HTTP.Addr, "with credentials the default is every address")
}

func TestRefused(t *testing.T) {
	key := func(fields string) string {
		return "auth: {api_keys: [{id: ops, " + fields + ", grants: [{routers: ['*'], actions: [admin]}]}]}"
	}
	for _, row := range []struct {
		name, file, env string
		want            []string // parts of the message
	}{
		{"unknown key", "http: {adr: ':1'}", "", []string{"refused.yaml", "unknown key http.adr", "did you mean http.addr?"}},
		{"unknown section", "htp: {addr: ':1'}", "", []string{"unknown key htp", "did you mean http?"}},
		{"unknown key far from all", "zzzzzzzzzz: 1", "", []string{"unknown key zzzzzzzzzz"}},
		{"unknown key in a list", key("secrt: x"), "", []string{"unknown key auth.api_keys[0].secrt", "did you mean auth.api_keys[0].secret?"}},
		{"relay for other machines without a secret", "relay: {addr: ':9443'}", "", []string{`relay.addr ":9443"`, "relay.secret"}},
		{"relay addr without port", "relay: {addr: localhost}", "", []string{`relay.addr: "localhost" is not host:port`}},
		{"short previous relay secret", "relay: {secret: '" + secret + "', previous_secret: '" + secret[:31] + "'}", "", []string{"relay.previous_secret: must have at least 32 characters, has 31"}},
		{"previous relay secret alone", "relay: {previous_secret: '" + secret + "'}", "", []string{"relay.previous_secret: is set and relay.secret is not"}},
		{"short relay secret", "relay: {secret: '" + secret[:31] + "'}", "", []string{"relay.secret: must have at least 32 characters, has 31"}},
		{"relay target", "relay: {allowed_targets: [example.org]}", "", []string{`relay.allowed_targets[0]: "example.org" is not a network`}},
		{"unknown variable", "", "RHEOMESH_HTTP_ADR=:1", []string{"environment", "unknown variable RHEOMESH_HTTP_ADR", "did you mean RHEOMESH_HTTP_ADDR?"}},
		{"two mistakes", "a_a_a: 1\nlog: {levels: info}", "", []string{"a_a_a", "log.levels"}},
		{"number for a string", "http: {addr: 8080}", "", []string{"http.addr: must be a string (quote it), is a number"}},
		{"string for a number", "limits: {max_sessions: many}", "", []string{"limits.max_sessions: must be a whole number, is other text"}},
		{"string for a list", "routers: live", "", []string{"routers: must be a list"}},
		{"nothing for a list", "routers:", "", []string{"routers: must be a list, is empty"}},
		{"scalar for a section", "http: 8080", "", []string{"http: must be a mapping of keys, is a number"}},
		{"no duration", "limits: {connect_timeout: 10}", "", []string{`limits.connect_timeout: must be a duration such as "10s"`}},
		{"no address", "media: {public_ips: [example.org]}", "", []string{"media.public_ips[0]: must be an IP address"}},
		{"no boolean", "whip: {strict_etag: 1}", "", []string{"whip.strict_etag: must be true or false"}},
		{"variable of wrong type", "", "RHEOMESH_LIMITS_MAX_SESSIONS=many", []string{"RHEOMESH_LIMITS_MAX_SESSIONS: limits.max_sessions: must be a whole number"}},
		{"variable that is no YAML", "", "RHEOMESH_AUTH_API_KEYS=[{", []string{"RHEOMESH_AUTH_API_KEYS: is not YAML or JSON"}},
		{"duplicate key", "routers: [a]\nrouters: [b]", "", []string{"already defined"}},
		{"not YAML", "http: [", "", []string{"refused.yaml"}},
		{"not a mapping", "- a", "", []string{"refused.yaml"}},
		{"http addr without port", "http: {addr: localhost}", "", []string{`http.addr: "localhost" is not host:port`}},
		{"http addr with a name", "http: {addr: 'example.org:80'}", "", []string{`http.addr: "example.org" is neither an IP address nor localhost`}},
		{"media port too large", "media: {addr: 'localhost:70000'}", "", []string{`media.addr: "70000" is not a port`}},
		{"public URL", "http: {public_url: 'example.org'}", "", []string{"http.public_url"}},
		{"half of TLS", "http: {tls: {cert_file: a.pem}}", "", []string{"cert_file and key_file go together"}},
		{"router id", "routers: ['a b']", "", []string{`routers[0]: "a b" is no id`}},
		{"router twice", "routers: [a, a]", "", []string{`routers[1]: "a" is there twice`}},
		{"router of dots", "routers: ['..']", "", []string{`routers[0]: ".." is no id`}},
		{"short secret", key("secret: '" + secret[:31] + "'"), "", []string{"auth.api_keys[0].secret: must have at least 32 characters, has 31"}},
		{"no secret", key("secret: ''"), "", []string{"exactly one of secret, secret_file, secret_sha256"}},
		{"two secrets", key("secret: '" + secret + "', secret_file: x"), "", []string{"exactly one of"}},
		{"digest too short", key("secret_sha256: abcd"), "", []string{"must be 64 hex digits"}},
		{"secret file missing", key("secret_file: /nonexistent/secret"), "", []string{"auth.api_keys[0].secret_file", "/nonexistent/secret"}},
		{"no grants", "auth: {api_keys: [{id: ops, secret: '" + secret + "'}]}", "", []string{"auth.api_keys[0].grants"}},
		{"unknown action", "auth: {api_keys: [{id: ops, secret: '" + secret + "', grants: [{routers: ['*'], actions: [watch]}]}]}", "", []string{`grants[0].actions[0]: "watch" is none of publish`}},
		{"pattern", "auth: {api_keys: [{id: ops, secret: '" + secret + "', grants: [{routers: ['a/b'], actions: [play]}]}]}", "", []string{`grants[0].routers[0]: "a/b"`}},
		{"conflict policy", "whip: {on_conflict: ask}", "", []string{`whip.on_conflict: "ask" is none of replace, reject`}},
		{"without publisher", "whep: {without_publisher: x}", "", []string{`whep.without_publisher: "x" is none of wait, conflict`}},
		{"ICE URL", "ice_servers: [{urls: ['http://x']}]", "", []string{`ice_servers[0].urls[0]: "http://x"`}},
		{"TURN without password", "ice_servers: [{urls: ['turn:x:3478'], username: u}]", "", []string{"ice_servers[0]: a TURN server needs username and credential"}},
		{"TURN password with comma", "ice_servers: [{urls: ['turn:x:3478'], username: u, credential: 'a,b'}]", "", []string{"ice_servers[0].credential: a comma"}},
		{"limit of zero", "limits: {max_routers: 0}", "", []string{"limits.max_routers: must be above zero"}},
		{"timeout of a week", "limits: {silence_timeout: 168h}", "", []string{"limits.silence_timeout: is longer than a day"}},
		{"log level", "log: {level: trace}", "", []string{`log.level: "trace" is none of debug, info, warn, error`}},
		{"multicast public address", "media: {public_ips: ['224.0.0.1']}", "", []string{"media.public_ips[0]: 224.0.0.1 is not the address of a host"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := config.Load(config.Sources{File: write(t, "refused.yaml", row.file), Environ: []string{row.env}})
			require.Error(t, err)
			for _, part := range row.want {
				assert.Contains(t, err.Error(), part)
			}
			assert.NotContains(t, err.Error(), secret[:31], "an error must not quote a secret")
		})
	}
}

func TestOpenRefused(t *testing.T) {
	credentials := `RHEOMESH_AUTH_API_KEYS=[{"id":"ops","secret":"` + secret + `","grants":[{"routers":["*"],"actions":["admin"]}]}]`
	for _, row := range []struct {
		name     string
		env      []string
		insecure bool
		refused  string
	}{
		{"http on every address", []string{"RHEOMESH_HTTP_ADDR=:8080"}, false, "http.addr"},
		{"http on 0.0.0.0", []string{"RHEOMESH_HTTP_ADDR=0.0.0.0:8080"}, false, "http.addr"},
		{"http on a LAN address", []string{"RHEOMESH_HTTP_ADDR=192.168.1.2:8080"}, false, "http.addr"},
		{"media on every address", []string{"RHEOMESH_MEDIA_ADDR=:0"}, false, "media.addr"},
		{"loopback", []string{"RHEOMESH_HTTP_ADDR=127.9.9.9:0", "RHEOMESH_MEDIA_ADDR=[::1]:0"}, false, ""},
		{"mapped loopback", []string{"RHEOMESH_HTTP_ADDR=[::ffff:127.0.0.1]:0"}, false, ""},
		{"with credentials", []string{"RHEOMESH_HTTP_ADDR=:8080", credentials}, false, ""},
		{"insecure", []string{"RHEOMESH_HTTP_ADDR=:8080", "RHEOMESH_MEDIA_ADDR=:0"}, true, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := config.Load(config.Sources{Environ: row.env, Insecure: row.insecure})
			if row.refused == "" {
				require.NoError(t, err)
				return
			}
			var open *config.OpenError
			require.ErrorAs(t, err, &open)
			assert.Equal(t, row.refused, open.Key)
			assert.Contains(t, err.Error(), "RHEOMESH_AUTH_API_KEYS=")
			assert.Contains(t, err.Error(), "--insecure")
		})
	}
}

func TestSecretFiles(t *testing.T) {
	keyFile, turnFile := write(t, "key", secret+"\n"), write(t, "turn", "hunter2\r\n")
	digest := sha256.Sum256([]byte(secret + "x"))
	cfg, err := config.Load(config.Sources{File: write(t, "c.yaml", `
auth:
  api_keys:
    - {id: file, secret_file: `+keyFile+`, grants: [{routers: [live], actions: [publish]}]}
    - {id: digest, secret_sha256: `+strings.ToUpper(hex.EncodeToString(digest[:]))+`, grants: [{routers: [live], actions: [play]}]}
ice_servers: [{urls: ['turn:turn.example.org:3478'], username: u, credential_file: `+turnFile+`}]
`)})
	require.NoError(t, err)
	assert.Equal(t, sha256.Sum256([]byte(secret)), cfg.Auth.APIKeys[0].Digest())
	assert.Equal(t, digest, cfg.Auth.APIKeys[1].Digest())
	assert.Equal(t, "hunter2", cfg.ICEServers[0].Credential.Reveal())
	assert.NotContains(t, fmt.Sprintf("%v %+v %#v", cfg, cfg, cfg), "hunter2")

	var printed bytes.Buffer
	require.NoError(t, config.Print(&printed, cfg))
	assert.NotContains(t, printed.String(), "hunter2")
	assert.NotContains(t, printed.String(), secret)
	assert.Contains(t, printed.String(), "secret_sha256")
}

// TestReference pins that the printed file names every key with its meaning, default and variable, and that it loads
// to the very defaults that it shows.
func TestReference(t *testing.T) {
	var printed bytes.Buffer
	require.NoError(t, config.Print(&printed, config.Default()))
	text := printed.String()
	keys := config.Keys()
	require.Greater(t, len(keys), 25)
	for _, key := range keys {
		name := key.Path[strings.LastIndex(key.Path, ".")+1:]
		assert.Contains(t, text, "\n"+strings.Repeat("  ", strings.Count(key.Path, "."))+name+": ", key.Path)
		assert.Contains(t, text, key.Env+"\n", key.Path)
		assert.NotEmpty(t, key.Meaning, key.Path)
		assert.Contains(t, text, strings.SplitN(key.Meaning, "\n", 2)[0], key.Path)
	}
	assert.Equal(t, len(keys), strings.Count(text, "# Default "))

	loaded, err := config.Load(config.Sources{File: write(t, "reference.yaml", text), Insecure: true})
	require.NoError(t, err)
	assert.Equal(t, config.Default(), loaded)
}

// TestEveryKeyFromEnvironment sets each key by its variable alone, to its default, so that no key is out of reach.
func TestEveryKeyFromEnvironment(t *testing.T) {
	for _, key := range config.Keys() {
		_, err := config.Load(config.Sources{Environ: []string{key.Env + "=!"}, Insecure: true})
		if err != nil { // only a refusal of the value is fine
			assert.NotContains(t, err.Error(), "unknown variable", key.Env)
		}
	}
}

func TestFileMissing(t *testing.T) {
	_, err := config.Load(config.Sources{File: filepath.Join(t.TempDir(), "none.yaml")})
	require.Error(t, err)
	assert.True(t, errors.Is(err, os.ErrNotExist), err)
}

func TestLoopback(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1:80": true, "localhost:80": true, "[::1]:80": true, ":80": false, "0.0.0.0:80": false, "[::]:80": false,
		"10.0.0.1:80": false, "nonsense": false, "localhost.example.org:80": false,
	} {
		assert.Equal(t, want, config.Loopback(addr), addr)
	}
}
