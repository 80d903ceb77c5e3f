package sfu

import (
	"encoding/binary"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"rheomesh/internal/codec"
	"rheomesh/internal/depdesc"
	"rheomesh/internal/rtcpx"
	"rheomesh/internal/sdp"
)

// Header extension ids and payload types of layered peers.
const (
	layeredMID, layeredRID, layeredWide, layeredDescriptor = 1, 2, 3, 4
	layeredPT, layeredRTX                                  = 96, 97
	layeredSSRC                                            = 0x1000
)

// pictureTime is the time between two pictures of a layered stream.
const pictureTime = time.Second / 30

// layering of a synthetic stream: a pattern of layers in one codec, in as many encodings as it has names.
type layeredShape struct {
	codec             codec.Codec
	rids              []string // one without a name, or a simulcast from the smallest to the largest
	spatial, temporal uint8
	keyOnly           bool // layers depend on those below in keyframes only (K-SVC)
	described         bool // with dependency descriptors
}

// sections are the media sections of a publisher's and a viewer's offer.
func (sh *layeredShape) section(publish bool) string {
	name := sh.codec.String()
	s := "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=rtpmap:96 " + name + "/90000\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\na=rtcp-fb:96 transport-cc\r\n" +
		"a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=extmap:1 " + sdp.ExtMID + "\r\n"
	if sh.described {
		s += "a=extmap:4 " + sdp.ExtDependency + "\r\n"
	}
	if !publish {
		return s + "a=recvonly\r\na=extmap:3 " + sdp.ExtTransportCC + "\r\n"
	}
	s += "a=sendonly\r\n"
	if len(sh.rids) == 1 {
		return s
	}
	s += "a=extmap:2 " + sdp.ExtRID + "\r\n"
	list := ""
	for i, rid := range sh.rids {
		s += "a=rid:" + rid + " send\r\n"
		if i > 0 {
			list += ";"
		}
		list += rid
	}
	return s + "a=simulcast:send " + list + "\r\n"
}

// layeredTag says, at the end of a payload, which packet it is.
type layeredTag struct {
	Layer, Spatial, Temporal uint8
	Key                      bool
	Part, Parts              uint8     // of the frame
	Top                      bool      // the frame is in the picture's highest spatial layer
	Frame, Picture           uint32    // counted by layer
	Refs                     [2]uint32 // frames that this one depends on, plus 1; 0 = none
	At                       int64     // when the picture was taken, nanoseconds since the epoch
}

const (
	layeredTagBytes = 36
	layeredMagic    = 0x5a17
)

