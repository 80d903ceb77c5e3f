package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// dataParsers parse what data streams consist of, and return it built anew.
var dataParsers = map[string]func([]byte) ([]byte, error){
	"from": func(b []byte) ([]byte, error) {
		from, rest, err := CutDataFrom(b)
		return append(AppendDataFrom(nil, from), rest...), err
	},
	"datagram": func(b []byte) ([]byte, error) {
		number, awaited, rest, err := parseDataHead(b)
		if err != nil {
			return nil, err
		}
		out := appendDataHead(nil, number, awaited)
		for len(rest) > 0 {
			var c chunk
			if c, rest, err = nextChunk(rest); err != nil {
				return nil, err
			}
			out = append(appendChunkHead(out, &c, len(c.body)), c.body...)
		}
		return out, nil
	},
	"acknowledgement": func(b []byte) ([]byte, error) {
		a, err := ParseDataAck(nil, b)
		return a.Append(nil), err
	},
	"opening": func(b []byte) ([]byte, error) {
		o, err := ParseOpening(b)
		return o.Append(nil), err
	},
}

func chunkOf(c chunk) []byte { return append(appendChunkHead(nil, &c, len(c.body)), c.body...) }

// dataMessages are examples of each, and where they may be cut so that something whole is left.
var dataMessages = []struct {
	name, parser string
	message      []byte
	whole        []int
}{
	{"handle", "from", AppendDataFrom(nil, 0xabcdef), nil},
	{"question", "datagram", appendDataHead(nil, 1<<48-1, 0xffff), nil},
	{"opening and message", "datagram", slices.Concat(
		appendDataHead(nil, 7, 7), chunkOf(chunk{lane: 1<<32 - 1, op: DataOpen, total: 3, body: []byte("abc")}),
		chunkOf(chunk{lane: 9, op: DataMessage, unordered: true, kind: 15, number: 1<<48 - 1, total: 262144, offset: 262100, body: bytes.Repeat([]byte{7}, 44)}),
	), []int{8, 8 + 19 + 3}},
	{"closing", "datagram", slices.Concat(appendDataHead(nil, 7, 0), chunkOf(chunk{lane: 1, op: DataClose, number: 5})), []int{8}},
	{"skip", "datagram", slices.Concat(appendDataHead(nil, 7, 0), chunkOf(chunk{lane: 1, op: dataSkip, number: 5})), []int{8}},
	{"cumulative", "acknowledgement", DataAck{Delay: time.Millisecond, Room: 5, Cumulative: 1 << 40}.Append(nil), nil},
	{
		"ranges", "acknowledgement", DataAck{Room: 1 << 21, Cumulative: 3, Ranges: []NumberRange{{5, 6}, {10, 4000}}}.Append(nil), []int{14, 18},
	},
	{"reliable", "opening", Opening{Label: "chat", Protocol: "p"}.Append(nil), nil},
	{"retransmits", "opening", Opening{Label: "", LaneOptions: LaneOptions{Unordered: true, MaxRetransmits: new(uint16(0))}}.Append(nil), nil},
	{"lifetime", "opening", Opening{Label: "ü", LaneOptions: LaneOptions{MaxLifetime: 65535 * time.Millisecond}}.Append(nil), nil},
}

// Every message is built anew as it was, and no part of one is taken for a whole.
func TestDataMessages(t *testing.T) {
	for _, row := range dataMessages {
		t.Run(row.name, func(t *testing.T) {
			again, err := dataParsers[row.parser](row.message)
			require.NoError(t, err)
			require.Equal(t, row.message, again)
			for n := range row.message {
				_, err := dataParsers[row.parser](row.message[:n])
				if slices.Contains(row.whole, n) {
					require.NoError(t, err, "prefix of %d bytes", n)
				} else {
					require.ErrorIs(t, err, ErrMessage, "prefix of %d bytes", n)
				}
			}
		})
	}
}

func TestChunkGolden(t *testing.T) {
	b := chunkOf(chunk{lane: 0x01020304, op: DataClose, unordered: true, kind: 5, number: 0x060708090a0b, total: 0x010203, offset: 0x000102, body: []byte{0xff}})
	require.Equal(t, []byte{1, 2, 3, 4, 0xa5, 6, 7, 8, 9, 10, 11, 1, 2, 3, 0, 1, 2, 0, 1, 0xff}, b)
}

