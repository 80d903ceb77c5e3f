package sfu

import (
	"fmt"

	"rheomesh/sfu/datachan"
)

// OpenDataChannel opens a channel of the publisher that is fed.
func (f *Feed) OpenDataChannel(c DataChannel) error {
	if f.closed.Load() {
		return fmt.Errorf("feed %s: %w", f.publisher.id, ErrClosed)
	}
	if err := f.publisher.openChannel(f, c); err != nil {
		return fmt.Errorf("feed %s: %w", f.publisher.id, err)
	}
	if f.closed.Load() { // in between, and Close may not have seen the channel
		f.publisher.releaseData(f)
	}
	return nil
}

// CloseDataChannel closes a channel that the feed has opened.
func (f *Feed) CloseDataChannel(label string) {
	f.publisher.closeChannel(f, label, datachan.ReasonPeer)
}

// AppendData hands a message of the publisher to all viewers and sinks. It never waits: a viewer that is too far behind loses its channel, as everywhere. It
// is false when the feed has no such channel open.
func (f *Feed) AppendData(m DataMessage) bool {
	return !f.closed.Load() && f.publisher.fanOut(f, m)
}

// dataUp implements feeder.
func (f *Feed) dataUp(m DataMessage) error {
	up, ok := f.source.(DataUpstream)
	if !ok {
		f.publisher.router.node.stats.data.drop(dropNoPublisher, 1)
		return ErrDataUndeliverable
	}
	up.DataUp(f, m)
	return nil
}
