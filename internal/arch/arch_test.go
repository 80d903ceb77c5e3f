// Package arch holds no code, only the test that keeps the import directions of the project.
package arch

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "rheomesh/"

// leaves are functions of bytes and numbers, and system calls: they know nothing of the rest.
var leaves = []string{
	"internal/aesgcm", "internal/codec", "internal/depdesc", "internal/rtcpx", "internal/rtpx", "internal/sdp", "internal/sdpfrag", "internal/seqnum", "internal/udpbatch",
	"relay/wire", "sfu/audiolevel", "sfu/bandwidth", "sfu/sublayer",
}

// rule forbids imports to some packages. Tests are free unless tests is set.
type rule struct {
	name      string
	applies   func(dir string) bool // dir is relative to the root, "cmd/rheomesh"
	forbidden func(imported string) bool
	tests     bool
	reason    string
}

var rules = []rule{
	{
		name:      "pion/webrtc",
		applies:   func(dir string) bool { return !under(dir, "client") && !under(dir, "clip") },
		forbidden: prefix("github.com/pion/webrtc"),
		reason:    "the server has one lean transport of its own; a PeerConnection is for our clients and for tests",
	},
	{
		name:      "HTTP and metrics in the media core",
		applies:   func(dir string) bool { return under(dir, "sfu") },
		forbidden: prefix("net/http", "github.com/labstack", "github.com/prometheus"),
		tests:     true,
		reason:    "sfu is the media core: whip and api speak HTTP for it, and read its counters at scrape",
	},
	{
		name:      "pion in whip",
		applies:   func(dir string) bool { return under(dir, "whip") },
		forbidden: func(imported string) bool { return strings.HasPrefix(imported, "github.com/pion/") },
		reason:    "whip hands SDP text to sfu; how media are carried is none of its business",
	},
	{
		name: "leaves",
		applies: func(dir string) bool {
			return slices.ContainsFunc(leaves, func(leaf string) bool { return under(dir, leaf) })
		},
		forbidden: func(imported string) bool {
			rest, ours := strings.CutPrefix(imported, module)
			return ours && !slices.ContainsFunc(leaves, func(leaf string) bool { return under(rest, leaf) })
		},
		tests:  true,
		reason: "a leaf must be usable, and testable, without the rest",
	},
	{
		name:      "relay between surface and core",
		applies:   func(dir string) bool { return under(dir, "relay") },
		forbidden: prefix("github.com/labstack", "github.com/prometheus", module+"whip", module+"api", module+"cmd", module+"client", module+"config", module+"console"),
		reason:    "relay attaches to sfu, and api shows it; it speaks HTTP to other nodes only, by itself",
	},
	{
		name:      "core below the surface",
		applies:   func(dir string) bool { return under(dir, "sfu") },
		forbidden: prefix(module+"relay", module+"whip", module+"api", module+"cmd", module+"client", module+"config", module+"console"),
		reason:    "imports point from the surface (cmd, api, whip) to the core (sfu), never back",
	},
	{
		name:      "whip below api",
		applies:   func(dir string) bool { return under(dir, "whip") || under(dir, "console") || under(dir, "config") },
		forbidden: prefix(module+"api", module+"cmd"),
		tests:     true,
		reason:    "api maps whip's errors and mounts both, so they cannot know it",
	},
	{
		name:      "our clients are strangers",
		applies:   func(dir string) bool { return under(dir, "client") || under(dir, "clip") },
		forbidden: prefix(module+"sfu", module+"relay", module+"whip", module+"api", module+"cmd", module+"config"),
		reason:    "they speak to any server by HTTP, SDP and RTP; sharing code with ours would hide its mistakes",
	},
	{
		name:      "flags and configuration",
		applies:   func(dir string) bool { return !under(dir, "cmd") && !under(dir, "config") },
		forbidden: prefix("github.com/spf13", "github.com/knadh/koanf", module+"config", module+"cmd"),
		reason:    "only cmd reads flags, environment and files; each package has a Config struct of its own",
	},
}

func prefix(paths ...string) func(string) bool {
	return func(imported string) bool {
		return slices.ContainsFunc(paths, func(path string) bool { return under(imported, path) })
	}
}

// under tells whether path is root or something below it.
func under(path, root string) bool { return path == root || strings.HasPrefix(path, root+"/") }

func TestImports(t *testing.T) {
	root := filepath.Join("..", "..")
	seen := 0
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == "node_modules" || entry.Name() == "testdata" || strings.HasPrefix(entry.Name(), ".git")) {
			return filepath.SkipDir
		}
		if entry.IsDir() || filepath.Ext(path) != ".go" {
			return nil
		}
		seen++
		checkFile(t, root, path)
		return nil
	})
	require.NoError(t, err)
	require.Greater(t, seen, 50, "the walk has missed the source")
}

func checkFile(t *testing.T, root, path string) {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
	require.NoError(t, err)
	dir, err := filepath.Rel(root, filepath.Dir(path))
	require.NoError(t, err)
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		require.NoError(t, err)
		for _, rule := range rules {
			if rule.applies(filepath.ToSlash(dir)) && rule.forbidden(imported) && (rule.tests || !strings.HasSuffix(path, "_test.go")) {
				t.Errorf("%s imports %s (rule %q): %s", path, imported, rule.name, rule.reason)
			}
		}
	}
}

// TestRules sees that each rule would catch something, so that none is dead by a misspelt path.
func TestRules(t *testing.T) {
	for _, row := range []struct{ rule, dir, imported string }{
		{"pion/webrtc", "sfu/transport", "github.com/pion/webrtc/v4"},
		{"HTTP and metrics in the media core", "sfu/mediaport", "net/http"},
		{"pion in whip", "whip", "github.com/pion/sdp/v3"},
		{"leaves", "internal/sdp", "rheomesh/sfu"},
		{"core below the surface", "sfu", "rheomesh/whip"},
		{"relay between surface and core", "relay", "rheomesh/api"},
		{"whip below api", "whip", "rheomesh/api"},
		{"our clients are strangers", "client", "rheomesh/sfu"},
		{"flags and configuration", "whip", "github.com/spf13/cobra"},
	} {
		i := slices.IndexFunc(rules, func(r rule) bool { return r.name == row.rule })
		require.NotEqual(t, -1, i, row.rule)
		require.True(t, rules[i].applies(row.dir) && rules[i].forbidden(row.imported), row.rule)
	}
	require.Len(t, rules, 9, "a rule without a row above")
}
