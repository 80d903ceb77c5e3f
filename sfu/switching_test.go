package sfu

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"rheomesh/internal/codec"
)

// switchingEnv is how long TestSwitching runs, as a Go duration.
const switchingEnv = "RHEOMESH_SWITCHING"

// switchAtKeyframe is how long a switch may take: the pause between two requests to one layer, and a turn of everybody on a machine that is busy.
const switchAtKeyframe = keyframeInterval + 500*time.Millisecond

// viewerSeen is a packet as it came first, and when.
type viewerSeen struct {
	payload []byte
	marker  bool
	ts      uint32
	at      time.Time
}

// viewerWish is a selection, and when it was made.
type viewerWish struct {
	at  time.Time
	sel LayerSelection
}

// switcher is a viewer that changes its mind, loses packets, and writes down all that it gets.
type switcher struct {
	*RawPeer
	shape  *layeredShape
	random *rand.Rand
	loss   *atomic.Int32 // of packets before they are seen, in thousandths

	mu     sync.Mutex // guards wishes
	wishes []viewerWish

	// Of the reading goroutine, until it has ended.
	ssrc     uint32
	top      uint64 // extended number
	first    uint64
	seen     map[uint64]viewerSeen // what was sent first under each number, lost or not
	have     map[uint64]bool
	asked    map[uint64]int
	wide     uint16
	numbered bool
	recorder *twcc.Recorder
	repeats  int // retransmissions compared
	given    int // references to frames that were given up
	faults   []string
}

func newSwitcher(t testing.TB, router *Router, id PublisherID, shape *layeredShape, seed uint64, loss *atomic.Int32) *switcher {
	v := &switcher{
		RawPeer: RawWatch(t, router, id, []string{shape.section(false)}), shape: shape, random: rand.New(rand.NewPCG(seed, 7)), loss: loss,
		seen: map[uint64]viewerSeen{}, have: map[uint64]bool{}, asked: map[uint64]int{}, recorder: twcc.NewRecorder(1),
	}
	_ = v.conn.SetReadBuffer(4 << 20)
	v.wish(LayerSelection{})
	return v
}

func (v *switcher) wish(sel LayerSelection) {
	v.mu.Lock()
	v.wishes = append(v.wishes, viewerWish{time.Now(), sel})
	v.mu.Unlock()
	assert.NoError(v.t, v.session.SelectLayer(sel))
}

// fault writes down what is wrong; a few tell enough.
func (v *switcher) fault(format string, args ...any) {
	if len(v.faults) < 5 {
		v.faults = append(v.faults, fmt.Sprintf(format, args...))
	}
}

// run reads, reports and asks for what is missing until stop is closed.
func (v *switcher) run(stop <-chan struct{}) {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case b := <-v.media:
			v.take(b, time.Now())
		case now := <-ticker.C:
			v.report()
			v.ask(now)
		}
	}
}

func (v *switcher) take(sealed []byte, now time.Time) {
	if rawIsRTCP(sealed) {
		return
	}
	packet := v.Open(sealed)
	lost := v.random.Int32N(1000) < v.loss.Load()
	v.takeNumber(packet, lost, now)
	switch packet.PayloadType {
	case layeredPT:
		v.takeMedia(packet, lost, now)
	case layeredRTX:
		v.takeRTX(packet, lost, now)
	default:
		v.fault("payload type %d", packet.PayloadType)
	}
}

// takeNumber checks that the transport-wide numbers of all streams together have no holes.
func (v *switcher) takeNumber(packet *rtp.Packet, lost bool, now time.Time) {
	value := packet.GetExtension(layeredWide)
	if len(value) != 2 {
		if !v.numbered { // nothing is known yet that there would be to choose from
			return
		}
		v.fault("packet %d of payload type %d has no transport-wide number", packet.SequenceNumber, packet.PayloadType)
		return
	}
	number := binary.BigEndian.Uint16(value)
	if v.numbered && number != v.wide+1 {
		v.fault("transport-wide number %d after %d", number, v.wide)
	}
	v.numbered, v.wide = true, number
	if !lost {
		v.recorder.Record(packet.SSRC, number, now.UnixMicro())
	}
}

