// Package mediaport is the node's one media port: every WebRTC session of the node, publisher or viewer, shares its UDP sockets and its TCP listeners.
//
// A datagram's way in: one goroutine per UDP socket reads a batch; STUN requests go to the endpoint whose local ICE ufrag they name, STUN responses to the
// endpoint whose number their transaction id carries, everything else (DTLS, SRTP, SRTCP; RFC 7983) to the endpoint that bound the remote address after a
// valid connectivity check. What belongs to nobody is counted and dropped without an answer, so the port is silent to strangers. TCP connections (RFC 6544,
// framed by RFC 4571) must open with a STUN request for a known ufrag and belong to that endpoint until they close, which is soon unless it binds them.
//
// The way out is a Path: control packets are written at once, media goes through the caller's udpbatch.WriteBatch to the path's socket.
package mediaport
