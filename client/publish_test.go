package client

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"rheomesh/clip"
)

// publish starts a publication that the test's end closes.
func publish(t *testing.T, options PublishOptions) *Publication {
	t.Helper()
	publication, err := Publish(limited(t), options)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, publication.Close(limited(t))) })
	return publication
}

// play starts a playback that the test's end closes.
func play(t *testing.T, options PlayOptions) *Playback {
	t.Helper()
	playback, err := Play(limited(t), options)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, playback.Close(limited(t))) })
	return playback
}

func TestPublishAndPlay(t *testing.T) {
	tests := []struct {
		name          string
		video         func() *clip.Source
		codec         string
		width, height int
	}{
		{"vp8", func() *clip.Source { return clip.VP8(clip.Medium) }, webrtc.MimeTypeVP8, 320, 180},
		{"h264", clip.H264, webrtc.MimeTypeH264, 640, 360},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFake(t)
			publication := publish(t, PublishOptions{Options: f.options("/whip/a"), Video: test.video(), Audio: clip.Opus(), AnswerPLI: true})
			f.waitUplinks(2)
			frames := make(chan int, 1)
			playback := play(t, PlayOptions{Options: f.options("/whep/a"), OnFrame: countFrames(webrtc.RTPCodecTypeVideo, frames, 45)})

			first, err := playback.FirstFrame(limited(t), webrtc.RTPCodecTypeVideo)
			require.NoError(t, err)
			assert.Positive(t, first)
			_, err = playback.FirstFrame(limited(t), webrtc.RTPCodecTypeAudio)
			require.NoError(t, err)
			receive(t, frames)

			stats := playback.Stats()
			assert.True(t, stats.Decodable())
			assert.Positive(t, stats.SetupTime)
			video, ok := stats.Track("video")
			require.True(t, ok)
			assert.Equal(t, test.codec, video.Codec)
			assert.Equal(t, [2]int{test.width, test.height}, [2]int{video.Width, video.Height})
			assert.Zero(t, video.Lost+video.Duplicates+video.Broken)
			assert.GreaterOrEqual(t, video.Keyframes, uint64(1))
			assert.GreaterOrEqual(t, video.DecodableFrames, uint64(30))
			assert.Greater(t, video.FirstFrame, time.Duration(0))
			assert.LessOrEqual(t, video.FirstPacket, video.FirstFrame)
			assert.InDelta(t, 200_000, video.BitrateBps, 150_000)
			audio, ok := stats.Track("audio")
			require.True(t, ok)
			assert.Equal(t, webrtc.MimeTypeOpus, audio.Codec)
			assert.Equal(t, audio.Packets, audio.DecodableFrames)

			sent := publication.Stats()
			require.Len(t, sent.Tracks, 2)
			assert.Equal(t, []string{"audio", "video"}, []string{sent.Tracks[0].Kind, sent.Tracks[1].Kind})
			assert.GreaterOrEqual(t, sent.Tracks[1].Packets, video.Packets)
		})
	}
}

// countFrames signals when n frames of a kind have come.
func countFrames(kind webrtc.RTPCodecType, done chan<- int, n int) func(*RemoteTrack, *Frame) {
	var count atomic.Int64
	return func(track *RemoteTrack, _ *Frame) {
		if track.Kind() == kind && count.Add(1) == int64(n) {
			done <- n
		}
	}
}

// TestReports waits for what sender and receiver reports tell: latency on one side, round trip on the other.
func TestReports(t *testing.T) {
	f := newFake(t)
	publication := publish(t, PublishOptions{Options: f.options("/whip/a"), Audio: clip.Opus()})
	f.waitUplinks(1)
	playback := play(t, PlayOptions{Options: f.options("/whep/a"), NoVideo: true})
	require.Eventually(t, func() bool {
		audio, _ := playback.Stats().Track("audio")
		sent := publication.Stats().Tracks[0]
		return audio.Latency.Frames > 10 && sent.RTT > 0
	}, 10*time.Second, 20*time.Millisecond)
	audio, _ := playback.Stats().Track("audio")
	assert.Positive(t, audio.SenderReports)
	// On a busy machine a report may stand for a packet that was written late.
	assert.Less(t, audio.Latency.Mean.Abs(), time.Second)
	assert.LessOrEqual(t, audio.Latency.Min, audio.Latency.Mean)
	assert.LessOrEqual(t, audio.Latency.Mean, audio.Latency.Max)
	assert.Less(t, publication.Stats().Tracks[0].RTT, time.Second)
}

