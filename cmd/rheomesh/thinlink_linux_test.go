package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"rheomesh/client"
)

// The thin link. Its queue holds 300 ms at its rate, as those of home routers do.
const (
	thinBps        = 800_000
	thinQueueBytes = thinBps / 8 * 3 / 10
	thinBurstBytes = 3000 // two packets: the kernel cuts segmented messages larger than that
)

// longestFreeze is what a viewer may miss at a step down. Mostly it is half a second or less; when packets of the smaller layer's keyframe find the queue still full, the
// next keyframe ends it.
const longestFreeze = time.Second

// syntheticPictures per second, and from keyframe to keyframe unless one is asked for.
const (
	syntheticRate = 30
	syntheticGOP  = 10 * time.Second
	keyframeSize  = 5 // a keyframe is so many times as large as another frame
)

// syntheticVideo is a client.Source of VP8 frames that hold nothing, at a bit rate.
type syntheticVideo struct {
	width uint16
	bytes int // of a frame
	n     int // frames since the keyframe
}

func newSyntheticVideo(width uint16, bitrate int) *syntheticVideo {
	return &syntheticVideo{width: width, bytes: bitrate / 8 / syntheticRate}
}

func (s *syntheticVideo) Codec() webrtc.RTPCodecCapability {
	return webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}
}

func (s *syntheticVideo) SkipToKeyframe() { s.n = 0 }

func (s *syntheticVideo) Next() (data []byte, duration time.Duration, keyframe bool) {
	keyframe = s.n%int(syntheticGOP*syntheticRate/time.Second) == 0
	s.n++
	size := s.bytes * (3 + s.n%3) / 4 // frames differ in size
	header := []byte{0x11, 0, 0}
	if keyframe { // RFC 6386 section 9.1
		size = keyframeSize * s.bytes
		header = []byte{0x10, 0, 0, 0x9d, 0x01, 0x2a}
		header = binary.LittleEndian.AppendUint16(header, s.width)
		header = binary.LittleEndian.AppendUint16(header, s.width*9/16)
	}
	return append(header, make([]byte, size)...), time.Second / syntheticRate, keyframe
}

// watcher is a viewer who notes when frames came.
type watcher struct {
	*client.Playback

	mu      sync.Mutex // guards the rest
	last    time.Time  // arrival of the newest frame that could be decoded
	longest time.Duration
}

func watchVideo(t *testing.T, url string) *watcher {
	t.Helper()
	w := &watcher{}
	var err error
	w.Playback, err = client.Play(t.Context(), client.PlayOptions{Options: client.Options{URL: url}, NoAudio: true, OnFrame: w.frame})
	require.NoError(t, err)
	t.Cleanup(func() { _ = w.Close(context.Background()) })
	require.NoError(t, w.Connected(t.Context()))
	return w
}

func (w *watcher) frame(_ *client.RemoteTrack, f *client.Frame) {
	if !f.Decodable {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.last.IsZero() {
		w.longest = max(w.longest, f.Arrival.Sub(w.last))
	}
	w.last = f.Arrival
}

// freeze is the longest time without a new frame since the call before.
func (w *watcher) freeze() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	longest := max(w.longest, time.Since(w.last))
	w.longest = 0
	return longest
}

func (w *watcher) video() client.ReceiveStats {
	v, _ := w.Stats().Track("video")
	return v
}

// port is the viewer's port as the node sees it.
func (p *process) portOf(t *testing.T, w *watcher) uint16 {
	t.Helper()
	_, body := get(t, p.url+"/api/v1/routers/live/subscribers", "")
	var list struct {
		Items []struct {
			RemoteAddr string `json:"remote_addr"`
		} `json:"items"`
	}
	require.NoError(t, json.Unmarshal([]byte(body), &list), body)
	require.Len(t, list.Items, 1, body)
	addr, err := netip.ParseAddrPort(list.Items[0].RemoteAddr)
	require.NoError(t, err)
	return addr.Port()
}

// subscribers is what the node says of the viewers, for the log.
func (p *process) subscribers(t *testing.T) string {
	t.Helper()
	_, body := get(t, p.url+"/api/v1/routers/live/subscribers", "")
	return body
}

