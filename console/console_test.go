package console

import (
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// get asks a fresh handler; header holds pairs of name and value.
func get(method, target string, header ...string) *http.Response {
	r := httptest.NewRequest(method, target, http.NoBody)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, response *http.Response) []byte {
	t.Helper()
	content, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return content
}

// eachFile calls check with the embedded name and text of every file.
func eachFile(t *testing.T, check func(name, text string)) {
	t.Helper()
	require.NoError(t, fs.WalkDir(embedded, root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := embedded.ReadFile(name)
		check(name, string(content))
		return err
	}))
}

func TestHeaders(t *testing.T) {
	// A changed header is a decision: change it here too.
	security := map[string]string{
		"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; " +
			"media-src 'self' blob: mediastream:; connect-src 'self'; worker-src 'self'; frame-ancestors 'none'; base-uri 'none'; " +
			"form-action 'self'; require-trusted-types-for 'script'; trusted-types rheomesh",
		"X-Content-Type-Options":       "nosniff",
		"Referrer-Policy":              "no-referrer",
		"Permissions-Policy":           "camera=(self), microphone=(self), display-capture=(self)",
		"Cross-Origin-Opener-Policy":   "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin",
	}
	tests := []struct {
		name, method, target string
		status               int
		contentType          string
	}{
		{"page", "GET", "/", 200, "text/html; charset=utf-8"},
		{"script", "GET", "/console/app.js", 200, "text/javascript; charset=utf-8"},
		{"script in a folder", "GET", "/console/views/watch.js", 200, "text/javascript; charset=utf-8"},
		{"style", "GET", "/console/style.css", 200, "text/css; charset=utf-8"},
		{"image", "GET", "/console/logo.svg", 200, "image/svg+xml"},
		{"unknown", "GET", "/console/nothing.js", 404, "text/plain; charset=utf-8"},
		{"method", "POST", "/", 405, "text/plain; charset=utf-8"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			response := get(tt.method, tt.target)
			assert.Equal(t, tt.status, response.StatusCode)
			assert.Equal(t, tt.contentType, response.Header.Get("Content-Type"))
			for name, want := range security {
				assert.Equal(t, []string{want}, response.Header.Values(name), name)
			}
			if tt.status == http.StatusOK {
				assert.Equal(t, "no-cache", response.Header.Get("Cache-Control"))
				assert.Equal(t, "Accept-Encoding", response.Header.Get("Vary"))
				assert.Regexp(t, `^"[\w-]{16}"$`, response.Header.Get("ETag"))
			}
		})
	}
}

func TestUnknownPaths(t *testing.T) {
	for _, target := range []string{"/index.html", "/console", "/console/", "/console/index.html", "/console/views", "/console/../console.go", "/static/app.js", "/app.js"} {
		assert.Equal(t, http.StatusNotFound, get("GET", target).StatusCode, target)
	}
}

func TestMethods(t *testing.T) {
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
		response := get(method, "/")
		assert.Equal(t, http.StatusMethodNotAllowed, response.StatusCode, method)
		assert.Equal(t, "GET, HEAD", response.Header.Get("Allow"), method)
	}
	head, full := get("HEAD", "/"), get("GET", "/")
	assert.Equal(t, http.StatusOK, head.StatusCode)
	assert.Empty(t, body(t, head))
	assert.Equal(t, full.Header, head.Header)
	assert.Equal(t, strconv.Itoa(len(body(t, full))), head.Header.Get("Content-Length"))
}

func TestNotModified(t *testing.T) {
	plain := get("GET", "/").Header.Get("ETag")
	zipped := get("GET", "/", "Accept-Encoding", "gzip").Header.Get("ETag")
	require.NotEqual(t, plain, zipped, "two encodings are two representations")
	tests := []struct {
		name, match, encoding string
		status                int
	}{
		{"exact", plain, "", 304},
		{"weak", "W/" + plain, "", 304},
		{"in a list", `"x", ` + plain, "", 304},
		{"any", "*", "", 304},
		{"gzip", zipped, "gzip", 304},
		{"other", `"x"`, "", 200},
		{"unquoted", strings.Trim(plain, `"`), "", 200},
		{"absent", "", "", 200},
		{"tag of the other encoding", plain, "gzip", 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			response := get("GET", "/", "If-None-Match", tt.match, "Accept-Encoding", tt.encoding)
			assert.Equal(t, tt.status, response.StatusCode)
			if tt.status == http.StatusNotModified {
				assert.Empty(t, body(t, response))
				assert.NotEmpty(t, response.Header.Get("ETag"))
				assert.Empty(t, response.Header.Get("Content-Encoding"))
			}
		})
	}
}

