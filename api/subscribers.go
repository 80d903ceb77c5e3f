package api

import (
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"rheomesh/sfu"
)

type subscriberView struct {
	ID          sfu.SubscriberID    `json:"id"`
	RouterID    sfu.RouterID        `json:"router_id"`
	PublisherID sfu.PublisherID     `json:"publisher_id"`
	State       string              `json:"state"`       // connecting, waiting, playing, paused; closed in the event that it left
	RemoteAddr  string              `json:"remote_addr"` // "" before it connected
	Paused      bool                `json:"paused"`
	Tracks      []subscribedTrkView `json:"tracks"`
} // @name Subscriber

type subscribedTrkView struct {
	Kind         string     `json:"kind"`
	Codec        string     `json:"codec"`
	CurrentLayer *layerView `json:"current_layer" extensions:"x-nullable"` // what is sent; null = nothing
	TargetLayer  *layerView `json:"target_layer" extensions:"x-nullable"`  // what will be sent from its next keyframe on
	Spatial      int        `json:"spatial"`                               // the highest spatial sub-layer that the viewer is to get
	Temporal     int        `json:"temporal"`                              // the highest temporal sub-layer that the viewer is to get
	Reason       string     `json:"reason"`                                // why it is this layer, or nothing
	EstimateBps  int        `json:"estimate_bps"`                          // what the viewer's link carries; 0 while there is nothing to choose
	Packets      uint64     `json:"packets"`
	Bytes        uint64     `json:"bytes"`
	NACKs        uint64     `json:"nacks"`
	PLIs         uint64     `json:"plis"`
	Skips        uint64     `json:"skips"`
	// Channels of a data track.
	Channels []channelView `json:"channels,omitempty"`
} // @name SubscribedTrack

// subscriberPatch is the body of PATCH: what is absent stays as it is.
type subscriberPatch struct {
	Paused *bool        `json:"paused,omitempty"`
	Layer  *layerChoice `json:"layer,omitempty"` // {} = automatic
} // @name SubscriberChanges

// layerChoice asks for a layer: an encoding by its rid, and how far up its sub-layers; what is absent is automatic.
type layerChoice struct {
	RID      string `json:"rid,omitempty"`
	Spatial  *int   `json:"spatial,omitempty"`
	Temporal *int   `json:"temporal,omitempty"`
} // @name LayerChoice

func viewSubscriber(sub *sfu.Subscriber) subscriberView {
	info := sub.Info()
	v := subscriberView{
		ID: info.ID, RouterID: info.RouterID, PublisherID: info.PublisherID, State: info.State, Paused: info.Paused,
		Tracks: []subscribedTrkView{},
	}
	if info.RemoteAddr.IsValid() {
		v.RemoteAddr = info.RemoteAddr.String()
	}
	for _, track := range info.Tracks {
		v.Tracks = append(v.Tracks, subscribedTrkView{
			Kind: track.Kind, Codec: track.Codec, CurrentLayer: viewLayerPointer(track.CurrentLayer),
			TargetLayer: viewLayerPointer(track.TargetLayer), Spatial: track.Spatial, Temporal: track.Temporal,
			Reason: track.Reason, EstimateBps: track.EstimateBps, Packets: track.Packets, Bytes: track.Bytes,
			NACKs: track.NACKs, PLIs: track.PLIs, Skips: track.Skips, Channels: viewChannels(track.Channels),
		})
	}
	return v
}

func viewLayerPointer(l *sfu.LayerInfo) *layerView {
	if l == nil {
		return nil
	}
	v := viewLayer(*l)
	return &v
}

// listSubscribers shows the viewers of a router.
//
//	@Summary	List the subscribers of a router
//	@ID			listSubscribers
//	@Tags		subscribers
//	@Security	Bearer
//	@Param		router		path	string	true	"Router id"	minlength(1)	maxlength(64)
//	@Param		limit	query	integer	false	"Items of a page"	minimum(1)	maximum(1000)	default(100)
//	@Param		cursor	query	string	false	"next_cursor of the page before"
//	@Produce	json
//	@Success	200	{object}	page[subscriberView]
//	@Failure	400	{object}	Problem	"The request cannot be understood"
//	@Failure	401	{object}	Problem	"A credential is needed"
//	@Failure	403	{object}	Problem	"The credential does not permit this"
//	@Failure	404	{object}	Problem	"There is no such resource"
//	@Failure	429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Router		/api/v1/routers/{router}/subscribers [get]
func (s *Server) listSubscribers(c echo.Context) error {
	r, err := s.router(c)
	if err != nil {
		return err
	}
	p, err := paginate(c, r.Subscribers(), func(sub *sfu.Subscriber) string { return string(sub.ID()) }, viewSubscriber)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, p)
}

