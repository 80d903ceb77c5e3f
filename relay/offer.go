package relay

import (
	"encoding/json"

	"rheomesh/internal/sdp"
	"rheomesh/sfu"
)

// version is the protocol that this node speaks. A peer's range must include it.
const version = 1

// Bounds of what one node may ask of another.
const (
	maxBodyBytes   = 512 << 10
	maxStreams     = 512 // publishers of one relay
	maxTracks      = 8   // of one publisher
	maxLayers      = 8   // of one track
	maxHopsAllowed = 16
	defaultMaxHops = 4
)

// handshake is the body of both messages of the exchange that makes a link. Terms is the legible part; its bytes, as they were sent, are what Noise authenticates.
type handshake struct {
	Terms json.RawMessage `json:"terms"`
	Noise []byte          `json:"noise"`
}

// offerTerms is what the initiator says.
type offerTerms struct {
	VersionMin int        `json:"version_min"`
	VersionMax int        `json:"version_max"`
	NodeID     sfu.NodeID `json:"node_id"`
	Epoch      string     `json:"epoch"` // drawn when the node started
	Nonce      string     `json:"nonce"` // drawn for this link
	Line       string     `json:"line"`  // the same for links that follow each other: a new one takes the place of the last
	Handle     uint32     `json:"handle"`
}

// answerTerms is what the responder says. Handle, in both, is where its sender takes the link's control messages.
type answerTerms struct {
	Version int        `json:"version"`
	NodeID  sfu.NodeID `json:"node_id"`
	Epoch   string     `json:"epoch"`
	Handle  uint32     `json:"handle"`
}

// streamSet is the request PUT …/streams: the whole set of one relay. What is not in it ends.
type streamSet struct {
	Relay        string        `json:"relay"`
	RemoteRouter sfu.RouterID  `json:"remote_router"`
	MaxHops      int           `json:"max_hops"`
	Streams      []streamOffer `json:"streams"`
}

// streamOffer describes one publisher.
type streamOffer struct {
	Key    string       `json:"key"` // names the publisher's present session on the sender
	Origin originTerms  `json:"origin"`
	Tracks []trackTerms `json:"tracks"`
	Data   uint32       `json:"data,omitempty"` // where the sender takes viewers' messages; 0 is nowhere
}

type originTerms struct {
	NodeID      sfu.NodeID      `json:"node_id"`
	RouterID    sfu.RouterID    `json:"router_id"`
	PublisherID sfu.PublisherID `json:"publisher_id"`
	Hops        []sfu.NodeID    `json:"hops"` // the sender is the last
}

type trackTerms struct {
	ID         sfu.TrackID     `json:"id"`
	Kind       string          `json:"kind"`
	Codecs     []codecTerms    `json:"codecs"`
	Extensions []extensionTerm `json:"extensions"`
	RIDs       []string        `json:"rids"`
}

type codecTerms struct {
	PT        uint8    `json:"pt"`
	Name      string   `json:"name"`
	ClockRate uint32   `json:"clock_rate"`
	Channels  int      `json:"channels,omitempty"`
	Fmtp      string   `json:"fmtp,omitempty"`
	Feedback  []string `json:"feedback,omitempty"`
}

type extensionTerm struct {
	ID  int    `json:"id"`
	URI string `json:"uri"`
}

// acceptance is the response to a streamSet, and rides in a pullOrder the other way.
type acceptance struct {
	Streams []streamAnswer `json:"streams"`
}

// streamAnswer says what became of one offered stream. Handles are by track and layer.
type streamAnswer struct {
	Key     string     `json:"key"`
	Status  string     `json:"status"` // "created", "exists", or a reason
	Handles [][]uint32 `json:"handles,omitempty"`
	Data    uint32     `json:"data,omitempty"` // where the sender takes the publisher's messages
}

// The good statuses of a streamAnswer.
const (
	statusCreated = "created"
	statusExists  = "exists"
)