// extend is the extended form of a number near the highest.
func (v *switcher) extend(seq uint16) uint64 { return v.top + uint64(int64(int16(seq-uint16(v.top)))) }

func (v *switcher) takeMedia(packet *rtp.Packet, lost bool, now time.Time) {
	if v.ssrc == 0 {
		v.ssrc = packet.SSRC
		v.top = 1<<32 | uint64(packet.SequenceNumber)
		v.first = v.top
	}
	if packet.SSRC != v.ssrc {
		v.fault("stream %x", packet.SSRC)
	}
	n := v.extend(packet.SequenceNumber)
	if _, again := v.seen[n]; again {
		v.fault("number %d was used twice", n)
		return
	}
	v.top = max(v.top, n)
	v.seen[n] = viewerSeen{packet.Payload, packet.Marker, packet.Timestamp, now}
	v.have[n] = !lost
}

// takeRTX compares a retransmission with what was sent first under its number.
func (v *switcher) takeRTX(packet *rtp.Packet, lost bool, now time.Time) {
	if len(packet.Payload) < 2 {
		return // padding that probes the link
	}
	n := v.extend(binary.BigEndian.Uint16(packet.Payload))
	again := viewerSeen{packet.Payload[2:], packet.Marker, packet.Timestamp, now}
	before, known := v.seen[n]
	if !known {
		v.seen[n] = again // it was lost for good on its way
	} else if before.marker != again.marker || before.ts != again.ts || !slices.Equal(before.payload, again.payload) {
		v.fault("packet %d: retransmission differs: marker %v %v, timestamp %d %d, %d and %d bytes", n, before.marker, again.marker, before.ts, again.ts, len(before.payload), len(again.payload))
	}
	v.have[n] = v.have[n] || !lost
	v.repeats++
}

// report sends transport-wide feedback.
func (v *switcher) report() {
	for _, p := range v.recorder.BuildFeedbackPacket() {
		v.SendRTCP(p)
	}
}

// ask sends NACKs for numbers that are missing.
func (v *switcher) ask(now time.Time) {
	if v.ssrc == 0 {
		return
	}
	var missing []uint16
	for n := max(v.first, v.top-min(v.top, 400)); n < v.top && len(missing) < 60; n++ {
		if !v.have[n] && v.asked[n] < 12 {
			v.asked[n]++
			missing = append(missing, uint16(n))
		}
	}
	if len(missing) > 0 {
		v.SendRTCP(&rtcp.TransportLayerNack{SenderSSRC: 1, MediaSSRC: v.ssrc, Nacks: rtcp.NackPairsFromSequenceNumbers(missing)})
	}
}

// frameSeen is one layer's frame as its packets came.
type frameSeen struct {
	layeredTag
	ts     uint32
	at     time.Time
	marker bool
	parts  []uint8
	cut    bool // not whole
	padded bool // padding follows
}

// check goes through all that the viewer got, in the order of its numbers.
func (v *switcher) check() {
	numbers := slices.Sorted(maps.Keys(v.seen))
	if len(numbers) < 50 {
		v.fault("only %d packets came", len(numbers))
		return
	}
	for n := numbers[0]; n <= numbers[len(numbers)-1]; n++ {
		if !v.have[n] {
			v.fault("number %d of %d to %d is missing, asked %d times", n, numbers[0], v.top, v.asked[n])
			return
		}
	}
	if !v.numbered {
		v.fault("no packet has a transport-wide number")
	}
	frames := v.assemble(numbers)
	v.checkFrames(frames)
	v.checkTime(frames)
	v.checkMarkers(frames)
	v.checkWishes(frames)
	if v.shape.codec == codec.VP8 {
		v.checkVP8(numbers)
	}
}

