package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestAdmissionWebhook publishes to a node that asks first.
func TestAdmissionWebhook(t *testing.T) {
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	verifier, err := standardwebhooks.NewWebhook(secret)
	require.NoError(t, err)
	var status atomic.Int32
	questions := make(chan map[string]string, 16)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // the signature tells what is missing
		assert.NoError(t, verifier.Verify(body, r.Header))
		var question map[string]string
		assert.NoError(t, json.Unmarshal(body, &question))
		questions <- question
		w.WriteHeader(int(status.Load()))
	}))
	defer receiver.Close()
	p := startServe(t, []string{"RHEOMESH_WEBHOOKS_ADMISSION_URL=" + receiver.URL, "RHEOMESH_WEBHOOKS_ADMISSION_SECRET=" + secret})
	publish := func() (int, string) {
		code, _, stderr := execute(t, nil, "publish", p.url+"/whip/live/clip", "--for", "300ms")
		return code, stderr
	}
	status.Store(403)
	code, stderr := publish()
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "403")
	question := <-questions
	assert.Equal(t, "publish", question["action"])
	assert.Equal(t, "publish", question["role"])
	assert.Equal(t, "live", question["router"])
	assert.Equal(t, "clip", question["publisher"])
	assert.Equal(t, "127.0.0.1", question["client_ip"])
	assert.NotEmpty(t, question["user_agent"])

	status.Store(500)
	code, stderr = publish()
	assert.Equal(t, 1, code, "it fails closed")
	assert.Contains(t, stderr, "503")
	status.Store(204)
	code, stderr = publish()
	assert.Zero(t, code, stderr)

	_, metrics := get(t, p.url+"/metrics", "")
	for _, answer := range []string{"admitted", "refused", "failed"} {
		assert.Contains(t, metrics, `rheomesh_admission_total{answer="`+answer+`"}`)
		assert.NotContains(t, metrics, `rheomesh_admission_total{answer="`+answer+`"} 0`)
	}
}

// TestWebhooksSurviveARestart registers a webhook with one process, which delivers its last events as it stops, and lets the
// next one deliver too.
func TestWebhooksSurviveARestart(t *testing.T) {
	types := make(chan string, 64)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var event struct{ Type string }
		if json.NewDecoder(r.Body).Decode(&event) == nil {
			types <- event.Type
		}
	}))
	defer receiver.Close()
	next := func() string {
		select {
		case name := <-types:
			return name
		case <-time.After(10 * time.Second):
			t.Fatal("the event did not come")
			return ""
		}
	}
	dir := t.TempDir()
	first := startServe(t, nil, "--data-dir", dir)
	response, err := http.Post(first.url+"/api/v1/webhooks", "application/json", strings.NewReader(`{"url":"`+receiver.URL+`"}`))
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, 201, response.StatusCode)
	require.NoError(t, first.Process.Signal(syscall.SIGTERM))
	require.Equal(t, "node.draining", next())
	require.Zero(t, first.end(t))

	second := startServe(t, nil, "--data-dir", dir)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, second.url+"/api/v1/routers/stage", nil)
	require.NoError(t, err)
	response, err = http.DefaultClient.Do(r)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, "router.created", next())
	_, body := get(t, second.url+"/api/v1/webhooks", "")
	require.Contains(t, body, receiver.URL)
}
