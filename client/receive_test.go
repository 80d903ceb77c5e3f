package client

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestSequence(t *testing.T) {
	type counts struct{ lost, disordered, duplicates uint64 }
	tests := []struct {
		name string
		seqs []uint16
		want counts
	}{
		{"none", nil, counts{}},
		{"in order", []uint16{1, 2, 3}, counts{}},
		{"over the wrap", []uint16{65534, 65535, 0, 1}, counts{}},
		{"gap", []uint16{1, 4}, counts{lost: 2}},
		{"gap over the wrap", []uint16{65535, 1}, counts{lost: 1}},
		{"late", []uint16{1, 3, 2}, counts{disordered: 1}},
		{"late over the wrap", []uint16{65535, 1, 0}, counts{disordered: 1}},
		{"duplicate", []uint16{1, 2, 2}, counts{duplicates: 1}},
		{"duplicate of a late one", []uint16{1, 3, 2, 2}, counts{disordered: 1, duplicates: 1}},
		{"before the first", []uint16{5, 4, 3}, counts{disordered: 2}},
		{"before the first, over the wrap", []uint16{0, 65535}, counts{disordered: 1}},
		{"leap beyond the memory", []uint16{1, 3000, 3001}, counts{lost: 2998}},
		{"from before the memory", []uint16{1, 5000, 2}, counts{lost: 4998, disordered: 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var s sequence
			for _, seq := range test.seqs {
				s.take(seq)
			}
			assert.Equal(t, test.want, counts{s.lost(), s.disordered, s.duplicates})
		})
	}
}

// TestSequenceAgainstModel sends a stream with loss, duplicates and disorder within the memory, and
// compares with sets.
func TestSequenceAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := rapid.Uint16().Draw(t, "start")
		at := uint64(1<<16) + uint64(start)
		var s sequence
		seen, highest, lowest := map[uint64]bool{}, at, at
		var duplicates uint64
		s.take(start)
		seen[at] = true
		for _, step := range rapid.SliceOfN(rapid.IntRange(-300, 300), 0, 300).Draw(t, "steps") {
			next := uint64(int64(highest) + int64(step))
			extended, fresh := s.take(uint16(next))
			if extended != next || fresh == seen[next] {
				t.Fatalf("%d: got %d fresh %v", next, extended, fresh)
			}
			if seen[next] {
				duplicates++
			}
			seen[next] = true
			highest, lowest = max(highest, next), min(lowest, next)
		}
		if want := highest - lowest + 1 - uint64(len(seen)); s.lost() != want || s.duplicates != duplicates {
			t.Fatalf("lost %d want %d, duplicates %d want %d", s.lost(), want, s.duplicates, duplicates)
		}
	})
}

func TestReorder(t *testing.T) {
	begin := time.Unix(0, 0)
	type in struct {
		number uint64
		after  time.Duration
	}
	type out struct {
		number uint64
		gap    bool
	}
	tests := []struct {
		name string
		in   []in
		want []out
	}{
		{"in order", []in{{10, 0}, {11, 0}}, []out{{10, false}, {11, false}}},
		{"swapped", []in{{10, 0}, {12, 0}, {11, 0}}, []out{{10, false}, {11, false}, {12, false}}},
		{"waits", []in{{10, 0}, {12, 0}, {13, reorderTime}}, []out{{10, false}}},
		{"gives up", []in{{10, 0}, {12, 0}, {13, reorderTime + 1}}, []out{{10, false}, {12, true}, {13, false}}},
		{"too late", []in{{10, 0}, {12, 0}, {13, time.Second}, {11, time.Second}}, []out{{10, false}, {12, true}, {13, false}}},
		{"two gaps", []in{{10, 0}, {12, 0}, {14, time.Second}}, []out{{10, false}, {12, true}}},
		{"leaps", []in{{10, 0}, {5000, 0}, {5001, 0}}, []out{{10, false}, {5000, true}, {5001, false}}},
		{"leaps with some waiting", []in{{10, 0}, {12, 0}, {5000, 0}}, []out{{10, false}, {12, true}, {5000, true}}},
		{"full", []in{{10, 0}, {12, 0}, {11 + reorderPackets, 0}}, []out{{10, false}, {12, true}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []out
			r := reorder{deliver: func(p *packet, gap bool) { got = append(got, out{p.extended, gap}) }, discard: func(*packet) {}}
			for _, in := range test.in {
				r.push(&packet{extended: in.number, arrival: begin.Add(in.after)})
			}
			assert.Equal(t, test.want, got)
		})
	}
}

