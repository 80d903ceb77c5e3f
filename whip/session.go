package whip

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"golang.org/x/time/rate"

	"rheomesh/sfu"
)

// How ended sessions are remembered. OBS and others close the connection first and send DELETE after,
// which should not look like a failure to them.
const (
	endedMemory = time.Minute
	maxEnded    = 4096 // bound on remembered ends, about 1 MiB
)

// PATCH rate of one session. Clients that trickle in batches send ten a second.
const (
	patchesPerSecond = 20
	patchBurst       = 40
)

// session is the HTTP resource of one media session.
type session struct {
	address
	media    mediaSession
	location string // as sent to the client: a path or an absolute URL

	patches *rate.Limiter
	turn    chan struct{} // capacity 1: held by the PATCH at work, so that they run one by one

	// Owned by whoever holds the turn.
	pastUfrags []string // of ICE sessions that a restart has replaced

	// Guarded by hub.mu.
	streams map[string]*stream
}

// maxPastUfrags bounds how far back a late fragment is recognised.
const maxPastUfrags = 8

func newSession(at address, media mediaSession, location string) *session {
	return &session{
		address: at, media: media, location: location,
		patches: rate.NewLimiter(patchesPerSecond, patchBurst), turn: make(chan struct{}, 1),
	}
}

// ended reports whether the media session is over, which is a moment before the last of it is gone.
func (s *session) ended() bool {
	_, ended := s.media.Closed()
	return ended
}

// gone reports whether nothing of the media session is left. It takes no lock.
func (s *session) gone() bool {
	select {
	case <-s.media.Done():
		return true
	default:
		return false
	}
}

// takeTurn waits until no other PATCH of the session is at work.
func (s *session) takeTurn(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *session) leaveTurn() { <-s.turn }

// registry holds the resources of live sessions, and for a minute the fact that others have ended.
// The zero value is ready.
type registry struct {
	mu    sync.Mutex // guards the fields below
	live  map[address]*session
	ends  map[address]time.Time
	order []address // keys that were put into ends, oldest first; some may be gone from it
}

func (r *registry) add(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.live == nil {
		r.live, r.ends = map[address]*session{}, map[address]time.Time{}
	}
	r.live[s.address] = s
}

// find is the session at an address, nil if there is none or it has ended.
func (r *registry) find(at address) *session {
	r.mu.Lock()
	s := r.live[at]
	r.mu.Unlock()
	if s == nil || s.ended() {
		return nil
	}
	return s
}

// remove forgets an address. It reports whether there was anything to forget: a session (returned, it
// may have ended meanwhile), or the end of one. Only one of several callers is told so.
func (r *registry) remove(at address) (s *session, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s = r.live[at]; s != nil {
		delete(r.live, at)
		return s, true
	}
	_, known = r.ends[at]
	delete(r.ends, at)
	return nil, known
}

// sweep turns ended sessions into a memory of their end, and drops memories that are too old or too
// many. It returns the sessions that have ended since the last sweep.
func (r *registry) sweep(now time.Time) (ended []*session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for at, s := range r.live {
		if s.gone() {
			ended = append(ended, s)
			delete(r.live, at)
			r.ends[at] = now
			r.order = append(r.order, at)
		}
	}
	drop := 0
	for drop < len(r.order) && (len(r.order)-drop > maxEnded || now.Sub(r.ends[r.order[drop]]) > endedMemory) {
		delete(r.ends, r.order[drop])
		drop++
	}
	r.order = slices.Delete(r.order, 0, drop)
	return ended
}

// find is the live session that a request addresses, once its credentials are seen not to be wrong.
func (h *Handler) find(c echo.Context, role sfu.Role) (*session, error) {
	at, err := h.capability(c, role)
	if err != nil {
		return nil, err
	}
	if s := h.sessions.find(at); s != nil {
		return s, nil
	}
	return nil, h.miss(c, at)
}

// capability reads the address of a session and refuses wrong credentials.
func (h *Handler) capability(c echo.Context, role sfu.Role) (address, error) {
	at, err := addressOf(c, role)
	if err != nil {
		return at, err
	}
	return at, h.authorizeCapability(c.Request(), action(role), string(at.router), string(at.publisher))
}

