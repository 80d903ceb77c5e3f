package api

import (
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"rheomesh/sfu"
)

// speakersView is who speaks in a router.
type speakersView struct {
	RouterID sfu.RouterID  `json:"router_id"`
	Speakers []speakerView `json:"speakers"` // the active speaker first; at most three
} // @name Speakers

type speakerView struct {
	PublisherID sfu.PublisherID `json:"publisher_id"`
	LevelDBov   int             `json:"level_dbov" minimum:"-127" maximum:"0"` // smoothed; -127 is silence
	Since       time.Time       `json:"since"`                                 // in the list since
} // @name Speaker

func viewSpeakers(r *sfu.Router) speakersView {
	v := speakersView{RouterID: r.ID(), Speakers: []speakerView{}}
	for _, speaker := range r.Speakers() {
		v.Speakers = append(v.Speakers, speakerView{PublisherID: speaker.Publisher, LevelDBov: speaker.LevelDBov, Since: speaker.Since.UTC()})
	}
	return v
}

// showSpeakers shows the loudest publishers of a router.
//
//	@Summary		Show who speaks in a router
//	@Description	The loudest publishers whose clients tell how loud they are (RFC 6464), changed slowly enough to follow. The event router.speakers tells of changes.
//	@ID				showSpeakers
//	@Tags			routers
//	@Security		Bearer
//	@Param			router	path	string	true	"Router id"	minlength(1)	maxlength(64)
//	@Produce		json
//	@Success		200	{object}	speakersView
//	@Failure		400	{object}	Problem	"The request cannot be understood"
//	@Failure		401	{object}	Problem	"A credential is needed"
//	@Failure		403	{object}	Problem	"The credential does not permit this"
//	@Failure		404	{object}	Problem	"There is no such resource"
//	@Failure		429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Router			/api/v1/routers/{router}/speakers [get]
func (s *Server) showSpeakers(c echo.Context) error {
	r, err := s.router(c)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, viewSpeakers(r))
}
