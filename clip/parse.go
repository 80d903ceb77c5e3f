package clip

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media/h264reader"

	"rheomesh/clip/bitstream"
)

// ErrFormat says that a file is not of a format that can be sent, or is damaged.
var ErrFormat = errors.New("unknown or damaged media format")

// errEmpty says that a file has no sample to loop over.
var errEmpty = fmt.Errorf("%w: no samples", ErrFormat)

// videoClockRate is that of every RTP video payload used here, in Hz (RFC 7741 §6.1, RFC 6184 §8.1).
const videoClockRate = 90000

// defaultInterval lasts a picture whose file does not say how long.
const defaultInterval = time.Second / FrameRate

// ivfCodec says what a FourCC of an IVF file means for the offer, and who finds its keyframes.
var ivfCodec = map[string]struct {
	codec   webrtc.RTPCodecCapability
	picture func([]byte) (bitstream.Picture, error)
}{
	"VP80": {webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: videoClockRate}, bitstream.VP8},
	"VP90": {webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP9, ClockRate: videoClockRate, SDPFmtpLine: "profile-id=0"}, bitstream.VP9},
	"AV01": {webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeAV1, ClockRate: videoClockRate}, bitstream.AV1},
}

// parseIVF reads a file of the IVF container: a header of 32 bytes, then each frame behind its size and
// its time. The parsing is our own because frames must be bounded by the file before they are read, and
// times are needed in the file's own base.
func parseIVF(file []byte) (*Source, error) {
	const headerSize, frameHeaderSize = 32, 12
	if len(file) < headerSize || string(file[:4]) != "DKIF" {
		return nil, fmt.Errorf("ivf header: %w", ErrFormat)
	}
	format, known := ivfCodec[string(file[8:12])]
	if !known {
		return nil, fmt.Errorf("ivf codec %q: %w", file[8:12], ErrFormat)
	}
	rate, scale := binary.LittleEndian.Uint32(file[16:]), binary.LittleEndian.Uint32(file[20:])
	if rate == 0 || scale == 0 {
		return nil, fmt.Errorf("ivf time base: %w", ErrFormat)
	}
	source := &Source{
		codec:  format.codec,
		width:  int(binary.LittleEndian.Uint16(file[12:])),
		height: int(binary.LittleEndian.Uint16(file[14:])),
	}
	var ticks []uint64
	for rest := file[headerSize:]; len(rest) > 0; {
		if len(rest) < frameHeaderSize {
			return nil, fmt.Errorf("ivf frame %d: %w", len(ticks), ErrFormat)
		}
		size, tick := binary.LittleEndian.Uint32(rest), binary.LittleEndian.Uint64(rest[4:])
		rest = rest[frameHeaderSize:]
		if uint64(size) > uint64(len(rest)) {
			return nil, fmt.Errorf("ivf frame %d: %w", len(ticks), ErrFormat)
		}
		picture, err := format.picture(rest[:size])
		if err != nil {
			return nil, fmt.Errorf("ivf frame %d: %w: %w", len(ticks), ErrFormat, err)
		}
		source.samples = append(source.samples, sample{data: rest[:size:size], keyframe: picture.Keyframe})
		ticks = append(ticks, tick)
		rest = rest[size:]
	}
	return source, spread(source.samples, ticks, scale, rate)
}

// longestSample bounds what one sample may last; longer is a damaged file rather than a slow one.
const longestSample = time.Minute

// spread gives each sample the time until the next one; the last lasts as long as the one before it, and
// a single one the default. Times are ticks of scale/rate seconds. Each duration is the difference of
// two rounded times, so that the sum over a loop is exact.
func spread(samples []sample, ticks []uint64, scale, rate uint32) error {
	if len(samples) == 0 {
		return errEmpty
	}
	if len(samples) == 1 {
		samples[0].duration = defaultInterval
		return nil
	}
	last := len(ticks) - 1
	ticks = append(ticks, 2*ticks[last]-ticks[last-1])
	for i := range samples {
		duration := seconds(ticks[i+1], scale, rate) - seconds(ticks[i], scale, rate)
		if duration <= 0 || duration > longestSample {
			return fmt.Errorf("sample %d lasts %v: %w", i, duration, ErrFormat)
		}
		samples[i].duration = duration
	}
	return nil
}

// seconds is tick·scale/rate seconds. A time beyond the range of a Duration, which only a damaged file
// has, becomes the longest one.
func seconds(tick uint64, scale, rate uint32) time.Duration {
	high, low := bits.Mul64(tick, uint64(scale)*uint64(time.Second))
	if high >= uint64(rate) {
		return 1<<63 - 1
	}
	quotient, _ := bits.Div64(high, low, uint64(rate))
	return time.Duration(min(quotient, 1<<63-1))
}

// parseH264 reads a byte stream of NAL units (ITU-T H.264 Annex B) into access units, one a sample.
func parseH264(file []byte) (*Source, error) {
	reader, err := h264reader.NewReader(bytes.NewReader(file))
	if err != nil {
		return nil, fmt.Errorf("h264: %w", err)
	}
	var units accessUnits
	for {
		nal, err := reader.NextNAL()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("h264: %w: %w", ErrFormat, err)
		}
		units.add(nal.Data)
	}
	return units.source()
}

// accessUnits gathers NAL units into pictures (ITU-T H.264 §7.4.1.2.3).
type accessUnits struct {
	samples []sample
	open    sample // the picture being gathered
	slices  bool   // open has a slice, so the next non-slice begins another
	sps     bitstream.SPS
	spsErr  error
	sets    bool // a sequence parameter set was seen
}

func (a *accessUnits) add(nal []byte) {
	kind := bitstream.H264Type(nal[0])
	slice := kind >= bitstream.H264Slice && kind <= bitstream.H264IDR
	if a.slices && (!slice || bitstream.H264FirstSlice(nal)) {
		a.finish()
	}
	if kind == bitstream.H264SPSNAL && !a.sets {
		a.sps, a.spsErr = bitstream.ParseSPS(nal)
		a.sets = true
	}
	a.slices = a.slices || slice
	a.open.keyframe = a.open.keyframe || kind == bitstream.H264IDR
	a.open.data = append(append(a.open.data, 0, 0, 0, 1), nal...)
}

func (a *accessUnits) finish() {
	if a.slices {
		a.samples = append(a.samples, a.open)
	}
	a.open, a.slices = sample{}, false
}

func (a *accessUnits) source() (*Source, error) {
	a.finish()
	if !a.sets || a.spsErr != nil {
		return nil, fmt.Errorf("h264 without a sequence parameter set: %w", errors.Join(ErrFormat, a.spsErr))
	}
	step, rate := uint64(1), uint32(FrameRate) // when the stream carries no timing
	if a.sps.FrameTicks > 0 {
		step, rate = a.sps.FrameTicks, a.sps.TicksPerSecond
	}
	ticks := make([]uint64, len(a.samples))
	for i := range ticks {
		ticks[i] = uint64(i) * step
	}
	return &Source{
		codec: webrtc.RTPCodecCapability{
			MimeType:    webrtc.MimeTypeH264,
			ClockRate:   videoClockRate,
			SDPFmtpLine: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=" + a.sps.ProfileLevelID(),
		},
		width: a.sps.Width, height: a.sps.Height, samples: a.samples,
	}, spread(a.samples, ticks, 1, rate)
}
