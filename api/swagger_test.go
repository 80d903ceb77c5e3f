package api

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSwagger(t *testing.T) {
	s := newTestServer(t, nil)
	for _, path := range []string{"/swagger", "/swagger/"} {
		moved := s.do(request{method: "GET", path: path})
		assert.Equal(t, 301, moved.Code)
		assert.Equal(t, "/swagger/index.html", moved.Header().Get("Location"))
	}
	page := s.do(request{method: "GET", path: "/swagger/index.html?tryItOut=1"})
	require.Equal(t, 200, page.Code)
	assert.Contains(t, page.Header().Get("Content-Type"), "text/html")
	assert.Contains(t, page.Body.String(), "openapi.json")
	assert.NotContains(t, page.Body.String(), "doc.json")
	assert.NotContains(t, page.Body.String(), `src="http`, "nothing comes from elsewhere")
	policy := page.Header().Get("Content-Security-Policy")
	assert.Contains(t, policy, "default-src 'none'")
	scripts, _, _ := strings.Cut(policy[strings.Index(policy, "script-src"):], ";")
	assert.NotContains(t, scripts, "unsafe")
	assert.Equal(t, strings.Count(page.Body.String(), "<script>"), strings.Count(scripts, "sha256-"), "each inline script by its hash")

	for file, contentType := range map[string]string{
		"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "application/javascript", "swagger-ui-standalone-preset.js": "application/javascript",
		"favicon-16x16.png": "image/png", "favicon-32x32.png": "image/png",
	} {
		assert.Contains(t, page.Body.String(), file)
		recorder := s.do(request{method: "GET", path: "/swagger/" + file + "?v=1"})
		assert.Equal(t, 200, recorder.Code, file)
		assert.Contains(t, recorder.Header().Get("Content-Type"), contentType)
		assert.Equal(t, policy, recorder.Header().Get("Content-Security-Policy"))
	}
	for _, file := range []string{"swagger-ui-bundle.js.map", "doc.json", "..%2findex.html", "index.css", "nothing"} {
		requireProblem(t, s.do(request{method: "GET", path: "/swagger/" + file}), 404, "not-found")
	}
	requireProblem(t, s.do(request{method: "POST", path: "/swagger/index.html"}), 405, "method-not-allowed")
}
