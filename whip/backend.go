package whip

import (
	"rheomesh/internal/sdpfrag"
	"rheomesh/sfu"
)

// backend is what the handlers need of a node. It exists so that tests can drive every refusal and
// every event without media; node is the real one.
type backend interface {
	Draining() bool
	router(sfu.RouterID) (mediaRouter, error)
	// audience says whether the publisher is live, and how many subscribers it has; an unknown one is
	// neither live nor watched.
	audience(sfu.RouterID, sfu.PublisherID) (live bool, subscribers int)
	// listen starts a feed of the matching events; stop ends it.
	listen(match func(sfu.Event) bool) (feed <-chan sfu.Event, stop func())
}

// mediaRouter creates sessions.
type mediaRouter interface {
	publish(sfu.PublishRequest) (mediaSession, error)
	subscribe(sfu.SubscribeRequest) (mediaSession, error)
	offerSubscription(sfu.SubscribeRequest) (mediaSession, error)
}

// mediaSession is the part of sfu.Session that its HTTP resource uses.
type mediaSession interface {
	ID() sfu.SessionID
	Description() string
	ETag() string
	RemoteUfrag() string
	AddCandidates(sdpfrag.Fragment) error
	RestartICE(sdpfrag.Fragment) (string, error)
	Accept(answer []byte) error
	AwaitingAnswer() bool
	Close(sfu.CloseReason)
	Closed() (sfu.CloseReason, bool)
	Done() <-chan struct{}
	SelectLayer(sfu.LayerSelection) error
	Layers() map[int][]sfu.LayerInfo
	MediaIndex(mediaID string) (index int, kind string, ok bool)
}

var _ mediaSession = (*sfu.Session)(nil)

// node makes an sfu.Node a backend.
type node struct{ *sfu.Node }

func (n node) router(id sfu.RouterID) (mediaRouter, error) {
	r, err := n.Router(id)
	if err != nil {
		return nil, err
	}
	return nodeRouter{r}, nil
}

func (n node) audience(router sfu.RouterID, id sfu.PublisherID) (live bool, subscribers int) {
	r, err := n.Router(router)
	if err != nil {
		return false, 0
	}
	p, err := r.Publisher(id)
	if err != nil {
		return false, 0
	}
	return p.Live(), p.SubscriberCount()
}

func (n node) listen(match func(sfu.Event) bool) (feed <-chan sfu.Event, stop func()) {
	l := n.Listen(match)
	return l.C(), l.Close
}

// nodeRouter makes an sfu.Router a mediaRouter.
type nodeRouter struct{ *sfu.Router }

func (r nodeRouter) publish(req sfu.PublishRequest) (mediaSession, error) {
	return created(r.Publish(req))
}

func (r nodeRouter) subscribe(req sfu.SubscribeRequest) (mediaSession, error) {
	return created(r.Subscribe(req))
}

func (r nodeRouter) offerSubscription(req sfu.SubscribeRequest) (mediaSession, error) {
	return created(r.OfferSubscription(req))
}

// created keeps a nil *sfu.Session from becoming an interface that is not nil.
func created(s *sfu.Session, err error) (mediaSession, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}