// miss is the answer to a session that does not exist: unknown, ended and foreign ones look alike.
// An address that asks for many of them is guessing and gets 429.
func (h *Handler) miss(c echo.Context, at address) error {
	if !h.misses.allow(clientIP(c), time.Now()) {
		return retryAfter(fmt.Errorf("unknown sessions of %s: %w", at, ErrTooManyRequests))
	}
	return fmt.Errorf("session of %s: %w", at, sfu.ErrSessionNotFound)
}

// inspect is GET and HEAD on a session: it exists, and there is nothing to say (RFC 9725 §4.1).
//
//	@Summary	The session is alive
//	@Description	Whoever knows the URL may use it: no credential is needed, and only a wrong one is refused.
//	@Tags		WHIP,WHEP
//	@Param		router		path	string	true	"Router id"	minlength(1)	maxlength(64)
//	@Param		publisher	path	string	true	"Publisher id"	minlength(1)	maxlength(64)
//	@Param		session		path	string	true	"Session id, a secret"
//	@Success	204	"It is"
//	@Failure	400	{object}	Problem	"The request cannot be understood"
//	@Failure	401	{object}	Problem	"A credential is needed"
//	@Failure	403	{object}	Problem	"The credential does not permit this"
//	@Failure	404	{object}	Problem	"There is no such resource"
//	@Failure	429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Router		/whip/{router}/{publisher}/{session} [get]
//	@Router		/whep/{router}/{publisher}/{session} [get]
func (h *Handler) inspect(role sfu.Role) echo.HandlerFunc {
	return func(c echo.Context) error {
		if _, err := h.find(c, role); err != nil {
			return err
		}
		return c.NoContent(http.StatusNoContent)
	}
}

// remove is DELETE on a session. If-Match is ignored (RFC 9725 §4.3.1). The status is 200 and not 204,
// for OBS keeps the URL otherwise.
//
//	@Summary	End the session
//	@Description	Whoever knows the URL may use it: no credential is needed, and only a wrong one is refused.
//	@Tags		WHIP,WHEP
//	@Param		router		path	string	true	"Router id"	minlength(1)	maxlength(64)
//	@Param		publisher	path	string	true	"Publisher id"	minlength(1)	maxlength(64)
//	@Param		session		path	string	true	"Session id, a secret"
//	@Success	200	"It is ended, or ended by itself within the last minute"
//	@Failure	400	{object}	Problem	"The request cannot be understood"
//	@Failure	401	{object}	Problem	"A credential is needed"
//	@Failure	403	{object}	Problem	"The credential does not permit this"
//	@Failure	404	{object}	Problem	"There is no such resource"
//	@Failure	429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Router		/whip/{router}/{publisher}/{session} [delete]
//	@Router		/whep/{router}/{publisher}/{session} [delete]
func (h *Handler) remove(role sfu.Role) echo.HandlerFunc {
	return func(c echo.Context) error {
		at, err := h.capability(c, role)
		if err != nil {
			return err
		}
		s, known := h.sessions.remove(at)
		if !known {
			return h.miss(c, at)
		}
		if s != nil {
			s.media.Close(sfu.CloseDeleted)
			h.events.dropSession(s)
		}
		return c.NoContent(http.StatusOK)
	}
}

// Rate of requests for unknown sessions from one client network.
const (
	missesPerSecond = 20
	missBurst       = 40
	maxMissers      = 4096 // networks watched at a time; beyond it all are forgotten
)

// missLimiter bounds how fast session ids can be guessed. The zero value is ready.
type missLimiter struct {
	mu      sync.Mutex // guards buckets
	buckets map[netip.Prefix]*rate.Limiter
}

// allow counts a miss from addr. IPv6 clients are watched by /64, which is what one household has.
func (l *missLimiter) allow(addr netip.Addr, now time.Time) bool {
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	network, _ := addr.WithZone("").Prefix(bits)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.buckets == nil || len(l.buckets) >= maxMissers {
		l.buckets = map[netip.Prefix]*rate.Limiter{}
	}
	bucket := l.buckets[network]
	if bucket == nil {
		bucket = rate.NewLimiter(missesPerSecond, missBurst)
		l.buckets[network] = bucket
	}
	return bucket.AllowN(now, 1)
}
