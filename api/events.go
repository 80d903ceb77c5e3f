package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"rheomesh/relay"
	"rheomesh/sfu"
	"rheomesh/whip"
)

const (
	// keepAliveInterval is how often a stream without events sends a comment, so that proxies do not close it.
	keepAliveInterval = 15 * time.Second
	// streamWriteTimeout is how long one write may take: a reader that takes nothing for so long is gone.
	streamWriteTimeout = 10 * time.Second
	// reconnectDelay is told to browsers, whose default is of their own choice.
	reconnectDelay = 2 * time.Second

	defaultMaxEventStreams = 64
)

// eventTypes are what filters and webhooks may name.
var eventTypes = []sfu.EventType{
	sfu.EventRouterCreated, sfu.EventRouterDeleted, sfu.EventRouterSpeakers, sfu.EventPublisherLive, sfu.EventPublisherIdle, sfu.EventPublisherRemoved,
	sfu.EventPublisherLayers, sfu.EventSubscriberJoined, sfu.EventSubscriberLeft, sfu.EventSubscriberLayer, sfu.EventNodeDraining,
	sfu.EventDataOpened, sfu.EventDataClosed,
	eventRelayActive, eventRelayStalled, eventRelayFailed, eventRelayClosed,
}

// showEvent is the resource that an event is about.
func (s *Server) showEvent(e sfu.Event) any {
	if info, ok := e.Subject.(relay.Info); ok {
		return viewRelay(info)
	}
	switch {
	case e.Data != nil:
		return viewDataEvent(e)
	case e.Subscriber != nil:
		return viewSubscriber(e.Subscriber)
	case e.Publisher != nil:
		return viewPublisher(e.Publisher)
	case e.Type == sfu.EventRouterSpeakers:
		return viewSpeakers(e.Router)
	case e.Router != nil:
		return viewRouter(e.Router)
	}
	return s.viewNode()
}

// streamEvents follows the node's events until its reader goes.
//
//	@Summary		Follow what happens
//	@Description	Server-sent events. The data field is JSON: id, type, time, node_id, and in data the resource that the event is about, as the API shows it a moment after the event. A reader that comes back sends the id of the last event that it has seen as Last-Event-ID and gets what it missed, up to 1,024 events and five minutes. When more is missing, the first event is events.lost; a reader that is too slow gets it as its last. A credential that administers some routers only sees the events of those.
//	@ID				streamEvents
//	@Tags			events
//	@Security		Bearer
//	@Param			types			query	string	false	"Event types, separated by commas; all without it"
//	@Param			router			query	string	false	"Router ids, separated by commas; without it all of them, and the node's own events"
//	@Param			Last-Event-ID	header	string	false	"Id of the last event that the reader has seen"
//	@Produce		text/event-stream
//	@Success		200	{string}	string	"Events"
//	@Failure	400	{object}	Problem	"The request cannot be understood"
//	@Failure	401	{object}	Problem	"A credential is needed"
//	@Failure	403	{object}	Problem	"The credential does not permit this"
//	@Failure	429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Router			/api/v1/events [get]
func (s *Server) streamEvents(c echo.Context) error {
	match, err := eventFilter(c)
	if err != nil {
		return err
	}
	header := c.Response().Header()
	header.Set(echo.HeaderContentType, "text/event-stream")
	header.Set(echo.HeaderCacheControl, "no-store")
	header.Set("X-Accel-Buffering", "no") // nginx would hold events back
	if c.Request().Method == http.MethodHead {
		return c.NoContent(http.StatusOK)
	}
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		header.Del(echo.HeaderContentType)
		return fmt.Errorf("events: %w", whip.ErrStreamLimit)
	}
	s.events.start()
	stream := eventStream{feed: s.events, response: c.Response(), controller: http.NewResponseController(c.Response()), match: match}
	stream.serve(c.Request().Context(), c.Request().Header.Get("Last-Event-ID"))
	return nil // whatever ended the stream, nothing can be answered any more
}

