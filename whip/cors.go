package whip

import (
	"net/http"

	"github.com/labstack/echo/v4"
)

// The CORS answers that every surveyed browser client can live with. Names are listed because "*"
// does not cover Authorization, and the methods are exposed because one web client reads them there
// to learn whether it may trickle. Credentials in the sense of Fetch are never used, so the origin
// may be "*".
const (
	corsMethods = "OPTIONS, GET, HEAD, POST, PATCH, DELETE"
	corsHeaders = "Authorization, Content-Type, If-Match, If-None-Match, ETag, Accept, Link"
	corsExposed = "Location, Link, ETag, Accept-Post, Accept-Patch, Retry-After, Access-Control-Allow-Methods, Content-Type"
	corsMaxAge  = "600" // seconds
)

// allowOrigins puts the CORS headers on every response, those of errors included.
func allowOrigins(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		header := c.Response().Header()
		header.Set(echo.HeaderAccessControlAllowOrigin, "*")
		header.Set(echo.HeaderAccessControlAllowMethods, corsMethods)
		header.Set(echo.HeaderAccessControlAllowHeaders, corsHeaders)
		header.Set(echo.HeaderAccessControlExposeHeaders, corsExposed)
		header.Set(echo.HeaderAccessControlMaxAge, corsMaxAge)
		// A public page may reach a node on the LAN only with this (Private Network Access).
		if c.Request().Header.Get("Access-Control-Request-Private-Network") == "true" {
			header.Set("Access-Control-Allow-Private-Network", "true")
		}
		return next(c)
	}
}

// isPreflight reports whether a browser asks for permission before the real request (Fetch §4.8).
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions &&
		r.Header.Get(echo.HeaderOrigin) != "" && r.Header.Get(echo.HeaderAccessControlRequestMethod) != ""
}

// options answers OPTIONS without credentials. ICE servers are named only to those who may use the
// endpoint, and not on a preflight (RFC 9725 §4.6).
func (h *Handler) options(res resource) echo.HandlerFunc {
	allow := res.allow()
	return func(c echo.Context) error {
		header := c.Response().Header()
		header.Set(echo.HeaderAllow, allow)
		if res.acceptPost != "" {
			header.Set("Accept-Post", res.acceptPost)
		}
		if isPreflight(c.Request()) {
			return c.NoContent(http.StatusNoContent)
		}
		if res.endpoint && h.authorize(c.Request(), action(res.role), param(c, "router"), param(c, "publisher")) == nil {
			h.addICELinks(header)
		}
		return c.NoContent(http.StatusOK)
	}
}