func TestDataRefused(t *testing.T) {
	for _, row := range []struct {
		name, parser string
		message      []byte
	}{
		{"low byte of the handle", "from", []byte{1, 2, 3, 4}},
		{"awaits more than there are", "datagram", appendDataHead(nil, 6, 7)},
		{"message too long", "datagram", slices.Concat(appendDataHead(nil, 7, 0), chunkOf(chunk{number: 1, total: MaxDataMessage + 1, body: []byte{1}}))},
		{"beyond its message", "datagram", slices.Concat(appendDataHead(nil, 7, 0), chunkOf(chunk{number: 1, total: 4, offset: 3, body: []byte{1, 2}}))},
		{"empty piece", "datagram", slices.Concat(appendDataHead(nil, 7, 0), chunkOf(chunk{number: 1, total: 4}))},
		{"opening that is not the first", "datagram", slices.Concat(appendDataHead(nil, 7, 0), chunkOf(chunk{op: DataOpen, number: 1}))},
		{"first that does not open", "datagram", slices.Concat(appendDataHead(nil, 7, 0), chunkOf(chunk{op: DataMessage}))},
		{"skip of nothing", "datagram", slices.Concat(appendDataHead(nil, 7, 0), chunkOf(chunk{op: dataSkip}))},
		{"reserved bit", "datagram", slices.Concat(appendDataHead(nil, 7, 0), []byte{0, 0, 0, 1, 0x10, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0})},
		{"empty gap", "acknowledgement", append(DataAck{}.Append(nil), 0, 0, 0, 1)},
		{"empty range", "acknowledgement", append(DataAck{}.Append(nil), 0, 1, 0, 0)},
		{"both limits", "opening", []byte{6, 0, 0, 0, 1, 0, 0, 0, 0}},
		{"limit without a kind", "opening", []byte{1, 0, 0, 0, 1, 0, 0, 0, 0}},
		{"no time at all", "opening", []byte{4, 0, 0, 0, 0, 0, 0, 0, 0}},
		{"too many retransmits", "opening", []byte{2, 0, 1, 0, 0, 0, 0, 0, 0}},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := dataParsers[row.parser](row.message)
			require.ErrorIs(t, err, ErrMessage)
		})
	}
}

func FuzzDataMessages(f *testing.F) {
	for _, row := range dataMessages {
		f.Add(row.message)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for name, parse := range dataParsers {
			if out, err := parse(b); err == nil {
				require.Equal(t, b, out, name)
			}
		}
	})
}

// FuzzDataHalves gives whatever comes to both halves: neither panics, and neither holds more than it may.
func FuzzDataHalves(f *testing.F) {
	for _, row := range dataMessages {
		f.Add(row.message, []byte{1, 2, 3})
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		var r DataReceiver
		s := NewDataSender(MaxPayload)
		lane, _ := s.Open(LaneOptions{}, second, 1)
		s.Queue(lane, 1, first, 1)
		for now, b := range [][]byte{first, second, first} {
			_ = r.Datagram(b, int64(now)+1)
			_ = s.Acknowledged(b, uint64(now), int64(now)+1)
			sent := s.Next(nil, int64(now)+1)
			_ = r.Datagram(sent, int64(now)+1)
			_ = s.Acknowledged(r.Ack(nil, int64(now)+1), uint64(now), int64(now)+1)
			require.LessOrEqual(t, r.held, DataRoomBytes)
			for d, ok := r.Take(); ok; d, ok = r.Take() {
				r.Done(d)
			}
		}
		require.GreaterOrEqual(t, r.held, 0)
		require.GreaterOrEqual(t, s.queuedCost, 0)
	})
}

