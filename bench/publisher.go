package bench

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"

	"rheomesh/internal/rtcpx"
	"rheomesh/internal/rtpx"
)

// resendCache is how many packets of a track can be sent again: two seconds at 2.5 Mbit/s.
const resendCache = 512

// publisher is one WHIP client. It sends the stream, answers NACKs from its cache, and ignores keyframe requests.
type publisher struct {
	link    link
	sent    atomic.Uint64 // packets, without retransmissions
	resends atomic.Uint64
	plis    atomic.Uint64

	mu           sync.Mutex // guards all below
	keys         *keys
	video, audio outgoing
	plain        []byte
	sealed       []byte
	header       rtp.Header
	rtcp         []byte
	feedback     feedback
}

// outgoing is one track that is sent.
type outgoing struct {
	pt, rtxPT       uint8
	clock           uint32 // Hz
	ssrc, rtxSSRC   uint32
	seq, rtxSeq     uint16
	timestamp       uint32
	packets, octets uint32
	cache           [resendCache][]byte // plain packets, at number mod resendCache
}

func newPublisher() *publisher {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails
	ssrc := func(i int) uint32 { return binary.BigEndian.Uint32(random[4*i:]) | 1 }
	p := &publisher{
		video: outgoing{pt: ptH264, rtxPT: ptH264RTX, clock: videoClock, ssrc: ssrc(0), rtxSSRC: ssrc(1)},
		audio: outgoing{pt: ptOpus, clock: audioClock, ssrc: ssrc(2)},
		plain: make([]byte, 0, 2048), sealed: make([]byte, 0, 2048),
	}
	p.feedback.publisher = p
	p.video.seq, p.audio.seq = binary.BigEndian.Uint16(random[12:]), binary.BigEndian.Uint16(random[14:])
	return p
}

// offer is the publisher's part of its offer.
func (p *publisher) offer() offer {
	return offer{audioSSRC: p.audio.ssrc, videoSSRC: p.video.ssrc, rtxSSRC: p.video.rtxSSRC}
}

func (p *publisher) connected(k *keys) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = k
}

// play sends the stream until ctx ends.
func (p *publisher) play(ctx context.Context, s Stream, start time.Time) {
	newPacer(s, start).run(ctx, p.emit)
}

func (p *publisher) emit(b burst) {
	p.mu.Lock()
	defer p.mu.Unlock()
	track := &p.audio
	if b.video {
		track = &p.video
	}
	track.timestamp = b.timestamp
	for i, payload := range b.payloads {
		p.sendNew(track, payload, b.last && i == len(b.payloads)-1)
	}
}

func (p *publisher) sendNew(t *outgoing, payload []byte, marker bool) {
	putStamp(payload, time.Now().UnixNano(), t.packets)
	plain := appendHeader(p.plain[:0], t.pt, marker && t.clock == videoClock, t.seq, t.timestamp, t.ssrc)
	plain = append(plain, payload...)
	t.cache[t.seq%resendCache] = append(t.cache[t.seq%resendCache][:0], plain...)
	t.seq++
	t.packets++
	t.octets += uint32(len(payload))
	p.sent.Add(1)
	p.seal(plain)
}

// appendHeader appends the fixed header (RFC 3550 section 5.1).
func appendHeader(b []byte, pt uint8, marker bool, seq uint16, timestamp, ssrc uint32) []byte {
	if marker {
		pt |= 0x80
	}
	b = append(b, 0x80, pt)
	b = binary.BigEndian.AppendUint16(b, seq)
	b = binary.BigEndian.AppendUint32(b, timestamp)
	return binary.BigEndian.AppendUint32(b, ssrc)
}

func (p *publisher) seal(plain []byte) {
	sealed, err := p.keys.send.EncryptRTP(p.sealed[:0], plain, &p.header)
	if err == nil {
		p.link.send(sealed)
	}
}

// report sends the sender report of both tracks, one second after the other.
func (p *publisher) report(now time.Time) {
	p.link.keepAlive()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range []*outgoing{&p.video, &p.audio} {
		if t.packets == 0 {
			continue
		}
		p.rtcp = rtcpx.AppendSenderReport(p.rtcp[:0], rtcpx.SenderReport{
			SSRC: t.ssrc, NTP: rtcpx.NTP(now), RTPTime: t.timestamp, Packets: t.packets, Octets: t.octets,
		}, nil)
		p.rtcp = rtcpx.AppendSDES(p.rtcp, t.ssrc, "bench")
		if sealed, err := p.keys.send.EncryptRTCP(p.sealed[:0], p.rtcp, nil); err == nil {
			p.link.send(sealed)
		}
	}
}

// media reads the server's feedback.
func (p *publisher) media(batch []datagram) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range batch {
		if p.keys == nil || !rtpx.IsRTCP(batch[i].data) {
			continue
		}
		if plain, err := p.keys.recv.DecryptRTCP(p.plain[:0], batch[i].data, nil); err == nil {
			p.plain = plain[:0]
			_ = rtcpx.Walk(bytesOf(plain), &p.feedback) // what precedes a malformed part has been heard
		}
	}
}

// bytesOf copies, since answering a NACK uses the scratch space that the report lies in.
func bytesOf(b []byte) []byte { return append([]byte(nil), b...) }

// resend repeats a packet: on the RTX stream (RFC 4588 section 4), or as it was when the server takes none.
func (p *publisher) resend(seq uint16) {
	t := &p.video
	old := t.cache[seq%resendCache]
	if len(old) == 0 || binary.BigEndian.Uint16(old[2:]) != seq {
		return
	}
	p.resends.Add(1)
	if !p.link.rtx {
		p.seal(append(p.plain[:0], old...))
		return
	}
	h, _ := parseHeader(old) // ours
	plain := appendHeader(p.plain[:0], t.rtxPT, h.marker, t.rtxSeq, h.timestamp, t.rtxSSRC)
	plain = binary.BigEndian.AppendUint16(plain, seq)
	t.rtxSeq++
	p.seal(append(plain, old[rtpHeaderBytes:]...))
}

// feedback is the rtcpx.Handler of a publisher, called with its lock held.
type feedback struct{ publisher *publisher }

func (f *feedback) NACK(_, media uint32, seq uint16) {
	if media == f.publisher.video.ssrc {
		f.publisher.resend(seq)
	}
}

func (f *feedback) PLI(uint32, uint32)                    { f.publisher.plis.Add(1) }
func (f *feedback) FIR(uint32, uint32, uint8)             { f.publisher.plis.Add(1) }
func (f *feedback) SenderReport(rtcpx.SenderReport)       {}
func (f *feedback) ReportBlock(uint32, rtcpx.ReportBlock) {}
func (f *feedback) REMB(uint32, uint64, rtcpx.SSRCs)      {}
func (f *feedback) TWCC(uint32, uint32, []byte)           {}
func (f *feedback) BYE(uint32)                            {}
