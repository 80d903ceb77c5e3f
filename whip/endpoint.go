package whip

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/labstack/echo/v4"

	"rheomesh/sfu"
)

// Media types.
const (
	typeSDP      = "application/sdp"
	typeFragment = "application/trickle-ice-sdpfrag" // RFC 8840 §9
	typeJSON     = "application/json"
)

// Body limits, in bytes. A browser's offer is 6 KiB, a fragment below 2 KiB.
const (
	maxOfferBytes    = 64 << 10
	maxFragmentBytes = 16 << 10
	maxJSONBytes     = 16 << 10
)

// address names a session by the whole of its path, so that a session under a foreign router,
// publisher or role simply is another address. The zero session is the endpoint.
type address struct {
	role      sfu.Role
	router    sfu.RouterID
	publisher sfu.PublisherID
	session   sfu.SessionID
}

// String names the publisher and not the session, whose id is a secret.
func (a address) String() string { return string(a.router) + "/" + string(a.publisher) }

// addressOf reads the ids of the path.
func addressOf(c echo.Context, role sfu.Role) (address, error) {
	router, publisher := param(c, "router"), param(c, "publisher")
	if !sfu.ValidID(router) || !sfu.ValidID(publisher) {
		return address{}, fmt.Errorf("path %q: %w", c.Request().URL.Path, sfu.ErrIDInvalid)
	}
	return address{role, sfu.RouterID(router), sfu.PublisherID(publisher), sfu.SessionID(param(c, "session"))}, nil
}

// param is a decoded path parameter. echo matches the escaped path if there is one and leaves its
// parameters escaped.
func param(c echo.Context, name string) string {
	value := c.Param(name)
	if c.Request().URL.RawPath == "" {
		return value
	}
	decoded, err := url.PathUnescape(value)
	if err != nil {
		return value
	}
	return decoded
}

// publish is POST on a WHIP endpoint (RFC 9725 §4.2).
//
//	@Summary	Publish (RFC 9725)
//	@ID			publish
//	@Tags		WHIP
//	@Security	Bearer
//	@Param		router		path	string	true	"Router id"	minlength(1)	maxlength(64)
//	@Param		publisher	path	string	true	"Publisher id"	minlength(1)	maxlength(64)
//	@Accept		application/sdp
//	@Produce	application/sdp
//	@Param		offer	body	string	true	"SDP offer"
//	@Success	201	{string}	string	"SDP answer"
//	@Header		201	{string}	Location	"URL of the session, a secret"
//	@Header		201	{string}	ETag	"Entity tag of the ICE session"
//	@Header		201	{string}	Link	"ICE servers, and for players the extensions of the session; one line each"
//	@Header		201	{string}	Accept-Patch	"application/trickle-ice-sdpfrag"
//	@Failure	400	{object}	Problem	"The request cannot be understood"
//	@Failure	401	{object}	Problem	"A credential is needed"
//	@Failure	403	{object}	Problem	"The credential does not permit this"
//	@Failure	404	{object}	Problem	"There is no such resource"
//	@Failure	409	{object}	Problem	"It conflicts with what is there"
//	@Failure	413	{object}	Problem	"The body is too large"
//	@Failure	415	{object}	Problem	"The body has the wrong type"
//	@Failure	422	{object}	Problem	"The SDP is not acceptable"
//	@Failure	429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Failure	503	{object}	Problem	"A limit of the node is reached, or it is draining; Retry-After tells when to come again"
//	@Router		/whip/{router}/{publisher} [post]
func (h *Handler) publish(c echo.Context) error {
	at, router, err := h.admit(c, sfu.RolePublish)
	if err != nil {
		return err
	}
	offer, err := readOffer(c)
	if err != nil {
		return fmt.Errorf("publish %s: %w", at, err)
	}
	if len(offer) == 0 {
		return fmt.Errorf("publish %s: empty body: %w", at, sfu.ErrOfferInvalid)
	}
	media, err := router.publish(sfu.PublishRequest{
		Publisher: at.publisher, Offer: offer, OnConflict: h.cfg.OnConflict,
		ClientIP: clientIP(c), UserAgent: c.Request().UserAgent(),
	})
	if err != nil {
		return retryAfter(err)
	}
	return h.created(c, http.StatusCreated, at, media)
}

