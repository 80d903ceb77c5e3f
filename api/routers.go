package api

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"rheomesh/sfu"
)

var (
	errRouterExists  = errors.New("router exists already")
	errRouterFixed   = errors.New("router exists with other settings, which are fixed when it is created")
	errRouterChanged = errors.New("the condition of the request does not hold for the router")
)

type routerView struct {
	ID             sfu.RouterID      `json:"id"`
	CreatedAt      time.Time         `json:"created_at"`
	Metadata       map[string]string `json:"metadata"`
	MaxPublishers  int               `json:"max_publishers"`  // 0 = the node's limit
	MaxSubscribers int               `json:"max_subscribers"` // 0 = the node's limit
	Codecs         []string          `json:"codecs"`          // empty = all
	Publishers     int               `json:"publishers"`
	Subscribers    int               `json:"subscribers"`
}

// routerBody is the body of PUT and POST.
type routerBody struct {
	ID             *sfu.RouterID     `json:"id"` // in PUT only that of the path
	Metadata       map[string]string `json:"metadata"`
	MaxPublishers  int               `json:"max_publishers"`
	MaxSubscribers int               `json:"max_subscribers"`
	Codecs         []string          `json:"codecs"`
}

func (b routerBody) config() (sfu.RouterConfig, error) {
	if b.MaxPublishers < 0 {
		return sfu.RouterConfig{}, fieldError("max_publishers", "must not be below zero")
	}
	if b.MaxSubscribers < 0 {
		return sfu.RouterConfig{}, fieldError("max_subscribers", "must not be below zero")
	}
	return sfu.RouterConfig{Metadata: b.Metadata, MaxPublishers: b.MaxPublishers, MaxSubscribers: b.MaxSubscribers, Codecs: b.Codecs}, nil
}

func viewRouter(r *sfu.Router) routerView {
	cfg := r.Config()
	v := routerView{
		ID: r.ID(), CreatedAt: r.CreatedAt().UTC(), Metadata: cfg.Metadata, MaxPublishers: cfg.MaxPublishers,
		MaxSubscribers: cfg.MaxSubscribers, Codecs: cfg.Codecs, Publishers: len(r.Publishers()), Subscribers: len(r.Subscribers()),
	}
	if v.Metadata == nil {
		v.Metadata = map[string]string{}
	}
	if v.Codecs == nil {
		v.Codecs = []string{}
	}
	return v
}

// routerETag identifies what a client may set of the router, and which router of that name it is. The counters in its
// representation come and go with viewers; a tag that changed with them could never be used in If-Match.
func routerETag(r *sfu.Router) string {
	v := viewRouter(r)
	v.Publishers, v.Subscribers = 0, 0
	text, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("api: router view: %v", err)) // strings and numbers always marshal
	}
	digest := sha256.Sum256(text)
	return `"` + base64.RawURLEncoding.EncodeToString(digest[:12]) + `"`
}

func (s *Server) writeRouter(c echo.Context, status int, r *sfu.Router) error {
	c.Response().Header().Set("ETag", routerETag(r))
	return c.JSON(status, viewRouter(r))
}

// routerID returns the id in the path, if the sender may administer that router.
func routerID(c echo.Context) (sfu.RouterID, error) {
	id := c.Param("router")
	if !sfu.ValidID(id) {
		return "", fmt.Errorf("router: %w", sfu.ErrIDInvalid)
	}
	return sfu.RouterID(id), principalOf(c).may(ActionAdmin, id)
}

// router returns the router in the path, if the sender may administer it.
func (s *Server) router(c echo.Context) (*sfu.Router, error) {
	id, err := routerID(c)
	if err != nil {
		return nil, err
	}
	return s.cfg.Node.Router(id)
}

func (s *Server) listRouters(c echo.Context) error {
	who := principalOf(c)
	visible := slices.DeleteFunc(s.cfg.Node.Routers(), func(r *sfu.Router) bool {
		return who.may(ActionAdmin, string(r.ID())) != nil
	})
	p, err := paginate(c, visible, func(r *sfu.Router) string { return string(r.ID()) }, viewRouter)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, p)
}

