package bandwidth_test

import (
	"math/rand/v2"
	"slices"

	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/rtcp"

	"rheomesh/sfu/bandwidth"
)

// A simulated viewer: a source with three layers, a forwarder that does what Viewer's comment says, a link with a queue, and a receiver that reports. Time goes
// on in steps of a millisecond; within one, packets keep their microseconds.

const milli = int64(1_000_000)

// epoch is the time at which the simulation begins: a usual one for the clock of a server.
const epoch = int64(1_790_000_000_000_000_000)

// conditions is what a link does at a time in milliseconds.
type conditions struct {
	capacity     func(ms int64) float64 // bit/s
	crossing     func(ms int64) float64 // bit/s of another's traffic in the same queue
	greedy       func(ms int64) bool    // another flow that grows until packets are dropped
	queueMillis  float64                // beyond which packets are dropped
	delayMicros  int64                  // one way
	detour       func(ms int64) float64 // microseconds more
	jitterMicros int64                  // uniform
	loss         float64
	reorder      float64 // of packets that come 30 ms late
	reportEvery  int64   // ms
	reportLoss   func(ms int64) float64
	driftPPM     int64
	mute         func(ms int64) bool // the forwarder sends nothing at all
	audioOff     bool
	caps         func(ms int64) bandwidth.Caps
	seed         uint64
}

func constant(v float64) func(int64) float64 { return func(int64) float64 { return v } }

// steps is a rate that changes at times in milliseconds: at, rate, at, rate…
func steps(pairs ...float64) func(int64) float64 {
	return func(ms int64) float64 {
		rate := pairs[1]
		for i := 0; i < len(pairs); i += 2 {
			if float64(ms) >= pairs[i] {
				rate = pairs[i+1]
			}
		}
		return rate
	}
}

type frame struct {
	rung    int
	key     bool
	missing int
}

type packet struct {
	bytes int
	frame *frame // nil for audio and padding
	born  int64  // ms
	tries int
}

type change struct {
	ms     int64
	rung   int
	reason bandwidth.Reason
}

// world is one run and what was seen in it.
type world struct {
	conditions
	random *rand.Rand
	viewer *bandwidth.Viewer
	ms     int64
	events map[int64][]func()

	// source
	keyframeAsked [3]int64 // ms when one will come, 0 for none
	frameNumber   int64

	// forwarder
	backlog []packet
	sending int
	waiting bool // for a keyframe of sending
	choice  bandwidth.Choice
	number  uint16

	// link
	busyUntil float64 // µs
	greedyBps float64

	// receiver
	recorder   *twcc.Recorder
	frames     []*frame
	rendered   int
	stuckSince int64

	// seen
	changes   []change
	queues    [][2]int64 // ms, µs
	renders   []int64    // ms
	estimates []int      // per ms
	rungs     []int      // per ms
	padding   int
	onSent    func(number uint16, bytes int, now int64)
	onReport  func(fci []byte, now int64)
}

var layerRates = [3]int{150_000, 500_000, 1_700_000}

// keyframeWeight is the size of a keyframe over that of another frame.
const keyframeWeight = 5

func newWorld(c conditions) *world {
	if c.delayMicros == 0 {
		c.delayMicros = 20_000
	}
	if c.queueMillis == 0 {
		c.queueMillis = 1000
	}
	if c.reportEvery == 0 {
		c.reportEvery = 100
	}
	w := &world{
		conditions: c, random: rand.New(rand.NewPCG(c.seed, 7)), viewer: bandwidth.NewViewer(bandwidth.Config{}, epoch),
		events: map[int64][]func(){}, recorder: twcc.NewRecorder(1), number: 65_000, sending: -1, waiting: true, greedyBps: 100_000,
	}
	w.viewer.SetAudio(40_000)
	w.setRungs()
	return w
}

func (w *world) now() int64 { return epoch + w.ms*milli }

func (w *world) setRungs() {
	w.viewer.SetRungs([]bandwidth.Rung{
		{ID: 0, Bitrate: layerRates[0], Width: 320, Height: 180, FrameShare: 1},
		{ID: 1, Bitrate: layerRates[1], Width: 640, Height: 360, FrameShare: 1},
		{ID: 2, Bitrate: layerRates[2], Width: 1280, Height: 720, FrameShare: 1},
	})
}

func (w *world) at(ms int64, do func()) {
	w.events[max(ms, w.ms+1)] = append(w.events[max(ms, w.ms+1)], do)
}