func (g *layeredTag) append(b []byte) []byte {
	b = append(b, g.Layer, g.Spatial, g.Temporal, flag(g.Key), g.Part, g.Parts, flag(g.Top), 0)
	for _, n := range []uint32{g.Frame, g.Picture, g.Refs[0], g.Refs[1]} {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	b = binary.BigEndian.AppendUint64(b, uint64(g.At))
	return binary.BigEndian.AppendUint32(b, layeredMagic)
}

func readLayeredTag(payload []byte) (g layeredTag, ok bool) {
	if len(payload) < layeredTagBytes {
		return g, false
	}
	b := payload[len(payload)-layeredTagBytes:]
	n := func(at int) uint32 { return binary.BigEndian.Uint32(b[at:]) }
	g = layeredTag{
		Layer: b[0], Spatial: b[1], Temporal: b[2], Key: b[3] != 0, Part: b[4], Parts: b[5], Top: b[6] != 0,
		Frame: n(8), Picture: n(12), Refs: [2]uint32{n(16), n(20)}, At: int64(binary.BigEndian.Uint64(b[24:])),
	}
	return g, n(32) == layeredMagic
}

func flag(on bool) byte {
	if on {
		return 1
	}
	return 0
}

// layeredPeer publishes a synthetic layered stream in real time, answers keyframe requests and NACKs, and loses packets on the way to the node.
type layeredPeer struct {
	*RawPeer
	shape   layeredShape
	layers  []*layeredEncoding
	random  *rand.Rand
	loss    atomic.Int32 // of packets when sent first, in thousandths; all are sent again when asked for
	started time.Time
	start   uint32 // timestamp of started
	sent    map[[2]uint32][]byte
	still   atomic.Bool // no more pictures are sent
}

// layeredEncoding is one encoding of the stream.
type layeredEncoding struct {
	rid            string
	index          uint8
	ssrc           uint32
	bytes          int // of payload per packet
	parts          int // packets per frame
	seq            uint16
	frame, picture uint32
	tl0            uint8
	phase          int // pictures since the last keyframe
	key            bool
	last           map[[2]uint8]uint32 // newest frame by layers, plus 1
}

func publishLayered(t testing.TB, router *Router, id PublisherID, shape layeredShape, loss int32) *layeredPeer {
	t.Helper()
	p := &layeredPeer{
		RawPeer: RawPublish(t, router, id, []string{shape.section(true)}), shape: shape, random: rand.New(rand.NewPCG(1, 2)),
		started: time.Now(), start: 1<<32 - 90000, sent: map[[2]uint32][]byte{}, // timestamps wrap a second later
	}
	p.loss.Store(loss)
	for i, rid := range shape.rids {
		p.layers = append(p.layers, &layeredEncoding{
			rid: rid, index: uint8(i), ssrc: layeredSSRC + uint32(i), bytes: 250 + 150*i, parts: 1 + i, seq: uint16(65500 + 10000*i), key: true,
			picture: 32700, tl0: 250, last: map[[2]uint8]uint32{},
		})
	}
	return p
}

// run publishes until stop is closed.
func (p *layeredPeer) run(stop <-chan struct{}) {
	last := time.Time{}
	ticker := time.NewTicker(pictureTime)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case b := <-p.media:
			p.answer(b)
		case <-ticker.C:
			if now := time.Now(); !p.still.Load() && now.Sub(last) > pictureTime/2 { // ticks bunch on a busy machine
				last = now
				p.picture(now)
			}
		}
	}
}

// answer does what RTCP asks for.
func (p *layeredPeer) answer(b []byte) {
	if !rawIsRTCP(b) {
		return
	}
	for _, packet := range p.OpenRTCP(b) {
		switch packet := packet.(type) {
		case *rtcp.PictureLossIndication:
			for _, l := range p.layers {
				l.key = l.key || l.ssrc == packet.MediaSSRC
			}
		case *rtcp.TransportLayerNack:
			for _, pair := range packet.Nacks {
				for _, seq := range pair.PacketList() {
					if plain := p.sent[[2]uint32{packet.MediaSSRC, uint32(seq)}]; plain != nil {
						p.SendDatagram(p.Seal(plain))
					}
				}
			}
		}
	}
}

// picture sends the next picture in every encoding.
func (p *layeredPeer) picture(now time.Time) {
	ts := p.start + uint32(now.Sub(p.started)*90000/time.Second)
	for _, l := range p.layers {
		p.encode(l, ts, now)
		if l.frame%15 == 0 {
			p.SendRTCP(&rtcp.SenderReport{SSRC: l.ssrc, NTPTime: rtcpx.NTP(now), RTPTime: ts})
		}
	}
}

// encode sends one encoding's picture: its temporal layer by the pattern, its spatial layers from the lowest up.
func (p *layeredPeer) encode(l *layeredEncoding, ts uint32, now time.Time) {
	sh := &p.shape
	if l.key {
		l.key, l.phase = false, 0
		clear(l.last)
	}
	key := l.phase == 0
	temporal := [][]uint8{{0}, {0, 1}, {0, 2, 1, 2}}[sh.temporal-1]
	tid := temporal[l.phase%len(temporal)]
	if tid == 0 {
		l.tl0++
	}
	for sid := range sh.spatial {
		g := layeredTag{Layer: l.index, Spatial: sid, Temporal: tid, Key: key, Top: sid == sh.spatial-1, Frame: l.frame, Picture: l.picture, At: now.UnixNano(), Parts: uint8(l.parts)}
		if !key {
			g.Refs[0] = l.reference(sid, tid)
		} else {
			g.Parts *= 2
		}
		inter := sid > 0 && (key || !sh.keyOnly)
		if inter {
			g.Refs[1] = l.frame // the one before, plus 1
		}
		for g.Part = range g.Parts {
			p.sendPart(l, &g, ts, inter)
		}
		l.frame++
		l.last[[2]uint8{sid, tid}] = l.frame
	}
	l.picture++
	l.phase++
}

