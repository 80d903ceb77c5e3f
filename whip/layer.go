package whip

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"rheomesh/sfu"
)

// layer is one encoding, or one up to some sub-layers, as the layers event and GET on the layer resource
// show it. At least one of the first three is present. Bitrate 0 means that nothing arrives.
type layer struct {
	RID        string `json:"rid,omitempty"`
	SpatialID  *int   `json:"spatialLayerId,omitempty"`  // the highest one of the encoding
	TemporalID *int   `json:"temporalLayerId,omitempty"` // the highest one of the encoding
	Bitrate    int    `json:"bitrate"`                   // bit/s
	Width      int    `json:"width,omitempty"`
	Height     int    `json:"height,omitempty"`
	Selected   bool   `json:"selected,omitempty"` // what this player gets now
} // @name WHEPLayer

// layersOf lists the video layers that a player may choose from, by m-line index.
func layersOf(media mediaSession) map[string][]layer {
	shown := map[string][]layer{}
	for index, infos := range media.Layers() {
		key := strconv.Itoa(index)
		if _, kind, ok := media.MediaIndex(key); ok && kind != "video" {
			continue
		}
		for _, info := range infos {
			shown[key] = append(shown[key], layersIn(info)...)
		}
	}
	return shown
}

// layersIn lists an encoding by its sub-layers, as far as it has any.
func layersIn(info sfu.LayerInfo) []layer {
	if len(info.SubLayers) == 0 || !info.Active {
		return []layer{layerOf(info)}
	}
	var shown []layer
	for _, sub := range info.SubLayers {
		l := layer{
			RID: info.RID, SpatialID: new(sub.Spatial), TemporalID: new(sub.Temporal), Bitrate: sub.BitrateBps, Width: sub.Width, Height: sub.Height,
			Selected: info.Selected && sub.Selected,
		}
		shown = append(shown, l)
	}
	return shown
}

func layerOf(info sfu.LayerInfo) layer {
	l := layer{RID: info.RID, Width: info.Width, Height: info.Height, Selected: info.Selected}
	if info.Active {
		l.Bitrate = info.BitrateBps
	}
	if info.SpatialLayers > 1 || info.RID == "" {
		l.SpatialID = new(max(info.SpatialLayers-1, 0))
	}
	if info.TemporalLayers > 1 {
		l.TemporalID = new(info.TemporalLayers - 1)
	}
	return l
}

// layerRequest is the body of a layer selection. Unknown members are ignored, as the protocol may grow.
type layerRequest struct {
	MediaID     mediaID `json:"mediaId,omitempty" swaggertype:"string"`
	RID         string  `json:"rid,omitempty"`
	EncodingID  string  `json:"encodingId,omitempty"` // name of rid in older drafts
	Spatial     *int    `json:"spatialLayerId,omitempty"`
	Temporal    *int    `json:"temporalLayerId,omitempty"`
	MaxSpatial  *int    `json:"maxSpatialLayerId,omitempty"`
	MaxTemporal *int    `json:"maxTemporalLayerId,omitempty"`
	MaxWidth    *int    `json:"maxWidth,omitempty"`
	MaxHeight   *int    `json:"maxHeight,omitempty"`
} // @name WHEPLayerSelection

// mediaID is an m-line index, written as a string or a number, or an SDP mid. "" is the first video.
type mediaID string

// UnmarshalJSON takes a string, a whole number or null.
func (m *mediaID) UnmarshalJSON(data []byte) error {
	var number uint16
	if json.Unmarshal(data, &number) == nil && !bytes.Equal(data, []byte("null")) {
		*m = mediaID(strconv.Itoa(int(number)))
		return nil
	}
	return json.Unmarshal(data, (*string)(m))
}

// parseLayerRequest reads a selection. Its Kind is left to the caller, who knows the session.
func parseLayerRequest(body []byte) (mediaID, sfu.LayerSelection, error) {
	var req layerRequest
	if !bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) {
		return "", sfu.LayerSelection{}, fmt.Errorf("layer selection: no JSON object: %w", ErrBodyInvalid)
	}
	if err := json.Unmarshal(body, &req); err != nil {
		return "", sfu.LayerSelection{}, fmt.Errorf("layer selection: %w: %w", ErrBodyInvalid, err)
	}
	for _, value := range []*int{req.Spatial, req.Temporal, req.MaxSpatial, req.MaxTemporal, req.MaxWidth, req.MaxHeight} {
		if value != nil && *value < 0 {
			return "", sfu.LayerSelection{}, fmt.Errorf("layer selection: %d is negative: %w", *value, ErrBodyInvalid)
		}
	}
	if req.RID == "" {
		req.RID = req.EncodingID
	}
	return req.MediaID, sfu.LayerSelection{
		RID: req.RID, Spatial: req.Spatial, Temporal: req.Temporal,
		MaxSpatial: req.MaxSpatial, MaxTemporal: req.MaxTemporal, MaxWidth: req.MaxWidth, MaxHeight: req.MaxHeight,
	}, nil
}

