package udpbatch

import "sync/atomic"

// Counters is a snapshot of what a socket has moved and dropped since it was opened. A datagram is what one side sent; a
// message is what one entry of a system call carries, which under GSO and GRO is several datagrams of one address.
type Counters struct {
	ReceivedDatagrams, ReceivedMessages, ReceiveCalls uint64
	SentDatagrams, SentMessages, SendCalls            uint64

	// Truncated counts received messages that did not fit their buffer; the datagram that was cut is not delivered.
	Truncated uint64
	// DroppedBusy counts datagrams given up because the send buffer stayed full.
	DroppedBusy uint64
	// DroppedNoBuffers counts datagrams the kernel threw away for want of memory or queue room (ENOBUFS, ENOMEM).
	DroppedNoBuffers uint64
	// DroppedRefused counts datagrams the kernel refuses to send: unreachable or unfit address, firewall, oversize.
	DroppedRefused uint64
	// SegmentationRefused counts segmented messages that the kernel refused and that were sent again in pieces.
	SegmentationRefused uint64
}

// counters is the live form of Counters. It is added to once per batch, not once per datagram.
type counters struct {
	receivedDatagrams, receivedMessages, receiveCalls atomic.Uint64
	sentDatagrams, sentMessages, sendCalls            atomic.Uint64

	truncated, droppedBusy, droppedNoBuffers, droppedRefused, segmentationRefused atomic.Uint64
}

func (c *counters) snapshot() Counters {
	return Counters{
		ReceivedDatagrams:   c.receivedDatagrams.Load(),
		ReceivedMessages:    c.receivedMessages.Load(),
		ReceiveCalls:        c.receiveCalls.Load(),
		SentDatagrams:       c.sentDatagrams.Load(),
		SentMessages:        c.sentMessages.Load(),
		SendCalls:           c.sendCalls.Load(),
		Truncated:           c.truncated.Load(),
		DroppedBusy:         c.droppedBusy.Load(),
		DroppedNoBuffers:    c.droppedNoBuffers.Load(),
		DroppedRefused:      c.droppedRefused.Load(),
		SegmentationRefused: c.segmentationRefused.Load(),
	}
}

// addReceived counts one receive call that brought messages holding datagrams.
func (c *counters) addReceived(datagrams, messages int) {
	c.receivedDatagrams.Add(uint64(datagrams))
	c.receivedMessages.Add(uint64(messages))
	c.receiveCalls.Add(1)
}

// tally collects the outcome of one Write, so that the shared counters are touched once.
type tally struct {
	datagrams, messages, calls                    int
	busy, noBuffers, refused, segmentationRefused int
}

func (c *counters) addSent(t tally) {
	c.sentDatagrams.Add(uint64(t.datagrams))
	c.sentMessages.Add(uint64(t.messages))
	c.sendCalls.Add(uint64(t.calls))
	addUnlessZero(&c.droppedBusy, t.busy)
	addUnlessZero(&c.droppedNoBuffers, t.noBuffers)
	addUnlessZero(&c.droppedRefused, t.refused)
	addUnlessZero(&c.segmentationRefused, t.segmentationRefused)
}

func addUnlessZero(counter *atomic.Uint64, n int) {
	if n != 0 {
		counter.Add(uint64(n))
	}
}
