package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"rheomesh/client"
	"rheomesh/clip"
)

var relayLine = regexp.MustCompile(`(?m)^Listens +relay udp (\S+?),`)

// relayAddr is where the process listens for other nodes.
func (p *process) relayAddr(t *testing.T) string {
	t.Helper()
	match := relayLine.FindStringSubmatch(p.banner)
	require.NotNil(t, match, p.banner)
	return match[1]
}

// putRelay begins a relay of everything in live.
func (p *process) putRelay(t *testing.T, peer string) {
	t.Helper()
	body := fmt.Sprintf(`{"peer":%q,"publishers":["*"]}`, peer)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, p.url+"/api/v1/routers/live/relays/edge", bytes.NewReader([]byte(body)))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusCreated, response.StatusCode)
}

func (p *process) relayState(t *testing.T) string {
	t.Helper()
	_, body := get(t, p.url+"/api/v1/routers/live/relays/edge", "")
	var shown struct{ State string }
	_ = json.Unmarshal([]byte(body), &shown) // the state is empty then
	return shown.State
}

func live(t *testing.T, p *process) bool {
	_, body := get(t, p.url+"/api/v1/routers/live/publishers/cam", "")
	return bytes.Contains([]byte(body), []byte(`"state":"live"`))
}

// Two processes: what is published on one is played on the other, and the relay outlives kill -9 of either.
func TestRelayOutlivesKills(t *testing.T) {
	dir := t.TempDir()
	edge := startServe(t, nil)
	origin := startServe(t, nil, "--data-dir", dir)
	publication, err := client.Publish(t.Context(), client.PublishOptions{
		Options: client.Options{URL: origin.url + "/whip/live/cam"}, Video: clip.VP8(clip.Large), Audio: clip.Opus(), AnswerPLI: true,
	})
	require.NoError(t, err)
	defer func() { _ = publication.Close(context.Background()) }() // its node is gone by then
	require.NoError(t, publication.Connected(t.Context()))
	origin.putRelay(t, edge.relayAddr(t))
	code, stdout, stderr := execute(t, nil, "play", edge.url+"/whep/live/cam", "--for", "1500ms", "--json")
	require.Zero(t, code, stdout+stderr)

	addr := edge.relayAddr(t)
	require.NoError(t, edge.Process.Signal(syscall.SIGKILL))
	_ = edge.Wait() // it was killed
	require.Eventually(t, func() bool { return origin.relayState(t) != "active" }, 5*time.Second, 10*time.Millisecond)
	edge = startServe(t, nil, "--relay", addr)
	start := time.Now()
	require.Eventually(t, func() bool { return live(t, edge) }, 10*time.Second, 10*time.Millisecond)
	t.Logf("edge killed: live again %v after its start", time.Since(start).Round(time.Millisecond))
	assert.Less(t, time.Since(start), 3*time.Second)

	require.NoError(t, origin.Process.Signal(syscall.SIGKILL))
	_ = origin.Wait() // it was killed
	start = time.Now()
	require.Eventually(t, func() bool { return !live(t, edge) }, 15*time.Second, 20*time.Millisecond, "a ghost stays")
	t.Logf("origin killed: its publisher idle after %v", time.Since(start).Round(time.Millisecond))
	assert.Less(t, time.Since(start), 5*time.Second)
	origin = startServe(t, nil, "--data-dir", dir)
	require.Eventually(t, func() bool { return origin.relayState(t) == "active" }, 10*time.Second, 10*time.Millisecond, "the relay is restored")
}

// The edge stands still for a while: the origin does not care, and the relay goes on at once when the edge does.
func TestRelayOutlivesStandstill(t *testing.T) {
	edge, origin := startServe(t, nil), startServe(t, nil)
	publication, err := client.Publish(t.Context(), client.PublishOptions{
		Options: client.Options{URL: origin.url + "/whip/live/cam"}, Video: clip.VP8(clip.Large), Audio: clip.Opus(), AnswerPLI: true,
	})
	require.NoError(t, err)
	defer func() { _ = publication.Close(t.Context()) }() // its node is about to end
	require.NoError(t, publication.Connected(t.Context()))
	origin.putRelay(t, edge.relayAddr(t))
	playback, err := client.Play(t.Context(), client.PlayOptions{Options: client.Options{URL: edge.url + "/whep/live/cam"}})
	require.NoError(t, err)
	defer func() { _ = playback.Close(t.Context()) }() // the same
	packets := func() (n uint64) {
		for _, track := range playback.Stats().Tracks {
			n += track.Packets
		}
		return n
	}
	require.Eventually(t, func() bool { return packets() > 50 }, 10*time.Second, 5*time.Millisecond)
	require.NoError(t, edge.Process.Signal(syscall.SIGSTOP))
	time.Sleep(5 * time.Second) // the standstill is the test
	code, stdout, stderr := execute(t, nil, "play", origin.url+"/whep/live/cam", "--for", "500ms", "--json")
	assert.Zero(t, code, stdout+stderr, "viewers on the origin notice nothing")
	before, back := packets(), time.Now()
	require.NoError(t, edge.Process.Signal(syscall.SIGCONT))
	require.Eventually(t, func() bool { return packets() > before+20 && origin.relayState(t) == "active" }, 10*time.Second, 5*time.Millisecond)
	t.Logf("media again %v after the standstill", time.Since(back).Round(time.Millisecond))
	assert.Less(t, time.Since(back), 2*time.Second)
}
