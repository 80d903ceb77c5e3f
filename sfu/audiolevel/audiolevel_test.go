package audiolevel_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"rheomesh/sfu/audiolevel"
)

const frame = 20 * time.Millisecond // of Opus

func TestParse(t *testing.T) {
	for _, row := range []struct {
		name  string
		value []byte
		want  audiolevel.Level
		ok    bool
	}{
		{"voice", []byte{0x80 | 30}, audiolevel.Level{Voice: true, DBov: 30}, true},
		{"silence", []byte{127}, audiolevel.Level{DBov: audiolevel.Silence}, true},
		{"loudest, padded", []byte{0, 0}, audiolevel.Level{}, true},
		{"empty", nil, audiolevel.Level{}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, ok := audiolevel.Parse(row.value)
			assert.Equal(t, row.ok, ok)
			assert.Equal(t, row.want, got)
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte{0xff})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, value []byte) {
		l, ok := audiolevel.Parse(value)
		require.Equal(t, len(value) > 0, ok)
		require.LessOrEqual(t, l.DBov, uint8(audiolevel.Silence))
	})
}

// say feeds a level from one time to another and returns the time after.
func say(m *audiolevel.Meter, from, to time.Duration, dbov uint8) {
	for at := from; at < to; at += frame {
		m.Add(audiolevel.Level{DBov: dbov}, int64(at))
	}
}

func TestMeter(t *testing.T) {
	t.Run("nothing heard", func(t *testing.T) {
		var m audiolevel.Meter
		assert.Zero(t, m.Loudness(int64(time.Hour)))
	})
	t.Run("rises fast and falls slowly", func(t *testing.T) {
		var m audiolevel.Meter
		say(&m, 0, 300*time.Millisecond, 27)
		loud := m.Loudness(int64(300 * time.Millisecond))
		assert.Greater(t, loud, float32(85))
		say(&m, 300*time.Millisecond, 600*time.Millisecond, 127)
		after := m.Loudness(int64(600 * time.Millisecond))
		assert.Greater(t, after, float32(50), "a pause between words")
		assert.Less(t, after, loud)
		say(&m, 600*time.Millisecond, 4*time.Second, 127)
		assert.Less(t, m.Loudness(int64(4*time.Second)), float32(3))
	})
	t.Run("never beyond the level", func(t *testing.T) {
		var m audiolevel.Meter
		say(&m, 0, 10*time.Second, 60)
		assert.InDelta(t, 67, m.Loudness(int64(10*time.Second)), 0.5)
	})
	t.Run("a sender that stops in silence", func(t *testing.T) {
		var m audiolevel.Meter
		say(&m, 0, time.Second, 20)
		assert.Less(t, m.Loudness(int64(10*time.Second)), float32(10))
		m.Add(audiolevel.Level{DBov: 20}, int64(10*time.Second))
		assert.Less(t, m.Loudness(int64(10*time.Second)), float32(10), "one packet does not count for the gap before it")
	})
	t.Run("time that goes backwards", func(t *testing.T) {
		var m audiolevel.Meter
		say(&m, time.Second, 2*time.Second, 20)
		before := m.Loudness(int64(2 * time.Second))
		m.Add(audiolevel.Level{DBov: 127}, int64(time.Second))
		assert.Equal(t, before, m.Loudness(int64(time.Second)))
	})
}

// talk is who speaks when, at −30 dBov unless told.
type talk struct {
	id       string
	from, to time.Duration
	dbov     uint8
}

// conversation plays talks to meters and a ranking and returns the first of the list over time, and how often the list changed.
func conversation(r *audiolevel.Ranking[string], length time.Duration, talks ...talk) (first []string, changes int) {
	meters := map[string]*audiolevel.Meter{}
	for _, k := range talks {
		meters[k.id] = new(audiolevel.Meter)
	}
	for at := time.Duration(0); at < length; at += frame {
		for id, m := range meters {
			level := audiolevel.Level{DBov: 90} // room noise
			for _, k := range talks {
				if k.id == id && at >= k.from && at < k.to {
					level.DBov = k.dbov
				}
			}
			m.Add(level, int64(at))
		}
		if at%(100*time.Millisecond) != 0 {
			continue
		}
		loudness := map[string]float32{}
		for id, m := range meters {
			loudness[id] = m.Loudness(int64(at))
		}
		if r.Update(int64(at), loudness) {
			changes++
		}
		speaker := ""
		if l := r.List(); len(l) > 0 {
			speaker = l[0].ID
		}
		first = append(first, speaker)
	}
	return first, changes
}

