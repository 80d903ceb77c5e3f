package sfu

import "crypto/rand"

// The kinds of ids. All but SessionID may appear in logs and metrics' exemplars; a SessionID is a capability and appears only in its URL.
type (
	NodeID       string
	RouterID     string
	PublisherID  string
	SubscriberID string
	SessionID    string
	TrackID      string
)

// maxIDBytes keeps ids short enough for paths, logs and the framing between nodes.
const maxIDBytes = 64

// ValidID reports whether id is 1 to 64 unreserved characters (RFC 3986 section 2.3), and not a path's "." or "..".
func ValidID(id string) bool {
	if len(id) == 0 || len(id) > maxIDBytes || id == "." || id == ".." {
		return false
	}
	for _, c := range []byte(id) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '~', c == '-':
		default:
			return false
		}
	}
	return true
}

// newSessionID draws at least 128 bits, so that the session's URL cannot be guessed (RFC 9725 section 5).
func newSessionID() SessionID { return SessionID(rand.Text()) }

// newSubscriberID is public: it names a subscriber in lists and logs and gives no rights.
func newSubscriberID() SubscriberID { return SubscriberID("s-" + rand.Text()[:12]) }