// TestReorderAgainstModel shuffles a stream a little and loses some of it: what comes out must be in
// order, nothing twice, all that came in time, and a gap exactly where numbers are missing.
func TestReorderAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		last, started, discarded, pushed := uint64(0), false, 0, 0
		delivered := 0
		r := reorder{
			deliver: func(p *packet, gap bool) {
				if started && (p.extended <= last || gap != (p.extended != last+1)) {
					t.Fatalf("%d after %d with gap %v", p.extended, last, gap)
				}
				last, started = p.extended, true
				delivered++
			},
			discard: func(*packet) { discarded++ },
		}
		for block := range uint64(50) {
			for _, i := range random.Perm(20) {
				if random.IntN(10) == 0 {
					continue
				}
				number := 1000 + 20*block + uint64(i)
				r.push(&packet{extended: number, arrival: time.Unix(0, 0).Add(time.Duration(block) * 20 * time.Millisecond)})
				pushed++
			}
		}
		if delivered+discarded+r.count != pushed {
			t.Fatalf("%d delivered, %d discarded, %d waiting of %d", delivered, discarded, r.count, pushed)
		}
	})
}

func TestJitterAndRate(t *testing.T) {
	a := arrival{clockRate: 90000}
	begin := time.Unix(100, 0)
	for i := range 91 { // three seconds of frames of two packets, every second frame 10 ms late
		late := time.Duration(i%2) * 10 * time.Millisecond
		for range 2 {
			p := &packet{arrival: begin.Add(time.Duration(i)*time.Second/30 + late)}
			p.Timestamp = uint32(4294960000 + 3000*i) // over the wrap
			a.take(p, 1000)
		}
	}
	assert.InDelta(t, 10*time.Millisecond, a.jitterTime(), float64(500*time.Microsecond))
	assert.InDelta(t, 480_000, a.rate(), 20_000)

	steady := arrival{clockRate: 90000}
	for i := range 10 {
		p := &packet{arrival: begin.Add(time.Duration(i) * time.Second / 30)}
		p.Timestamp = uint32(3000 * i)
		steady.take(p, 1000)
	}
	assert.Less(t, steady.jitterTime(), time.Microsecond)
	assert.InDelta(t, 266_666, steady.rate(), 1000, "before a window is full: all since the first")
}

func TestSenderClock(t *testing.T) {
	var c senderClock
	_, known := c.latency(0, time.Now(), 90000)
	assert.False(t, known)
	wall := time.Date(2026, 3, 4, 5, 6, 7, 890_000_000, time.UTC)
	c.take(&rtcp.SenderReport{NTPTime: toNTP(wall), RTPTime: 4_294_967_000})
	tests := []struct {
		name      string
		timestamp uint32
		arrival   time.Time
		want      time.Duration
	}{
		{"at the report", 4_294_967_000, wall.Add(5 * time.Millisecond), 5 * time.Millisecond},
		{"a frame later, over the wrap", 2704, wall.Add(38333333 * time.Nanosecond), 5 * time.Millisecond},
		{"a frame before", 4_294_964_000, wall, 33333333 * time.Nanosecond},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, known := c.latency(test.timestamp, test.arrival, 90000)
			assert.True(t, known)
			assert.InDelta(t, test.want, got, 2)
		})
	}
	c.take(&rtcp.SenderReport{RTPTime: 1})
	got, _ := c.latency(4_294_967_000, wall, 90000)
	assert.Zero(t, got, "a report without a clock changes nothing")
}

func TestNTP(t *testing.T) {
	for _, at := range []time.Time{time.Unix(0, 0), time.Unix(1_700_000_000, 999_999_999), time.Unix(1_700_000_000, 1)} {
		assert.True(t, at.Equal(fromNTP(toNTP(at))), "%v came back as %v", at, fromNTP(toNTP(at)))
	}
	assert.EqualValues(t, 2_208_988_800, toNTP(time.Unix(0, 0))>>32, "seconds from 1900 to 1970")
}

func TestRoundTrip(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	at := func(before time.Duration) uint32 { return uint32(toNTP(now.Add(-before)) >> 16) }
	tests := []struct {
		name   string
		report rtcp.ReceptionReport
		want   time.Duration
		ok     bool
	}{
		{"none", rtcp.ReceptionReport{}, 0, false},
		{"plain", rtcp.ReceptionReport{LastSenderReport: at(500 * time.Millisecond), Delay: 65536 / 4}, 250 * time.Millisecond, true},
		{"negative", rtcp.ReceptionReport{LastSenderReport: at(0), Delay: 10}, 0, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, ok := roundTrip(test.report, now)
			assert.Equal(t, test.ok, ok)
			assert.InDelta(t, test.want, got, float64(50*time.Microsecond))
		})
	}
}

