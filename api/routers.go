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
} // @name Router

// routerBody is the body of PUT and POST.
type routerBody struct {
	ID             *sfu.RouterID     `json:"id,omitempty"` // in PUT only that of the path
	Metadata       map[string]string `json:"metadata,omitempty"`
	MaxPublishers  int               `json:"max_publishers,omitempty"`
	MaxSubscribers int               `json:"max_subscribers,omitempty"`
	Codecs         []string          `json:"codecs,omitempty"`
} // @name RouterSettings

func (b routerBody) config() (sfu.RouterConfig, error) {
	cfg := sfu.RouterConfig{Metadata: b.Metadata, MaxPublishers: b.MaxPublishers, MaxSubscribers: b.MaxSubscribers, Codecs: b.Codecs}
	return cfg, checkRouter(cfg)
}

func checkRouter(cfg sfu.RouterConfig) error {
	if cfg.MaxPublishers < 0 {
		return fieldError("max_publishers", "must not be below zero")
	}
	if cfg.MaxSubscribers < 0 {
		return fieldError("max_subscribers", "must not be below zero")
	}
	return nil
}

// routerPatch is the body of PATCH: what is absent stays as it is. Metadata are merged key by key (RFC 7396).
type routerPatch struct {
	Metadata       map[string]*string `json:"metadata,omitempty" extensions:"x-nullable-values"` // null removes a key
	MaxPublishers  *int               `json:"max_publishers,omitempty"`
	MaxSubscribers *int               `json:"max_subscribers,omitempty"`
	Codecs         *[]string          `json:"codecs,omitempty"`
} // @name RouterChanges

// apply returns cfg with the changes, and leaves cfg itself. All metadata together have at most maxBytes: merging must
// not build up what one body could not hold.
func (p routerPatch) apply(cfg sfu.RouterConfig, maxBytes int) (sfu.RouterConfig, error) {
	if p.MaxPublishers != nil {
		cfg.MaxPublishers = *p.MaxPublishers
	}
	if p.MaxSubscribers != nil {
		cfg.MaxSubscribers = *p.MaxSubscribers
	}
	if p.Codecs != nil {
		cfg.Codecs = *p.Codecs
	}
	if err := checkRouter(cfg); err != nil || p.Metadata == nil {
		return cfg, err
	}
	merged, size := map[string]string{}, 0
	maps.Copy(merged, cfg.Metadata)
	for key, value := range p.Metadata {
		if value == nil {
			delete(merged, key)
		} else {
			merged[key] = *value
		}
	}
	for key, value := range merged {
		size += len(key) + len(value)
	}
	if size > maxBytes {
		return cfg, fieldError("metadata", "would have %d bytes, more than %d", size, maxBytes)
	}
	cfg.Metadata = merged
	return cfg, nil
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

// listRouters shows those that the sender may administer.
//
//	@Summary	List routers
//	@ID			listRouters
//	@Tags		routers
//	@Security	Bearer
//	@Param		limit	query	integer	false	"Items of a page"	minimum(1)	maximum(1000)	default(100)
//	@Param		cursor	query	string	false	"next_cursor of the page before"
//	@Produce	json
//	@Success	200	{object}	page[routerView]
//	@Failure	400	{object}	Problem	"The request cannot be understood"
//	@Failure	401	{object}	Problem	"A credential is needed"
//	@Failure	403	{object}	Problem	"The credential does not permit this"
//	@Failure	429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Router		/api/v1/routers [get]
func (s *Server) listRouters(c echo.Context) error {
	who := principalOf(c)
	if err := who.mayAnywhere(ActionAdmin); err != nil {
		return err
	}
	visible := slices.DeleteFunc(s.cfg.Node.Routers(), func(r *sfu.Router) bool {
		return who.may(ActionAdmin, string(r.ID())) != nil
	})
	p, err := paginate(c, visible, func(r *sfu.Router) string { return string(r.ID()) }, viewRouter)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, p)
}

// createRouter creates a router, under an id of its own unless the body has one.
//
//	@Summary	Create a router
//	@ID			createRouter
//	@Tags		routers
//	@Security	Bearer
//	@Accept		json
//	@Produce	json
//	@Param		router	body	routerBody	true	"Settings; id is drawn if absent"
//	@Success	201	{object}	routerView
//	@Header		201	{string}	Location	"Path of the router"
//	@Header		201	{string}	ETag	"Entity tag of the settings"
//	@Failure	400	{object}	Problem	"The request cannot be understood"
//	@Failure	401	{object}	Problem	"A credential is needed"
//	@Failure	403	{object}	Problem	"The credential does not permit this"
//	@Failure	409	{object}	Problem	"It conflicts with what is there"
//	@Failure	413	{object}	Problem	"The body is too large"
//	@Failure	415	{object}	Problem	"The body has the wrong type"
//	@Failure	429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Failure	503	{object}	Problem	"A limit of the node is reached, or it is draining; Retry-After tells when to come again"
//	@Router		/api/v1/routers [post]
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

