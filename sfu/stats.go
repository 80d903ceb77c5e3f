package sfu

import (
	"sync/atomic"
	"time"

	"rheomesh/internal/codec"
)

// Rejection reasons, a closed set.
const (
	rejectOffer       = "offer"        // SDP that was refused
	rejectSessions    = "sessions"     // the node's sessions
	rejectHalfOpen    = "half-open"    // sessions that have not connected yet
	rejectSessionsIP  = "sessions-ip"  // of one client address
	rejectHalfOpenIP  = "half-open-ip" // the same of one address
	rejectRouters     = "routers"
	rejectPublishers  = "publishers"
	rejectSubscribers = "subscribers"
	rejectSSRCs       = "ssrcs" // streams of one publisher
	rejectDraining    = "draining"
)

var rejectReasons = [...]string{
	rejectOffer, rejectSessions, rejectSessionsIP, rejectHalfOpen, rejectHalfOpenIP, rejectRouters, rejectPublishers, rejectSubscribers, rejectSSRCs, rejectDraining,
}

var skipReasons = [...]string{skipLapped, skipLate, skipPath}

// What became of viewers' keyframe requests, a closed set.
const (
	keyframeForwarded = "forwarded" // the publisher was asked
	keyframeMerged    = "merged"    // the publisher had been asked a moment before
	keyframeLimited   = "limited"   // the viewer had asked too often
)

var keyframeResults = [...]string{keyframeForwarded, keyframeMerged, keyframeLimited}

// Bounds of the histograms.
var (
	batchBounds = []int64{1, 2, 4, 8, 16, 32, 64, 128, 256, 512} // datagrams
	delayBounds = nanoseconds(50*time.Microsecond, 100*time.Microsecond, 250*time.Microsecond, 500*time.Microsecond, time.Millisecond, 2500*time.Microsecond,
		5*time.Millisecond, 10*time.Millisecond, 25*time.Millisecond, 50*time.Millisecond, 100*time.Millisecond, 250*time.Millisecond, 500*time.Millisecond, time.Second)
	setupBounds = nanoseconds(5*time.Millisecond, 10*time.Millisecond, 25*time.Millisecond, 50*time.Millisecond, 100*time.Millisecond, 250*time.Millisecond,
		500*time.Millisecond, time.Second, 2500*time.Millisecond, 5*time.Second, 10*time.Second)
)

func nanoseconds(durations ...time.Duration) []int64 {
	list := make([]int64, len(durations))
	for i, d := range durations {
		list[i] = int64(d)
	}
	return list
}

// statistics counts in atomics; readers take them as they are.
type statistics struct {
	packetsIn, bytesIn   [2]atomic.Uint64 // by kind: audio, video
	packetsOut, bytesOut [2]atomic.Uint64 // the same
	lostIn, lostOut      atomic.Uint64

	malformedRTP, malformedRTCP, unopened, unresolved, unexpectedRTP atomic.Uint64
	nacksReceived, nacksSent, resent                                 atomic.Uint64
	keyframeRequestsReceived, keyframeRequestsSent                   atomic.Uint64

	data dataStatistics

	rejected  [len(rejectReasons)]atomic.Uint64
	skipped   [len(skipReasons)]atomic.Uint64
	keyframes [len(keyframeResults)]atomic.Uint64

	batches      histogram    // datagrams that one call sent
	forwardDelay histogram    // nanoseconds from a packet's arrival until it was sent to viewers, of one packet per round
	setup        [2]histogram // nanoseconds from POST until the session was connected, by Role
}

// init gives the histograms their bounds.
func (s *statistics) init() {
	s.batches.bounds, s.forwardDelay.bounds = batchBounds, delayBounds
	s.setup[RolePublish].bounds, s.setup[RoleSubscribe].bounds = setupBounds, setupBounds
}

// received counts a packet that was appended. Hot path.
func (s *statistics) received(kind codec.Kind, bytes int) {
	i := kindIndex(kind)
	s.packetsIn[i].Add(1)
	s.bytesIn[i].Add(uint64(bytes))
}

// sentTotals is what a worker has sent of one kind and not published yet.
type sentTotals struct{ packets, bytes uint64 }

