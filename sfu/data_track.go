package sfu

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"rheomesh/sfu/datachan"
)

// dataTrackID names a publisher's data track, of which there is one.
const dataTrackID = "data" // untyped: as a TrackID it would be all that the API document allows one to be

// dataTrack is a publisher's data: which channels are open, and who gets their messages. Messages are fanned out on the reader of the channel that they come
// from. The zero value is ready.
type dataTrack struct {
	// mu guards the fields below. It is taken before locks of package datachan, and after Publisher.mu when both are needed, which is never.
	mu       sync.Mutex
	channels map[string]*dataChannel // by label
	viewers  map[*dataViewer]struct{}
	sinks    map[DataSink]*dataSink
}

// dataChannel is an open channel of a publisher.
type dataChannel struct {
	DataChannel
	owner           feeder // who has opened it; nil is the server
	outs            map[*dataViewer]*datachan.Channel
	messages, bytes uint64
	last            *DataMessage // with Config.RetainLastData
}

// DataChannels are the open channels, sorted by label.
func (p *Publisher) DataChannels() []DataChannel {
	d := &p.data
	d.mu.Lock()
	defer d.mu.Unlock()
	list := make([]DataChannel, 0, len(d.channels))
	for _, c := range d.channels {
		list = append(list, c.DataChannel)
	}
	slices.SortFunc(list, func(a, b DataChannel) int { return cmp.Compare(a.Label, b.Label) })
	return list
}

// SendData sends a message of the server into a channel, to all viewers. If there is no channel of the label, it opens one that is reliable and ordered.
func (p *Publisher) SendData(m DataMessage) error {
	switch {
	case len(m.Channel) > MaxDataLabelBytes || !utf8.ValidString(m.Channel):
		return fmt.Errorf("send data to %s: %w", p.id, ErrDataLabelInvalid)
	case len(m.Data) > MaxDataMessageBytes:
		return fmt.Errorf("send data to %s: %w", p.id, ErrDataTooLarge)
	}
	if p.fanOut(nil, m) {
		return nil
	}
	if err := p.openChannel(nil, DataChannel{Label: m.Channel, Ordered: true}); err != nil {
		return fmt.Errorf("send data to %s: %w", p.id, err)
	}
	p.fanOut(nil, m)
	return nil
}

// openChannel opens a channel towards viewers and sinks. A channel of another owner is taken over: the one that came later is alive.
func (p *Publisher) openChannel(owner feeder, c DataChannel) error {
	if owner != nil && !p.fedBy(owner) {
		return fmt.Errorf("channel %q: %w", c.Label, ErrClosed)
	}
	d := &p.data
	d.mu.Lock()
	old := d.channels[c.Label]
	switch {
	case old != nil && (owner == nil || old.owner == owner):
		d.mu.Unlock()
		if owner == nil { // somebody else has opened it in between
			return nil
		}
		return fmt.Errorf("channel %q: there is one of the label: %w", c.Label, ErrDataChannelLimit)
	case old == nil && len(d.channels) >= MaxDataChannels:
		d.mu.Unlock()
		return fmt.Errorf("channel %q: %w", c.Label, ErrDataChannelLimit)
	}
	next := &dataChannel{DataChannel: c, owner: owner, outs: map[*dataViewer]*datachan.Channel{}}
	if d.channels == nil {
		d.channels = map[string]*dataChannel{}
	}
	if old != nil && !old.Equal(c) {
		d.removeLocked(old, datachan.ReasonReplaced)
	} else if old != nil {
		next.outs, next.messages, next.bytes, next.last = old.outs, old.messages, old.bytes, old.last
	}
	d.channels[c.Label] = next
	var wanting []*dataViewer
	for v := range d.viewers {
		delete(v.refused, c.Label)
		if !v.openLocked(next) {
			wanting = append(wanting, v)
		}
	}
	if old == nil || !old.Equal(c) {
		for _, s := range d.sinks {
			s.opened(c)
		}
	}
	d.mu.Unlock()
	for _, v := range wanting {
		v.subscriber.transport.OpenData()
	}
	p.emitData(EventDataOpened, nil, c, "")
	return nil
}

func (p *Publisher) fedBy(owner feeder) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.feeder == owner
}

// closeChannel closes a channel, if it is still its owner's.
func (p *Publisher) closeChannel(owner feeder, label string, reason datachan.Reason) {
	d := &p.data
	d.mu.Lock()
	c := d.channels[label]
	if c == nil || c.owner != owner {
		d.mu.Unlock()
		return
	}
	d.removeLocked(c, datachan.ReasonSource)
	d.mu.Unlock()
	p.emitData(EventDataClosed, nil, c.DataChannel, reason)
}

