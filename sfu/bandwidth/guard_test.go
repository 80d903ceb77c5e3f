package bandwidth_test

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"rheomesh/sfu/bandwidth"
)

// maxViewerBytes is what one viewer may take: a thousand viewers take 16 MiB.
const maxViewerBytes = 16 << 10

func TestViewerIsSmall(t *testing.T) {
	size := unsafe.Sizeof(bandwidth.Viewer{})
	t.Logf("%d bytes", size)
	assert.LessOrEqual(t, size, uintptr(maxViewerBytes))
}

// busy is a viewer in the midst of its work, with the means to go on without allocating.
type busy struct {
	viewer *bandwidth.Viewer
	number uint16
	serial uint8
	base   uint16
	now    int64
	fci    []byte
}

func newBusy() *busy {
	b := &busy{viewer: bandwidth.NewViewer(bandwidth.Config{}, 0), number: 60_000, base: 60_000}
	b.viewer.SetAudio(40_000)
	b.viewer.SetRungs([]bandwidth.Rung{{ID: 0, Bitrate: 150_000}, {ID: 1, Bitrate: 1_700_000}})
	return b
}

// send sends one packet, a millisecond after the one before.
func (b *busy) send() {
	b.now += milli
	b.viewer.Allow(b.now)
	b.viewer.Sent(b.number, 250, b.now)
	b.number++
}

// reportBytes builds the report of all packets since the last one: each arrived 1 ms after the one before.
func (b *busy) reportBytes() []byte {
	count := b.number - b.base
	reference := uint32((b.now/milli - int64(count)) / 64)
	b.fci = append(b.fci[:0], byte(b.base>>8), byte(b.base), byte(count>>8), byte(count), byte(reference>>16), byte(reference>>8), byte(reference), b.serial)
	b.fci = append(b.fci, byte(0x20|count>>8), byte(count))
	for range count {
		b.fci = append(b.fci, 4)
	}
	b.base, b.serial = b.number, b.serial+1
	return b.fci
}

// round is a tenth of a second.
func (b *busy) round() error {
	for range 100 {
		b.send()
	}
	err := b.viewer.Feedback(b.reportBytes(), b.now)
	b.viewer.Tick(b.now)
	b.viewer.Choose(b.now)
	for range 20 {
		bytes, ok := b.viewer.Probe(b.now)
		if !ok {
			break
		}
		b.viewer.Sent(b.number, bytes, b.now)
		b.number++
	}
	b.viewer.Estimate()
	return err
}

// Nothing is allocated after NewViewer: 100 rounds hold 10,000 packets, so that a rare allocation shows too.
func TestNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	b := newBusy()
	require.NoError(t, b.round())
	assert.Zero(t, testing.AllocsPerRun(5, func() {
		for range 100 {
			if err := b.round(); err != nil {
				panic(err)
			}
		}
	}))
}

func BenchmarkSent(b *testing.B) {
	w := newBusy()
	for b.Loop() {
		w.send()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N), "ns/packet")
}

// BenchmarkFeedback takes a report of 100 packets, with Sent of each.
func BenchmarkFeedback(b *testing.B) {
	w := newBusy()
	for b.Loop() {
		if err := w.round(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/packet")
}

func BenchmarkTick(b *testing.B) {
	w := newBusy()
	if err := w.round(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		w.viewer.Tick(w.now)
		w.viewer.Choose(w.now)
	}
}
