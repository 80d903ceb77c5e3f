package whip

import (
	"context"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"rheomesh/sfu"
)

func TestAdmit(t *testing.T) {
	var asked []Attempt
	s := newServer(t, Config{
		Authorize: tokens,
		Admit: func(_ context.Context, a Attempt) error {
			asked = append(asked, a)
			if a.Publisher == "banned" {
				return ErrForbidden
			}
			return nil
		},
	})
	good := "Authorization: Bearer good"
	require.Equal(t, 401, s.do("POST", "/whip/live/cam", offerBody, sdpHeader).Code)
	require.Equal(t, 404, s.do("POST", "/whip/none/cam", offerBody, sdpHeader, good).Code)
	require.Empty(t, asked, "whoever is refused anyway costs no question")

	created := s.do("POST", "/whip/live/cam", offerBody, sdpHeader, good, "User-Agent: test/1")
	require.Equal(t, 201, created.Code)
	require.Equal(t, []Attempt{{sfu.RolePublish, "live", "cam", netip.MustParseAddr("192.0.2.1"), "test/1"}}, asked)
	require.Equal(t, ActionPublish, asked[0].Action())
	require.Equal(t, 201, s.do("POST", "/whep/live/cam", offerBody, sdpHeader, good).Code)
	require.Equal(t, ActionPlay, asked[1].Action())

	location := created.Header().Get("Location")
	for _, method := range []string{"GET", "DELETE"} {
		s.do(method, location, "")
	}
	s.do("GET", "/whip/live/cam", "", good)
	s.do("OPTIONS", "/whip/live/cam", "", good)
	require.Len(t, asked, 2, "only new sessions are asked about")

	last := s.node.last()
	require.Equal(t, 403, s.do("POST", "/whip/live/banned", offerBody, sdpHeader, good).Code)
	require.Equal(t, 403, s.do("POST", "/whep/live/banned", "", good).Code)
	require.Same(t, last, s.node.last(), "none was made")
}
