package api

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// Parts of PromQL, as far as our own files use it.
var (
	metricName = regexp.MustCompile(`\b(rheomesh|process|go)_[a-z0-9_]+\b`)
	selector   = regexp.MustCompile(`\b([a-z_]+[a-z0-9_]*)\{([^}]*)\}`)
	matcher    = regexp.MustCompile(`([a-zA-Z_]+)\s*(=~|!=|!~|=)\s*"([^"]*)"`)
	grouping   = regexp.MustCompile(`\bby \(([^)]*)\)`)
)

// labelsOfScrapes are those that Prometheus adds.
var labelsOfScrapes = []string{"job", "instance"}

// openLabels have values that depend on what was asked so far.
var openLabels = []string{"code", "method", "route", "version", "go_version"}

// family finds what an expression means by a name; histograms have three more names.
func family(families map[string]*dto.MetricFamily, name string) *dto.MetricFamily {
	if f := families[name]; f != nil && f.GetType() != dto.MetricType_HISTOGRAM {
		return f
	}
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		base, ok := strings.CutSuffix(name, suffix)
		if f := families[base]; ok && f != nil && f.GetType() == dto.MetricType_HISTOGRAM {
			return f
		}
	}
	return nil
}

func labelValues(f *dto.MetricFamily) map[string][]string {
	values := map[string][]string{}
	for _, m := range f.Metric {
		for _, label := range m.Label {
			values[label.GetName()] = append(values[label.GetName()], label.GetValue())
		}
	}
	return values
}

// checkExpression sees that an expression uses only what exists: names, labels, and values of labels.
func checkExpression(t *testing.T, families map[string]*dto.MetricFamily, where, expression string) {
	t.Helper()
	labels := slices.Clone(labelsOfScrapes)
	labels = append(labels, "le")
	names := metricName.FindAllString(expression, -1)
	for _, name := range names {
		f := family(families, name)
		if !assert.NotNil(t, f, "%s: %s is no metric", where, name) {
			return
		}
		for label := range labelValues(f) {
			labels = append(labels, label)
		}
	}
	for _, match := range selector.FindAllStringSubmatch(expression, -1) {
		f := family(families, match[1])
		if f == nil {
			assert.Equal(t, "up", match[1], where)
			continue
		}
		values := labelValues(f)
		for _, m := range matcher.FindAllStringSubmatch(match[2], -1) {
			label, value := m[1], m[3]
			if slices.Contains(labelsOfScrapes, label) || slices.Contains(openLabels, label) {
				continue
			}
			for alternative := range strings.SplitSeq(value, "|") {
				assert.Contains(t, values[label], alternative, "%s: %s has no %s of that value", where, match[1], label)
			}
		}
	}
	for _, match := range grouping.FindAllStringSubmatch(expression, -1) {
		for label := range strings.SplitSeq(match[1], ",") {
			assert.Contains(t, labels, strings.TrimSpace(label), "%s: no metric of it has the label", where)
		}
	}
}

func deployFile(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "deploy", name))
	require.NoError(t, err)
	return text
}

func TestDashboard(t *testing.T) {
	var dashboard struct {
		UID    string
		Panels []struct {
			ID                       int
			Type, Title, Description string
			GridPos                  struct{ X, W int }
			Targets                  []struct{ Expr string }
		}
	}
	require.NoError(t, json.Unmarshal(deployFile(t, "grafana/rheomesh.json"), &dashboard))
	require.Equal(t, "rheomesh", dashboard.UID)
	families := gather(t, newTestServer(t, nil))
	used, ids := map[string]bool{}, map[int]bool{}
	for _, panel := range dashboard.Panels {
		assert.False(t, ids[panel.ID], "panel id %d is there twice", panel.ID)
		ids[panel.ID] = true
		assert.LessOrEqual(t, panel.GridPos.X+panel.GridPos.W, 24, panel.Title)
		if panel.Type == "row" {
			continue
		}
		assert.NotEmpty(t, panel.Description, panel.Title)
		require.NotEmpty(t, panel.Targets, panel.Title)
		for _, target := range panel.Targets {
			checkExpression(t, families, panel.Title, target.Expr)
			for _, name := range metricName.FindAllString(target.Expr, -1) {
				used[family(families, name).GetName()] = true
			}
		}
	}
	for _, name := range []string{
		"rheomesh_sessions", "rheomesh_rtp_packets_total", "rheomesh_rtp_bytes_total", "rheomesh_rtp_lost_packets_total", "rheomesh_nack_total",
		"rheomesh_keyframe_requests_total", "rheomesh_cursor_skips_total", "rheomesh_forward_delay_seconds", "rheomesh_send_batch_packets",
		"process_cpu_seconds_total", "process_resident_memory_bytes", "rheomesh_socket_drops_total", "rheomesh_http_requests_total",
	} {
		assert.True(t, used[name], "no panel shows %s", name)
	}
}

