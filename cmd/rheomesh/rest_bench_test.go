package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"

	"rheomesh/client"
	"rheomesh/clip"
)

// BenchmarkRESTWithMedia calls the API 2,000 times a second for five seconds, while ten viewers watch a stream, with a node
// that may use one core. It reports what the calls cost that core beside the media, their 99th percentile, and what the
// viewers lost meanwhile, which is to be nothing. Run it with -benchtime 1x.
func BenchmarkRESTWithMedia(b *testing.B) {
	const rate, seconds, viewers, connections = 2000, 5, 10, 8
	p := startServe(b, []string{"GOMAXPROCS=1"})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	publication, err := client.Publish(ctx, client.PublishOptions{
		Options: client.Options{URL: p.url + "/whip/live/cam"}, Video: clip.VP8(clip.Large), Audio: clip.Opus(), AnswerPLI: true,
	})
	require.NoError(b, err)
	defer publication.Close(ctx)
	var playbacks []*client.Playback
	for range viewers {
		playback, err := client.Play(ctx, client.PlayOptions{Options: client.Options{URL: p.url + "/whep/live/cam"}})
		require.NoError(b, err)
		defer playback.Close(ctx)
		_, err = playback.FirstFrame(ctx, webrtc.RTPCodecTypeVideo)
		require.NoError(b, err)
		playbacks = append(playbacks, playback)
	}
	for b.Loop() {
		idle := cpuSeconds(b, p.Process.Pid)
		time.Sleep(seconds * time.Second)
		quiet := cpuSeconds(b, p.Process.Pid) - idle

		start := time.Now()
		busy := cpuSeconds(b, p.Process.Pid)
		times := callSteadily(b, p.url, rate/connections, seconds, connections)
		took := time.Since(start)
		busy = cpuSeconds(b, p.Process.Pid) - busy

		slices.Sort(times)
		b.ReportMetric(float64(len(times))/took.Seconds(), "calls/s")
		b.ReportMetric(milliseconds(times[len(times)*99/100]), "p99-ms")
		b.ReportMetric(quiet/seconds, "cores-media")
		b.ReportMetric(busy/took.Seconds(), "cores-both")
		b.ReportMetric((busy-quiet)/float64(len(times))*1e6, "cpu-µs/call")
	}
	lost := uint64(0)
	for _, playback := range playbacks {
		for _, track := range playback.Stats().Tracks {
			lost += track.Lost
		}
	}
	b.ReportMetric(float64(lost), "lost")
}

// callSteadily reads, in turn, the resources that a dashboard reads. It returns how long each call took from when it was due.
func callSteadily(b *testing.B, url string, perSecond, seconds, connections int) []time.Duration {
	paths := []string{"/api/v1/routers/live/publishers", "/api/v1/routers/live/subscribers?limit=10", "/api/v1/routers/live", "/api/v1/node"}
	transport := &http.Transport{MaxIdleConnsPerHost: connections}
	defer transport.CloseIdleConnections()
	all := make([][]time.Duration, connections)
	start := time.Now()
	var wg sync.WaitGroup
	for c := range all {
		wg.Go(func() {
			for i := range perSecond * seconds {
				due := start.Add(time.Duration(i) * time.Second / time.Duration(perSecond))
				time.Sleep(time.Until(due))
				if err := call(transport, url+paths[i%len(paths)]); err != nil {
					b.Error(err)
					return
				}
				all[c] = append(all[c], time.Since(due))
			}
		})
	}
	wg.Wait()
	return slices.Concat(all...)
}

func call(transport *http.Transport, url string) error {
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := transport.RoundTrip(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, response.Status)
	}
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

// cpuSeconds is what the process has used so far (proc(5), /proc/pid/stat: fields 14 and 15, in hundredths).
func cpuSeconds(b *testing.B, pid int) float64 {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Skip("needs /proc")
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:])) // from field 3 on
	total := 0.0
	for _, field := range fields[11:13] {
		ticks, err := strconv.ParseFloat(field, 64)
		require.NoError(b, err)
		total += ticks / 100
	}
	return total
}