// assemble makes frames of packets and checks that they are whole.
func (v *switcher) assemble(numbers []uint64) (frames []frameSeen) {
	filled := false // padding came since the last whole frame, in place of a packet that came too late and was not wanted
	for _, n := range numbers {
		p := v.seen[n]
		if len(p.payload) == 0 {
			filled = true
			if len(frames) > 0 {
				frames[len(frames)-1].padded = true
			}
			continue
		}
		g, ok := readLayeredTag(p.payload)
		if !ok {
			v.fault("packet %d: not what was sent", n)
			return frames
		}
		last := len(frames) - 1
		if last < 0 || g.Layer != frames[last].Layer || g.Frame != frames[last].Frame {
			v.checkWhole(frames, filled)
			filled = filled && g.Part > 0
			frames = append(frames, frameSeen{layeredTag: g, ts: p.ts, at: p.at})
			last++
		}
		f := &frames[last]
		if p.ts != f.ts || p.marker && g.Part+1 != g.Parts {
			v.fault("packet %d: timestamp %d, marker %v in part %d of %d", n, p.ts, p.marker, g.Part, g.Parts)
		}
		f.parts, f.marker = append(f.parts, g.Part), p.marker
	}
	return frames
}

// checkWhole checks that the newest frame has all its packets in order. Only when the viewer left a layer before a packet came that had been lost may it be cut.
func (v *switcher) checkWhole(frames []frameSeen, filled bool) {
	if len(frames) == 0 {
		return
	}
	f := &frames[len(frames)-1]
	for i, part := range f.parts {
		f.cut = f.cut || int(part) != i
	}
	f.cut = f.cut || len(f.parts) != int(f.Parts)
	if f.cut && !filled {
		v.fault("frame %d of layer %d: parts %v of %d", f.Frame, f.Layer, f.parts, f.Parts)
	}
}

// checkFrames checks that each frame can be decoded, and that layers begin at keyframes. A frame that the node had not got when the viewer's layers changed may be
// given up: padding stands in its place.
func (v *switcher) checkFrames(frames []frameSeen) {
	decoded, given := map[uint32]bool{}, map[uint32]bool{}
	for i := range frames {
		f := &frames[i]
		begins := f.Key && f.Spatial == 0
		if begins {
			clear(decoded)
			clear(given)
		}
		if (i == 0 || f.Layer != frames[i-1].Layer) && !begins {
			v.fault("layer %d begins with frame %d, which is no keyframe", f.Layer, f.Frame)
		}
		for _, r := range f.Refs {
			if r != 0 && given[r-1] {
				v.given++
			} else if r != 0 && !decoded[r-1] {
				v.fault("layer %d: frame %d (S%dT%d) needs %d, which was not sent", f.Layer, f.Frame, f.Spatial, f.Temporal, r-1)
			}
		}
		decoded[f.Frame] = !f.cut
		if f.padded && i+1 < len(frames) && frames[i+1].Layer == f.Layer {
			for n := f.Frame + 1; n < frames[i+1].Frame; n++ {
				given[n] = true
			}
		}
	}
}

// checkTime checks that timestamps go on as time does.
func (v *switcher) checkTime(frames []frameSeen) {
	const slack = 100 * time.Millisecond // deliveries bunch on a busy machine
	var live []time.Duration             // media time less real time, of frames that came at once
	media := time.Duration(0)
	for i := range frames[1:] {
		f, before := &frames[i+1], &frames[i]
		step := time.Duration(int32(f.ts-before.ts)) * time.Second / 90000
		media += step
		samePicture := f.Layer == before.Layer && f.Picture == before.Picture
		if samePicture != (step == 0) || step < 0 {
			v.fault("layer %d picture %d: timestamp grows by %v from layer %d picture %d", f.Layer, f.Picture, step, before.Layer, before.Picture)
		}
		if passed := f.at.Sub(before.at); step > passed+slack && step > time.Duration(f.At-before.At)+slack {
			v.fault("layer %d picture %d: timestamp grows by %v while %v passed", f.Layer, f.Picture, step, passed)
		}
		if f.at.Sub(time.Unix(0, f.At)) < 20*time.Millisecond {
			live = append(live, media-time.Duration(f.At-frames[0].At))
		}
	}
	if len(live) > 30 {
		if drift := slices.Max(live[10:]) - slices.Min(live[10:]); drift > 2*slack {
			v.fault("media time drifts by %v", drift)
		}
	}
}

