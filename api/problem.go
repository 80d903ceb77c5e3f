package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"rheomesh/api/webhook"
	"rheomesh/relay"
	"rheomesh/sfu"
	"rheomesh/whip"
)

// Problem is the body of every error response (RFC 9457).
type Problem struct {
	Type     string       `json:"type"` // urn:rheomesh:problem:<cause>
	Title    string       `json:"title"`
	Status   int          `json:"status"`
	Detail   string       `json:"detail,omitempty"`
	Instance string       `json:"instance"` // path of the request
	Errors   []FieldError `json:"errors,omitempty"`
} // @name Problem

// FieldError says what is wrong with one field of a body.
type FieldError struct {
	Field   string `json:"field"`
	Message string `json:"message"`
} // @name FieldError

// cause is the last part of a problem's type: the stable name of what went wrong, one for each way to react to it.
type cause string

const (
	causeAdmissionUnavailable cause = "admission-unavailable"
	causeBadRequest           cause = "bad-request"
	causeBodyTooLarge         cause = "body-too-large"
	causeCapacity             cause = "capacity"
	causeConflict             cause = "conflict"
	causeDraining             cause = "draining"
	causeForbidden            cause = "forbidden"
	causeInternal             cause = "internal"
	causeLayerNotFound        cause = "layer-not-found"
	causeMethodNotAllowed     cause = "method-not-allowed"
	causeNotFound             cause = "not-found"
	causePreconditionFailed   cause = "precondition-failed"
	causePreconditionRequired cause = "precondition-required"
	causePublisherNotFound    cause = "publisher-not-found"
	causeRateLimited          cause = "rate-limited"
	causeLinkNotFound         cause = "link-not-found"
	causeRelayDenied          cause = "relay-denied"
	causeRelayLoop            cause = "relay-loop"
	causeRelayNotFound        cause = "relay-not-found"
	causeRelayRouterNotFound  cause = "relay-router-not-found"
	causeRelayTooManyHops     cause = "relay-too-many-hops"
	causeRelayUnreachable     cause = "relay-unreachable"
	causeRelayVersion         cause = "relay-version"
	causeRouterNotFound       cause = "router-not-found"
	causeSDPInvalid           cause = "sdp-invalid"
	causeSDPUnacceptable      cause = "sdp-unacceptable"
	causeSessionNotFound      cause = "session-not-found"
	causeSubscriberNotFound   cause = "subscriber-not-found"
	causeUnauthorized         cause = "unauthorized"
	causeUnsupportedMediaType cause = "unsupported-media-type"
)

// causes gives each cause its status and its title. The titles never change from one occurrence to the next.
var causes = map[cause]struct {
	status int
	title  string
}{
	causeAdmissionUnavailable: {http.StatusServiceUnavailable, "Nobody could be asked whether to admit"},
	causeBadRequest:           {http.StatusBadRequest, "The request cannot be understood"},
	causeBodyTooLarge:         {http.StatusRequestEntityTooLarge, "The body is too large"},
	causeCapacity:             {http.StatusServiceUnavailable, "A limit of this node is reached"},
	causeConflict:             {http.StatusConflict, "The request conflicts with what is there"},
	causeDraining:             {http.StatusServiceUnavailable, "This node is stopping"},
	causeForbidden:            {http.StatusForbidden, "The request is not permitted"},
	causeInternal:             {http.StatusInternalServerError, "Something failed in the server"},
	causeLayerNotFound:        {http.StatusNotFound, "There is no such layer"},
	causeMethodNotAllowed:     {http.StatusMethodNotAllowed, "The resource has no such method"},
	causeNotFound:             {http.StatusNotFound, "There is no such resource"},
	causePreconditionFailed:   {http.StatusPreconditionFailed, "The resource has changed"},
	causePreconditionRequired: {http.StatusPreconditionRequired, "The request must be conditional"},
	causePublisherNotFound:    {http.StatusNotFound, "There is no such publisher"},
	causeRateLimited:          {http.StatusTooManyRequests, "Too many requests"},
	causeLinkNotFound:         {http.StatusNotFound, "There is no such link"},
	causeRelayDenied:          {http.StatusForbidden, "The peer is not permitted, or does not permit this node"},
	causeRelayLoop:            {http.StatusConflict, "The relay would run in a circle"},
	causeRelayNotFound:        {http.StatusNotFound, "There is no such relay"},
	causeRelayRouterNotFound:  {http.StatusNotFound, "The peer has no such router"},
	causeRelayTooManyHops:     {http.StatusConflict, "The relay would take too many hops"},
	causeRelayUnreachable:     {http.StatusBadGateway, "The peer cannot be reached"},
	causeRelayVersion:         {http.StatusBadGateway, "The peer speaks another version"},
	causeRouterNotFound:       {http.StatusNotFound, "There is no such router"},
	causeSDPInvalid:           {http.StatusBadRequest, "The SDP cannot be parsed"},
	causeSDPUnacceptable:      {http.StatusUnprocessableEntity, "The SDP is not acceptable"},
	causeSessionNotFound:      {http.StatusNotFound, "There is no such session"},
	causeSubscriberNotFound:   {http.StatusNotFound, "There is no such subscriber"},
	causeUnauthorized:         {http.StatusUnauthorized, "A credential is needed"},
	causeUnsupportedMediaType: {http.StatusUnsupportedMediaType, "The body has the wrong type"},
}

