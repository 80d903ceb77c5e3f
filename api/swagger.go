package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/labstack/echo/v4"
	echoswagger "github.com/swaggo/echo-swagger"

	"rheomesh"
)

// documentRoutes serve the contract of the API, and Swagger UI to read it and try it out. All of it is in the binary.
func (s *Server) documentRoutes(e *echo.Echo) {
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		e.Add(method, "/openapi.yaml", showOpenAPIYAML)
		e.Add(method, "/openapi.json", showOpenAPIJSON)
	}
	for _, path := range []string{"/swagger", "/swagger/"} {
		e.GET(path, func(c echo.Context) error { return c.Redirect(http.StatusMovedPermanently, "/swagger/"+swaggerIndex) })
	}
	e.GET("/swagger/:file", newSwaggerPage().serve)
}

// showOpenAPIYAML godoc
//
//	@Summary	This document in YAML
//	@ID			showOpenAPIYAML
//	@Tags		documents
//	@Produce	application/yaml
//	@Success	200	{object}	map[string]any	"OpenAPI 3"
//	@Router		/openapi.yaml [get]
func showOpenAPIYAML(c echo.Context) error {
	return c.Blob(http.StatusOK, "application/yaml", rheomesh.OpenAPIYAML()) // RFC 9512
}

// showOpenAPIJSON godoc
//
//	@Summary	This document in JSON
//	@ID			showOpenAPIJSON
//	@Tags		documents
//	@Produce	json
//	@Success	200	{object}	map[string]any	"OpenAPI 3"
//	@Router		/openapi.json [get]
func showOpenAPIJSON(c echo.Context) error {
	return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, rheomesh.OpenAPIJSON())
}

const swaggerIndex = "index.html"

// swaggerFiles are those of Swagger UI that its page loads. The rest, source maps and other builds, is not served.
var swaggerFiles = map[string]bool{
	"swagger-ui.css": true, "swagger-ui-bundle.js": true, "swagger-ui-standalone-preset.js": true,
	"favicon-16x16.png": true, "favicon-32x32.png": true,
}

// swaggerPage is Swagger UI for our document.
type swaggerPage struct {
	index  []byte
	policy string // its Content-Security-Policy
	files  echo.HandlerFunc
}

func newSwaggerPage() swaggerPage {
	p := swaggerPage{files: echoswagger.EchoWrapHandler(func(cfg *echoswagger.Config) {
		cfg.URLs = []string{"../openapi.json"}
		cfg.PersistAuthorization = false // tokens stay in memory
	})}
	p.index = p.render()
	p.policy = strings.Join([]string{
		"default-src 'none'",
		"script-src 'self' " + scriptHashes(p.index),
		"style-src 'self' 'unsafe-inline'", // Swagger UI writes style elements and attributes of its own
		"img-src 'self' data:",             // icons of the style sheet
		"connect-src 'self'",
		"frame-ancestors 'none'",
		"base-uri 'none'",
		"form-action 'none'",
	}, "; ")
	return p
}

// render asks the handler for its page, once: it depends on nothing of a request.
func (p swaggerPage) render() []byte {
	w := &pageWriter{header: http.Header{}}
	r := &http.Request{Method: http.MethodGet, URL: &url.URL{Path: "/swagger/" + swaggerIndex}, RequestURI: "/swagger/" + swaggerIndex}
	if err := p.files(echo.New().NewContext(r, w)); err != nil {
		panic("api: swagger page: " + err.Error()) // the handler cannot be used as it is linked
	}
	return w.body.Bytes()
}

// pageWriter is an http.ResponseWriter that keeps the body.
type pageWriter struct {
	header http.Header
	body   bytes.Buffer
}

func (w *pageWriter) Header() http.Header         { return w.header }
func (w *pageWriter) WriteHeader(int)             {}
func (w *pageWriter) Write(p []byte) (int, error) { return w.body.Write(p) }

var inlineScript = regexp.MustCompile(`(?s)<script>(.*?)</script>`)

// scriptHashes are the source expressions (CSP level 3, section 2.3.1) that permit the scripts in page, and nothing else
// that is inline.
func scriptHashes(page []byte) string {
	var list []string
	for _, match := range inlineScript.FindAllSubmatch(page, -1) {
		sum := sha256.Sum256(match[1])
		list = append(list, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
	}
	return strings.Join(list, " ")
}

func (p swaggerPage) serve(c echo.Context) error {
	header := c.Response().Header()
	header.Set("Content-Security-Policy", p.policy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	name := c.Param("file")
	if name == swaggerIndex {
		header.Set(echo.HeaderCacheControl, "no-cache")
		return c.HTMLBlob(http.StatusOK, p.index)
	}
	if !swaggerFiles[name] {
		return echo.ErrNotFound
	}
	header.Set(echo.HeaderCacheControl, "max-age=3600") // one release of ours has one release of Swagger UI
	c.Request().RequestURI = "/swagger/" + name         // the handler looks there, and would see a query
	return p.files(c)
}