// subscriber returns the subscriber in the path, if the sender may administer its router.
func (s *Server) subscriber(c echo.Context) (*sfu.Subscriber, error) {
	r, err := s.router(c)
	if err != nil {
		return nil, err
	}
	id := c.Param("subscriber")
	if !sfu.ValidID(id) {
		return nil, fmt.Errorf("subscriber: %w", sfu.ErrIDInvalid)
	}
	return r.Subscriber(sfu.SubscriberID(id))
}

// showSubscriber shows one viewer.
//
//	@Summary	Show a subscriber
//	@ID			showSubscriber
//	@Tags		subscribers
//	@Security	Bearer
//	@Param		router		path	string	true	"Router id"	minlength(1)	maxlength(64)
//	@Param		subscriber	path	string	true	"Subscriber id"	minlength(1)	maxlength(64)
//	@Produce	json
//	@Success	200	{object}	subscriberView
//	@Failure	400	{object}	Problem	"The request cannot be understood"
//	@Failure	401	{object}	Problem	"A credential is needed"
//	@Failure	403	{object}	Problem	"The credential does not permit this"
//	@Failure	404	{object}	Problem	"There is no such resource"
//	@Failure	429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Router		/api/v1/routers/{router}/subscribers/{subscriber} [get]
func (s *Server) showSubscriber(c echo.Context) error {
	sub, err := s.subscriber(c)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, viewSubscriber(sub))
}

// patchSubscriber selects a layer first, since only that can fail; a refused request changes nothing.
//
//	@Summary	Pause a subscriber, or choose its layer
//	@ID			patchSubscriber
//	@Tags		subscribers
//	@Security	Bearer
//	@Param		router		path	string	true	"Router id"	minlength(1)	maxlength(64)
//	@Param		subscriber	path	string	true	"Subscriber id"	minlength(1)	maxlength(64)
//	@Accept		json
//	@Produce	json
//	@Param		changes	body	subscriberPatch	true	"What is absent stays"
//	@Success	200	{object}	subscriberView
//	@Failure	400	{object}	Problem	"The request cannot be understood"
//	@Failure	401	{object}	Problem	"A credential is needed"
//	@Failure	403	{object}	Problem	"The credential does not permit this"
//	@Failure	404	{object}	Problem	"There is no such resource"
//	@Failure	413	{object}	Problem	"The body is too large"
//	@Failure	415	{object}	Problem	"The body has the wrong type"
//	@Failure	429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Router		/api/v1/routers/{router}/subscribers/{subscriber} [patch]
func (s *Server) patchSubscriber(c echo.Context) error {
	sub, err := s.subscriber(c)
	if err != nil {
		return err
	}
	var body subscriberPatch
	if err := s.readJSON(c, &body); err != nil {
		return err
	}
	if body.Layer != nil {
		if err := sub.SelectLayer(body.Layer.selection()); err != nil {
			return err
		}
	}
	if body.Paused != nil {
		sub.SetPaused(*body.Paused)
	}
	return c.JSON(http.StatusOK, viewSubscriber(sub))
}

func (l layerChoice) selection() sfu.LayerSelection {
	return sfu.LayerSelection{RID: l.RID, Spatial: l.Spatial, Temporal: l.Temporal}
}

// kickSubscriber ends the viewer's session.
//
//	@Summary	End a subscriber's session
//	@ID			kickSubscriber
//	@Tags		subscribers
//	@Security	Bearer
//	@Param		router		path	string	true	"Router id"	minlength(1)	maxlength(64)
//	@Param		subscriber	path	string	true	"Subscriber id"	minlength(1)	maxlength(64)
//	@Success	204	"The session is ended"
//	@Failure	400	{object}	Problem	"The request cannot be understood"
//	@Failure	401	{object}	Problem	"A credential is needed"
//	@Failure	403	{object}	Problem	"The credential does not permit this"
//	@Failure	404	{object}	Problem	"There is no such resource"
//	@Failure	429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Router		/api/v1/routers/{router}/subscribers/{subscriber} [delete]
func (s *Server) kickSubscriber(c echo.Context) error {
	sub, err := s.subscriber(c)
	if err != nil {
		return err
	}
	sub.Close(sfu.CloseKicked)
	return c.NoContent(http.StatusNoContent)
}
