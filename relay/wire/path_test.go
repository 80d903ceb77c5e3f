package wire

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// walk looks after a path every 20 ms over so long; passes tells what sizes the network lets through.
func (p *Path) walk(now time.Time, long time.Duration, passes func(size int) bool) (time.Time, int) {
	pings := 0
	for end := now.Add(long); now.Before(end); now = now.Add(20 * time.Millisecond) {
		if size := p.Due(now, 10*time.Millisecond); size > 0 {
			pings++
			if passes(size) {
				p.Passed(size, now)
			}
		}
	}
	return now, pings
}

func upTo(limit int) func(int) bool { return func(size int) bool { return size <= limit } }

func TestPathFindsSize(t *testing.T) {
	for _, row := range []struct {
		name               string
		path, size, beyond int
	}{
		{"IPv6's least", 1232, 1232, 1371},
		{"WireGuard", 1392, 1372, 1451},
		{"Ethernet with IPv6", 1452, 1452, 1471},
		{"Ethernet with IPv4", 1472, 1472, 8951},
		{"jumbo frames", 8952, 8952, 1<<16 - 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			var p Path
			require.Equal(t, 1232, p.Size())
			require.Equal(t, 1<<16-1, p.Limit(), "nothing is refused before it has failed")
			now, _ := p.walk(time.Unix(1, 0), 2*time.Second, upTo(row.path))
			require.Equal(t, row.size, p.Size())
			require.Equal(t, row.beyond, p.Limit())
			_, pings := p.walk(now, time.Minute, upTo(row.path))
			require.Less(t, pings, 20, "a path that is known costs little")
			require.Equal(t, row.size, p.Size())
		})
	}
}

// A path that becomes narrower is noticed within seconds, and one that becomes wider within minutes.
func TestPathChanges(t *testing.T) {
	var p Path
	now, _ := p.walk(time.Unix(1, 0), 2*time.Second, upTo(1472))
	now, _ = p.walk(now, 10*time.Second, upTo(1400))
	require.Equal(t, 1372, p.Size())
	require.Equal(t, 1451, p.Limit())
	now, _ = p.walk(now, 3*time.Minute, upTo(1472))
	require.Equal(t, 1472, p.Size())
	require.Equal(t, 8951, p.Limit())
	now, _ = p.walk(now, 30*time.Second, upTo(0))
	require.Equal(t, 1232, p.Size(), "the least is never given up")
	_ = now
}

// Lost pings are no proof: a size is refused after three.
func TestPathWithLoss(t *testing.T) {
	var p Path
	tries := map[int]int{}
	p.walk(time.Unix(1, 0), 5*time.Second, func(size int) bool {
		tries[size]++
		return tries[size]%3 == 0
	})
	require.Equal(t, 8952, p.Size())
	p.Passed(1, time.Unix(9, 0))
	p.Passed(1232, time.Unix(9, 0))
	require.Equal(t, 8952, p.Size())
}