// marksMissed is how many pictures of one viewer may end without a marker bit: when a spatial layer's reference is given up for lost after the layer below has gone out, the
// upper frame is dropped, and the next timestamp ends the picture.
const marksMissed = 2

// checkMarkers checks that the marker bit is at the end of each picture and nowhere else.
func (v *switcher) checkMarkers(frames []frameSeen) {
	missed := 0
	for i := range frames[:len(frames)-1] {
		f, next := &frames[i], &frames[i+1]
		ends := f.ts != next.ts
		if ends == f.marker || f.cut || f.padded {
			continue
		}
		if ends {
			missed++
		}
		if !ends || missed > marksMissed {
			v.fault("layer %d frame %d (S%dT%d): marker %v at end of picture %v", f.Layer, f.Frame, f.Spatial, f.Temporal, f.marker, ends)
		}
	}
}

// checkWishes checks that nothing comes that was not wanted, once a wish has had its time.
func (v *switcher) checkWishes(frames []frameSeen) {
	at := 0
	for i := range frames {
		f := &frames[i]
		for at+1 < len(v.wishes) && !v.wishes[at+1].at.After(f.at) {
			at++
		}
		sel, since := v.wishes[at].sel, f.at.Sub(v.wishes[at].at)
		if since <= switchAtKeyframe {
			continue
		}
		if t := limitOf(sel.Temporal, sel.MaxTemporal); int(f.Temporal) > t {
			v.fault("layer %d frame %d: temporal layer %d %v after %d was asked for", f.Layer, f.Frame, f.Temporal, since, t)
		}
		if s := limitOf(sel.Spatial, sel.MaxSpatial); int(f.Spatial) > s {
			v.fault("frame %d: spatial layer %d %v after %d was asked for", f.Frame, f.Spatial, since, s)
		}
		if sel.RID != "" && v.shape.rids[f.Layer] != sel.RID {
			v.fault("frame %d: layer %s %v after %s was asked for", f.Frame, v.shape.rids[f.Layer], since, sel.RID)
		}
	}
}

func limitOf(limits ...*int) int {
	least := 7
	for _, l := range limits {
		if l != nil {
			least = min(least, *l)
		}
	}
	return least
}

// checkVP8 checks that frame numbers have no holes (RFC 7741 section 4.2).
func (v *switcher) checkVP8(numbers []uint64) {
	var info codec.Info
	var before codec.Info
	begun := false
	filled := int32(0) // since the frame before
	for _, n := range numbers {
		p := v.seen[n]
		if len(p.payload) == 0 {
			filled++
			continue
		}
		codec.Inspect(codec.VP8, p.payload, &info)
		if !info.FrameStart {
			if filled == 0 && (info.PictureID != before.PictureID || info.TL0PicIdx != before.TL0PicIdx) {
				v.fault("packet %d: frame numbers change within a frame", n)
			}
			continue
		}
		// A frame that was missing had a PictureID before it came and proved unwanted.
		if step := (info.PictureID - before.PictureID) & 0x7fff; begun && step != 1 && step-1 > filled {
			v.fault("packet %d: PictureID %d after %d", n, info.PictureID, before.PictureID)
		}
		step := uint8(0)
		if info.Temporal == 0 {
			step = 1
		}
		if begun && filled == 0 && info.TL0PicIdx != before.TL0PicIdx+step {
			v.fault("packet %d: TL0PICIDX %d after %d in temporal layer %d", n, info.TL0PicIdx, before.TL0PicIdx, info.Temporal)
		}
		before, begun, filled = info, true, 0
	}
}

