// Package client is a WHIP publisher (RFC 9725) and a WHEP player on pion/webrtc. The commands publish,
// play, demo and bench are made of it, and so are the end-to-end tests; it works against any server.
//
// Publish posts an offer, applies the answer, and sends what its sources yield, paced in real time; with
// no source the caller writes exact RTP packets itself. Play posts a receiving offer with every codec
// pion knows, counts what arrives, and finds the first frame that could be decoded. Both return a value
// that embeds a Session: one PeerConnection and its HTTP resource, which Close deletes.
//
// The journey of a packet in the player, all on the goroutine of its track:
//
//  1. RemoteTrack.read takes it from pion into a recycled buffer and calls OnRTP.
//  2. sequence counts losses, duplicates and disorder; arrival measures jitter and bitrate.
//  3. reorder puts packets back into order and decides when a gap is a loss.
//  4. assembler gathers packets into frames; classify says what a packet begins.
//  5. RemoteTrack.finish counts the frame, measures its latency, saves it, calls OnFrame, and asks for a
//     keyframe when it could not be decoded.
package client
