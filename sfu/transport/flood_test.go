package transport

import (
	"testing"
	"time"

	"github.com/pion/stun/v4"
	"github.com/stretchr/testify/require"
)

// strangers are STUN messages that anybody could send who saw a ufrag, or guessed a session's number.
func strangers(c *client) map[string][]byte {
	many := []stun.Setter{stun.TransactionID, stun.BindingRequest, stun.NewUsername(c.remote.Ufrag + ":x")}
	for range 300 {
		many = append(many, stun.RawAttribute{Type: stun.AttrSoftware})
	}
	many = append(many, stun.NewShortTermIntegrity("wrong password, wrong password"))
	var answer stun.Message
	answer.TransactionID[0] = 1
	return map[string][]byte{
		"wrong integrity":         c.checkAs("wrong password, wrong password", controlling).Raw,
		"300 attributes":          stun.MustBuild(many...).Raw,
		"answer nobody awaits":    answerTo(&answer, "wrong password, wrong password"),
		"longer than any check":   append([]byte{0, 1, 0x08, 0}, make([]byte, 2064)...),
		"length that is not true": append([]byte{0, 1, 0x40, 0}, make([]byte, 1000)...),
	}
}

// TestFloodCosts bounds what strangers' messages make us allocate: one short key for the comparison, and nothing that lasts.
func TestFloodCosts(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	s := newServer(t)
	c, session := pairUp(t, s)
	path := s.pathTo(c.addr())
	for name, raw := range strangers(c) {
		flood := func() {
			for range 100 {
				session.HandlePacket(raw, path, time.Time{})
			}
		}
		flood()
		require.LessOrEqual(t, testing.AllocsPerRun(10, flood), 250.0, "%s: allocations for 100 packets", name)
	}
	require.Zero(t, session.heard.Load())
	session.state(func(a *agent) { require.Empty(t, a.pairs) })
	c.settle()
	require.Empty(t, c.stun, "strangers were answered")
	require.Empty(t, s.log.String())
}

func BenchmarkFlood(b *testing.B) {
	s := newServer(b)
	c, session := pairUp(b, s)
	path := s.pathTo(c.addr())
	for name, raw := range strangers(c) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				session.HandlePacket(raw, path, time.Time{})
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N), "ns/packet")
		})
	}
}

// FuzzHandlePacket feeds one session any bytes, connected or not. They are authentic never, so the session's state must stay.
func FuzzHandlePacket(f *testing.F) {
	s := newServer(f)
	c, session := pairUp(f, s)
	connectedClient, connected := pairUp(f, s)
	connectedClient.connect(connected)
	for _, raw := range strangers(c) {
		f.Add(raw)
	}
	f.Add(rtpPacket(1, 1, "payload"))
	f.Add(receiverReport(1))
	f.Add(record(21, 0, 1, 0))
	f.Add(record(recordHandshake, 0, 1, 2, 3))
	path := s.pathTo(c.addr())
	f.Fuzz(func(t *testing.T, data []byte) {
		session.HandlePacket(data, path, time.Now())
		session.state(func(a *agent) { require.Empty(t, a.pairs) })
		require.Zero(t, session.heard.Load())
		heard := connected.heard.Load()
		connected.HandlePacket(data, path, time.Now().Add(time.Hour)) // not the connected client's address
		require.Less(t, connected.heard.Load(), heard+int64(time.Minute))
		require.True(t, connected.Connected())
	})
}