// pullOrder is the request PUT …/pulls: what the sender wants, and the handles for what it was offered last time. The response is a streamSet.
type pullOrder struct {
	Relay      string            `json:"relay"`
	Router     sfu.RouterID      `json:"router"` // on the receiver
	Publishers []sfu.PublisherID `json:"publishers"`
	MaxHops    int               `json:"max_hops"`
	Accepted   acceptance        `json:"accepted"`
}

func describeTrack(t *sfu.Track) trackTerms {
	d := t.Describe()
	terms := trackTerms{ID: d.ID, Kind: d.Kind, RIDs: d.RIDs, Codecs: []codecTerms{}, Extensions: []extensionTerm{}}
	for _, c := range d.Codecs {
		terms.Codecs = append(terms.Codecs, codecTerms{PT: c.PT, Name: c.Name, ClockRate: c.ClockRate, Channels: c.Channels, Fmtp: c.Fmtp, Feedback: c.Feedback})
	}
	for _, e := range d.Extensions {
		terms.Extensions = append(terms.Extensions, extensionTerm{ID: e.ID, URI: e.URI})
	}
	return terms
}

func (t trackTerms) description() sfu.TrackDescription {
	d := sfu.TrackDescription{ID: t.ID, Kind: t.Kind, RIDs: t.RIDs}
	for _, c := range t.Codecs {
		d.Codecs = append(d.Codecs, sdp.Codec{PT: c.PT, Name: c.Name, ClockRate: c.ClockRate, Channels: c.Channels, Fmtp: c.Fmtp, Feedback: c.Feedback})
	}
	for _, e := range t.Extensions {
		d.Extensions = append(d.Extensions, sdp.Extension{ID: e.ID, URI: e.URI})
	}
	return d
}

// valid checks what JSON's types do not.
func (s streamSet) valid() bool {
	if !sfu.ValidID(s.Relay) || !sfu.ValidID(string(s.RemoteRouter)) || len(s.Streams) > maxStreams || s.MaxHops < 1 || s.MaxHops > maxHopsAllowed {
		return false
	}
	keys := map[string]bool{}
	for _, o := range s.Streams {
		if keys[o.Key] || !o.valid() {
			return false
		}
		keys[o.Key] = true
	}
	return true
}

func (o streamOffer) valid() bool {
	if o.Key == "" || len(o.Key) > 128 || !sfu.ValidID(string(o.Origin.PublisherID)) || !sfu.ValidID(string(o.Origin.NodeID)) || !sfu.ValidID(string(o.Origin.RouterID)) {
		return false
	}
	if len(o.Origin.Hops) == 0 || len(o.Origin.Hops) > maxHopsAllowed || len(o.Tracks) == 0 && o.Data == 0 || len(o.Tracks) > maxTracks || o.Data >= 1<<24 {
		return false
	}
	for _, hop := range o.Origin.Hops {
		if !sfu.ValidID(string(hop)) {
			return false
		}
	}
	for _, t := range o.Tracks {
		if !t.valid() {
			return false
		}
	}
	return true
}

func (t trackTerms) valid() bool {
	if len(t.ID) > 64 || t.Kind != "audio" && t.Kind != "video" || len(t.RIDs) == 0 || len(t.RIDs) > maxLayers || len(t.Codecs) == 0 || len(t.Codecs) > 128 || len(t.Extensions) > 32 {
		return false
	}
	for _, rid := range t.RIDs {
		if len(rid) > 64 {
			return false
		}
	}
	for _, c := range t.Codecs {
		if c.PT > 127 || len(c.Name) > 32 || len(c.Fmtp) > 4096 || len(c.Feedback) > 32 || c.Channels < 0 {
			return false
		}
	}
	for _, e := range t.Extensions {
		if e.ID < 1 || e.ID > 255 || len(e.URI) > 256 {
			return false
		}
	}
	return true
}

// valid checks what JSON's types do not.
func (p pullOrder) valid() bool {
	if !sfu.ValidID(p.Relay) || !sfu.ValidID(string(p.Router)) || len(p.Publishers) == 0 || len(p.Publishers) > maxStreams || p.MaxHops < 1 || p.MaxHops > maxHopsAllowed {
		return false
	}
	return len(p.Accepted.Streams) <= maxStreams
}
