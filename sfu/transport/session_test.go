package transport

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/stun/v4"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// TestEnds brings sessions to their end in every way.
func TestEnds(t *testing.T) {
	short := func(c *Config) { c.ConnectTimeout = 300 * time.Millisecond }
	silentAfter := func(c *Config) { c.SilenceTimeout = 100 * time.Millisecond }
	dtlsClient := func(p *Peer) { p.DTLSClient = true }
	connected := func(c *client, s *testSession) { c.connect(s) }
	tests := []struct {
		name   string
		config func(*Config)
		peer   func(*Peer)
		run    func(c *client, s *testSession)
		want   Cause
	}{
		{"closed at once", nil, nil, func(_ *client, s *testSession) { s.Close() }, CauseLocal},
		{"abandoned", nil, nil, func(_ *client, s *testSession) { s.Abandon() }, CauseLocal},
		{"closed with a path", nil, nil, func(c *client, s *testSession) { c.ping(useCandidate); s.Close() }, CauseLocal},
		{"closed in our handshake", nil, dtlsClient, func(c *client, s *testSession) { c.proved(useCandidate); s.Close() }, CauseLocal},
		{"closed while connected", nil, nil, func(c *client, s *testSession) {
			c.connect(s)
			s.Close()
			_, err := c.link.Read(make([]byte, 10)) // our close_notify
			require.Error(c.t, err)
		}, CauseLocal},
		{"nobody comes", func(c *Config) { c.ConnectTimeout = time.Millisecond }, nil, func(*client, *testSession) {}, CauseTimeout},
		{"no DTLS", short, nil, func(c *client, _ *testSession) { c.proved(useCandidate) }, CauseTimeout},
		{"no DTLS, we start it", short, dtlsClient, func(c *client, _ *testSession) { c.proved(useCandidate) }, CauseTimeout},
		{"lite, nobody comes", func(c *Config) { short(c); c.Lite = true }, nil, func(*client, *testSession) {}, CauseTimeout},
		{"close_notify", nil, nil, func(c *client, s *testSession) { c.connect(s); require.NoError(c.t, c.link.Close()) }, CausePeer},
		{"silence", silentAfter, nil, func(c *client, s *testSession) { c.connect(s); c.vanish() }, CauseSilent},
		{"lite, silence", func(c *Config) { silentAfter(c); c.Lite = true }, nil, func(c *client, s *testSession) { c.connect(s); c.vanish() }, CauseSilent},
		{"unsealed media is silence", silentAfter, nil, func(c *client, s *testSession) {
			connected(c, s)
			for start := time.Now(); len(s.closed) == 0 && time.Since(start) < patience; {
				c.write(rtpPacket(1, 1, "a forgery that is long enough to be sealed"))
				c.write(append([]byte{23, 254, 253, 0, 1, 0, 0, 0, 0, 0, 9, 0, 20}, make([]byte, 20)...))
				time.Sleep(time.Millisecond)
			}
		}, CauseSilent},
		{
			"wrong fingerprint", nil, func(p *Peer) { p.FingerprintAlgorithm, p.Fingerprint = "sha-256", fingerprintOf(t, serverCertificate) },
			func(c *client, _ *testSession) { c.ping(useCandidate); require.Error(c.t, c.handshake(true)) }, CauseHandshake,
		},
		{
			"wrong fingerprint of a DTLS server", nil, func(p *Peer) { p.DTLSClient, p.FingerprintAlgorithm, p.Fingerprint = true, "sha-256", "AB:CD" },
			func(c *client, _ *testSession) { c.ping(useCandidate); require.Error(c.t, c.handshake(false)) }, CauseHandshake,
		},
		{
			"unknown fingerprint algorithm", nil, func(p *Peer) { p.FingerprintAlgorithm, p.Fingerprint = "md2", "AB:CD" },
			func(c *client, _ *testSession) { c.ping(useCandidate); require.Error(c.t, c.handshake(true)) }, CauseHandshake,
		},
		{
			"no SRTP profile in common", func(c *Config) { c.Profiles = []dtls.SRTPProtectionProfile{dtls.SRTP_AEAD_AES_256_GCM} }, nil,
			func(c *client, _ *testSession) {
				c.ping(useCandidate)
				require.Error(c.t, c.handshake(true, dtls.SRTP_AEAD_AES_128_GCM))
			}, CauseHandshake,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var changes []func(*Config)
			if tt.config != nil {
				changes = append(changes, tt.config)
			}
			s := newServer(t, changes...)
			var peers []func(*Peer)
			if tt.peer != nil {
				peers = append(peers, tt.peer)
			}
			c, session := pairUp(t, s, peers...)
			tt.run(c, session)
			session.waitClosed(tt.want)
			receive(t, session.Done(), "Done is not closed")
			require.LessOrEqual(t, strings.Count(s.log.String(), "\n"), 1, "at most one line for a session")
			requireForgotten(t, s, c.remote)
		})
	}
}

