package bench

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"rheomesh/internal/rtcpx"
	"rheomesh/internal/rtpx"
)

const (
	viewerSSRC   = 1               // of our reports, as Chromium's receivers have
	earlyPackets = keyframePackets // held while the keys are not there: a server may send a keyframe at once
)

// conduct is how a viewer behaves.
type conduct int32

const (
	conductNormal  conduct = iota
	conductStalled         // reads nothing and answers nothing
	conductSlow            // behind a link with a tenth of the stream's bandwidth; asks for what got lost
)

// viewer counts what arrives at one WHEP client.
type viewer struct {
	link      link
	sampled   bool // opens the last packet of each frame, to read its delay
	nack      bool // asks for lost packets
	attentive bool // reads whole packets even after the first frame
	delays    *samples
	conduct   atomic.Int32

	mu         sync.Mutex // guards all below
	keys       *keys
	early      []datagram
	finder     keyframeFinder
	firstFrame int64 // time of arrival of the packet that completed it; 0 until then
	first      chan struct{}
	streams    []reception // in the order of appearance
	packets    uint64      // RTP packets, retransmitted and repeated ones included
	bytes      uint64      // of their UDP payload
	resent     uint64      // RTX packets
	unstamped  uint64      // sampled packets without a stamp
	recording  bool        // delays count
	bottleneck bottleneck
	scratch    []byte
	report     []byte
}

// newViewer makes a viewer; well says that it will behave to the end.
func newViewer(sampled, nack, well bool, delays *samples) *viewer {
	return &viewer{
		sampled: sampled, nack: nack, attentive: sampled || nack || !well, delays: delays,
		first: make(chan struct{}), scratch: make([]byte, 0, 2048),
	}
}

func (v *viewer) connected(k *keys) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.keys = k
	now := time.Now().UnixNano()
	for i := range v.early {
		v.early[i].at = now // it could not be decoded before
		if h, ok := parseHeader(v.early[i].data); ok {
			v.inspect(h, &v.early[i])
		}
	}
	v.early = nil
}

func (v *viewer) media(batch []datagram) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for i := range batch {
		if !rtpx.IsRTCP(batch[i].data) {
			v.packet(&batch[i])
		}
	}
}

func (v *viewer) packet(d *datagram) {
	h, ok := parseHeader(d.data)
	if !ok {
		return
	}
	v.packets++
	v.bytes += uint64(d.size)
	if v.slow() && !v.bottleneck.admit(d.size, d.at) {
		return
	}
	if isRTX(h.pt) {
		v.retransmitted(d.data)
		return
	}
	v.stream(h.ssrc, isVideo(h.pt)).take(h.seq, v.asks())
	v.inspect(h, d)
}

// asks reports whether the viewer asks for lost packets.
func (v *viewer) asks() bool { return v.nack || v.slow() }

func (v *viewer) slow() bool { return conduct(v.conduct.Load()) == conductSlow }

func (v *viewer) stream(ssrc uint32, video bool) *reception {
	for i := range v.streams {
		if v.streams[i].ssrc == ssrc {
			return &v.streams[i]
		}
	}
	v.streams = append(v.streams, reception{ssrc: ssrc, video: video})
	return &v.streams[len(v.streams)-1]
}

// inspect opens a packet of video, if it is wanted for the first frame or for its delay.
func (v *viewer) inspect(h header, d *datagram) {
	if !isVideo(h.pt) || v.firstFrame != 0 && (!v.sampled || !v.recording || !h.marker) {
		return
	}
	if v.keys == nil {
		if len(v.early) < earlyPackets {
			v.early = append(v.early, datagram{data: append([]byte(nil), d.data...), size: d.size, at: d.at})
		}
		return
	}
	payload, ok := v.open(d.data)
	switch {
	case !ok:
	case v.firstFrame == 0:
		v.findFirst(h, payload, d.at)
	default:
		v.sample(payload, d.at)
	}
}

