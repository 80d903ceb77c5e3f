// Package whip serves WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep) over HTTP.
//
// A client POSTs an SDP offer to an endpoint, /whip/{router}/{publisher} to publish or
// /whep/{router}/{publisher} to play, and gets the answer together with the URL of its session.
// On that URL it PATCHes ICE candidates and restarts and finally sends DELETE. Players find two
// extensions below their session: server-sent events (/sse) and layer selection (/layer).
//
// The package knows HTTP and nothing of media: it hands SDP text and trickle fragments to package
// sfu and turns the result into status lines and headers. Handlers return errors and never write
// them; the error handler of the server maps them to problem documents with errors.Is, and takes
// further header lines from ErrorHeader.
//
// Three ideas explain most of the code. A session URL is a capability: who knows it may use it, and
// only a wrong Authorization header is refused there. An ICE restart is told from trickle by the
// ufrag alone, never by If-Match, because clients disagree about that header. And entity tags are
// checked leniently unless Config.StrictETag is set, because many clients send none.
package whip