// subscribe is POST on a WHEP endpoint. A body is the player's offer; an empty one asks for an offer
// of ours, as the first WHEP drafts had it and some players still do.
//
//	@Summary	Play (WHEP)
//	@ID			subscribe
//	@Tags		WHEP
//	@Security	Bearer
//	@Param		router		path	string	true	"Router id"	minlength(1)	maxlength(64)
//	@Param		publisher	path	string	true	"Publisher id"	minlength(1)	maxlength(64)
//	@Accept		application/sdp
//	@Produce	application/sdp
//	@Param		offer	body	string	false	"SDP offer. Without one the node makes the offer, which the player answers by PATCH within 30 s"
//	@Success	201	{string}	string	"SDP answer, or offer"
//	@Header		201	{string}	Location	"URL of the session, a secret"
//	@Header		201	{string}	ETag	"Entity tag of the ICE session"
//	@Header		201	{string}	Link	"ICE servers, and for players the extensions of the session; one line each"
//	@Header		201	{string}	Accept-Patch	"application/trickle-ice-sdpfrag"
//	@Failure	406	{string}	string	"SDP offer of the node in place of one that cannot be met, if whep.counter_offer is on"
//	@Failure	400	{object}	Problem	"The request cannot be understood"
//	@Failure	401	{object}	Problem	"A credential is needed"
//	@Failure	403	{object}	Problem	"The credential does not permit this"
//	@Failure	404	{object}	Problem	"There is no such resource"
//	@Failure	409	{object}	Problem	"It conflicts with what is there"
//	@Failure	413	{object}	Problem	"The body is too large"
//	@Failure	415	{object}	Problem	"The body has the wrong type"
//	@Failure	422	{object}	Problem	"The SDP is not acceptable"
//	@Failure	429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Failure	503	{object}	Problem	"A limit of the node is reached, or it is draining; Retry-After tells when to come again"
//	@Router		/whep/{router}/{publisher} [post]
func (h *Handler) subscribe(c echo.Context) error {
	at, router, err := h.admit(c, sfu.RoleSubscribe)
	if err != nil {
		return err
	}
	offer, err := readOffer(c)
	if err != nil {
		return fmt.Errorf("subscribe %s: %w", at, err)
	}
	req := sfu.SubscribeRequest{
		Publisher: at.publisher, Offer: offer, RequireLive: h.cfg.WithoutPublisher == AbsenceConflict,
		ClientIP: clientIP(c), UserAgent: c.Request().UserAgent(),
		SendData: h.authorize(c.Request(), ActionData, string(at.router), string(at.publisher)) == nil,
	}
	if len(offer) == 0 {
		return h.offer(c, http.StatusCreated, at, router, req)
	}
	media, err := router.subscribe(req)
	if errors.Is(err, sfu.ErrOfferUnacceptable) && h.cfg.CounterOffer && acceptsSDP(c.Request()) {
		return h.offer(c, http.StatusNotAcceptable, at, router, req)
	}
	if err != nil {
		return retryAfter(err)
	}
	return h.created(c, http.StatusCreated, at, media)
}

// offer answers with an SDP offer of ours, which the player answers by PATCH within 30 s.
func (h *Handler) offer(c echo.Context, status int, at address, router mediaRouter, req sfu.SubscribeRequest) error {
	media, err := router.offerSubscription(req)
	if err != nil {
		return retryAfter(err)
	}
	return h.created(c, status, at, media)
}

// admit checks everything about a POST that does not need its body.
func (h *Handler) admit(c echo.Context, role sfu.Role) (address, mediaRouter, error) {
	at, err := addressOf(c, role)
	if err != nil {
		return at, nil, err
	}
	if err := h.authorize(c.Request(), action(role), string(at.router), string(at.publisher)); err != nil {
		return at, nil, err
	}
	router, err := h.node.router(at.router)
	if err != nil {
		return at, nil, fmt.Errorf("%s %s: %w", action(role), at, err)
	}
	return at, router, h.ask(c, at)
}