// outcomes maps errors to causes; the first match wins. A new sentinel gets a row here and one in the test.
var outcomes = []struct {
	err        error
	cause      cause
	retryAfter time.Duration // sent as Retry-After when above zero
}{
	{sfu.ErrRouterNotFound, causeRouterNotFound, 0},
	{sfu.ErrPublisherNotFound, causePublisherNotFound, 0},
	{sfu.ErrSubscriberNotFound, causeSubscriberNotFound, 0},
	{sfu.ErrSessionNotFound, causeSessionNotFound, 0},
	{sfu.ErrLayerNotFound, causeLayerNotFound, 0},
	{sfu.ErrIDInvalid, causeBadRequest, 0},
	{sfu.ErrOfferInvalid, causeSDPInvalid, 0},
	{sfu.ErrOfferUnacceptable, causeSDPUnacceptable, 0},
	{sfu.ErrFragmentInvalid, causeSDPInvalid, 0},
	{sfu.ErrFragmentUnacceptable, causeSDPUnacceptable, 0},
	{sfu.ErrPublisherLive, causeConflict, 5 * time.Second},
	{sfu.ErrPublisherAbsent, causeConflict, 2 * time.Second},
	{sfu.ErrCapacity, causeCapacity, 10 * time.Second},
	{sfu.ErrRateLimited, causeRateLimited, 5 * time.Second},
	{sfu.ErrDraining, causeDraining, 10 * time.Second},
	{sfu.ErrDataTooLarge, causeBodyTooLarge, 0},
	{sfu.ErrDataLabelInvalid, causeBadRequest, 0},
	{sfu.ErrDataChannelLimit, causeConflict, 0},
	{sfu.ErrDataUndeliverable, causeConflict, 0},
	{sfu.ErrClosed, causeDraining, 10 * time.Second},
	{sfu.ErrSessionState, causeConflict, 0},

	{whip.ErrUnauthorized, causeUnauthorized, 0},
	{whip.ErrForbidden, causeForbidden, 0},
	{whip.ErrMediaType, causeUnsupportedMediaType, 0},
	{whip.ErrBodyTooLarge, causeBodyTooLarge, 0},
	{whip.ErrBodyInvalid, causeBadRequest, 0},
	{whip.ErrPreconditionFailed, causePreconditionFailed, 0},
	{whip.ErrPreconditionRequired, causePreconditionRequired, 0},
	{whip.ErrMethodNotAllowed, causeMethodNotAllowed, 0},
	{whip.ErrStreamNotFound, causeSessionNotFound, 0},
	{whip.ErrStreamLimit, causeRateLimited, 2 * time.Second},
	{whip.ErrTooManyRequests, causeRateLimited, 2 * time.Second},

	{errCredentialRate, causeRateLimited, 0}, // they carry their Retry-After
	{errAddressRate, causeRateLimited, 0},
	{errFailedAttempts, causeRateLimited, 0},
	{webhook.ErrNotFound, causeNotFound, 0},
	{webhook.ErrLimit, causeConflict, 0},
	{webhook.ErrTarget, causeBadRequest, 0},
	{webhook.ErrSecret, causeBadRequest, 0},
	{webhook.ErrRefused, causeForbidden, 0},
	{webhook.ErrUnavailable, causeAdmissionUnavailable, 5 * time.Second},
	{relay.ErrRelayNotFound, causeRelayNotFound, 0},
	{relay.ErrLinkNotFound, causeLinkNotFound, 0},
	{relay.ErrOrderInvalid, causeBadRequest, 0},
	{relay.ErrOrderConflict, causeConflict, 0},
	{relay.ErrUDPBlocked, causeRelayUnreachable, 0},
	{relay.ErrRemoteRouter, causeRelayRouterNotFound, 0},
	{relay.ErrLoop, causeRelayLoop, 0},
	{relay.ErrTooManyHops, causeRelayTooManyHops, 0},
	{relay.ErrDenied, causeRelayDenied, 0},
	{relay.ErrVersion, causeRelayVersion, 0},
	{relay.ErrPeerDraining, causeDraining, 10 * time.Second},
	{relay.ErrPublisherTaken, causeConflict, 0},
	{relay.ErrCapacity, causeCapacity, 10 * time.Second},
	{relay.ErrClosed, causeDraining, 10 * time.Second},
	{relay.ErrUnreachable, causeRelayUnreachable, 0},
	{errRelayExists, causeConflict, 0},

	{errRouterExists, causeConflict, 0},
	{errRouterChanged, causePreconditionFailed, 0},
	{errBadRequest, causeBadRequest, 0},
	{errMediaType, causeUnsupportedMediaType, 0},
}