func TestTicks(t *testing.T) {
	tests := []struct {
		name    string
		elapsed time.Duration
		rate    uint32
		want    uint32
	}{
		{"zero", 0, 90000, 0},
		{"a third of a second in thirds of a frame", 333333333, 90000, 30000},
		{"a day", 24 * time.Hour, 48000, 24 * 3600 * 48000 % (1 << 32)},
		{"wraps", 47722 * time.Second, 90000, uint32(47722 * 90000 % (1 << 32))},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { assert.Equal(t, test.want, ticks(test.elapsed, test.rate)) })
	}
}

func TestFrameCounters(t *testing.T) {
	var c frameCounters
	posted := time.Unix(0, 0)
	at := func(ms int) time.Time { return posted.Add(time.Duration(ms) * time.Millisecond) }
	assert.False(t, c.take(&Frame{Arrival: at(10)}, posted), "broken")
	assert.False(t, c.take(&Frame{Arrival: at(20), Complete: true}, posted), "not decodable")
	assert.True(t, c.take(&Frame{Arrival: at(30), Complete: true, Decodable: true, Keyframe: true, width: 4, height: 3}, posted))
	assert.False(t, c.take(&Frame{Arrival: at(40), Complete: true, Decodable: true, Latency: 3, LatencyKnown: true}, posted))
	assert.False(t, c.take(&Frame{Arrival: at(50), Complete: true, Decodable: true, Latency: 5, LatencyKnown: true}, posted))
	want := frameCounters{
		frames: 4, decodable: 3, keyframes: 1, broken: 1, width: 4, height: 3, firstFrame: 30 * time.Millisecond,
		measured: 2, last: 5, least: 3, most: 5, sum: 8,
	}
	assert.Equal(t, want, c)
	assert.EqualValues(t, 4, c.mean())
}

func TestLocalTrackCounts(t *testing.T) {
	track := &LocalTrack{ssrc: 7}
	track.codec.ClockRate = 90000
	track.rtp = newTestTrack(t)
	now := time.Unix(1_700_000_000, 0)
	assert.False(t, track.count([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: 8}}, now), "of another encoding")
	assert.True(t, track.count([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: 7}}, now))
	assert.True(t, track.count([]rtcp.Packet{&rtcp.FullIntraRequest{FIR: []rtcp.FIREntry{{SSRC: 8}, {SSRC: 7}}}}, now))
	assert.False(t, track.count([]rtcp.Packet{
		&rtcp.TransportLayerNack{MediaSSRC: 7, Nacks: []rtcp.NackPair{{PacketID: 1, LostPackets: 0b101}}},
		&rtcp.TransportLayerNack{MediaSSRC: 8, Nacks: []rtcp.NackPair{{PacketID: 1}}},
		&rtcp.ReceiverReport{Reports: []rtcp.ReceptionReport{{SSRC: 7, FractionLost: 64, TotalLost: 9, Jitter: 90}}},
	}, now))
	stats := track.Stats()
	assert.EqualValues(t, 2, stats.PLIs)
	assert.EqualValues(t, 3, stats.NACKs)
	assert.Equal(t, SendReport{FractionLost: 0.25, PacketsLost: 9, Jitter: time.Millisecond}, stats.SendReport)
}

// order feeds packets through an assembler and returns its frames.
func assembled(t *testing.T, codec string, packets ...*packet) (frames []Frame, a *assembler) {
	t.Helper()
	freed := map[*packet]int{}
	a = &assembler{
		finish: func(f *Frame) {
			copied := *f
			copied.packets = append([]*packet(nil), f.packets...)
			frames = append(frames, copied)
		},
		free: func(p *packet) { freed[p]++ },
	}
	a.reset(codec)
	last := uint64(0)
	for _, p := range packets {
		a.push(p, last != 0 && p.extended != last+1)
		last = p.extended
	}
	a.flush()
	require.Len(t, freed, len(packets), "every buffer comes back")
	for _, count := range freed {
		require.Equal(t, 1, count, "and only once")
	}
	return frames, a
}

func made(number uint64, timestamp uint32, marker bool, payload ...byte) *packet {
	return &packet{extended: number, Packet: rtp.Packet{
		Header: rtp.Header{Version: 2, SequenceNumber: uint16(number), Timestamp: timestamp, Marker: marker}, Payload: payload,
	}}
}
