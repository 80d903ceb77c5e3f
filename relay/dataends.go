package relay

import (
	"sync"

	"rheomesh/relay/wire"
	"rheomesh/sfu"
)

// outData is the origin's end of a data stream: the publisher's messages go to the peer, those of the peer's viewers come from there. It implements sfu.DataSink.
type outData struct {
	*dataStream
	publisher *sfu.Publisher
	begun     bool // the peer has accepted it
}

var _ sfu.DataSink = (*outData)(nil)

// prepareData readies the session's data, for the case that the peer accepts it. Without a free place the publisher goes without.
func (p *outPublisher) prepareData(l *link) {
	s, err := l.newDataStream()
	if err != nil {
		return
	}
	p.data = &outData{dataStream: s, publisher: p.publisher}
	p.offer.Data = uint32(s.receiver.handle)
}

// acceptData begins to carry the publisher's channels to the peer's handle; 0 says that it does not take them. A handle that has changed means that the peer has begun anew.
func (p *outPublisher) acceptData(remote uint32) {
	if p.data == nil || remote >= 1<<24 || p.data.begun && uint32(p.data.remote) == remote {
		return
	}
	p.resetData()
	if remote != 0 {
		p.data.begun = true
		p.data.start(wire.Handle(remote), p.data)
		p.publisher.AttachDataSink(p.data)
	}
}

// resetData makes the data as it was before the peer has accepted it, under the same handle.
func (p *outPublisher) resetData() {
	if p.data != nil && p.data.begun {
		p.publisher.DetachDataSink(p.data)
		p.data = &outData{dataStream: p.data.renew(), publisher: p.publisher}
	}
}

// endData ends it for good.
func (p *outPublisher) endData() {
	if p.data == nil {
		return
	}
	if p.data.begun {
		p.publisher.DetachDataSink(p.data)
	}
	p.data.close()
	p.data = nil
}

// ChannelOpened implements sfu.DataSink.
func (o *outData) ChannelOpened(c sfu.DataChannel) { o.openLane(c, true) }

// ChannelClosed implements sfu.DataSink.
func (o *outData) ChannelClosed(label string) { o.closeLane(label) }

// Message implements sfu.DataSink.
func (o *outData) Message(m sfu.DataMessage) bool { return o.queue(m) }

func (o *outData) peerOpened(sfu.DataChannel) bool { return true }
func (o *outData) peerClosed(string)               {}

// peerSent takes a viewer's message up to the publisher.
func (o *outData) peerSent(m sfu.DataMessage) bool { return o.publisher.DeliverUp(m) == nil }

// inData is the edge's end: the publisher's messages go to the feed, those of its viewers to the peer.
type inData struct {
	*dataStream
	feed *sfu.Feed

	known sync.Map // label to sfu.DataChannel, of the publisher's open channels
}

func (in *inData) peerOpened(c sfu.DataChannel) bool {
	if err := in.feed.OpenDataChannel(c); err != nil {
		return false
	}
	in.known.Store(c.Label, c)
	return true
}

func (in *inData) peerClosed(label string) {
	in.known.Delete(label)
	in.feed.CloseDataChannel(label)
	in.closeLane(label)
}

func (in *inData) peerSent(m sfu.DataMessage) bool { return in.feed.AppendData(m) }

// up sends a viewer's message to the origin. It goes as reliably as the publisher's channel of the label; where there is none, reliably and in order.
func (in *inData) up(m sfu.DataMessage) {
	c := sfu.DataChannel{Label: m.Channel, Ordered: true}
	known, ok := in.known.Load(m.Channel)
	if ok {
		c, _ = known.(sfu.DataChannel)
	}
	if !in.ready(c, ok) || !in.queue(m) {
		in.drop()
	}
}

// ready opens the lane of a label that a viewer sends on.
func (in *inData) ready(c sfu.DataChannel, known bool) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.lanes[c.Label] != nil {
		return true
	}
	unknown := 0
	for _, lane := range in.lanes {
		if !lane.known {
			unknown++
		}
	}
	return (known || unknown < maxUnknownLabels) && in.openLaneLocked(c, known)
}

// receiveData readies what takes the publisher's messages.
func (f *inFeed) receiveData(offer streamOffer) error {
	if offer.Data == 0 {
		return nil
	}
	s, err := f.link.newDataStream()
	if err != nil {
		return err
	}
	data := &inData{dataStream: s, feed: f.feed}
	s.start(wire.Handle(offer.Data), data)
	f.data.Store(data)
	return nil
}

// dataHandle is where the publisher's messages are taken; 0 is nowhere.
func (f *inFeed) dataHandle() uint32 {
	if data := f.data.Load(); data != nil {
		return uint32(data.receiver.handle)
	}
	return 0
}

// DataUp implements sfu.DataUpstream.
func (f *inFeed) DataUp(_ *sfu.Feed, m sfu.DataMessage) {
	if data := f.data.Load(); data != nil {
		data.up(m)
	}
}

var _ sfu.DataUpstream = (*inFeed)(nil)
