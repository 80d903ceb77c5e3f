package relay_test

import (
	"encoding/binary"
	"math"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"rheomesh/sfu"
)

// Lips stay in sync over a hop that loses 5 % (R10): sender reports and timestamps tell a viewer the same time for a video frame and an audio frame of one moment.
// RELAY_DRIFT_SECONDS makes it longer: 600 is the figure of the documentation.
func TestLipsStayInSync(t *testing.T) {
	seconds := 12
	if text := os.Getenv("RELAY_DRIFT_SECONDS"); text != "" {
		seconds, _ = strconv.Atoi(text)
	}
	p := newPair(t, nil)
	p.shim.loss.Store(50)
	p.shim.delay.Store(int64(20 * time.Millisecond))
	p.shim.jitter.Store(int64(10 * time.Millisecond))
	clip := avClip{t: t, p: p, origin: time.Now()}
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	worst, last, measured := 0.0, 0.0, 0
	for i := range seconds * 50 {
		<-ticker.C
		clip.send(i)
		if i%50 != 49 || i < 100 { // until the client's first report has crossed, the edge makes do with times of arrival
			continue
		}
		offset, ok := clip.offset()
		if !ok {
			continue // there is no report of both yet
		}
		measured++
		last = offset
		worst = max(worst, math.Abs(last))
	}
	t.Logf("after %d s with 5 %% loss: drift %.3f ms, at most %.3f ms in %d looks; %d datagrams dropped, %d packets lost for good",
		seconds, last*1000, worst*1000, measured, p.shim.dropped.Load(), p.b.relay.Stats().Lost)
	require.Greater(t, measured, seconds/2)
	require.Less(t, worst, 0.0001, "seconds; a tick of the audio clock is a fifth of this")
}

// avClip is a publication of 25 video and 50 audio frames a second, whose payloads tell their media time.
type avClip struct {
	t      *testing.T
	p      *pair
	origin time.Time
	video  frame
	audio  frame
}

// frame is where a viewer places a frame on the sender's clock, in seconds, and its media time.
type frame struct {
	ssrc      uint32
	timestamp uint32
	media     float64
	ok        bool
}

// send sends what belongs to tick i of 20 ms, and once a second what a client's sender reports say: media time on its wall clock.
func (c *avClip) send(i int) {
	audio := binary.BigEndian.AppendUint32([]byte{0xfc}, uint32(i))
	c.p.source.write(c.t, c.p.source.feed.Layers()[1][0], firstSSRC+9, 111, &c.p.source.seq[1], uint32(i)*960+7_000, audio)
	if i%2 == 0 {
		payload := delta(0)
		if i%100 == 0 {
			payload = keyframe(0)
		}
		c.p.source.video(c.t, 0, uint32(i)*1800+3_000_000_000, binary.BigEndian.AppendUint32(payload, uint32(i)))
	}
	if i%50 != 0 {
		return
	}
	at, now := c.origin.Add(time.Duration(i)*20*time.Millisecond), time.Now()
	ntp := uint64(at.Unix()+2_208_988_800)<<32 | uint64(at.Nanosecond())<<32/1_000_000_000
	c.p.source.feed.Layers()[0][0].Report(sfu.SenderReport{NTP: ntp, RTPTime: uint32(i)*1800 + 3_000_000_000}, now, 0)
	c.p.source.feed.Layers()[1][0].Report(sfu.SenderReport{NTP: ntp, RTPTime: uint32(i)*960 + 7_000}, now, 0)
}

// offset is how much later a viewer shows video than audio of one media time.
func (c *avClip) offset() (seconds float64, ok bool) {
	newest := func(from chan *rtp.Packet, into *frame) {
		for len(from) > 0 {
			packet := <-from
			if n := len(packet.Payload); n > 4 {
				*into = frame{packet.SSRC, packet.Timestamp, float64(binary.BigEndian.Uint32(packet.Payload[n-4:])) * 0.02, true}
			}
		}
	}
	newest(c.p.viewer.video, &c.video)
	newest(c.p.viewer.audio, &c.audio)
	video, okVideo := c.place(c.video, 90000)
	audio, okAudio := c.place(c.audio, 48000)
	return video - audio, okVideo && okAudio
}

// place is when a frame belongs by the newest report of its stream, less its media time.
func (c *avClip) place(f frame, clock float64) (seconds float64, ok bool) {
	value, known := c.p.viewer.reports.Load(f.ssrc)
	if !known || !f.ok {
		return 0, false
	}
	report := value.(*rtcp.SenderReport)
	base := uint64(c.origin.Unix()+2_208_988_800) << 32
	return float64(int64(report.NTPTime-base))/(1<<32) + float64(int32(f.timestamp-report.RTPTime))/clock - f.media, true
}