// run goes on until ms.
func (w *world) run(until int64) {
	for ; w.ms < until; w.ms++ {
		for _, do := range w.events[w.ms] {
			do()
		}
		delete(w.events, w.ms)
		w.cross()
		w.produce()
		w.forward()
		if w.ms%w.reportEvery == w.reportEvery-1 {
			w.reportBack()
		}
		w.render()
		w.estimates = append(w.estimates, w.viewer.Estimate().Bitrate)
		w.rungs = append(w.rungs, w.sending)
	}
}

func (w *world) produce() {
	if w.ms%20 == 0 && !w.audioOff {
		w.transmit(packet{bytes: 100, born: w.ms})
	}
	if w.ms%1000*30/1000 == (w.ms+999)%1000*30/1000 && w.ms != 0 {
		return
	}
	w.frameNumber++
	for rung, rate := range layerRates {
		key := w.frameNumber%60 == int64(1+7*rung) || w.keyframeAsked[rung] != 0 && w.ms >= w.keyframeAsked[rung]
		mean := float64(rate) / 8 / 30 * 60 / (59 + keyframeWeight) * (0.8 + 0.4*w.random.Float64())
		if key {
			w.keyframeAsked[rung] = 0
			mean *= keyframeWeight
		}
		w.offer(rung, key, int(mean))
	}
}

// offer is the forwarder's view of a new frame of a layer.
func (w *world) offer(rung int, key bool, bytes int) {
	if key && rung == w.choice.ID && rung != w.sending {
		w.sending, w.waiting = rung, false
		w.changes = append(w.changes, change{w.ms, rung, w.choice.Reason})
	}
	if rung != w.sending || w.waiting && !key {
		return
	}
	w.waiting = false
	f := &frame{rung: rung, key: key}
	w.frames = append(w.frames, f)
	for ; bytes > 0; bytes -= 1100 {
		f.missing++
		w.backlog = append(w.backlog, packet{bytes: 60 + min(bytes, 1100), frame: f, born: w.ms})
	}
}

func (w *world) ask(rung int) {
	if w.keyframeAsked[rung] == 0 {
		w.keyframeAsked[rung] = w.ms + 100
	}
}

func (w *world) forward() {
	now := w.now()
	if w.mute != nil && w.mute(w.ms) {
		w.backlog = w.backlog[:0]
		w.waiting = true
		return
	}
	if w.ms%20 == 0 {
		if w.caps != nil {
			w.viewer.SetCaps(w.caps(w.ms))
		}
		w.viewer.Tick(now)
		w.choice = w.viewer.Choose(now)
		if w.choice.ID >= 0 && w.choice.ID != w.sending {
			w.ask(w.choice.ID)
			if w.choice.Urgent && w.sending > w.choice.ID {
				w.backlog, w.waiting = w.backlog[:0], true
			}
		}
	}
	if w.ms%5 == 0 {
		for {
			bytes, ok := w.viewer.Probe(now)
			if !ok {
				break
			}
			w.padding += bytes
			w.transmit(packet{bytes: bytes, born: w.ms})
		}
	}
	if len(w.backlog) > 0 && w.ms-w.backlog[0].born > 500 {
		w.backlog, w.waiting = w.backlog[:0], true
		if w.sending >= 0 {
			w.ask(w.sending)
		}
	}
	for len(w.backlog) > 0 {
		if !w.viewer.Allow(now) {
			break
		}
		w.transmit(w.backlog[0])
		w.backlog = w.backlog[1:]
	}
}

// transmit puts a packet on the link.
func (w *world) transmit(p packet) {
	if w.mute != nil && w.mute(w.ms) {
		return
	}
	number := w.number
	w.number++
	w.viewer.Sent(number, p.bytes, w.now())
	if w.onSent != nil {
		w.onSent(number, p.bytes, w.now())
	}
	sent := w.ms * 1000
	start := max(float64(sent), w.busyUntil)
	queued := start - float64(sent)
	if p.frame != nil {
		w.queues = append(w.queues, [2]int64{w.ms, int64(queued)})
	}
	dropped := queued > w.queueMillis*1000
	if !dropped {
		w.busyUntil = start + float64(p.bytes)*8e6/w.capacity(w.ms)
	}
	if dropped || w.random.Float64() < w.loss {
		w.resend(p)
		return
	}
	arrival := int64(w.busyUntil) + w.delayMicros
	if w.detour != nil {
		arrival += int64(w.detour(w.ms))
	}
	if w.jitterMicros > 0 {
		arrival += w.random.Int64N(w.jitterMicros)
	}
	if w.random.Float64() < w.reorder {
		arrival += 30_000
	}
	w.at(arrival/1000, func() {
		w.recorder.Record(1, number, arrival+arrival/1_000_000*w.driftPPM+777_000_000)
		if p.frame != nil {
			p.frame.missing--
		}
	})
}

