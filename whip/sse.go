package whip

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"rheomesh/sfu"
)

// keepAliveInterval is how often a comment is sent, so that proxies do not close an idle stream.
const keepAliveInterval = 15 * time.Second

// streamWriteTimeout is how long one write to a reader may take. It also replaces the server's write
// timeout, which counts from the start of the request.
const streamWriteTimeout = 10 * time.Second

// createStream is POST on the sse resource: a JSON array of event names, or nothing for all.
//
//	@Summary	Open an event stream
//	@Description	Whoever knows the URL may use it: no credential is needed, and only a wrong one is refused.
//	@ID			createEventStream
//	@Tags		WHEP
//	@Param		router		path	string	true	"Router id"	minlength(1)	maxlength(64)
//	@Param		publisher	path	string	true	"Publisher id"	minlength(1)	maxlength(64)
//	@Param		session		path	string	true	"Session id, a secret"
//	@Accept		json
//	@Param		events	body	[]string	false	"Wanted events of active, inactive, layers, viewercount, reconnect; none is all"
//	@Success	201	"It is open"
//	@Header		201	{string}	Location	"URL of the stream, a secret"
//	@Failure	400	{object}	Problem	"The request cannot be understood"
//	@Failure	401	{object}	Problem	"A credential is needed"
//	@Failure	403	{object}	Problem	"The credential does not permit this"
//	@Failure	404	{object}	Problem	"There is no such resource"
//	@Failure	413	{object}	Problem	"The body is too large"
//	@Failure	415	{object}	Problem	"The body has the wrong type"
//	@Failure	429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Router		/whep/{router}/{publisher}/{session}/sse [post]
func (h *Handler) createStream(c echo.Context) error {
	s, err := h.find(c, sfu.RoleSubscribe)
	if err != nil {
		return err
	}
	body, err := readJSON(c)
	if err != nil {
		return fmt.Errorf("create event stream of %s: %w", s, err)
	}
	names, err := parseEventNames(body)
	if err != nil {
		return fmt.Errorf("create event stream of %s: %w", s, err)
	}
	st := newStream(rand.Text(), s, names)
	if err := h.events.add(st); err != nil {
		return retryAfter(fmt.Errorf("create event stream of %s: %w", s, err))
	}
	c.Response().Header().Set(echo.HeaderLocation, s.location+"/sse/"+st.id)
	return c.NoContent(http.StatusCreated)
}

// parseEventNames reads the list of wanted events. One unknown name spoils it all, as the draft demands.
func parseEventNames(body []byte) ([]string, error) {
	if len(body) == 0 {
		return eventNames, nil
	}
	var names []string
	if err := json.Unmarshal(body, &names); err != nil {
		return nil, fmt.Errorf("event names: %w: %w", ErrBodyInvalid, err)
	}
	if names == nil { // JSON null
		return nil, fmt.Errorf("event names: no JSON array: %w", ErrBodyInvalid)
	}
	for _, name := range names {
		if !slices.Contains(eventNames, name) {
			return nil, fmt.Errorf("event names: unknown event %.40q: %w", name, ErrBodyInvalid)
		}
	}
	return names, nil
}

// readStream is GET on a stream: it sends what is queued and goes on until somebody ends it.
//
//	@Summary	Read an event stream
//	@Description	Whoever knows the URL may use it: no credential is needed, and only a wrong one is refused.
//	@ID			readEventStream
//	@Tags		WHEP
//	@Param		router		path	string	true	"Router id"	minlength(1)	maxlength(64)
//	@Param		publisher	path	string	true	"Publisher id"	minlength(1)	maxlength(64)
//	@Param		session		path	string	true	"Session id, a secret"
//	@Param		stream		path	string	true	"Event stream id, a secret"
//	@Produce	text/event-stream
//	@Success	200	{string}	string	"Server-sent events, until somebody ends it"
//	@Failure	400	{object}	Problem	"The request cannot be understood"
//	@Failure	401	{object}	Problem	"A credential is needed"
//	@Failure	403	{object}	Problem	"The credential does not permit this"
//	@Failure	404	{object}	Problem	"There is no such resource"
//	@Failure	429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Router		/whep/{router}/{publisher}/{session}/sse/{stream} [get]
func (h *Handler) readStream(c echo.Context) error {
	s, st, err := h.findStream(c)
	if err != nil {
		return err
	}
	header := c.Response().Header()
	header.Set(echo.HeaderContentType, "text/event-stream")
	header.Set(echo.HeaderCacheControl, "no-cache")
	header.Set("X-Accel-Buffering", "no") // nginx would hold events back
	r := st.attach()
	defer st.detach(r)
	out := newEventWriter(c.Response())
	if out.open() != nil {
		return nil // the client has gone: nothing to answer
	}
	h.pump(c.Request().Context(), out, s, st, r)
	return nil
}