func TestConnections(t *testing.T) {
	six := func(t *testing.T) {
		listener, err := net.ListenPacket("udp6", "[::1]:0")
		if err != nil {
			t.Skip("no IPv6 here")
		}
		_ = listener.Close()
	}
	tests := []struct {
		name   string
		change func(*Options)
		server func(*testing.T) []func(*webrtc.SettingEngine)
		check  func(*testing.T, *Publication)
	}{
		{name: "plain", check: func(t *testing.T, p *Publication) {
			assert.Contains(t, p.Offer(), "a=candidate:")
			assert.Contains(t, p.Offer(), "a=setup:actpass")
			assert.Contains(t, p.Offer(), "a=rtcp-mux-only\r\n")
			assert.Contains(t, p.Offer(), "rtx/90000")
			assert.Contains(t, p.Offer(), "transport-wide-cc")
			assert.NotContains(t, p.Offer(), ".local ")
		}},
		{name: "no candidates", change: func(o *Options) { o.NoCandidates = true }, check: func(t *testing.T, p *Publication) {
			assert.NotContains(t, p.Offer(), "candidate")
		}},
		{name: "trickle", change: func(o *Options) { o.Trickle = true }},
		{name: "setup active", change: func(o *Options) { o.Setup = "active" }, check: func(t *testing.T, p *Publication) {
			assert.Contains(t, p.Answer(), "a=setup:passive")
		}},
		{name: "setup passive", change: func(o *Options) { o.Setup = "passive" }, check: func(t *testing.T, p *Publication) {
			assert.Contains(t, p.Answer(), "a=setup:active")
		}},
		{name: "one srtp profile", change: func(o *Options) {
			o.SRTPProfiles = []dtls.SRTPProtectionProfile{dtls.SRTP_AES128_CM_HMAC_SHA1_80}
		}},
		{name: "no rtx, no twcc", change: func(o *Options) { o.NoRTX, o.NoTWCC = true, true }, check: func(t *testing.T, p *Publication) {
			assert.NotContains(t, p.Offer(), "rtx/90000")
			assert.NotContains(t, p.Offer(), "transport-wide-cc")
		}},
		{
			name: "ice-tcp", change: func(o *Options) { o.TCPOnly = true },
			server: func(t *testing.T) []func(*webrtc.SettingEngine) { return []func(*webrtc.SettingEngine){tcp(t)} },
			check:  func(t *testing.T, p *Publication) { assert.NotContains(t, strings.ToLower(p.Offer()), " udp ") },
		},
		{
			name: "ipv6", change: func(o *Options) { o.IPv6Only = true },
			server: func(t *testing.T) []func(*webrtc.SettingEngine) { six(t); return nil },
			check:  func(t *testing.T, p *Publication) { assert.NotContains(t, p.Offer(), "127.0.0.1") },
		},
		{name: "edited offer", change: func(o *Options) {
			o.EditOffer = func(offer string) string { return strings.Replace(offer, "s=-", "s=edited", 1) }
		}, check: func(t *testing.T, p *Publication) { assert.Contains(t, p.Offer(), "s=edited") }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var settings []func(*webrtc.SettingEngine)
			if test.server != nil {
				settings = test.server(t)
			}
			f := newFake(t, settings...)
			in, out := f.options("/whip/a"), f.options("/whep/a")
			if test.change != nil {
				test.change(&in)
				test.change(&out)
			}
			publication := publish(t, PublishOptions{Options: in, Video: clip.VP8(clip.Small), AnswerPLI: true})
			require.NoError(t, publication.Connected(limited(t)))
			if test.check != nil {
				test.check(t, publication)
			}
			f.waitUplinks(1)
			playback := play(t, PlayOptions{Options: out})
			_, err := playback.FirstFrame(limited(t), webrtc.RTPCodecTypeVideo)
			require.NoError(t, err)
		})
	}
}

func TestTrickleRequests(t *testing.T) {
	f := newFake(t)
	options := f.options("/whip/a")
	options.Trickle = true
	publication := publish(t, PublishOptions{Options: options, Audio: clip.Opus()})
	require.NoError(t, publication.Connected(limited(t)))
	require.Eventually(t, func() bool {
		patches := f.seen(http.MethodPatch)
		return len(patches) > 0 && strings.Contains(patches[len(patches)-1].body, "a=end-of-candidates")
	}, 5*time.Second, 5*time.Millisecond)
	for _, patch := range f.seen(http.MethodPatch) {
		assert.Equal(t, "application/trickle-ice-sdpfrag", patch.header.Get("Content-Type"))
		assert.Equal(t, `"1"`, patch.header.Get("If-Match"))
		assert.Equal(t, "Bearer secret", patch.header.Get("Authorization"))
	}
}

