package whip

import (
	"fmt"
	"net/netip"

	"github.com/labstack/echo/v4"

	"rheomesh/sfu"
)

// Attempt is a client's wish to publish or to play, which Config.Authorize permits.
type Attempt struct {
	Role      sfu.Role // of the session to be
	Router    sfu.RouterID
	Publisher sfu.PublisherID
	ClientIP  netip.Addr
	UserAgent string
}

// Action is ActionPublish or ActionPlay.
func (a Attempt) Action() string { return action(a.Role) }

// ask asks Config.Admit about a POST.
func (h *Handler) ask(c echo.Context, at address) error {
	if h.cfg.Admit == nil {
		return nil
	}
	err := h.cfg.Admit(c.Request().Context(), Attempt{
		Role: at.role, Router: at.router, Publisher: at.publisher, ClientIP: clientIP(c), UserAgent: c.Request().UserAgent(),
	})
	if err != nil {
		return fmt.Errorf("%s %s: %w", action(at.role), at, err)
	}
	return nil
}
