package relay_test

import (
	"net/netip"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rheomesh/internal/udpbatch"
	"rheomesh/relay/wire"
	"rheomesh/sfu"
)

// cpu is the process's user and system time.
func cpu() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage) // it knows no error with these arguments
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// packet1200 is one RTP packet of 1,200 bytes.
func packet1200() []byte {
	raw := make([]byte, 1200)
	raw[0], raw[1], raw[10] = 0x80, 96, 0x10
	copy(raw[12:], delta(0))
	return raw
}

// layerWatcher is a sink that takes everything and only counts it.
type layerWatcher struct {
	cursor uint64
	count  *atomic.Uint64
}

func (w *layerWatcher) Advance(l *sfu.Log, _ int64) {
	before := w.cursor
	for l.At(w.cursor) != nil {
		w.cursor++
	}
	w.count.Add(w.cursor - before)
	w.cursor = max(w.cursor, l.Tail())
}

func (w *layerWatcher) Flush(int64) {}

// watchLayer holds a cursor on the first video layer of a publisher.
func watchLayer(t testing.TB, m *machine, id sfu.PublisherID, count *atomic.Uint64) {
	t.Helper()
	w := &layerWatcher{count: count}
	tap := m.media.NewTap(w)
	log := m.live(t, id).Tracks()[0].Layers()[0].Log()
	attached := make(chan struct{})
	tap.Do(func() { tap.Attach(w, log); close(attached) })
	<-attached
	t.Cleanup(func() {
		tap.Do(func() { tap.Detach(w, log) })
		tap.Close()
	})
}

// BenchmarkDelay is the delay that one hop adds at 100 Mbit/s (R4): bursts of ten packets of 1,200 bytes every 0.96 ms.
func BenchmarkDelay(b *testing.B) {
	a, edge := newMachine(b, "a", "127.0.0.1:0"), newMachine(b, "b", "127.0.0.1:0")
	source := a.publishPackets(b, "cam")
	r := a.put(b, a.order(edge))
	watchLayer(b, edge, "cam", new(atomic.Uint64))
	eventually(b, "layer is not wanted", func() bool { return r.Info().Streams[0].Wanted })
	origin := a.live(b, "cam").Tracks()[0].Layers()[0].Log()
	edgeLog := edge.live(b, "cam").Tracks()[0].Layers()[0].Log()
	layer, raw := source.feed.Layers()[0][0], packet1200()
	delays := []float64{}
	ticker := time.NewTicker(960 * time.Microsecond)
	defer ticker.Stop()
	sent, checked := uint64(0), uint64(0)
	b.ResetTimer()
	for range b.N {
		<-ticker.C
		for range 10 {
			room := layer.Room(len(raw))
			copy(room, raw)
			room[2], room[3] = byte(sent>>8), byte(sent)
			layer.Append(room[:len(raw)], uint8(sent>>16&0xf), time.Now(), 0)
			sent++
		}
		a.media.Wake()
		for ; checked < edgeLog.Head(); checked++ {
			if in, out := origin.At(checked), edgeLog.At(checked); in != nil && out != nil && in.Header.Seq == out.Header.Seq {
				delays = append(delays, float64(out.Arrival-in.Arrival)/1e6)
			}
		}
	}
	b.StopTimer()
	slices.Sort(delays)
	require.NotEmpty(b, delays)
	b.ReportMetric(delays[len(delays)/2], "p50-ms")
	b.ReportMetric(delays[len(delays)*99/100], "p99-ms")
}

// BenchmarkStart is the time from the order of a relay to the first packet on the edge, and to the keyframe's arrival there, with a viewer waiting (R6).
func BenchmarkStart(b *testing.B) {
	var first []float64
	for range b.N {
		b.StopTimer()
		a, edge := newMachine(b, "a", "127.0.0.1:0"), newMachine(b, "b", "127.0.0.1:0")
		source := a.publishPackets(b, "cam")
		source.video(b, 0, 1000, keyframe(1))
		v := watch(b, edge.router, "cam")
		b.StartTimer()
		start := time.Now()
		a.put(b, a.order(edge))
		v.next()
		first = append(first, float64(time.Since(start).Microseconds())/1000)
	}
	slices.Sort(first)
	b.ReportMetric(first[len(first)/2], "p50-ms")
	b.ReportMetric(first[len(first)-1], "max-ms")
}

// BenchmarkCalls sends and receives the same bytes three ways: one system call per packet, many packets per call, and segments merged by the kernel; sealed and not (R3).
func BenchmarkCalls(b *testing.B) {
	for _, way := range []struct {
		name    string
		offload bool
		batch   int
	}{{"one per packet", false, 1}, {"recvmmsg and sendmmsg", false, 64}, {"GSO and GRO", true, 64}} {
		for _, seal := range []bool{false, true} {
			name := way.name + ", plain"
			if seal {
				name = way.name + ", sealed"
			}
			b.Run(name, func(b *testing.B) { benchmarkCalls(b, way.offload, way.batch, seal) })
		}
	}
}

func benchmarkCalls(b *testing.B, offload bool, size int, seal bool) {
	config := udpbatch.Config{DisableOffload: !offload}
	from, err := udpbatch.Listen("udp4", "127.0.0.1:0", config)
	require.NoError(b, err)
	defer from.Close()
	to, err := udpbatch.Listen("udp4", "127.0.0.1:0", config)
	require.NoError(b, err)
	var arrived atomic.Uint64
	done := make(chan struct{})
	go func() {
		defer close(done)
		opener, _ := wire.NewOpener(make([]byte, wire.SecretLen))
		batch, plain := udpbatch.NewReadBatch(size, 0), make([]byte, 0, 2048)
		for to.Read(batch) == nil {
			for i := range batch.Len() {
				if data := batch.Packet(i).Data; seal {
					if h, err := wire.ParseHeader(data); err == nil {
						_, _ = opener.Open(plain, data, h)
					}
				}
			}
			arrived.Add(uint64(batch.Len()))
		}
	}()
	key, err := wire.NewKey(make([]byte, wire.SecretLen))
	require.NoError(b, err)
	batch, raw, addr := udpbatch.NewWriteBatch(size, 1<<20), packet1200(), to.LocalAddr()
	runtime.GC()
	b.ResetTimer()
	used, start := cpu(), time.Now()
	for sent := uint64(0); sent < uint64(b.N); {
		for range size {
			room := batch.Next(len(raw) + wire.Overhead)
			n := len(raw) + wire.Overhead
			if seal {
				key.Seal(room, wire.Header{Seq: sent}, raw)
			} else {
				copy(room, raw)
			}
			batch.Commit(n, netip.AddrPortFrom(addr.Addr(), addr.Port()))
			sent++
		}
		_, _ = from.Write(batch)
		for sent-arrived.Load() > 2048 && time.Since(start) < time.Minute {
			runtime.Gosched()
		}
	}
	spent := cpu() - used
	b.StopTimer()
	b.ReportMetric(float64(spent.Nanoseconds())/1000/float64(b.N), "cpu-µs/packet")
	require.NoError(b, to.Close())
	<-done
}
