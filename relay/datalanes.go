package relay

import (
	"rheomesh/relay/wire"
	"rheomesh/sfu"
)

// The lanes that the peer has opened, on the stream's goroutine. A channel that is closed and opened again is another lane, whose first message may be whole before the last of the old one:
// then the new one waits.

// take is one message of a lane, its opening or its closing.
func (s *dataStream) take(d wire.Delivery) {
	switch d.Op {
	case wire.DataOpen:
		s.laneOpened(d)
	case wire.DataClose:
		s.laneClosed(d.Lane)
	default:
		s.message(d)
	}
}

func (s *dataStream) laneOpened(d wire.Delivery) {
	o, err := wire.ParseOpening(d.Body)
	if err != nil {
		s.incoming[d.Lane] = &dataLane{}
		s.link.node.counters.reject(rejectMessage)
		return
	}
	channel := channelOf(o)
	lane := &dataLane{label: o.Label}
	s.incoming[d.Lane] = lane
	if _, taken := s.labels[o.Label]; taken {
		lane.opening = &channel
		s.mu.Lock()
		s.inbox.Pause(d.Lane)
		s.mu.Unlock()
		return
	}
	s.admit(d.Lane, lane, channel)
}

// admit gives the label to a lane.
func (s *dataStream) admit(id uint32, lane *dataLane, channel sfu.DataChannel) {
	s.labels[lane.label] = id
	s.used.Store(true)
	s.openIn.Add(1)
	lane.opening = nil
	if lane.accepted = s.end.peerOpened(channel); !lane.accepted {
		s.link.log.Info("relayed data channel refused", "label", lane.label)
	}
}

func (s *dataStream) laneClosed(id uint32) {
	lane := s.incoming[id]
	delete(s.incoming, id)
	if lane == nil || s.labels[lane.label] != id {
		return
	}
	delete(s.labels, lane.label)
	s.openIn.Add(-1)
	if lane.accepted {
		s.end.peerClosed(lane.label)
	}
	s.admitNext(lane.label)
}

// admitNext lets the oldest lane that waits for a label have it.
func (s *dataStream) admitNext(label string) {
	next, found := uint32(0), false
	for id, lane := range s.incoming {
		if lane.opening != nil && lane.label == label && (!found || id < next) {
			next, found = id, true
		}
	}
	if !found {
		return
	}
	lane := s.incoming[next]
	s.admit(next, lane, *lane.opening)
	s.mu.Lock()
	s.inbox.Resume(next)
	s.mu.Unlock()
}

func (s *dataStream) message(d wire.Delivery) {
	lane := s.incoming[d.Lane]
	if lane == nil || !lane.accepted {
		s.drop()
		return
	}
	m, ok := unpackMessage(lane.label, d.Kind, d.Body)
	if !ok {
		s.link.node.counters.reject(rejectMessage)
		return
	}
	s.messagesIn.Add(1)
	s.bytesIn.Add(uint64(len(m.Data)))
	s.link.node.counters.dataMessagesIn.Add(1)
	s.link.node.counters.dataBytesIn.Add(uint64(len(m.Data)))
	if !s.end.peerSent(m) {
		s.drop()
	}
}