// pump writes the messages of st to one reader. It returns when the client, the stream, its session or
// the handler ends, or another reader takes over.
func (h *Handler) pump(ctx context.Context, out *eventWriter, s *session, st *stream, r *reader) {
	keepAlive := time.NewTicker(keepAliveInterval)
	defer keepAlive.Stop()
	for out.send(st, r) {
		select {
		case <-r.wake:
		case <-keepAlive.C:
			if out.comment() != nil {
				return
			}
		case <-s.media.Done():
			out.send(st, r) // what came just before the end
			return
		case <-st.dropped:
			return
		case <-r.gone:
			return
		case <-h.stop:
			return
		case <-ctx.Done():
			return
		}
	}
}

// removeStream is DELETE on a stream.
//
//	@Summary	Close an event stream
//	@Description	Whoever knows the URL may use it: no credential is needed, and only a wrong one is refused.
//	@ID			deleteEventStream
//	@Tags		WHEP
//	@Param		router		path	string	true	"Router id"	minlength(1)	maxlength(64)
//	@Param		publisher	path	string	true	"Publisher id"	minlength(1)	maxlength(64)
//	@Param		session		path	string	true	"Session id, a secret"
//	@Param		stream		path	string	true	"Event stream id, a secret"
//	@Success	200	"It is closed"
//	@Failure	400	{object}	Problem	"The request cannot be understood"
//	@Failure	401	{object}	Problem	"A credential is needed"
//	@Failure	403	{object}	Problem	"The credential does not permit this"
//	@Failure	404	{object}	Problem	"There is no such resource"
//	@Failure	429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Router		/whep/{router}/{publisher}/{session}/sse/{stream} [delete]
func (h *Handler) removeStream(c echo.Context) error {
	s, st, err := h.findStream(c)
	if err != nil {
		return err
	}
	if !h.events.drop(s, st.id) {
		return fmt.Errorf("event stream of %s: %w", s, ErrStreamNotFound)
	}
	return c.NoContent(http.StatusOK)
}

func (h *Handler) findStream(c echo.Context) (*session, *stream, error) {
	s, err := h.find(c, sfu.RoleSubscribe)
	if err != nil {
		return nil, nil, err
	}
	st := h.events.find(s, param(c, "stream"))
	if st == nil {
		return nil, nil, fmt.Errorf("event stream of %s: %w", s, ErrStreamNotFound)
	}
	return s, st, nil
}

// eventWriter writes the text/event-stream format and flushes after each batch.
type eventWriter struct {
	response   *echo.Response
	controller *http.ResponseController
}

func newEventWriter(response *echo.Response) *eventWriter {
	return &eventWriter{response, http.NewResponseController(response)}
}

// open sends the header.
func (w *eventWriter) open() error {
	w.response.WriteHeader(http.StatusOK)
	return w.write(nil)
}

// send writes everything that waits. It reports whether the reader is still good.
func (w *eventWriter) send(st *stream, r *reader) bool {
	messages := st.take(r)
	if len(messages) == 0 {
		return true
	}
	var frames []byte
	for _, m := range messages {
		frames = fmt.Appendf(frames, "event: %s\ndata: %s\n\n", m.event, m.data)
	}
	if w.write(frames) != nil {
		st.giveBack(messages)
		return false
	}
	return true
}

// comment writes a line that readers ignore.
func (w *eventWriter) comment() error { return w.write([]byte(": keep-alive\n\n")) }

func (w *eventWriter) write(text []byte) error {
	_ = w.controller.SetWriteDeadline(time.Now().Add(streamWriteTimeout)) // recorders have none, and need none
	if _, err := w.response.Write(text); err != nil {
		return err
	}
	return w.controller.Flush()
}
