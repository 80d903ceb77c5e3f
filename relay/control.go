package relay

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"rheomesh/relay/wire"
	"rheomesh/sfu"
)

// controlSender sends the link's control messages, each as a datagram of its own. It is safe for concurrent use.
type controlSender struct {
	at atomic.Pointer[target] // the peer's proven address; nil before

	mu     sync.Mutex // guards the fields below
	key    *wire.Key
	remote wire.Handle
	seq    uint64
	buffer [wire.MaxPayload + 2*wire.Overhead]byte
}

// target is an address of the peer with the socket that reaches it.
type target struct {
	addr netip.AddrPort
	via  *socket
}

// send sends to the peer's proven address; before there is one it does nothing.
func (c *controlSender) send(t wire.Type, message []byte) {
	if to := c.at.Load(); to != nil {
		c.sendTo(t, message, to.addr, to.via)
	}
}

// sendTo sends to an address that the peer was heard from or was dialled at.
func (c *controlSender) sendTo(t wire.Type, message []byte, to netip.AddrPort, via *socket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	buffer := c.buffer[:]
	if need := len(message) + wire.Overhead; need > len(buffer) {
		buffer = make([]byte, need) // a padded ping, which is rare
	}
	n := c.key.Seal(buffer, wire.Header{Type: t, Handle: c.remote, Seq: c.seq}, message)
	c.seq++
	_ = via.conn.WriteTo(buffer[:n], to) // lost like any datagram; what matters is said again
}

func (c *controlSender) rekey() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	next, err := c.key.Next()
	if err == nil {
		c.key = next
	}
	return err
}

// message takes a control message. receive is held.
func (l *link) message(h wire.Header, plain []byte, from netip.AddrPort, via *socket, now time.Time) error {
	switch h.Type {
	case wire.TypePing:
		return l.pinging(plain, from, via, now)
	case wire.TypePong:
		p, err := wire.ParseProbe(plain, false)
		if err == nil {
			l.answered(p, from, via, now)
		}
		return err
	case wire.TypeNACK:
		return l.missed(plain, now)
	case wire.TypeDemand:
		return l.demanded(h, plain)
	case wire.TypeKeyframe:
		return l.keyframesWanted(plain, now)
	case wire.TypeLayers:
		return l.described(plain, now)
	case wire.TypeNews:
		l.heardNews()
		return nil
	case wire.TypeGoAway:
		return l.goneAway(plain)
	default:
		return wire.ErrMessage
	}
}

// pinging answers with no more bytes than came.
func (l *link) pinging(plain []byte, from netip.AddrPort, via *socket, now time.Time) error {
	p, err := wire.ParseProbe(plain, true)
	if err != nil {
		return err
	}
	l.gaps.Expect(p.Next, steady(now))
	l.control.sendTo(wire.TypePong, l.probeMessage(p.Nonce, p.Time), from, via)
	return nil
}

// missed lets the worker send again what the peer asks for.
func (l *link) missed(plain []byte, now time.Time) error {
	seqs, err := wire.ParseNACK(nil, plain)
	if err != nil {
		return err
	}
	l.node.counters.nacksIn.Add(uint64(len(seqs)))
	l.tap.Do(func() { l.sender.resend(seqs, steady(now)) })
	return nil
}

// demanded applies which layers the peer's viewers watch; an older demand that was overtaken says nothing any more.
func (l *link) demanded(h wire.Header, plain []byte) error {
	flags, err := wire.ParseFlags(l.flags[:0], plain)
	l.flags = flags
	if err != nil || h.Seq < l.demandSeq {
		return err
	}
	l.demandSeq = h.Seq
	l.streams.Lock()
	defer l.streams.Unlock()
	for _, f := range flags {
		if s := l.out[f.Handle]; s != nil {
			s.want(f.Set)
		}
	}
	return nil
}

func (l *link) keyframesWanted(plain []byte, now time.Time) error {
	flags, err := wire.ParseFlags(l.flags[:0], plain)
	l.flags = flags
	if err != nil {
		return err
	}
	var wanted []*outStream
	l.streams.Lock()
	for _, f := range flags {
		if s := l.out[f.Handle]; s != nil {
			wanted = append(wanted, s)
		}
	}
	l.streams.Unlock()
	l.node.counters.keyframesIn.Add(uint64(len(wanted)))
	for _, s := range wanted { // without the lock: the layer may come from another link, whose lock the request takes
		s.keyframes.Add(1)
		s.layer.RequestKeyframe(now)
	}
	return nil
}

