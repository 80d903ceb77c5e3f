package relay_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rheomesh/relay"
)

const (
	oldSecret = "the secret that a cluster had until now"
	newSecret = "the secret that a cluster has from now on"
)

func secrets(current, previous string) func(*relay.Config) {
	return func(c *relay.Config) { c.Secret, c.PreviousSecret = current, previous }
}

func rests(m *machine) string {
	if links := m.relay.Links(); len(links) == 1 {
		return links[0].Secret
	}
	return "not one link"
}

// A cluster of two changes its secret, in either order and both ways of relaying, and not a packet is lost: the link that was made with the old secret stays, and rests on the
// new one before the old one goes.
func TestSecretChangesWithoutLoss(t *testing.T) {
	for name, order := range map[string]func(p *pair) []*machine{
		"initiator first": func(p *pair) []*machine { return []*machine{p.a, p.b} },
		"responder first": func(p *pair) []*machine { return []*machine{p.b, p.a} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, nil, secrets(oldSecret, ""))
			link := p.relay.Info().LinkID
			p.send(t, 50)
			for _, m := range order(p) {
				m.relay.SetSecrets(newSecret, oldSecret)
				p.send(t, 50)
			}
			for _, m := range order(p) {
				eventually(t, "link does not move", func() bool { p.send(t, 1); return rests(m) == "current" })
			}
			for _, m := range order(p) {
				m.relay.SetSecrets(newSecret, "")
				p.send(t, 50)
			}
			eventually(t, "packets are missing", func() bool { return p.arrived(t) == p.sent })
			require.Equal(t, link, p.relay.Info().LinkID)
			require.Zero(t, p.b.relay.Stats().Lost)
		})
	}
}

// While the secret changes, nodes which know both reach those which know the old one only, and are reached by them.
func TestSecretsInTransition(t *testing.T) {
	both, old := newMachine(t, "both", "127.0.0.1:0", secrets(newSecret, oldSecret)), newMachine(t, "old", "127.0.0.1:0", secrets(oldSecret, ""))
	source := both.publishPackets(t, "cam")
	both.put(t, both.order(old))
	checkArrives(t, source, old)
	require.Equal(t, "previous", rests(both))
	require.Equal(t, "current", rests(old))

	next := newMachine(t, "next", "127.0.0.1:0", secrets(newSecret, ""))
	next.put(t, next.order(both))
	_, _, err := next.relay.Put(t.Context(), relay.Order{Router: "live", ID: "other", Peer: old.relay.Addr().String()})
	require.ErrorIs(t, err, relay.ErrDenied)
}

// What rests on a secret that is not valid any more ends, on whichever side it goes first, and says why it does not come back.
func TestSecretRevoked(t *testing.T) {
	for name, revoke := range map[string]func(a, b *machine){
		"at the responder": func(_, b *machine) { b.relay.SetSecrets(newSecret, "") },
		"at the initiator": func(a, _ *machine) { a.relay.SetSecrets(newSecret, "") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := newMachine(t, "a", "127.0.0.1:0", secrets(oldSecret, "")), newMachine(t, "b", "127.0.0.1:0", secrets(oldSecret, ""))
			a.publishPackets(t, "cam")
			r := a.put(t, a.order(b))
			b.live(t, "cam")
			start := time.Now()
			revoke(a, b)
			eventually(t, "publisher stays", func() bool { return len(b.router.Publishers()) == 0 })
			eventually(t, "relay says nothing", func() bool { return r.Info().State == relay.StateFailed && r.Info().Reason == "denied" })
			require.Less(t, time.Since(start), 5*time.Second)
			a.relay.SetSecrets(newSecret, "")
			b.relay.SetSecrets(newSecret, "")
			b.live(t, "cam")
			require.Equal(t, "current", rests(a))
		})
	}
}