func TestRawPackets(t *testing.T) {
	f := newFake(t)
	publication := publish(t, PublishOptions{Options: f.options("/whip/a"), VideoCodec: clip.VP8(clip.Small).Codec()})
	require.NoError(t, publication.Connected(limited(t)))
	track := publication.Track(webrtc.RTPCodecTypeVideo, "")
	require.NotNil(t, track)
	sent := &rtp.Packet{
		Header:  rtp.Header{Version: 2, SequenceNumber: 65535, Timestamp: 4_000_000_000, Marker: true},
		Payload: []byte{0x10, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 160, 0, 90, 0},
	}
	require.NoError(t, track.WriteRTP(sent))
	link := f.waitUplinks(1)[0]
	got := receive(t, link.received)
	assert.Equal(t, sent.Payload, got.Payload)
	assert.Equal(t, sent.SequenceNumber, got.SequenceNumber)
	assert.Equal(t, sent.Timestamp, got.Timestamp)
	assert.True(t, got.Marker)
	assert.Equal(t, track.SSRC(), got.SSRC)
	assert.EqualValues(t, 1, track.Stats().Packets)
}

func TestWriteRTPOnSourcedTrack(t *testing.T) {
	f := newFake(t)
	publication := publish(t, PublishOptions{Options: f.options("/whip/a"), Audio: clip.Opus()})
	assert.ErrorIs(t, publication.Tracks()[0].WriteRTP(&rtp.Packet{}), errSourced)
}

func TestSimulcast(t *testing.T) {
	f := newFake(t)
	publication := publish(t, PublishOptions{Options: f.options("/whip/a"), Simulcast: []Encoding{
		{"h", clip.VP8(clip.Large)}, {"m", clip.VP8(clip.Medium)}, {"l", clip.VP8(clip.Small)},
	}})
	assert.Contains(t, publication.Offer(), "a=simulcast:send h;m;l")
	links := f.waitUplinks(3)
	ssrcs := map[string]uint32{}
	for _, link := range links {
		ssrcs[link.remote.RID()] = uint32(link.remote.SSRC())
	}
	require.Len(t, ssrcs, 3)
	for _, rid := range []string{"h", "m", "l"} {
		assert.Equal(t, publication.Track(webrtc.RTPCodecTypeVideo, rid).SSRC(), ssrcs[rid], rid)
	}
}

// skipping counts how often a source was told to go to a keyframe.
type skipping struct {
	*clip.Source
	skips atomic.Int64
}

func (s *skipping) SkipToKeyframe() {
	s.skips.Add(1)
	s.Source.SkipToKeyframe()
}

func TestRawSimulcast(t *testing.T) {
	f := newFake(t)
	publication := publish(t, PublishOptions{
		Options: f.options("/whip/a"), Simulcast: []Encoding{{RID: "hi"}, {RID: "lo"}}, VideoCodec: clip.VP8(clip.Small).Codec(),
	})
	require.NoError(t, publication.Connected(limited(t)))
	packet := &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: 9, Marker: true}, Payload: []byte{0x10, 0x11, 0, 0}}
	for i, track := range publication.Tracks() {
		require.NoError(t, track.WriteRTP(packet))
		assert.Empty(t, packet.Extensions, "the caller's packet is not changed")
		f.waitUplinks(i + 1)
	}
	links := f.waitUplinks(2)
	assert.Equal(t, []string{"hi", "lo"}, []string{links[0].remote.RID(), links[1].remote.RID()})
	assert.Equal(t, packet.Payload, receive(t, links[1].received).Payload)
	assert.Nil(t, publication.Track(webrtc.RTPCodecTypeVideo, "no"))
}

