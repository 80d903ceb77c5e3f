package client

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/webrtc/v4"
)

// Options are common to publishers and players. Only URL is needed.
type Options struct {
	URL   string // of the WHIP or WHEP endpoint
	Token string // sent as "Authorization: Bearer" with every request, also after a redirect; "" sends none

	HTTPClient *http.Client // nil: one of our own. Redirects are followed by the package, not by it
	Logger     *slog.Logger // nil: silent. What pion says is logged at Debug and below

	// RetryFor is how long to ask again while the server answers 409, 429 or 503. The pauses are those
	// of Retry-After, or else grow from half a second to eight. Zero: the first answer counts.
	RetryFor time.Duration

	// Trickle posts the offer at once and sends candidates by PATCH. Otherwise the offer waits for all
	// host candidates, which takes milliseconds.
	Trickle bool
	// NoCandidates posts an offer without candidates and never sends any, as OBS does.
	NoCandidates bool
	// TCPOnly connects by ICE-TCP from our side (RFC 6544) and never by UDP.
	TCPOnly bool
	// IPv6Only uses IPv6 addresses only.
	IPv6Only bool
	// Setup replaces the DTLS role in the offer: "active" or "passive" (RFC 8842). Empty: "actpass".
	Setup string
	// SRTPProfiles are offered in this order. Empty: pion's choice.
	SRTPProfiles []dtls.SRTPProtectionProfile
	// NoRTX leaves retransmission streams (RFC 4588) out of the offer.
	NoRTX bool
	// NoTWCC leaves transport-wide congestion control out of the offer.
	NoTWCC bool
	// EditOffer has the last word on the text that is posted; pion keeps its own description.
	EditOffer func(sdp string) string

	// DataChannels are opened with the session. OnData gets the messages of these and of those which the
	// server opens, on pion's goroutines.
	DataChannels []DataChannel
	OnData       func(label string, message webrtc.DataChannelMessage)
}

// DataChannel says how to open one channel. A nil Init is reliable and ordered.
type DataChannel struct {
	Label string
	Init  *webrtc.DataChannelInit
}

// requestTimeout bounds each HTTP request: OBS gives up after 8 s, so a server that needs longer is
// broken for the field anyway.
const requestTimeout = 10 * time.Second

// defaultHTTPClient serves sessions whose options bring none. Like all clients here it leaves redirects
// to the caller, because net/http drops the token on the way to another host.
var defaultHTTPClient = &http.Client{Transport: http.DefaultTransport}

// httpClient returns the client to use, with redirects turned off.
func (o *Options) httpClient() *http.Client {
	client := defaultHTTPClient
	if o.HTTPClient != nil {
		client = o.HTTPClient
	}
	copied := *client
	copied.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &copied
}

func (o *Options) logger() *slog.Logger {
	if o.Logger != nil {
		return o.Logger
	}
	return slog.New(slog.DiscardHandler)
}
