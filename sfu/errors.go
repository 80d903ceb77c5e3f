package sfu

import "errors"

// What callers may branch on with errors.Is. Each has one row in the table that turns errors into statuses.
var (
	ErrRouterNotFound       = errors.New("router not found")
	ErrPublisherNotFound    = errors.New("publisher not found")
	ErrSubscriberNotFound   = errors.New("subscriber not found")
	ErrSessionNotFound      = errors.New("session not found")
	ErrLayerNotFound        = errors.New("layer not found")
	ErrIDInvalid            = errors.New("id is not 1 to 64 characters of A-Z a-z 0-9 . _ ~ -")
	ErrOfferInvalid         = errors.New("SDP cannot be parsed")
	ErrOfferUnacceptable    = errors.New("SDP is not acceptable")
	ErrFragmentInvalid      = errors.New("SDP fragment cannot be used")
	ErrFragmentUnacceptable = errors.New("SDP fragment is not acceptable")
	ErrPublisherLive        = errors.New("publisher is live already")
	ErrPublisherAbsent      = errors.New("publisher is not live")
	ErrCapacity             = errors.New("capacity is reached")
	ErrRateLimited          = errors.New("too many sessions of this address")
	ErrDraining             = errors.New("node is draining")
	ErrSessionState         = errors.New("session is not in a state for this")
	ErrClosed               = errors.New("closed")
)
