package main

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"rheomesh/config"
)

// TestCookbook runs every curl line of docs/api.md, in order, against a node with a publisher and a viewer.
func TestCookbook(t *testing.T) {
	content, err := os.ReadFile("../../docs/api.md")
	require.NoError(t, err)
	p := startServe(t, nil)
	publisher := command(t, nil, "publish", p.url+"/whip/live/clip")
	viewer := command(t, nil, "play", p.url+"/whep/live/clip")
	for _, client := range []*clientProcess{{publisher, "publishers/clip", `"live"`}, {viewer, "subscribers", `"playing"`}} {
		require.NoError(t, client.Start())
		t.Cleanup(func() { _ = client.Process.Kill(); _ = client.Wait() }) // the lines end their sessions
		require.Eventually(t, func() bool {
			status, body := get(t, p.url+"/api/v1/routers/live/"+client.resource, "")
			return status == 200 && strings.Contains(body, client.state)
		}, 10*time.Second, 20*time.Millisecond)
	}
	require.NoError(t, os.WriteFile(filepath.Join(p.Dir, "offer.sdp"), []byte(publisherOffer(t)), 0o600))
	tried := 0
	for line := range strings.Lines(string(content)) {
		if !strings.HasPrefix(line, "curl ") {
			continue
		}
		tried++
		r := parseCurl(t, p, strings.TrimSpace(line))
		response, err := http.DefaultClient.Do(r)
		require.NoError(t, err, line)
		require.NoError(t, response.Body.Close())
		assert.Less(t, response.StatusCode, 300, line)
	}
	assert.Greater(t, tried, 20)
}

type clientProcess struct {
	*exec.Cmd
	resource, state string
}

// shellWord matches one word of a line: plain, or in one kind of quotes.
var shellWord = regexp.MustCompile(`"([^"]*)"|'([^']*)'|(\S+)`)

// parseCurl understands the options that the page uses. $ETAG and $SUBSCRIBER are what the node has now.
func parseCurl(t *testing.T, p *process, line string) *http.Request {
	t.Helper()
	var words []string
	for _, match := range shellWord.FindAllStringSubmatch(line, -1) {
		word := match[1] + match[2] + match[3]
		if match[2] == "" {
			word = expand(t, p, word)
		}
		words = append(words, word)
	}
	method, body, url, header := "", "", "", http.Header{}
	for i := 1; i < len(words); i++ {
		option := words[i]
		switch option {
		case "-i":
			continue
		case "-X", "-H", "-d", "--data-binary":
			i++
		}
		switch option {
		case "-X":
			method = words[i]
		case "-H":
			name, value, _ := strings.Cut(words[i], ": ")
			header.Set(name, value)
		case "-d":
			body = words[i]
		case "--data-binary":
			content, err := os.ReadFile(filepath.Join(p.Dir, strings.TrimPrefix(words[i], "@")))
			require.NoError(t, err)
			body = string(content)
		default:
			require.True(t, strings.HasPrefix(option, "http://127.0.0.1:8080/"), "%s: unknown option %s", line, option)
			url = strings.Replace(option, "http://127.0.0.1:8080", p.url, 1)
		}
	}
	if method == "" && body != "" {
		method = http.MethodPost
	}
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	r.Header = header
	return r
}

func expand(t *testing.T, p *process, word string) string {
	if strings.Contains(word, "$ETAG") {
		response, err := http.Get(p.url + "/api/v1/routers/stage")
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		word = strings.ReplaceAll(word, "$ETAG", response.Header.Get("ETag"))
	}
	if strings.Contains(word, "$SUBSCRIBER") {
		_, body := get(t, p.url+"/api/v1/routers/live/subscribers", "")
		var list struct{ Items []struct{ ID string } }
		require.NoError(t, json.Unmarshal([]byte(body), &list))
		require.NotEmpty(t, list.Items)
		word = strings.ReplaceAll(word, "$SUBSCRIBER", list.Items[0].ID)
	}
	return word
}

func publisherOffer(t *testing.T) string {
	t.Helper()
	pc, err := webrtc.NewPeerConnection(webrtc.Configuration{})
	require.NoError(t, err)
	defer pc.Close()
	_, err = pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	require.NoError(t, err)
	offer, err := pc.CreateOffer(nil)
	require.NoError(t, err)
	return offer.SDP
}

// TestLimitsAreDocumented compares the table of docs/api.md with the keys and with what is counted.
func TestLimitsAreDocumented(t *testing.T) {
	content, err := os.ReadFile("../../docs/api.md")
	require.NoError(t, err)
	known := map[string]bool{}
	for _, key := range config.Keys() {
		known[key.Path] = true
	}
	_, limits, found := strings.Cut(string(content), "## Limits")
	require.True(t, found)
	keys := 0
	for _, match := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(limits, -1) {
		if name := match[1]; strings.Contains(name, "_") && !strings.HasPrefix(name, "rheomesh_") {
			keys++
			assert.True(t, known["limits."+name], name)
		}
	}
	assert.GreaterOrEqual(t, keys, 8)
	n, err := startNode(demoConfig(), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer func() { assert.NoError(t, n.stop()) }()
	for reason := range n.server.Rejected() {
		assert.Contains(t, limits, "`"+reason+"`", "a reason that the page does not explain")
	}
}