// switchTimes are the times between asking for another layer and its first packet.
func (v *switcher) switchTimes() (times []time.Duration) {
	for i, w := range v.wishes {
		if w.sel.RID == "" {
			continue
		}
		end := time.Now()
		if i+1 < len(v.wishes) {
			end = v.wishes[i+1].at
		}
		if took, ok := v.reached(w, end); ok {
			times = append(times, took)
		}
	}
	return times
}

// reached is when the layer of a wish first came, unless it was being sent already.
func (v *switcher) reached(w viewerWish, end time.Time) (time.Duration, bool) {
	var first time.Time
	for _, p := range v.seen {
		g, ok := readLayeredTag(p.payload)
		if !ok || p.at.After(end) || v.shape.rids[g.Layer] != w.sel.RID {
			continue
		}
		if p.at.Before(w.at) && w.at.Sub(p.at) < 2*pictureTime {
			return 0, false
		}
		if p.at.After(w.at) && (first.IsZero() || p.at.Before(first)) {
			first = p.at
		}
	}
	return first.Sub(w.at), !first.IsZero()
}

// switchingRun is a publisher and viewers who change their minds until the end, and then look back.
type switchingRun struct {
	viewers []*switcher
	node    *Node
}

func runSwitching(t *testing.T, shape layeredShape, viewers int, length time.Duration, loss int32) *switchingRun {
	t.Helper()
	node, router := rawNode(t)
	r := &switchingRun{node: node}
	p := publishLayered(t, router, "cam", shape, loss)
	stop := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() { p.run(stop) })
	layers := uint64(len(shape.rids))
	require.Eventually(t, func() bool { return node.Stats().VideoPacketsIn > 20*layers }, RawPatience, time.Millisecond)
	for i := range viewers {
		v := newSwitcher(t, router, "cam", &shape, uint64(i), &p.loss)
		r.viewers = append(r.viewers, v)
		group.Go(func() { v.run(stop) })
	}
	random := rand.New(rand.NewPCG(uint64(viewers), uint64(length)))
	pause := max(2*time.Second/time.Duration(viewers), 2*time.Millisecond)
	for end := time.Now().Add(length); time.Now().Before(end); {
		r.viewers[random.IntN(viewers)].wish(shape.wish(random))
		time.Sleep(pause)
	}
	p.loss.Store(0)
	time.Sleep(300 * time.Millisecond)
	p.still.Store(true)
	time.Sleep(500 * time.Millisecond) // for the last losses to be repaired
	close(stop)
	group.Wait()
	return r
}

// wish draws what a viewer wants next.
func (sh *layeredShape) wish(random *rand.Rand) LayerSelection {
	sel := LayerSelection{Kind: "video"}
	number := func(n uint8) *int {
		i := random.IntN(int(n))
		return &i
	}
	if random.IntN(4) == 0 {
		return sel
	}
	if len(sh.rids) > 1 && random.IntN(3) > 0 {
		sel.RID = sh.rids[random.IntN(len(sh.rids))]
	}
	if random.IntN(2) == 0 {
		sel.MaxTemporal = number(sh.temporal)
	} else if random.IntN(3) == 0 {
		sel.Temporal = number(sh.temporal)
	}
	if sh.spatial > 1 && random.IntN(2) == 0 {
		sel.MaxSpatial = number(sh.spatial)
	} else if sh.spatial > 1 && random.IntN(3) == 0 {
		sel.Spatial = number(sh.spatial)
	}
	return sel
}

// verify reports what the viewers found.
func (r *switchingRun) verify(t *testing.T) {
	t.Helper()
	wishes, repeats, packets, given := 0, 0, 0, 0
	for i, v := range r.viewers {
		v.check()
		for _, f := range v.faults {
			t.Errorf("viewer %d: %s", i, f)
		}
		wishes, repeats, packets, given = wishes+len(v.wishes), repeats+v.repeats, packets+len(v.seen), given+v.given
	}
	t.Logf("%d viewers, %d wishes, %d packets, %d retransmissions compared, %d references to frames given up", len(r.viewers), wishes, packets, repeats, given)
	assert.NotZero(t, repeats)
	assert.Less(t, given, len(r.viewers))
}

