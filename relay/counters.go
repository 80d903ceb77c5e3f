package relay

import (
	"sync/atomic"
	"time"
)

// Why a datagram was dropped, a closed set.
type rejection int

const (
	rejectMalformed rejection = iota // too short, or not one of ours
	rejectHandle                     // nobody's handle, or an earlier owner's
	rejectReplay                     // its number was seen, or is too old
	rejectSeal                       // not sealed by the peer
	rejectMessage                    // sealed by the peer and still nonsense
	rejections
)

var rejectionNames = [rejections]string{"malformed", "handle", "replay", "seal", "message"}

// counters count in atomics.
type counters struct {
	packetsIn, bytesIn, packetsOut, bytesOut   atomic.Uint64
	lost, recovered, resent, nacksIn, nacksOut atomic.Uint64
	keyframesIn, keyframesOut, oversized       atomic.Uint64
	dataMessagesIn, dataBytesIn                atomic.Uint64
	dataMessagesOut, dataBytesOut              atomic.Uint64
	dataResent, dataDropped                    atomic.Uint64
	rejected                                   [rejections]atomic.Uint64
}

func (c *counters) reject(why rejection) { c.rejected[why].Add(1) }

// Stats is what the node has counted since it started.
type Stats struct {
	Links, Relays                            int
	PacketsIn, BytesIn, PacketsOut, BytesOut uint64
	Lost, Recovered                          uint64 // on the way in: given up, and repaired
	Resent                                   uint64 // on the way out
	NACKsIn, NACKsOut                        uint64 // numbers
	KeyframeRequestsIn, KeyframeRequestsOut  uint64
	Rejected                                 map[string]uint64 // datagrams, by reason
	SocketDrops                              uint64            // datagrams that the kernel dropped for want of buffer
	Oversized                                uint64            // packets on the way out that no path to the peer takes whole
	DataMessagesIn, DataBytesIn              uint64
	DataMessagesOut, DataBytesOut            uint64
	DataResent, DataDropped                  uint64        // chunks that were sent again, and messages that were not carried
	RoundTrip                                time.Duration // of the slowest link that is up; 0 without
}

// Stats reads the node's counters.
func (n *Node) Stats() Stats {
	c := &n.counters
	s := Stats{
		PacketsIn: c.packetsIn.Load(), BytesIn: c.bytesIn.Load(), PacketsOut: c.packetsOut.Load(), BytesOut: c.bytesOut.Load(),
		Lost: c.lost.Load(), Recovered: c.recovered.Load(), Resent: c.resent.Load(), NACKsIn: c.nacksIn.Load(), NACKsOut: c.nacksOut.Load(),
		KeyframeRequestsIn: c.keyframesIn.Load(), KeyframeRequestsOut: c.keyframesOut.Load(), Oversized: c.oversized.Load(), Rejected: map[string]uint64{},
		DataMessagesIn: c.dataMessagesIn.Load(), DataBytesIn: c.dataBytesIn.Load(), DataMessagesOut: c.dataMessagesOut.Load(), DataBytesOut: c.dataBytesOut.Load(),
		DataResent: c.dataResent.Load(), DataDropped: c.dataDropped.Load(),
	}
	for i := range rejections {
		s.Rejected[rejectionNames[i]] = c.rejected[i].Load()
	}
	for _, socket := range n.sockets {
		s.SocketDrops += socket.conn.Drops()
	}
	for _, l := range n.allLinks() {
		s.Links++
		if l.up.Load() {
			s.RoundTrip = max(s.RoundTrip, l.roundTrip())
		}
	}
	n.mu.Lock()
	s.Relays = len(n.relays)
	n.mu.Unlock()
	return s
}