// statusCauses are the causes of the errors that echo itself returns.
var statusCauses = map[int]cause{
	http.StatusBadRequest:            causeBadRequest,
	http.StatusNotFound:              causeNotFound,
	http.StatusMethodNotAllowed:      causeMethodNotAllowed,
	http.StatusRequestEntityTooLarge: causeBodyTooLarge,
	http.StatusUnsupportedMediaType:  causeUnsupportedMediaType,
}

// causeOf is the only place where an error turns into a cause, and so into a status.
func causeOf(err error) (c cause, retryAfter time.Duration) {
	for _, outcome := range outcomes {
		if errors.Is(err, outcome.err) {
			return outcome.cause, outcome.retryAfter
		}
	}
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return causeBodyTooLarge, 0
	}
	if echoErr, ok := errors.AsType[*echo.HTTPError](err); ok {
		if c, ok := statusCauses[echoErr.Code]; ok {
			return c, 0
		}
	}
	return causeInternal, 0
}

// problemOf describes err. The text of an error that has no row is for the log alone.
func problemOf(err error, requestID string) (Problem, http.Header) {
	c, retryAfter := causeOf(err)
	header := whip.ErrorHeader(err)
	if header == nil {
		header = http.Header{}
	}
	if retryAfter > 0 && header.Get(echo.HeaderRetryAfter) == "" {
		header.Set(echo.HeaderRetryAfter, strconv.Itoa(int(retryAfter.Seconds())))
	}
	p := Problem{Type: "urn:rheomesh:problem:" + string(c), Title: causes[c].title, Status: causes[c].status, Detail: err.Error()}
	if c == causeInternal {
		p.Detail = "the log has the reason under request id " + requestID
	}
	if c == causeNotFound || c == causeMethodNotAllowed { // echo's texts repeat the title
		p.Detail = ""
	}
	if body, ok := errors.AsType[*bodyError](err); ok {
		p.Errors = body.fields
	}
	return p, header
}

// respond writes err as a problem document.
func (s *Server) respond(err error, c echo.Context) {
	id := requestIDOf(c.Request().Context())
	if c.Response().Committed { // headers are out: nothing can be told to the client any more
		s.log.Debug("response broke off", "request_id", id, "err", err)
		return
	}
	p, header := problemOf(err, id)
	s.rejected.count(err, p.Status)
	p.Instance = c.Request().URL.EscapedPath()
	maps.Copy(c.Response().Header(), header)
	s.logRefusal(c, id, p, err)
	body, marshalErr := json.Marshal(p)
	if marshalErr != nil {
		panic(fmt.Sprintf("api: problem document: %v", marshalErr)) // strings and numbers always marshal
	}
	if err := c.Blob(p.Status, "application/problem+json", body); err != nil {
		s.log.Debug("response broke off", "request_id", id, "err", err)
	}
}

// logRefusal logs what operators look for when a client shows no more than "failed". Clients' mistakes are logged at
// a bounded rate, since clients choose how many they make.
func (s *Server) logRefusal(c echo.Context, id string, p Problem, err error) {
	level := slog.LevelInfo
	if p.Status == http.StatusInternalServerError {
		level = slog.LevelError
	} else if !s.refusalLog.Allow() {
		s.refusalsUnlogged.Add(1)
		return
	}
	s.log.LogAttrs(c.Request().Context(), level, "request refused",
		slog.String("request_id", id), slog.String("method", c.Request().Method), slog.String("route", c.Path()),
		slog.Int("status", p.Status), slog.String("remote_addr", c.RealIP()), slog.Any("err", err),
		slog.Uint64("unlogged", s.refusalsUnlogged.Swap(0)))
}
