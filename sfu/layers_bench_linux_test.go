package sfu

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/pion/interceptor/pkg/twcc"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"rheomesh/internal/codec"
	"rheomesh/internal/rtpx"
	"rheomesh/sfu/bandwidth"
)

// layersStage is a publisher with viewers whose workers are held, so that a benchmark moves them through a time of its own.
type layersStage struct {
	node    *Node
	layer   *Layer // that all viewers get
	data    []byte
	header  rtpx.Header
	seq     uint64
	ts      uint32
	viewers []*RawPeer
}

const stageFrame = time.Second / 30

// newLayersStage lets a publisher send for a moment, and holds everything when all viewers get its best layer.
func newLayersStage(t testing.TB, shape layeredShape, viewers int, section string) *layersStage {
	t.Helper()
	node, router := rawNode(t)
	p := publishLayered(t, router, "cam", shape, 0)
	stop := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() { p.run(stop) })
	require.Eventually(t, func() bool { return node.Stats().VideoPacketsIn > 40*uint64(len(shape.rids)) }, RawPatience, time.Millisecond)
	s := &layersStage{node: node}
	for range viewers {
		s.viewers = append(s.viewers, RawWatch(t, router, "cam", []string{section}, RawMuted))
	}
	tracks := p.Session().ingest.tracks
	s.layer = tracks[0].layers[len(shape.rids)-1]
	for _, v := range s.viewers {
		f := v.forwarderOfKind(codec.Video)
		require.Eventually(t, func() bool { return f.counters.current.Load() == s.layer && f.counters.packets.Load() > 0 }, RawPatience, time.Millisecond)
	}
	close(stop)
	group.Wait()
	for _, w := range node.workers {
		w.running.Lock()
		t.Cleanup(w.running.Unlock)
	}
	last := s.layer.log.At(s.layer.log.Head() - 1)
	s.seq, s.ts = last.Seq, last.Header.Timestamp
	s.data = rawPacket(96, 1, 1, 1, make([]byte, payloadBytes))
	s.header, _ = rtpx.Parse(s.data)
	return s
}

// put appends a frame of a temporal layer to the log.
func (s *layersStage) put(now int64, temporal uint8) {
	s.ts += 3000
	for i := range framePackets {
		s.seq++
		h := s.header
		h.Seq, h.Timestamp, h.Marker = uint16(s.seq), s.ts, i == framePackets-1
		p := Packet{Data: s.data, Header: h, Seq: s.seq, Arrival: now}
		p.Layers.Temporal = temporal
		s.layer.log.Append(p)
	}
	for _, l := range s.layer.track.layers {
		l.heard.Store(now)
	}
}

// advance moves all viewers over what was put.
func (s *layersStage) advance(now int64) {
	for _, w := range s.node.workers {
		for _, f := range w.forwardersOf(s.layer.log) {
			f.advance(s.layer.log, now)
			for next := now; f.cursor < s.layer.log.Head() && f.bandwidth != nil; { // paced
				next = max(f.bandwidth.NextAt(next), next+1)
				f.advance(s.layer.log, next)
			}
		}
		w.flush()
	}
}

// tick does what workers do beside forwarding.
func (s *layersStage) tick(now time.Time) {
	for _, w := range s.node.workers {
		for _, sub := range w.subscribers {
			for _, f := range sub.forwarders {
				f.tick(now.UnixNano())
			}
		}
		w.attending = w.attending[:0]
		for _, sub := range w.subscribers {
			sub.attending = false
		}
	}
}

// tasks does what was left to the workers.
func (s *layersStage) tasks() {
	for _, w := range s.node.workers {
		w.mu.Lock()
		tasks := w.tasks
		w.tasks = w.spareTasks[:0]
		w.mu.Unlock()
		for _, task := range tasks {
			task()
		}
		w.spareTasks = tasks
	}
}

// forwarders are those of all viewers.
func (s *layersStage) forwarders() (list []*forwarder) {
	for _, v := range s.viewers {
		list = append(list, v.forwarderOfKind(codec.Video))
	}
	return list
}

// steeredFeedback writes reports of what came since the last one.
type steeredFeedback struct {
	recorder *twcc.Recorder
	number   uint16 // newest that was reported
	packet   []byte
}

// report is transport-wide feedback about the numbers up to newest, which came evenly until now.
func (r *steeredFeedback) report(newest uint16, now time.Time) []byte {
	if r.recorder == nil {
		r.recorder = twcc.NewRecorder(1)
	}
	first := r.number + 1
	count := int64(newest - r.number)
	for n := first; n != newest+1; n++ {
		r.recorder.Record(1, n, now.UnixMicro()-100_000+int64(n-first)*100_000/count)
	}
	r.number = newest
	r.packet = r.packet[:0]
	for _, p := range r.recorder.BuildFeedbackPacket() {
		raw, _ := p.Marshal()
		r.packet = append(r.packet, raw...)
	}
	return r.packet
}

// threadTime is the processor time of this thread, kernel included.
func threadTime() time.Duration {
	var usage unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_THREAD, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkLayers compares what a forwarded packet costs with three layers to choose from, transport-wide numbers, estimation, pacing and the viewers' feedback to what
// it costs without any of it: processor time of one thread, kernel included, both in turns.
func BenchmarkLayers(b *testing.B) {
	const viewers = 100
	simulcast := layeredShape{codec: codec.VP8, rids: []string{"q", "h", "f"}, spatial: 1, temporal: 1}
	plain := newLayersStage(b, layeredShape{codec: codec.VP8, rids: []string{""}, spatial: 1, temporal: 1}, viewers, RawVideo)
	steered := newLayersStage(b, simulcast, viewers, simulcast.section(false))
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	now := time.Now()
	reports := make([]steeredFeedback, viewers)
	for i, f := range steered.forwarders() {
		f.bandwidth = bandwidth.NewViewer(bandwidth.Config{StartBitrate: 6_000_000}, now.UnixNano())
		reports[i].number = f.subscriber.number
	}
	var spent [2]time.Duration
	var sent [2]uint64
	measure := func(i int, s *layersStage, work func()) {
		for _, f := range s.forwarders() {
			sent[i] -= f.sent.packets
		}
		before := threadTime()
		work()
		spent[i] += threadTime() - before
		for _, f := range s.forwarders() {
			sent[i] += f.sent.packets
		}
	}
	packets := make([][]byte, viewers)
	for n := 0; b.Loop(); n++ {
		now = now.Add(stageFrame)
		for i, s := range []*layersStage{plain, steered} {
			s.put(now.UnixNano(), 0)
			measure(i, s, func() { s.advance(now.UnixNano()) })
			if n%2 == 1 {
				measure(i, s, func() { s.tick(now) })
			}
		}
		if n%3 != 2 {
			continue
		}
		forwarders := steered.forwarders()
		for i, f := range forwarders {
			packets[i] = reports[i].report(f.subscriber.number, now)
		}
		measure(1, steered, func() {
			for i, f := range forwarders {
				f.subscriber.handleRTCP(packets[i], now)
			}
			steered.tasks()
		})
	}
	a, z := float64(spent[0].Nanoseconds())/float64(sent[0]), float64(spent[1].Nanoseconds())/float64(sent[1])
	b.ReportMetric(a, "plain-ns/packet")
	b.ReportMetric(z, "steered-ns/packet")
	b.ReportMetric(z/a, "ratio")
	for _, f := range steered.forwarders() {
		require.NotNil(b, f.bandwidth)
		require.Equal(b, steered.layer, f.layer)
	}
	require.Positive(b, steered.forwarders()[0].bandwidth.Estimate().Delivered)
}
