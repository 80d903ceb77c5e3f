package api

import (
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"rheomesh/relay"
	"rheomesh/sfu"
)

type linkView struct {
	ID         string     `json:"id"`
	PeerID     sfu.NodeID `json:"peer_id"`
	Initiator  bool       `json:"initiator"` // this node has made the link
	State      string     `json:"state" enums:"connecting,up,down"`
	RemoteAddr string     `json:"remote_addr"` // of the peer, once it has proved it
	RTT        float64    `json:"rtt"`         // seconds; 0 while unknown
	CreatedAt  time.Time  `json:"created_at"`
	StreamsIn  int        `json:"streams_in"`
	StreamsOut int        `json:"streams_out"`
	PathBytes  int        `json:"path_bytes"`                      // largest datagram, UDP payload, that was seen to reach the peer whole
	Oversized  uint64     `json:"oversized"`                       // packets that were not sent, since no datagram of their size reaches the peer whole
	Secret     string     `json:"secret" enums:"current,previous"` // which of the node's cluster secrets the link rests on
} // @name Link

func viewLink(l relay.LinkInfo) linkView {
	return linkView{
		ID: l.ID, PeerID: l.PeerID, Initiator: l.Initiator, State: l.State, RemoteAddr: l.RemoteAddr, RTT: l.RoundTrip.Seconds(),
		CreatedAt: l.CreatedAt.UTC(), StreamsIn: l.In, StreamsOut: l.Out,
		PathBytes: l.PathBytes, Oversized: l.Oversized, Secret: l.Secret,
	}
}

// listLinks lists the associations with other nodes.
//
//	@Summary	List the links to other nodes
//	@ID			listLinks
//	@Tags		relays
//	@Security	Bearer
//	@Param		limit	query	int		false	"Most items to return"	minimum(1)	maximum(1000)	default(100)
//	@Param		cursor	query	string	false	"next_cursor of the page before"
//	@Produce	json
//	@Success	200	{object}	page[linkView]
//	@Failure	400	{object}	Problem	"The request cannot be understood"
//	@Failure	401	{object}	Problem	"A credential is needed"
//	@Failure	403	{object}	Problem	"The credential does not permit this"
//	@Failure	429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Router		/api/v1/links [get]
func (s *Server) listLinks(c echo.Context) error {
	if err := principalOf(c).mayNode(); err != nil {
		return err
	}
	p, err := paginate(c, s.cfg.Relay.Links(), func(l relay.LinkInfo) string { return l.ID }, viewLink)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, p)
}

// showLink shows one link.
//
//	@Summary	Show a link
//	@ID			showLink
//	@Tags		relays
//	@Security	Bearer
//	@Param		link	path	string	true	"Link id"	minlength(1)	maxlength(64)
//	@Produce	json
//	@Success	200	{object}	linkView
//	@Failure	401	{object}	Problem	"A credential is needed"
//	@Failure	403	{object}	Problem	"The credential does not permit this"
//	@Failure	404	{object}	Problem	"There is no such resource"
//	@Failure	429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Router		/api/v1/links/{link} [get]
func (s *Server) showLink(c echo.Context) error {
	if err := principalOf(c).mayNode(); err != nil {
		return err
	}
	info, err := s.cfg.Relay.Link(c.Param("link"))
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, viewLink(info))
}

// deleteLink ends a link. Relays that need it make another one.
//
//	@Summary	End a link; relays that need it make another one
//	@ID			deleteLink
//	@Tags		relays
//	@Security	Bearer
//	@Param		link	path	string	true	"Link id"	minlength(1)	maxlength(64)
//	@Success	204	"The link is ended"
//	@Failure	401	{object}	Problem	"A credential is needed"
//	@Failure	403	{object}	Problem	"The credential does not permit this"
//	@Failure	404	{object}	Problem	"There is no such resource"
//	@Failure	429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Router		/api/v1/links/{link} [delete]
func (s *Server) deleteLink(c echo.Context) error {
	if err := principalOf(c).mayNode(); err != nil {
		return err
	}
	if err := s.cfg.Relay.DeleteLink(c.Param("link")); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// RelayListeners describes the listener of other nodes.
func RelayListeners(node *relay.Node) (views []Listener) {
	for _, l := range node.Listeners() {
		views = append(views, Listener{
			Name: "relay", Network: l.Network, Addr: l.Addr, GSO: l.GSO, GRO: l.GRO,
			ReadBufferBytes: l.ReadBufferBytes, WriteBufferBytes: l.WriteBufferBytes, Reason: l.Reason,
		})
	}
	return views
}
