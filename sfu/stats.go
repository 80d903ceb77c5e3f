package sfu

import (
	"sync/atomic"

	"rheomesh/internal/codec"
)

// Rejection reasons, a closed set.
const (
	rejectOffer       = "offer"        // SDP that was refused
	rejectSessions    = "sessions"     // the node's sessions
	rejectHalfOpen    = "half-open"    // sessions that have not connected yet
	rejectHalfOpenIP  = "half-open-ip" // the same of one address
	rejectRouters     = "routers"
	rejectPublishers  = "publishers"
	rejectSubscribers = "subscribers"
	rejectSSRCs       = "ssrcs" // streams of one publisher
	rejectDraining    = "draining"
)

var rejectReasons = [...]string{
	rejectOffer, rejectSessions, rejectHalfOpen, rejectHalfOpenIP, rejectRouters, rejectPublishers, rejectSubscribers, rejectSSRCs, rejectDraining,
}

var skipReasons = [...]string{skipLapped, skipLate, skipPath}

// batchBounds are the upper bounds of the send-batch histogram, in datagrams.
var batchBounds = [...]int{1, 2, 4, 8, 16, 32, 64, 128, 256, 512}

// statistics counts in atomics; readers take them as they are.
type statistics struct {
	packetsIn, bytesIn [2]atomic.Uint64 // by kind: audio, video

	malformedRTP, malformedRTCP, unopened, unresolved, unexpectedRTP atomic.Uint64
	nacksReceived, nacksSent, resent                                 atomic.Uint64
	keyframeRequestsReceived, keyframeRequestsSent                   atomic.Uint64
	connected                                                        [2]atomic.Uint64 // by Role
	setupNanoseconds                                                 [2]atomic.Uint64 // by Role

	rejected [len(rejectReasons)]atomic.Uint64
	skipped  [len(skipReasons)]atomic.Uint64
	batches  batchHistogram
}

// received counts a packet that was appended. Hot path.
func (s *statistics) received(kind codec.Kind, bytes int) {
	i := kindIndex(kind)
	s.packetsIn[i].Add(1)
	s.bytesIn[i].Add(uint64(bytes))
}

func kindIndex(kind codec.Kind) int {
	if kind == codec.Video {
		return 1
	}
	return 0
}

func (s *statistics) reject(reason string) { count(rejectReasons[:], s.rejected[:], reason) }
func (s *statistics) skip(reason string)   { count(skipReasons[:], s.skipped[:], reason) }

func count(names []string, counters []atomic.Uint64, name string) {
	for i := range names {
		if names[i] == name {
			counters[i].Add(1)
		}
	}
}

// batchHistogram counts batches by the datagrams in them.
type batchHistogram struct {
	buckets  [len(batchBounds) + 1]atomic.Uint64
	messages atomic.Uint64
}

func (h *batchHistogram) observe(datagrams int) {
	i := 0
	for i < len(batchBounds) && datagrams > batchBounds[i] {
		i++
	}
	h.buckets[i].Add(1)
	h.messages.Add(uint64(datagrams))
}

// NodeStats is what the node has counted since it started.
type NodeStats struct {
	Routers, Publishers, Subscribers, Sessions, HalfOpen int

	AudioPacketsIn, AudioBytesIn, VideoPacketsIn, VideoBytesIn uint64
	PacketsOut                                                 uint64 // datagrams of media sent in batches

	MalformedRTP, MalformedRTCP uint64 // packets that could not be parsed
	UnopenedRTP                 uint64 // packets that did not authenticate, replays among them
	UnresolvedRTP               uint64 // packets of no known track
	UnexpectedRTP               uint64 // packets from viewers
	UnknownDatagrams            uint64 // datagrams that belonged to no session
	SocketDrops                 uint64 // datagrams that the kernel dropped for want of buffer
	NACKsReceived, NACKsSent    uint64 // sequence numbers
	Retransmitted               uint64
	KeyframeRequestsReceived    uint64
	KeyframeRequestsSent        uint64
	Rejected                    map[string]uint64 // by reason
	Skipped                     map[string]uint64 // by reason
}

// Stats reads the node's counters.
func (n *Node) Stats() NodeStats {
	s := &n.stats
	out := NodeStats{
		AudioPacketsIn: s.packetsIn[0].Load(), AudioBytesIn: s.bytesIn[0].Load(), VideoPacketsIn: s.packetsIn[1].Load(), VideoBytesIn: s.bytesIn[1].Load(),
		PacketsOut:   s.batches.messages.Load(),
		MalformedRTP: s.malformedRTP.Load(), MalformedRTCP: s.malformedRTCP.Load(), UnopenedRTP: s.unopened.Load(), UnresolvedRTP: s.unresolved.Load(),
		UnexpectedRTP: s.unexpectedRTP.Load(), UnknownDatagrams: n.port.Unknown(), SocketDrops: n.port.Drops(),
		NACKsReceived: s.nacksReceived.Load(), NACKsSent: s.nacksSent.Load(), Retransmitted: s.resent.Load(),
		KeyframeRequestsReceived: s.keyframeRequestsReceived.Load(), KeyframeRequestsSent: s.keyframeRequestsSent.Load(),
		Rejected: map[string]uint64{}, Skipped: map[string]uint64{},
	}
	for i, name := range rejectReasons {
		out.Rejected[name] = s.rejected[i].Load()
	}
	for i, name := range skipReasons {
		out.Skipped[name] = s.skipped[i].Load()
	}
	n.countResources(&out)
	return out
}