// removeLocked takes a channel away from viewers and sinks. Channels that viewers have opened themselves stay open.
func (d *dataTrack) removeLocked(c *dataChannel, reason datachan.Reason) {
	delete(d.channels, c.Label)
	for _, out := range c.outs {
		if out.Ours() {
			out.Close(reason)
		}
	}
	for _, s := range d.sinks {
		s.closed(c.Label)
	}
}

// releaseData closes what a feeder has opened.
func (p *Publisher) releaseData(owner feeder) {
	for _, c := range p.DataChannels() {
		p.closeChannel(owner, c.Label, datachan.ReasonSource)
	}
}

// fanOut hands a message to every viewer and sink. It reports whether the channel is open and the owner's; the server may send into everybody's.
func (p *Publisher) fanOut(owner feeder, m DataMessage) bool {
	d, stats := &p.data, &p.router.node.stats.data
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.channels[m.Channel]
	if c == nil || owner != nil && c.owner != owner {
		return false
	}
	c.messages++
	c.bytes += uint64(len(m.Data))
	stats.received(len(m.Data))
	for _, out := range c.outs {
		stats.sent(out, m)
	}
	for _, s := range d.sinks {
		s.message(m)
	}
	if p.router.node.retainLastData {
		c.last = &m
	}
	return true
}

// joinData adds a viewer.
func (p *Publisher) joinData(v *dataViewer) {
	d := &p.data
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.viewers == nil {
		d.viewers = map[*dataViewer]struct{}{}
	}
	d.viewers[v] = struct{}{}
}

func (p *Publisher) leaveData(v *dataViewer) {
	d := &p.data
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.viewers, v)
	for _, c := range d.channels {
		delete(c.outs, v)
	}
	v.stopLocked()
}

// DeliverUp takes a message of a viewer, here or on a node further down, to whoever feeds the publisher.
func (p *Publisher) DeliverUp(m DataMessage) error {
	p.mu.Lock()
	feeder := p.feeder
	p.mu.Unlock()
	if feeder == nil {
		return fmt.Errorf("data for %s: %w", p.id, ErrDataUndeliverable)
	}
	if err := feeder.dataUp(m); err != nil {
		return fmt.Errorf("data for %s: %w", p.id, err)
	}
	return nil
}

// AttachDataSink adds a reader from now on. It is told of the open channels first.
func (p *Publisher) AttachDataSink(sink DataSink) {
	d := &p.data
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sinks[sink] != nil {
		return
	}
	if d.sinks == nil {
		d.sinks = map[DataSink]*dataSink{}
	}
	s := startDataSink(sink, &p.router.node.stats.data)
	for _, label := range slices.Sorted(maps.Keys(d.channels)) {
		c := d.channels[label]
		s.opened(c.DataChannel)
		if c.last != nil {
			s.message(*c.last)
		}
	}
	d.sinks[sink] = s
}

// DetachDataSink takes a reader away. It is not called any more after the return, so this must not be called from its methods.
func (p *Publisher) DetachDataSink(sink DataSink) {
	p.data.mu.Lock()
	s := p.data.sinks[sink]
	delete(p.data.sinks, sink)
	p.data.mu.Unlock()
	if s != nil {
		s.stop()
	}
}

// DataChannelInfo is a snapshot of a channel. Messages and Bytes are those that came from a publisher, or went to a viewer.
type DataChannelInfo struct {
	DataChannel
	Messages, Bytes uint64
	Closed          string // why a viewer's channel is closed; empty while it is open
}

// dataInfo is a snapshot of the data track; false when the publisher has none.
func (p *Publisher) dataInfo() (TrackInfo, bool) {
	d := &p.data
	d.mu.Lock()
	defer d.mu.Unlock()
	info := TrackInfo{ID: dataTrackID, Kind: kindData}
	for _, label := range slices.Sorted(maps.Keys(d.channels)) {
		c := d.channels[label]
		info.Channels = append(info.Channels, DataChannelInfo{DataChannel: c.DataChannel, Messages: c.messages, Bytes: c.bytes})
	}
	return info, len(info.Channels) > 0
}

// kindData is the kind of data tracks.
const kindData = "data"

// DataEvent says which channel an event is about, and why it was closed.
type DataEvent struct {
	Channel DataChannel
	Reason  string
}

// emitData tells of a publisher's channel, or of a viewer's when s is not nil.
func (p *Publisher) emitData(t EventType, s *Subscriber, c DataChannel, reason datachan.Reason) {
	e := Event{
		Type: t, Time: time.Now(), RouterID: p.router.id, PublisherID: p.id, Router: p.router, Publisher: p, Subscriber: s,
		Data: &DataEvent{Channel: c, Reason: string(reason)},
	}
	if s != nil {
		e.SubscriberID = s.id
	}
	p.router.node.hub.emit(e)
}
