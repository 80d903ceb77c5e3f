package datachan

import (
	"errors"
	"io"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/pion/sctp"
)

// What Channel.Send returns.
var (
	ErrClosed   = errors.New("datachan: channel is closed")
	ErrTooLarge = errors.New("datachan: message is larger than the client takes")
	ErrSlow     = errors.New("datachan: client is too far behind")
)

// Reason says why a channel was closed, in words of a closed set.
type Reason string

// The reasons of a channel's end.
const (
	ReasonPeer        Reason = "peer"        // the client closed it
	ReasonAssociation Reason = "association" // the client's association or session has ended
	ReasonSlow        Reason = "slow"        // more than MaxQueuedBytes waited for the client on a reliable channel
	ReasonProtocol    Reason = "protocol"    // the client broke RFC 8832
	ReasonSource      Reason = "source"      // what it carried is gone: the publisher closed its channel, or left
	ReasonRefused     Reason = "refused"     // the Handler does not want it
	ReasonReplaced    Reason = "replaced"    // another channel of the label took its place
)

// turn is what the pump has to do with a channel.
type turn uint8

const (
	idle    turn = iota // nothing
	ready               // it is in Association.ready
	stalled             // SCTP holds enough, and will say when it holds less
)

// Channel is one data channel. Its methods are safe for concurrent use.
type Channel struct {
	association *Association
	stream      *sctp.Stream
	id          uint16
	theirs      bool // the client has opened it

	// The reader's until announced, then immutable.
	parameters Parameters

	// Guarded by Association.mu.
	queue     queue
	turn      turn
	announced bool   // the Handler knows it
	ending    Reason // no more is queued; the pump closes it once what is queued has gone
	closed    bool

	window window // the pump's alone

	in, out, inBytes, outBytes atomic.Uint64
}

// Parameters are what the channel's creator chose.
func (c *Channel) Parameters() Parameters { return c.parameters }

// ID is the SCTP stream's number.
func (c *Channel) ID() uint16 { return c.id }

// Ours reports whether Open has made the channel.
func (c *Channel) Ours() bool { return !c.theirs }

// Counts are the messages and bytes that came from the client and went to it.
type Counts struct{ MessagesIn, BytesIn, MessagesOut, BytesOut uint64 }

// Counts reads the counters.
func (c *Channel) Counts() Counts {
	return Counts{MessagesIn: c.in.Load(), BytesIn: c.inBytes.Load(), MessagesOut: c.out.Load(), BytesOut: c.outBytes.Load()}
}

// NegotiatedLabel stands for the label of a channel that was negotiated out of band, of which only the stream's number shows on the wire.
func NegotiatedLabel(id uint16) string { return "#" + strconv.Itoa(int(id)) }

// NegotiatedID is the stream's number in a NegotiatedLabel.
func NegotiatedID(label string) (id uint16, ok bool) {
	if len(label) < 2 || label[0] != '#' {
		return 0, false
	}
	n, err := strconv.ParseUint(label[1:], 10, 16)
	return uint16(n), err == nil && n < maxStreams && NegotiatedLabel(uint16(n)) == label
}

// Send queues a message, which must not be changed any more. When the queue is full, a reliable channel is closed with ReasonSlow: a gap in it would break
// its promise. On any other the oldest messages make room.
func (c *Channel) Send(binary bool, data []byte) error {
	a, m := c.association, message{data: data, binary: binary}
	if len(data) > a.config.MaxMessageBytes {
		return ErrTooLarge
	}
	if c.parameters.MaxLifetime != nil {
		m.at = time.Now()
	}
	a.mu.Lock()
	if c.closed || c.ending != "" {
		a.mu.Unlock()
		return ErrClosed
	}
	var dropped int
	var err error
	switch {
	case !c.parameters.Reliable():
		dropped = c.queue.pushOut(m)
	case c.queue.room(m):
		c.queue.push(m)
	default:
		dropped, err = c.queue.len()+1, ErrSlow
		c.queue.clear()
		c.ending = ReasonSlow
	}
	woken := a.readyLocked(c, c.turn == idle || err != nil)
	a.mu.Unlock()
	if woken {
		a.awake()
	}
	a.dropped(DropSlow, dropped)
	return err
}

