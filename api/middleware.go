package api

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
)

type contextKey int

const (
	requestIDKey contextKey = iota
	principalKey
)

// withRequestID gives each request an id that its response and its log lines share. Clients cannot choose it.
func withRequestID(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := rand.Text()
		w.Header().Set(echo.HeaderXRequestID, id)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), requestIDKey, id)))
	})
}

func requestIDOf(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey).(string)
	return id
}

// withDeadlines bounds how long a response may take to leave. A WriteTimeout of the http.Server would do the same to event
// streams, which may last for days; their handlers set a deadline before each write, and here they get none.
func withDeadlines(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Accept"), "text/event-stream") {
			// recorders in tests have no deadlines; a socket always has
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
		}
		next.ServeHTTP(w, r)
	})
}

// endOnPanic ends the process when a handler panics: net/http would go on, with whatever the handler had locked or half
// changed. http.ErrAbortHandler is no panic in that sense.
func (s *Server) endOnPanic(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			value := recover()
			if value == nil {
				return
			}
			if err, ok := value.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(value)
			}
			s.log.Error("handler panicked", "request_id", w.Header().Get(echo.HeaderXRequestID), "method", r.Method,
				"panic", value, "stack", string(debug.Stack()))
			s.cfg.Crash(value)
		}()
		next.ServeHTTP(w, r)
	})
}

// crash panics on a goroutine of its own, where net/http does not recover, and never returns.
func crash(value any) {
	go panic(value)
	select {}
}

// observe answers the errors of all that is inside it, and logs each request. The log has the route rather than the path:
// the URL of a session is a capability.
func (s *Server) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		start := time.Now()
		if err := next(c); err != nil {
			s.respond(err, c)
		}
		r, ctx := c.Request(), c.Request().Context()
		if !s.log.Enabled(ctx, slog.LevelDebug) {
			return nil
		}
		s.log.LogAttrs(ctx, slog.LevelDebug, "request served",
			slog.String("request_id", requestIDOf(ctx)), slog.String("method", r.Method), slog.String("route", c.Path()),
			slog.String("router_id", c.Param("router")), slog.String("publisher_id", c.Param("publisher")),
			slog.Int("status", c.Response().Status), slog.Int64("bytes", c.Response().Size),
			slog.Duration("duration", time.Since(start)), slog.String("remote_addr", c.RealIP()),
			slog.String("user_agent", r.UserAgent()))
		return nil
	}
}

// guarded refuses what foreign pages may have sent, on nodes that ask for no credential.
func (s *Server) guarded() echo.MiddlewareFunc {
	g := newGuard(s.cfg.Addr, s.cfg.PublicURL)
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if s.auth.Open() {
				if err := g.check(c.Request()); err != nil {
					return err
				}
			}
			return next(c)
		}
	}
}

// identified asks for a credential before anything is looked up, so that nobody learns what exists without one. What the
// credential permits is for the handlers to ask.
func (s *Server) identified(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		who, err := s.auth.identify(c.Request())
		if err != nil {
			return err
		}
		c.SetRequest(c.Request().WithContext(context.WithValue(c.Request().Context(), principalKey, who)))
		return next(c)
	}
}

// principalOf returns who sent the request; identified has put it there.
func principalOf(c echo.Context) principal {
	return c.Request().Context().Value(principalKey).(principal)
}
