package api

import (
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"rheomesh/sfu"
)

var update = flag.Bool("update", false, "write testdata/metrics.txt and docs/metrics.md anew")

const (
	metricsFile     = "testdata/metrics.txt"
	metricsDocument = "../docs/metrics.md"
)

// gather scrapes a server that has served a request.
func gather(t testing.TB, s *Server) map[string]*dto.MetricFamily {
	t.Helper()
	s.do(request{method: "GET", path: "/healthz"})
	families, err := newMetrics(s).Gather()
	require.NoError(t, err)
	byName := map[string]*dto.MetricFamily{}
	for _, family := range families {
		byName[family.GetName()] = family
	}
	return byName
}

// describeMetric is one line of the golden file.
func describeMetric(family *dto.MetricFamily) string {
	var labels []string
	for _, label := range family.Metric[0].Label {
		labels = append(labels, label.GetName())
	}
	slices.Sort(labels)
	return fmt.Sprintf("%s %s {%s} %s", family.GetName(), strings.ToLower(family.GetType().String()), strings.Join(labels, ","), family.GetHelp())
}

// TestMetricNames pins names, types, labels and help: dashboards and alerts of others rely on them.
func TestMetricNames(t *testing.T) {
	var lines []string
	for name, family := range gather(t, newTestServer(t, nil)) {
		if strings.HasPrefix(name, "rheomesh_") {
			lines = append(lines, describeMetric(family))
		}
	}
	slices.Sort(lines)
	got := strings.Join(lines, "\n") + "\n"
	document := documented(t, lines)
	if *update {
		require.NoError(t, os.WriteFile(metricsFile, []byte(got), 0o644))
		require.NoError(t, os.WriteFile(metricsDocument, []byte(document), 0o644))
	}
	want, err := os.ReadFile(metricsFile)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "go test ./api -run TestMetricNames -update writes this file and docs/metrics.md; the changelog is yours")
	have, err := os.ReadFile(metricsDocument)
	require.NoError(t, err)
	require.Equal(t, document, string(have))
}

// documented is docs/metrics.md with the table of these lines.
func documented(t *testing.T, lines []string) string {
	t.Helper()
	const begin, end = "<!-- table: go test ./api -run TestMetricNames -update -->\n", "<!-- end of table -->"
	text, err := os.ReadFile(metricsDocument)
	require.NoError(t, err)
	before, rest, found := strings.Cut(string(text), begin)
	require.True(t, found)
	_, after, found := strings.Cut(rest, end)
	require.True(t, found)
	table := "| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n"
	for _, line := range lines {
		fields := strings.SplitN(line, " ", 4)
		labels := strings.ReplaceAll(strings.Trim(fields[2], "{}"), ",", ", ")
		table += fmt.Sprintf("| `%s` | %s | %s | %s |\n", fields[0], fields[1], labels, fields[3])
	}
	return before + begin + table + end + after
}

func TestMetricsLint(t *testing.T) {
	s := newTestServer(t, nil)
	s.do(request{method: "GET", path: "/healthz"})
	problems, err := testutil.GatherAndLint(newMetrics(s))
	require.NoError(t, err)
	for _, problem := range problems {
		t.Errorf("%s: %s", problem.Metric, problem.Text)
	}
}

func TestMetricsOverHTTP(t *testing.T) {
	s := newTestServer(t, nil)
	s.do(request{method: "GET", path: "/nowhere/that/a/client/invents"})
	s.do(request{method: "BREW", path: "/healthz"})
	s.do(request{method: "GET", path: "/api/v1/routers/live/publishers/nobody"})
	recorder := s.do(request{method: "GET", path: "/metrics"})
	require.Equal(t, 200, recorder.Code)
	require.Contains(t, recorder.Header().Get("Content-Type"), "text/plain")
	text := recorder.Body.String()
	for _, line := range []string{
		`rheomesh_http_requests_total{code="404",method="GET",route="none"} 1`,
		`rheomesh_http_requests_total{code="405",method="other",route="`,
		`rheomesh_http_requests_total{code="404",method="GET",route="/api/v1/routers/:router/publishers/:publisher"} 1`,
		`rheomesh_http_request_duration_seconds_bucket{method="GET",route="none",le="0.001"}`,
		`rheomesh_build_info{go_version="go1.`, "rheomesh_routers 1\n", "go_goroutines ", "process_resident_memory_bytes ",
	} {
		assert.Contains(t, text, line)
	}
	assert.NotContains(t, text, "invents")
	assert.NotContains(t, text, "BREW")
	requireProblem(t, s.do(request{method: "POST", path: "/metrics"}), 405, "method-not-allowed")
	requireProblem(t, s.do(request{method: "GET", path: "/metrics", header: []string{"Host", "evil.example"}}), 403, "forbidden")
}

