package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// asProgram makes the test's own executable behave as the program, so that commands are tried as real processes.
const asProgram = "TEST_AS_RHEOMESH"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

const testSecret = "0123456789abcdef0123456789abcdef"

// command prepares the program with only env as its RHEOMESH_ variables, in a directory of its own.
func command(t testing.TB, env []string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Dir = t.TempDir()
	cmd.Env = append([]string{
		asProgram + "=1", "HOME=" + cmd.Dir, "PATH=" + os.Getenv("PATH"),
		"GORACE=atexit_sleep_ms=0",
	}, env...) // the race detector waits a second by default before a process may end
	return cmd
}

// execute runs the program to its end.
func execute(t *testing.T, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := command(t, env, args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errOut.String()
}

// process is a program that runs on.
type process struct {
	*exec.Cmd
	url    string // of its HTTP listener
	banner string
	stderr *lockedBuffer
}

type lockedBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

var pageLine = regexp.MustCompile(`(?m)^Page +(\S+)/$`)

// startServe runs serve on free loopback ports and waits until it has printed what it offers.
func startServe(t testing.TB, env []string, args ...string) *process {
	t.Helper()
	cmd := command(t, env, append([]string{"serve", "--http", "127.0.0.1:0", "--media", "127.0.0.1:0", "--relay", "127.0.0.1:0"}, args...)...)
	return started(t, cmd)
}

// started starts a serve command and waits until it has printed what it offers.
func started(t testing.TB, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{Cmd: cmd, stderr: &lockedBuffer{}}
	cmd.Stderr = p.stderr
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }) // it has ended already where the test is about its end
	lines := bufio.NewScanner(stdout)
	var banner strings.Builder
	for lines.Scan() {
		banner.WriteString(lines.Text() + "\n")
		if strings.HasPrefix(lines.Text(), "Offers") { // the last block
			break
		}
	}
	p.banner = banner.String()
	match := pageLine.FindStringSubmatch(p.banner)
	require.NotNil(t, match, "%s%s", p.banner, p.stderr)
	p.url = match[1]
	go func() { _, _ = io.Copy(io.Discard, stdout) }() // ends with the process
	return p
}

// end waits for the process and returns its exit code.
func (p *process) end(t *testing.T) int {
	t.Helper()
	_ = p.Wait() // the code says it all
	require.True(t, p.ProcessState.Exited(), "%s %s", p.ProcessState, p.stderr)
	return p.ProcessState.ExitCode()
}

func get(t *testing.T, url, token string) (status int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(content)
}

func keyVariable(secret string) string {
	return `RHEOMESH_AUTH_API_KEYS=[{"id":"ops","secret":"` + secret + `","grants":[{"routers":["*"],"actions":["publish","play","admin"]}]}]`
}

func TestConfigPrecedence(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rheomesh.yaml")
	require.NoError(t, os.WriteFile(file, []byte("data_dir: from-file\n"), 0o600))
	for _, row := range []struct {
		name string
		env  []string
		args []string
		want string
	}{
		{"default", nil, nil, `data_dir: "./rheomesh-data"`},
		{"file by flag", nil, []string{"--config", file}, `data_dir: "from-file"`},
		{"file by variable", []string{"RHEOMESH_CONFIG=" + file}, nil, `data_dir: "from-file"`},
		{"variable over file", []string{"RHEOMESH_DATA_DIR=from-env"}, []string{"--config", file}, `data_dir: "from-env"`},
		{"flag over variable", []string{"RHEOMESH_DATA_DIR=from-env"}, []string{"--config", file, "--data-dir", "from-flag"}, `data_dir: "from-flag"`},
		{"repeated flag", nil, []string{"--router", "a", "--router", "b"}, `routers: ["a", "b"]`},
		{"address list", nil, []string{"--public-ip", "203.0.113.7,203.0.113.8"}, `public_ips: ["203.0.113.7", "203.0.113.8"]`},
		{"secret masked", []string{keyVariable(testSecret)}, nil, "secret_sha256"},
	} {
		t.Run(row.name, func(t *testing.T) {
			code, stdout, stderr := execute(t, row.env, append([]string{"config", "print"}, row.args...)...)
			require.Zero(t, code, stderr)
			assert.Contains(t, stdout, row.want)
			assert.NotContains(t, stdout, testSecret)
		})
	}
}

