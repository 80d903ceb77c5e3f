package bench

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"rheomesh/internal/sdp"
)

func testOffer() offer {
	return offer{
		sessionID: 5, credentials: newCredentials(), fingerprint: strings.Repeat("AB:", 31) + "AB",
		candidate: netip.MustParseAddrPort("127.0.0.1:4711"),
	}
}

func TestOfferOfAViewer(t *testing.T) {
	d, err := sdp.Parse([]byte(testOffer().marshal()), sdp.DefaultLimits)
	require.NoError(t, err)
	require.NoError(t, sdp.CheckPlay(d))
	require.Len(t, d.Media, 2)
	require.Len(t, d.Candidates, 1)
	h264 := d.Media[1].Codecs[0]
	require.Equal(t, "42e01f", h264.Param("profile-level-id"))
	require.Equal(t, "1", h264.Param("packetization-mode"))
}

func TestOfferOfAPublisher(t *testing.T) {
	o := testOffer()
	o.audioSSRC, o.videoSSRC, o.rtxSSRC = 1, 2, 3
	d, err := sdp.Parse([]byte(o.marshal()), sdp.DefaultLimits)
	require.NoError(t, err)
	require.NoError(t, sdp.CheckPublish(d))
	require.Equal(t, []sdp.SSRCGroup{{Semantics: "FID", IDs: []uint32{2, 3}}}, d.Media[1].Groups)
	require.Len(t, sdp.PublishCodecs(d.Media[1]), 2)
}

func TestUsableCandidates(t *testing.T) {
	values := []string{
		"1 1 udp 100 192.0.2.1 1000 typ host",
		"2 1 udp 200 192.0.2.2 1000 typ host",
		"3 1 tcp 900 192.0.2.3 1000 typ host tcptype passive",
		"4 2 udp 900 192.0.2.4 1000 typ host",
		"5 1 udp 900 2001:db8::1 1000 typ host",
		"6 1 udp 900 0b1c.local 1000 typ host",
		"7 1 udp 50 192.0.2.9 1000 typ host",
	}
	var got []string
	for _, addr := range usable(values, netip.MustParseAddr("192.0.2.9")) {
		got = append(got, addr.Addr().String())
	}
	require.Equal(t, []string{"192.0.2.9", "192.0.2.2", "192.0.2.1"}, got)
	require.Len(t, usable(values, netip.MustParseAddr("2001:db8::7")), 1)
}

func TestFingerprint(t *testing.T) {
	got, err := fingerprint("sha-256", []byte("abc"))
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(got, "BA:78:16:BF:"))
	_, err = fingerprint("md5", nil)
	require.Error(t, err)
	require.Error(t, verifyFingerprint(sdp.Fingerprint{Algorithm: "sha-256", Value: got}, [][]byte{[]byte("abd")}))
	require.Error(t, verifyFingerprint(sdp.Fingerprint{Algorithm: "sha-256", Value: got}, nil))
	require.NoError(t, verifyFingerprint(sdp.Fingerprint{Algorithm: "sha-256", Value: got}, [][]byte{[]byte("abc")}))
}
