package relay

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"rheomesh/relay/wire"
	"rheomesh/sfu"
)

// link is the secure UDP association with one peer, in one role: who initiated it makes the requests over HTTP. Media may flow both ways.
//
// Four owners share its state: the worker of its tap (sender), the readers (behind receive), the clock (behind clockMu), and whoever sends control messages (behind
// control.mu). Locks are taken in the order receive, clockMu, streams, control.mu.
type link struct {
	node      *Node
	log       *slog.Logger
	id        string
	peer      sfu.NodeID
	peerEpoch string
	line      string // of the initiator, here the responder
	nonce     string // of the handshake
	answer    []byte // to the handshake, for the case that it is repeated
	initiator bool
	dialled   netip.AddrPort // the peer's relay listener; zero in the responder
	receiver  *receiver      // of control messages to us
	auth      *authority
	sender    *sender
	tap       *sfu.Tap
	createdAt time.Time

	up         atomic.Bool   // heard from lately, over an address that was proven
	draining   atomic.Bool   // the peer drains
	over       atomic.Bool   // the peer has ended the link
	pathLimit  atomic.Int64  // bytes of the largest datagram that may pass the path
	pathSize   atomic.Int64  // … that has passed
	oversized  atomic.Uint64 // packets beyond pathLimit, which were not sent
	heard      atomic.Int64
	rtt        atomic.Int64
	closeOnce  sync.Once
	cause      error         // why it was closed; written before done is closed
	done       chan struct{} // closed by close
	proven     chan struct{} // closed once the peer's address is proven the first time
	provenBy   sync.Once
	probing    atomic.Bool
	reproving  atomic.Bool
	restsOn    atomic.Pointer[clusterKey] // the secret that the peer has proved last
	requesting sync.Mutex                 // held over one request

	control controlSender

	// receive guards what the readers own.
	receive     sync.Mutex
	opener      *wire.Opener
	mediaSeen   wire.Window
	controlSeen wire.Window
	gaps        wire.Gaps
	heardFrom   netip.AddrPort
	demandSeq   uint64 // number of the newest demand
	due         [256]uint64
	lostSoFar   uint64
	scratch     []byte
	flags       []wire.Flag
	states      []wire.LayerState
	asked       time.Time // when NACKs were last looked at
	nonsense    int       // messages of the peer that say nothing, since
	nonsenseAt  time.Time

	// clockMu guards what the clock owns.
	clockMu   sync.Mutex
	probes    [16]probe // newest pings
	path      wire.Path
	pinged    time.Time
	candidate *target // where the peer may be
	probed    time.Time
	toldAt    time.Time // demand
	told      int       // repeats of the newest demand that are due
	layersAt  time.Time
	rekeyed   time.Time
	followed  bool // the peer has answered a ping of the present phase
	reproved  time.Time
	wentAway  bool

	// streams guards the tables below, which change rarely.
	streams   sync.Mutex
	in        map[wire.Handle]*inStream
	out       map[wire.Handle]*outStream
	inbound   map[string]*inbound
	outbound  map[string]*outbound
	keyframes map[wire.Handle]struct{} // to be asked for
	onNews    map[string]func()        // of relays that want to know when the peer's streams have changed
	ended     bool
}

// probe is a ping that may be answered.
type probe struct {
	nonce uint64
	at    time.Time
	to    netip.AddrPort
	size  int // of the datagram, when it was padded
}