// reference is the frame before, in the temporal layers below, or in the lowest itself; plus 1.
func (l *layeredEncoding) reference(sid, tid uint8) (newest uint32) {
	for lower := range max(tid, 1) {
		newest = max(newest, l.last[[2]uint8{sid, lower}])
	}
	return newest
}

func (p *layeredPeer) sendPart(l *layeredEncoding, g *layeredTag, ts uint32, inter bool) {
	packet := &rtp.Packet{
		Header:  rtp.Header{Version: 2, PayloadType: layeredPT, SSRC: l.ssrc, SequenceNumber: l.seq, Timestamp: ts, Marker: g.Top && g.Part == g.Parts-1},
		Payload: p.payload(l, g, inter),
	}
	if p.shape.described {
		packet.Extension, packet.ExtensionProfile = true, 0x1000 // two-byte headers
		require.NoError(p.t, packet.SetExtension(layeredDescriptor, p.descriptor(g)))
	}
	require.NoError(p.t, packet.SetExtension(layeredMID, []byte("0")))
	if l.rid != "" {
		require.NoError(p.t, packet.SetExtension(layeredRID, []byte(l.rid)))
	}
	plain, err := packet.Marshal()
	require.NoError(p.t, err)
	p.sent[[2]uint32{l.ssrc, uint32(l.seq)}] = plain
	l.seq++
	if p.random.Int32N(1000) >= p.loss.Load() || g.Frame < 3 { // its first packets tell which layer a stream is
		p.SendDatagram(p.Seal(plain))
	}
}

// payload is a packet's payload: descriptor, as much of a frame as the node reads, filling and tag.
func (p *layeredPeer) payload(l *layeredEncoding, g *layeredTag, inter bool) []byte {
	var b []byte
	switch p.shape.codec {
	case codec.VP8:
		b = p.vp8(l, g)
	case codec.VP9:
		b = p.vp9(l, g, inter)
	default:
		b = p.av1(g)
	}
	fill := max(l.bytes-len(b)-layeredTagBytes, 0)
	b = append(b, make([]byte, fill)...)
	return g.append(b)
}

// size is an encoding's width and height.
func (l *layeredEncoding) size() uint16 { return 160 << l.index }

func (p *layeredPeer) vp8(l *layeredEncoding, g *layeredTag) []byte {
	sync := byte(0)
	if g.Temporal > 0 && (g.Temporal == 1 || l.phase%4 == 1) { // depends on the lowest layer only
		sync = 0x20
	}
	b := []byte{0x80, 0xe0, 0x80 | byte(l.picture>>8)&0x7f, byte(l.picture), l.tl0, g.Temporal<<6 | sync}
	if g.Part > 0 {
		return b
	}
	b[0] |= 0x10
	if !g.Key {
		return append(b, 0x11, 0, 0)
	}
	b = append(b, 0x10, 0, 0, 0x9d, 0x01, 0x2a)
	b = binary.LittleEndian.AppendUint16(b, l.size())
	return binary.LittleEndian.AppendUint16(b, l.size())
}

func (p *layeredPeer) vp9(l *layeredEncoding, g *layeredTag, inter bool) []byte {
	first, last := g.Part == 0, g.Part == g.Parts-1
	structure := g.Key && g.Spatial == 0 && first
	b := []byte{
		0xa0 | flag(!g.Key)<<6 | flag(first)<<3 | flag(last)<<2 | flag(structure)<<1 | flag(g.Top || p.shape.keyOnly && !g.Key),
		0x80 | byte(l.picture>>8)&0x7f, byte(l.picture), g.Temporal<<5 | 0x10 | g.Spatial<<1 | flag(inter), l.tl0,
	}
	if structure {
		b = append(b, (p.shape.spatial-1)<<5|0x10)
		for sid := range p.shape.spatial {
			b = binary.BigEndian.AppendUint16(b, 160<<sid)
			b = binary.BigEndian.AppendUint16(b, 160<<sid)
		}
	}
	if !first {
		return b
	}
	return append(b, 0x82|flag(!g.Key || g.Spatial > 0)<<2) // frame_marker, frame_type, show_frame
}

