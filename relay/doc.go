// Package relay carries publishers from one node to another, so that many machines are one SFU.
//
// # What happens
//
// A Relay is a standing order: these publishers of this router, to that router of that peer (push), or from there (pull). Its reconcile loop compares what
// should be with what is and acts on the difference; after any failure or restart it simply compares again. The steps of a push:
//
//  1. The origin asks the peer for a link over HTTP (PUT /relay/v1/links/{node}): both agree on keys by a Noise handshake in that exchange. Then each proves over UDP
//     that it can be reached, before any medium is sent.
//  2. The origin sends the whole set of streams that it wants to carry (PUT …/streams). The peer asks whether the router exists, …
//  3. … whether each stream exists there already or would run in a circle, readies the receiver of each new one, and returns a handle for each layer.
//  4. RTP flows, of the layers that the edge's viewers watch.
//
// A pull is the same with the two halves of step 2 and 3 in other envelopes, since the edge asks: the set of streams comes in the response, the handles go with the next request.
//
// # The packet's journey
//
// On the origin a relayed layer is one more cursor on the layer's log: outStream.Advance seals each packet from the log into the link's batch, on the fan-out worker that the
// link's sfu.Tap is on, and link.Flush sends the batch with one system call. On the edge the reader goroutine of the socket finds a datagram's stream by its
// handle, opens it straight into the layer's memory, and appends it to the layer's log, from where viewers and further relays take it. The functions of the path carry the words
// "hot path".
//
// # Data channels
//
// Each relayed publisher has a dataStream on its link: its messages go to the edge as an sfu.DataSink of the origin, into the edge's sfu.Feed; messages of the edge's viewers come back by the
// feed's DataUp and go to Publisher.DeliverUp. A middle node is an edge on one side and an origin on the other, so chains need nothing more.
//
// # Feedback
//
// It runs the other way: which layers are watched, keyframe requests, and numbers that were lost on the hop. What was lost is repaired on the hop.
//
// # Trust
//
// Nodes of one cluster share a secret; a node without one speaks to nodes on its own machine only. A node can read what it carries: security is hop by hop.
package relay