func TestAnswerPLI(t *testing.T) {
	for name, answer := range map[string]bool{"answered": true, "ignored": false} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			source := &skipping{Source: clip.VP8(clip.Small)}
			publication := publish(t, PublishOptions{Options: f.options("/whip/a"), Video: source, AnswerPLI: answer})
			link := f.waitUplinks(1)[0]
			request := []rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(link.remote.SSRC())}}
			track := publication.Tracks()[0]
			for range 3 { // within 500 ms: one keyframe is enough
				require.NoError(t, link.pc.WriteRTCP(request))
			}
			require.Eventually(t, func() bool { return track.Stats().PLIs == 3 }, 5*time.Second, time.Millisecond)
			before := track.Stats().Frames
			require.Eventually(t, func() bool { return track.Stats().Frames > before+2 }, 5*time.Second, time.Millisecond)
			assert.Equal(t, answer, source.skips.Load() == 1, "%d skips", source.skips.Load())
		})
	}
}

// deltas is a source without any keyframe.
type deltas struct{}

func (deltas) Codec() webrtc.RTPCodecCapability { return clip.VP8(clip.Small).Codec() }
func (deltas) Next() ([]byte, time.Duration, bool) {
	return []byte{0x11, 0, 0}, 10 * time.Millisecond, false
}

func TestPlayerAsksForKeyframe(t *testing.T) {
	for name, silent := range map[string]bool{"asks": false, "does not ask": true} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			publication := publish(t, PublishOptions{Options: f.options("/whip/a"), Video: deltas{}})
			f.waitUplinks(1)
			frames := make(chan int, 1)
			playback := play(t, PlayOptions{Options: f.options("/whep/a"), NoPLI: silent, OnFrame: countFrames(webrtc.RTPCodecTypeVideo, frames, 10)})
			receive(t, frames)
			video, _ := playback.Stats().Track("video")
			assert.GreaterOrEqual(t, video.Frames, uint64(9))
			assert.Zero(t, video.DecodableFrames)
			assert.False(t, playback.Stats().Decodable())
			if silent {
				assert.Zero(t, video.PLIs)
				require.NoError(t, playback.RequestKeyframe())
				require.Eventually(t, func() bool { return publication.Stats().Tracks[0].PLIs > 0 }, 5*time.Second, time.Millisecond)
				return
			}
			assert.Positive(t, video.PLIs)
			assert.LessOrEqual(t, video.PLIs, 1+uint64(time.Since(playback.PostedAt())/keyframePause), "most are held back")
			require.Eventually(t, func() bool { return publication.Stats().Tracks[0].PLIs > 0 }, 5*time.Second, time.Millisecond)
		})
	}
}

func TestDataChannels(t *testing.T) {
	f := newFake(t)
	messages, opened := make(chan string, 1), make(chan struct{})
	options := f.options("/whip/a")
	options.DataChannels = []DataChannel{{Label: "chat"}}
	options.OnData = func(label string, message webrtc.DataChannelMessage) { messages <- label + ": " + string(message.Data) }
	publication := publish(t, PublishOptions{Options: options})
	publication.Channel("chat").OnOpen(func() { close(opened) })
	receive(t, opened)
	require.NoError(t, publication.Channel("chat").SendText("hello"))
	assert.Equal(t, "chat: echo hello", receive(t, messages))
	assert.Nil(t, publication.Channel("other"))
}

func TestRestartICE(t *testing.T) {
	f := newFake(t)
	publication := publish(t, PublishOptions{Options: f.options("/whip/a"), Video: clip.VP8(clip.Small)})
	link := f.waitUplinks(1)[0]
	require.NoError(t, publication.Connected(limited(t)))
	before := fragmentOf(publication.Answer())
	require.NoError(t, publication.RestartICE(limited(t)))

	assert.Equal(t, `"2"`, publication.ETag())
	assert.NotEqual(t, before.ufrag, fragmentOf(publication.Answer()).ufrag)
	patch := f.seen(http.MethodPatch)[0]
	assert.Equal(t, "*", patch.header.Get("If-Match"))
	for len(link.received) > 0 { // what came before
		<-link.received
	}
	for range 2 * cap(link.received) {
		receive(t, link.received)
	}
}

func TestRestartICERefused(t *testing.T) {
	f := newFake(t)
	publication := publish(t, PublishOptions{Options: f.options("/whip/a"), Audio: clip.Opus()})
	f.on(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPatch {
			w.WriteHeader(http.StatusUnprocessableEntity)
		}
		return r.Method == http.MethodPatch
	})
	var status *StatusError
	require.ErrorAs(t, publication.RestartICE(limited(t)), &status)
	assert.Equal(t, http.StatusUnprocessableEntity, status.Status)
}

