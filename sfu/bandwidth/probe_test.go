package bandwidth

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// idle is an estimator that allows a probe.
func idle(bitrate float64, now int64) *estimator {
	e := &estimator{}
	e.reset(Config{}.withDefaults(), now)
	e.bitrate, e.source, e.heardAt = bitrate, SourceTransportWide, now
	return e
}

type sentPacket struct {
	at    int64
	bytes int
}

// sendCluster polls each step and returns what went out.
func sendCluster(p *prober, now, step int64) (sent []sentPacket) {
	for until := now + int64(probeFor) + 2*step; now <= until; now += step {
		for {
			bytes, ok := p.due(now)
			if !ok {
				break
			}
			p.sent(bytes, now)
			sent = append(sent, sentPacket{now, bytes})
		}
	}
	return sent
}

// carry brings the packets over a link of this rate and has them reported.
func carry(p *prober, sent []sentPacket, rate float64, lost func(i int) bool) {
	free := 0.0
	for i, s := range sent {
		free = max(free, float64(s.at)/1000) + float64(s.bytes)*8e6/rate
		if lost(i) {
			p.lost(p.cluster)
			continue
		}
		p.arrived(p.cluster, s.at/1000, int64(free)+20_000, s.bytes)
	}
}

func none(int) bool { return false }

func TestProbeMeasures(t *testing.T) {
	for _, row := range []struct {
		name    string
		want    float64
		link    float64
		step    time.Duration
		lost    func(int) bool
		carried bool
		least   float64
		most    float64
	}{
		{"a wide link", 2_000_000, 20_000_000, 5 * time.Millisecond, none, true, 2_000_000, 2_600_000},
		{"a wide link, polled slowly", 2_000_000, 20_000_000, 20 * time.Millisecond, none, true, 2_000_000, 3_000_000},
		{"just wide enough", 2_000_000, 2_300_000, 5 * time.Millisecond, none, true, 1_950_000, 2_400_000},
		{"half", 2_000_000, 1_000_000, 5 * time.Millisecond, none, false, 900_000, 1_100_000},
		{"thin", 620_000, 300_000, 5 * time.Millisecond, none, false, 270_000, 330_000},
		{"a third is lost", 2_000_000, 20_000_000, 5 * time.Millisecond, func(i int) bool { return i%3 == 1 }, false, 1_000_000, 2_600_000},
		{"all is lost", 2_000_000, 20_000_000, 5 * time.Millisecond, func(int) bool { return true }, false, 0, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			var p prober
			p.reset(0)
			p.consider(row.want, idle(600_000, sec), sec)
			require.True(t, p.running())
			sent := sendCluster(&p, sec, int64(row.step))
			require.GreaterOrEqual(t, len(sent), probePackets)
			carry(&p, sent, row.link, row.lost)
			result, ok := p.finish(sec + int64(probeFor) + 50*ms)
			require.True(t, ok)
			assert.Equal(t, row.carried, result.carried)
			assert.GreaterOrEqual(t, result.rate, row.least)
			assert.LessOrEqual(t, result.rate, row.most)
			assert.False(t, p.running())
		})
	}
}

// Media that goes out meanwhile counts, and padding fills only what it leaves.
func TestProbeFillsUp(t *testing.T) {
	var p prober
	p.reset(0)
	p.consider(1_000_000, idle(600_000, 0), 0)
	padding, media := 0, 0
	for now := int64(0); now <= int64(probeFor); now += 5 * ms {
		p.sent(400, now) // 640 kbit/s
		media += 400
		for {
			bytes, ok := p.due(now)
			if !ok {
				break
			}
			p.sent(bytes, now)
			padding += bytes
		}
	}
	assert.InDelta(t, 1_000_000*probeExtra*0.08/8, float64(padding+media), 1200)
	assert.Less(t, padding, media)
}

func TestProbeBackoff(t *testing.T) {
	var p prober
	p.reset(sec)
	var waits []int64
	now := sec
	for range 5 {
		ended := now
		for !p.running() {
			p.consider(2_000_000, idle(600_000, now), now)
			now += 20 * ms
		}
		waits = append(waits, (now-ended)/sec)
		for p.running() {
			now += 20 * ms
			result, ok := p.finish(now)
			assert.Zero(t, result.rate, "no report came")
			assert.Equal(t, ok, !p.running())
		}
	}
	assert.Equal(t, []int64{0, 2, 4, 8, 8}, waits)
}

func TestProbeOnlyWhenTheLinkIsQuiet(t *testing.T) {
	now := 10 * sec
	for _, row := range []struct {
		name  string
		spoil func(e *estimator)
		want  float64
		runs  bool
	}{
		{"quiet", func(*estimator) {}, 1e6, true},
		{"nothing is wanted", func(*estimator) {}, 0, false},
		{"congested a moment ago", func(e *estimator) { e.overusedAt = now - sec/2 }, 1e6, false},
		{"a queue stands", func(e *estimator) { e.delay.queue = leastQueue }, 1e6, false},
		{"reports have stopped", func(e *estimator) { e.heardAt = now - 2*sec }, 1e6, false},
		{"the viewer sends REMB only", func(e *estimator) { e.source = SourceREMB }, 1e6, false},
		{"packets are lost", func(e *estimator) { e.loss.fraction = 0.2 }, 1e6, false},
		{"packets are lost as ever", func(e *estimator) { e.loss.fraction, e.loss.inherent = 0.2, 0.15 }, 1e6, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			var p prober
			p.reset(0)
			e := idle(600_000, now)
			row.spoil(e)
			p.consider(row.want, e, now)
			assert.Equal(t, row.runs, p.running())
		})
	}
}

// ProbeAt names the time from which on Probe has something.
func TestProbeAt(t *testing.T) {
	v := NewViewer(Config{}, 0)
	assert.Zero(t, v.ProbeAt())
	v.prober.consider(1_000_000, idle(600_000, sec), sec)
	packets := uint16(0)
	for at := v.ProbeAt(); at != 0 || packets == 0; at = v.ProbeAt() {
		if at > sec {
			_, early := v.Probe(at - 100_000)
			assert.False(t, early, "at %d", at)
		}
		bytes, ok := v.Probe(at)
		require.True(t, ok, "at %d", at)
		v.Sent(packets, bytes, at)
		packets++
	}
	assert.GreaterOrEqual(t, packets, uint16(probePackets))
}
