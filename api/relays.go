package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"rheomesh/relay"
	"rheomesh/sfu"
)

// ActionRelay permits relays of a router; who administers the router may do that too.
const ActionRelay = "relay"

// relayTimeout is how long the first try of a new relay may take before the answer.
const relayTimeout = 5 * time.Second

// Events of relays.
const (
	eventRelayActive  sfu.EventType = "relay.active"
	eventRelayStalled sfu.EventType = "relay.stalled"
	eventRelayFailed  sfu.EventType = "relay.failed"
	eventRelayClosed  sfu.EventType = "relay.closed"
)

var relayEvents = map[relay.State]sfu.EventType{
	relay.StateActive: eventRelayActive, relay.StateStalled: eventRelayStalled, relay.StateFailed: eventRelayFailed, relay.StateClosed: eventRelayClosed,
}

// AnnounceRelay makes a change of a relay an event of the node. States without an event are not announced.
func AnnounceRelay(node *sfu.Node, info relay.Info) {
	if event, ok := relayEvents[info.State]; ok {
		node.Announce(event, info.Router, info)
	}
}

type relayView struct {
	ID           string            `json:"id"`
	RouterID     sfu.RouterID      `json:"router_id"`
	Peer         string            `json:"peer"`
	RemoteRouter sfu.RouterID      `json:"remote_router"`
	Publishers   []sfu.PublisherID `json:"publishers"`
	Mode         string            `json:"mode" enums:"push,pull"`
	MaxHops      int               `json:"max_hops"`
	State        string            `json:"state" enums:"connecting,active,stalled,draining,failed,closed"`
	Reason       string            `json:"reason"` // of a closed set; empty when all is well
	LinkID       string            `json:"link_id"`
	CreatedAt    time.Time         `json:"created_at"`
	Streams      []relayStreamView `json:"streams"`
} // @name Relay

type relayStreamView struct {
	PublisherID      sfu.PublisherID `json:"publisher_id"`
	TrackID          sfu.TrackID     `json:"track_id"`
	RID              string          `json:"rid"`
	State            string          `json:"state"` // flowing, idle, or why the publisher is not relayed
	Wanted           bool            `json:"wanted"`
	Packets          uint64          `json:"packets"`
	Bytes            uint64          `json:"bytes"`
	Lost             uint64          `json:"lost"`
	Recovered        uint64          `json:"recovered"`
	KeyframeRequests uint64          `json:"keyframe_requests"`
} // @name RelayStream

// relayBody is the body of PUT and POST.
type relayBody struct {
	ID           *string           `json:"id,omitempty"` // in PUT only that of the path
	Peer         string            `json:"peer" validate:"required"`
	RemoteRouter sfu.RouterID      `json:"remote_router,omitempty"` // that of the path when empty
	Publishers   []sfu.PublisherID `json:"publishers,omitempty"`    // all when empty
	Mode         string            `json:"mode,omitempty" enums:"push,pull"`
	MaxHops      int               `json:"max_hops,omitempty"` // 4 when 0
} // @name RelaySettings

func (b relayBody) order(router sfu.RouterID, id string) relay.Order {
	return relay.Order{Router: router, ID: id, Peer: b.Peer, RemoteRouter: b.RemoteRouter, Publishers: b.Publishers, Mode: relay.Mode(b.Mode), MaxHops: b.MaxHops}
}

func viewRelay(info relay.Info) relayView {
	v := relayView{
		ID: info.ID, RouterID: info.Router, Peer: info.Peer, RemoteRouter: info.RemoteRouter, Publishers: info.Publishers, Mode: string(info.Mode), MaxHops: info.MaxHops,
		State: string(info.State), Reason: info.Reason, LinkID: info.LinkID, CreatedAt: info.CreatedAt.UTC(), Streams: []relayStreamView{},
	}
	for _, s := range info.Streams {
		v.Streams = append(v.Streams, relayStreamView(s))
	}
	return v
}

// relayRouter returns the id of the router in the path, if the sender may relay it.
func relayRouter(c echo.Context) (sfu.RouterID, error) {
	id := c.Param("router")
	if !sfu.ValidID(id) {
		return "", fmt.Errorf("router: %w", sfu.ErrIDInvalid)
	}
	return sfu.RouterID(id), principalOf(c).mayRelay(id)
}

func (p principal) mayRelay(router string) error {
	if p.may(ActionAdmin, router) == nil {
		return nil
	}
	return p.may(ActionRelay, router)
}

