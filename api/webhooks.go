package api

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"rheomesh/api/webhook"
	"rheomesh/sfu"
)

type webhookView struct {
	ID        string    `json:"id"`
	URL       string    `json:"url"`
	Events    []string  `json:"events"` // empty = all
	CreatedAt time.Time `json:"created_at"`

	Delivered uint64 `json:"delivered"` // events that the receiver took since the node started
	Failed    uint64 `json:"failed"`    // tries that it did not take
	Dropped   uint64 `json:"dropped"`   // events that a full queue lost
	Expired   uint64 `json:"expired"`   // events that were given up after their last try
	Queued    int    `json:"queued"`    // events that wait

	LastError   string     `json:"last_error"`                            // of the newest try that failed
	LastErrorAt *time.Time `json:"last_error_at" extensions:"x-nullable"` // null = none failed
} // @name Webhook

// createdWebhookView is what only the answer to POST shows.
type createdWebhookView struct {
	webhookView
	Secret string `json:"secret"` // signs the requests; it cannot be read again
} // @name CreatedWebhook

// webhookBody is the body of POST.
type webhookBody struct {
	URL    string    `json:"url"`
	Events *[]string `json:"events,omitempty"` // absent = all
	Secret *string   `json:"secret,omitempty"` // absent = the node draws one
} // @name WebhookSettings

// check returns the wanted types and the secret, which is empty when the node is to draw it.
func (b webhookBody) check() (events []string, secret webhook.Secret, err error) {
	if b.URL == "" {
		return nil, "", fieldError("url", "is missing")
	}
	if b.Events != nil {
		events = *b.Events
		if len(events) == 0 {
			return nil, "", fieldError("events", "names no event; leave it out for all")
		}
	}
	for _, name := range events {
		if !slices.Contains(eventTypes, sfu.EventType(name)) {
			return nil, "", fieldError("events", "%.40q is no event type", name)
		}
	}
	slices.Sort(events)
	events = slices.Compact(events)
	if b.Secret == nil {
		return events, "", nil
	}
	if secret, err = webhook.ParseSecret(*b.Secret); err != nil {
		return nil, "", fieldError("secret", "%s", err)
	}
	return events, secret, nil
}

func viewWebhook(h webhook.Hook) webhookView {
	v := webhookView{
		ID: h.ID, URL: h.URL, Events: h.Events, CreatedAt: h.CreatedAt, Delivered: h.Delivered, Failed: h.Failed, Dropped: h.Dropped,
		Expired: h.Expired, Queued: h.Queued, LastError: h.LastError,
	}
	if v.Events == nil {
		v.Events = []string{}
	}
	if !h.LastErrorAt.IsZero() {
		at := h.LastErrorAt.UTC()
		v.LastErrorAt = &at
	}
	return v
}

// listWebhooks shows all webhooks and how they fare.
//
//	@Summary	List the webhooks
//	@ID			listWebhooks
//	@Tags		events
//	@Security	Bearer
//	@Param		limit	query	integer	false	"Items of a page"	minimum(1)	maximum(1000)	default(100)
//	@Param		cursor	query	string	false	"next_cursor of the page before"
//	@Produce	json
//	@Success	200	{object}	page[webhookView]
//	@Failure	400	{object}	Problem	"The request cannot be understood"
//	@Failure	401	{object}	Problem	"A credential is needed"
//	@Failure	403	{object}	Problem	"The credential does not permit this"
//	@Failure	429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Router		/api/v1/webhooks [get]
func (s *Server) listWebhooks(c echo.Context) error {
	if err := principalOf(c).mayNode(); err != nil {
		return err
	}
	p, err := paginate(c, s.webhooks.List(), func(h webhook.Hook) string { return h.ID }, viewWebhook)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, p)
}

// createWebhook registers a webhook. Its answer is the only one that shows the secret.
//
//	@Summary		Register a webhook
//	@Description	The node sends the events to the URL, each as the JSON that the event stream shows, signed as Standard Webhooks. An event is sent again, with growing delay, until the receiver answers 2xx; those of one publisher arrive in order. Redirects are not followed. The answer is the only one that shows the secret.
//	@ID				createWebhook
//	@Tags			events
//	@Security		Bearer
//	@Accept			json
//	@Produce		json
//	@Param			webhook	body	webhookBody	true	"Where to send which events"
//	@Success		201	{object}	createdWebhookView
//	@Header			201	{string}	Location	"Path of the webhook"
//	@Failure	400	{object}	Problem	"The request cannot be understood"
//	@Failure	401	{object}	Problem	"A credential is needed"
//	@Failure	403	{object}	Problem	"The credential does not permit this"
//	@Failure	409	{object}	Problem	"It conflicts with what is there"
//	@Failure	413	{object}	Problem	"The body is too large"
//	@Failure	415	{object}	Problem	"The body has the wrong type"
//	@Failure	429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Router			/api/v1/webhooks [post]
func (s *Server) createWebhook(c echo.Context) error {
	if err := principalOf(c).mayNode(); err != nil {
		return err
	}
	var body webhookBody
	if err := s.readJSON(c, &body); err != nil {
		return err
	}
	events, secret, err := body.check()
	if err != nil {
		return err
	}
	s.events.start()
	r, err := s.webhooks.Add(c.Request().Context(), body.URL, events, secret)
	if errors.Is(err, webhook.ErrTarget) {
		return fieldError("url", "%s", err)
	}
	if err != nil {
		return err
	}
	header := c.Response().Header()
	header.Set(echo.HeaderLocation, "/api/v1/webhooks/"+r.ID)
	header.Set(echo.HeaderCacheControl, "no-store") // the secret
	return c.JSON(http.StatusCreated, createdWebhookView{viewWebhook(webhook.Hook{Registration: r}), string(r.Secret)})
}

// showWebhook shows one webhook and how it fares.
//
//	@Summary	Show a webhook
//	@ID			showWebhook
//	@Tags		events
//	@Security	Bearer
//	@Param		webhook	path	string	true	"Webhook id"
//	@Produce	json
//	@Success	200	{object}	webhookView
//	@Failure	401	{object}	Problem	"A credential is needed"
//	@Failure	403	{object}	Problem	"The credential does not permit this"
//	@Failure	404	{object}	Problem	"There is no such resource"
//	@Failure	429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Router		/api/v1/webhooks/{webhook} [get]
func (s *Server) showWebhook(c echo.Context) error {
	if err := principalOf(c).mayNode(); err != nil {
		return err
	}
	h, err := s.webhooks.Find(c.Param("webhook"))
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, viewWebhook(h))
}

// deleteWebhook forgets a webhook, and returns when nothing is sent to it any more.
//
//	@Summary	Forget a webhook
//	@ID			deleteWebhook
//	@Tags		events
//	@Security	Bearer
//	@Param		webhook	path	string	true	"Webhook id"
//	@Success	204	"Nothing is sent to it any more, and what waited for it is lost"
//	@Failure	401	{object}	Problem	"A credential is needed"
//	@Failure	403	{object}	Problem	"The credential does not permit this"
//	@Failure	404	{object}	Problem	"There is no such resource"
//	@Failure	429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Router		/api/v1/webhooks/{webhook} [delete]
func (s *Server) deleteWebhook(c echo.Context) error {
	if err := principalOf(c).mayNode(); err != nil {
		return err
	}
	if err := s.webhooks.Remove(c.Param("webhook")); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}
