package sfu

import (
	"errors"

	"rheomesh/sfu/datachan"
)

// The limits of data.
const (
	// MaxDataMessageBytes is the longest message: what browsers announce too.
	MaxDataMessageBytes = 256 << 10
	// MaxDataChannels is how many labels a publisher may have, and how many channels a client may open.
	MaxDataChannels = 16
	// MaxDataLabelBytes bounds a label and a protocol.
	MaxDataLabelBytes = datachan.MaxNameBytes
)

// What callers may branch on with errors.Is.
var (
	ErrDataChannelLimit  = errors.New("publisher has too many data channels")
	ErrDataTooLarge      = errors.New("data message is too large")
	ErrDataLabelInvalid  = errors.New("label is not UTF-8 of at most 256 bytes")
	ErrDataUndeliverable = errors.New("publisher takes no data")
)

// DataChannel describes one channel of a data publisher: what its creator chose (RFC 8832 section 5.1).
type DataChannel = datachan.Parameters

// DataMessage is one message. Data is immutable once handed over.
type DataMessage struct {
	Channel string // label
	Binary  bool
	Data    []byte
	From    SubscriberID // who sent it, in messages that go up to the publisher; empty in messages of the publisher and of the server
}

// DataSink reads a publisher's messages without being a viewer. Its methods are called in order, per channel, from one goroutine at a time; they must not
// block.
type DataSink interface {
	ChannelOpened(c DataChannel)
	ChannelClosed(label string)
	// Message takes a message. False means that there is no room: on a reliable channel the same message comes again, while up to sinkQueueBytes of
	// later ones wait behind it, and then the channel is closed for this sink; on any other channel the message is dropped and counted.
	Message(m DataMessage) bool
}

// DataUpstream is a FeedSource that takes viewers' messages on their way up to the publisher. DataUp must not block and may be called from any goroutine.
type DataUpstream interface{ DataUp(f *Feed, m DataMessage) }
