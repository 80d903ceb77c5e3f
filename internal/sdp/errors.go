package sdp

import "errors"

// Every error of this package wraps one of these, and its text names the line,
// the media section or the mid at fault.
var (
	// ErrMalformed: the text is not a session description (HTTP 400).
	ErrMalformed = errors.New("malformed session description")
	// ErrLimit: the text is larger than Limits allow (HTTP 413 or 422).
	ErrLimit = errors.New("session description beyond limits")
	// ErrUnacceptable: well formed, but not what we can serve (HTTP 422).
	ErrUnacceptable = errors.New("session description not acceptable")
)

// maxQuotedBytes bounds how much of a client's text an error repeats.
const maxQuotedBytes = 64

// quoted is the part of s that an error text may repeat.
func quoted(s string) string {
	if len(s) > maxQuotedBytes {
		return s[:maxQuotedBytes] + "…"
	}
	return s
}
