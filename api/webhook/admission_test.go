package webhook

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var question = Question{Action: "publish", Role: "publish", Router: "live", Publisher: "cam", ClientIP: "192.0.2.1", UserAgent: "test"}

func newAdmission(t *testing.T, cfg AdmissionConfig) *Admission {
	t.Helper()
	a, err := NewAdmission(cfg)
	require.NoError(t, err)
	t.Cleanup(a.Close)
	return a
}

func TestAdmission(t *testing.T) {
	redirect := func(w http.ResponseWriter) { w.Header().Set("Location", "/"); w.WriteHeader(302) }
	status := func(n int) func(http.ResponseWriter) { return func(w http.ResponseWriter) { w.WriteHeader(n) } }
	for _, row := range []struct {
		name   string
		answer func(http.ResponseWriter)
		want   error // of a node that fails closed
		open   error // of one that fails open
	}{
		{"200", status(200), nil, nil},
		{"204", status(204), nil, nil},
		{"403", status(403), ErrRefused, ErrRefused},
		{"401", status(401), ErrRefused, ErrRefused},
		{"404", status(404), ErrUnavailable, nil},
		{"500", status(500), ErrUnavailable, nil},
		{"redirect", redirect, ErrUnavailable, nil},
		{"broken connection", func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, ErrUnavailable, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			rec := newReceiver(t, func(_ int, w http.ResponseWriter, _ *http.Request) { row.answer(w) })
			assert.ErrorIs(t, newAdmission(t, AdmissionConfig{URL: rec.URL}).Ask(t.Context(), question), row.want)
			assert.ErrorIs(t, newAdmission(t, AdmissionConfig{URL: rec.URL, FailOpen: true}).Ask(t.Context(), question), row.open)
		})
	}
}

func TestAdmissionQuestion(t *testing.T) {
	rec := newReceiver(t, nil)
	secret := NewSecret()
	a := newAdmission(t, AdmissionConfig{URL: rec.URL, Secret: secret})
	long := question
	long.UserAgent = strings.Repeat("x", maxAgentBytes-1) + "ü"
	require.NoError(t, a.Ask(t.Context(), long))
	got := rec.requests()[0]
	verifier, err := standardwebhooks.NewWebhook(string(secret))
	require.NoError(t, err)
	require.NoError(t, verifier.Verify(got.body, got.header))
	var asked Question
	require.NoError(t, json.Unmarshal(got.body, &asked))
	require.Equal(t, strings.Repeat("x", maxAgentBytes-1), asked.UserAgent, "cut at a character")
	asked.UserAgent = question.UserAgent
	require.Equal(t, question, asked)

	require.NoError(t, newAdmission(t, AdmissionConfig{URL: rec.URL}).Ask(t.Context(), question))
	require.Empty(t, rec.requests()[1].header.Get("Webhook-Signature"), "without a secret")
	admitted, refused, failed := a.Answers()
	require.Equal(t, []uint64{1, 0, 0}, []uint64{admitted, refused, failed})
}

// TestAdmissionTimeout asks a receiver that hangs, more often than questions may be under way: all are refused in time.
func TestAdmissionTimeout(t *testing.T) {
	rec := newReceiver(t, hanging)
	a := newAdmission(t, AdmissionConfig{URL: rec.URL})
	var asking sync.WaitGroup
	start := time.Now()
	for range 2 * maxQuestions {
		asking.Go(func() { assert.ErrorIs(t, a.Ask(t.Context(), question), ErrUnavailable) })
	}
	rec.wait(t, maxQuestions)
	require.Len(t, rec.requests(), maxQuestions, "the others wait for their turn")
	asking.Wait()
	require.InDelta(t, admissionTimeout.Seconds(), time.Since(start).Seconds(), 1)
}

func TestAdmissionAddress(t *testing.T) {
	a := newAdmission(t, AdmissionConfig{URL: "http://169.254.169.254/"})
	require.ErrorIs(t, a.Ask(t.Context(), question), ErrUnavailable, "not even the operator's choice")
	for _, url := range []string{"", "ftp://x/", "http://u:p@x/"} {
		_, err := NewAdmission(AdmissionConfig{URL: url})
		require.ErrorIs(t, err, ErrTarget)
	}
	_, err := NewAdmission(AdmissionConfig{URL: "http://8.8.8.8/", Secret: "whsec_short"})
	require.ErrorIs(t, err, ErrSecret)
}