func series(families map[string]*dto.MetricFamily) (n int) {
	for _, family := range families {
		for _, m := range family.Metric {
			n++
			if h := m.GetHistogram(); h != nil {
				n += len(h.Bucket) + 2
			}
		}
	}
	return n
}

// TestCardinality fills a node: the number of series must not follow what clients and operators create.
func TestCardinality(t *testing.T) {
	s := newTestServer(t, func(cfg *Config) { cfg.Node = newLargeNode(t, 10_000, 0) })
	visit := func(router string) {
		for _, path := range []string{"/api/v1/routers/" + router, "/api/v1/routers/" + router + "/publishers/x", "/whip/" + router, "/" + router} {
			s.do(request{method: "GET", path: path})
		}
	}
	visit("first")
	before := gather(t, s)
	for n := range 10_000 {
		putRouter(t, s, fmt.Sprint("router-", n))
		if n%100 == 0 {
			visit(fmt.Sprint("router-", n))
		}
	}
	after := gather(t, s)
	require.EqualValues(t, 10_000, after["rheomesh_routers"].Metric[0].GetGauge().GetValue())
	t.Logf("%d series", series(after))
	// a router that exists is answered 200, which no request before was
	require.InDelta(t, series(before), series(after), 2)
	require.Less(t, series(after), 600)
}

// newLargeNode is a node with room for many routers, and viewers in one of them that have not connected.
func newLargeNode(t testing.TB, routers, viewers int) *sfu.Node {
	t.Helper()
	node, err := sfu.NewNode(sfu.Config{ID: "large", MediaAddr: "127.0.0.1:0", Limits: sfu.Limits{
		MaxSessions: viewers + 1, MaxHalfOpen: viewers + 1, MaxSubscribersPerRouter: viewers + 1, MaxRouters: routers + 1, ConnectTimeout: time.Hour,
	}})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, node.Close()) })
	if viewers == 0 {
		return node
	}
	router, _, err := node.PutRouter("live", sfu.RouterConfig{})
	require.NoError(t, err)
	offer := playOffer(t)
	for range viewers {
		_, err := router.Subscribe(sfu.SubscribeRequest{Publisher: "cam", Offer: offer})
		require.NoError(t, err)
	}
	return node
}

func playOffer(t testing.TB) []byte {
	t.Helper()
	peer, err := webrtc.NewPeerConnection(webrtc.Configuration{})
	require.NoError(t, err)
	defer peer.Close()
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo} {
		_, err := peer.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
		require.NoError(t, err)
	}
	offer, err := peer.CreateOffer(nil)
	require.NoError(t, err)
	return []byte(offer.SDP)
}

// scrape reads /metrics once.
func (s *Server) scrape(t testing.TB) time.Duration {
	recorder, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "http://127.0.0.1/metrics", nil)
	start := time.Now()
	s.Handler().ServeHTTP(recorder, r)
	took := time.Since(start)
	require.Equal(t, 200, recorder.Code)
	return took
}

// TestScrapeTime scrapes a node with a thousand viewers. The race detector slows it down several times.
func TestScrapeTime(t *testing.T) {
	s := newTestServer(t, func(cfg *Config) { cfg.Node = newLargeNode(t, 1, 1000) })
	require.EqualValues(t, 1000, gather(t, s)["rheomesh_sessions"].Metric[1].GetGauge().GetValue())
	s.scrape(t)
	var all []time.Duration
	for range 20 {
		all = append(all, s.scrape(t))
	}
	slices.Sort(all)
	t.Logf("scrape with 1,000 viewers: median %v, slowest of 20 %v", all[10], all[19])
	require.Less(t, all[10], 20*time.Millisecond)
}