func (p *layeredPeer) av1(g *layeredTag) []byte {
	first, last := g.Part == 0, g.Part == g.Parts-1
	b := []byte{flag(!first)<<7 | flag(!last)<<6 | 0x10 | flag(first && g.Key && g.Spatial == 0)<<3}
	if first {
		b = append(b, 6<<3|0x04, g.Temporal<<5|g.Spatial<<3) // OBU_FRAME with the extension
	}
	return b
}

// templates of a frame's spatial layer: that of keyframes, then one for each temporal layer.
func (sh *layeredShape) template(g *layeredTag) int {
	at := int(g.Spatial) * int(sh.temporal+1)
	if g.Key {
		return at
	}
	return at + 1 + int(g.Temporal)
}

// descriptor writes a packet's dependency descriptor, with the structure at the start of keyframes (RTP Payload Format For AV1, appendix A.8).
func (p *layeredPeer) descriptor(g *layeredTag) []byte {
	w := &bitWriter{}
	w.put(1, uint32(flag(g.Part == 0)))
	w.put(1, uint32(flag(g.Part == g.Parts-1)))
	w.put(6, uint32(p.shape.template(g)))
	w.put(16, g.Frame&0xffff)
	attached := g.Key && g.Spatial == 0 && g.Part == 0
	w.put(1, uint32(flag(attached)))
	w.put(4, 0b0010) // no active targets, own differences only
	if attached {
		p.shape.structure(w)
	}
	for _, r := range g.Refs {
		if r != 0 {
			w.put(2, 2)
			w.put(8, g.Frame-(r-1)-1)
		}
	}
	w.put(2, 0)
	return w.b
}

// structure writes what all frames have in common: no differences, no chains, no sizes.
func (sh *layeredShape) structure(w *bitWriter) {
	w.put(6, 0)
	w.put(5, uint32(sh.spatial*sh.temporal)-1)
	var list []layeredTag
	for s := range sh.spatial {
		list = append(list, layeredTag{Spatial: s, Key: true})
		for t := range sh.temporal {
			list = append(list, layeredTag{Spatial: s, Temporal: t})
		}
	}
	for i := range list[1:] {
		switch next, g := &list[i+1], &list[i]; {
		case next.Spatial != g.Spatial:
			w.put(2, 2)
		case next.Temporal != g.Temporal:
			w.put(2, 1)
		default:
			w.put(2, 0)
		}
	}
	w.put(2, 3)
	for i := range list {
		for target := range sh.spatial * sh.temporal {
			w.put(2, uint32(sh.indication(&list[i], target/sh.temporal, target%sh.temporal)))
		}
	}
	w.put(len(list), 0)
	w.nonSymmetricZero(uint32(sh.spatial*sh.temporal) + 1)
	w.put(1, 0)
}

// indication is what Chromium's scalability structures say of a frame for the decode target of these layers.
func (sh *layeredShape) indication(g *layeredTag, spatial, temporal uint8) depdesc.DTI {
	switch {
	case spatial < g.Spatial || temporal < g.Temporal:
		return depdesc.NotPresent
	case g.Key:
		return depdesc.Switch
	case sh.keyOnly && spatial != g.Spatial:
		return depdesc.NotPresent
	case spatial != g.Spatial:
		return depdesc.Required
	case g.Temporal > 0 && temporal == g.Temporal:
		return depdesc.Discardable
	}
	return depdesc.Switch
}

// bitWriter writes numbers of so many bits.
type bitWriter struct {
	b    []byte
	bits int
}

func (w *bitWriter) put(n int, v uint32) {
	for i := n - 1; i >= 0; i-- {
		if w.bits%8 == 0 {
			w.b = append(w.b, 0)
		}
		w.b[w.bits/8] |= byte(v>>i&1) << (7 - w.bits%8)
		w.bits++
	}
}

// nonSymmetricZero writes 0 in the code for numbers below n.
func (w *bitWriter) nonSymmetricZero(n uint32) {
	width := 0
	for x := n; x != 0; x >>= 1 {
		width++
	}
	w.put(width-1, 0)
}