// created answers a POST with the description of its new session (RFC 9725 §4.2).
func (h *Handler) created(c echo.Context, status int, at address, media mediaSession) error {
	at.session = media.ID()
	s := newSession(at, media, h.location(c.Path(), at))
	h.sessions.add(s)
	header := c.Response().Header()
	header.Set(echo.HeaderLocation, s.location)
	header.Set("ETag", quoteTag(media.ETag()))
	header.Set("Accept-Patch", typeFragment)
	header.Set(echo.HeaderCacheControl, "no-store")
	h.addICELinks(header)
	if at.role == sfu.RoleSubscribe {
		addExtensionLinks(header, s.location)
	}
	h.log.Debug("session resource created", "router_id", at.router, "publisher_id", at.publisher, "role", at.role, "status", status)
	return c.Blob(status, typeSDP, []byte(media.Description()))
}

// probe answers GET and HEAD on an endpoint, whether or not anything is published. A router is
// looked up only for those who may use it, so that names cannot be found out.
//
//	@Summary	The endpoint is there
//	@Tags		WHIP,WHEP
//	@Description	No credential is needed, and only a wrong one is refused. Whether the router exists is told to those who may use it.
//	@Param		router		path	string	true	"Router id"	minlength(1)	maxlength(64)
//	@Param		publisher	path	string	true	"Publisher id"	minlength(1)	maxlength(64)
//	@Success	204	"It takes offers by POST"
//	@Failure	400	{object}	Problem	"The request cannot be understood"
//	@Failure	401	{object}	Problem	"A credential is needed"
//	@Failure	403	{object}	Problem	"The credential does not permit this"
//	@Failure	404	{object}	Problem	"There is no such resource"
//	@Failure	429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Router		/whip/{router}/{publisher} [get]
//	@Router		/whep/{router}/{publisher} [get]
func (h *Handler) probe(role sfu.Role, status int) echo.HandlerFunc {
	return func(c echo.Context) error {
		at, err := addressOf(c, role)
		if err != nil {
			return err
		}
		if err := h.authorizeCapability(c.Request(), action(role), string(at.router), string(at.publisher)); err != nil {
			return err
		}
		if h.authorize(c.Request(), action(role), string(at.router), string(at.publisher)) == nil {
			if _, err := h.node.router(at.router); err != nil {
				return fmt.Errorf("%s %s: %w", action(role), at, err)
			}
		}
		if role == sfu.RoleSubscribe { // how players tell a WHEP endpoint from a page
			c.Response().Header().Set(echo.HeaderContentType, typeSDP)
		}
		return c.NoContent(status)
	}
}

// readOffer is the body of a POST without surrounding white space. Only an empty one may come without a type.
func readOffer(c echo.Context) ([]byte, error) {
	got := mediaType(c.Request())
	if got != typeSDP && got != "" {
		return nil, unsupportedType(got, echo.HeaderAccept, typeSDP)
	}
	body, err := readBody(c, maxOfferBytes)
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, nil
	}
	if got == "" {
		return nil, unsupportedType(got, echo.HeaderAccept, typeSDP)
	}
	return body, nil
}

// readBody reads at most limit bytes. Encoded bodies are refused, for they may unfold to any size.
func readBody(c echo.Context, limit int64) ([]byte, error) {
	r := c.Request()
	if encoding := r.Header.Get(echo.HeaderContentEncoding); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return nil, withHeader(fmt.Errorf("content encoding %q: %w", encoding, ErrMediaType), echo.HeaderAcceptEncoding, "identity")
	}
	if r.ContentLength > limit {
		return nil, fmt.Errorf("%d bytes, limit %d: %w", r.ContentLength, limit, ErrBodyTooLarge)
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.Response().Writer, r.Body, limit))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, fmt.Errorf("limit %d bytes: %w", limit, ErrBodyTooLarge)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBodyInvalid, err)
	}
	return body, nil
}

// mediaType is the content type in lower case without parameters (RFC 9110 §8.3.1).
func mediaType(r *http.Request) string {
	value, _, _ := strings.Cut(r.Header.Get(echo.HeaderContentType), ";")
	return strings.ToLower(strings.TrimSpace(value))
}

// acceptsSDP reports whether the player names application/sdp in Accept, which is how it opts in to a
// counter-offer. "*/*", the default of browsers, does not.
func acceptsSDP(r *http.Request) bool {
	for _, value := range r.Header.Values(echo.HeaderAccept) {
		for part := range strings.SplitSeq(value, ",") {
			name, _, _ := strings.Cut(part, ";")
			if strings.EqualFold(strings.TrimSpace(name), typeSDP) {
				return true
			}
		}
	}
	return false
}
