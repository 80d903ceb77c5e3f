package datachan

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The queue against a plain slice: the same messages in the same order, the bound kept, the oldest gone first.
func TestQueueModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var q queue
		var model []message
		var next int64
		cost := func() (sum int) {
			for _, m := range model {
				sum += m.cost()
			}
			return sum
		}
		draw := func(t *rapid.T) message {
			next++
			size := rapid.SampledFrom([]int{0, 1, 1000, 64 << 10, MaxMessageBytes, MaxQueuedBytes - messageOverheadBytes}).Draw(t, "bytes")
			return message{data: make([]byte, size), at: time.Unix(next, 0)}
		}
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				m := draw(t)
				fits := cost()+m.cost() <= MaxQueuedBytes
				assert.Equal(t, fits, q.room(m))
				if fits {
					q.push(m)
					model = append(model, m)
					assert.LessOrEqual(t, len(q.messages), 2*q.len()+1, "room for what is gone is used again")
				}
			},
			"push out": func(t *rapid.T) {
				m, dropped := draw(t), 0
				for ; cost()+m.cost() > MaxQueuedBytes; dropped++ {
					model = model[1:]
				}
				model = append(model, m)
				assert.Equal(t, dropped, q.pushOut(m))
			},
			"pop": func(t *rapid.T) {
				m, ok := q.pop()
				require.Equal(t, len(model) > 0, ok)
				if ok {
					assert.Equal(t, model[0].at, m.at)
					model = model[1:]
				}
			},
			"expire": func(t *rapid.T) {
				before, dropped := time.Unix(rapid.Int64Range(0, next+1).Draw(t, "before"), 0), 0
				for len(model) > 0 && model[0].at.Before(before) {
					model = model[1:]
					dropped++
				}
				assert.Equal(t, dropped, q.expire(before))
			},
			"": func(t *rapid.T) {
				assert.Equal(t, len(model), q.len())
				assert.Equal(t, cost(), q.bytes)
				assert.LessOrEqual(t, q.bytes, MaxQueuedBytes)
			},
		})
	})
}

func TestQueueTakesNothingLongerThanItself(t *testing.T) {
	t.Parallel()
	var q queue
	q.push(message{data: []byte("a")})
	assert.Equal(t, 2, q.pushOut(message{data: make([]byte, MaxQueuedBytes)}))
	assert.Zero(t, q.len())
}

// SCTP tells the bytes that it holds; the window must know how many messages those are.
func TestWindow(t *testing.T) {
	t.Parallel()
	var w window
	assert.False(t, w.full(0))
	for range maxHandedMessages {
		w.add(1)
	}
	assert.True(t, w.full(maxHandedMessages), "as many messages as it may hold")
	assert.False(t, w.full(maxHandedMessages-1), "one was acknowledged")
	assert.True(t, w.full(maxHandedBytes), "as many bytes")
	w.add(1)
	assert.True(t, w.full(maxHandedMessages))
	assert.False(t, w.full(0))
	assert.Zero(t, w.bytes)
}
