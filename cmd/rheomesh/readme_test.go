package main

import (
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestReadme tries the commands of the README against a node: documentation that fails is worse than none.
func TestReadme(t *testing.T) {
	content, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	lines := strings.Split(string(content), "\n")
	assert.Less(t, len(lines), 150)

	p := startServe(t, nil)
	publisher := command(t, nil, "publish", p.url+"/whip/live/clip")
	require.NoError(t, publisher.Start())
	t.Cleanup(func() { _ = publisher.Process.Kill(); _ = publisher.Wait() }) // the last curl line ends its session
	require.Eventually(t, func() bool {
		status, _ := get(t, p.url+"/api/v1/routers/live/publishers/clip", "")
		return status == 200
	}, 10*time.Second, 20*time.Millisecond)

	tried := 0
	for _, line := range lines {
		if rest, ok := strings.CutPrefix(line, "curl "); ok {
			tried++
			assert.Less(t, curl(t, p.url, strings.Fields(rest)), 300, line)
		}
		line = strings.Replace(line, "go run ./cmd/rheomesh ", "./rheomesh ", 1)
		if rest, ok := strings.CutPrefix(line, "./rheomesh "); ok {
			name, _, _ := strings.Cut(rest, " ")
			found, _, err := newRoot().Find([]string{name})
			require.NoError(t, err, line)
			assert.Equal(t, name, found.Name(), line)
			tried++
		}
	}
	assert.GreaterOrEqual(t, tried, 9)
}

// curl does what curl would with -X METHOD URL, on the node at base.
func curl(t *testing.T, base string, args []string) (status int) {
	t.Helper()
	method := http.MethodGet
	if args[0] == "-X" {
		method, args = args[1], args[2:]
	}
	url := strings.Replace(args[0], "http://127.0.0.1:8080", base, 1)
	require.NotEqual(t, args[0], url, "the README's node is at 127.0.0.1:8080")
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	return response.StatusCode
}