// newLink makes a link; register and start must follow. secrets are of the direction from the initiator and of that to it.
func (n *Node) newLink(peer sfu.NodeID, epoch string, initiator bool, secrets [2][]byte, remote wire.Handle, r *receiver) (*link, error) {
	send, receive := secrets[0], secrets[1]
	if !initiator {
		send, receive = receive, send
	}
	l := &link{
		node: n, id: "link-" + rand.Text()[:12], peer: peer, peerEpoch: epoch, initiator: initiator, receiver: r, createdAt: time.Now(),
		done: make(chan struct{}), proven: make(chan struct{}), rekeyed: time.Now(),
		in: map[wire.Handle]*inStream{}, out: map[wire.Handle]*outStream{}, inbound: map[string]*inbound{}, outbound: map[string]*outbound{},
		keyframes: map[wire.Handle]struct{}{}, onNews: map[string]func(){},
	}
	l.log = n.log.With("link_id", l.id, "peer_id", peer)
	var err error
	if l.opener, err = wire.NewOpener(receive); err != nil {
		return nil, err
	}
	if l.auth, err = newAuthority(secrets); err != nil {
		return nil, err
	}
	if l.control.key, err = wire.NewKey(send); err != nil {
		return nil, err
	}
	l.control.remote = remote
	key, err := wire.NewKey(send)
	if err != nil {
		return nil, err
	}
	l.sender = newSender(l, key)
	l.heard.Store(steady(time.Now()))
	l.pathKnown()
	return l, nil
}

// begin makes the link known and its datagrams welcome.
func (l *link) begin() error {
	n := l.node
	n.mu.Lock()
	if n.closed || len(n.links) >= maxLinks {
		n.mu.Unlock()
		return fmt.Errorf("links of node: %w", ErrCapacity)
	}
	l.tap = n.media.NewTap(l.sender)
	l.receiver.link = l
	n.links[l.id] = l
	n.mu.Unlock()
	n.publish(l.receiver)
	l.log.Info("link begins", "initiator", l.initiator)
	n.poke()
	return nil
}

// close ends the link and what it carries, and does not wait: the rest is done on a goroutine of the node. The first cause counts.
func (l *link) close(cause error) {
	l.closeOnce.Do(func() {
		l.cause = cause
		l.up.Store(false)
		n := l.node
		n.mu.Lock()
		delete(n.links, l.id)
		n.mu.Unlock()
		n.release(l.receiver)
		close(l.done)
		finish := func() {
			l.finish(cause)
			n.linkChanged(l)
		}
		if !n.tasks.start(finish) {
			finish()
		}
	})
}

func (l *link) finish(cause error) {
	l.streams.Lock()
	l.ended = true
	ins, outs := slices.Collect(maps.Values(l.inbound)), slices.Collect(maps.Values(l.outbound))
	clear(l.inbound)
	clear(l.outbound)
	l.streams.Unlock()
	for _, in := range ins {
		in.close()
	}
	for _, out := range outs {
		out.close()
	}
	if l.tap != nil {
		l.tap.Close()
	}
	l.log.Info("link ended", "reason", reasonOf(cause), "seconds", int(time.Since(l.createdAt).Seconds()))
}

func (l *link) roundTrip() time.Duration { return time.Duration(l.rtt.Load()) }

// silence is how long the peer has not been heard.
func (l *link) silence(now time.Time) time.Duration {
	return time.Duration(steady(now) - l.heard.Load())
}

// batchReceived looks after what arrivals drive, once per batch. receive is held.
func (l *link) batchReceived(now time.Time) {
	l.heard.Store(steady(now))
	if at := l.control.at.Load(); at != nil && at.addr == l.heardFrom && !l.up.Load() { // its address was proven before the silence
		l.rise(at.addr)
	}
	if l.gaps.Pending() > 0 {
		l.askAgain(now)
	}
	l.countLost()
}

// askAgain asks for the numbers that are missing. receive is held.
func (l *link) askAgain(now time.Time) {
	if now.Sub(l.asked) < time.Millisecond {
		return
	}
	l.asked = now
	due := l.gaps.Due(steady(now), l.due[:0])
	l.node.counters.nacksOut.Add(uint64(len(due)))
	for len(due) > 0 {
		message, taken := wire.AppendNACK(l.scratch[:0], due)
		l.scratch, due = message, due[taken:]
		l.control.send(wire.TypeNACK, message)
	}
}