// described notes what the peer's layers look like.
func (l *link) described(plain []byte, now time.Time) error {
	states, err := wire.ParseLayerStates(l.states[:0], plain)
	l.states = states
	if err != nil {
		return err
	}
	l.streams.Lock()
	defer l.streams.Unlock()
	for _, state := range states {
		if s := l.in[state.Handle]; s != nil {
			s.layer.Describe(sfu.LayerInfo{
				Active: state.Active, Width: int(state.Width), Height: int(state.Height), BitrateBps: int(state.BitrateBps),
				SpatialLayers: int(state.Spatial), TemporalLayers: int(state.Temporal),
			}, now)
		}
	}
	return nil
}

// goneAway: 0 says that the peer drains, 1 that the link is over.
func (l *link) goneAway(plain []byte) error {
	if len(plain) != 1 || plain[0] > 1 {
		return wire.ErrMessage
	}
	if plain[0] == 1 {
		l.over.Store(true) // the clock closes it: that takes locks which come before receive
		l.node.poke()
		return nil
	}
	if !l.draining.Swap(true) {
		l.node.linkChanged(l)
	}
	return nil
}

// tellDemand tells the peer which layers are watched: at once and a few times when that changes, and now and then so that nothing stays wrong.
func (l *link) tellDemand(now time.Time) {
	l.streams.Lock()
	flags := make([]wire.Flag, 0, len(l.in))
	changed := false
	for handle, s := range l.in {
		changed = s.reckon(now) || changed
		flags = append(flags, wire.Flag{Handle: handle, Set: s.wanted.Load()})
	}
	l.streams.Unlock()
	if changed {
		l.told = demandRepeats
	}
	if len(flags) == 0 || l.told == 0 && now.Sub(l.toldAt) < demandRefresh {
		return
	}
	l.told, l.toldAt = max(l.told-1, 0), now
	l.sendFlags(wire.TypeDemand, flags)
}

func (l *link) sendFlags(t wire.Type, flags []wire.Flag) {
	const perMessage = wire.MaxPayload / 4
	for len(flags) > 0 {
		n := min(len(flags), perMessage)
		var message []byte
		for _, f := range flags[:n] {
			message = wire.AppendFlag(message, f)
		}
		l.control.send(t, message)
		flags = flags[n:]
	}
}

// tellKeyframes asks for the keyframes that viewers want.
func (l *link) tellKeyframes() {
	l.streams.Lock()
	var flags []wire.Flag
	for handle := range l.keyframes {
		flags = append(flags, wire.Flag{Handle: handle, Set: true})
	}
	clear(l.keyframes)
	l.streams.Unlock()
	l.node.counters.keyframesOut.Add(uint64(len(flags)))
	l.sendFlags(wire.TypeKeyframe, flags)
}

// tellLayers describes the layers of tracks that have several, so that the peer can choose among those that it does not get.
func (l *link) tellLayers(now time.Time) {
	if now.Sub(l.layersAt) < layersEvery {
		return
	}
	l.layersAt = now
	l.streams.Lock()
	var message []byte
	var messages [][]byte
	for _, s := range l.out {
		if !s.several {
			continue
		}
		if len(message)+16 > wire.MaxPayload {
			messages, message = append(messages, message), nil
		}
		info := s.layer.Info(now)
		message = wire.AppendLayerState(message, wire.LayerState{
			Handle: s.handle, Active: info.Active, Width: uint16(info.Width), Height: uint16(info.Height), BitrateBps: uint32(info.BitrateBps),
			Spatial: uint8(info.SpatialLayers), Temporal: uint8(info.TemporalLayers),
		})
	}
	l.streams.Unlock()
	for _, m := range append(messages, message) {
		if len(m) > 0 {
			l.control.send(wire.TypeLayers, m)
		}
	}
}

// tellDraining tells the peer once that this node drains.
func (l *link) tellDraining() {
	if draining := l.node.media.Draining(); draining && !l.wentAway {
		l.wentAway = true
		l.control.send(wire.TypeGoAway, []byte{0})
	}
}
