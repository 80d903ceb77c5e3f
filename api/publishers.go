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
} // @name Publisher

type originView struct {
	NodeID      sfu.NodeID      `json:"node_id"`
	RouterID    sfu.RouterID    `json:"router_id"`
	PublisherID sfu.PublisherID `json:"publisher_id"`
	Hops        []sfu.NodeID    `json:"hops"`
} // @name Origin

type trackView struct {
	ID     sfu.TrackID `json:"id"`
	Kind   string      `json:"kind"`
	Codec  string      `json:"codec"`
	Layers []layerView `json:"layers"`
	// How loud the audio is, smoothed, from -127 for silence to 0; absent when the client does not tell.
	AudioLevelDBov *int `json:"audio_level_dbov,omitempty" minimum:"-127" maximum:"0"`
	// Channels of a data track.
	Channels []channelView `json:"channels,omitempty"`
} // @name Track

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
} // @name Layer

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
		tv := trackView{
			ID: track.ID, Kind: track.Kind, Codec: track.Codec, Layers: []layerView{}, AudioLevelDBov: track.AudioLevelDBov, Channels: viewChannels(track.Channels),
		}
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

// listPublishers shows those that are live or waited for.
//
//	@Summary	List the publishers of a router
//	@ID			listPublishers
//	@Tags		publishers
//	@Security	Bearer
//	@Param		router		path	string	true	"Router id"	minlength(1)	maxlength(64)
//	@Param		limit	query	integer	false	"Items of a page"	minimum(1)	maximum(1000)	default(100)
//	@Param		cursor	query	string	false	"next_cursor of the page before"
//	@Produce	json
//	@Success	200	{object}	page[publisherView]
//	@Failure	400	{object}	Problem	"The request cannot be understood"
//	@Failure	401	{object}	Problem	"A credential is needed"
//	@Failure	403	{object}	Problem	"The credential does not permit this"
//	@Failure	404	{object}	Problem	"There is no such resource"
//	@Failure	429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Router		/api/v1/routers/{router}/publishers [get]
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

// showPublisher shows one publisher.
//
//	@Summary	Show a publisher
//	@ID			showPublisher
//	@Tags		publishers
//	@Security	Bearer
//	@Param		router		path	string	true	"Router id"	minlength(1)	maxlength(64)
//	@Param		publisher	path	string	true	"Publisher id"	minlength(1)	maxlength(64)
//	@Produce	json
//	@Success	200	{object}	publisherView
//	@Failure	400	{object}	Problem	"The request cannot be understood"
//	@Failure	401	{object}	Problem	"A credential is needed"
//	@Failure	403	{object}	Problem	"The credential does not permit this"
//	@Failure	404	{object}	Problem	"There is no such resource"
//	@Failure	429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Router		/api/v1/routers/{router}/publishers/{publisher} [get]
func (s *Server) showPublisher(c echo.Context) error {
	p, err := s.publisher(c)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, viewPublisher(p))
}

// kickPublisher ends the session that feeds the publisher. Viewers stay and wait for the next one.
//
//	@Summary	End the session that feeds a publisher
//	@ID			kickPublisher
//	@Tags		publishers
//	@Security	Bearer
//	@Param		router		path	string	true	"Router id"	minlength(1)	maxlength(64)
//	@Param		publisher	path	string	true	"Publisher id"	minlength(1)	maxlength(64)
//	@Success	204	"The session is ended; viewers wait for the next"
//	@Failure	400	{object}	Problem	"The request cannot be understood"
//	@Failure	401	{object}	Problem	"A credential is needed"
//	@Failure	403	{object}	Problem	"The credential does not permit this"
//	@Failure	404	{object}	Problem	"There is no such resource"
//	@Failure	429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Router		/api/v1/routers/{router}/publishers/{publisher} [delete]
func (s *Server) kickPublisher(c echo.Context) error {
	p, err := s.publisher(c)
	if err != nil {
		return err
	}
	p.Close(sfu.CloseKicked)
	return c.NoContent(http.StatusNoContent)
}