func TestRefusedStarts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rheomesh.yaml")
	require.NoError(t, os.WriteFile(file, []byte("http: {adr: ':1'}\n"), 0o600))
	for _, row := range []struct {
		name string
		env  []string
		args []string
		code int
		want []string
	}{
		{"open to all", nil, []string{"serve", "--http", ":0"}, 1, []string{"http.addr", "RHEOMESH_AUTH_API_KEYS", "--insecure"}},
		{"media open to all", nil, []string{"serve", "--http", "127.0.0.1:0", "--media", "0.0.0.0:0"}, 1, []string{"media.addr", "--insecure"}},
		{"unknown key", nil, []string{"serve", "--config", file}, 1, []string{file, "unknown key http.adr", "did you mean http.addr?"}},
		{"unknown key, checked", nil, []string{"config", "check", "--config", file}, 1, []string{"unknown key http.adr"}},
		{"unknown variable", []string{"RHEOMESH_HTTP_ADR=:1"}, []string{"serve"}, 1, []string{"unknown variable RHEOMESH_HTTP_ADR"}},
		{"short secret", []string{keyVariable("short")}, []string{"serve"}, 1, []string{"auth.api_keys[0].secret: must have at least 32 characters"}},
		{"bad flag value", nil, []string{"serve", "--public-ip", "example.org"}, 1, []string{"media.public_ips[0]: must be an IP address"}},
		{"unknown flag", nil, []string{"serve", "--htp", ":1"}, 2, []string{"unknown flag: --htp"}},
		{"argument", nil, []string{"serve", "now"}, 2, []string{"unknown command"}},
		{"unknown command", nil, []string{"sevre"}, 2, []string{"unknown command", "sevre"}},
		{"relay for other machines", nil, []string{"serve", "--relay", ":1"}, 1, []string{"relay.addr", "relay.secret"}},
		{"no URL", nil, []string{"play"}, 2, []string{"accepts 1 arg"}},
		{"not a URL", nil, []string{"publish", "localhost:8080"}, 2, []string{"not an http or https URL"}},
		{"simulcast of files", nil, []string{"publish", "http://127.0.0.1:1/whip/live/a", "--video", "a.ivf", "--simulcast"}, 2, []string{"--simulcast"}},
		{"missing file", nil, []string{"publish", "http://127.0.0.1:1/whip/live/a", "--video", "none.ivf"}, 1, []string{"none.ivf"}},
		{"nobody there", nil, []string{"play", "http://127.0.0.1:1/whep/live/a", "--for", "5s"}, 1, []string{"refused"}},
		{"unhealthy", nil, []string{"healthcheck", "--http", "127.0.0.1:1"}, 1, []string{"refused"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			code, stdout, stderr := execute(t, row.env, row.args...)
			assert.Equal(t, row.code, code, stderr)
			assert.Empty(t, stdout)
			for _, part := range row.want {
				assert.Contains(t, stderr, part)
			}
		})
	}
}

func TestServe(t *testing.T) {
	p := startServe(t, nil, "--router", "live", "--router", "stage")
	for _, part := range []string{
		"WHIP     " + p.url + "/whip/live/{name}", "WHEP     " + p.url + "/whep/stage/{name}", "API      " + p.url + "/api/v1/node",
		"Service WHIP, Server " + p.url + "/whip/live/obs, Bearer Token: leave empty", "Keyframe Interval 1 s",
		"http tcp 127.0.0.1:", "media udp 127.0.0.1:", "media tcp 127.0.0.1:", "GSO ", "buffers ",
	} {
		assert.Contains(t, p.banner, part)
	}
	assert.NotContains(t, p.banner, ":0\n", "the chosen ports are printed")
	assert.NotContains(t, p.banner, "WARNING")

	status, body := get(t, p.url+"/api/v1/node", "")
	require.Equal(t, 200, status, body)
	var node struct {
		ID        string
		Listeners []struct{ Name, Network, Addr string }
	}
	require.NoError(t, json.Unmarshal([]byte(body), &node))
	assert.Contains(t, p.banner, node.ID)
	require.Len(t, node.Listeners, 5, "http, media by UDP and TCP, relay by UDP and TCP")
	for _, l := range node.Listeners {
		assert.Contains(t, p.banner, l.Name+" "+l.Network+" "+l.Addr, "API and start lines agree")
	}
	status, body = get(t, p.url+"/", "")
	assert.Equal(t, 200, status)
	assert.Contains(t, body, "<html")
	status, _ = get(t, p.url+"/nothing", "")
	assert.Equal(t, 404, status)

	code, _, stderr := execute(t, nil, "healthcheck", "--http", strings.TrimPrefix(p.url, "http://"))
	assert.Zero(t, code, stderr)

	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	assert.Zero(t, p.end(t))
	assert.Contains(t, p.stderr.String(), `"msg":"draining"`, "logs are JSON where there is no terminal")
}

