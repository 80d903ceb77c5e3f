package sfu

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"rheomesh/internal/rtpx"
)

// plainLog is what a Log must do, written down plainly: a slice of the packets that are kept.
type plainLog struct {
	kept     []Packet
	head     uint64
	size     int // bytes of kept
	highest  uint64
	start    uint64 // position of the first packet of the newest frame
	newest   uint32 // its timestamp
	keyframe uint64 // 1 + position
}

func (m *plainLog) append(p Packet) {
	p.Position = m.head
	m.head++
	if p.Position == 0 || p.Seq > m.highest {
		if p.Position == 0 || p.Header.Timestamp != m.newest {
			m.start = p.Position
		}
		m.highest, m.newest = p.Seq, p.Header.Timestamp
	}
	if p.Keyframe && p.Header.Timestamp == m.newest {
		m.keyframe = 1 + m.start
	}
	for len(m.kept) > 0 && (len(m.kept) == logMaxPackets || m.size+len(p.Data) > logMaxBytes || m.stale(&m.kept[0], p.Arrival)) {
		m.size -= len(m.kept[0].Data)
		m.kept = m.kept[1:]
	}
	m.kept = append(m.kept, p)
	m.size += len(p.Data)
}

// stale is true of what is too old, or older than repairs are and before the newest keyframe.
func (m *plainLog) stale(p *Packet, now int64) bool {
	if p.Arrival < now-int64(logMaxAge) {
		return true
	}
	return p.Arrival < now-int64(logRepairAge) && m.keyframe > 0 && p.Position < m.keyframe-1
}

func (m *plainLog) tail() uint64 { return m.kept[0].Position }

func (m *plainLog) at(position uint64) *Packet {
	if len(m.kept) == 0 || position < m.tail() || position >= m.head {
		return nil
	}
	return &m.kept[position-m.tail()]
}

// shadowed reports whether a later packet took the place of seq in a table of n places.
func (m *plainLog) shadowed(p *Packet, n uint64) bool {
	return slices.ContainsFunc(m.kept[p.Position-m.tail()+1:], func(o Packet) bool { return o.Seq%n == p.Seq%n })
}

// logMachine drives a Log and its model through the same life.
type logMachine struct {
	log     *Log
	model   plainLog
	seq     uint64
	ts      uint32
	arrival int64
	missing []Packet // numbers that were jumped over and may come late
}

func (s *logMachine) put(p Packet) {
	p.Header.Seq = uint16(p.Seq)
	stored := s.log.Append(p)
	s.model.append(p)
	if stored.Position != s.model.head-1 {
		panic("position")
	}
}

// step is a multiple of 3 ns, so that no age is exactly logMaxAge or logRepairAge.
func (s *logMachine) step(t *rapid.T) {
	s.arrival += 3 * rapid.SampledFrom([]int64{0, 1, 1e4, 1e6, 1e8, 4e9}).Draw(t, "pause")
}

func (s *logMachine) frames(t *rapid.T) {
	count := rapid.SampledFrom([]int{1, 3, 40, 300}).Draw(t, "frames")
	packets := rapid.IntRange(1, 4).Draw(t, "packets")
	size := rapid.SampledFrom([]int{1, 1200, 60000}).Draw(t, "bytes")
	key := rapid.Bool().Draw(t, "key")
	s.step(t)
	for range count {
		s.ts += 3000
		for i := range packets {
			s.put(Packet{Data: shared[:size], Header: rtpx.Header{Timestamp: s.ts, Marker: i == packets-1}, Seq: s.seq, Arrival: s.arrival, Keyframe: key && i == 0})
			s.seq++
		}
		key = false
		s.arrival += 3e3
	}
}

func (s *logMachine) gap(t *rapid.T) {
	for range rapid.IntRange(1, 300).Draw(t, "gap") {
		if len(s.missing) < 64 {
			s.missing = append(s.missing, Packet{Data: shared[:100], Header: rtpx.Header{Timestamp: s.ts}, Seq: s.seq, Keyframe: rapid.Bool().Draw(t, "key")})
		}
		s.seq++
	}
}

func (s *logMachine) late(t *rapid.T) {
	if len(s.missing) == 0 {
		t.Skip("nothing is missing")
	}
	i := rapid.IntRange(0, len(s.missing)-1).Draw(t, "which")
	p := s.missing[i]
	s.missing = slices.Delete(s.missing, i, i+1)
	p.Arrival = s.arrival
	s.put(p)
}

func (s *logMachine) restart(t *rapid.T) {
	s.seq = (s.seq | 0xffff) + 1 + 1<<17
	s.ts = rapid.Uint32().Draw(t, "ts")
}

func (s *logMachine) check(t *rapid.T) {
	l, m := s.log, &s.model
	require.Equal(t, m.head, l.Head())
	if m.head == 0 {
		require.Nil(t, l.At(0))
		require.Nil(t, l.BySeq(0))
		_, ok := l.Keyframe()
		require.False(t, ok)
		return
	}
	require.Equal(t, m.tail(), l.tail.Load())
	require.Equal(t, m.size, l.bytes)
	places := uint64(len(l.ring.Load().slots))
	require.LessOrEqual(t, places, uint64(logMaxPackets))
	for _, position := range []uint64{0, m.tail() - 1, m.tail(), (m.tail() + m.head) / 2, m.head - 1, m.head, m.head + places, rapid.Uint64Range(0, m.head).Draw(t, "position")} {
		got, want := l.At(position), m.at(position)
		require.Equal(t, want == nil, got == nil, "position %d", position)
		if want == nil {
			continue
		}
		require.Equal(t, *want, *got)
		found := l.BySeq(want.Seq)
		if found == nil {
			require.True(t, m.shadowed(want, places), "sequence number %d is lost", want.Seq)
			continue
		}
		require.Same(t, got, found)
	}
	require.Nil(t, l.BySeq(s.seq))
	position, ok := l.Keyframe()
	require.Equal(t, m.keyframe != 0 && m.keyframe-1 >= m.tail(), ok)
	if ok {
		require.Equal(t, m.keyframe-1, position)
	}
}