// showRouter shows one router.
//
//	@Summary	Show a router
//	@ID			showRouter
//	@Tags		routers
//	@Security	Bearer
//	@Param		router		path	string	true	"Router id"	minlength(1)	maxlength(64)
//	@Produce	json
//	@Success	200	{object}	routerView
//	@Header		200	{string}	ETag	"Entity tag of the settings"
//	@Failure	400	{object}	Problem	"The request cannot be understood"
//	@Failure	401	{object}	Problem	"A credential is needed"
//	@Failure	403	{object}	Problem	"The credential does not permit this"
//	@Failure	404	{object}	Problem	"There is no such resource"
//	@Failure	429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Router		/api/v1/routers/{router} [get]
func (s *Server) showRouter(c echo.Context) error {
	r, err := s.router(c)
	if err != nil {
		return err
	}
	return s.writeRouter(c, http.StatusOK, r)
}

// putRouter creates the router, or gives the one that exists the settings of the body. Without a body it leaves them.
//
//	@Summary	Create a router, or replace its settings
//	@ID			putRouter
//	@Tags		routers
//	@Security	Bearer
//	@Param		router		path	string	true	"Router id"	minlength(1)	maxlength(64)
//	@Param		If-Match	header	string	false	"Entity tag that the router must have"
//	@Param		If-None-Match	header	string	false	"* = only if it does not exist"
//	@Accept		json
//	@Produce	json
//	@Param		settings	body	routerBody	false	"Settings; what is absent is the default. No body leaves the settings of a router that exists"
//	@Success	200	{object}	routerView	"It existed"
//	@Success	201	{object}	routerView	"It was created"
//	@Header		200,201	{string}	ETag	"Entity tag of the settings"
//	@Header		201	{string}	Location	"Path of the router"
//	@Failure	400	{object}	Problem	"The request cannot be understood"
//	@Failure	401	{object}	Problem	"A credential is needed"
//	@Failure	403	{object}	Problem	"The credential does not permit this"
//	@Failure	412	{object}	Problem	"The condition does not hold"
//	@Failure	413	{object}	Problem	"The body is too large"
//	@Failure	415	{object}	Problem	"The body has the wrong type"
//	@Failure	429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Failure	503	{object}	Problem	"A limit of the node is reached, or it is draining; Retry-After tells when to come again"
//	@Router		/api/v1/routers/{router} [put]
func (s *Server) putRouter(c echo.Context) error {
	id, err := routerID(c)
	if err != nil {
		return err
	}
	var body routerBody
	empty := c.Request().ContentLength == 0
	if !empty {
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
	if created {
		c.Response().Header().Set(echo.HeaderLocation, "/api/v1/routers/"+string(id))
		return s.writeRouter(c, http.StatusCreated, r)
	}
	if !empty {
		if err := r.Update(cfg); err != nil {
			return err
		}
	}
	return s.writeRouter(c, http.StatusOK, r)
}

// patchRouter changes what the body names and leaves the rest.
//
//	@Summary	Change some settings of a router
//	@ID			patchRouter
//	@Tags		routers
//	@Security	Bearer
//	@Param		router		path	string	true	"Router id"	minlength(1)	maxlength(64)
//	@Param		If-Match	header	string	false	"Entity tag that the router must have"
//	@Accept		json
//	@Produce	json
//	@Param		changes	body	routerPatch	true	"What is absent stays. Metadata are merged; null removes a key"
//	@Success	200	{object}	routerView
//	@Header		200	{string}	ETag	"Entity tag of the settings"
//	@Failure	400	{object}	Problem	"The request cannot be understood"
//	@Failure	401	{object}	Problem	"A credential is needed"
//	@Failure	403	{object}	Problem	"The credential does not permit this"
//	@Failure	404	{object}	Problem	"There is no such resource"
//	@Failure	412	{object}	Problem	"The condition does not hold"
//	@Failure	413	{object}	Problem	"The body is too large"
//	@Failure	415	{object}	Problem	"The body has the wrong type"
//	@Failure	429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Router		/api/v1/routers/{router} [patch]
func (s *Server) patchRouter(c echo.Context) error {
	id, err := routerID(c)
	if err != nil {
		return err
	}
	var body routerPatch
	if err := s.readJSON(c, &body); err != nil {
		return err
	}
	s.routersMu.Lock()
	defer s.routersMu.Unlock()
	r, err := s.cfg.Node.Router(id)
	if err != nil {
		return err
	}
	if err := s.preconditions(c.Request(), id); err != nil {
		return err
	}
	cfg, err := body.apply(r.Config(), s.limits.Load().MaxJSONBytes)
	if err != nil {
		return err
	}
	if err := r.Update(cfg); err != nil {
		return err
	}
	return s.writeRouter(c, http.StatusOK, r)
}

// deleteRouter ends everything in the router.
//
//	@Summary	Delete a router and end everything in it
//	@ID			deleteRouter
//	@Tags		routers
//	@Security	Bearer
//	@Param		router		path	string	true	"Router id"	minlength(1)	maxlength(64)
//	@Param		If-Match	header	string	false	"Entity tag that the router must have"
//	@Success	204	"It is gone"
//	@Failure	400	{object}	Problem	"The request cannot be understood"
//	@Failure	401	{object}	Problem	"A credential is needed"
//	@Failure	403	{object}	Problem	"The credential does not permit this"
//	@Failure	404	{object}	Problem	"There is no such resource"
//	@Failure	412	{object}	Problem	"The condition does not hold"
//	@Failure	429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Router		/api/v1/routers/{router} [delete]
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