// narrow lets what the far machine sends to a port through a token bucket; all else passes beside it.
func narrow(t *testing.T, port uint16) {
	t.Helper()
	in := "ip netns exec " + farSpace + " "
	for _, command := range []string{
		"tc qdisc add dev rm-far root handle 1: htb", "tc class add dev rm-far parent 1: classid 1:4 htb rate 1gbit quantum 10000",
		fmt.Sprintf("tc qdisc add dev rm-far parent 1:4 handle 40: tbf rate %dbit burst %d limit %d", thinBps, thinBurstBytes, thinQueueBytes),
		"nft add table inet thin", "nft add chain inet thin out { type filter hook output priority 0 ; }",
		fmt.Sprintf("nft add rule inet thin out udp dport %d meta priority set 1:4", port),
	} {
		shell(t, in+command)
	}
}

// A viewer's link becomes thin and wide again: the viewer gets the best layer that fits it, soon and without a long freeze, and nobody else notices.
func TestThinLink(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	newFarMachine(t)
	if _, err := exec.LookPath("tc"); err != nil {
		t.Skip("needs tc")
	}
	serve := command(t, nil, "serve", "--insecure", "--http", farIP+":0", "--media", farIP+":0", "--relay", farIP+":0")
	serve.Args = append([]string{"ip", "netns", "exec", farSpace, serve.Path}, serve.Args[1:]...)
	serve.Path, _ = exec.LookPath("ip")
	node := started(t, serve)
	publication, err := client.Publish(t.Context(), client.PublishOptions{
		Options: client.Options{URL: node.url + "/whip/live/cam"}, AnswerPLI: true,
		Simulcast: []client.Encoding{{RID: "q", Source: newSyntheticVideo(320, 150_000)}, {RID: "h", Source: newSyntheticVideo(640, 500_000)}, {RID: "f", Source: newSyntheticVideo(1280, 1_700_000)}},
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = publication.Close(context.Background()) })
	require.NoError(t, publication.Connected(t.Context()))

	thin := watchVideo(t, node.url+"/whep/live/cam")
	thinPort := node.portOf(t, thin)
	var good [3]*watcher
	for i := range good {
		good[i] = watchVideo(t, node.url+"/whep/live/cam")
	}
	full := func(w *watcher) func() bool { return func() bool { return w.video().Width == 1280 } }
	require.Eventually(t, full(thin), 10*time.Second, 20*time.Millisecond)
	for _, w := range good {
		require.Eventually(t, full(w), 10*time.Second, 20*time.Millisecond)
	}
	time.Sleep(3 * time.Second) // so that the node knows the link
	for _, w := range good {
		require.True(t, full(w)(), "a good link carries the full layer")
	}

	thin.freeze()
	narrow(t, thinPort)
	limited := time.Now()
	require.Eventually(t, func() bool { return thin.video().Width == 640 }, 10*time.Second, 20*time.Millisecond, "%s", node.subscribers(t))
	t.Logf("half size after %v", time.Since(limited).Round(10*time.Millisecond))
	time.Sleep(3 * time.Second)
	freeze := thin.freeze()
	t.Logf("longest freeze at the step down: %v", freeze.Round(time.Millisecond))
	assert.LessOrEqual(t, freeze, longestFreeze)

	before, from := thin.video().Bytes, time.Now()
	for time.Since(from) < 5*time.Second {
		time.Sleep(100 * time.Millisecond)
		assert.Equal(t, 640, thin.video().Width, "the half size fits, the full one does not")
		if t.Failed() {
			break
		}
	}
	delivered := float64(thin.video().Bytes-before) * 8 / time.Since(from).Seconds()
	t.Logf("delivered %.0f kbit/s over %d; freeze %v", delivered/1000, thinBps/1000, thin.freeze().Round(time.Millisecond))
	assert.GreaterOrEqual(t, delivered, 0.8*500_000)
	assert.LessOrEqual(t, delivered, 1.0*thinBps)
	t.Log(node.subscribers(t))

	shell(t, "ip netns exec "+farSpace+" tc qdisc del dev rm-far root")
	lifted := time.Now()
	assert.Eventually(t, full(thin), 15*time.Second, 20*time.Millisecond, "%s", node.subscribers(t))
	t.Logf("full size %v after the link was wide again; longest freeze %v", time.Since(lifted).Round(10*time.Millisecond), thin.freeze().Round(time.Millisecond))
	for i, w := range good {
		v := w.video()
		assert.Zero(t, v.Lost, "good viewer %d", i)
		assert.Zero(t, v.BrokenFrames)
		assert.EqualValues(t, 1280, v.Width)
		assert.Less(t, w.freeze(), 500*time.Millisecond)
		t.Logf("good viewer %d: %d packets, %d lost, %d duplicates", i, v.Packets, v.Lost, v.Duplicates)
	}
}