// Close closes the channel once what is queued has gone to SCTP. Handler.Closed follows.
func (c *Channel) Close(reason Reason) {
	a := c.association
	a.mu.Lock()
	if c.closed || c.ending != "" {
		a.mu.Unlock()
		return
	}
	c.ending = reason
	woken := a.readyLocked(c, c.turn == idle)
	a.mu.Unlock()
	if woken {
		a.awake()
	}
}

// shut closes the channel now. It does so once, for the first reason.
func (c *Channel) shut(reason Reason) {
	a := c.association
	a.mu.Lock()
	if c.closed {
		a.mu.Unlock()
		return
	}
	if c.ending != "" {
		reason = c.ending
	}
	c.closed = true
	lost := c.queue.len()
	c.queue.clear()
	announced := c.announced
	a.mu.Unlock()
	_ = c.stream.Close() // resets our direction (RFC 8831 section 6.7); fails only when the association has ended
	a.dropped(DropClosed, lost)
	if announced {
		a.config.Handler.Closed(c, reason)
	}
}

// messagesPerTurn is after how many messages the pump goes on to the next channel.
const messagesPerTurn = 32

// flush hands queued messages to SCTP. It runs on the pump.
func (c *Channel) flush() {
	for range messagesPerTurn {
		if c.window.full(int(c.stream.BufferedAmount())) && c.stall() {
			return
		}
		m, ok := c.next()
		if !ok {
			return
		}
		c.write(m)
	}
	a := c.association
	a.mu.Lock()
	c.turn = idle
	a.readyLocked(c, true)
	a.mu.Unlock()
}

// next takes the next message; when there is none it ends the channel's turn, and the channel if that was asked for.
func (c *Channel) next() (message, bool) {
	a, expired := c.association, 0
	a.mu.Lock()
	if life := c.parameters.MaxLifetime; life != nil && c.queue.len() > 0 {
		expired = c.queue.expire(time.Now().Add(-*life))
	}
	m, ok := c.queue.pop()
	reason := c.ending
	if !ok {
		c.turn = idle
	}
	a.mu.Unlock()
	a.dropped(DropExpired, expired)
	if !ok && reason != "" {
		c.shut(reason)
	}
	return m, ok
}