func TestGzipHoldsTheSameBytes(t *testing.T) {
	eachFile(t, func(name, text string) {
		response := get("GET", urlPath(name), "Accept-Encoding", "gzip, br")
		content := body(t, response)
		assert.Equal(t, strconv.Itoa(len(content)), response.Header.Get("Content-Length"), name)
		if response.Header.Get("Content-Encoding") == "gzip" {
			reader, err := gzip.NewReader(bytes.NewReader(content))
			require.NoError(t, err, name)
			content, err = io.ReadAll(reader)
			require.NoError(t, err, name)
		}
		assert.Equal(t, text, string(content), name)
	})
	assert.Equal(t, "gzip", get("GET", "/console/style.css", "Accept-Encoding", "gzip").Header.Get("Content-Encoding"))
}

func TestAcceptsGzip(t *testing.T) {
	tests := []struct {
		header string
		want   bool
	}{
		{"", false},
		{"gzip", true},
		{"GZIP", true},
		{"deflate, gzip;q=0.5", true},
		{"gzip; q=1", true},
		{"gzip;q=0", false},
		{"gzip; q=0.000", false},
		{"gzip;q=x", false},
		{"identity", false},
		{"xgzip", false},
	}
	for _, tt := range tests {
		assert.Equal(t, tt.want, acceptsGzip(tt.header), tt.header)
	}
}

func TestEveryReferenceIsServed(t *testing.T) {
	references := regexp.MustCompile(`(?:\bfrom\s*|\bimport\s*\(?\s*|new URL\()'([^']+\.js)'|(?:src|href)="([^"#][^"]*)"`)
	served := 0
	eachFile(t, func(name, text string) {
		base, err := url.Parse(urlPath(name))
		require.NoError(t, err)
		for _, match := range references.FindAllStringSubmatch(text, -1) {
			target, err := base.Parse(match[1] + match[2])
			require.NoError(t, err, name)
			// Type imports in comments resolve by the same rule, so they are checked too.
			assert.Equal(t, http.StatusOK, get("GET", target.Path).StatusCode, "%s refers to %s", name, match[0])
			served++
		}
	})
	assert.Greater(t, served, 30, "the pattern no longer finds the references")
}

func TestNothingForeignAndNothingInline(t *testing.T) {
	svgNamespace := "http://www.w3.org/2000/svg"
	tests := []struct {
		name    string
		pattern *regexp.Regexp
		why     string
	}{
		{"absolute URL", regexp.MustCompile(`(?i)\b(https?|wss?|ftp)://`), "the page talks to its own server only"},
		{"scheme-relative URL", regexp.MustCompile(`["'(]//\w`), "the page talks to its own server only"},
		{"inline style", regexp.MustCompile(`<style|\sstyle="|\bstyle: '|setAttribute\('style'`), "style-src is 'self'"},
		{"inline script", regexp.MustCompile(`<script(?:>|\s[^>]*[^/]>[^<\s])|\son\w+="|javascript:`), "script-src is 'self'"},
		{"markup from strings", regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\(|new Function`), "data is text nodes only"},
		{"storage", regexp.MustCompile(`localStorage|sessionStorage|indexedDB|document\.cookie`), "the token stays in memory"},
	}
	eachFile(t, func(name, text string) {
		text = strings.ReplaceAll(text, svgNamespace, "")
		for _, tt := range tests {
			assert.Empty(t, tt.pattern.FindString(text), "%s: %s: %s", name, tt.name, tt.why)
		}
		if path.Ext(name) == ".css" {
			assert.NotRegexp(t, `@import|url\(`, text, "%s: styles load nothing", name)
		}
	})
}

// TestHooks holds README.md and the data-testid attributes together, because scripts rely on them.
func TestHooks(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	documented := map[string]bool{}
	for _, match := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\|").FindAllStringSubmatch(string(readme), -1) {
		documented[match[1]] = true
	}
	used := map[string]bool{}
	hook := regexp.MustCompile(`(?:testid: |data-testid=)['"]([a-z-]+)['"]`)
	eachFile(t, func(_, text string) {
		for _, match := range hook.FindAllStringSubmatch(text, -1) {
			used[match[1]] = true
		}
	})
	// These are put together from a prefix and a key, so they are listed here.
	for _, key := range []string{"pattern", "camera", "screen"} {
		used["source-"+key] = true
	}
	for _, key := range []string{
		"resolution", "fps", "loss", "rtt", "jitter", "buffer", "freezes", "first", "latency", "codec", "protocol", "repair", "limit",
	} {
		used["stat-"+key] = true
	}
	assert.Equal(t, used, documented)
}

// TestModules runs the tests of the modules that need no browser.
func TestModules(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("Node is not installed; the modules are tested where it is")
	}
	out, err := exec.Command(node, "--test", path.Join("testdata", "modules.test.mjs")).CombinedOutput()
	require.NoError(t, err, string(out))
}
