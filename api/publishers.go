package api

import (
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"rheomesh/sfu"
)

type publisherView struct {
	ID          sfu.PublisherID `json:"id"`
	RouterID    sfu.RouterID    `json:"router_id"`
	State       string          `json:"state"` // live, idle
	Origin      originView      `json:"origin"`
	Tracks      []trackView     `json:"tracks"`
	Subscribers int             `json:"subscribers"`
}

type originView struct {
	NodeID      sfu.NodeID      `json:"node_id"`
	RouterID    sfu.RouterID    `json:"router_id"`
	PublisherID sfu.PublisherID `json:"publisher_id"`
	Hops        []sfu.NodeID    `json:"hops"`
}

type trackView struct {
	ID     sfu.TrackID `json:"id"`
	Kind   string      `json:"kind"`
	Codec  string      `json:"codec"`
	Layers []layerView `json:"layers"`
}

type layerView struct {
	RID            string `json:"rid"`
	SSRC           uint32 `json:"ssrc"`
	Active         bool   `json:"active"`
	Width          int    `json:"width"`
	Height         int    `json:"height"`
	BitrateBps     int    `json:"bitrate_bps"`
	Packets        uint64 `json:"packets"`
	PacketsLost    uint64 `json:"packets_lost"`
	SpatialLayers  int    `json:"spatial_layers"`
	TemporalLayers int    `json:"temporal_layers"`
}

func viewPublisher(p *sfu.Publisher) publisherView {
	info := p.Info()
	v := publisherView{
		ID: info.ID, RouterID: info.RouterID, State: info.State, Subscribers: info.Subscribers, Tracks: []trackView{},
		Origin: originView{
			NodeID: info.Origin.NodeID, RouterID: info.Origin.RouterID, PublisherID: info.Origin.PublisherID,
			Hops: append([]sfu.NodeID{}, info.Origin.Hops...),
		},
	}
	for _, track := range info.Tracks {
		tv := trackView{ID: track.ID, Kind: track.Kind, Codec: track.Codec, Layers: []layerView{}}
		for _, layer := range track.Layers {
			tv.Layers = append(tv.Layers, viewLayer(layer))
		}
		v.Tracks = append(v.Tracks, tv)
	}
	return v
}

func viewLayer(l sfu.LayerInfo) layerView {
	return layerView{
		RID: l.RID, SSRC: l.SSRC, Active: l.Active, Width: l.Width, Height: l.Height, BitrateBps: l.BitrateBps,
		Packets: l.Packets, PacketsLost: l.PacketsLost, SpatialLayers: l.SpatialLayers, TemporalLayers: l.TemporalLayers,
	}
}

func (s *Server) listPublishers(c echo.Context) error {
	r, err := s.router(c)
	if err != nil {
		return err
	}
	p, err := paginate(c, r.Publishers(), func(p *sfu.Publisher) string { return string(p.ID()) }, viewPublisher)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, p)
}

// publisher returns the publisher in the path, if the sender may administer its router.
func (s *Server) publisher(c echo.Context) (*sfu.Publisher, error) {
	r, err := s.router(c)
	if err != nil {
		return nil, err
	}
	id := c.Param("publisher")
	if !sfu.ValidID(id) {
		return nil, fmt.Errorf("publisher: %w", sfu.ErrIDInvalid)
	}
	return r.Publisher(sfu.PublisherID(id))
}

func (s *Server) showPublisher(c echo.Context) error {
	p, err := s.publisher(c)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, viewPublisher(p))
}

// kickPublisher ends the session that feeds the publisher. Viewers stay and wait for the next one.
func (s *Server) kickPublisher(c echo.Context) error {
	p, err := s.publisher(c)
	if err != nil {
		return err
	}
	p.Close(sfu.CloseKicked)
	return c.NoContent(http.StatusNoContent)
}
