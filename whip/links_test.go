package whip

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestICEServerLink(t *testing.T) {
	for _, row := range []struct {
		name   string
		server ICEServer
		want   string // "" is an error
	}{
		{"stun", ICEServer{URL: "stun:stun.example.org:3478"}, `<stun:stun.example.org:3478>; rel="ice-server"`},
		{"stun ignores credentials", ICEServer{URL: "stun:h", Username: "u", Credential: "c"}, `<stun:h>; rel="ice-server"`},
		{
			"turn",
			ICEServer{URL: "turn:h?transport=udp", Username: "u", Credential: "c"},
			`<turn:h?transport=udp>; rel="ice-server"; username="u"; credential="c"; credential-type="password"`,
		},
		{"turns without credentials", ICEServer{URL: "turns:h:443"}, `<turns:h:443>; rel="ice-server"`},
		{"ipv6", ICEServer{URL: "stun:[2001:db8::1]:3478"}, `<stun:[2001:db8::1]:3478>; rel="ice-server"`},
		{"http", ICEServer{URL: "http://h"}, ""},
		{"no host", ICEServer{URL: "stun:"}, ""},
		{"empty", ICEServer{}, ""},
		{"comma in credential", ICEServer{URL: "turn:h", Username: "u", Credential: "a,b"}, ""},
		{"semicolon in username", ICEServer{URL: "turn:h", Username: "a;b", Credential: "c"}, ""},
		{"quote in username", ICEServer{URL: "turn:h", Username: `a"b`, Credential: "c"}, ""},
		{"line break in URL", ICEServer{URL: "turn:h\r\nX: y"}, ""},
		{"bracket in URL", ICEServer{URL: "turn:h>"}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := row.server.link()
			assert.Equal(t, row.want == "", err != nil, "%v", err)
			assert.Equal(t, row.want, got)
		})
	}
}

func TestInvalidConfigIsRefused(t *testing.T) {
	for _, row := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"no scheme", Config{PublicURL: "sfu.example.org"}, "public URL"},
		{"other scheme", Config{PublicURL: "ftp://sfu.example.org"}, "public URL"},
		{"query", Config{PublicURL: "https://sfu.example.org/?a=b"}, "public URL"},
		{"ICE server", Config{ICEServers: []ICEServer{{URL: "turn:a,b"}}}, "turn:a,b"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := newHandler(row.cfg, newFakeNode())
			require.ErrorContains(t, err, row.want)
		})
	}
	_, err := New(Config{})
	require.ErrorContains(t, err, "no node")
}

func TestLocation(t *testing.T) {
	for _, row := range []struct {
		name, publicURL, prefix, endpoint, want string
	}{
		{"path", "", "", "/whip/live/cam", "/whip/live/cam/session-0"},
		{"group", "", "/edge", "/whip/live/cam", "/edge/whip/live/cam/session-0"},
		{"public URL", "https://sfu.example.org", "", "/whep/live/cam", "https://sfu.example.org/whep/live/cam/session-0"},
		{"public URL with path", "https://sfu.example.org/a/", "/edge", "/whep/live/cam", "https://sfu.example.org/a/edge/whep/live/cam/session-0"},
		{"query is not kept", "", "", "/whip/live/cam?token=secret", "/whip/live/cam/session-0"},
		{"escaped id", "", "", "/whip/live/c%61m", "/whip/live/cam/session-0"},
		{"http in ids", "", "", "/whip/http-room/http", "/whip/%68ttp-room/%68ttp/session-0"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newServer(t, Config{PublicURL: row.publicURL})
			if row.prefix != "" {
				s.echo = newEcho(nothing)
				s.handler.Register(s.echo.Group(row.prefix))
			}
			location, _ := s.created(row.prefix + row.endpoint)
			assert.Equal(t, row.want, location)
			if strings.HasPrefix(location, "/") {
				assert.Equal(t, http.StatusNoContent, s.do(http.MethodGet, location, "").Code, "the URL works")
			}
		})
	}
}

func nothing(Registrar) {}

func TestLinkLines(t *testing.T) {
	servers := []ICEServer{{URL: "stun:a"}, {URL: "turn:b", Username: "u", Credential: "c"}}
	const stun, turn = `<stun:a>; rel="ice-server"`, `<turn:b>; rel="ice-server"; username="u"; credential="c"; credential-type="password"`
	s := newServer(t, Config{ICEServers: servers})
	w := s.do(http.MethodPost, "/whip/live/cam", offerBody, sdpHeader)
	assert.Equal(t, []string{stun, turn}, w.Header().Values("Link"))
	w = s.do(http.MethodPost, "/whep/live/cam", offerBody, sdpHeader)
	assert.Equal(t, []string{
		stun, turn,
		`</whep/live/cam/session-1/sse>; rel="urn:ietf:params:whep:ext:core:server-sent-events"; events="active,inactive,layers,viewercount,reconnect"`,
		`</whep/live/cam/session-1/layer>; rel="urn:ietf:params:whep:ext:core:layer"`,
	}, w.Header().Values("Link"))
}

// linkLine is what a client that splits at ";" and strips quotes can read.
var linkLine = regexp.MustCompile(`^<((?:stun|turn)s?:[!-~]+)>; rel="ice-server"(?:; username="([!-~]*)"; credential="([!-~]*)"; credential-type="password")?$`)

func FuzzICEServerLink(f *testing.F) {
	f.Add("stun:a", "", "")
	f.Add("turn:b:3478?transport=udp", "user:1", "cred=/+")
	f.Add("turn:b", "a\"; rel=\"x", "c")
	f.Add("turns:b\r\nSet-Cookie: a", "é", "\x00")
	f.Fuzz(func(t *testing.T, url, username, credential string) {
		link, err := ICEServer{url, username, credential}.link()
		if err != nil {
			return
		}
		if strings.ContainsAny(link, ",\r\n") {
			t.Errorf("%q would be split", link)
		}
		parts := linkLine.FindStringSubmatch(link)
		if parts == nil || parts[1] != url {
			t.Fatalf("%q is not a link to %q", link, url)
		}
		if strings.HasPrefix(url, "turn") && username != "" && (parts[2] != username || parts[3] != credential) {
			t.Errorf("%q lost the credentials %q %q", link, username, credential)
		}
		if len(strings.Split(link, ";")) > 5 {
			t.Errorf("%q has too many parameters", link)
		}
	})
}