// stall waits for SCTP to hold half of what it holds now; false when it does already.
func (c *Channel) stall() bool {
	a, half := c.association, c.stream.BufferedAmount()/2
	a.mu.Lock()
	c.turn = stalled
	slow := c.ending == ReasonSlow
	a.mu.Unlock()
	if slow { // what SCTP holds may never go
		c.shut(ReasonSlow)
		return true
	}
	c.stream.SetBufferedAmountLowThreshold(half)
	if c.stream.BufferedAmount() > half {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.turn != stalled { // SCTP has said so in between
		return true
	}
	c.turn = ready
	return false
}

// unstall is called by SCTP, under its locks.
func (c *Channel) unstall() {
	a := c.association
	a.mu.Lock()
	woken := a.readyLocked(c, c.turn == stalled)
	a.mu.Unlock()
	if woken {
		a.awake()
	}
}

// emptyMessage goes with the identifiers of empty messages, since SCTP carries none (RFC 8831 section 6.6).
var emptyMessage = []byte{0}

func (c *Channel) write(m message) {
	identifier, data := sctp.PayloadTypeWebRTCString, m.data
	switch {
	case m.binary && len(data) == 0:
		identifier, data = sctp.PayloadTypeWebRTCBinaryEmpty, emptyMessage
	case m.binary:
		identifier = sctp.PayloadTypeWebRTCBinary
	case len(data) == 0:
		identifier, data = sctp.PayloadTypeWebRTCStringEmpty, emptyMessage
	}
	if _, err := c.stream.WriteSCTP(data, identifier); err != nil {
		c.association.dropped(DropClosed, 1)
		return
	}
	c.window.add(len(data))
	c.out.Add(1)
	c.outBytes.Add(uint64(len(m.data)))
}

// read hands the client's messages to the Handler until the stream is reset or the association ends. It is a goroutine of its own.
func (c *Channel) read() {
	defer c.association.forget(c)
	for {
		data, identifier, err := c.receive()
		switch {
		case errors.Is(err, io.EOF): // the client's direction was reset; ours follows (RFC 8831 section 6.7)
			c.shut(ReasonPeer)
			return
		case err != nil:
			c.shut(ReasonAssociation)
			return
		}
		c.handle(data, identifier)
	}
}

// receive waits for a message. Asked with no room, SCTP tells the length and keeps the message.
func (c *Channel) receive() ([]byte, sctp.PayloadProtocolIdentifier, error) {
	var data []byte
	for {
		n, identifier, err := c.stream.ReadSCTP(data)
		if !errors.Is(err, io.ErrShortBuffer) {
			return data[:n], identifier, err
		}
		data = make([]byte, n)
	}
}

func (c *Channel) handle(data []byte, identifier sctp.PayloadProtocolIdentifier) {
	a := c.association
	a.mu.Lock()
	closed, announced := c.closed, c.announced
	a.mu.Unlock()
	switch {
	case closed: // what was under way when we closed it
	case !announced:
		c.begin(data, identifier)
	case identifier == sctp.PayloadTypeWebRTCDCEP:
		c.control(data)
	default:
		c.deliver(data, identifier)
	}
}

// begin takes the first message of a stream that the client has begun.
func (c *Channel) begin(data []byte, identifier sctp.PayloadProtocolIdentifier) {
	if identifier != sctp.PayloadTypeWebRTCDCEP {
		// Nothing tells what was negotiated out of band; reliable and ordered is what most choose, and loses nothing.
		c.parameters = Parameters{Label: NegotiatedLabel(c.id), Ordered: true}
		if c.announce() {
			c.deliver(data, identifier)
		}
		return
	}
	parameters, err := parseOpen(data)
	if err != nil {
		c.association.dropped(DropProtocol, 1)
		c.shut(ReasonProtocol)
		return
	}
	c.parameters = parameters
	if c.announce() {
		_, _ = c.stream.WriteSCTP([]byte{dcepACK}, sctp.PayloadTypeWebRTCDCEP)
		c.commit()
	}
}

// announce tells the Handler of the channel, and refuses it if the Handler does.
func (c *Channel) announce() bool {
	a := c.association
	a.mu.Lock()
	c.announced = true
	a.mu.Unlock()
	if a.config.Handler.Opened(c) {
		return true
	}
	a.mu.Lock()
	c.announced = false
	a.mu.Unlock()
	a.dropped(DropRefused, 1)
	c.shut(ReasonRefused)
	return false
}

// control takes a message of DCEP on an open channel. Until the client has acknowledged it, a channel of ours is reliable and ordered (RFC 8832 section 6).
func (c *Channel) control(data []byte) {
	if len(data) == 1 && data[0] == dcepACK {
		c.commit()
		return
	}
	c.association.dropped(DropProtocol, 1)
}

func (c *Channel) commit() {
	kind, value := c.parameters.reliability()
	c.stream.SetReliabilityParams(!c.parameters.Ordered, kind, value)
}

// deliver hands a user message on (RFC 8831 section 8).
func (c *Channel) deliver(data []byte, identifier sctp.PayloadProtocolIdentifier) {
	a, binary := c.association, false
	switch identifier {
	case sctp.PayloadTypeWebRTCString:
	case sctp.PayloadTypeWebRTCBinary:
		binary = true
	case sctp.PayloadTypeWebRTCStringEmpty:
		data = nil
	case sctp.PayloadTypeWebRTCBinaryEmpty:
		data, binary = nil, true
	default: // the partial ones of old drafts, and unknown ones
		a.dropped(DropProtocol, 1)
		return
	}
	if len(data) > MaxMessageBytes {
		a.dropped(DropTooLarge, 1)
		return
	}
	c.in.Add(1)
	c.inBytes.Add(uint64(len(data)))
	a.config.Handler.Message(c, binary, data)
}
