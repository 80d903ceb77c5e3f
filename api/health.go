package api

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"rheomesh/sfu"
)

// healthy answers as long as the process serves requests at all.
//
//	@Summary	The process serves requests
//	@ID			getHealth
//	@Tags		health
//	@Produce	plain
//	@Success	200	{string}	string	"ok"
//	@Router		/healthz [get]
func (s *Server) healthy(c echo.Context) error { return c.String(http.StatusOK, "ok\n") }

// ready answers whether new sessions are welcome, for load balancers.
//
//	@Summary	New sessions are welcome
//	@ID			getReadiness
//	@Tags		health
//	@Produce	plain
//	@Success	200	{string}	string	"ready"
//	@Failure	503	{object}	Problem	"A limit of the node is reached, or it is draining; Retry-After tells when to come again"
//	@Router		/readyz [get]
func (s *Server) ready(c echo.Context) error {
	if s.cfg.Node.Draining() {
		return sfu.ErrDraining
	}
	return c.String(http.StatusOK, "ready\n")
}