func TestAlerts(t *testing.T) {
	var file struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert       string            `yaml:"alert"`
				Expr        string            `yaml:"expr"`
				For         string            `yaml:"for"`
				Labels      map[string]string `yaml:"labels"`
				Annotations map[string]string `yaml:"annotations"`
			}
		}
	}
	decodeYAML(t, "prometheus/alerts.yaml", &file)
	families := gather(t, newTestServer(t, nil))
	seen := map[string]bool{}
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			require.NotEmpty(t, rule.Alert)
			assert.False(t, seen[rule.Alert], rule.Alert)
			seen[rule.Alert] = true
			checkExpression(t, families, rule.Alert, rule.Expr)
			assert.Contains(t, []string{"warning", "critical"}, rule.Labels["severity"], rule.Alert)
			assert.NotEmpty(t, rule.Annotations["summary"], rule.Alert)
			assert.NotEmpty(t, rule.Annotations["description"], rule.Alert)
			assert.Equal(t, strings.Count(rule.Expr, "("), strings.Count(rule.Expr, ")"), rule.Alert)
		}
	}
	require.Greater(t, len(seen), 10)
}

// decodeYAML refuses keys that v does not have.
func decodeYAML(t *testing.T, name string, v any) {
	t.Helper()
	decoder := yaml.NewDecoder(strings.NewReader(string(deployFile(t, name))))
	decoder.KnownFields(true)
	require.NoError(t, decoder.Decode(v), name)
}

// TestExpressionChecker sees that the checks above would find something.
func TestExpressionChecker(t *testing.T) {
	families := gather(t, newTestServer(t, nil))
	for _, wrong := range []string{
		"rheomesh_nothing", `rheomesh_sessions{role="watch"}`, `rheomesh_sessions{kind="x"}`, "sum by (kind) (rheomesh_sessions)", "rheomesh_forward_delay_seconds",
		`rheomesh_cursor_skips_total{reason=~"late|never"}`, "rheomesh_routers_bucket",
	} {
		probe := &testing.T{}
		checkExpression(probe, families, "", wrong)
		assert.True(t, probe.Failed(), wrong)
	}
	checkExpression(t, families, "", `sum by (role, instance) (rheomesh_sessions{role=~"publish|subscribe",job="x"}) / rheomesh_forward_delay_seconds_count`)
}

// TestCompose sees that the files which containers mount are there, and that nothing listens for others.
func TestCompose(t *testing.T) {
	var file struct {
		Services map[string]struct {
			Volumes     []string
			NetworkMode string `yaml:"network_mode"`
			Command     []string
		}
	}
	require.NoError(t, yaml.Unmarshal(deployFile(t, "compose/compose.yaml"), &file))
	require.Len(t, file.Services, 3)
	for name, service := range file.Services {
		assert.Equal(t, "host", service.NetworkMode, name)
		for _, volume := range service.Volumes {
			if path, _, _ := strings.Cut(volume, ":"); strings.HasPrefix(path, ".") {
				deployFile(t, filepath.Join("compose", path))
			}
		}
	}
	assert.Contains(t, file.Services["prometheus"].Command, "--web.listen-address=127.0.0.1:9090")
	for _, name := range []string{"compose/prometheus.yaml", "compose/grafana/datasources.yaml", "compose/grafana/dashboards.yaml"} {
		var any map[string]any
		require.NoError(t, yaml.Unmarshal(deployFile(t, name), &any), name)
	}
}

func TestSystemdUnit(t *testing.T) {
	unit := string(deployFile(t, "systemd/rheomesh.service"))
	for _, line := range []string{"DynamicUser=yes", "NoNewPrivileges=yes", "ProtectSystem=strict", "ExecReload=/bin/kill -HUP $MAINPID"} {
		require.Contains(t, unit, "\n"+line+"\n")
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("no systemd-analyze here")
	}
	// the binary is not installed where the unit looks for it
	text := regexp.MustCompile(`(?m)^ExecStart=\S+`).ReplaceAllString(unit, "ExecStart=/bin/true")
	path := filepath.Join(t.TempDir(), "rheomesh.service")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	output, err := exec.CommandContext(t.Context(), analyze, "verify", path).CombinedOutput()
	require.NoError(t, err, string(output))
	require.Empty(t, string(output))
}