// relay returns the relay in the path, if the sender may see it.
func (s *Server) relay(c echo.Context) (*relay.Relay, error) {
	router, err := relayRouter(c)
	if err != nil {
		return nil, err
	}
	if _, err := s.cfg.Node.Router(router); err != nil {
		return nil, err
	}
	id := c.Param("relay")
	if !sfu.ValidID(id) {
		return nil, fmt.Errorf("relay: %w", sfu.ErrIDInvalid)
	}
	return s.cfg.Relay.Relay(router, id)
}

// listRelays lists the relays of a router.
//
//	@Summary	List the relays of a router
//	@ID			listRelays
//	@Tags		relays
//	@Security	Bearer
//	@Param		router	path	string	true	"Router id"	minlength(1)	maxlength(64)
//	@Param		limit	query	int		false	"Most items to return"	minimum(1)	maximum(1000)	default(100)
//	@Param		cursor	query	string	false	"next_cursor of the page before"
//	@Produce	json
//	@Success	200	{object}	page[relayView]
//	@Failure	400	{object}	Problem	"The request cannot be understood"
//	@Failure	401	{object}	Problem	"A credential is needed"
//	@Failure	403	{object}	Problem	"The credential does not permit this"
//	@Failure	404	{object}	Problem	"There is no such resource"
//	@Failure	429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Router		/api/v1/routers/{router}/relays [get]
func (s *Server) listRelays(c echo.Context) error {
	router, err := relayRouter(c)
	if err != nil {
		return err
	}
	if _, err := s.cfg.Node.Router(router); err != nil {
		return err
	}
	p, err := paginate(c, s.cfg.Relay.Relays(router), func(r *relay.Relay) string { return r.Info().ID }, func(r *relay.Relay) relayView { return viewRelay(r.Info()) })
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, p)
}

// createRelay begins a relay under an id of its own.
//
//	@Summary		Begin a relay
//	@Description	Carry publishers of this router to another node (push) or from there (pull). What can be known within five seconds is answered at once: an error leaves nothing behind. Later failures are in the relay's state, and it is tried again until it is deleted.
//	@ID				createRelay
//	@Tags			relays
//	@Security		Bearer
//	@Param			router	path	string		true	"Router id"	minlength(1)	maxlength(64)
//	@Param			body	body	relayBody	true	"The relay"
//	@Accept			json
//	@Produce		json
//	@Success		201	{object}	relayView	"The relay is active"
//	@Header			201	{string}	Location	"Path of the relay"
//	@Failure	400	{object}	Problem	"The request cannot be understood"
//	@Failure	401	{object}	Problem	"A credential is needed"
//	@Failure	403	{object}	Problem	"The credential, or the peer, does not permit this"
//	@Failure	404	{object}	Problem	"There is no such router here, or none on the peer"
//	@Failure	409	{object}	Problem	"It would run in a circle or take too many hops, or conflicts with what is there"
//	@Failure	413	{object}	Problem	"The body is too large"
//	@Failure	415	{object}	Problem	"The body has the wrong type"
//	@Failure	429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Failure	502	{object}	Problem	"The peer cannot be reached, or speaks another version"
//	@Failure	503	{object}	Problem	"A limit of one of the nodes is reached, or it is stopping"
//	@Router			/api/v1/routers/{router}/relays [post]
func (s *Server) createRelay(c echo.Context) error {
	router, err := relayRouter(c)
	if err != nil {
		return err
	}
	var body relayBody
	if err := s.readJSON(c, &body); err != nil {
		return err
	}
	id := uuid.Must(uuid.NewV7()).String() // sorts by time of creation
	if body.ID != nil {
		id = *body.ID
	}
	r, created, err := s.carry(c, body.order(router, id))
	if err != nil {
		return err
	}
	if !created {
		return fmt.Errorf("create relay %s: %w", id, errRelayExists)
	}
	return s.writeRelay(c, http.StatusCreated, r)
}

var errRelayExists = errors.New("relay exists already")

