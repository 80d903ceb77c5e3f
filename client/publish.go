package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pion/webrtc/v4"
)

// Source yields coded samples for ever; clip.Source is one. It is used by one goroutine. A source with
// a method SkipToKeyframe() can answer keyframe requests.
type Source interface {
	// Codec describes the samples as an offer must.
	Codec() webrtc.RTPCodecCapability
	// Next returns a sample, how long it lasts, and whether decoding can begin with it. The bytes stay
	// valid and unchanged.
	Next() (data []byte, duration time.Duration, keyframe bool)
}

// keyframer is a Source that can go to a keyframe.
type keyframer interface{ SkipToKeyframe() }

// Encoding is one encoding of a simulcast. A nil Source leaves it to LocalTrack.WriteRTP.
type Encoding struct {
	RID    string // restriction identifier (RFC 8851)
	Source Source
}

// PublishOptions say what to publish: of each kind at most one track, with a source or with a codec.
type PublishOptions struct {
	Options

	Video, Audio Source
	// Simulcast takes the place of Video: at least two encodings of one codec, in the order of the offer.
	Simulcast []Encoding

	// VideoCodec and AudioCodec declare tracks without a source, whose packets the caller writes with
	// LocalTrack.WriteRTP. With a source they must be empty.
	VideoCodec, AudioCodec webrtc.RTPCodecCapability

	// AnswerPLI lets a source skip to its next keyframe when the server asks for one, at most every
	// 500 ms. Without it requests are counted and ignored, as OBS and FFmpeg do.
	AnswerPLI bool
}

// Publication is a session that publishes.
type Publication struct {
	*Session
	tracks []*LocalTrack
}

// streamID is the one MediaStream of all tracks (RFC 9725 §4.4.2).
const streamID = "rheomesh"

// errNothing says that the options name no track and no data channel.
var errNothing = errors.New("nothing to publish")

// Publish offers the tracks, applies the answer, and returns. As soon as the connection stands, the
// sources are sent in real time until the session ends. ctx governs the call alone; the session ends
// with Close, and the goroutines with it.
func Publish(ctx context.Context, options PublishOptions) (*Publication, error) {
	publication, err := newPublication(options)
	if err != nil {
		return nil, fmt.Errorf("publish %s: %w", options.URL, err)
	}
	err = publication.negotiate(ctx)
	if err == nil {
		err = publication.start(options.AnswerPLI)
	}
	if err != nil {
		publication.abandon(ctx)
		return nil, fmt.Errorf("publish %s: %w", options.URL, err)
	}
	return publication, nil
}

// newPublication makes the PeerConnection with its tracks.
func newPublication(options PublishOptions) (*Publication, error) {
	audio, video, err := options.media()
	if err != nil {
		return nil, err
	}
	p := newParts(&options.Options)
	for _, medium := range []medium{audio, video} {
		if medium.codec.MimeType == "" {
			continue
		}
		if err := p.sendCodec(medium.codec); err != nil {
			return nil, fmt.Errorf("codec %s: %w", medium.codec.MimeType, err)
		}
	}
	if err := p.sender(); err != nil {
		return nil, fmt.Errorf("interceptors: %w", err)
	}
	pc, err := p.connect()
	if err != nil {
		return nil, fmt.Errorf("connection: %w", err)
	}
	publication := &Publication{Session: newSession(options.Options, pc)}
	if err := publication.add(audio, video); err != nil {
		return nil, errors.Join(err, publication.Drop())
	}
	return publication, nil
}

// medium is one m-line to be: a codec and its encodings.
type medium struct {
	codec     webrtc.RTPCodecCapability
	encodings []Encoding
}

// media sorts the options by kind.
func (o *PublishOptions) media() (audio, video medium, err error) {
	audio, err = one("audio", o.Audio, o.AudioCodec)
	if err != nil {
		return audio, video, err
	}
	if len(o.Simulcast) == 0 {
		video, err = one("video", o.Video, o.VideoCodec)
	} else {
		video, err = o.simulcast()
	}
	if err == nil && audio.codec.MimeType == "" && video.codec.MimeType == "" && len(o.DataChannels) == 0 {
		err = errNothing
	}
	return audio, video, err
}

// one is a medium without simulcast; it is empty if there is neither source nor codec.
func one(kind string, source Source, codec webrtc.RTPCodecCapability) (medium, error) {
	if source != nil {
		if codec.MimeType != "" {
			return medium{}, fmt.Errorf("%s: both a source and a codec", kind)
		}
		codec = source.Codec()
	}
	return medium{codec, []Encoding{{Source: source}}}, nil
}

func (o *PublishOptions) simulcast() (medium, error) {
	if o.Video != nil {
		return medium{}, errors.New("video: both a source and a simulcast")
	}
	if len(o.Simulcast) < 2 {
		return medium{}, errors.New("simulcast: one encoding")
	}
	codec := o.VideoCodec
	for _, encoding := range o.Simulcast {
		if encoding.RID == "" {
			return medium{}, errors.New("simulcast: encoding without rid")
		}
		if encoding.Source == nil {
			continue
		}
		if codec.MimeType != "" && codec.MimeType != encoding.Source.Codec().MimeType {
			return medium{}, errors.New("simulcast: more than one codec")
		}
		codec = encoding.Source.Codec()
	}
	if codec.MimeType == "" {
		return medium{}, errors.New("simulcast: neither sources nor a codec")
	}
	return medium{codec, o.Simulcast}, nil
}

// add puts the media into the PeerConnection, audio first, as browsers and OBS do.
func (p *Publication) add(media ...medium) error {
	for _, medium := range media {
		if medium.codec.MimeType == "" {
			continue
		}
		if err := p.addMedium(medium); err != nil {
			return fmt.Errorf("track %s: %w", kindOf(medium.codec), err)
		}
	}
	return p.openChannels()
}

func (p *Publication) addMedium(medium medium) error {
	var transceiver *webrtc.RTPTransceiver
	timeline := newTimeline()
	for i, encoding := range medium.encodings {
		track, err := newLocalTrack(medium.codec, encoding, timeline)
		if err != nil {
			return err
		}
		if i == 0 {
			transceiver, err = p.pc.AddTransceiverFromTrack(track.rtp,
				webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
		} else {
			err = transceiver.Sender().AddEncoding(track.rtp)
		}
		if err != nil {
			return err
		}
		track.transceiver = transceiver
		p.tracks = append(p.tracks, track)
	}
	return nil
}

// start begins to read feedback and to send.
func (p *Publication) start(answerPLI bool) error {
	for _, track := range p.tracks {
		if err := track.negotiated(p.Answer()); err != nil {
			return err
		}
		p.run(func() { p.feedback(track, answerPLI) })
	}
	p.run(p.pace)
	return nil
}

// Tracks are the tracks in the order of the offer, one for each encoding.
func (p *Publication) Tracks() []*LocalTrack { return p.tracks }

// Track returns the track of a kind with a rid, "" without simulcast; nil if there is none.
func (p *Publication) Track(kind webrtc.RTPCodecType, rid string) *LocalTrack {
	for _, track := range p.tracks {
		if track.Kind() == kind && track.RID() == rid {
			return track
		}
	}
	return nil
}
