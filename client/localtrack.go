package client

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
)

// maxPayloadBytes bounds an RTP payload, so that with all headers and the SRTP tag a packet stays below
// the smallest MTU of the internet (OBS uses the same figure).
const maxPayloadBytes = 1200

// LocalTrack is one encoding that is sent.
type LocalTrack struct {
	rtp         *webrtc.TrackLocalStaticRTP
	codec       webrtc.RTPCodecCapability
	transceiver *webrtc.RTPTransceiver
	source      Source // nil: the caller writes

	// Constant once the answer is applied.
	ssrc       webrtc.SSRC
	extensions []extension

	// Owned by the pacing goroutine.
	payloader rtp.Payloader
	seq       uint16
	start     uint32        // timestamp of the first sample
	due       time.Duration // when the next sample is to be sent, from the start of pacing

	keyframeWanted atomic.Bool // a PLI that the pacing goroutine has not answered yet
	counters       sendCounters
}

// extension is a header extension element that every packet of ours carries (RFC 8285).
type extension struct {
	id    uint8
	value []byte
}

// newTimeline draws the timestamp at which the encodings of a track start. They share it, as those of
// browsers do; it is random as RFC 3550 §5.1 demands.
func newTimeline() uint32 {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint32(b[:])
}

func newLocalTrack(codec webrtc.RTPCodecCapability, encoding Encoding, start uint32) (*LocalTrack, error) {
	kind := kindOf(codec).String()
	var options []func(*webrtc.TrackLocalStaticRTP)
	if encoding.RID != "" {
		options = append(options, webrtc.WithRTPStreamID(encoding.RID))
	}
	track, err := webrtc.NewTrackLocalStaticRTP(codec, kind, streamID, options...)
	if err != nil {
		return nil, err
	}
	t := &LocalTrack{rtp: track, codec: codec, source: encoding.Source, start: start, seq: uint16(newTimeline())}
	if t.source != nil {
		t.payloader, err = payloader(codec.MimeType)
	}
	return t, err
}

// payloader splits samples of a codec into RTP payloads.
func payloader(mimeType string) (rtp.Payloader, error) {
	switch encodingName(mimeType) {
	case "vp8":
		return &codecs.VP8Payloader{EnablePictureID: true}, nil
	case "vp9":
		return &codecs.VP9Payloader{}, nil
	case "av1":
		return &codecs.AV1Payloader{}, nil
	case "h264":
		return &codecs.H264Payloader{}, nil
	case "opus":
		return &codecs.OpusPayloader{}, nil
	}
	return nil, fmt.Errorf("no payload format for %s", mimeType)
}

// negotiated reads what the answer decided. A track that the server refused is an error, since a WHIP
// server may not accept a part (RFC 9725 §4.4.3).
func (t *LocalTrack) negotiated(answer string) error {
	if refused(answer, t.transceiver.Mid()) {
		return fmt.Errorf("%w: %s refused in the answer", ErrResponse, t.Kind())
	}
	parameters := t.transceiver.Sender().GetParameters()
	for _, encoding := range parameters.Encodings {
		if encoding.RID == t.RID() {
			t.ssrc = encoding.SSRC
		}
	}
	for _, header := range parameters.HeaderExtensions {
		switch {
		case header.URI == sdp.SDESMidURI:
			t.extensions = append(t.extensions, extension{uint8(header.ID), []byte(t.transceiver.Mid())})
		case header.URI == sdp.SDESRTPStreamIDURI && t.RID() != "":
			t.extensions = append(t.extensions, extension{uint8(header.ID), []byte(t.RID())})
		}
	}
	return nil
}

// Kind is audio or video.
func (t *LocalTrack) Kind() webrtc.RTPCodecType { return t.rtp.Kind() }

// RID is the encoding's id in a simulcast, else "".
func (t *LocalTrack) RID() string { return t.rtp.RID() }

// SSRC is that of the packets.
func (t *LocalTrack) SSRC() uint32 { return uint32(t.ssrc) }

// errSourced says that two writers would mix up the sequence numbers.
var errSourced = errors.New("the track has a source")

// WriteRTP sends a packet of the caller's own making on a track without a source. SSRC and payload type
// are set to the negotiated ones, and in a simulcast the MID and RID extensions are added, without which
// nobody could tell the encodings apart; all else is sent as it is. The packet is not kept. Writes before
// the connection stands are lost.
func (t *LocalTrack) WriteRTP(packet *rtp.Packet) error {
	if t.source != nil {
		return errSourced
	}
	if t.RID() != "" {
		packet = packet.Clone()
		if err := t.extend(&packet.Header); err != nil {
			return err
		}
	}
	return t.write(packet)
}

func (t *LocalTrack) extend(header *rtp.Header) error {
	for _, extension := range t.extensions {
		if err := header.SetExtension(extension.id, extension.value); err != nil {
			return fmt.Errorf("header extension %d: %w", extension.id, err)
		}
	}
	return nil
}

func (t *LocalTrack) write(packet *rtp.Packet) error {
	if err := t.rtp.WriteRTP(packet); err != nil {
		return err
	}
	t.counters.packets.Add(1)
	t.counters.bytes.Add(uint64(len(packet.Payload)))
	return nil
}

// send packs the next sample and returns when the one after it is due.
func (t *LocalTrack) send() error {
	if t.keyframeWanted.CompareAndSwap(true, false) {
		if source, ok := t.source.(keyframer); ok {
			source.SkipToKeyframe()
		}
	}
	data, duration, keyframe := t.source.Next()
	timestamp := t.start + ticks(t.due, t.codec.ClockRate)
	t.due += duration
	payloads := t.payloader.Payload(maxPayloadBytes, data)
	for i, payload := range payloads {
		packet := rtp.Packet{Payload: payload, Header: rtp.Header{
			Version: 2, SequenceNumber: t.seq, Timestamp: timestamp,
			Marker: t.Kind() == webrtc.RTPCodecTypeVideo && i == len(payloads)-1,
		}}
		t.seq++
		if err := t.extend(&packet.Header); err != nil {
			return err
		}
		if err := t.write(&packet); err != nil {
			return err
		}
	}
	t.counters.frames.Add(1)
	if keyframe {
		t.counters.keyframes.Add(1)
	}
	return nil
}

// ticks converts a time to units of an RTP clock, without overflow and without rounding errors that add
// up: each timestamp comes from the whole time since the start.
func ticks(elapsed time.Duration, clockRate uint32) uint32 {
	whole := uint64(elapsed/time.Second) * uint64(clockRate)
	part := (uint64(elapsed%time.Second)*uint64(clockRate) + uint64(time.Second)/2) / uint64(time.Second)
	return uint32(whole + part)
}
