package relay_test

import (
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"

	"rheomesh/sfu"
)

// benchData relays a data publisher with one reliable ordered channel "bench" from one node to another.
func benchData(b *testing.B) (feed *dataFeed, edge *machine, origin *machine) {
	b.Helper()
	origin, edge = newMachine(b, "a", "127.0.0.1:0"), newMachine(b, "b", "127.0.0.1:0")
	feed = origin.publishData(b, "cam")
	origin.put(b, origin.order(edge))
	require.NoError(b, feed.feed.OpenDataChannel(sfu.DataChannel{Label: "bench", Ordered: true}))
	return feed, edge, origin
}

// BenchmarkDataThroughput carries reliable messages of 16 KiB over a loopback relay as fast as it takes them.
func BenchmarkDataThroughput(b *testing.B) {
	feed, edge, origin := benchData(b)
	reader := readData(b, edge, "cam")
	reader.event(b, "open bench")
	message := numbered(0, 16<<10)
	runtime.GC()
	b.ResetTimer()
	start, used := time.Now(), cpu()
	const window = 48 // messages on their way: what a channel may queue for a sink
	arrived := 0
	for sent := range b.N {
		for sent-arrived >= window {
			reader.next(b)
			arrived++
		}
		feed.feed.AppendData(sfu.DataMessage{Channel: "bench", Binary: true, Data: message})
	}
	for ; arrived < b.N; arrived++ {
		reader.next(b)
	}
	took, spent := time.Since(start), cpu()-used
	b.StopTimer()
	b.ReportMetric(float64(b.N)*float64(len(message))*8/1e6/took.Seconds(), "Mbit/s")
	b.ReportMetric(spent.Seconds()/took.Seconds(), "cores")
	b.ReportMetric(spent.Seconds()*1e6/float64(b.N), "cpu-µs/message")
	b.ReportMetric(float64(origin.relay.Stats().DataResent), "resent")
}

// BenchmarkDataDelay is the delay that one relay adds at 1,000 messages of 200 bytes a second, from the publisher's side of the origin to a reader's on the edge.
func BenchmarkDataDelay(b *testing.B) {
	feed, edge, _ := benchData(b)
	reader := readData(b, edge, "cam")
	reader.event(b, "open bench")
	message := numbered(0, 200)
	sentAt := make(chan time.Time, 1024)
	done := make(chan []float64)
	go func() {
		var delays []float64
		for at := range sentAt {
			<-reader.messages
			delays = append(delays, float64(time.Since(at).Microseconds())/1000)
		}
		done <- delays
	}()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	b.ResetTimer()
	for range b.N {
		<-ticker.C
		sentAt <- time.Now()
		feed.feed.AppendData(sfu.DataMessage{Channel: "bench", Data: message})
	}
	close(sentAt)
	delays := <-done
	b.StopTimer()
	slices.Sort(delays)
	b.ReportMetric(delays[len(delays)/2], "p50-ms")
	b.ReportMetric(delays[len(delays)*99/100], "p99-ms")
	b.ReportMetric(delays[len(delays)-1], "max-ms")
}

// BenchmarkDataFanOut carries messages of 100 bytes over one relay to ten pion viewers, all in this process, as fast as they take them.
func BenchmarkDataFanOut(b *testing.B) {
	const viewers, window = 10, 2000 // messages under way to each at most, so that nobody is slow
	feed, edge, _ := benchData(b)
	var counts [viewers]atomic.Int64
	slowest := func() int64 {
		least := counts[0].Load()
		for i := range counts {
			least = min(least, counts[i].Load())
		}
		return least
	}
	notes, open := make(chan struct{}, 1), make(chan struct{}, viewers)
	for i := range viewers {
		p := newDataPeer(b)
		p.pc.OnDataChannel(func(c *webrtc.DataChannel) {
			c.OnOpen(func() { open <- struct{}{} })
			c.OnMessage(func(webrtc.DataChannelMessage) {
				counts[i].Add(1)
				select {
				case notes <- struct{}{}:
				default:
				}
			})
		})
		p.create("own", nil)
		p.watch(edge.router, "cam")
		<-open
	}
	message := numbered(0, 100)
	relayed := edge.relay.Stats().DataMessagesIn
	runtime.GC()
	b.ResetTimer()
	start, used := time.Now(), cpu()
	wait := func(least int64) {
		for slowest() < least {
			select {
			case <-notes:
			case <-time.After(patience):
				b.Fatalf("the slowest has got %d; %d crossed", slowest(), edge.relay.Stats().DataMessagesIn-relayed)
			}
		}
	}
	for n := range int64(b.N) {
		feed.feed.AppendData(sfu.DataMessage{Channel: "bench", Data: message})
		wait(n + 1 - window)
	}
	wait(int64(b.N))
	took, spent := time.Since(start), cpu()-used
	b.StopTimer()
	require.Equal(b, uint64(b.N), edge.relay.Stats().DataMessagesIn-relayed)
	b.ReportMetric(float64(b.N)/took.Seconds(), "messages/s")
	b.ReportMetric(spent.Seconds()/took.Seconds(), "cores")
}

// BenchmarkDataSmall carries messages of 100 bytes over one relay at 20,000 a second to one reader, and says what the relay alone costs.
func BenchmarkDataSmall(b *testing.B) {
	const perSecond = 20_000
	feed, edge, _ := benchData(b)
	reader := readData(b, edge, "cam")
	reader.event(b, "open bench")
	message := numbered(0, 100)
	runtime.GC()
	b.ResetTimer()
	start, used := time.Now(), cpu()
	for n := range b.N {
		time.Sleep(time.Until(start.Add(time.Duration(n) * time.Second / perSecond)))
		feed.feed.AppendData(sfu.DataMessage{Channel: "bench", Data: message})
	}
	for range b.N {
		reader.next(b)
	}
	took, spent := time.Since(start), cpu()-used
	b.StopTimer()
	b.ReportMetric(float64(b.N)/took.Seconds(), "messages/s")
	b.ReportMetric(spent.Seconds()/took.Seconds(), "cores")
}