// A hundred viewers of a simulcast whose encodings have three temporal layers each change their minds all the time, and lose packets: none of them can tell
// that there was ever more than one stream.
func TestSwitchingSimulcast(t *testing.T) {
	length, viewers := 6*time.Second, 100
	if testing.Short() {
		length, viewers = 3*time.Second, 30
	}
	if text := os.Getenv(switchingEnv); text != "" {
		var err error
		length, err = time.ParseDuration(text)
		require.NoError(t, err)
	}
	shape := layeredShape{codec: codec.VP8, rids: []string{"q", "h", "f"}, spatial: 1, temporal: 3}
	r := runSwitching(t, shape, viewers, length, 10)
	r.verify(t)
	var times []time.Duration
	for _, v := range r.viewers {
		times = append(times, v.switchTimes()...)
	}
	slices.Sort(times)
	require.NotEmpty(t, times)
	t.Logf("%d switches: p50 %v, p90 %v, longest %v", len(times), times[len(times)/2], times[len(times)*9/10], times[len(times)-1])
}

// The same within streams that carry their layers themselves.
func TestSwitchingLayeredStreams(t *testing.T) {
	length := 5 * time.Second
	if testing.Short() {
		length = 2 * time.Second
	}
	for _, row := range []struct {
		name  string
		shape layeredShape
	}{
		{"VP8 L1T3", layeredShape{codec: codec.VP8, spatial: 1, temporal: 3}},
		{"VP9 L3T3", layeredShape{codec: codec.VP9, spatial: 3, temporal: 3}},
		{"VP9 L3T3_KEY", layeredShape{codec: codec.VP9, spatial: 3, temporal: 3, keyOnly: true}},
		{"VP9 L3T3_KEY described", layeredShape{codec: codec.VP9, spatial: 3, temporal: 3, keyOnly: true, described: true}},
		{"AV1 L1T3", layeredShape{codec: codec.AV1, spatial: 1, temporal: 3, described: true}},
		{"AV1 L3T3", layeredShape{codec: codec.AV1, spatial: 3, temporal: 3, described: true}},
		{"AV1 L3T3_KEY", layeredShape{codec: codec.AV1, spatial: 3, temporal: 3, keyOnly: true, described: true}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			row.shape.rids = []string{""}
			runSwitching(t, row.shape, 8, length, 10).verify(t)
		})
	}
}

// A viewer alone, whose publisher answers keyframe requests, does not wait long for another layer.
func TestSwitchTime(t *testing.T) {
	shape := layeredShape{codec: codec.VP8, rids: []string{"q", "h", "f"}, spatial: 1, temporal: 3}
	node, router := rawNode(t)
	p := publishLayered(t, router, "cam", shape, 0)
	stop := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() { p.run(stop) })
	require.Eventually(t, func() bool { return node.Stats().VideoPacketsIn > 60 }, RawPatience, time.Millisecond)
	v := newSwitcher(t, router, "cam", &shape, 1, &p.loss)
	group.Go(func() { v.run(stop) })
	for i := range 10 {
		time.Sleep(700 * time.Millisecond) // longer than a keyframe can be cached and taken
		v.wish(LayerSelection{Kind: "video", RID: shape.rids[i%len(shape.rids)]})
	}
	time.Sleep(500 * time.Millisecond)
	close(stop)
	group.Wait()
	v.check()
	require.Empty(t, v.faults)
	times := v.switchTimes()
	slices.Sort(times)
	require.GreaterOrEqual(t, len(times), 8)
	t.Logf("%d switches: p50 %v, longest %v", len(times), times[len(times)/2], times[len(times)-1])
	require.Less(t, times[len(times)/2], 300*time.Millisecond)
}
