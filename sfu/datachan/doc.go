// Package datachan speaks WebRTC data channels (RFC 8831, RFC 8832) over a link that carries SCTP packets, which is a session's DTLS connection.
//
// An Association is one client's channels. Association.Run owns all that runs of it: pion/sctp's loops, one reader per channel and the pump, the one
// goroutine that hands queued messages to SCTP. Send never blocks: it puts a pointer to the message into the channel's bounded queue, so that one message
// for a thousand clients lies in memory once. What a full queue means is in Channel.Send.
//
// The package decides nothing about who may say what to whom; that is the Handler's.
package datachan
