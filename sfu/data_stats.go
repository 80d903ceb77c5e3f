package sfu

import (
	"errors"
	"sync/atomic"

	"rheomesh/sfu/datachan"
)

// Reasons of drops besides those of package datachan.
const (
	dropNotPermitted = "not-permitted" // a viewer that may not send
	dropNoPublisher  = "no-publisher"  // a viewer's message, and nobody who takes it
	dropReply        = "reply"         // a publisher's message in a viewer's channel
	dropSink         = "sink"          // a reader that is no viewer was behind
)

var dataDropReasons = [...]string{
	string(datachan.DropTooLarge), string(datachan.DropSlow), string(datachan.DropExpired), string(datachan.DropClosed), string(datachan.DropProtocol),
	string(datachan.DropRefused), dropNotPermitted, dropNoPublisher, dropReply, dropSink,
}

// dataStatistics counts data messages.
type dataStatistics struct {
	messagesIn, bytesIn, messagesOut, bytesOut atomic.Uint64
	dropped                                    [len(dataDropReasons)]atomic.Uint64
}

// received counts a message that came from a client, the REST API or another node.
func (s *dataStatistics) received(bytes int) {
	s.messagesIn.Add(1)
	s.bytesIn.Add(uint64(bytes))
}

// sent sends a message to a client and counts it. What becomes of it afterwards is counted by drop.
func (s *dataStatistics) sent(out *datachan.Channel, m DataMessage) {
	switch err := out.Send(m.Binary, m.Data); {
	case err == nil:
		s.messagesOut.Add(1)
		s.bytesOut.Add(uint64(len(m.Data)))
	case errors.Is(err, datachan.ErrTooLarge):
		s.drop(string(datachan.DropTooLarge), 1)
	case errors.Is(err, datachan.ErrClosed):
		s.drop(string(datachan.DropClosed), 1)
	}
}

func (s *dataStatistics) drop(reason string, n int) {
	for i := range dataDropReasons {
		if dataDropReasons[i] == reason {
			s.dropped[i].Add(uint64(n))
		}
	}
}

// DataStats is what the node has counted of data channels.
type DataStats struct {
	MessagesIn, BytesIn   uint64
	MessagesOut, BytesOut uint64            // once for each receiver
	Dropped               map[string]uint64 // messages, and channels that were refused, by reason
}

func (s *dataStatistics) snapshot() DataStats {
	return DataStats{
		MessagesIn: s.messagesIn.Load(), BytesIn: s.bytesIn.Load(), MessagesOut: s.messagesOut.Load(), BytesOut: s.bytesOut.Load(),
		Dropped: counts(dataDropReasons[:], s.dropped[:]),
	}
}