func TestPublishOptionsRefused(t *testing.T) {
	video := clip.VP8(clip.Small)
	tests := []struct {
		name    string
		options PublishOptions
		want    string
	}{
		{"nothing", PublishOptions{}, "nothing to publish"},
		{"source and codec", PublishOptions{Video: video, VideoCodec: video.Codec()}, "both a source and a codec"},
		{"source and simulcast", PublishOptions{Video: video, Simulcast: []Encoding{{"h", video}, {"l", video}}}, "both a source and a simulcast"},
		{"one encoding", PublishOptions{Simulcast: []Encoding{{"h", video}}}, "one encoding"},
		{"no rid", PublishOptions{Simulcast: []Encoding{{"h", video}, {"", video}}}, "without rid"},
		{"two codecs", PublishOptions{Simulcast: []Encoding{{"h", video}, {"l", clip.H264()}}}, "more than one codec"},
		{"no codec", PublishOptions{Simulcast: []Encoding{{"h", nil}, {"l", nil}}}, "neither sources nor a codec"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Publish(limited(t), test.options)
			assert.ErrorContains(t, err, test.want)
		})
	}
}

// TestRefusedTrack has a server that rejects one section and answers 201 nevertheless.
func TestRefusedTrack(t *testing.T) {
	for name, edit := range map[string]func(string) string{
		"port 0":   func(answer string) string { return strings.Replace(answer, "m=video 9", "m=video 0", 1) },
		"inactive": func(answer string) string { return strings.Replace(answer, "a=recvonly", "a=inactive", 2) },
		"nonsense": func(string) string { return "v=0" },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.edit = edit
			_, err := Publish(limited(t), PublishOptions{Options: f.options("/whip/a"), Video: clip.VP8(clip.Small), Audio: clip.Opus()})
			require.Error(t, err)
			assert.Len(t, f.seen(http.MethodDelete), 1, "the server's session must not stay behind")
		})
	}
}

func TestSave(t *testing.T) {
	for name, source := range map[string]func() *clip.Source{
		"ivf": func() *clip.Source { return clip.VP8(clip.Small) }, "h264": clip.H264,
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			publish(t, PublishOptions{Options: f.options("/whip/a"), Video: source(), Audio: clip.Opus(), AnswerPLI: true})
			f.waitUplinks(2)
			frames := make(chan int, 1)
			dir := filepath.Join(t.TempDir(), "new")
			playback := play(t, PlayOptions{Options: f.options("/whep/a"), SaveDir: dir, OnFrame: countFrames(webrtc.RTPCodecTypeVideo, frames, 65)})
			receive(t, frames)
			require.NoError(t, playback.Close(limited(t)))

			saved, err := playback.Saved()
			require.NoError(t, err)
			assert.ElementsMatch(t, []string{filepath.Join(dir, "video."+name), filepath.Join(dir, "audio.ogg")}, saved)
			video, err := clip.OpenVideo(filepath.Join(dir, "video."+name))
			require.NoError(t, err)
			width, height := source().Size()
			gotWidth, gotHeight := video.Size()
			assert.Equal(t, [2]int{width, height}, [2]int{gotWidth, gotHeight})
			assert.Greater(t, video.Samples(), 30)
			original, sent := map[string]bool{}, source()
			for range clip.Frames {
				data, _, _ := sent.Next()
				original[string(data)] = true
			}
			first, duration, keyframe := video.Next()
			assert.True(t, keyframe)
			assert.InDelta(t, float64(time.Second/clip.FrameRate), float64(duration), float64(time.Millisecond))
			assert.True(t, original[string(first)], "the frame that was sent, to the byte")
			audio, err := clip.OpenAudio(filepath.Join(dir, "audio.ogg"))
			require.NoError(t, err)
			assert.Greater(t, audio.Samples(), 50)
		})
	}
}

func TestSaveErrors(t *testing.T) {
	f := newFake(t)
	publish(t, PublishOptions{Options: f.options("/whip/a"), Audio: clip.Opus()})
	f.waitUplinks(1)
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "audio.ogg"), 0o755))
	frames := make(chan int, 1)
	playback := play(t, PlayOptions{Options: f.options("/whep/a"), SaveDir: dir, OnFrame: countFrames(webrtc.RTPCodecTypeAudio, frames, 3)})
	receive(t, frames)
	saved, err := playback.Saved()
	assert.Empty(t, saved)
	assert.ErrorContains(t, err, "save audio")
}