// A plain set is what the ranges should be.
func TestNumberSetAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s numberSet
		model := map[uint64]bool{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			from := rapid.Uint64Range(0, 60).Draw(t, "from")
			r := NumberRange{from, from + rapid.Uint64Range(0, 8).Draw(t, "length")}
			overlap := false
			for n := r.From; n < r.To; n++ {
				overlap = overlap || model[n]
			}
			require.Equal(t, overlap, s.overlaps(r))
			s.add(r)
			for n := r.From; n < r.To; n++ {
				model[n] = true
			}
			least := uint64(0)
			for model[least] {
				least++
			}
			require.Equal(t, least, s.cumulative())
			for n := range uint64(80) {
				require.Equal(t, model[n], s.has(n), "number %d of %v", n, s.ranges)
			}
			for i := 1; i < len(s.ranges); i++ {
				require.Less(t, s.ranges[i-1].To, s.ranges[i].From)
			}
		}
	})
}

// Nothing of a lane with a lifetime comes later than that and the path's delay.
func TestDataLifetimeIsKept(t *testing.T) {
	p := newDataPath(4)
	p.delay, p.jitter = 10*time.Millisecond, 5*time.Millisecond
	const life = 80 * time.Millisecond
	l := openLane(t, p, LaneOptions{Unordered: true, MaxLifetime: life})
	for len(p.receive.lanes) == 0 || !p.receive.lanes[l.id].open {
		p.step(t, p.now+int64(time.Second))
	}
	p.loss = 0.1
	born := map[uint64]int64{}
	came := 0
	take := func() {
		for d, ok := p.receive.Take(); ok; d, ok = p.receive.Take() {
			if d.Op == DataMessage {
				age := time.Duration(p.now - born[binary.BigEndian.Uint64(d.Body)])
				require.LessOrEqual(t, age, life+p.delay+p.jitter)
				came++
			}
			p.receive.Done(d)
		}
	}
	for n := range uint64(2000) {
		p.cut = n%400 > 300
		p.send.Queue(l.id, 0, sizedBody(n, 2500), p.now)
		born[n] = p.now
		for until := p.now + int64(10*time.Millisecond); p.step(t, until); {
			take()
		}
	}
	require.Greater(t, came, 100)
	require.NotZero(t, p.send.Dropped)
}

// A lane whose messages may not be sent again loses what the path loses, and nothing on a path that loses nothing.
func TestDataWithoutRetransmits(t *testing.T) {
	for _, loss := range []float64{0, 0.1} {
		p := newDataPath(5)
		l := openLane(t, p, LaneOptions{MaxRetransmits: new(uint16(0))})
		drainUntil(t, p, l, 100*time.Millisecond)
		p.loss = loss
		for n := range uint64(3000) {
			l.sent = append(l.sent, sizedBody(n, 500))
			require.True(t, p.send.Queue(l.id, uint8(n%2), l.sent[n], p.now))
			drainUntil(t, p, l, time.Millisecond)
		}
		p.send.Close(l.id, p.now)
		finishPath(t, p, []*modelLane{l}, time.Minute)
		share := float64(len(l.came)) / 3000
		require.InDelta(t, 1-loss, share, loss*0.4)
		require.Equal(t, 3000-len(l.came), int(p.send.Dropped))
	}
}

func drainUntil(t testing.TB, p *dataPath, l *modelLane, wait time.Duration) {
	for until := p.now + int64(wait); p.step(t, until); {
		drain(t, p, []*modelLane{l})
	}
}

// throughput is how much of 16 KiB messages a path takes, in bytes per second of its time, and what waits at its bottleneck at most in the second half.
func throughput(t testing.TB, p *dataPath, lasting time.Duration) (rate float64, queue time.Duration) {
	l := openLane(t, p, LaneOptions{})
	start, bytes := p.now, 0
	body := sizedBody(0, 16<<10)
	for until := start + int64(lasting); p.now < until; {
		for p.send.Queued() < 1<<20 {
			require.True(t, p.send.Queue(l.id, 0, body, p.now))
		}
		if !p.step(t, min(p.now+int64(10*time.Millisecond), until)) {
			continue
		}
		for d, ok := p.receive.Take(); ok; d, ok = p.receive.Take() {
			bytes += len(d.Body)
			p.receive.Done(d)
		}
		if p.now > start+int64(lasting)/2 {
			queue = max(queue, time.Duration(p.busyUntil-p.now))
		}
	}
	return float64(bytes) / lasting.Seconds(), queue
}

