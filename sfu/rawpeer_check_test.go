package sfu

import (
	"log/slog"
	"testing"

	"github.com/pion/dtls/v3"
	"github.com/pion/srtp/v3"
	"github.com/stretchr/testify/require"
)

// rawNode starts a node on the IPv4 loopback with a router "live", closed with the test.
func rawNode(t testing.TB, change ...func(*Config)) (*Node, *Router) {
	t.Helper()
	config := Config{MediaAddr: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)}
	for _, c := range change {
		c(&config)
	}
	node, err := NewNode(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, node.Close()) })
	router, _, err := node.PutRouter("live", RouterConfig{})
	require.NoError(t, err)
	return node, router
}

var (
	rawKeyframe = []byte{0x10, 0x10, 0x00, 0x00, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01, 7}
	rawDelta    = []byte{0x10, 0x11, 0x00, 0x00, 7}
)

func TestRawPeersExchangeMediaWithEveryProfile(t *testing.T) {
	for _, profile := range []dtls.SRTPProtectionProfile{dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80, dtls.SRTP_AEAD_AES_256_GCM} {
		t.Run(srtp.ProtectionProfile(profile).String(), func(t *testing.T) {
			_, router := rawNode(t)
			p := RawPublish(t, router, "cam", []string{RawVideo}, RawProfile(profile))
			v := RawWatch(t, router, "cam", []string{RawVideo}, RawProfile(profile))
			p.SendVP8(1, 1000, rawKeyframe)
			_, packet := v.NextRTP()
			require.Equal(t, rawKeyframe, packet.Payload)
		})
	}
}

// Settle returns when a viewer's worker has done all that it was told to do until now.
func Settle(s *Session) error {
	if s.subscriber == nil {
		return ErrSessionState
	}
	s.subscriber.worker.ask(func() {})
	return nil
}

// Node is the node of a router.
func (r *Router) Node() *Node { return r.node }
