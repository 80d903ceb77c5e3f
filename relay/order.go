package relay

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"rheomesh/sfu"
)

// Mode says which way a relay carries.
type Mode string

// The modes.
const (
	ModePush Mode = "push" // from this node to the peer
	ModePull Mode = "pull" // from the peer to this node
)

// Order is what an operator asks for: carry these publishers.
type Order struct {
	Router       sfu.RouterID      `json:"router"` // on this node
	ID           string            `json:"id"`
	Peer         string            `json:"peer"` // "host:port" of the peer's relay listener
	RemoteRouter sfu.RouterID      `json:"remote_router"`
	Publishers   []sfu.PublisherID `json:"publishers"` // "*" stands for all, those included that come later
	Mode         Mode              `json:"mode"`
	MaxHops      int               `json:"max_hops"` // nodes that a publisher may come over; 0 means 4
}

func (o Order) withDefaults() Order {
	o.RemoteRouter = cmp.Or(o.RemoteRouter, o.Router)
	o.Mode = cmp.Or(o.Mode, ModePush)
	o.MaxHops = cmp.Or(o.MaxHops, defaultMaxHops)
	if len(o.Publishers) == 0 {
		o.Publishers = []sfu.PublisherID{"*"}
	}
	return o
}

// FieldError says which field of an order is wrong.
type FieldError struct{ Field, Message string }

func (e *FieldError) Error() string { return e.Field + ": " + e.Message }
func (e *FieldError) Unwrap() error { return ErrOrderInvalid }

func (o Order) check() error {
	switch {
	case !sfu.ValidID(o.ID):
		return &FieldError{"id", sfu.ErrIDInvalid.Error()}
	case o.Peer == "" || len(o.Peer) > 255:
		return &FieldError{"peer", "must be host:port of the peer's relay listener"}
	case !sfu.ValidID(string(o.RemoteRouter)):
		return &FieldError{"remote_router", sfu.ErrIDInvalid.Error()}
	case o.Mode != ModePush && o.Mode != ModePull:
		return &FieldError{"mode", "must be push or pull"}
	case o.MaxHops < 1 || o.MaxHops > maxHopsAllowed:
		return &FieldError{"max_hops", fmt.Sprintf("must be 1 to %d", maxHopsAllowed)}
	case len(o.Publishers) > maxStreams:
		return &FieldError{"publishers", fmt.Sprintf("must not be more than %d", maxStreams)}
	}
	for _, p := range o.Publishers {
		if p != "*" && !sfu.ValidID(string(p)) {
			return &FieldError{"publishers", sfu.ErrIDInvalid.Error()}
		}
	}
	return nil
}

// same reports whether two orders ask for the same.
func (o Order) same(other Order) bool {
	return o.Router == other.Router && o.ID == other.ID && o.Peer == other.Peer && o.RemoteRouter == other.RemoteRouter && o.Mode == other.Mode &&
		o.MaxHops == other.MaxHops && slices.Equal(o.Publishers, other.Publishers)
}

// State says how a relay is.
type State string

// The states.
const (
	StateConnecting State = "connecting" // there is no link yet
	StateActive     State = "active"     // what should flow can
	StateStalled    State = "stalled"    // the link is silent; it goes on by itself
	StateDraining   State = "draining"   // one of the nodes is about to stop
	StateFailed     State = "failed"     // it is tried again, and the reason says what is wrong
	StateClosed     State = "closed"     // it was deleted
)

// Info is a snapshot of a relay.
type Info struct {
	Order
	State     State
	Reason    string // of a closed set; empty when all is well
	LinkID    string // empty without a link
	CreatedAt time.Time
	Streams   []StreamInfo
}

// StreamInfo is a snapshot of one layer of a relayed publisher.
type StreamInfo struct {
	PublisherID      sfu.PublisherID
	TrackID          sfu.TrackID
	RID              string
	State            string // "flowing", "idle" for want of viewers, or why it does not exist there
	Wanted           bool
	Packets, Bytes   uint64
	Lost, Recovered  uint64 // on the hop: asked for again, and sent again or received after all
	KeyframeRequests uint64
}

func flowState(wanted bool) string {
	if wanted {
		return "flowing"
	}
	return "idle"
}

func (s *outStream) info() StreamInfo {
	wanted := s.wanted.Load()
	return StreamInfo{
		PublisherID: s.publisher, TrackID: s.track, RID: s.layer.RID(), State: flowState(wanted), Wanted: wanted, Packets: s.packets.Load(), Bytes: s.bytes.Load(),
		Lost: s.lost.Load(), Recovered: s.recovered.Load(), KeyframeRequests: s.keyframes.Load(),
	}
}

// infos lists what comes from the peer, by publisher.
func (in *inbound) infos() []StreamInfo {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.link.receive.Lock()
	defer in.link.receive.Unlock()
	list := []StreamInfo{}
	for _, f := range in.feeds {
		for _, streams := range f.streams {
			for _, s := range streams {
				wanted := s.wanted.Load()
				list = append(list, StreamInfo{
					PublisherID: f.feed.Publisher().ID(), TrackID: s.track, RID: s.rid, State: flowState(wanted), Wanted: wanted,
					Packets: s.packets, Bytes: s.bytes, Lost: s.recovered, Recovered: s.recovered, KeyframeRequests: s.keyframes.Load(),
				})
			}
		}
		if data := f.data.Load(); data != nil {
			list = data.appendInfo(list, f.feed.Publisher().ID())
		}
	}
	sortStreams(list)
	return list
}

func sortStreams(list []StreamInfo) {
	slices.SortFunc(list, func(a, b StreamInfo) int {
		return cmp.Or(cmp.Compare(a.PublisherID, b.PublisherID), cmp.Compare(a.TrackID, b.TrackID), cmp.Compare(a.RID, b.RID))
	})
}

// LinkInfo is a snapshot of a link.
type LinkInfo struct {
	ID         string
	PeerID     sfu.NodeID
	Initiator  bool
	State      string // "connecting", "up" or "down"
	RemoteAddr string
	RoundTrip  time.Duration
	CreatedAt  time.Time
	In, Out    int    // streams
	PathBytes  int    // the largest datagram that was seen to reach the peer whole
	Oversized  uint64 // packets that were not sent, since no datagram of their size reaches the peer whole
	Secret     string // which cluster secret it rests on: "current" or "previous"
}

func (l *link) info() LinkInfo {
	info := LinkInfo{ID: l.id, PeerID: l.peer, Initiator: l.initiator, State: "connecting", RoundTrip: l.roundTrip(), CreatedAt: l.createdAt, Secret: l.rests(), PathBytes: int(l.pathSize.Load()), Oversized: l.oversized.Load()}
	if at := l.control.at.Load(); at != nil {
		info.State, info.RemoteAddr = "down", at.addr.String()
	}
	if l.up.Load() {
		info.State = "up"
	}
	l.streams.Lock()
	defer l.streams.Unlock()
	info.In, info.Out = len(l.in), len(l.out)
	return info
}