func TestServeWithCredentials(t *testing.T) {
	p := startServe(t, []string{keyVariable(testSecret)})
	assert.Contains(t, p.banner, "Bearer Token: the secret of a key that may publish")
	status, body := get(t, p.url+"/api/v1/node", "")
	assert.Equal(t, 401, status)
	assert.Contains(t, body, "urn:rheomesh:problem:unauthorized")
	status, _ = get(t, p.url+"/api/v1/node", testSecret)
	assert.Equal(t, 200, status)

	code, _, stderr := execute(t, nil, "publish", p.url+"/whip/live/a", "--for", "3s")
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "401")
	code, _, stderr = execute(t, []string{"RHEOMESH_TOKEN=" + testSecret}, "publish", p.url+"/whip/live/a", "--for", "500ms")
	assert.Zero(t, code, stderr)
	code, _, stderr = execute(t, nil, "publish", p.url+"/whip/live/a", "--for", "500ms", "--token", testSecret)
	assert.Zero(t, code, stderr)
	assert.NotContains(t, p.stderr.String(), testSecret)
}

func TestServePortTaken(t *testing.T) {
	p := startServe(t, nil)
	code, stdout, stderr := execute(t, nil, "serve", "--http", strings.TrimPrefix(p.url, "http://"), "--media", "127.0.0.1:0")
	assert.Equal(t, 1, code)
	assert.Empty(t, stdout)
	assert.Contains(t, stderr, "http listener")
	assert.Contains(t, stderr, "address already in use")
}

func TestPublishAndPlay(t *testing.T) {
	p := startServe(t, nil)
	publisher := command(t, nil, "publish", p.url+"/whip/live/clip", "--simulcast")
	require.NoError(t, publisher.Start())
	require.Eventually(t, func() bool {
		status, body := get(t, p.url+"/api/v1/routers/live/publishers/clip", "")
		return status == 200 && strings.Contains(body, `"state":"live"`)
	}, 10*time.Second, 20*time.Millisecond)

	save := t.TempDir()
	code, stdout, stderr := execute(t, nil, "play", p.url+"/whep/live/clip", "--for", "2s", "--json", "--save", save)
	require.Zero(t, code, stderr)
	var report playReport
	require.NoError(t, json.Unmarshal([]byte(stdout), &report), stdout)
	assert.True(t, report.Decodable)
	assert.Len(t, report.Tracks, 2)
	for _, track := range report.Tracks {
		assert.Greater(t, track.DecodableFrames, uint64(20), track.Kind)
		assert.Zero(t, track.PacketsLost, track.Kind)
	}
	assert.Len(t, report.Saved, 2)
	for _, name := range report.Saved {
		info, err := os.Stat(name)
		require.NoError(t, err)
		assert.Greater(t, info.Size(), int64(1000), name)
	}

	code, stdout, stderr = execute(t, nil, "play", p.url+"/whep/live/clip", "--for", "1s")
	assert.Zero(t, code, stderr)
	assert.Contains(t, stdout, "frames")

	require.NoError(t, publisher.Process.Signal(os.Interrupt))
	assert.NoError(t, publisher.Wait(), "Ctrl-C is how it is meant to end")
	code, _, stderr = execute(t, nil, "play", p.url+"/whep/live/clip", "--for", "700ms")
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "no decodable media arrived")
}

func TestDrainWaitsForSessions(t *testing.T) {
	p := startServe(t, []string{"RHEOMESH_LIMITS_DRAIN_GRACE=2s"})
	publisher := command(t, nil, "publish", p.url+"/whip/live/clip")
	require.NoError(t, publisher.Start())
	require.Eventually(t, func() bool {
		_, body := get(t, p.url+"/api/v1/routers/live/publishers", "")
		return strings.Contains(body, `"state":"live"`)
	}, 10*time.Second, 20*time.Millisecond)

	start := time.Now()
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	require.Eventually(t, func() bool {
		status, body := get(t, p.url+"/readyz", "")
		return status == 503 && strings.Contains(body, "urn:rheomesh:problem:draining")
	}, 2*time.Second, 10*time.Millisecond)
	status, _ := get(t, p.url+"/healthz", "")
	assert.Equal(t, 200, status)
	code, _, stderr := execute(t, nil, "publish", p.url+"/whip/live/other", "--for", "5s")
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "503")

	assert.Zero(t, p.end(t))
	assert.GreaterOrEqual(t, time.Since(start), 1900*time.Millisecond, "the grace")
	assert.Error(t, publisher.Wait(), "its session was ended by the server")
}

