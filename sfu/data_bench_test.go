package sfu_test

import (
	"encoding/binary"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"
)

const (
	benchDataViewers = 10
	benchDataBytes   = 100 // of a message; the first eight are the time of sending
)

// BenchmarkData sends small messages from one publisher through a node to ten viewers, real pion peers all in this process, and waits until all have arrived.
// An operation is one message to all viewers. With a rate, messages are sent at it and the time from the sender's hand to each receiver's is reported; without,
// as fast as they go through.
func BenchmarkData(b *testing.B) {
	for name, rate := range map[string]int{"rate=1000": 1000, "rate=2000": 2000, "rate=full": 0} {
		b.Run(name, func(b *testing.B) { benchmarkData(b, rate) })
	}
}

func benchmarkData(b *testing.B, rate int) {
	_, router := newNode(b)
	publisher := newDataPeer(b)
	channel := publisher.create("bench", nil)
	publisher.publish(router, "cam")
	isOpen(b, channel)
	var arrived atomic.Int64
	delays := make([][]int64, benchDataViewers)
	notes := make(chan struct{}, 1)
	for i := range delays {
		viewer := newDataPeer(b)
		neededChannel(viewer)
		viewer.watch(router, "cam", false)
		viewer.channel("bench").OnMessage(func(m webrtc.DataChannelMessage) {
			delays[i] = append(delays[i], time.Now().UnixNano()-int64(binary.BigEndian.Uint64(m.Data)))
			arrived.Add(1)
			select {
			case notes <- struct{}{}:
			default:
			}
		})
	}
	b.ResetTimer()
	start := time.Now()
	for n := range b.N {
		if rate > 0 {
			time.Sleep(time.Until(start.Add(time.Duration(n) * time.Second / time.Duration(rate))))
		}
		message := make([]byte, benchDataBytes)
		binary.BigEndian.PutUint64(message, uint64(time.Now().UnixNano()))
		require.NoError(b, channel.Send(message))
		// What is under way stays below what a channel may have queued, so that nobody is slow.
		for int64(n+1)*benchDataViewers-arrived.Load() > 2000*benchDataViewers {
			<-notes
		}
	}
	for deadline := time.After(patience); arrived.Load() < int64(b.N)*benchDataViewers; {
		select {
		case <-notes:
		case <-deadline:
			b.Fatalf("%d of %d messages arrived", arrived.Load(), b.N*benchDataViewers)
		}
	}
	took := time.Since(start)
	b.StopTimer()
	all := slices.Sorted(slices.Values(slices.Concat(delays...)))
	b.ReportMetric(float64(b.N)/took.Seconds(), "messages/s")
	b.ReportMetric(float64(len(all))/took.Seconds(), "deliveries/s")
	b.ReportMetric(float64(all[len(all)/2])/1e6, "p50-ms")
	b.ReportMetric(float64(all[len(all)*99/100])/1e6, "p99-ms")
}
