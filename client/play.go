package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// PlayOptions say what to receive, and who is told of it. The callbacks run on the goroutine of the
// track, must not block for long, and must not keep what they are given.
type PlayOptions struct {
	Options

	NoVideo, NoAudio bool // leaves that kind out of the offer
	// Codecs restricts the offer to these MIME types. Empty: every codec pion knows, H.264 in all its
	// profiles and both packetization modes.
	Codecs []string

	OnRTP   func(track *RemoteTrack, packet *rtp.Packet, arrival time.Time) // every packet, in order of arrival
	OnFrame func(track *RemoteTrack, frame *Frame)                          // every frame, in order, the broken ones too

	// NoPLI never asks for a keyframe. Otherwise a video frame that cannot be decoded asks for one, at
	// most every 500 ms.
	NoPLI bool

	// SaveDir is where the media are written: video.ivf, video.h264 or video.h265, and audio.ogg. A codec
	// that changes begins a new file with a number. Empty: nowhere.
	SaveDir string
}

// Playback is a session that plays.
type Playback struct {
	*Session
	play PlayOptions

	mu      sync.Mutex // guards tracks and saved
	tracks  []*RemoteTrack
	saved   []string
	saveErr error

	first map[webrtc.RTPCodecType]chan struct{} // closed with the first decodable frame of the kind
}

// Play offers to receive, applies the answer, and returns; media come later, or not at all. ctx governs
// the call alone; the session ends with Close.
func Play(ctx context.Context, options PlayOptions) (*Playback, error) {
	playback, err := newPlayback(options)
	if err != nil {
		return nil, fmt.Errorf("play %s: %w", options.URL, err)
	}
	if err := playback.negotiate(ctx); err != nil {
		playback.abandon(ctx)
		return nil, fmt.Errorf("play %s: %w", options.URL, err)
	}
	return playback, nil
}

// newPlayback makes the PeerConnection with its transceivers, audio first, as browsers do.
func newPlayback(options PlayOptions) (*Playback, error) {
	if options.SaveDir != "" {
		if err := os.MkdirAll(options.SaveDir, 0o755); err != nil {
			return nil, fmt.Errorf("save: %w", err)
		}
	}
	p := newParts(&options.Options)
	if err := p.receiveCodecs(options.Codecs); err != nil {
		return nil, fmt.Errorf("codecs: %w", err)
	}
	if err := p.receiver(); err != nil {
		return nil, fmt.Errorf("interceptors: %w", err)
	}
	pc, err := p.connect()
	if err != nil {
		return nil, fmt.Errorf("connection: %w", err)
	}
	playback := &Playback{
		Session: newSession(options.Options, pc), play: options,
		first: map[webrtc.RTPCodecType]chan struct{}{
			webrtc.RTPCodecTypeAudio: make(chan struct{}), webrtc.RTPCodecTypeVideo: make(chan struct{}),
		},
	}
	pc.OnTrack(playback.onTrack)
	if err := playback.add(); err != nil {
		return nil, errors.Join(err, playback.Drop())
	}
	return playback, nil
}

// receiveCodecs registers pion's codecs, or those of them that are wanted.
func (p parts) receiveCodecs(wanted []string) error {
	if len(wanted) == 0 && !p.options.NoRTX {
		return p.media.RegisterDefaultCodecs()
	}
	all := &webrtc.MediaEngine{}
	if err := all.RegisterDefaultCodecs(); err != nil {
		return err
	}
	codecs, err := registered(all)
	if err != nil {
		return err
	}
	kept := map[string]bool{} // "apt=96" of the kept codecs
	for _, codec := range codecs {
		rtx := strings.EqualFold(codec.MimeType, webrtc.MimeTypeRTX)
		isWanted := len(wanted) == 0 || slices.ContainsFunc(wanted, func(name string) bool { return strings.EqualFold(name, codec.MimeType) })
		if rtx && (p.options.NoRTX || !kept[codec.SDPFmtpLine]) || !rtx && !isWanted {
			continue
		}
		kept[fmt.Sprintf("apt=%d", codec.PayloadType)] = true
		if err := p.media.RegisterCodec(codec, kindOf(codec.RTPCodecCapability)); err != nil {
			return err
		}
	}
	return nil
}

// registered lists the codecs of a media engine. The engine shows them only through a connection.
func registered(media *webrtc.MediaEngine) ([]webrtc.RTPCodecParameters, error) {
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(media)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, err
	}
	var codecs []webrtc.RTPCodecParameters
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo} {
		transceiver, err := pc.AddTransceiverFromKind(kind)
		if err != nil {
			return nil, errors.Join(err, pc.Close())
		}
		codecs = append(codecs, transceiver.Receiver().GetParameters().Codecs...)
	}
	return codecs, pc.GracefulClose()
}

func (p *Playback) add() error {
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo} {
		if kind == webrtc.RTPCodecTypeAudio && p.play.NoAudio || kind == webrtc.RTPCodecTypeVideo && p.play.NoVideo {
			continue
		}
		init := webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}
		if _, err := p.pc.AddTransceiverFromKind(kind, init); err != nil {
			return fmt.Errorf("transceiver %s: %w", kind, err)
		}
	}
	return p.openChannels()
}

// onTrack begins to read a stream when its first packet has come.
func (p *Playback) onTrack(remote *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
	track := newRemoteTrack(p, remote, receiver)
	p.mu.Lock()
	p.tracks = append(p.tracks, track)
	p.mu.Unlock()
	p.run(track.read)
	p.run(track.reports)
}

// Tracks are the streams that have begun, in the order of their beginning.
func (p *Playback) Tracks() []*RemoteTrack {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.tracks)
}

// FirstFrame waits for the first decodable frame of a kind and returns how long after the POST it came.
func (p *Playback) FirstFrame(ctx context.Context, kind webrtc.RTPCodecType) (time.Duration, error) {
	select {
	case <-p.first[kind]:
		return p.Stats().firstFrame(kind.String()), nil
	case <-p.ended:
		return 0, fmt.Errorf("first %s frame: %w", kind, p.endErr)
	case <-ctx.Done():
		return 0, fmt.Errorf("first %s frame: %w", kind, context.Cause(ctx))
	}
}

// RequestKeyframe sends a PLI for each video track.
func (p *Playback) RequestKeyframe() error {
	var packets []rtcp.Packet
	for _, track := range p.Tracks() {
		if track.Kind() == webrtc.RTPCodecTypeVideo {
			packets = append(packets, &rtcp.PictureLossIndication{MediaSSRC: track.SSRC()})
		}
	}
	if len(packets) == 0 {
		return nil
	}
	return p.pc.WriteRTCP(packets)
}

// Saved lists the files written so far, and the first error in writing them. The files are complete
// after Close.
func (p *Playback) Saved() ([]string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.saved), p.saveErr
}

// saving notes a new file or an error.
func (p *Playback) saving(name string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if name != "" {
		p.saved = append(p.saved, name)
	}
	if p.saveErr == nil {
		p.saveErr = err
	}
}
