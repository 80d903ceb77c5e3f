package wire

import (
	"bytes"
	"container/heap"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// dataPath is both halves of a data stream over a path of its own time that loses, delays, swaps and doubles datagrams.
type dataPath struct {
	send    *DataSender
	receive DataReceiver
	random  *rand.Rand
	now     int64
	order   int
	events  pathEvents
	acks    uint64

	loss, twice   float64
	delay, jitter time.Duration
	cut           bool
	rate          float64 // bytes per nanosecond that the path takes; 0 is without limit
	buffer        time.Duration
	busyUntil     int64

	lost, sent int
	steps      int
	most       int // bytes that the receiver has held
}

// pathEvent is a datagram's arrival.
type pathEvent struct {
	at    int64
	order int
	ack   bool
	seq   uint64
	b     []byte
}

type pathEvents []pathEvent

func (e pathEvents) Len() int { return len(e) }
func (e pathEvents) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].order < e[j].order
}
func (e pathEvents) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *pathEvents) Push(x any)   { *e = append(*e, x.(pathEvent)) }
func (e *pathEvents) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

func newDataPath(seed uint64) *dataPath {
	return &dataPath{send: NewDataSender(MaxPayload), random: rand.New(rand.NewPCG(seed, 1)), delay: 5 * time.Millisecond, now: int64(time.Hour)}
}

// carry puts a datagram on the path.
func (p *dataPath) carry(e pathEvent) {
	if p.cut || p.random.Float64() < p.loss {
		p.lost++
		return
	}
	start := p.now
	if p.rate > 0 && !e.ack {
		start = max(p.now, p.busyUntil)
		if start-p.now > int64(p.buffer) {
			p.lost++
			return
		}
		p.busyUntil = start + int64(float64(len(e.b)+Overhead)/p.rate)
		start = p.busyUntil
	}
	copies := 1
	if p.random.Float64() < p.twice {
		copies = 2
	}
	for range copies {
		c := e
		c.at = start + int64(p.delay)
		if p.jitter > 0 {
			c.at += p.random.Int64N(int64(p.jitter))
		}
		c.order = p.order
		p.order++
		heap.Push(&p.events, c)
	}
}

// flush sends what may be sent, and acknowledges what has come.
func (p *dataPath) flush(t require.TestingT) {
	for {
		b := p.send.Next(make([]byte, 0, 2048), p.now)
		if len(b) == 0 {
			break
		}
		require.LessOrEqual(t, len(b), MaxPayload)
		p.sent++
		p.carry(pathEvent{b: b})
	}
	if b := p.receive.Ack(nil, p.now); len(b) > 0 {
		require.LessOrEqual(t, len(b), MaxPayload)
		p.acks++
		p.carry(pathEvent{b: b, ack: true, seq: p.acks})
	}
}

// step goes on to what happens next, at most to until, and reports whether something does.
func (p *dataPath) step(t require.TestingT, until int64) bool {
	p.steps++
	require.Less(t, p.steps, 2_000_000, "it goes round in circles")
	p.flush(t)
	next := p.send.Deadline()
	if len(p.events) > 0 && (next == 0 || p.events[0].at < next) {
		next = p.events[0].at
	}
	if next == 0 || next > until {
		p.now = until
		return false
	}
	p.now = max(p.now, next)
	for len(p.events) > 0 && p.events[0].at <= p.now {
		e := heap.Pop(&p.events).(pathEvent)
		if e.ack {
			require.NoError(t, p.send.Acknowledged(e.b, e.seq, p.now))
		} else {
			require.NoError(t, p.receive.Datagram(e.b, p.now))
		}
	}
	p.most = max(p.most, p.receive.held)
	require.LessOrEqual(t, p.receive.held, DataRoomBytes)
	return true
}

// sizedBody is a body that tells its message, and is as long as asked for or a little longer.
func sizedBody(number uint64, length int) []byte {
	b := make([]byte, max(length, 8))
	for i := range b {
		b[i] = byte(number) + byte(i*7)
	}
	binary.BigEndian.PutUint64(b, number)
	return b
}

// modelLane is what a test knows of a lane: what went in, and what came out.
type modelLane struct {
	id      uint32
	options LaneOptions
	sent    [][]byte
	came    []uint64 // by what the body says
	opened  bool
	closed  bool
}