var shared = make([]byte, 1<<16)

func TestLogIsAPlainListOfTheNewestPackets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &logMachine{log: NewLog(), seq: 1<<16 | uint64(rapid.Uint16().Draw(t, "seq")), ts: rapid.Uint32().Draw(t, "ts"), arrival: time.Now().Unix() * 3}
		t.Repeat(map[string]func(*rapid.T){"frames": s.frames, "gap": s.gap, "late": s.late, "restart": s.restart, "": s.check})
	})
}

func TestLogBounds(t *testing.T) {
	second := int64(time.Second)
	for _, row := range []struct {
		name       string
		packets    int
		size       int
		gap        int64 // nanoseconds between packets
		kept       int
		ringPlaces int
	}{
		{"small log does not grow", 256, 100, 1000, 256, 256},
		{"one more doubles it", 257, 100, 1000, 257, 512},
		{"packets", logMaxPackets + 1, 100, 1000, logMaxPackets, logMaxPackets},
		{"ten times the packets", 10 * logMaxPackets, 1, 1000, logMaxPackets, logMaxPackets},
		{"bytes", 300, 1 << 16, 1000, 256, 256},
		{"age", 300, 100, second / 10, 101, 256},
		{"age keeps the ring small", 5000, 100, second / 10, 101, 256},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := NewLog()
			for i := range row.packets {
				l.Append(Packet{Data: shared[:row.size], Seq: uint64(i + 1<<16), Arrival: second + int64(i)*row.gap})
			}
			require.Equal(t, row.kept, int(l.Head()-l.tail.Load()))
			require.Len(t, l.ring.Load().slots, row.ringPlaces)
			require.Nil(t, l.At(l.tail.Load()-1))
			require.NotNil(t, l.At(l.tail.Load()))
			require.NotNil(t, l.At(l.Head()-1))
		})
	}
}

// TestLogReadersSeeOnlyWhole packets: one writer, many cursors, no lock.
func TestLogReadersSeeOnlyWholePackets(t *testing.T) {
	const packets = 30000
	l := NewLog()
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for cursor := uint64(0); cursor < packets; {
				p := l.At(cursor)
				if p == nil {
					cursor = max(cursor, l.tail.Load())
					if _, ok := l.Keyframe(); !ok && l.Head() > packets {
						t.Error("no keyframe")
					}
					continue
				}
				if p.Position != cursor || p.Seq != cursor+1<<16 || p.Header.Timestamp != uint32(cursor) || len(p.Data) != 8 {
					t.Errorf("packet at %d: position %d, seq %d", cursor, p.Position, p.Seq)
					return
				}
				if found := l.BySeq(p.Seq); found != nil && found != p {
					t.Errorf("sequence number %d finds another packet", p.Seq)
					return
				}
				cursor++
			}
		})
	}
	for i := range uint64(packets) {
		l.Append(Packet{Data: make([]byte, 8), Header: rtpx.Header{Timestamp: uint32(i)}, Seq: i + 1<<16, Arrival: int64(i) * 1000, Keyframe: i%100 == 0})
	}
	readers.Wait()
}

func TestKeyframeStartsAtItsParameterSets(t *testing.T) {
	l := NewLog()
	put := func(seq uint64, ts uint32, key bool) uint64 {
		return l.Append(Packet{Seq: seq, Header: rtpx.Header{Timestamp: ts}, Keyframe: key, Arrival: int64(seq)}).Position
	}
	put(1, 10, false)
	start := put(2, 20, false) // for example a PPS or an access unit delimiter, which is none by itself
	put(3, 20, true)
	put(4, 20, false)
	put(5, 30, false)
	position, ok := l.Keyframe()
	require.True(t, ok)
	require.Equal(t, start, position)
	put(0, 5, true) // late: repairs a frame before
	position, _ = l.Keyframe()
	require.Equal(t, start, position)
}

func TestSlab(t *testing.T) {
	s := slab{size: 100}
	a := s.room(60)
	require.Len(t, a, 60)
	require.Equal(t, 60, cap(a), "a packet cannot grow into its neighbour")
	s.keep(40)
	b := s.room(60)
	require.Len(t, s.free, 60)
	b[0] = 1
	s.keep(60)
	c := s.room(10) // the slab is used up: a new one
	c[0] = 2
	require.Equal(t, byte(1), b[0])
	require.Len(t, s.room(1000), 1000, "larger than a slab")
	s.room(5)
	s.room(5) // not kept, so handed out again
	require.Len(t, s.free, 1000)
}

func TestSlabsOfALogDoNotOverlap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := slab{size: rapid.IntRange(1, 200).Draw(t, "slab")}
		var kept [][]byte
		for i := range rapid.IntRange(1, 60).Draw(t, "packets") {
			n := rapid.IntRange(0, 250).Draw(t, "bytes")
			room := s.room(n)
			require.Len(t, room, n)
			used := rapid.IntRange(0, n).Draw(t, "used")
			for j := range room {
				room[j] = byte(i)
			}
			s.keep(used)
			kept = append(kept, room[:used])
		}
		for i, packet := range kept {
			for _, b := range packet {
				require.Equal(t, byte(i), b)
			}
		}
	})
}
