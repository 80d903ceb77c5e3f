package api

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"rheomesh/client"
	"rheomesh/clip"
)

// raw sends bytes on a connection of its own and returns the status, 0 when there was no answer.
func raw(t *testing.T, addr, text string) int {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(8*time.Second)))
	_, _ = io.WriteString(conn, text) // the server may answer and close before all is written
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0
	}
	_ = response.Body.Close()
	return response.StatusCode
}

// TestAbuseHarmsNoMedia does what hostile and broken clients do, while somebody watches a stream.
func TestAbuseHarmsNoMedia(t *testing.T) {
	s := newFullServer(t, Credentials{}, nil)
	addr := serve(t, s, 300, 400)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	url := "http://" + addr
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	options := func(path string) client.Options {
		return client.Options{URL: url + path, HTTPClient: &http.Client{Transport: transport}}
	}
	publication, err := client.Publish(ctx, client.PublishOptions{Options: options("/whip/live/cam"), Video: clip.VP8(clip.Small), Audio: clip.Opus(), AnswerPLI: true})
	require.NoError(t, err)
	defer publication.Close(ctx)
	playback, err := client.Play(ctx, client.PlayOptions{Options: options("/whep/live/cam")})
	require.NoError(t, err)
	defer playback.Close(ctx)
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecTypeAudio} {
		_, err = playback.FirstFrame(ctx, kind)
		require.NoError(t, err)
	}
	before := playback.Stats()

	t.Run("requests", func(t *testing.T) { sendOddRequests(t, addr) })
	t.Run("slow headers", func(t *testing.T) { holdSlowHeaders(t, addr) })
	t.Run("connections", func(t *testing.T) { openConnections(t, s, addr) })

	after := playback.Stats()
	require.Len(t, after.Tracks, 2)
	for i, track := range after.Tracks {
		assert.Zero(t, track.Lost, track.Kind)
		assert.Zero(t, track.BrokenFrames, track.Kind)
		assert.Greater(t, track.Frames, before.Tracks[i].Frames+50, track.Kind)
	}
}