// TestPaused moves the clock of a connected session.
func TestPaused(t *testing.T) {
	const timeout = patience
	tests := []struct {
		name           string
		lite           bool
		heard, consent time.Duration // ago
		want           bool
	}{
		{"heard", false, 0, 0, false},
		{"heard a third ago", false, timeout / 3, 0, false},
		{"silent for longer", false, timeout/3 + 1, 0, true},
		{"heard, but no consent", false, 0, timeout + 1, true},
		{"heard, consent not lost yet", false, 0, timeout, false},
		{"lite asks for no consent", true, 0, timeout + 1, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t, func(c *Config) { c.Lite = tt.lite })
			session := s.newSession(Peer{})
			now := time.Now()
			session.heard.Store(now.Add(-tt.heard).UnixNano())
			session.consent.Store(now.Add(-tt.consent).UnixNano())
			require.Equal(t, tt.want, session.Paused(now))
		})
	}
}

// TestSignsOfLife tells what counts as hearing from a connected client.
func TestSignsOfLife(t *testing.T) {
	s := newServer(t)
	c, session := pairUp(t, s)
	c.connect(session)
	path := s.pathTo(c.addr())
	c.sendRTP(1, "x")
	receive(t, session.rtp, "no RTP")
	eventually(t, session.flowing.Load, "packets do not flow")
	sealedRTP, err := c.send.EncryptRTP(nil, rtpPacket(2, 1, "x"), nil)
	require.NoError(t, err)
	sealedRTCP, err := c.send.EncryptRTCP(nil, receiverReport(1), nil)
	require.NoError(t, err)
	tests := []struct {
		name string
		data []byte
		want bool
	}{
		{"RTP", sealedRTP, true},
		{"RTP again", sealedRTP, false},
		{"RTCP", sealedRTCP, true},
		{"RTCP again", sealedRTCP, false},
		{"unsealed RTP", rtpPacket(3, 1, "some twenty bytes of payload"), false},
		{"unsealed RTCP", append(receiverReport(1), make([]byte, 40)...), false},
		{"check", c.check().Raw, true},
		{"check with the wrong password", c.checkAs("wrong password, wrong password", controlling).Raw, false},
		{"DTLS garbage", append([]byte{23, 254, 253, 0, 1, 0, 0, 0, 0, 0, 9, 0, 4}, 1, 2, 3, 4), false},
		{"indication", stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodBinding, stun.ClassIndication)).Raw, false},
		{"nothing known", []byte{255}, false},
		{"empty", nil, false},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			now := time.Now().Add(time.Duration(i) * time.Minute)
			session.HandlePacket(tt.data, path, now)
			require.Equal(t, tt.want, session.heard.Load() == now.UnixNano())
		})
	}
}