// heardNonsense notes a message that the peer has sealed and that is none. A peer that goes on so is broken, and its link ends. receive is held.
func (l *link) heardNonsense(now time.Time) {
	if now.Sub(l.nonsenseAt) > nonsenseTime {
		l.nonsense, l.nonsenseAt = 0, now
	}
	if l.nonsense++; l.nonsense == nonsenseMost {
		l.log.Warn("link ends: its peer sends messages that mean nothing")
		l.over.Store(true) // the clock closes it: that takes locks which come before receive
		l.node.poke()
	}
}

func (l *link) countLost() {
	if lost := l.gaps.Lost; lost != l.lostSoFar {
		l.node.counters.lost.Add(lost - l.lostSoFar)
		l.lostSoFar = lost
	}
}

// movedTo notes that the peer's datagrams come from a new address. It gets nothing there before it has answered a challenge. receive is held.
func (l *link) movedTo(from netip.AddrPort, via *socket, now time.Time) {
	l.heardFrom = from
	l.clockMu.Lock()
	l.candidate = &target{addr: from, via: via}
	l.clockMu.Unlock()
	l.ping(from, via, now)
}

// ping challenges an address.
func (l *link) ping(to netip.AddrPort, via *socket, now time.Time) {
	l.clockMu.Lock()
	l.pinged = now
	l.clockMu.Unlock()
	l.challenge(probe{nonce: randomNonce(), at: now, to: to}, via)
}

func (l *link) challenge(p probe, via *socket) {
	l.clockMu.Lock()
	copy(l.probes[1:], l.probes[:])
	l.probes[0] = p
	l.clockMu.Unlock()
	message := l.probeMessage(p.nonce, uint64(steady(p.at)))
	if padding := p.size - wire.Overhead - len(message); padding > 0 {
		message = append(message, make([]byte, padding)...)
	}
	l.control.sendTo(wire.TypePing, message, p.to, via)
}

// tryPath finds out how large a datagram may be that reaches the peer.
func (l *link) tryPath(now time.Time) {
	at := l.control.at.Load()
	l.clockMu.Lock()
	size := l.path.Due(now, l.roundTrip())
	l.pathKnown()
	l.clockMu.Unlock()
	if size > 0 {
		l.challenge(probe{nonce: randomNonce(), at: now, to: at.addr, size: size}, at.via)
	}
}

// pathKnown publishes what is known of the path. clockMu is held.
func (l *link) pathKnown() {
	l.pathSize.Store(int64(l.path.Size()))
	l.pathLimit.Store(int64(l.path.Limit()))
}

func (l *link) probeMessage(nonce, at uint64) []byte {
	return wire.Probe{Nonce: nonce, Time: at, Next: l.sender.used.Load()}.Append(nil)
}

func randomNonce() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return binary.BigEndian.Uint64(b[:])
}

// answered takes a pong: the address it came from is the peer's, if it repeats a challenge that was sent there. receive is held.
func (l *link) answered(p wire.Probe, from netip.AddrPort, via *socket, now time.Time) {
	l.clockMu.Lock()
	var found *probe
	for i := range l.probes {
		if l.probes[i].nonce == p.Nonce && l.probes[i].to == from && p.Nonce != 0 {
			found = &l.probes[i]
			break
		}
	}
	if found == nil {
		l.clockMu.Unlock()
		return
	}
	rtt := now.Sub(found.at)
	l.followed = l.followed || found.at.After(l.rekeyed)
	if found.size > 0 {
		l.path.Passed(found.size, now)
		l.pathKnown()
	}
	*found = probe{}
	l.clockMu.Unlock()
	if smoothed := l.roundTrip(); smoothed != 0 {
		rtt = smoothed + (rtt-smoothed)/8 // RFC 6298 section 2
	}
	l.rtt.Store(max(int64(rtt), 1))
	l.gaps.SetRoundTrip(rtt)
	if at := l.control.at.Load(); at == nil || at.addr != from {
		l.control.at.Store(&target{addr: from, via: via})
	}
	l.rise(from)
	l.provenBy.Do(func() {
		close(l.proven)
		l.node.supersede(l)
	})
}