func (s *Server) createRouter(c echo.Context) error {
	var body routerBody
	if err := s.readJSON(c, &body); err != nil {
		return err
	}
	cfg, err := body.config()
	if err != nil {
		return err
	}
	id := sfu.RouterID(uuid.Must(uuid.NewV7()).String()) // sorts by time of creation
	if body.ID != nil {
		if id = *body.ID; !sfu.ValidID(string(id)) {
			return fieldError("id", "%s", sfu.ErrIDInvalid)
		}
	}
	if err := principalOf(c).may(ActionAdmin, string(id)); err != nil {
		return err
	}
	r, err := s.addRouter(id, cfg)
	if err != nil {
		return err
	}
	c.Response().Header().Set(echo.HeaderLocation, "/api/v1/routers/"+string(id))
	return s.writeRouter(c, http.StatusCreated, r)
}

func (s *Server) addRouter(id sfu.RouterID, cfg sfu.RouterConfig) (*sfu.Router, error) {
	s.routersMu.Lock()
	defer s.routersMu.Unlock()
	if _, err := s.cfg.Node.Router(id); err == nil {
		return nil, fmt.Errorf("create router %s: %w", id, errRouterExists)
	}
	r, _, err := s.cfg.Node.PutRouter(id, cfg)
	return r, err
}

func (s *Server) showRouter(c echo.Context) error {
	r, err := s.router(c)
	if err != nil {
		return err
	}
	return s.writeRouter(c, http.StatusOK, r)
}

// putRouter creates the router, or finds that it is there as the body wants it. No body asks for the defaults.
func (s *Server) putRouter(c echo.Context) error {
	id, err := routerID(c)
	if err != nil {
		return err
	}
	var body routerBody
	if c.Request().ContentLength != 0 {
		if err := s.readJSON(c, &body); err != nil {
			return err
		}
	}
	if body.ID != nil && *body.ID != id {
		return fieldError("id", "is not that of the path")
	}
	cfg, err := body.config()
	if err != nil {
		return err
	}
	s.routersMu.Lock()
	defer s.routersMu.Unlock()
	if err := s.preconditions(c.Request(), id); err != nil {
		return err
	}
	r, created, err := s.cfg.Node.PutRouter(id, cfg)
	if err != nil {
		return err
	}
	if !sameSettings(r.Config(), cfg) {
		return fmt.Errorf("put router %s: %w", id, errRouterFixed)
	}
	if created {
		c.Response().Header().Set(echo.HeaderLocation, "/api/v1/routers/"+string(id))
		return s.writeRouter(c, http.StatusCreated, r)
	}
	return s.writeRouter(c, http.StatusOK, r)
}

func sameSettings(a, b sfu.RouterConfig) bool {
	return a.MaxPublishers == b.MaxPublishers && a.MaxSubscribers == b.MaxSubscribers &&
		maps.Equal(a.Metadata, b.Metadata) && slices.Equal(a.Codecs, b.Codecs)
}

// deleteRouter ends everything in the router.
func (s *Server) deleteRouter(c echo.Context) error {
	id, err := routerID(c)
	if err != nil {
		return err
	}
	s.routersMu.Lock()
	defer s.routersMu.Unlock()
	if _, err := s.cfg.Node.Router(id); err != nil {
		return err
	}
	if err := s.preconditions(c.Request(), id); err != nil {
		return err
	}
	if err := s.cfg.Node.DeleteRouter(id); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// preconditions checks If-Match and If-None-Match against the router as it is now (RFC 9110 sections 13.1.1, 13.1.2).
func (s *Server) preconditions(r *http.Request, id sfu.RouterID) error {
	etag := ""
	if router, err := s.cfg.Node.Router(id); err == nil {
		etag = routerETag(router)
	}
	if match := r.Header.Get("If-Match"); match != "" && !matches(match, etag) {
		return fmt.Errorf("router %s: If-Match: %w", id, errRouterChanged)
	}
	if noMatch := r.Header.Get("If-None-Match"); noMatch != "" && matches(noMatch, etag) {
		return fmt.Errorf("router %s: If-None-Match: %w", id, errRouterChanged)
	}
	return nil
}

// matches compares a list of entity tags with that of what exists; "" = nothing exists. Weak tags never match.
func matches(list, etag string) bool {
	if etag == "" {
		return false
	}
	if strings.TrimSpace(list) == "*" {
		return true
	}
	for tag := range strings.SplitSeq(list, ",") {
		if strings.TrimSpace(tag) == etag {
			return true
		}
	}
	return false
}
