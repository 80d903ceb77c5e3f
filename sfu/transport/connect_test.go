package transport

import (
	"cmp"
	"testing"

	"github.com/pion/dtls/v3"
	"github.com/stretchr/testify/require"
)

// TestMediaBothWays connects in every DTLS role and with every SRTP profile, as a full and as a lite agent, and sends media in both directions.
func TestMediaBothWays(t *testing.T) {
	tests := []struct {
		name     string
		addr     string // of the server; empty for IPv4 loopback
		lite     bool
		active   bool // we start the handshake
		profiles []dtls.SRTPProtectionProfile
		want     string
	}{
		{"we are DTLS server", "", false, false, nil, "SRTP_AEAD_AES_128_GCM"},
		{"we are DTLS client", "", false, true, nil, "SRTP_AEAD_AES_128_GCM"},
		{"we are lite", "", true, false, nil, "SRTP_AEAD_AES_128_GCM"},
		{"AES-CM", "", false, false, []dtls.SRTPProtectionProfile{dtls.SRTP_AES128_CM_HMAC_SHA1_80}, "SRTP_AES128_CM_HMAC_SHA1_80"},
		{"AES-CM before GCM", "", false, false, []dtls.SRTPProtectionProfile{dtls.SRTP_AES128_CM_HMAC_SHA1_80, dtls.SRTP_AEAD_AES_128_GCM}, "SRTP_AEAD_AES_128_GCM"},
		{"AES-256-GCM", "", false, false, []dtls.SRTPProtectionProfile{dtls.SRTP_AEAD_AES_256_GCM}, "SRTP_AEAD_AES_256_GCM"},
		{"IPv6", "[::1]:0", false, false, nil, "SRTP_AEAD_AES_128_GCM"},
		{"both families", "localhost:0", false, false, nil, "SRTP_AEAD_AES_128_GCM"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.addr != "" && !hasIPv6() {
				t.Skip("no IPv6 on this machine")
			}
			s := newServerAt(t, cmp.Or(tt.addr, "127.0.0.1:0"), func(c *Config) { c.Lite = tt.lite })
			c, session := pairUp(t, s, func(p *Peer) { p.DTLSClient = tt.active })
			require.False(t, session.Connected())
			require.Empty(t, session.Profile())
			_, err := session.SealRTP(nil, 0, nil, 0, 0)
			require.ErrorIs(t, err, ErrNotConnected)
			require.ErrorIs(t, session.SendRTCP(nil), ErrNotConnected)
			_, err = session.OpenRTP(nil, nil)
			require.ErrorIs(t, err, ErrNotConnected)

			c.connect(session, tt.profiles...)
			require.True(t, session.Connected())
			require.Equal(t, tt.want, session.Profile())
			require.Equal(t, c.addr(), session.Path().Remote())

			c.sendRTP(7, "up")
			require.Equal(t, rtpPacket(7, 1, "up"), receive(t, session.rtp, "no RTP"))
			session.sendMedia(8, "down")
			require.Equal(t, rtpPacket(8, 2, "down"), c.receiveRTP())
			c.sendRTCP()
			require.Equal(t, receiverReport(1), receive(t, session.rtcp, "no RTCP"))
			require.NoError(t, session.SendRTCP(receiverReport(2)))
			plain, err := c.recv.DecryptRTCP(nil, receive(t, c.media, "no RTCP"), nil)
			require.NoError(t, err)
			require.Equal(t, receiverReport(2), plain)

			session.Close()
			require.False(t, session.Connected())
			require.ErrorIs(t, session.SendRTCP(receiverReport(2)), ErrNotConnected)
		})
	}
}
