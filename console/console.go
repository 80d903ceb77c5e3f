// Package console holds the web page that a node serves at its root: publish from the browser, watch,
// and see which publishers are live. The page is plain ES modules that run as they lie in static/; they are
// embedded in the binary and talk to nothing but the node that served them.
//
// Handler answers two kinds of paths: / with the page itself, and /console/<file> with what the page loads.
// Whoever mounts it routes both to it; every other path is 404 here.
package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
)

//go:embed static
var embedded embed.FS

const (
	// root is the folder of embedded that Handler serves.
	root = "static"
	// prefix is where the page finds its own files.
	prefix = "/console/"
	// gzipGain is the share of the size that compression must save to be worth a decoder's time.
	gzipGain = 0.1
)

// contentTypes are written out because mime.TypeByExtension asks the host's tables, which differ.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// policy is the Content-Security-Policy. The page has no inline script or style and reaches its own origin only.
// Trusted Types close the last ways from a string to a script; the named policy is for the test pattern's worker.
var policy = strings.Join([]string{
	"default-src 'none'",
	"script-src 'self'",
	"style-src 'self'",
	"img-src 'self' data: blob:",
	"media-src 'self' blob: mediastream:",
	"connect-src 'self'",
	"worker-src 'self'",
	"frame-ancestors 'none'",
	"base-uri 'none'",
	"form-action 'self'",
	"require-trusted-types-for 'script'",
	"trusted-types rheomesh",
}, "; ")

// file is one embedded file as it goes over the wire.
type file struct {
	contentType string
	plain       variant
	gzipped     variant // zero if compression gains nothing
}

// variant is one encoding of a file. Each has its own strong ETag (RFC 9110 section 8.8.3.3).
type variant struct {
	body []byte
	etag string
}

// Handler serves the page and its files. It is safe for concurrent use.
func Handler() http.Handler {
	files := loaded()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		setSecurityHeaders(w.Header())
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		f, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		f.serve(w, r)
	})
}

// loaded does the work of load once, however many handlers there are.
var loaded = sync.OnceValue(load)

// load reads and compresses every embedded file. It panics if one cannot be read or has no known type,
// because then the binary was built wrongly.
func load() map[string]file {
	files := make(map[string]file)
	err := fs.WalkDir(embedded, root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := embedded.ReadFile(name)
		if err != nil {
			return err
		}
		contentType, ok := contentTypes[path.Ext(name)]
		if !ok {
			return fmt.Errorf("%s: no content type", name)
		}
		files[urlPath(name)] = newFile(contentType, body)
		return nil
	})
	if err != nil {
		panic("console: " + err.Error())
	}
	return files
}

// urlPath maps an embedded name to the path it is served at.
func urlPath(name string) string {
	name = strings.TrimPrefix(name, root+"/")
	if name == "index.html" {
		return "/"
	}
	return prefix + name
}

func newFile(contentType string, body []byte) file {
	f := file{contentType: contentType, plain: newVariant(body)}
	if zipped := compress(body); float64(len(zipped)) < float64(len(body))*(1-gzipGain) {
		f.gzipped = newVariant(zipped)
	}
	return f
}

func newVariant(body []byte) variant {
	sum := sha256.Sum256(body)
	return variant{body: body, etag: `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`}
}

func compress(body []byte) []byte {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		panic("console: " + err.Error()) // the level is a constant
	}
	// A bytes.Buffer takes every write.
	_, _ = w.Write(body)
	_ = w.Close()
	return out.Bytes()
}

func (f file) serve(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	chosen := f.plain
	header.Set("Vary", "Accept-Encoding")
	if f.gzipped.body != nil && acceptsGzip(r.Header.Get("Accept-Encoding")) {
		chosen = f.gzipped
		header.Set("Content-Encoding", "gzip")
	}
	header.Set("ETag", chosen.etag)
	// The names carry no hash, so a browser asks each time; the answer is a 304 until the binary changes.
	header.Set("Cache-Control", "no-cache")
	if matches(r.Header.Get("If-None-Match"), chosen.etag) {
		header.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	header.Set("Content-Type", f.contentType)
	header.Set("Content-Length", strconv.Itoa(len(chosen.body)))
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodGet {
		// A client that went away is not an error of ours.
		_, _ = w.Write(chosen.body)
	}
}

// acceptsGzip reads an Accept-Encoding header (RFC 9110 section 12.5.3). A coding with weight zero is refused.
func acceptsGzip(header string) bool {
	for entry := range strings.SplitSeq(header, ",") {
		coding, weight, _ := strings.Cut(entry, ";")
		if !strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			continue
		}
		value, isWeight := strings.CutPrefix(strings.ReplaceAll(strings.ToLower(weight), " ", ""), "q=")
		q, err := strconv.ParseFloat(value, 64)
		return !isWeight || (err == nil && q > 0)
	}
	return false
}

// matches compares an If-None-Match header with etag, weakly as RFC 9110 section 13.1.2 demands.
func matches(header, etag string) bool {
	for candidate := range strings.SplitSeq(header, ",") {
		candidate = strings.TrimSpace(candidate)
		if candidate == "*" || strings.TrimPrefix(candidate, "W/") == etag {
			return true
		}
	}
	return false
}

func setSecurityHeaders(header http.Header) {
	header.Set("Content-Security-Policy", policy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Permissions-Policy", "camera=(self), microphone=(self), display-capture=(self)")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
}