// sent publishes a worker's totals, by kind, and clears them. Hot path, once per round.
func (s *statistics) sent(totals *[2]sentTotals) {
	for i := range totals {
		if totals[i].packets > 0 {
			s.packetsOut[i].Add(totals[i].packets)
			s.bytesOut[i].Add(totals[i].bytes)
		}
	}
	*totals = [2]sentTotals{}
}

func kindIndex(kind codec.Kind) int {
	if kind == codec.Video {
		return 1
	}
	return 0
}

func (s *statistics) reject(reason string)   { count(rejectReasons[:], s.rejected[:], reason) }
func (s *statistics) skip(reason string)     { count(skipReasons[:], s.skipped[:], reason) }
func (s *statistics) keyframe(result string) { count(keyframeResults[:], s.keyframes[:], result) }

func count(names []string, counters []atomic.Uint64, name string) {
	for i := range names {
		if names[i] == name {
			counters[i].Add(1)
		}
	}
}

// NodeStats is what the node has counted since it started.
type NodeStats struct {
	Routers, Publishers, Subscribers, Sessions, HalfOpen int
	PublishSessions, SubscribeSessions                   int

	AudioPacketsIn, AudioBytesIn, VideoPacketsIn, VideoBytesIn     uint64 // RTP as decrypted
	AudioPacketsOut, AudioBytesOut, VideoPacketsOut, VideoBytesOut uint64 // SRTP to viewers, without what was sent again
	PacketsOut                                                     uint64 // datagrams of media sent in batches
	LostIn                                                         uint64 // packets of publishers that never came, asked for or not
	LostOut                                                        uint64 // packets that viewers report as lost

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
	KeyframeRequests            map[string]uint64 // those received, by what became of them
	Rejected                    map[string]uint64 // by reason
	Skipped                     map[string]uint64 // by reason

	Data DataStats

	ForwardDelay Histogram    // seconds from a packet's arrival until it was sent to viewers
	SendBatch    Histogram    // datagrams that one call sent
	SessionSetup [2]Histogram // seconds from POST until connected, by Role
}

// Stats reads the node's counters.
func (n *Node) Stats() NodeStats {
	s := &n.stats
	out := NodeStats{
		AudioPacketsIn: s.packetsIn[0].Load(), AudioBytesIn: s.bytesIn[0].Load(), VideoPacketsIn: s.packetsIn[1].Load(), VideoBytesIn: s.bytesIn[1].Load(),
		AudioPacketsOut: s.packetsOut[0].Load(), AudioBytesOut: s.bytesOut[0].Load(), VideoPacketsOut: s.packetsOut[1].Load(), VideoBytesOut: s.bytesOut[1].Load(),
		PacketsOut: uint64(s.batches.sum.Load()), LostIn: s.lostIn.Load(), LostOut: s.lostOut.Load(),
		MalformedRTP: s.malformedRTP.Load(), MalformedRTCP: s.malformedRTCP.Load(), UnopenedRTP: s.unopened.Load(), UnresolvedRTP: s.unresolved.Load(),
		UnexpectedRTP: s.unexpectedRTP.Load(), UnknownDatagrams: n.port.Unknown(), SocketDrops: n.port.Drops(),
		NACKsReceived: s.nacksReceived.Load(), NACKsSent: s.nacksSent.Load(), Retransmitted: s.resent.Load(),
		KeyframeRequestsReceived: s.keyframeRequestsReceived.Load(), KeyframeRequestsSent: s.keyframeRequestsSent.Load(),
		KeyframeRequests: counts(keyframeResults[:], s.keyframes[:]), Rejected: counts(rejectReasons[:], s.rejected[:]), Skipped: counts(skipReasons[:], s.skipped[:]),
		ForwardDelay: s.forwardDelay.snapshot(float64(time.Second)), SendBatch: s.batches.snapshot(1),
	}
	out.Data = s.data.snapshot()
	for role := range s.setup {
		out.SessionSetup[role] = s.setup[role].snapshot(float64(time.Second))
	}
	n.countResources(&out)
	return out
}

func counts(names []string, counters []atomic.Uint64) map[string]uint64 {
	read := make(map[string]uint64, len(names))
	for i, name := range names {
		read[name] = counters[i].Load()
	}
	return read
}
