package client

import (
	"fmt"
	"path/filepath"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media/h264writer"
	"github.com/pion/webrtc/v4/pkg/media/h265writer"
	"github.com/pion/webrtc/v4/pkg/media/ivfwriter"
	"github.com/pion/webrtc/v4/pkg/media/oggwriter"
)

// writer is one of pion's file writers.
type writer interface {
	WriteRTP(packet *rtp.Packet) error
	Close() error
}

// saver writes the decodable frames of one track to files, a new one for each codec. It belongs to the
// goroutine of the track. After an error it writes no more.
type saver struct {
	playback *Playback
	kind     webrtc.RTPCodecType
	codec    string
	file     writer
	files    int
	failed   bool
}

// write adds a frame. Codecs without a file format are left out.
func (s *saver) write(f *Frame) {
	if s.failed {
		return
	}
	if f.Codec != s.codec {
		s.open(f)
	}
	if s.file == nil {
		return
	}
	for _, packet := range f.packets {
		if err := s.file.WriteRTP(&packet.Packet); err != nil {
			s.fail(fmt.Errorf("save %s: %w", s.kind, err))
			return
		}
	}
}

func (s *saver) fail(err error) {
	s.failed = true
	s.playback.saving("", err)
}

// open begins a file for the codec of a frame.
func (s *saver) open(f *Frame) {
	s.close()
	s.codec = f.Codec
	extension, ok := map[string]string{
		"vp8": "ivf", "vp9": "ivf", "av1": "ivf", "h264": "h264", "h265": "h265", "opus": "ogg",
	}[encodingName(f.Codec)]
	if !ok {
		return
	}
	name := fmt.Sprintf("%s.%s", s.kind, extension)
	if s.files++; s.files > 1 {
		name = fmt.Sprintf("%s-%d.%s", s.kind, s.files, extension)
	}
	path := filepath.Join(s.playback.play.SaveDir, name)
	file, err := create(path, extension, f)
	if err != nil {
		s.fail(fmt.Errorf("save %s: %w", s.kind, err))
		return
	}
	s.file = file
	s.playback.saving(path, nil)
}

func create(path, extension string, f *Frame) (writer, error) {
	switch extension {
	case "h264":
		return h264writer.New(path)
	case "h265":
		return h265writer.New(path)
	case "ogg":
		return oggwriter.New(path, 48000, 2) // RFC 7587 §4.1: the RTP clock, and two channels at most
	}
	return ivfwriter.New(path, ivfwriter.WithCodec(f.Codec),
		ivfwriter.WithWidthAndHeight(uint16(f.width), uint16(f.height)),
		ivfwriter.WithFrameRate(1, 90000), ivfwriter.WithDirectPTS()) // times of the file are RTP times
}

// close ends the file in use.
func (s *saver) close() {
	if s.file == nil {
		return
	}
	if err := s.file.Close(); err != nil {
		s.fail(fmt.Errorf("save %s: %w", s.kind, err))
	}
	s.file = nil
}
