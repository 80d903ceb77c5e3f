package datachan

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/pion/logging"
	"github.com/pion/sctp"
	"golang.org/x/time/rate"
)

const (
	// MaxMessageBytes is the longest message that is taken from a client; longer ones are dropped.
	MaxMessageBytes = 256 << 10
	// receiveBufferBytes is the window for a client: what may wait for a reader or for the rest of a message. Four of the longest messages.
	receiveBufferBytes = 4 * MaxMessageBytes
	// maxReassembly bounds the chunks that may wait in a stream, each of which costs a hundred bytes or more however short it is. A reader that is held up
	// for a moment must not reach it.
	maxReassembly = 1 << 15
	// maxStreams is how many numbers of streams there are; the last is reserved (RFC 8832 section 6).
	maxStreams = 65535
	// maxChannels is how many channels of an association may exist, those included that the client has not reset after we closed them.
	maxChannels = 160
	// maxRefused is how many refused streams a client may leave half open. Its association is aborted beyond.
	maxRefused = 1024
	// A client may open so many channels at once, and so many a second for long.
	openBurst     = 64
	openPerSecond = 16
)

// Drop says why a message was dropped, or a channel refused.
type Drop string

// The reasons of drops, a closed set.
const (
	DropTooLarge Drop = "too-large" // longer than MaxMessageBytes, or than the receiver takes
	DropSlow     Drop = "slow"      // the receiver was too far behind
	DropExpired  Drop = "expired"   // its lifetime was over before SCTP could take it
	DropClosed   Drop = "closed"    // its channel was closed
	DropProtocol Drop = "protocol"  // it breaks RFC 8831 or RFC 8832
	DropRefused  Drop = "refused"   // a channel that was refused
)

// Errors of Open.
var (
	ErrNotReady = errors.New("datachan: association is not established")
	ErrStreams  = errors.New("datachan: too many channels")
)

// Handler learns what the client does. Its methods are called from the channels' readers, from the pump and from Run, without locks; they must not block.
type Handler interface {
	// Ready says that the association is established: Open works from now on.
	Ready()
	// Opened says that the client has opened a channel. False refuses it.
	Opened(c *Channel) bool
	// Message takes a message, which is the Handler's. Those of one channel come one after the other.
	Message(c *Channel, binary bool, data []byte)
	// Closed says that a channel has ended that was Opened, or that Open has made.
	Closed(c *Channel, reason Reason)
	// Dropped counts.
	Dropped(reason Drop, n int)
}

// Config describes an association.
type Config struct {
	// DTLSClient is our role below, which decides the numbers of the streams that we open (RFC 8832 section 6).
	DTLSClient bool
	// MaxMessageBytes is the longest message that the client takes.
	MaxMessageBytes int
	// MaxOpened is how many channels the client may open.
	MaxOpened int
	Handler   Handler
	// LoggerFactory is handed to pion/sctp.
	LoggerFactory logging.LoggerFactory
}

// Association is a client's channels. It costs little until it runs.
type Association struct {
	config   Config
	openings *rate.Limiter
	wake     chan struct{}  // capacity 1: one note suffices, however much there is to do; never closed
	done     chan struct{}  // closed when Run ends
	running  sync.WaitGroup // readers and pump

	refused []*sctp.Stream // Run's alone

	// mu guards the fields below and what Channel says. It is never held across a call of pion/sctp, which calls back under its own locks.
	mu       sync.Mutex
	sctp     *sctp.Association // nil until established and after the end
	channels map[uint16]*Channel
	opened   int // of channels, by the client
	ready    []*Channel
}

// New makes an association that waits for Run.
func New(config Config) *Association {
	return &Association{
		config: config, openings: rate.NewLimiter(openPerSecond, openBurst), channels: map[uint16]*Channel{}, wake: make(chan struct{}, 1),
		done: make(chan struct{}),
	}
}

// Run runs the association over link, of which each Read and Write is one SCTP packet, until the link or the association ends, and returns when nothing of it
// runs any more. initiate sends the first packet; otherwise the client does. It may be called once.
func (a *Association) Run(link net.Conn, initiate bool) error {
	association, err := a.establish(link, initiate)
	if err != nil {
		close(a.done)
		return fmt.Errorf("establish SCTP: %w", err)
	}
	a.mu.Lock()
	a.sctp = association
	a.mu.Unlock()
	a.running.Go(a.pump)
	a.config.Handler.Ready()
	for {
		stream, err := association.AcceptStream()
		if err != nil {
			break
		}
		a.accept(association, stream)
	}
	a.mu.Lock()
	a.sctp = nil
	a.mu.Unlock()
	close(a.done)
	err = association.Close()
	a.running.Wait()
	return err
}

func (a *Association) establish(link net.Conn, initiate bool) (*sctp.Association, error) {
	options := []sctp.AssociationOption{
		sctp.WithNetConn(packetLink{link}), sctp.WithLoggerFactory(a.config.LoggerFactory),
		sctp.WithMaxReceiveBufferSize(receiveBufferBytes), sctp.WithMaxMessageSize(MaxMessageBytes), sctp.WithMaxReassemblyQueueEntries(maxReassembly),
		sctp.WithEnableZeroChecksum(true),  // DTLS has authenticated the packet (RFC 9653)
		sctp.WithEnableInterleaving(false), // browsers have it off
	}
	if initiate {
		client := make([]sctp.ClientOption, len(options))
		for i, o := range options {
			client[i] = o
		}
		return sctp.ClientWithOptions(client...)
	}
	server := make([]sctp.ServerOption, len(options))
	for i, o := range options {
		server[i] = o
	}
	return sctp.ServerWithOptions(server...)
}

