// Package audiolevel finds out who speaks. Publishers tell in a header extension how loud each packet of audio is (RFC 6464), so nothing has to be
// decoded. A Meter smooths the levels of one track, and a Ranking keeps the list of the loudest publishers of a router, slow enough that it does not
// flicker when people cough or take a breath. Neither looks at a clock: times are arguments, in nanoseconds of any one clock.
package audiolevel

import (
	"cmp"
	"slices"
	"time"
)

// Silence is the lowest level, in −dBov: digital silence (RFC 6464 section 3).
const Silence = 127

// Level is what one packet tells.
type Level struct {
	Voice bool  // the sender takes it for speech; always false from senders that cannot tell
	DBov  uint8 // below the loudest that can be sent: 0 is the loudest, Silence the lowest
}

// Parse reads the extension's value (RFC 6464 section 3). A two-byte header may pad it with zeros; false when it is empty. Hot path.
//
//	 0 1 2 3 4 5 6 7
//	+-+-+-+-+-+-+-+-+
//	|V| level       |
//	+-+-+-+-+-+-+-+-+
func Parse(value []byte) (Level, bool) {
	if len(value) == 0 {
		return Level{}, false
	}
	return Level{Voice: value[0]&0x80 != 0, DBov: value[0] & 0x7f}, true
}

// How a Meter follows the levels. A word's first syllable counts at once; the breath after it does not end the speech.
const (
	attack  = 100 * time.Millisecond // time constant of growing louder
	release = 600 * time.Millisecond // time constant of growing quieter
	// stale is how long the newest packet counts when no other comes: senders with discontinuous transmission stop in silence.
	stale = 200 * time.Millisecond
)

// Meter is the loudness of one track, from 0 for silence to 127. The zero value has heard nothing. It is not safe for concurrent use.
type Meter struct {
	loudness float32
	newest   float32
	at       int64 // time up to which loudness is
	heard    int64 // arrival of the newest packet
	started  bool
}

// Add takes the level of a packet that came in at now. A packet that comes before the newest one by its time is taken for as new. Hot path.
func (m *Meter) Add(l Level, now int64) {
	m.advance(now)
	m.newest, m.heard, m.started = float32(Silence-min(l.DBov, Silence)), max(now, m.heard), true
}

// Loudness is the smoothed loudness at now.
func (m *Meter) Loudness(now int64) float32 {
	m.advance(now)
	return m.loudness
}

// advance brings the loudness to now: towards the newest level while it counts, towards silence after.
func (m *Meter) advance(now int64) {
	if !m.started {
		m.at = now
		return
	}
	if end := m.heard + int64(stale); m.at < end {
		m.follow(m.newest, min(now, end))
	}
	m.follow(0, now)
}

// follow moves towards a level until a time, by a first-order filter in its linear form: exact for short steps, and never beyond the level for long ones.
func (m *Meter) follow(level float32, until int64) {
	if until <= m.at {
		return
	}
	constant := release
	if level > m.loudness {
		constant = attack
	}
	step := float32(until - m.at)
	m.loudness += (level - m.loudness) * step / (step + float32(constant))
	m.at = until
}

// Loud is a publisher in a Ranking.
type Loud[ID comparable] struct {
	ID       ID
	Loudness float32
	Since    int64 // when it came into the list
}

// Config says how a Ranking chooses. The zero value of a field means its default.
type Config struct {
	Size      int           // publishers in the list; 3
	Threshold float32       // loudness below which nobody speaks; 77, which is −50 dBov
	Margin    float32       // by how much a newcomer must be louder than whom it replaces; 6
	Confirm   time.Duration // for how long it must be loud before it comes in; 300 ms
	Hold      time.Duration // for how long who came in stays at least; 2 s
}

func (c Config) withDefaults() Config {
	c.Size, c.Threshold, c.Margin = cmp.Or(c.Size, 3), cmp.Or(c.Threshold, 77), cmp.Or(c.Margin, 6)
	c.Confirm, c.Hold = cmp.Or(c.Confirm, 300*time.Millisecond), cmp.Or(c.Hold, 2*time.Second)
	return c
}