// The pace uses a path's room without filling its queue, and does not starve on one that loses.
func TestDataPace(t *testing.T) {
	for _, row := range []struct {
		name    string
		change  func(*dataPath)
		least   float64 // bytes per second
		queue   time.Duration
		lasting time.Duration
	}{
		{"10 Mbit/s, 20 ms, 200 ms of buffer", func(p *dataPath) { p.rate, p.buffer = 1.25e-3, 200*time.Millisecond }, 0.8 * 1.25e6, 60 * time.Millisecond, 20 * time.Second},
		{"100 Mbit/s, 20 ms, 100 ms of buffer", func(p *dataPath) { p.rate, p.buffer = 12.5e-3, 100*time.Millisecond }, 0.7 * 12.5e6, 60 * time.Millisecond, 10 * time.Second},
		{"5 % loss, 20 ms", func(p *dataPath) { p.loss = 0.05 }, 1e6, time.Second, 20 * time.Second},
		{"1 ms", func(p *dataPath) { p.delay = time.Millisecond / 2 }, 25e6, time.Second, 300 * time.Millisecond},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := newDataPath(6)
			p.delay = 10 * time.Millisecond
			row.change(p)
			rate, queue := throughput(t, p, row.lasting)
			t.Logf("%.1f Mbit/s, at most %v at the bottleneck, %d of %d lost", rate*8/1e6, queue.Round(time.Millisecond), p.lost, p.sent)
			require.Greater(t, rate, row.least)
			require.LessOrEqual(t, queue, row.queue)
		})
	}
}

// Bounds: a sender takes no more than it may hold, lanes included; a receiver refuses what it did not grant.
func TestDataBounds(t *testing.T) {
	s := NewDataSender(MaxPayload)
	for range MaxLanes {
		_, ok := s.Open(LaneOptions{}, nil, 0)
		require.True(t, ok)
	}
	_, ok := s.Open(LaneOptions{}, nil, 0)
	require.False(t, ok)
	body := make([]byte, 256<<10)
	for lane := range uint32(MaxLanes) {
		for s.Queue(lane, 0, body, 0) {
		}
		require.LessOrEqual(t, s.lane(lane).cost, MaxLaneBytes)
	}
	require.LessOrEqual(t, s.queuedCost, MaxQueuedBytes)
	require.False(t, s.Queue(0, 0, make([]byte, MaxDataMessage+1), 0))
	require.False(t, s.Queue(MaxLanes, 0, nil, 0), "no such lane")

	var r DataReceiver
	number, refused := uint64(0), false
	for n := range uint64(100) {
		b := appendDataHead(nil, number, 0)
		b = append(b, chunkOf(chunk{lane: 1, op: DataMessage, number: n + 1, total: 256 << 10, body: []byte{1}})...)
		number++
		refused = r.Datagram(b, 0) != nil || refused
		require.LessOrEqual(t, r.held, DataRoomBytes)
	}
	require.True(t, refused)
	require.ErrorIs(t, r.Datagram(append(appendDataHead(nil, 1, 0), chunkOf(chunk{lane: 1, number: 1 << 20})...), 0), ErrDataRoom)
	for lane := range uint32(10 * MaxLanes) {
		_ = r.Datagram(append(appendDataHead(nil, 1, 0), chunkOf(chunk{lane: lane, number: 5})...), 0)
	}
	require.LessOrEqual(t, len(r.lanes), 2*MaxLanes)
}

// What comes of a lane that is over, or twice, is not delivered again; lanes that came and went take no memory.
func TestDataLanesComeAndGo(t *testing.T) {
	p := newDataPath(7)
	p.loss, p.twice, p.jitter = 0.1, 0.3, 20*time.Millisecond
	var lanes []*modelLane
	for round := range 300 {
		l := openLane(t, p, LaneOptions{Unordered: round%2 == 0})
		lanes = append(lanes, l)
		l.sent = append(l.sent, sizedBody(0, 50))
		require.True(t, p.send.Queue(l.id, 0, l.sent[0], p.now))
		p.send.Close(l.id, p.now)
		for until := p.now + int64(100*time.Millisecond); p.step(t, until); {
			drain(t, p, lanes)
		}
	}
	finishPath(t, p, lanes, time.Minute)
	require.Len(t, p.receive.closed.ranges, 1, fmt.Sprint(p.receive.closed.ranges))
}
