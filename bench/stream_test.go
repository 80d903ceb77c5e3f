package bench

import (
	"bytes"
	"testing"
	"time"

	"github.com/pion/rtp/codecs"
	"github.com/stretchr/testify/require"

	"rheomesh/internal/codec"
)

func testStream() Stream { return DefaultConfig().Stream }

// units depacketizes a frame, and splits it into its NAL units.
func units(t *testing.T, payloads [][]byte) [][]byte {
	t.Helper()
	var depacketizer codecs.H264Packet
	var stream []byte
	for _, payload := range payloads {
		part, err := depacketizer.Unmarshal(payload)
		require.NoError(t, err)
		stream = append(stream, part...)
	}
	return bytes.Split(stream, []byte{0, 0, 0, 1})[1:]
}

func TestVideoDepacketizes(t *testing.T) {
	source := newVideoSource(testStream())
	for frame := range 2 * source.gop {
		payloads, keyframe := source.next()
		require.Equal(t, frame%source.gop == 0, keyframe)
		for _, payload := range payloads {
			putStamp(payload, 1<<60, uint32(frame))
			require.LessOrEqual(t, len(payload), maxPayloadBytes)
			require.GreaterOrEqual(t, len(payload), stampBytes+2)
		}
		got := units(t, payloads)
		last := got[len(got)-1]
		require.NotContains(t, string(last), "\x00\x00", "needs no emulation prevention")
		_, seq, ok := parseStamp(last)
		require.True(t, ok, "the stamp ends the NAL unit")
		require.Equal(t, uint32(frame), seq)
		if keyframe {
			require.Equal(t, [][]byte{sps, pps}, got[:2])
			require.Equal(t, byte(nalIDR), last[0])
			continue
		}
		require.Len(t, got, 1)
		require.Equal(t, byte(nalSlice), last[0])
	}
}

func TestVideoIsInspected(t *testing.T) {
	source := newVideoSource(testStream())
	for range source.gop + 1 {
		payloads, keyframe := source.next()
		for i, payload := range payloads {
			var info codec.Info
			codec.Inspect(codec.H264, payload, &info)
			require.Equal(t, i == 0 || keyframe && i == 1, info.FrameStart)
			require.Equal(t, keyframe && i <= 1, info.Keyframe)
			if keyframe && i == 0 {
				require.True(t, info.ParameterSet)
				require.Equal(t, [2]uint16{1280, 720}, [2]uint16{info.Width, info.Height})
			}
		}
	}
	require.Equal(t, "42e01f", codec.H264ProfileLevelID(sps))
}

func TestVideoSizes(t *testing.T) {
	tests := []struct {
		name   string
		stream Stream
	}{
		{"2.5-mbit", testStream()},
		{"30-mbit", Stream{BitrateBps: 30_000_000, FPS: 30, GOP: 2 * time.Second}},
		{"100-kbit", Stream{BitrateBps: 100_000, FPS: 15, GOP: time.Second}},
		{"only-keyframes", Stream{BitrateBps: 1_000_000, FPS: 10, GOP: 100 * time.Millisecond}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			source := newVideoSource(test.stream)
			total, frames := 0, 16*source.gop
			for range frames {
				payloads, _ := source.next()
				for _, payload := range payloads {
					total += len(payload)
				}
			}
			want := float64(test.stream.BitrateBps) / 8 * float64(frames) / float64(test.stream.FPS)
			require.InEpsilon(t, want, float64(total), 0.06)
		})
	}
}

func TestFragmentsLeaveRoomForTheStamp(t *testing.T) {
	for size := minFrameBytes; size < 3*maxPayloadBytes; size++ {
		source := newVideoSource(testStream())
		source.fragment(nalSlice, size)
		total := 1
		for _, payload := range source.payloads {
			require.GreaterOrEqual(t, len(payload), stampBytes+2, "size %d", size)
			total += len(payload) - 2
		}
		if len(source.payloads) > 1 {
			require.Equal(t, size, total)
		}
	}
}

func TestAudio(t *testing.T) {
	var source audioSource
	total := 0
	for range 160 {
		payload := source.next()
		require.Equal(t, byte(opusTOC), payload[0])
		require.Greater(t, len(payload), stampBytes)
		total += len(payload)
	}
	require.Equal(t, 160*audioBytes, total)
}

func TestPacer(t *testing.T) {
	tests := []struct {
		name  string
		burst int
	}{{"whole-frames", 0}, {"one-by-one", 1}, {"four", 4}}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			stream := testStream()
			stream.Burst = test.burst
			start := time.Unix(1000, 0)
			p := newPacer(stream, start)
			var frames, audio int
			last := start
			for range 400 {
				due := p.nextVideo
				if p.nextAudio.Before(due) {
					due = p.nextAudio
				}
				require.False(t, due.Before(last), "time goes on")
				last = due
				b := p.next()
				if !b.video {
					require.Equal(t, uint32(960*audio), b.timestamp)
					audio++
					continue
				}
				require.Equal(t, uint32(3000*frames), b.timestamp)
				if test.burst > 0 {
					require.LessOrEqual(t, len(b.payloads), test.burst)
				}
				if b.last {
					frames++
				}
			}
			seconds := last.Sub(start).Seconds()
			require.InDelta(t, 30*seconds, frames, 2)
			require.InDelta(t, 50*seconds, audio, 2)
		})
	}
}