// TestEarlyPackets sends media before the server has its keys.
func TestEarlyPackets(t *testing.T) {
	s := newServer(t)
	c, session := pairUp(t, s)
	path := s.pathTo(c.addr())
	session.HandlePacket(rtpPacket(0, 1, "before any path"), path, time.Now())
	early, _ := session.held()
	require.Zero(t, early)

	// The session connects, but its keys are taken away again as if its handshake had not ended yet.
	c.connect(session)
	eventually(t, session.flowing.Load, "packets do not flow")
	session.flowing.Store(false)
	c.sendRTCP()
	for seq := range maxEarlyPackets + 10 {
		c.sendRTP(uint16(seq), "early")
	}
	c.settle()
	require.Empty(t, session.rtp)
	require.Empty(t, session.rtcp)
	var late sync.WaitGroup
	late.Go(session.release)
	receive(t, session.rtcp, "no RTCP") // the first of the held ones is out, and so there is room again
	for seq := range 20 {
		c.sendRTP(uint16(1000+seq), "late")
	}
	late.Wait()
	for seq := range maxEarlyPackets - 1 {
		require.Equal(t, rtpPacket(uint16(seq), 1, "early"), receive(t, session.rtp, "an early packet is missing"))
	}
	for seq := range 20 {
		require.Equal(t, rtpPacket(uint16(1000+seq), 1, "late"), receive(t, session.rtp, "a late packet is missing"))
	}

	session.flowing.Store(false)
	for range 4 {
		session.HandlePacket(append(rtpPacket(1, 1, ""), make([]byte, 60000)...), path, time.Now())
	}
	early, size := session.held()
	require.LessOrEqual(t, size, maxEarlyBytes, "unauthenticated packets take too much memory")
	require.Equal(t, 1, early)
}

// TestEarlyPacketsKeepOrder has a packet come in while those that were held are delivered.
func TestEarlyPacketsKeepOrder(t *testing.T) {
	s := newServer(t)
	c, session := pairUp(t, s)
	path := s.pathTo(c.addr())
	c.connect(session)
	eventually(t, session.flowing.Load, "packets do not flow")
	session.flowing.Store(false)
	var sealed [][]byte
	for seq := range uint16(5) {
		packet, err := c.send.EncryptRTP(nil, rtpPacket(seq, 1, ""), nil)
		require.NoError(t, err)
		sealed = append(sealed, packet)
	}
	for _, packet := range sealed[:3] {
		session.HandlePacket(packet, path, time.Now())
	}
	next := 3
	session.onRTP = func() {
		if next < len(sealed) {
			next++
			session.HandlePacket(sealed[next-1], path, time.Now())
		}
	}
	session.release()
	for seq := range sealed {
		require.Equal(t, rtpPacket(uint16(seq), 1, ""), receive(t, session.rtp, "a packet is missing"))
	}
	require.True(t, session.flowing.Load())
}

// held is what waits for the keys.
func (s *Session) held() (packets, bytes int) {
	s.earlyMu.Lock()
	defer s.earlyMu.Unlock()
	return len(s.early), s.earlyBytes
}

// TestCloseFromEverywhere closes sessions at random moments of their life, several times at once, while packets come in.
func TestCloseFromEverywhere(t *testing.T) {
	s := newServer(t)
	for i := range 30 {
		c, session := pairUp(t, s)
		path := s.pathTo(c.addr())
		var busy sync.WaitGroup
		busy.Go(func() {
			if i%3 > 0 {
				c.write(c.check(useCandidate).Raw)
				_ = c.handshake(true)
			}
		})
		busy.Go(func() {
			for !session.Session.closed.Load() {
				session.HandlePacket(c.check(useCandidate).Raw, path, time.Now())
				session.HandlePacket(rtpPacket(1, 1, "x"), path, time.Now())
				session.AddCandidates([]netip.AddrPort{c.addr()})
				_, _ = session.Restart(c.local, nil)
				_ = session.SendRTCP(receiverReport(1))
			}
		})
		busy.Go(func() { // a random moment between nothing and connected
			time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
			for range 3 {
				busy.Go(session.Close)
			}
			busy.Go(session.Abandon)
		})
		receive(t, session.closed, "not closed")
		_ = c.dtls.Close()
		busy.Wait()
		session.Close()
		require.Empty(t, session.closed, "HandleClosed was called twice")
		require.False(t, session.Connected())
	}
}

// TestPacketAfterClose has a reader still hold a check when the session ends: it must bind no address, which nobody would free again.
func TestPacketAfterClose(t *testing.T) {
	s := newServer(t)
	c, session := pairUp(t, s)
	session.Close()
	path := s.pathTo(c.addr())
	session.handleSTUN(c.check(useCandidate).Raw, path, time.Now())
	require.True(t, s.port.Bind(path, nil, time.Now(), false), "the address is bound")
}

