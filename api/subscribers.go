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
	State       string              `json:"state"`       // connecting, waiting, playing, paused
	RemoteAddr  string              `json:"remote_addr"` // "" before it connected
	Paused      bool                `json:"paused"`
	Tracks      []subscribedTrkView `json:"tracks"`
}

type subscribedTrkView struct {
	Kind         string     `json:"kind"`
	Codec        string     `json:"codec"`
	CurrentLayer *layerView `json:"current_layer"` // what is sent; null = nothing
	TargetLayer  *layerView `json:"target_layer"`  // what will be sent from its next keyframe on
	Reason       string     `json:"reason"`        // why it is this layer, or nothing
	Packets      uint64     `json:"packets"`
	Bytes        uint64     `json:"bytes"`
	NACKs        uint64     `json:"nacks"`
	PLIs         uint64     `json:"plis"`
	Skips        uint64     `json:"skips"`
}

// subscriberPatch is the body of PATCH: what is absent stays as it is.
type subscriberPatch struct {
	Paused *bool        `json:"paused"`
	Layer  *layerChoice `json:"layer"` // {} = automatic
}

// layerChoice asks for a layer: an encoding by its rid, and how far up its sub-layers; what is absent is automatic.
type layerChoice struct {
	RID      string `json:"rid"`
	Spatial  *int   `json:"spatial"`
	Temporal *int   `json:"temporal"`
}

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
			TargetLayer: viewLayerPointer(track.TargetLayer), Reason: track.Reason, Packets: track.Packets, Bytes: track.Bytes,
			NACKs: track.NACKs, PLIs: track.PLIs, Skips: track.Skips,
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

func (s *Server) showSubscriber(c echo.Context) error {
	sub, err := s.subscriber(c)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, viewSubscriber(sub))
}

// patchSubscriber selects a layer first, since only that can fail; a refused request changes nothing.
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
func (s *Server) kickSubscriber(c echo.Context) error {
	sub, err := s.subscriber(c)
	if err != nil {
		return err
	}
	sub.Close(sfu.CloseKicked)
	return c.NoContent(http.StatusNoContent)
}