func (m *modelLane) take(t require.TestingT, d Delivery) {
	require.False(t, m.closed, "after the end")
	switch d.Op {
	case DataOpen:
		require.False(t, m.opened)
		m.opened = true
		require.Equal(t, fmt.Sprintf("opening of %d", m.id), string(d.Body))
	case DataClose:
		m.closed = true
	default:
		require.True(t, m.opened, "before the beginning")
		number := binary.BigEndian.Uint64(d.Body)
		require.Less(t, number, uint64(len(m.sent)))
		require.True(t, bytes.Equal(m.sent[number], d.Body), "message %d is not what was sent", number)
		require.Equal(t, uint8(number%2), d.Kind)
		if !m.options.Unordered && len(m.came) > 0 {
			require.Greater(t, number, m.came[len(m.came)-1], "order")
		}
		m.came = append(m.came, number)
	}
}

// check compares what came with what the lane promises.
func (m *modelLane) check(t require.TestingT) {
	require.True(t, m.closed, "lane %d is not closed", m.id)
	slices.Sort(m.came)
	require.Equal(t, len(m.came), len(slices.Compact(m.came)), "twice")
	if m.options.Reliable() {
		require.Len(t, m.came, len(m.sent), "lane %d", m.id)
	}
}

// Whatever the path does, every lane keeps what its options promise: whole, once, in order if it is ordered, all of it if it is reliable; and nothing stays on the books.
func TestDataAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newDataPath(rapid.Uint64().Draw(t, "seed"))
		p.loss = rapid.Float64Range(0, 0.4).Draw(t, "loss")
		p.twice = rapid.Float64Range(0, 0.2).Draw(t, "twice")
		p.delay = time.Duration(rapid.Int64Range(0, int64(100*time.Millisecond)).Draw(t, "delay"))
		p.jitter = time.Duration(rapid.Int64Range(0, int64(30*time.Millisecond)).Draw(t, "jitter"))
		lanes := drawLanes(t, p)
		paused := map[uint32]bool{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			l := lanes[rapid.IntRange(0, len(lanes)-1).Draw(t, "lane")]
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0:
				p.cut = !p.cut
			case 1:
				paused[l.id] = true
				p.receive.Pause(l.id)
			case 2:
				p.receive.Resume(l.id)
				delete(paused, l.id)
			default:
				size := rapid.SampledFrom([]int{0, 1, 100, 1000, 1152, 5000, 70000, 256 << 10}).Draw(t, "size")
				number := uint64(len(l.sent))
				if body := sizedBody(number, size); p.send.Queue(l.id, uint8(number%2), body, p.now) {
					l.sent = append(l.sent, body)
				}
			}
			until := p.now + rapid.Int64Range(0, int64(60*time.Millisecond)).Draw(t, "wait")
			for p.step(t, until) {
				drain(t, p, lanes)
			}
		}
		p.cut = false
		for _, l := range lanes {
			p.send.Close(l.id, p.now)
			p.receive.Resume(l.id)
		}
		finishPath(t, p, lanes, 4*time.Hour)
	})
}

func drawLanes(t *rapid.T, p *dataPath) (lanes []*modelLane) {
	for range rapid.IntRange(1, 5).Draw(t, "lanes") {
		o := LaneOptions{Unordered: rapid.Bool().Draw(t, "unordered")}
		switch rapid.IntRange(0, 2).Draw(t, "reliability") {
		case 1:
			o.MaxRetransmits = new(rapid.Uint16Range(0, 3).Draw(t, "retransmits"))
		case 2:
			o.MaxLifetime = time.Duration(rapid.IntRange(1, 300).Draw(t, "lifetime")) * time.Millisecond
		}
		lanes = append(lanes, openLane(t, p, o))
	}
	return lanes
}

func openLane(t require.TestingT, p *dataPath, o LaneOptions) *modelLane {
	l := &modelLane{id: p.send.created, options: o}
	id, ok := p.send.Open(o, fmt.Appendf(nil, "opening of %d", l.id), p.now)
	require.True(t, ok)
	require.Equal(t, l.id, id)
	return l
}

func drain(t require.TestingT, p *dataPath, lanes []*modelLane) {
	for {
		d, ok := p.receive.Take()
		if !ok {
			return
		}
		lanes[d.Lane].take(t, d)
		p.receive.Done(d)
	}
}

// finishPath goes on until nothing is on its way, and sees that nothing is left over.
func finishPath(t require.TestingT, p *dataPath, lanes []*modelLane, limit time.Duration) {
	until := p.now + int64(limit)
	drain(t, p, lanes)
	for (p.send.Queued() > 0 || len(p.events) > 0 || len(p.send.lanes) > 0) && p.step(t, until) {
		drain(t, p, lanes)
	}
	for _, l := range lanes {
		l.check(t)
	}
	require.Zero(t, p.send.queuedCost)
	require.Zero(t, p.send.begunCost)
	require.Empty(t, p.send.lanes)
	require.Zero(t, p.receive.held)
	require.Empty(t, p.receive.lanes)
}
