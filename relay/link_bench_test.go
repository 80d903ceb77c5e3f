package relay_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"rheomesh/relay"
	"rheomesh/sfu"
)

// benchEdge, in the environment, makes TestBenchEdge the edge of a BenchmarkLink in another process. Its value is the file that both processes map.
const benchEdge = "RELAY_BENCH_EDGE"

// edgeReport is what the edge's process tells of itself.
type edgeReport struct {
	Addr                   string
	CPU                    time.Duration
	Lost, Recovered, Drops uint64
}

// sharedCounter maps a file that holds one number, which both processes see at once.
func sharedCounter(t testing.TB, path string) *atomic.Uint64 {
	t.Helper()
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	require.NoError(t, err)
	defer file.Close()
	require.NoError(t, file.Truncate(8))
	memory, err := syscall.Mmap(int(file.Fd()), 0, 8, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	require.NoError(t, err)
	t.Cleanup(func() { _ = syscall.Munmap(memory) })
	return (*atomic.Uint64)(unsafe.Pointer(unsafe.SliceData(memory)))
}

// TestBenchEdge is no test but the other process of BenchmarkLink: for each line on its standard input it watches all that is live, and reports.
func TestBenchEdge(t *testing.T) {
	path := os.Getenv(benchEdge)
	if path == "" {
		t.Skip("runs for BenchmarkLink only")
	}
	arrived := sharedCounter(t, path)
	m := newMachine(t, "edge", "127.0.0.1:0")
	watched := map[sfu.PublisherID]bool{}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if want, _ := strconv.Atoi(lines.Text()); want > 0 {
			for i := range want {
				id := benchPublisher(i)
				if m.live(t, id); !watched[id] {
					watched[id] = true
					watchLayer(t, m, id, arrived)
				}
			}
		}
		stats := m.relay.Stats()
		report, _ := json.Marshal(edgeReport{m.relay.Addr().String(), cpu(), stats.Lost, stats.Recovered, stats.SocketDrops}) // plain numbers always marshal
		fmt.Printf("edge %s\n", report)
	}
}

func benchPublisher(i int) sfu.PublisherID { return sfu.PublisherID(fmt.Sprintf("cam%d", i)) }

// edgeProcess is the edge as BenchmarkLink sees it.
type edgeProcess struct {
	b       *testing.B
	ask     func(line string)
	lines   *bufio.Scanner
	arrived *atomic.Uint64
}

// startEdge starts the edge's process, which ends with the benchmark.
func startEdge(b *testing.B) *edgeProcess {
	b.Helper()
	path := filepath.Join(b.TempDir(), "arrived")
	e := &edgeProcess{b: b, arrived: sharedCounter(b, path)}
	child := exec.Command(os.Args[0], "-test.run=^TestBenchEdge$", "-test.v", "-test.cpuprofile="+os.Getenv("EDGEPROF")) //nolint:noctx // ends with its input
	child.Env = append(os.Environ(), benchEdge+"="+path)
	child.Stderr = os.Stderr
	in, err := child.StdinPipe()
	require.NoError(b, err)
	out, err := child.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, child.Start())
	b.Cleanup(func() {
		_ = in.Close()
		require.NoError(b, child.Wait())
	})
	e.lines = bufio.NewScanner(out)
	e.ask = func(line string) {
		_, err := fmt.Fprintln(in, line)
		require.NoError(b, err)
	}
	return e
}

// report lets the edge watch the first publishers, and say how it is.
func (e *edgeProcess) report(publishers int) (r edgeReport) {
	e.b.Helper()
	e.ask(strconv.Itoa(publishers))
	for e.lines.Scan() {
		if n, _ := fmt.Sscanf(e.lines.Text(), "edge %s", new(string)); n == 1 {
			require.NoError(e.b, json.Unmarshal(e.lines.Bytes()[len("edge "):], &r))
			return r
		}
	}
	e.b.Fatal("the edge's process has ended")
	return r
}

