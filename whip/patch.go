package whip

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"rheomesh/internal/sdpfrag"
	"rheomesh/sfu"
)

// patch is PATCH on a session: an ICE fragment, or on WHEP the answer to an offer of ours.
//
//	@Summary	Add ICE candidates, restart ICE, or answer an offer of the node (WHEP)
//	@Description	Whoever knows the URL may use it: no credential is needed, and only a wrong one is refused.
//	@Tags		WHIP,WHEP
//	@Param		router		path	string	true	"Router id"	minlength(1)	maxlength(64)
//	@Param		publisher	path	string	true	"Publisher id"	minlength(1)	maxlength(64)
//	@Param		session		path	string	true	"Session id, a secret"
//	@Param		If-Match	header	string	false	"Entity tag of the ICE session; needed if whip.strict_etag is on"
//	@Accept		application/trickle-ice-sdpfrag,application/sdp
//	@Produce	application/trickle-ice-sdpfrag
//	@Param		fragment	body	string	true	"ICE fragment (RFC 8840); application/sdp is an answer"
//	@Success	200	{string}	string	"ICE is restarted: the fragment of the node"
//	@Header		200	{string}	ETag	"Entity tag of the new ICE session"
//	@Success	204	"Candidates are added, or the answer is taken"
//	@Failure	400	{object}	Problem	"The request cannot be understood"
//	@Failure	401	{object}	Problem	"A credential is needed"
//	@Failure	403	{object}	Problem	"The credential does not permit this"
//	@Failure	404	{object}	Problem	"There is no such resource"
//	@Failure	409	{object}	Problem	"It conflicts with what is there"
//	@Failure	412	{object}	Problem	"The condition does not hold"
//	@Failure	413	{object}	Problem	"The body is too large"
//	@Failure	415	{object}	Problem	"The body has the wrong type"
//	@Failure	422	{object}	Problem	"The SDP is not acceptable"
//	@Failure	428	{object}	Problem	"If-Match is required"
//	@Failure	429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Router		/whip/{router}/{publisher}/{session} [patch]
//	@Router		/whep/{router}/{publisher}/{session} [patch]
func (h *Handler) patch(role sfu.Role) echo.HandlerFunc {
	return func(c echo.Context) error {
		s, err := h.find(c, role)
		if err != nil {
			return err
		}
		if !s.patches.Allow() {
			return retryAfter(fmt.Errorf("patch session of %s: %w", s, ErrTooManyRequests))
		}
		switch got := mediaType(c.Request()); {
		case got == typeFragment:
			err = h.patchICE(c, s)
		case got == typeSDP && role == sfu.RoleSubscribe:
			err = acceptAnswer(c, s)
		default:
			err = unsupportedType(got, "Accept-Patch", typeFragment)
		}
		if err != nil {
			return fmt.Errorf("patch session of %s: %w", s, err)
		}
		return nil
	}
}

// acceptAnswer completes a session that we have offered. The session refuses a second answer.
func acceptAnswer(c echo.Context, s *session) error {
	answer, err := readBody(c, maxOfferBytes)
	if err != nil {
		return err
	}
	if err := s.takeTurn(c.Request().Context()); err != nil {
		return err
	}
	defer s.leaveTurn()
	if err := s.media.Accept(answer); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// patchICE adds candidates or restarts ICE (RFC 9725 §4.3). The fragment decides which, and the
// precondition is looked at last (RFC 9110 §13.2.1).
func (h *Handler) patchICE(c echo.Context, s *session) error {
	body, err := readBody(c, maxFragmentBytes)
	if err != nil {
		return err
	}
	fragment, err := sdpfrag.Parse(body, sdpfrag.DefaultLimits)
	if err != nil {
		return fmt.Errorf("%w: %w", sfu.ErrFragmentInvalid, err)
	}
	if err := s.takeTurn(c.Request().Context()); err != nil {
		return err
	}
	defer s.leaveTurn()
	if err := s.checkPrecondition(c.Request(), h.cfg.StrictETag); err != nil {
		return err
	}
	if s.isRestart(fragment) {
		return h.restartICE(c, s, fragment)
	}
	if err := s.media.AddCandidates(fragment); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent) // and no ETag (RFC 9725 §4.3.2)
}

// isRestart reports whether the fragment belongs to another ICE session than the current one. Nothing
// else counts: "If-Match: *" comes with plain trickle too. While an answer of the client is pending
// there is no remote ICE session to replace. Needs the turn.
func (s *session) isRestart(f sdpfrag.Fragment) bool {
	return f.Ufrag != "" && f.Ufrag != s.media.RemoteUfrag() && !s.media.AwaitingAnswer()
}

// restartICE replaces the ICE session and answers with ours. On an error the old one lives on
// (RFC 9725 §4.3.3). Needs the turn.
func (h *Handler) restartICE(c echo.Context, s *session, f sdpfrag.Fragment) error {
	// A restart uses fresh credentials (RFC 8839 §4.4.1.1.1), so known ones are a fragment that was
	// overtaken by a restart. Going back to them would cut the connection.
	if slices.Contains(s.pastUfrags, f.Ufrag) {
		return fmt.Errorf("fragment of a replaced ICE session: %w", ErrPreconditionFailed)
	}
	past := s.media.RemoteUfrag()
	answer, err := s.media.RestartICE(f)
	if err != nil {
		return err
	}
	s.pastUfrags = append(s.pastUfrags, past)
	if len(s.pastUfrags) > maxPastUfrags {
		s.pastUfrags = s.pastUfrags[1:]
	}
	c.Response().Header().Set("ETag", quoteTag(s.media.ETag()))
	h.log.Debug("ice restarted", "router_id", s.router, "publisher_id", s.publisher, "role", s.role)
	return c.Blob(http.StatusOK, typeFragment, []byte(answer))
}

// checkPrecondition compares If-Match with the current ICE session. Needs the turn.
func (s *session) checkPrecondition(r *http.Request, strict bool) error {
	cond := parseIfMatch(r.Header.Values("If-Match"))
	switch {
	case !cond.present() && strict:
		return ErrPreconditionRequired // RFC 6585 §3
	case !cond.present(), cond.matches(s.media.ETag(), strict):
		return nil
	default:
		return ErrPreconditionFailed
	}
}
