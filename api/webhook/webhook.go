// Package webhook tells HTTP receivers what happens on a node, and asks one of them whom to admit. It follows the Standard
// Webhooks specification: every request carries webhook-id, webhook-timestamp and a webhook-signature, an HMAC-SHA256 that
// libraries of many languages verify.
//
// A Set holds the registered webhooks. Deliver hands an event to all that want it and never waits: each webhook has lanes
// (lane.go), bounded queues with a goroutine each, and the events of one publisher always take the same lane, which keeps
// their order while a receiver fails for another publisher. A lane tries the event at its head until the receiver answers
// 2xx, the tries are used up or the event is too old; so an event arrives at least once, or its loss is counted. When a
// queue is full the oldest event is dropped.
//
// Whoever registers a webhook makes the node send requests. Rule (target.go) decides to which addresses, after names are
// resolved and for each connection anew, so that a name whose address changes later gains nothing. Redirects are not
// followed, proxies of the environment are not used, and of an answer no more than 64 KiB is read.
package webhook

import (
	"errors"
	"time"
)

var (
	// ErrNotFound says that there is no webhook of the id.
	ErrNotFound = errors.New("webhook not found")
	// ErrLimit says that the set is full.
	ErrLimit = errors.New("the node has as many webhooks as it may have")
	// ErrTarget says that a URL or an address is none that the node may send to.
	ErrTarget = errors.New("not a permitted target")
	// ErrSecret says that a text is no signing secret.
	ErrSecret = errors.New("must be whsec_ and the base64 of 24 to 64 bytes")
	// ErrRefused says that the admission receiver refused.
	ErrRefused = errors.New("refused by the admission webhook")
	// ErrUnavailable says that the admission receiver gave no answer that can be used.
	ErrUnavailable = errors.New("the admission webhook gave no usable answer")
)

// Event is what receivers are told. The set keeps Body and does not change it.
type Event struct {
	ID   string // the same in every try, so that receivers can tell repetitions; without a full stop
	Type string
	Key  string // events with the same key arrive in order
	Time time.Time
	Body []byte
}

// Registration is one webhook as it is kept.
type Registration struct {
	ID        string    `json:"id"`
	URL       string    `json:"url"`
	Events    []string  `json:"events"` // types; empty = all
	Secret    Secret    `json:"secret"`
	CreatedAt time.Time `json:"created_at"`
}

// Status is how a webhook has fared since the node started.
type Status struct {
	Delivered uint64 // events that the receiver took
	Failed    uint64 // tries that it did not take
	Dropped   uint64 // events that a full queue lost
	Expired   uint64 // events that were given up after their last try
	Queued    int    // events that wait, those being tried included

	LastError   string // of the newest try that failed; empty = none did
	LastErrorAt time.Time
}

// Hook is a webhook and its status.
type Hook struct {
	Registration
	Status
}