// rise notes that the link works.
func (l *link) rise(addr netip.AddrPort) {
	if !l.up.Swap(true) {
		l.log.Info("link is up", "remote_addr", addr, "rtt_milliseconds", l.roundTrip().Milliseconds())
		l.node.linkChanged(l)
		l.settleFeeds()
	}
}

// settleFeeds lets viewers of what the peer feeds wait while the link is down, and go on when it is back. It does not wait, as its callers hold locks that come later than those it
// needs.
func (l *link) settleFeeds() {
	l.node.tasks.start(func() {
		l.streams.Lock()
		ins := slices.Collect(maps.Values(l.inbound))
		l.streams.Unlock()
		for _, in := range ins {
			in.settle()
		}
	})
}

// tick looks after what time drives. It runs on the clock only.
func (l *link) tick(now time.Time) {
	if l.over.Load() {
		l.close(errLinkGone)
		return
	}
	silence := l.silence(now)
	if silence > freeAfter {
		l.close(fmt.Errorf("peer is silent: %w", ErrUnreachable))
		return
	}
	if silence > downAfter && l.up.Swap(false) {
		l.log.Warn("link is down", "silent_seconds", int(silence.Seconds()))
		l.node.linkChanged(l)
		l.settleFeeds()
	}
	l.keepAlive(now, silence)
	l.receive.Lock()
	if l.gaps.Pending() > 0 {
		l.askAgain(now)
		l.countLost()
	}
	l.receive.Unlock()
	if l.up.Load() {
		l.tellDemand(now)
		l.tellKeyframes()
		l.tellLayers(now)
		l.tellDraining()
		if silence < missedAfter {
			l.tryPath(now)
		}
		if l.sender.owing.Load() {
			l.tap.Do(func() { l.sender.repair(steady(now)) })
		}
	}
	if l.initiator && silence > missedAfter && now.Sub(l.probed) >= probeEvery {
		l.probed = now
		l.node.probe(l)
	}
	if l.initiator && l.up.Load() && now.Sub(l.reproved) >= reproveEvery && l.rests() != "current" {
		l.reproved = now
		l.moveToCurrent()
	}
	if l.rekeyDue(now) {
		l.rekey(now)
	}
}

// keepAlive pings as often as the link's state asks for.
func (l *link) keepAlive(now time.Time, silence time.Duration) {
	to, every := l.control.at.Load(), keepAlive
	l.clockMu.Lock()
	switch {
	case to == nil:
		every, to = provePing, l.candidate
	case silence > missedAfter || !l.up.Load():
		every = urgentPing
	}
	due := to != nil && now.Sub(l.pinged) >= every
	l.clockMu.Unlock()
	if due {
		l.ping(to.addr, to.via, now)
	}
}

// rekeyDue reports whether it is time for the next phase, and both flows and the peer are in the present one: who missed a whole phase could not follow any more.
func (l *link) rekeyDue(now time.Time) bool {
	l.clockMu.Lock()
	defer l.clockMu.Unlock()
	return now.Sub(l.rekeyed) >= l.node.config.rekeyEvery && l.followed && !l.sender.rekeying.Load()
}

// rekey begins the next phase in our direction. The peer follows by itself, and a ping shows that it has.
func (l *link) rekey(now time.Time) {
	l.clockMu.Lock()
	l.rekeyed, l.followed = now, false
	l.clockMu.Unlock()
	if err := l.control.rekey(); err != nil {
		l.close(err)
		return
	}
	l.sender.rekeying.Store(true)
	l.tap.Do(l.sender.rekey)
	if at := l.control.at.Load(); at != nil {
		l.ping(at.addr, at.via, now.Add(1)) // after rekeyed, so that its answer counts
	}
}

// sayBye tells the peer that the link is over, so that it need not wait for the silence.
func (l *link) sayBye() {
	if l.up.Load() {
		l.control.send(wire.TypeGoAway, []byte{1})
	}
}