// Ranking is the list of a router's loudest publishers. Make one with NewRanking. It is not safe for concurrent use.
type Ranking[ID comparable] struct {
	config Config
	list   []Loud[ID]
	since  map[ID]int64 // when those outside the list began to be loud
	led    int64        // when the first became it
}

// NewRanking makes an empty ranking.
func NewRanking[ID comparable](c Config) *Ranking[ID] {
	return &Ranking[ID]{config: c.withDefaults(), since: map[ID]int64{}}
}

// Update takes the loudness of all publishers at now, some ten times a second, and reports whether someone came into the list, left it or became its first.
// Who is no longer among the publishers leaves at once.
func (r *Ranking[ID]) Update(now int64, publishers map[ID]float32) (changed bool) {
	before, first := len(r.list), r.first()
	r.list = slices.DeleteFunc(r.list, func(l Loud[ID]) bool {
		loudness, ok := publishers[l.ID]
		return !ok || loudness < r.config.Threshold && now-l.Since >= int64(r.config.Hold)
	})
	changed = len(r.list) != before
	for i := range r.list {
		r.list[i].Loudness = publishers[r.list[i].ID]
	}
	for _, c := range r.candidates(now, publishers) {
		changed = r.admit(c) || changed
	}
	if r.lead(now) {
		return true
	}
	if r.first() != first { // the first left, or is the only one
		r.led = now
	}
	return changed
}

// first is the active speaker; the zero value when nobody speaks.
func (r *Ranking[ID]) first() (id ID) {
	if len(r.list) > 0 {
		id = r.list[0].ID
	}
	return id
}

// List is who speaks, the active speaker first. The caller must not change it; it is valid until the next Update.
func (r *Ranking[ID]) List() []Loud[ID] { return r.list }

// candidates are those outside the list who have been loud for long enough, the loudest first.
func (r *Ranking[ID]) candidates(now int64, publishers map[ID]float32) []Loud[ID] {
	var out []Loud[ID]
	for id := range r.since {
		if publishers[id] < r.config.Threshold {
			delete(r.since, id)
		}
	}
	for id, loudness := range publishers {
		if loudness < r.config.Threshold || r.position(id) >= 0 {
			continue
		}
		since, ok := r.since[id]
		if !ok {
			since = now
			r.since[id] = since
		}
		if now-since >= int64(r.config.Confirm) {
			out = append(out, Loud[ID]{ID: id, Loudness: loudness, Since: now})
		}
	}
	slices.SortFunc(out, func(a, b Loud[ID]) int {
		return cmp.Or(cmp.Compare(b.Loudness, a.Loudness), cmp.Compare(r.since[a.ID], r.since[b.ID]))
	})
	return out
}

func (r *Ranking[ID]) position(id ID) int {
	return slices.IndexFunc(r.list, func(l Loud[ID]) bool { return l.ID == id })
}

// admit puts a candidate into the list when there is room, or in the place of the quietest whose hold is over.
func (r *Ranking[ID]) admit(c Loud[ID]) bool {
	if len(r.list) >= r.config.Size {
		quietest := -1
		for i, l := range r.list {
			if c.Since-l.Since >= int64(r.config.Hold) && c.Loudness >= l.Loudness+r.config.Margin && (quietest < 0 || l.Loudness < r.list[quietest].Loudness) {
				quietest = i
			}
		}
		if quietest < 0 {
			return false
		}
		r.list = slices.Delete(r.list, quietest, quietest+1)
	}
	r.list = append(r.list, c)
	delete(r.since, c.ID)
	return true
}

// lead makes the loudest the first when the one who is has become quiet, or is louder than that by the margin. Who is first stays it for the hold.
func (r *Ranking[ID]) lead(now int64) bool {
	if len(r.list) < 2 || now-r.led < int64(r.config.Hold) {
		return false
	}
	loudest := 0
	for i, l := range r.list {
		if l.Loudness > r.list[loudest].Loudness {
			loudest = i
		}
	}
	first := r.list[0]
	if loudest == 0 || first.Loudness >= r.config.Threshold && r.list[loudest].Loudness < first.Loudness+r.config.Margin {
		return false
	}
	r.led = now
	next := r.list[loudest]
	r.list = slices.Insert(slices.Delete(r.list, loudest, loudest+1), 0, next)
	return true
}