// resend answers the NACK that the receiver will send.
func (w *world) resend(p packet) {
	if p.frame == nil || p.tries == 3 {
		return
	}
	p.tries++
	w.at(w.ms+2*w.delayMicros/1000+20, func() { w.transmit(p) })
}

// cross is the others' traffic.
func (w *world) cross() {
	rate := 0.0
	if w.crossing != nil {
		rate = w.crossing(w.ms)
	}
	now := float64(w.ms * 1000)
	if w.greedy != nil && w.greedy(w.ms) {
		w.greedyBps += 100 // per ms: 100 kbit/s more each second
		if w.busyUntil-now > w.queueMillis*1000*0.9 {
			w.greedyBps /= 2
		}
		rate += w.greedyBps
	}
	if bytes := rate / 8000; bytes > 0 && w.busyUntil-now < w.queueMillis*1000 {
		w.busyUntil = max(now, w.busyUntil) + bytes*8e6/w.capacity(w.ms)
	}
}

func (w *world) reportBack() {
	lost := w.reportLoss != nil && w.random.Float64() < w.reportLoss(w.ms)
	for _, p := range w.recorder.BuildFeedbackPacket() {
		raw, err := p.(*rtcp.TransportLayerCC).Marshal()
		if err != nil {
			panic(err)
		}
		fci := raw[12:]
		if raw[0]&0x20 != 0 {
			fci = fci[:len(fci)-int(raw[len(raw)-1])]
		}
		if lost {
			continue
		}
		w.at(w.ms+w.delayMicros/1000, func() {
			if w.onReport != nil {
				w.onReport(fci, w.now())
			}
			if err := w.viewer.Feedback(fci, w.now()); err != nil {
				panic(err)
			}
		})
	}
}

// render shows what can be decoded: frames in order, or the next whole keyframe when one is stuck.
func (w *world) render() {
	before := w.rendered
	for w.rendered < len(w.frames) && w.frames[w.rendered].missing == 0 {
		w.rendered++
	}
	if w.rendered == before && w.rendered < len(w.frames) {
		for i := w.rendered + 1; i < len(w.frames); i++ {
			if w.frames[i].key && w.frames[i].missing == 0 {
				w.rendered = i + 1
				break
			}
		}
	}
	if w.rendered > before {
		w.renders = append(w.renders, w.ms)
		w.stuckSince = 0
		return
	}
	if w.rendered < len(w.frames) && w.stuckSince == 0 {
		w.stuckSince = w.ms
	}
	if w.stuckSince != 0 && w.ms-w.stuckSince > 400 && w.sending >= 0 {
		w.ask(w.sending)
	}
}

// freeze is the longest time without a new picture between two times.
func (w *world) freeze(from, to int64) (longest int64) {
	last := from
	for _, ms := range w.renders {
		if ms >= from && ms <= to {
			longest = max(longest, ms-last)
			last = ms
		}
	}
	return max(longest, to-last)
}

// queueP95 is the queueing delay in milliseconds that 95 % of the packets of video stay below.
func (w *world) queueP95(from, to int64) int64 {
	var seen []int64
	for _, q := range w.queues {
		if q[0] >= from && q[0] < to {
			seen = append(seen, q[1])
		}
	}
	if len(seen) == 0 {
		return 0
	}
	slices.Sort(seen)
	return seen[len(seen)*95/100] / 1000
}

// switches counts the changes of layer between two times.
func (w *world) switches(from, to int64) (n int) {
	for _, c := range w.changes {
		if c.ms >= from && c.ms < to {
			n++
		}
	}
	return n
}

// reached is the first time from which on the layer was sent, -1 for never.
func (w *world) reached(rung int, from int64) int64 {
	for ms := from; ms < w.ms; ms++ {
		if w.rungs[ms] == rung {
			return ms
		}
	}
	return -1
}

// share is the part of the time that a layer was sent.
func (w *world) share(rung int, from, to int64) float64 {
	n := 0
	for _, r := range w.rungs[from:to] {
		if r == rung {
			n++
		}
	}
	return float64(n) / float64(to-from)
}
