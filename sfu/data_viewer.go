package sfu

import (
	"maps"
	"slices"
	"time"

	"rheomesh/sfu/datachan"
)

// openGrace is how long a viewer's own channels may take to arrive after its association: for labels that it opens itself we open none. What browsers open
// before they connect comes within a round trip.
const openGrace = 200 * time.Millisecond

// dataViewer is a viewer's data channels. It implements datachan.Handler.
type dataViewer struct {
	subscriber  *Subscriber
	association *datachan.Association
	maySend     bool

	// Guarded by dataTrack.mu of the publisher.
	ready    bool // openGrace is over
	grace    *time.Timer
	channels map[string]*datachan.Channel // open ones, by label
	refused  map[string]DataChannelInfo   // channels that the viewer has closed, or was too slow for: not opened again
}

// Ready implements datachan.Handler.
func (v *dataViewer) Ready() {
	d := &v.subscriber.publisher.data
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, joined := d.viewers[v]; joined {
		v.grace = time.AfterFunc(openGrace, v.open)
	}
}

// open opens the publisher's channels.
func (v *dataViewer) open() {
	d := &v.subscriber.publisher.data
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, joined := d.viewers[v]; !joined {
		return
	}
	v.ready = true
	for _, label := range slices.Sorted(maps.Keys(d.channels)) {
		v.openLocked(d.channels[label])
	}
}

// openLocked gives the viewer a publisher's channel, by a channel of its own if there is one. It is false while the association is not there.
func (v *dataViewer) openLocked(c *dataChannel) bool {
	out := v.channels[c.Label]
	_, refused := v.refused[c.Label]
	switch {
	case refused || c.outs[v] != nil:
		return true
	case out != nil && !out.Ours():
		v.attachLocked(c, out)
		return true
	case !v.ready:
		return false
	}
	opened, err := v.association.Open(c.DataChannel)
	if err != nil { // too many, or the association has ended
		v.subscriber.session.log.Debug("data channel not opened", "err", err)
		return true
	}
	v.attachLocked(c, opened)
	return true
}

func (v *dataViewer) attachLocked(c *dataChannel, out *datachan.Channel) {
	v.channels[c.Label], c.outs[v] = out, out
	if c.last != nil {
		v.subscriber.worker.node.stats.data.sent(out, *c.last)
	}
}

func (v *dataViewer) stopLocked() {
	if v.grace != nil {
		v.grace.Stop()
	}
}

// Opened implements datachan.Handler: the viewer's own channel takes the place of ours.
func (v *dataViewer) Opened(c *datachan.Channel) bool {
	label, d := c.Parameters().Label, &v.subscriber.publisher.data
	d.mu.Lock()
	defer d.mu.Unlock()
	former := v.channels[label]
	if former != nil && !former.Ours() {
		return false
	}
	delete(v.refused, label)
	v.channels[label] = c
	if source := d.channels[label]; source != nil {
		v.attachLocked(source, c)
	}
	if former != nil {
		former.Close(datachan.ReasonReplaced)
	}
	return true
}

// Closed implements datachan.Handler.
func (v *dataViewer) Closed(c *datachan.Channel, reason datachan.Reason) {
	label, p := c.Parameters().Label, v.subscriber.publisher
	p.data.mu.Lock()
	if v.channels[label] == c {
		delete(v.channels, label)
		source := p.data.channels[label]
		if source != nil && source.outs[v] == c {
			delete(source.outs, v)
		}
		if source != nil && reason != datachan.ReasonSource && reason != datachan.ReasonAssociation {
			counts := c.Counts()
			v.refused[label] = DataChannelInfo{DataChannel: c.Parameters(), Messages: counts.MessagesOut, Bytes: counts.BytesOut, Closed: string(reason)}
		}
	}
	p.data.mu.Unlock()
	if reason == datachan.ReasonSlow {
		p.emitData(EventDataClosed, v.subscriber, c.Parameters(), reason)
	}
}

// Message implements datachan.Handler: it goes up to the publisher.
func (v *dataViewer) Message(c *datachan.Channel, binary bool, data []byte) {
	stats := &v.subscriber.worker.node.stats.data
	stats.received(len(data))
	if !v.maySend {
		stats.drop(dropNotPermitted, 1)
		return
	}
	_ = v.subscriber.publisher.DeliverUp(DataMessage{Channel: c.Parameters().Label, Binary: binary, Data: data, From: v.subscriber.id}) // it counts
}

// Dropped implements datachan.Handler.
func (v *dataViewer) Dropped(reason datachan.Drop, n int) {
	v.subscriber.worker.node.stats.data.drop(string(reason), n)
}

// info is a snapshot of the viewer's channels; false when it has none.
func (v *dataViewer) info() (SubscriberTrackInfo, bool) {
	d := &v.subscriber.publisher.data
	d.mu.Lock()
	defer d.mu.Unlock()
	info := SubscriberTrackInfo{Kind: kindData, Reason: "no-channels"}
	for _, label := range slices.Sorted(maps.Keys(v.channels)) {
		counts := v.channels[label].Counts()
		info.Channels = append(info.Channels, DataChannelInfo{DataChannel: v.channels[label].Parameters(), Messages: counts.MessagesOut, Bytes: counts.BytesOut})
		info.Packets += counts.MessagesOut
		info.Bytes += counts.BytesOut
		info.Reason = "open"
	}
	for _, label := range slices.Sorted(maps.Keys(v.refused)) {
		info.Channels = append(info.Channels, v.refused[label])
	}
	return info, len(info.Channels) > 0
}
