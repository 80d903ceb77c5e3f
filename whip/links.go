package whip

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Relation types of Link lines.
const (
	relICEServer = "ice-server"                                                   // RFC 9725 §4.6
	relEvents    = "urn:ietf:params:whep:ext:core:server-sent-events"             // WHEP events draft
	relLayer     = "urn:ietf:params:whep:ext:core:layer"                          // WHEP events draft
	linkEvents   = "active,inactive,layers,viewercount,reconnect"                 // what /sse can send
	linkTURNRole = `; username="%s"; credential="%s"; credential-type="password"` // after the rel of a TURN server
)

// ICEServer is a STUN or TURN server that clients are told of.
type ICEServer struct {
	URL        string // stun:, stuns:, turn: or turns: (RFC 7064, RFC 7065)
	Username   string // TURN only
	Credential string // TURN only
}

// link is the Link value of s. Characters that clients are known to stumble over are refused: OBS
// splits lines at commas and semicolons without looking at quotes.
func (s ICEServer) link() (string, error) {
	scheme, host, _ := strings.Cut(s.URL, ":")
	isTURN := scheme == "turn" || scheme == "turns"
	if !isTURN && scheme != "stun" && scheme != "stuns" {
		return "", errors.New("scheme is not stun, stuns, turn or turns")
	}
	if host == "" {
		return "", errors.New("no host")
	}
	for _, value := range []string{s.URL, s.Username, s.Credential} {
		if strings.ContainsFunc(value, breaksLink) {
			return "", errors.New("space, control or non-ASCII character, or one of , ; \" \\ < >")
		}
	}
	link := fmt.Sprintf("<%s>; rel=%q", s.URL, relICEServer)
	if isTURN && s.Username != "" {
		link += fmt.Sprintf(linkTURNRole, s.Username, s.Credential)
	}
	return link, nil
}

func breaksLink(r rune) bool {
	return r <= ' ' || r > '~' || strings.ContainsRune(`,;"\<>`, r)
}

// addICELinks adds one line per ICE server: a comma-joined list is half lost on OBS.
func (h *Handler) addICELinks(header http.Header) {
	for _, link := range h.iceLinks {
		header.Add("Link", link)
	}
}

// addExtensionLinks names the extensions of a WHEP session, one line each.
func addExtensionLinks(header http.Header, session string) {
	header.Add("Link", fmt.Sprintf("<%s/sse>; rel=%q; events=%q", session, relEvents, linkEvents))
	header.Add("Link", fmt.Sprintf("<%s/layer>; rel=%q", session, relLayer))
}

// location is the URL of a session: absolute if the public URL is known, else an absolute path,
// which is what OBS can resolve. pattern is the route of the endpoint, with the prefix of its group.
func (h *Handler) location(pattern string, at address) string {
	path := strings.NewReplacer(":router", string(at.router), ":publisher", string(at.publisher)).Replace(pattern) + "/" + string(at.session)
	if h.cfg.PublicURL != "" {
		return h.cfg.PublicURL + path
	}
	// simple-whip-client takes a Location that contains "http" anywhere for an absolute URL, so an id
	// such as "http-cam" is written with its first letter escaped, which means the same (RFC 3986 §6.2.2.2).
	return strings.ReplaceAll(path, "http", "%68ttp")
}