// showLayers is GET on the layer resource.
//
//	@Summary	Show the layers of the video
//	@Description	Whoever knows the URL may use it: no credential is needed, and only a wrong one is refused.
//	@ID			showLayers
//	@Tags		WHEP
//	@Param		router		path	string	true	"Router id"	minlength(1)	maxlength(64)
//	@Param		publisher	path	string	true	"Publisher id"	minlength(1)	maxlength(64)
//	@Param		session		path	string	true	"Session id, a secret"
//	@Produce	json
//	@Success	200	{object}	map[string][]layer	"By m-line index"
//	@Failure	400	{object}	Problem	"The request cannot be understood"
//	@Failure	401	{object}	Problem	"A credential is needed"
//	@Failure	403	{object}	Problem	"The credential does not permit this"
//	@Failure	404	{object}	Problem	"There is no such resource"
//	@Failure	429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Router		/whep/{router}/{publisher}/{session}/layer [get]
func (h *Handler) showLayers(c echo.Context) error {
	s, err := h.find(c, sfu.RoleSubscribe)
	if err != nil {
		return err
	}
	c.Response().Header().Set(echo.HeaderCacheControl, "no-store")
	return c.JSON(http.StatusOK, layersOf(s.media))
}

// selectLayer is POST on the layer resource. A body that names only a medium, or nothing, goes back to automatic.
//
//	@Summary	Choose a layer
//	@Description	Whoever knows the URL may use it: no credential is needed, and only a wrong one is refused.
//	@ID			selectLayer
//	@Tags		WHEP
//	@Param		router		path	string	true	"Router id"	minlength(1)	maxlength(64)
//	@Param		publisher	path	string	true	"Publisher id"	minlength(1)	maxlength(64)
//	@Param		session		path	string	true	"Session id, a secret"
//	@Accept		json
//	@Param		selection	body	layerRequest	true	"What is absent is automatic"
//	@Success	200	"It is chosen"
//	@Failure	400	{object}	Problem	"The request cannot be understood"
//	@Failure	401	{object}	Problem	"A credential is needed"
//	@Failure	403	{object}	Problem	"The credential does not permit this"
//	@Failure	404	{object}	Problem	"There is no such resource"
//	@Failure	413	{object}	Problem	"The body is too large"
//	@Failure	415	{object}	Problem	"The body has the wrong type"
//	@Failure	429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Router		/whep/{router}/{publisher}/{session}/layer [post]
func (h *Handler) selectLayer(c echo.Context) error {
	s, err := h.find(c, sfu.RoleSubscribe)
	if err != nil {
		return err
	}
	body, err := readJSON(c)
	if err != nil {
		return fmt.Errorf("select layer of %s: %w", s, err)
	}
	medium, selection, err := parseLayerRequest(body)
	if err != nil {
		return fmt.Errorf("select layer of %s: %w", s, err)
	}
	selection.Kind = "video"
	if medium != "" {
		_, kind, ok := s.media.MediaIndex(string(medium))
		if !ok {
			return fmt.Errorf("select layer of %s: no medium %q: %w", s, medium, ErrBodyInvalid)
		}
		selection.Kind = kind
	}
	return s.applyLayer(c, selection)
}

// resetLayer is DELETE on the layer resource: back to automatic, as older players ask for it.
//
//	@Summary	Go back to the automatic layer
//	@Description	Whoever knows the URL may use it: no credential is needed, and only a wrong one is refused.
//	@ID			resetLayer
//	@Tags		WHEP
//	@Param		router		path	string	true	"Router id"	minlength(1)	maxlength(64)
//	@Param		publisher	path	string	true	"Publisher id"	minlength(1)	maxlength(64)
//	@Param		session		path	string	true	"Session id, a secret"
//	@Success	200	"The layer is automatic"
//	@Failure	400	{object}	Problem	"The request cannot be understood"
//	@Failure	401	{object}	Problem	"A credential is needed"
//	@Failure	403	{object}	Problem	"The credential does not permit this"
//	@Failure	404	{object}	Problem	"There is no such resource"
//	@Failure	429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Router		/whep/{router}/{publisher}/{session}/layer [delete]
func (h *Handler) resetLayer(c echo.Context) error {
	s, err := h.find(c, sfu.RoleSubscribe)
	if err != nil {
		return err
	}
	return s.applyLayer(c, sfu.LayerSelection{Kind: "video"})
}

func (s *session) applyLayer(c echo.Context, selection sfu.LayerSelection) error {
	if err := s.media.SelectLayer(selection); err != nil {
		return fmt.Errorf("select layer of %s: %w", s, err)
	}
	return c.NoContent(http.StatusOK)
}

// readJSON reads a body that is JSON or says nothing about its type.
func readJSON(c echo.Context) ([]byte, error) {
	if got := mediaType(c.Request()); got != typeJSON && got != "" {
		return nil, unsupportedType(got, echo.HeaderAccept, typeJSON)
	}
	return readBody(c, maxJSONBytes)
}