func TestDrainEndsWithTheLastSession(t *testing.T) {
	p := startServe(t, []string{"RHEOMESH_LIMITS_DRAIN_GRACE=30s"})
	publisher := command(t, nil, "publish", p.url+"/whip/live/clip")
	require.NoError(t, publisher.Start())
	require.Eventually(t, func() bool {
		_, body := get(t, p.url+"/api/v1/routers/live/publishers", "")
		return strings.Contains(body, `"state":"live"`)
	}, 10*time.Second, 20*time.Millisecond)
	start := time.Now()
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	require.NoError(t, publisher.Process.Signal(os.Interrupt))
	assert.Zero(t, p.end(t))
	assert.Less(t, time.Since(start), 10*time.Second)
	assert.NoError(t, publisher.Wait())
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	p := startServe(t, []string{"RHEOMESH_LIMITS_DRAIN_GRACE=1h"})
	publisher := command(t, nil, "publish", p.url+"/whip/live/clip")
	require.NoError(t, publisher.Start())
	require.Eventually(t, func() bool {
		_, body := get(t, p.url+"/api/v1/routers/live/publishers", "")
		return strings.Contains(body, `"state":"live"`)
	}, 10*time.Second, 20*time.Millisecond)
	require.NoError(t, p.Process.Signal(os.Interrupt))
	require.Eventually(t, func() bool { status, _ := get(t, p.url+"/readyz", ""); return status == 503 }, 5*time.Second, 10*time.Millisecond)
	require.NoError(t, p.Process.Signal(os.Interrupt))
	_ = p.Wait() // the state says how it ended
	status, ok := p.ProcessState.Sys().(syscall.WaitStatus)
	require.True(t, ok)
	assert.True(t, status.Signaled())
	_ = publisher.Process.Kill()
	_ = publisher.Wait() // its server has died
}

func TestDemo(t *testing.T) {
	code, stdout, stderr := execute(t, nil, "demo", "--for", "2500ms", "--json")
	require.Zero(t, code, stderr)
	var report demoReport
	require.NoError(t, json.Unmarshal([]byte(stdout), &report), stdout)
	assert.True(t, report.Decodable)
	assert.Positive(t, report.Origin.Packets)
	assert.Positive(t, report.Edge.Packets)
	assert.NotEqual(t, report.Origin.NodeID, report.Edge.NodeID)

	code, stdout, stderr = execute(t, nil, "demo", "--for", "1500ms")
	require.Zero(t, code, stderr)
	assert.Regexp(t, `watch it   http://127.0.0.1:\d+/#/watch/live/demo`, stdout)
	assert.Regexp(t, `video VP8 640x360 \S+ Mbit/s, \d+ frames \(0 broken\), 0 lost`, stdout)
}

// TestDemoWithoutMedia ends before anything can have arrived.
func TestDemoWithoutMedia(t *testing.T) {
	code, _, stderr := execute(t, nil, "demo", "--for", "1ms")
	assert.Equal(t, 1, code)
	assert.NotEmpty(t, stderr)
}

func TestSmallCommands(t *testing.T) {
	code, stdout, _ := execute(t, nil, "version")
	assert.Zero(t, code)
	assert.Regexp(t, `^rheomesh \S+ go1\.\d+`, stdout)
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		code, stdout, _ := execute(t, nil, "completion", shell)
		assert.Zero(t, code)
		assert.Contains(t, stdout, "rheomesh")
	}
	code, stdout, _ = execute(t, nil)
	assert.Zero(t, code)
	assert.Contains(t, stdout, "serve")
	assert.NotContains(t, stdout, "healthcheck", "hidden")
}

func TestServeLeavesItsDirectoryAlone(t *testing.T) {
	cmd := command(t, nil, "demo", "--for", "1ms")
	_ = cmd.Run() // how it ends is not the question
	entries, err := os.ReadDir(cmd.Dir)
	require.NoError(t, err)
	assert.Empty(t, entries, "the demo writes nothing")
}
