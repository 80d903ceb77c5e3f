package bench

import (
	"context"
	"time"
)

// burst is a group of payloads to send back to back. The payloads are valid until emit returns.
type burst struct {
	video     bool
	payloads  [][]byte
	timestamp uint32
	last      bool // the frame ends with the last payload
}

// pacer plays a Stream in real time.
type pacer struct {
	stream Stream
	video  *videoSource
	audio  audioSource

	nextVideo, nextAudio time.Time
	frames               uint64 // that have ended
	audioTime            uint32 // RTP time of the next packet

	frame [][]byte      // payloads of the current frame that are not sent yet
	gap   time.Duration // between the bursts of the current frame
	due   time.Time     // of the next frame
}

// newPacer starts the stream at start. Publishers with different starts do not send at the same moment.
func newPacer(s Stream, start time.Time) *pacer {
	return &pacer{stream: s, video: newVideoSource(s), nextVideo: start, due: start, nextAudio: start.Add(audioInterval / 3)}
}

// run emits bursts at their times until ctx ends.
func (p *pacer) run(ctx context.Context, emit func(burst)) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		at := p.nextVideo
		if p.nextAudio.Before(at) {
			at = p.nextAudio
		}
		timer.Reset(time.Until(at))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		emit(p.next())
	}
}

// next is whatever is due first.
func (p *pacer) next() burst {
	if p.nextAudio.Before(p.nextVideo) {
		b := burst{payloads: [][]byte{p.audio.next()}, timestamp: p.audioTime, last: true}
		p.nextAudio = p.nextAudio.Add(audioInterval)
		p.audioTime += uint32(audioClock * audioInterval / time.Second)
		return b
	}
	if len(p.frame) == 0 {
		p.startFrame()
	}
	n := len(p.frame)
	if p.stream.Burst > 0 {
		n = min(n, p.stream.Burst)
	}
	b := burst{video: true, payloads: p.frame[:n], timestamp: uint32(p.frames * videoClock / uint64(p.stream.FPS)), last: n == len(p.frame)}
	p.frame = p.frame[n:]
	p.nextVideo = p.nextVideo.Add(p.gap)
	if b.last {
		p.frames++
		p.nextVideo = p.due
	}
	return b
}

// startFrame makes a frame and spreads its bursts over its interval.
func (p *pacer) startFrame() {
	p.frame, _ = p.video.next()
	interval := p.stream.frameInterval()
	bursts := 1
	if p.stream.Burst > 0 {
		bursts = (len(p.frame) + p.stream.Burst - 1) / p.stream.Burst
	}
	p.gap = interval / time.Duration(bursts)
	p.due = p.due.Add(interval)
}