// TestNothingStays opens 200 sessions in mixed states, ends them in mixed ways, and finds no goroutine and no entry of the port.
func TestNothingStays(t *testing.T) {
	s := newServer(t, func(c *Config) { c.ConnectTimeout = time.Second })
	ignore := goleak.IgnoreCurrent()
	var all sync.WaitGroup
	clients := make(chan *client, 200)
	for i := range 200 {
		c, session := pairUp(t, s, func(p *Peer) { p.DTLSClient = i%5 == 4 })
		clients <- c
		all.Go(func() {
			switch i % 5 {
			case 0: // nobody comes
			case 1:
				c.write(c.check(useCandidate).Raw)
			case 2:
				c.write(c.check(useCandidate).Raw)
				_, _ = session.Restart(NewCredentials(), nil)
				session.Abandon()
			case 3, 4:
				if i%10 < 5 {
					c.write(c.check(useCandidate).Raw)
					if c.handshake(!session.peer.DTLSClient) == nil && i%4 == 0 {
						_ = c.link.Close()
					}
				}
			}
			if i%2 == 0 {
				session.Close()
			}
			<-session.Done()
		})
	}
	closing := time.AfterFunc(1500*time.Millisecond, func() { // connected ones that nobody else ends
		for _, session := range s.made {
			session.Abandon()
		}
	})
	defer closing.Stop()
	all.Wait()
	close(clients)
	for c := range clients {
		c.close()
	}
	for _, session := range s.made {
		session.Close()
	}
	require.NoError(t, goleak.Find(ignore))
	for _, session := range s.made {
		requireForgotten(t, s, session.LocalCredentials())
	}
}

// requireForgotten sends a check for a session that has ended, then one for another, whose answer must be the first to come.
func requireForgotten(t *testing.T, s *server, ended Credentials) {
	t.Helper()
	if s.live == nil {
		s.config.ConnectTimeout = patience
		s.live, _ = pairUp(t, s)
	}
	s.live.write(s.live.checkFor(ended, controlling).Raw)
	want := s.live.check()
	s.live.write(want.Raw)
	require.Equal(t, want.TransactionID, receive(t, s.live.stun, "no answer").TransactionID, "the ended session answers")
}

// TestGoroutines counts the goroutines of connected sessions, which inherit a label from the port's readers.
func TestGoroutines(t *testing.T) {
	const sessions = 10
	label := pprof.Labels("side", "server")
	var s *server
	pprof.Do(context.Background(), label, func(context.Context) { s = newServer(t) })
	idle := labelled(t)
	require.NotZero(t, idle, "the label is not inherited")
	var clients []*client
	for range sessions {
		c, session := pairUp(t, s)
		c.connect(session)
		clients = append(clients, c)
	}
	eventually(t, func() bool { return labelled(t) <= idle+3*sessions }, "more than 3 goroutines per session")
	t.Logf("%.1f goroutines per session", float64(labelled(t)-idle)/sessions)
	for _, c := range clients {
		_, err := c.link.Write([]byte("application data"))
		require.NoError(t, err)
	}
	eventually(t, func() bool { return labelled(t) == labelledWithDrain(idle, sessions) }, "not one reader of application data per session")
	t.Logf("%.1f with application data", float64(labelled(t)-idle)/sessions)
}

// labelledWithDrain is the number of goroutines expected when every session reads application data too.
func labelledWithDrain(idle, sessions int) int { return idle + 4*sessions }

var labelledGoroutines = regexp.MustCompile(`(?m)^(\d+) @.*\n# labels: .*"side":"server"`)

func labelled(t *testing.T) (n int) {
	var text bytes.Buffer
	require.NoError(t, pprof.Lookup("goroutine").WriteTo(&text, 1))
	for _, m := range labelledGoroutines.FindAllStringSubmatch(text.String(), -1) {
		count, err := strconv.Atoi(m[1])
		require.NoError(t, err)
		n += count
	}
	return n
}
