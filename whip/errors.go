package whip

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"time"

	"rheomesh/sfu"
)

// What a handler may return besides the sentinels of package sfu. Match with errors.Is; the cause
// and status that each is meant to become stand behind it.
var (
	ErrUnauthorized         = errors.New("no valid credentials")              // unauthorized 401
	ErrForbidden            = errors.New("not granted")                       // forbidden 403
	ErrMediaType            = errors.New("media type not supported")          // unsupported-media-type 415
	ErrBodyTooLarge         = errors.New("body too large")                    // body-too-large 413
	ErrBodyInvalid          = errors.New("body not usable")                   // bad-request 400
	ErrPreconditionFailed   = errors.New("entity tag of another ICE session") // precondition-failed 412
	ErrPreconditionRequired = errors.New("If-Match is required")              // precondition-required 428
	ErrMethodNotAllowed     = errors.New("method not allowed")                // method-not-allowed 405
	ErrStreamNotFound       = errors.New("event stream not found")            // session-not-found 404
	ErrTooManyRequests      = errors.New("too many requests")                 // rate-limited 429
	ErrStreamLimit          = errors.New("too many event streams")            // rate-limited 429
)

// How long a refused client is told to wait. A player without a publisher should come soon; an
// overloaded node needs the ten seconds in which unconnected sessions are reaped.
const (
	retryConflict    = 5 * time.Second
	retryAbsent      = 2 * time.Second
	retryCapacity    = 10 * time.Second
	retryDraining    = 5 * time.Second
	retryRateLimited = 2 * time.Second
)

// headerError is an error whose response needs header lines of its own.
type headerError struct {
	err    error
	header http.Header
}

func (e *headerError) Error() string       { return e.err.Error() }
func (e *headerError) Unwrap() error       { return e.err }
func (e *headerError) Header() http.Header { return e.header }

// withHeader adds the line "key: value" to the response that err will become.
func withHeader(err error, key, value string) error {
	return &headerError{err, http.Header{http.CanonicalHeaderKey(key): {value}}}
}

// ErrorHeader collects the header lines that the response for err must carry: Allow, Accept,
// Accept-Patch, Retry-After or WWW-Authenticate. It is nil when there are none. It understands every
// error in the chain with a method Header() http.Header.
func ErrorHeader(err error) http.Header {
	var merged http.Header
	for err != nil {
		var carrier interface {
			error
			Header() http.Header
		}
		if !errors.As(err, &carrier) {
			return merged
		}
		if merged == nil {
			merged = http.Header{}
		}
		maps.Copy(merged, carrier.Header())
		err = errors.Unwrap(carrier)
	}
	return merged
}

// retryAfter tells the client when to come again, for the refusals that pass by themselves
// (RFC 9110 §10.2.3). Any other error is returned as it is.
func retryAfter(err error) error {
	for _, row := range [...]struct {
		cause error
		wait  time.Duration
	}{
		{sfu.ErrPublisherLive, retryConflict},
		{sfu.ErrPublisherAbsent, retryAbsent},
		{sfu.ErrCapacity, retryCapacity},
		{sfu.ErrDraining, retryDraining},
		{sfu.ErrRateLimited, retryRateLimited},
		{ErrTooManyRequests, retryRateLimited},
		{ErrStreamLimit, retryRateLimited},
	} {
		if errors.Is(err, row.cause) {
			return withHeader(err, "Retry-After", strconv.Itoa(int(row.wait/time.Second)))
		}
	}
	return err
}

// unsupportedType refuses a content type and names the accepted one: in Accept for POST, in
// Accept-Patch for PATCH (RFC 9110 §15.5.16, RFC 5789 §2.2).
func unsupportedType(got, header, accepted string) error {
	return withHeader(fmt.Errorf("content type %q, want %s: %w", got, accepted, ErrMediaType), header, accepted)
}
