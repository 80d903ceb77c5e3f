package relay

import "errors"

// What callers may branch on with errors.Is. Each has a word in reasons, which is a state's reason too.
var (
	ErrRelayNotFound  = errors.New("relay not found")
	ErrLinkNotFound   = errors.New("link not found")
	ErrOrderInvalid   = errors.New("relay is not valid")
	ErrOrderConflict  = errors.New("relay exists with another peer, router or mode")
	ErrUnreachable    = errors.New("peer cannot be reached")
	ErrUDPBlocked     = errors.New("peer cannot be reached over UDP")
	ErrRemoteRouter   = errors.New("router does not exist on the peer")
	ErrLoop           = errors.New("relay would run in a circle")
	ErrTooManyHops    = errors.New("relay would take too many hops")
	ErrDenied         = errors.New("peer is not permitted")
	ErrVersion        = errors.New("peer speaks no common version")
	ErrPeerDraining   = errors.New("peer is draining")
	ErrPublisherTaken = errors.New("publisher is live there already")
	ErrCapacity       = errors.New("capacity of the peer is reached")
	ErrClosed         = errors.New("relays are closed")

	errLinkGone = errors.New("link is not known any more")
	errSilent   = errors.New("peer is silent")
)

// reasons is the closed set of words in which a state explains itself, and what each stands for between nodes and in problem documents.
var reasons = []struct {
	err  error
	name string
}{
	{ErrUDPBlocked, "udp-unreachable"},
	{ErrUnreachable, "unreachable"},
	{ErrRemoteRouter, "router-not-found"},
	{ErrLoop, "loop"},
	{ErrTooManyHops, "too-many-hops"},
	{ErrDenied, "denied"},
	{ErrVersion, "version"},
	{ErrPeerDraining, "draining"},
	{ErrPublisherTaken, "conflict"},
	{ErrCapacity, "capacity"},
	{ErrClosed, "closed"},
	{errLinkGone, "link-lost"},
	{errSilent, "silent"},
}

// reasonOf words an error; what has no word is "internal".
func reasonOf(err error) string {
	if err == nil {
		return ""
	}
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return r.name
		}
	}
	return "internal"
}

// errorOf is the error that a word from another node stands for.
func errorOf(reason string) error {
	for _, r := range reasons {
		if r.name == reason {
			return r.err
		}
	}
	return ErrUnreachable
}