func TestRanking(t *testing.T) {
	const s = time.Second
	t.Run("a conversation of two", func(t *testing.T) {
		r := audiolevel.NewRanking[string](audiolevel.Config{})
		first, changes := conversation(r, 20*s, talk{"a", 1 * s, 6 * s, 30}, talk{"b", 7 * s, 14 * s, 30})
		assert.Equal(t, "", first[10])
		assert.Equal(t, "a", first[20])
		assert.Equal(t, "a", first[55])
		assert.Equal(t, "b", first[100])
		assert.Equal(t, "", first[199])
		assert.LessOrEqual(t, changes, 5)
	})
	t.Run("a cough is not speech", func(t *testing.T) {
		r := audiolevel.NewRanking[string](audiolevel.Config{})
		first, _ := conversation(r, 5*s, talk{"a", 1 * s, 1*s + 120*time.Millisecond, 20})
		assert.NotContains(t, first, "a")
	})
	t.Run("pauses between words do not end it", func(t *testing.T) {
		r := audiolevel.NewRanking[string](audiolevel.Config{})
		var words []talk
		for at := s; at < 10*s; at += 600 * time.Millisecond {
			words = append(words, talk{"a", at, at + 400*time.Millisecond, 25})
		}
		first, changes := conversation(r, 10*s, words...)
		assert.Equal(t, 1, changes)
		assert.Equal(t, "a", first[len(first)-1])
	})
	t.Run("equally loud speakers do not take turns", func(t *testing.T) {
		r := audiolevel.NewRanking[string](audiolevel.Config{Size: 1})
		_, changes := conversation(r, 20*s, talk{"a", 1 * s, 20 * s, 30}, talk{"b", 2 * s, 20 * s, 31}, talk{"c", 2 * s, 20 * s, 29})
		assert.Equal(t, 1, changes)
	})
	t.Run("a louder one comes in, not before the hold is over", func(t *testing.T) {
		r := audiolevel.NewRanking[string](audiolevel.Config{Size: 1})
		first, changes := conversation(r, 10*s, talk{"a", 1 * s, 10 * s, 45}, talk{"b", 2 * s, 10 * s, 20})
		assert.Equal(t, 2, changes)
		assert.Equal(t, "a", first[30])
		assert.Equal(t, "b", first[45])
	})
	t.Run("the loudest three of many", func(t *testing.T) {
		r := audiolevel.NewRanking[string](audiolevel.Config{})
		conversation(r, 10*s, talk{"a", 0, 10 * s, 20}, talk{"b", 0, 10 * s, 30}, talk{"c", 0, 10 * s, 35}, talk{"d", 0, 10 * s, 40}, talk{"e", 0, 10 * s, 49})
		var ids []string
		for _, l := range r.List() {
			ids = append(ids, l.ID)
		}
		assert.ElementsMatch(t, []string{"a", "b", "c"}, ids)
		assert.Equal(t, "a", ids[0])
	})
	t.Run("who leaves is not in the list", func(t *testing.T) {
		r := audiolevel.NewRanking[string](audiolevel.Config{})
		require.False(t, r.Update(0, map[string]float32{"a": 100}))
		require.True(t, r.Update(int64(s), map[string]float32{"a": 100}))
		require.True(t, r.Update(int64(s)+1, nil))
		assert.Empty(t, r.List())
	})
}

func BenchmarkMeterAdd(b *testing.B) {
	var m audiolevel.Meter
	now := int64(0)
	for b.Loop() {
		now += int64(frame)
		m.Add(audiolevel.Level{DBov: 30}, now)
	}
}