func BenchmarkScrape(b *testing.B) {
	for _, viewers := range []int{1, 1000} {
		b.Run(fmt.Sprint("viewers=", viewers), func(b *testing.B) {
			node := newLargeNode(b, 1, viewers)
			s := New(Config{Node: node, Addr: loopback})
			for b.Loop() {
				s.scrape(b)
			}
		})
	}
}

// TestMediaMetrics sends media and sees that every metric of the packet path has moved as it should.
func TestMediaMetrics(t *testing.T) {
	m := newMediaServer(t)
	m.publish(t)
	playback := m.play(t, "cam")
	_, err := playback.FirstFrame(m.ctx, webrtc.RTPCodecTypeVideo)
	require.NoError(t, err)
	value := func(name string, labels ...string) float64 {
		family := gather(t, m.Server)[name]
		require.NotNil(t, family, name)
		for _, metric := range family.Metric {
			var have []string
			for _, label := range metric.Label {
				have = append(have, label.GetValue())
			}
			if slices.Equal(have, labels) {
				if h := metric.GetHistogram(); h != nil {
					return float64(h.GetSampleCount())
				}
				return metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
			}
		}
		t.Fatalf("%s has no series %v", name, labels)
		return 0
	}
	require.Eventually(t, func() bool { return value("rheomesh_rtp_packets_total", "out", "audio") > 5 }, 10*time.Second, 10*time.Millisecond)
	for _, row := range []struct {
		name   string
		labels []string
	}{
		{"rheomesh_rtp_packets_total", []string{"in", "audio"}},
		{"rheomesh_rtp_packets_total", []string{"in", "video"}},
		{"rheomesh_rtp_packets_total", []string{"out", "video"}},
		{"rheomesh_rtp_bytes_total", []string{"in", "video"}},
		{"rheomesh_rtp_bytes_total", []string{"out", "video"}},
		{"rheomesh_rtp_bytes_total", []string{"out", "audio"}},
		{"rheomesh_forward_delay_seconds", nil},
		{"rheomesh_send_batch_packets", nil},
		{"rheomesh_session_setup_seconds", []string{"publish"}},
		{"rheomesh_session_setup_seconds", []string{"subscribe"}},
		{"rheomesh_sessions", []string{"publish"}},
		{"rheomesh_sessions", []string{"subscribe"}},
		{"rheomesh_subscribers", nil},
		{"rheomesh_publishers", nil},
	} {
		assert.Positive(t, value(row.name, row.labels...), "%s %v", row.name, row.labels)
	}
	assert.LessOrEqual(t, value("rheomesh_rtp_packets_total", "out", "video"), value("rheomesh_rtp_packets_total", "in", "video"), "one viewer of one of two layers")
	assert.Zero(t, value("rheomesh_rtp_lost_packets_total", "in"))
	delay := gather(t, m.Server)["rheomesh_forward_delay_seconds"].Metric[0].GetHistogram()
	assert.Less(t, delay.GetSampleSum()/float64(delay.GetSampleCount()), 0.1)

	m.do(request{"POST", "/whip/live/cam", "nonsense", []string{"Content-Type", "application/sdp"}})
	assert.EqualValues(t, 1, value("rheomesh_rejected_total", "offer"))
}

// TestEveryMetricIsCollected sees that each description has a value and each value a description.
func TestEveryMetricIsCollected(t *testing.T) {
	s := newTestServer(t, nil)
	families := gather(t, s)
	for _, m := range nodeMetrics {
		assert.Contains(t, families, m.name)
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(newNodeCollector(s), s.requests)
	_, err := registry.Gather()
	require.NoError(t, err)
}

// TestLabelsAreDocumented finds every value of a closed label in docs/metrics.md.
func TestLabelsAreDocumented(t *testing.T) {
	text, err := os.ReadFile(metricsDocument)
	require.NoError(t, err)
	for name, family := range gather(t, newTestServer(t, nil)) {
		if !strings.HasPrefix(name, "rheomesh_") {
			continue
		}
		for label, values := range labelValues(family) {
			for _, value := range values {
				if !slices.Contains(openLabels, label) {
					assert.Contains(t, string(text), "`"+value+"`", "%s{%s}", name, label)
				}
			}
		}
	}
}