// load appends packets of 1,200 bytes to layers in turn.
type load struct {
	node   *sfu.Node
	layers []*sfu.FeedLayer
	raw    []byte
	sent   uint64
}

// burst appends so many packets, as a reader does with what one system call returned.
func (l *load) burst(packets int) {
	now := time.Now()
	for range packets {
		layer, number := l.layers[l.sent%uint64(len(l.layers))], l.sent/uint64(len(l.layers))
		room := layer.Room(len(l.raw))
		copy(room, l.raw)
		room[2], room[3] = byte(number>>8), byte(number)
		layer.Append(room[:len(l.raw)], uint8(number>>16&0xf), now, 0)
		l.sent++
	}
	l.node.Wake()
}

// BenchmarkLink carries packets of 1,200 bytes over a whole link to another process, from the append on the origin to the append on the edge, as fast as it takes
// them (R1, R2). The origin's figure is its process's CPU time less that of the appends, which the same load without a relay tells.
func BenchmarkLink(b *testing.B) {
	for _, publishers := range []int{1, 30} {
		b.Run(fmt.Sprint(publishers, "-streams"), func(b *testing.B) { benchmarkLink(b, publishers) })
	}
}

func benchmarkLink(b *testing.B, publishers int) {
	const burst, window = 256, 6144 // packets appended at once, and on their way at most
	e := startEdge(b)
	a := newMachine(b, "origin", "127.0.0.1:0")
	other := *a
	var err error
	other.router, _, err = a.media.PutRouter("other", sfu.RouterConfig{})
	require.NoError(b, err)
	relayed, alone := &load{node: a.media, raw: packet1200()}, &load{node: a.media, raw: packet1200()}
	for i := range publishers {
		relayed.layers = append(relayed.layers, a.publishPackets(b, benchPublisher(i)).feed.Layers()[0][0])
		alone.layers = append(alone.layers, other.publishPackets(b, benchPublisher(i)).feed.Layers()[0][0])
	}
	o := relay.Order{Router: "live", ID: "r", Peer: e.report(0).Addr}
	for i := range publishers {
		o.Publishers = append(o.Publishers, benchPublisher(i))
	}
	r := a.put(b, o)
	e.report(publishers)
	eventually(b, "layers are not wanted", func() bool {
		wanted := 0
		for _, s := range r.Info().Streams {
			if s.Wanted {
				wanted++
			}
		}
		return wanted == publishers
	})
	runtime.GC()
	used := cpu()
	for range max(b.N/burst, 1) {
		alone.burst(burst)
	}
	appends := float64(cpu()-used) / float64(alone.sent)
	runtime.GC()
	before, edge := e.arrived.Load(), e.report(0)
	b.ResetTimer()
	start, used := time.Now(), cpu()
	arrived := func() uint64 { return e.arrived.Load() - before }
	for relayed.sent < uint64(b.N) {
		relayed.burst(burst)
		for relayed.sent-arrived() > window && time.Since(start) < time.Minute {
			time.Sleep(50 * time.Microsecond)
		}
	}
	for arrived() < relayed.sent && time.Since(start) < time.Minute {
		time.Sleep(50 * time.Microsecond)
	}
	took, spent := time.Since(start), cpu()-used
	b.StopTimer()
	after := e.report(0)
	perPacket := func(d float64) float64 { return d / float64(relayed.sent) / 1000 }
	b.ReportMetric(float64(arrived())/took.Seconds(), "packets/s")
	b.ReportMetric(perPacket(float64(spent)-appends*float64(relayed.sent)), "cpu-origin-us")
	b.ReportMetric(perPacket(float64(after.CPU-edge.CPU)), "cpu-edge-us")
	b.ReportMetric(appends/1000, "cpu-load-us")
	b.ReportMetric(float64(relayed.sent-arrived()), "lost")
	b.ReportMetric(float64(after.Recovered), "recovered")
	b.ReportMetric(float64(after.Drops), "kernel-drops")
}
