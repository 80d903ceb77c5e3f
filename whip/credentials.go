package whip

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
)

// authorize asks Config.Authorize about the credentials of a request.
func (h *Handler) authorize(r *http.Request, action, router, publisher string) error {
	if h.cfg.Authorize == nil {
		return nil
	}
	r, _ = credentials(r)
	err := h.cfg.Authorize(r, action, router, publisher)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%s %s/%s: %w", action, router, publisher, err)
	if errors.Is(err, ErrUnauthorized) {
		return withHeader(err, echo.HeaderWWWAuthenticate, "Bearer") // RFC 6750 §3
	}
	return err
}

// authorizeCapability is authorize for a session URL: who knows the URL needs no credentials, but
// wrong ones are refused. Browsers' EventSource and several players send none there.
func (h *Handler) authorizeCapability(r *http.Request, action, router, publisher string) error {
	if _, presented := credentials(r); !presented {
		return nil
	}
	return h.authorize(r, action, router, publisher)
}

// credentials repairs the Authorization header and says whether it holds anything. Web players
// without a token send "Bearer undefined", and one sends its key without the word Bearer. r is
// copied if it must be changed.
func credentials(r *http.Request) (fixed *http.Request, presented bool) {
	value := strings.TrimSpace(r.Header.Get(echo.HeaderAuthorization))
	scheme, token, found := strings.Cut(value, " ")
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		if isBlankToken(strings.TrimSpace(token)) {
			return withAuthorization(r, ""), false
		}
		return r, true
	case isBlankToken(value):
		return withAuthorization(r, ""), false
	case !found:
		return withAuthorization(r, "Bearer "+value), true
	default:
		return r, true
	}
}

// isBlankToken reports whether token is what JavaScript prints for a missing one.
func isBlankToken(token string) bool {
	return token == "" || token == "undefined" || token == "null"
}

func withAuthorization(r *http.Request, value string) *http.Request {
	fixed := r.Clone(r.Context())
	fixed.Header.Del(echo.HeaderAuthorization)
	if value != "" {
		fixed.Header.Set(echo.HeaderAuthorization, value)
	}
	return fixed
}