func sendOddRequests(t *testing.T, addr string) {
	head := func(method, path string, more ...string) string {
		return method + " " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + strings.Join(more, "\r\n") + strings.Repeat("\r\n", min(1, len(more))) + "\r\n"
	}
	put := func(path, body string) string {
		return head("PUT", path, "Content-Type: application/json", fmt.Sprintf("Content-Length: %d", len(body))) + body
	}
	const routers = "/api/v1/routers/"
	for _, row := range []struct {
		name, text string
		want       int
	}{
		{"invalid UTF-8 in a path", head("GET", routers+"%ff%fe"), 400},
		{"raw bytes in a path", head("GET", routers+"\xff\xfe"), 400},
		{"overlong slash", head("GET", routers+"%c0%af"), 400},
		{"zero byte", head("GET", routers+"a%00"), 400},
		{"new line", head("GET", routers+"a%0ab"), 400},
		{"escaped slash", head("DELETE", routers+"live%2fpublishers"), 400},
		{"backslash", head("DELETE", routers+"live%5c..%5cx"), 400},
		{"dots", head("DELETE", routers+".."), 400},
		{"escaped dots", head("DELETE", routers+"%2e%2e"), 400},
		{"double slash", head("GET", "/api/v1//routers"), 404},
		{"dots out of the API", head("GET", "/api/v1/../../etc/passwd"), 404},
		{"dots out of the page", head("GET", "/swagger/../../../etc/passwd"), 404},
		{"wide characters", head("GET", routers+"%EF%BC%8E%EF%BC%8E"), 400},
		{"bad escape", head("GET", routers+"%zz"), 400},
		{"id of 65", head("GET", routers+strings.Repeat("a", 65)), 400},
		{"path of 9,000", head("GET", routers+strings.Repeat("a", 9000)), 400},
		{"publisher with dots", head("GET", "/whip/live/%2e%2e"), 400},
		{"session with a slash", head("GET", "/whip/live/cam/a%2fb"), 404},
		{"invalid UTF-8 in a body", put(routers+"u", "{\"metadata\":{\"a\":\"\xff\"}}"), 201},
		{"zero bytes in a body", put(routers+"z", "{\x00}"), 400},
		{"deep nesting", put(routers+"n", strings.Repeat(`{"metadata":`, 5000)), 400},
		{"deep lists", put(routers+"n", `{"codecs":`+strings.Repeat("[", 20000)+"}"), 400},
		{"huge number", put(routers+"n", `{"max_publishers":1e999}`), 400},
		{"twice the same key", put(routers+"k", `{"max_publishers":1,"max_publishers":2}`), 201},
		{"large header", head("GET", "/healthz", "X-Large: "+strings.Repeat("x", 32<<10)), 431},
		{"many headers", head("GET", "/healthz", strings.Repeat("X: y\r\n", 10000)+"X: y"), 431},
		{"no host", "GET /healthz HTTP/1.1\r\n\r\n", 400},
		{"two lengths", head("PUT", routers+"s", "Content-Length: 2", "Content-Length: 3") + "{}x", 400},
		{"length that lies", head("PUT", routers+"s", "Content-Type: application/json", "Content-Length: 1048576", "Expect: 100-continue") + "{}", 413},
		{"unknown transfer encoding", head("PUT", routers+"s", "Transfer-Encoding: gzip") + "{}", 501},
		{"chunk that is none", head("PUT", routers+"s", "Content-Type: application/json", "Transfer-Encoding: chunked") + "zz\r\n{}\r\n0\r\n\r\n", 400},
		{"space before the colon", head("GET", "/healthz", "X : y"), 400},
		{"folded header", head("GET", "/healthz", "X: y\r\n z"), 200},
		{"TLS on a plain port", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400},
		{"proxy request", head("GET", "http://example.org/healthz"), 200},
		{"CONNECT", "CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n", 404},
		{"unknown method", head("BREW", routers+"live"), 405},
		{"override of the method", head("GET", routers+"none", "X-HTTP-Method-Override: PUT"), 404},
		{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 404},
		{"noise", "\x00\x01\x02\x03\r\n\r\n", 400},
	} {
		t.Run(row.name, func(t *testing.T) { assert.Equal(t, row.want, raw(t, addr, row.text)) })
	}
}

// holdSlowHeaders keeps 200 connections with half a header, for as long as the server lets it.
func holdSlowHeaders(t *testing.T, addr string) {
	var held []net.Conn
	for range 200 {
		conn, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		held = append(held, conn)
		_, err = io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
		require.NoError(t, err)
	}
	start := time.Now()
	require.Equal(t, 200, raw(t, addr, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
	assert.Less(t, time.Since(start), 2*time.Second, "others are served meanwhile")
	for _, conn := range held {
		require.NoError(t, conn.SetReadDeadline(start.Add(readHeaderTimeout+3*time.Second)))
		_, err := io.Copy(io.Discard, conn) // until the server closes; before that it may answer
		assert.NoError(t, err, "a connection with half a header outlives the timeout")
		require.NoError(t, conn.Close())
	}
}

// openConnections opens 10,000 and keeps them. No more than the limit of the address are accepted for good.
func openConnections(t *testing.T, s *Server, addr string) {
	const total, dialers = 10_000, 50
	refusedBefore := s.connections.refused.Load()
	kept := make(chan net.Conn, total)
	var wg sync.WaitGroup
	for range dialers {
		wg.Go(func() {
			for range total / dialers {
				if conn, err := net.Dial("tcp", addr); err == nil {
					kept <- conn
				}
			}
		})
	}
	wg.Wait()
	close(kept)
	require.Eventually(t, func() bool { return s.connections.refused.Load()-refusedBefore >= uint64(len(kept))-300 }, 10*time.Second, 10*time.Millisecond)
	s.connections.mu.Lock()
	assert.LessOrEqual(t, s.connections.sum, 300)
	s.connections.mu.Unlock()
	for conn := range kept {
		_ = conn.Close()
	}
	require.Eventually(t, func() bool {
		return raw(t, addr, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n") == 200
	}, 10*time.Second, 20*time.Millisecond, "the places are given back")
}
