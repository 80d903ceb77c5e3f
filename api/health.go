package api

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"rheomesh/sfu"
)

// healthy answers as long as the process serves requests at all.
func (s *Server) healthy(c echo.Context) error { return c.String(http.StatusOK, "ok\n") }

// ready answers whether new sessions are welcome, for load balancers.
func (s *Server) ready(c echo.Context) error {
	if s.cfg.Node.Draining() {
		return sfu.ErrDraining
	}
	return c.String(http.StatusOK, "ready\n")
}