// eventFilter reads what the request wants, within what its sender may see.
func eventFilter(c echo.Context) (func(*record) bool, error) {
	who := principalOf(c)
	if err := who.mayAnywhere(ActionAdmin); err != nil {
		return nil, err
	}
	types, routers := listParam(c, "types"), listParam(c, "router")
	for _, name := range types {
		if !slices.Contains(eventTypes, sfu.EventType(name)) {
			return nil, fieldError("types", "%.40q is no event type", name)
		}
	}
	for _, id := range routers {
		if !sfu.ValidID(id) {
			return nil, fieldError("router", "%s", sfu.ErrIDInvalid)
		}
		if err := who.may(ActionAdmin, id); err != nil {
			return nil, err
		}
	}
	return func(r *record) bool {
		switch {
		case r.kind == eventLost:
			return true
		case len(types) > 0 && !slices.Contains(types, string(r.kind)):
			return false
		case len(routers) > 0:
			return slices.Contains(routers, string(r.router))
		case r.router == "":
			return who.mayNode() == nil
		}
		return who.may(ActionAdmin, string(r.router)) == nil
	}, nil
}

// listParam is a query parameter that holds a list, by commas or by repetition.
func listParam(c echo.Context, name string) (list []string) {
	for _, value := range c.QueryParams()[name] {
		for item := range strings.SplitSeq(value, ",") {
			if item = strings.TrimSpace(item); item != "" {
				list = append(list, item)
			}
		}
	}
	return list
}

// mayAnywhere asks for the action in some router at least.
func (p principal) mayAnywhere(action string) error {
	somewhere := func(g Grant) bool { return slices.Contains(g.Actions, action) }
	if p.anybody || p.publishers == nil && slices.ContainsFunc(p.grants, somewhere) {
		return nil
	}
	return fmt.Errorf("%s with %s: %w", action, p.name, whip.ErrForbidden)
}

// eventStream writes records in the text/event-stream format to one reader.
type eventStream struct {
	feed       *feed
	response   *echo.Response
	controller *http.ResponseController
	match      func(*record) bool
	position   uint64 // number of the last event that was looked at
}

// serve returns when the reader goes, is too slow, or the feed ends.
func (s *eventStream) serve(ctx context.Context, lastID string) {
	s.response.WriteHeader(http.StatusOK)
	if s.open(lastID) != nil {
		return
	}
	keepAlive := time.NewTicker(keepAliveInterval)
	defer keepAlive.Stop()
	for {
		found := s.feed.read(s.position, s.match)
		if found.missed {
			s.feed.slowReaders.Add(1)
			_ = s.write(s.lost(lostSlow)) // the reader is dropped either way
			return
		}
		s.position = found.next
		if len(found.records) > 0 && s.write(frames(found.records)) != nil {
			return
		}
		if found.ended {
			_ = s.write([]byte(": the node stops\n\n")) // nothing depends on it
			return
		}
		if found.changed == nil {
			continue
		}
		select {
		case <-found.changed:
		case <-keepAlive.C:
			if s.write([]byte(": keep-alive\n\n")) != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// open finds the position and tells the reader its id, so that one which sees no event before it comes back misses none either.
func (s *eventStream) open(lastID string) error {
	head := fmt.Appendf(nil, "retry: %d\n", reconnectDelay.Milliseconds())
	seq, known := s.feed.seqOf(lastID)
	switch {
	case lastID == "":
		s.position = s.feed.newest()
	case !known || seq > s.feed.newest():
		s.position = s.feed.oldest()
		return s.write(append(head, s.lost(lostUnknown)...))
	case seq < s.feed.oldest():
		s.position = s.feed.oldest()
		return s.write(append(head, s.lost(lostExpired)...))
	default:
		s.position = seq
	}
	return s.write(fmt.Appendf(head, "id: %s\n\n", s.feed.eventID(s.position)))
}

// lost is events.lost at the stream's position.
func (s *eventStream) lost(reason string) []byte {
	e := sfu.Event{Seq: s.position, Type: eventLost, Time: time.Now()}
	return frames([]*record{s.feed.render(e, lostView{reason})})
}

func frames(records []*record) (text []byte) {
	for _, r := range records {
		text = fmt.Appendf(text, "id: %s\nevent: %s\ndata: %s\n\n", r.id, r.kind, r.body)
	}
	return text
}

func (s *eventStream) write(text []byte) error {
	_ = s.controller.SetWriteDeadline(time.Now().Add(streamWriteTimeout)) // recorders in tests have none
	if _, err := s.response.Write(text); err != nil {
		return err
	}
	return s.controller.Flush()
}