// packetLink tells the end of the link from the reset of a stream, for both of which pion/sctp would say io.EOF.
type packetLink struct{ net.Conn }

func (l packetLink) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	if errors.Is(err, io.EOF) {
		err = net.ErrClosed
	}
	return n, err
}

// accept takes a stream that the client has begun, or refuses it.
func (a *Association) accept(association *sctp.Association, stream *sctp.Stream) {
	c := &Channel{association: a, stream: stream, id: stream.StreamIdentifier(), theirs: true}
	a.mu.Lock()
	if known := a.channels[c.id]; known != nil && (known.stream == nil || known.stream == stream) {
		a.mu.Unlock() // Open takes it
		return
	}
	fits := a.opened < a.config.MaxOpened && len(a.channels) < maxChannels && a.openings.Allow()
	if fits {
		a.opened++
		a.channels[c.id] = c
		a.running.Go(c.read)
	}
	a.mu.Unlock()
	if !fits {
		a.refuse(association, stream)
		return
	}
	stream.OnBufferedAmountLow(c.unstall)
}

// refuse resets a stream. Those stay in memory which the client does not reset in turn.
func (a *Association) refuse(association *sctp.Association, stream *sctp.Stream) {
	a.dropped(DropRefused, 1)
	_ = stream.Close()
	if len(a.refused) == maxRefused {
		open := a.refused[:0]
		for _, s := range a.refused {
			if s.State() != sctp.StreamStateClosed {
				open = append(open, s)
			}
		}
		clear(a.refused[len(open):])
		a.refused = open
	}
	if len(a.refused) == maxRefused {
		association.Abort("too many streams") // AcceptStream ends then
		return
	}
	a.refused = append(a.refused, stream)
}

// Open opens a channel in-band (RFC 8832 section 6). One with a NegotiatedLabel gets the number in it when that is free: for a client that has negotiated the
// channel itself the message that opens it says nothing new.
func (a *Association) Open(p Parameters) (*Channel, error) {
	c, association, err := a.reserve(p)
	if err != nil {
		return nil, fmt.Errorf("open %q: %w", p.Label, err)
	}
	stream, err := association.OpenStream(c.id, sctp.PayloadTypeWebRTCBinary)
	if err == nil {
		_, err = stream.WriteSCTP(marshalOpen(p), sctp.PayloadTypeWebRTCDCEP)
	}
	a.mu.Lock()
	if err == nil && a.sctp == nil {
		err = ErrNotReady
	}
	if err != nil {
		delete(a.channels, c.id)
		a.mu.Unlock()
		return nil, fmt.Errorf("open %q: %w", p.Label, err)
	}
	c.stream, c.announced = stream, true
	a.running.Go(c.read)
	a.mu.Unlock()
	stream.OnBufferedAmountLow(c.unstall)
	return c, nil
}

// reserve finds a number for a new channel.
func (a *Association) reserve(p Parameters) (*Channel, *sctp.Association, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.sctp == nil:
		return nil, nil, ErrNotReady
	case len(a.channels) >= maxChannels:
		return nil, nil, ErrStreams
	}
	id, ok := NegotiatedID(p.Label)
	if _, taken := a.channels[id]; !ok || taken {
		id = a.freeIDLocked()
	}
	c := &Channel{association: a, id: id, parameters: p}
	a.channels[id] = c
	return c, a.sctp, nil
}

// freeIDLocked finds the lowest free number: even ones are the DTLS client's, odd ones the server's (RFC 8832 section 6).
func (a *Association) freeIDLocked() uint16 {
	var id uint16
	if !a.config.DTLSClient {
		id = 1
	}
	for ; a.channels[id] != nil; id += 2 { // there are fewer channels than numbers
	}
	return id
}

// forget frees the number of a channel whose stream is reset in both directions.
func (a *Association) forget(c *Channel) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.channels[c.id] == c {
		delete(a.channels, c.id)
	}
	if c.theirs {
		a.opened--
	}
}

// pump hands queued messages to SCTP, by turns. It is a goroutine of its own, and ends with done.
func (a *Association) pump() {
	for {
		select {
		case <-a.wake:
		case <-a.done:
			return
		}
		for c := a.take(); c != nil; c = a.take() {
			c.flush()
		}
	}
}

func (a *Association) take() *Channel {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.ready) == 0 || a.sctp == nil {
		return nil
	}
	c := a.ready[0]
	a.ready = append(a.ready[:0], a.ready[1:]...)
	return c
}

// readyLocked gives a channel a turn if wanted, unless it waits for one already. It reports whether the pump must be woken.
func (a *Association) readyLocked(c *Channel, wanted bool) bool {
	if !wanted || c.turn == ready || c.stream == nil {
		return false
	}
	c.turn = ready
	a.ready = append(a.ready, c)
	return len(a.ready) == 1
}

func (a *Association) awake() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

func (a *Association) dropped(reason Drop, n int) {
	if n > 0 {
		a.config.Handler.Dropped(reason, n)
	}
}
