package api

import (
	"net/http"
	"net/netip"
	"time"

	"github.com/labstack/echo/v4"

	"rheomesh/sfu"
)

// Listener describes one open port.
type Listener struct {
	Name             string         `json:"name"`    // http, media
	Network          string         `json:"network"` // tcp, udp
	Addr             netip.AddrPort `json:"addr" swaggertype:"string" example:"127.0.0.1:8080"`
	TLS              bool           `json:"tls"`
	GSO              bool           `json:"gso"`                // the kernel splits large sends (UDP_SEGMENT)
	GRO              bool           `json:"gro"`                // the kernel merges receives (UDP_GRO)
	ReadBufferBytes  int            `json:"read_buffer_bytes"`  // as the kernel granted; 0 = not asked for
	WriteBufferBytes int            `json:"write_buffer_bytes"` // the same
	Reason           string         `json:"reason"`             // why less was granted than asked for
} // @name Listener

type nodeView struct {
	ID         sfu.NodeID `json:"id"`
	Version    string     `json:"version"`
	StartedAt  time.Time  `json:"started_at"`
	Listeners  []Listener `json:"listeners"`
	Candidates []string   `json:"candidates"` // host:port that answers advertise
	Limits     limitsView `json:"limits"`
	Load       loadView   `json:"load"`
	Draining   bool       `json:"draining"`
} // @name Node

// limitsView has durations in seconds, as all JSON of this API.
type limitsView struct {
	MaxSessions             int     `json:"max_sessions"`
	MaxSessionsPerIP        int     `json:"max_sessions_per_ip"`
	MaxHalfOpen             int     `json:"max_half_open"`
	MaxHalfOpenPerIP        int     `json:"max_half_open_per_ip"`
	MaxRouters              int     `json:"max_routers"`
	MaxPublishersPerRouter  int     `json:"max_publishers_per_router"`
	MaxSubscribersPerRouter int     `json:"max_subscribers_per_router"`
	MaxSSRCsPerSession      int     `json:"max_ssrcs_per_session"`
	ConnectTimeout          float64 `json:"connect_timeout"`
	SilenceTimeout          float64 `json:"silence_timeout"`

	MaxJSONBytes            int `json:"max_json_bytes"`
	MaxHTTPConnections      int `json:"max_http_connections"`
	MaxHTTPConnectionsPerIP int `json:"max_http_connections_per_ip"`
	PostsPerSecond          int `json:"posts_per_second"` // with one credential
	PostBurst               int `json:"post_burst"`
	PostsPerSecondPerIP     int `json:"posts_per_second_per_ip"`
	PostBurstPerIP          int `json:"post_burst_per_ip"`
	FailedCredentialsPerIP  int `json:"failed_credentials_per_minute_per_ip"`
} // @name Limits

type loadView struct {
	Routers     int `json:"routers"`
	Publishers  int `json:"publishers"`
	Subscribers int `json:"subscribers"`
	Sessions    int `json:"sessions"`
	HalfOpen    int `json:"half_open"` // sessions that have not connected yet
} // @name Load

// showNode describes the node.
//
//	@Summary	What the node is and how busy it is
//	@ID			showNode
//	@Tags		node
//	@Security	Bearer
//	@Produce	json
//	@Success	200	{object}	nodeView
//	@Failure	401	{object}	Problem	"A credential is needed"
//	@Failure	403	{object}	Problem	"The credential does not permit this"
//	@Failure	429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Router		/api/v1/node [get]
func (s *Server) showNode(c echo.Context) error {
	if err := principalOf(c).mayNode(); err != nil {
		return err
	}
	return c.JSON(http.StatusOK, s.viewNode())
}

func (s *Server) viewNode() nodeView {
	node := s.cfg.Node
	return nodeView{
		ID:         node.ID(),
		Version:    node.Version(),
		StartedAt:  node.StartedAt().UTC(),
		Listeners:  append(append([]Listener{}, s.cfg.Listeners...), MediaListeners(node)...),
		Candidates: node.Candidates(),
		Limits:     viewLimits(node.Limits(), *s.limits.Load()),
		Load:       viewLoad(node.Stats()),
		Draining:   node.Draining(),
	}
}

// MediaListeners describes the node's media port.
func MediaListeners(node *sfu.Node) (views []Listener) {
	for _, l := range node.MediaListeners() {
		views = append(views, Listener{
			Name: "media", Network: l.Network, Addr: l.Addr, GSO: l.GSO, GRO: l.GRO,
			ReadBufferBytes: l.ReadBufferBytes, WriteBufferBytes: l.WriteBufferBytes, Reason: l.Reason,
		})
	}
	return views
}

func viewLimits(l sfu.Limits, h Limits) limitsView {
	return limitsView{
		MaxSessions: l.MaxSessions, MaxSessionsPerIP: l.MaxSessionsPerIP, MaxHalfOpen: l.MaxHalfOpen, MaxHalfOpenPerIP: l.MaxHalfOpenPerIP, MaxRouters: l.MaxRouters,
		MaxPublishersPerRouter: l.MaxPublishersPerRouter, MaxSubscribersPerRouter: l.MaxSubscribersPerRouter,
		MaxSSRCsPerSession: l.MaxSSRCsPerSession,
		ConnectTimeout:     l.ConnectTimeout.Seconds(), SilenceTimeout: l.SilenceTimeout.Seconds(),
		MaxJSONBytes: h.MaxJSONBytes, MaxHTTPConnections: h.MaxConnections, MaxHTTPConnectionsPerIP: h.MaxConnectionsPerIP,
		PostsPerSecond: h.PostsPerSecond, PostBurst: h.PostBurst, PostsPerSecondPerIP: h.PostsPerSecondPerIP, PostBurstPerIP: h.PostBurstPerIP,
		FailedCredentialsPerIP: h.FailedCredentialsPerMinutePerIP,
	}
}

func viewLoad(stats sfu.NodeStats) loadView {
	return loadView{
		Routers: stats.Routers, Publishers: stats.Publishers, Subscribers: stats.Subscribers,
		Sessions: stats.Sessions, HalfOpen: stats.HalfOpen,
	}
}

// startDrain refuses new sessions from now on.
//
//	@Summary	Refuse new sessions
//	@ID			startDrain
//	@Tags		node
//	@Security	Bearer
//	@Success	204	"The node is draining"
//	@Failure	401	{object}	Problem	"A credential is needed"
//	@Failure	403	{object}	Problem	"The credential does not permit this"
//	@Failure	429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Router		/api/v1/node/drain [put]
func (s *Server) startDrain(c echo.Context) error { return s.setDraining(c, true) }

// stopDrain takes new sessions again.
//
//	@Summary	Take new sessions again
//	@ID			stopDrain
//	@Tags		node
//	@Security	Bearer
//	@Success	204	"The node takes sessions"
//	@Failure	401	{object}	Problem	"A credential is needed"
//	@Failure	403	{object}	Problem	"The credential does not permit this"
//	@Failure	429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Router		/api/v1/node/drain [delete]
func (s *Server) stopDrain(c echo.Context) error { return s.setDraining(c, false) }

func (s *Server) setDraining(c echo.Context, draining bool) error {
	if err := principalOf(c).mayNode(); err != nil {
		return err
	}
	s.cfg.Node.SetDraining(draining)
	return c.NoContent(http.StatusNoContent)
}