// open opens a packet; the payload is valid until the next call.
func (v *viewer) open(sealed []byte) (payload []byte, ok bool) {
	plain, err := v.keys.recv.DecryptRTP(v.scratch[:0], sealed, nil)
	if err != nil {
		return nil, false
	}
	h, err := rtpx.Parse(plain)
	if err != nil {
		return nil, false
	}
	return h.Payload(plain), true
}

func (v *viewer) findFirst(h header, payload []byte, at int64) {
	if !v.finder.add(h, payload) {
		return
	}
	v.firstFrame, v.finder = at, keyframeFinder{}
	if !v.attentive {
		v.link.socket.glance()
	}
	close(v.first)
}

func (v *viewer) sample(payload []byte, at int64) {
	sent, _, ok := parseStamp(payload)
	if !ok {
		v.unstamped++
		return
	}
	v.delays.add(time.Duration(at - sent))
}

// retransmitted counts an RTX packet for the number that it repeats (RFC 4588 section 4). That number is sealed, so it is
// read only by viewers that ask for retransmissions.
func (v *viewer) retransmitted(sealed []byte) {
	v.resent++
	if !v.asks() || v.keys == nil {
		return
	}
	payload, ok := v.open(sealed)
	if !ok || len(payload) < 2 { // probes for bandwidth are empty
		return
	}
	for i := range v.streams {
		if s := &v.streams[i]; s.video {
			s.take(binary.BigEndian.Uint16(payload), true)
			return
		}
	}
}

// feedback sends the receiver report of every stream, for one second of viewing.
func (v *viewer) feedback() {
	if conduct(v.conduct.Load()) == conductStalled {
		return
	}
	v.link.keepAlive()
	v.mu.Lock()
	defer v.mu.Unlock()
	var blocks [8]rtcpx.ReportBlock
	n := 0
	for i := range v.streams[:min(len(v.streams), len(blocks))] {
		blocks[n] = v.streams[i].report()
		n++
	}
	v.report = rtcpx.AppendReceiverReport(v.report[:0], viewerSSRC, blocks[:n])
	v.report = rtcpx.AppendSDES(v.report, viewerSSRC, "bench")
	if v.slow() {
		for i := range v.streams {
			if s := &v.streams[i]; s.video && s.missing() > 0 {
				v.report = rtcpx.AppendPLI(v.report, viewerSSRC, s.ssrc)
			}
		}
	}
	v.sendRTCP(v.report)
}

// requestLost sends a NACK for what is due.
func (v *viewer) requestLost(now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var due [512]uint16
	for i := range v.streams {
		s := &v.streams[i]
		if !s.video || s.lost == nil || s.lost.Pending() == 0 {
			continue
		}
		if seqs := s.lost.Due(now, due[:0]); len(seqs) > 0 {
			v.sendRTCP(rtcpx.AppendNACK(v.report[:0], viewerSSRC, s.ssrc, seqs))
		}
	}
}

func (v *viewer) sendRTCP(packet []byte) {
	if v.keys == nil {
		return
	}
	sealed, err := v.keys.send.EncryptRTCP(v.scratch[:0], packet, nil)
	if err == nil {
		v.link.send(sealed)
	}
}

// behave changes how the viewer behaves. bandwidthBps is that of a slow viewer's link.
func (v *viewer) behave(c conduct, bandwidthBps int) {
	v.mu.Lock()
	v.bottleneck.bytesPerSecond = int64(bandwidthBps / 8)
	v.mu.Unlock()
	v.conduct.Store(int32(c))
	if c == conductStalled {
		v.link.socket.mute()
	}
}

// bottleneck is a link with less bandwidth than the stream: a token bucket of a quarter second.
type bottleneck struct {
	bytesPerSecond, tokens, last int64
}

func (b *bottleneck) admit(size int, at int64) bool {
	b.tokens = min(b.tokens+(at-b.last)*b.bytesPerSecond/int64(time.Second), b.bytesPerSecond/4)
	if b.last == 0 {
		b.tokens = b.bytesPerSecond / 4
	}
	b.last = at
	if b.tokens < int64(size) {
		return false
	}
	b.tokens -= int64(size)
	return true
}
