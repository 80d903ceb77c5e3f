package api

import (
	"fmt"
	"net/http"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"rheomesh/sfu"
	"rheomesh/whip"
)

// maxDataBodyBytes is the longest body of a message: sfu.MaxDataMessageBytes in base64, and what is around it.
const maxDataBodyBytes = 384 << 10

// dataMessage is the body of POST: text or binary.
type dataMessage struct {
	Publisher sfu.PublisherID `json:"publisher" minLength:"1" maxLength:"64"`
	Label     string          `json:"label" maxLength:"256"`
	Text      *string         `json:"text,omitempty"`
	Binary    *[]byte         `json:"binary,omitempty" swaggertype:"string" format:"byte"` // base64
} // @name DataMessage

// channelView is one channel of a data track. Of a publisher's it counts what has come from it, of a subscriber's what has gone to it.
type channelView struct {
	Label          string  `json:"label"`
	Protocol       string  `json:"protocol"`
	Ordered        bool    `json:"ordered"`
	MaxRetransmits *uint16 `json:"max_retransmits,omitempty"`
	MaxLifetimeMs  *int64  `json:"max_lifetime_ms,omitempty"`
	Messages       uint64  `json:"messages"`
	Bytes          uint64  `json:"bytes"`
	Closed         string  `json:"closed,omitempty"` // why a subscriber's channel is closed: slow, peer, protocol
} // @name Channel

func viewChannels(channels []sfu.DataChannelInfo) []channelView {
	var views []channelView
	for _, c := range channels {
		v := viewChannel(c.DataChannel)
		v.Messages, v.Bytes, v.Closed = c.Messages, c.Bytes, c.Closed
		views = append(views, v)
	}
	return views
}

func viewChannel(c sfu.DataChannel) channelView {
	v := channelView{Label: c.Label, Protocol: c.Protocol, Ordered: c.Ordered, MaxRetransmits: c.MaxRetransmits}
	if c.MaxLifetime != nil {
		milliseconds := c.MaxLifetime.Milliseconds()
		v.MaxLifetimeMs = &milliseconds
	}
	return v
}

// dataEventView is what data.opened and data.closed tell.
type dataEventView struct {
	RouterID     sfu.RouterID     `json:"router_id"`
	PublisherID  sfu.PublisherID  `json:"publisher_id"`
	SubscriberID sfu.SubscriberID `json:"subscriber_id,omitempty"` // whose channel was closed, when it is not the publisher's
	Channel      channelView      `json:"channel"`
	Reason       string           `json:"reason,omitempty"` // why it was closed
}

func viewDataEvent(e sfu.Event) dataEventView {
	return dataEventView{
		RouterID: e.RouterID, PublisherID: e.PublisherID, SubscriberID: e.SubscriberID, Channel: viewChannel(e.Data.Channel), Reason: e.Data.Reason,
	}
}

// maySendData is the coarse half of the check, for which the body need not be read.
func (p principal) maySendData(router string) error {
	if p.anybody || p.granted(whip.ActionData, router) || p.granted(ActionAdmin, router) {
		return nil
	}
	return fmt.Errorf("%s in router %s with %s: %w", whip.ActionData, router, p.name, whip.ErrForbidden)
}

// maySendDataTo is the fine half.
func (p principal) maySendDataTo(router, publisher string) error {
	if p.mayPublisher(ActionAdmin, router, publisher) == nil {
		return nil
	}
	return p.mayPublisher(whip.ActionData, router, publisher)
}

// sendData sends a message into a channel of a publisher.
//
//	@Summary		Send a data message to a publisher's viewers
//	@Description	The message goes into the publisher's channel of the label, to all viewers that have a data section in their offer. If there is no such channel, one is opened that is reliable and ordered. One of text and binary must be there. It asks for the action data on the publisher, or admin.
//	@ID				sendData
//	@Tags			publishers
//	@Security		Bearer
//	@Param			router	path	string		true	"Router id"	minlength(1)	maxlength(64)
//	@Param			message	body	dataMessage	true	"Message of at most 256 KiB"
//	@Accept			json
//	@Success	202	"The message is on its way"
//	@Failure	400	{object}	Problem	"The request cannot be understood"
//	@Failure	401	{object}	Problem	"A credential is needed"
//	@Failure	403	{object}	Problem	"The credential does not permit this"
//	@Failure	404	{object}	Problem	"There is no such resource"
//	@Failure	409	{object}	Problem	"The publisher has too many channels"
//	@Failure	413	{object}	Problem	"The body or the message is too large"
//	@Failure	415	{object}	Problem	"The body has the wrong type"
//	@Failure	429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Router			/api/v1/routers/{router}/data [post]
func (s *Server) sendData(c echo.Context) error {
	id := c.Param("router")
	if !sfu.ValidID(id) {
		return fmt.Errorf("router: %w", sfu.ErrIDInvalid)
	}
	if err := principalOf(c).maySendData(id); err != nil {
		return err
	}
	var body dataMessage
	if err := s.readJSONUpTo(c, &body, maxDataBodyBytes); err != nil {
		return err
	}
	message, err := body.message()
	if err != nil {
		return err
	}
	if err := principalOf(c).maySendDataTo(id, string(body.Publisher)); err != nil {
		return err
	}
	router, err := s.cfg.Node.Router(sfu.RouterID(id))
	if err != nil {
		return err
	}
	publisher, err := router.Publisher(body.Publisher)
	if err != nil {
		return err
	}
	if err := publisher.SendData(message); err != nil {
		return err
	}
	return c.NoContent(http.StatusAccepted)
}

// message checks the fields of a body.
func (b dataMessage) message() (sfu.DataMessage, error) {
	m := sfu.DataMessage{Channel: b.Label}
	switch {
	case !sfu.ValidID(string(b.Publisher)):
		return m, fieldError("publisher", "%s", sfu.ErrIDInvalid)
	case len(b.Label) > sfu.MaxDataLabelBytes || !utf8.ValidString(b.Label):
		return m, fieldError("label", "must be at most %d bytes", sfu.MaxDataLabelBytes)
	case b.Text == nil && b.Binary == nil:
		return m, fieldError("text", "text or binary is needed")
	case b.Text != nil && b.Binary != nil:
		return m, fieldError("binary", "must not come with text")
	case b.Text != nil:
		m.Data = []byte(*b.Text)
	default:
		m.Data, m.Binary = *b.Binary, true
	}
	if len(m.Data) > sfu.MaxDataMessageBytes {
		return m, sfu.ErrDataTooLarge
	}
	return m, nil
}
