// Package transport is one session's way to its client: ICE, DTLS and SRTP on the node's media port, for publishers and viewers alike.
//
// The server writes the answer, so it is the controlled ICE agent (RFC 8445) with host candidates only, which the answer lists completely. A full agent
// answers checks and sends triggered ones at once, which connects a client in one round trip after its first check; a lite one only answers. The first pair
// that a check of ours proved carries DTLS without waiting for the nomination, which may move it later. So may authentic media from another proven address,
// since a NAT that gives its client a new one tells nobody, and the silence of the selected pair. Any authentic packet from the client is a sign of life;
// anybody can forge the others.
//
// Life of a session: New names its ufrag at the port · the client's first valid check binds its address · a check of ours succeeds, the path is selected and
// the DTLS handshake runs in its goroutine · keys are exported, HandleConnected · media flows · one of Close, close_notify, a fatal alert, silence or the
// connect time-out ends it, HandleClosed is called once.
//
// What strangers send costs no memory that lasts, no answer, no log line and no change of state: STUN is decoded into scratch space and authenticated first,
// records that are not sealed do not reach a connected pion/dtls, packets that come before the keys are few, and only a client that answered a check of ours
// can take an address over.
//
// Goroutines: the handshake (ends with it), three inside pion/dtls while connected (ended and waited for by Close through the DTLS connection), one more when
// the client sends application data (ends with the DTLS connection), and a timer function which is re-armed under the session's lock. Packets arrive on the port's readers. Handler methods must not call back into Close while they hold
// locks that HandleClosed needs.
package transport
