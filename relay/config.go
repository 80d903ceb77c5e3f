package relay

import (
	"log/slog"
	"net/netip"
	"time"

	"rheomesh/sfu"
)

// Config configures a Node. Media is required.
type Config struct {
	Media *sfu.Node
	// Addr is "host:port" of the relay listener, TCP and UDP. An empty host means every address, "localhost" both loopback addresses; port 0 a free one.
	Addr string
	// Secret is what the nodes of a cluster share. Without one, relays reach and accept nodes of this machine only.
	Secret string
	// PreviousSecret is accepted too, and offered to peers that do not take Secret: for as long as a cluster changes its secret.
	PreviousSecret string
	// AllowedTargets are the networks that relays may reach; nil means DefaultTargets.
	AllowedTargets []netip.Prefix
	// DataDir keeps the relays over a restart; "" forgets them.
	DataDir string
	// DisableOffload sends and receives without the kernel's segmentation.
	DisableOffload bool
	// OnChange, unless nil, is told of each change of a relay's state. It must not block.
	OnChange func(Info)
	// Logger is nil for no logs.
	Logger *slog.Logger

	rekeyEvery time.Duration // tests make it short; 0 means the default
}

// What time drives.
const (
	nonsenseTime   = 10 * time.Second // a peer whose link brings nonsenseMost messages that mean nothing in this time is cut off
	tickInterval   = 20 * time.Millisecond
	keepAlive      = time.Second             // between two pings of a link that works
	missedAfter    = 1200 * time.Millisecond // a link silent for this long is pinged more often …
	urgentPing     = 100 * time.Millisecond  // … so that it goes on soon after its path does
	provePing      = 50 * time.Millisecond   // before the first answer
	downAfter      = 3 * time.Second         // a link silent for this long carries nothing
	freeAfter      = 10 * time.Second        // and is forgotten after this long
	probeEvery     = 300 * time.Millisecond  // a silent peer is asked over HTTP whether it has restarted
	demandRefresh  = 500 * time.Millisecond  // demand is repeated, since datagrams get lost
	demandRepeats  = 3                       // a change of it is repeated at once, in as many ticks
	demandLinger   = 2 * time.Second         // a layer that nobody watches any more goes on for this long
	layersEvery    = 400 * time.Millisecond  // less than what makes an unheard layer inactive
	rekeyInterval  = 2 * time.Minute
	requestTimeout = 4 * time.Second // of one request to a peer; an operator waits for 5 s
	proveTimeout   = 2 * time.Second // for the first answer over UDP
	resyncEvery    = 5 * time.Second // a relay that is in order is compared again
	retryEvery     = time.Second     // a relay with refused streams is
	firstBackoff   = 250 * time.Millisecond
	lastBackoff    = 1500 * time.Millisecond // so that a peer that was away for long is reached within 3 s of its return …
	connectTimeout = 2 * time.Second         // … also when what is sent to it meanwhile gets lost
)

// started is what steady counts from.
var started = time.Now()

// steady is a time in nanoseconds on a clock that nobody sets: when the machine's own jumps, no link falls silent and no repair is late.
func steady(t time.Time) int64 { return int64(t.Sub(started)) }

// Other bounds.
const (
	tableSlots     = 1 << 14 // streams that the node can receive at once
	nonsenseMost   = 100
	maxPending     = 64 // links that were agreed on and not heard of yet
	maxLinks       = 256
	maxRelays      = 1000 // orders of the node
	maxRepairs     = 4096 // numbers of a link that wait to be sent again
	burstPackets   = 256  // packets that one stream may send before the others have their turn
	batchDatagrams = 512
	batchBytes     = 1 << 20
	readMessages   = 64
)

func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.AllowedTargets == nil {
		c.AllowedTargets = DefaultTargets()
	}
	if c.rekeyEvery == 0 {
		c.rekeyEvery = rekeyInterval
	}
	return c
}
