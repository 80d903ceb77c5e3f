// Package sfu is the media core: a Node of Routers, in which Publishers are watched by Subscribers. It forwards what is sent and never transcodes (RFC 7667
// section 3.7).
//
// One idea carries it: a Layer is a Log, and everything that sends is a cursor on it. A layer's packets are appended once to a bounded ring; a viewer is a
// position in it. So fan-out is a pointer read per viewer and packet, a NACK is a look-up in the same ring, and a viewer joins at the last keyframe there.
//
// # The packet's journey
//
//  1. mediaport reads a batch of datagrams (recvmmsg, UDP_GRO) on a reader goroutine, one per socket, and finds each one's session.
//  2. transport.Session.HandlePacket sorts it by its first byte and hands SRTP to ingest.handleRTP, still sealed.
//  3. ingest.receive finds the stream by SSRC, opens the packet into the slab of its layer, parses it once, and turns RTX back into what it repeats.
//  4. ingest.append extends its number, inspects its payload and appends it to the Log. From here on the packet is immutable and the garbage collector's.
//  5. grownLogs.tell wakes the workers which have cursors on the log; while many watch, only once the frame is complete, or a millisecond has passed.
//  6. worker.round walks the cursors on the logs that have grown. forwarder.drain moves one of them to the log's head.
//  7. forwarder.emit rewrites the header into the worker's batch by the viewer's segment, and transport.Session.SealRTP encrypts the payload from the log
//     straight behind it. All packets of a viewer lie side by side.
//  8. worker.send sends the batch (sendmmsg); a row of equal packets to one viewer is one segmented message (UDP_SEGMENT).
//
// Steps 1 to 5 run on the reader, 6 to 8 on a fan-out worker, of which there is one per core; a subscriber belongs to one worker for life. There is one
// hand-over between goroutines. The functions of the path carry the words "hot path" in their comments. After warm-up steps 6 to 8 allocate nothing; steps
// 1 to 5 allocate a slab for every few dozen packets.
//
// # When a cursor lags
//
// A viewer whose next packet is older than maxLag, or no longer in the log, skips: video goes on at the newest keyframe, audio at the newest packet. Skips
// are counted by reason. Nothing ever waits for a viewer.
//
// # Feedback
//
// It runs the other way: a viewer's keyframe requests are merged at the layer (at most one per keyframeInterval goes to the publisher), its NACKs are
// answered from the log within the gates of resendGate. feedbackLoop asks publishers for what they lost and tells them what arrived.
//
// # Goroutines
//
// docs/closures.md lists every goroutine with its owner, docs/locks.md the order of locks.
package sfu