// TestCodecChange has the server change the codec of a stream under the same SSRC.
func TestCodecChange(t *testing.T) {
	f := newFake(t)
	publication := publish(t, PublishOptions{Options: f.options("/whip/a"), Video: clip.VP8(clip.Small), AnswerPLI: true})
	f.waitUplinks(1)
	dir, codecs := t.TempDir(), make(chan string, 1)
	last, seq := "", atomic.Uint32{}
	playback := play(t, PlayOptions{Options: f.options("/whep/a"), SaveDir: dir, OnRTP: func(_ *RemoteTrack, packet *rtp.Packet, _ time.Time) {
		seq.Store(uint32(packet.SequenceNumber))
	}, OnFrame: func(_ *RemoteTrack, frame *Frame) {
		if frame.Decodable && frame.Codec != last {
			last = frame.Codec
			codecs <- last
		}
	}})
	require.Equal(t, webrtc.MimeTypeVP8, receive(t, codecs))
	require.NoError(t, publication.Close(limited(t)))

	next := uint16(seq.Load()) + 100 // above what may still be on its way, or SRTP takes it for a replay
	track, err := webrtc.NewTrackLocalStaticSample(clip.H264().Codec(), "video", "fake", webrtc.WithRTPSequenceNumber(next))
	require.NoError(t, err)
	for _, sender := range f.session(playback.Location()).pc.GetSenders() {
		if sender.Track() != nil {
			require.NoError(t, sender.ReplaceTrack(track))
		}
	}
	source, ticker := clip.H264(), time.NewTicker(10*time.Millisecond)
	defer ticker.Stop()
	for range 2 * reorderTime / (10 * time.Millisecond) { // longer than the gap in the numbers is kept open
		data, duration, _ := source.Next()
		require.NoError(t, track.WriteSample(media.Sample{Data: data, Duration: duration}))
		<-ticker.C
	}
	require.Equal(t, webrtc.MimeTypeH264, receive(t, codecs))
	require.NoError(t, playback.Close(limited(t)))
	video, _ := playback.Stats().Track("video")
	assert.Equal(t, webrtc.MimeTypeH264, video.Codec)
	assert.Equal(t, 640, video.Width)
	saved, err := playback.Saved()
	require.NoError(t, err)
	assert.Equal(t, []string{filepath.Join(dir, "video.ivf"), filepath.Join(dir, "video-2.h264")}, saved)
}

func TestPayloader(t *testing.T) {
	for _, codec := range []string{webrtc.MimeTypeVP8, webrtc.MimeTypeVP9, webrtc.MimeTypeAV1, webrtc.MimeTypeH264, webrtc.MimeTypeOpus} {
		got, err := payloader(codec)
		assert.NoError(t, err)
		assert.NotNil(t, got)
	}
	_, err := payloader("video/Theora")
	assert.Error(t, err)
}

func TestSaveDirRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := Play(limited(t), PlayOptions{SaveDir: file})
	assert.ErrorContains(t, err, "save")
}

func TestPlayCodecs(t *testing.T) {
	tests := []struct {
		name    string
		options PlayOptions
		with    []string
		without []string
	}{
		{"all", PlayOptions{}, []string{
			"VP8/90000", "VP9/90000", "profile-id=2", "AV1/90000", "H264/90000", "H265/90000",
			"packetization-mode=0", "packetization-mode=1", "opus/48000/2", "G722/8000", "PCMU/8000", "PCMA/8000", "rtx/90000",
		}, nil},
		{
			"some",
			PlayOptions{Codecs: []string{webrtc.MimeTypeVP8, "audio/OPUS"}},
			[]string{"VP8/90000", "opus/48000/2", "apt=96"},
			[]string{"VP9", "H264", "PCMU", "apt=98"},
		},
		{"without rtx", PlayOptions{Options: Options{NoRTX: true}}, []string{"VP8/90000", "H264/90000"}, []string{"rtx"}},
		{"without audio", PlayOptions{NoAudio: true}, []string{"m=video"}, []string{"m=audio"}},
		{"without video", PlayOptions{NoVideo: true}, []string{"m=audio"}, []string{"m=video"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFake(t)
			test.options.URL, test.options.HTTPClient = f.server.URL+"/whep/a", f.server.Client()
			playback := play(t, test.options)
			for _, text := range test.with {
				assert.Contains(t, playback.Offer(), text)
			}
			for _, text := range test.without {
				assert.NotContains(t, playback.Offer(), text)
			}
			assert.Contains(t, playback.Offer(), "a=recvonly")
		})
	}
}
