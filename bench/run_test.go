package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rheomesh/sfu"
)

func TestRun(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		profile Profile
		change  func(*Config)
		server  func(*sfu.Config)
		want    string
	}{
		{"gcm", ProfileGCM, func(*Config) {}, func(*sfu.Config) {}, "SRTP_AEAD_AES_128_GCM"},
		{"sha1", ProfileSHA1, func(*Config) {}, func(*sfu.Config) {}, "SRTP_AES128_CM_HMAC_SHA1_80"},
		{"ice-lite", ProfileGCM, func(*Config) {}, func(c *sfu.Config) { c.ICELite = true }, "SRTP_AEAD_AES_128_GCM"},
		{"two-publishers-paced-joining-at-once", ProfileGCM, func(c *Config) {
			c.Publishers, c.Viewers, c.Join, c.Stream.Burst = 2, 4, 4, 3
		}, func(*sfu.Config) {}, "SRTP_AEAD_AES_128_GCM"},
		{"nack", ProfileGCM, func(c *Config) { c.NACK = true }, func(*sfu.Config) {}, "SRTP_AEAD_AES_128_GCM"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, base := newTestServer(t, test.server)
			c := quick(base)
			c.Profile = test.profile
			test.change(&c)
			report, err := Run(t.Context(), c)
			require.NoError(t, err)
			got := report.Rows[0].Worst
			require.Equal(t, test.want, got.Profile)
			require.Zero(t, got.Lost)
			require.Zero(t, got.Duplicates)
			require.Zero(t, got.WithoutMedia)
			require.Zero(t, got.Unstamped)
			// Packets under way at the edges of the window are counted at one side only.
			perViewer := float64(got.Published) / float64(c.Publishers)
			require.InEpsilon(t, perViewer*float64(c.Viewers), float64(got.Received), 0.25)
			require.Positive(t, got.ServerMicros)
			require.Positive(t, got.LoadMicros)
			require.Positive(t, got.RSSMB)
			require.Equal(t, c.Viewers, got.FirstFrame.Samples)
			require.Greater(t, got.Delay.Samples, c.Viewers*int(c.Window/c.Stream.frameInterval())/2)
			require.Positive(t, got.Delay.P50MS)
			require.Less(t, got.Delay.P50MS, 1000.0)
			require.GreaterOrEqual(t, got.FirstFrame.P50MS, got.Connect.P50MS-1, "nothing is decoded before the keys")
		})
	}
}

func TestRunLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	server, base := newTestServer(t)
	_, err := Run(t.Context(), quick(base))
	require.NoError(t, err)
	server.mu.Lock()
	defer server.mu.Unlock()
	require.Empty(t, server.sessions, "every session was deleted")
}

func TestRunWithMisbehavingViewers(t *testing.T) {
	t.Parallel()
	server, base := newTestServer(t)
	c := quick(base)
	c.Viewers, c.Stalled, c.Slow = 5, 1, 1
	report, err := Run(t.Context(), c)
	require.NoError(t, err)
	d := report.Rows[0].Worst.Disturbance
	require.NotNil(t, d)
	require.Zero(t, d.OthersLost)
	require.Zero(t, d.OthersWithout)
	require.Positive(t, d.DelayBefore.Samples)
	require.Positive(t, server.node.Stats().NACKsReceived, "the slow viewer asks for what it lost")
}

func TestRunFailsWithoutMedia(t *testing.T) {
	t.Parallel()
	server, base := newTestServer(t)
	// Viewers wait for a name that nobody publishes.
	c := quick(base)
	c.WHEP = base + "/whep/live/nobody"
	c.Viewers, c.Stream.GOP = 1, 100*time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	report, err := Run(ctx, c)
	require.ErrorIs(t, err, ErrNoMedia)
	require.Equal(t, 1, report.Rows[0].Worst.WithoutMedia)
	require.NotNil(t, server)
}

func TestRunReportsRefusals(t *testing.T) {
	t.Parallel()
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no room", http.StatusServiceUnavailable)
	}))
	defer refusing.Close()
	_, err := Run(t.Context(), quick(refusing.URL))
	require.ErrorContains(t, err, "publisher 1")
	require.ErrorContains(t, err, "503")
	require.ErrorContains(t, err, "no room")
}

func TestRunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	_, base := newTestServer(t)
	c := quick(base)
	c.Window = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c.Progress = func(string) { time.AfterFunc(3*time.Second, cancel) }
	_, err := Run(ctx, c)
	require.ErrorIs(t, err, context.Canceled)
}

func TestRunWithItsOwnServerAndFloor(t *testing.T) {
	t.Parallel()
	c := quick("")
	c.WHIP, c.WHEP, c.PID = "", "", 0
	c.Serve, c.Floor = helper(t, "serve"), helper(t, "floor")
	report, err := Run(t.Context(), c)
	require.NoError(t, err)
	got := report.Rows[0].Worst
	require.Zero(t, got.Lost)
	require.Positive(t, got.ServerMicros)
	require.Positive(t, got.FloorMicros)
	require.InEpsilon(t, got.ServerMicros/got.FloorMicros, got.FloorRatio, 1e-9)

	var text bytes.Buffer
	require.NoError(t, report.Print(&text))
	require.Contains(t, text.String(), "server µs/packet")
	encoded, err := json.Marshal(report)
	require.NoError(t, err)
	var again Report
	require.NoError(t, json.Unmarshal(encoded, &again))
	require.Equal(t, report.Rows, again.Rows)
}

func TestServerThatPrintsNothing(t *testing.T) {
	t.Parallel()
	c := quick("")
	c.WHIP, c.WHEP, c.PID, c.Serve = "", "", 0, helper(t, "silent")
	_, err := Run(t.Context(), c)
	require.ErrorContains(t, err, "without printing a WHIP URL")
}

func TestChurn(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*Config)
	}{
		{"viewers", func(c *Config) { c.Publishers = 0 }},
		{"viewers-of-a-live-publisher", func(*Config) {}},
		{"publishers", func(c *Config) { c.WHEP = "" }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server, base := newTestServer(t)
			c := quick(base)
			c.Churn, c.Join = 500*time.Millisecond, 2
			test.change(&c)
			report, err := Run(t.Context(), c)
			require.NoError(t, err)
			got := report.Churn
			require.Zero(t, got.Failed, got.FirstFailure)
			require.Positive(t, got.Sessions)
			require.Positive(t, got.ServerMSPerSess)
			require.Equal(t, int(got.Sessions), got.Connect.Samples)
			server.mu.Lock()
			require.Empty(t, server.sessions)
			server.mu.Unlock()
			var text bytes.Buffer
			require.NoError(t, report.Print(&text))
			require.Contains(t, text.String(), "sessions/s")
		})
	}
}