// putRelay begins a relay, or finds that it is there as the body wants it.
//
//	@Summary		Begin a relay under an id
//	@Description	Idempotent: twice is one relay. An id that is there with another peer, router, mode or list of publishers is a conflict.
//	@ID				putRelay
//	@Tags			relays
//	@Security		Bearer
//	@Param			router	path	string		true	"Router id"	minlength(1)	maxlength(64)
//	@Param			relay	path	string		true	"Relay id"	minlength(1)	maxlength(64)
//	@Param			body	body	relayBody	true	"The relay"
//	@Accept			json
//	@Produce		json
//	@Success		200	{object}	relayView	"It was there already"
//	@Success		201	{object}	relayView	"The relay is active"
//	@Header			201	{string}	Location	"Path of the relay"
//	@Failure	400	{object}	Problem	"The request cannot be understood"
//	@Failure	401	{object}	Problem	"A credential is needed"
//	@Failure	403	{object}	Problem	"The credential, or the peer, does not permit this"
//	@Failure	404	{object}	Problem	"There is no such router here, or none on the peer"
//	@Failure	409	{object}	Problem	"It would run in a circle or take too many hops, or conflicts with what is there"
//	@Failure	413	{object}	Problem	"The body is too large"
//	@Failure	415	{object}	Problem	"The body has the wrong type"
//	@Failure	429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Failure	502	{object}	Problem	"The peer cannot be reached, or speaks another version"
//	@Failure	503	{object}	Problem	"A limit of one of the nodes is reached, or it is stopping"
//	@Router			/api/v1/routers/{router}/relays/{relay} [put]
func (s *Server) putRelay(c echo.Context) error {
	router, err := relayRouter(c)
	if err != nil {
		return err
	}
	var body relayBody
	if err := s.readJSON(c, &body); err != nil {
		return err
	}
	id := c.Param("relay")
	if body.ID != nil && *body.ID != id {
		return fieldError("id", "is not that of the path")
	}
	r, created, err := s.carry(c, body.order(router, id))
	if err != nil {
		return err
	}
	if created {
		return s.writeRelay(c, http.StatusCreated, r)
	}
	return s.writeRelay(c, http.StatusOK, r)
}

// carry puts an order within the time that its sender waits.
func (s *Server) carry(c echo.Context, order relay.Order) (*relay.Relay, bool, error) {
	ctx, cancel := context.WithTimeout(c.Request().Context(), relayTimeout)
	defer cancel()
	r, created, err := s.cfg.Relay.Put(ctx, order)
	if wrong, ok := errors.AsType[*relay.FieldError](err); ok {
		return nil, false, fieldError(wrong.Field, "%s", wrong.Message)
	}
	return r, created, err
}

func (s *Server) writeRelay(c echo.Context, status int, r *relay.Relay) error {
	info := r.Info()
	if status == http.StatusCreated {
		c.Response().Header().Set(echo.HeaderLocation, fmt.Sprintf("/api/v1/routers/%s/relays/%s", info.Router, info.ID))
	}
	return c.JSON(status, viewRelay(info))
}

// showRelay shows a relay with its streams.
//
//	@Summary	Show a relay
//	@ID			showRelay
//	@Tags		relays
//	@Security	Bearer
//	@Param		router	path	string	true	"Router id"	minlength(1)	maxlength(64)
//	@Param		relay	path	string	true	"Relay id"	minlength(1)	maxlength(64)
//	@Produce	json
//	@Success	200	{object}	relayView
//	@Failure	400	{object}	Problem	"The request cannot be understood"
//	@Failure	401	{object}	Problem	"A credential is needed"
//	@Failure	403	{object}	Problem	"The credential does not permit this"
//	@Failure	404	{object}	Problem	"There is no such resource"
//	@Failure	429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Router		/api/v1/routers/{router}/relays/{relay} [get]
func (s *Server) showRelay(c echo.Context) error {
	r, err := s.relay(c)
	if err != nil {
		return err
	}
	return s.writeRelay(c, http.StatusOK, r)
}

// deleteRelay ends a relay on both sides.
//
//	@Summary	End a relay
//	@ID			deleteRelay
//	@Tags		relays
//	@Security	Bearer
//	@Param		router	path	string	true	"Router id"	minlength(1)	maxlength(64)
//	@Param		relay	path	string	true	"Relay id"	minlength(1)	maxlength(64)
//	@Success	204	"The relay is ended, here and on the peer"
//	@Failure	400	{object}	Problem	"The request cannot be understood"
//	@Failure	401	{object}	Problem	"A credential is needed"
//	@Failure	403	{object}	Problem	"The credential does not permit this"
//	@Failure	404	{object}	Problem	"There is no such resource"
//	@Failure	429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Router		/api/v1/routers/{router}/relays/{relay} [delete]
func (s *Server) deleteRelay(c echo.Context) error {
	r, err := s.relay(c)
	if err != nil {
		return err
	}
	info := r.Info()
	if err := s.cfg.Relay.Delete(info.Router, info.ID); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}
