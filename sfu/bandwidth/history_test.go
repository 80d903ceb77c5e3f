package bandwidth

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestHistoryFinds(t *testing.T) {
	var h history
	_, ok := h.extend(7)
	assert.False(t, ok, "nothing was sent")
	for n := range 3 * historySize {
		h.add(uint16(65_000+n), 100+n%1000, uint8(n%64), int64(n)*1_000_000)
	}
	newest := uint16((65_000 + 3*historySize - 1) % 65536)
	for back := range uint16(historySize) {
		n, ok := h.extend(newest - back)
		require.True(t, ok)
		r := h.find(n)
		require.NotNil(t, r, "%d back", back)
		sent := 3*historySize - 1 - int(back)
		assert.Equal(t, uint16(100+sent%1000), r.bytes)
		assert.Equal(t, uint8(sent%64), r.cluster())
		assert.Equal(t, fateUnknown, r.fate())
		assert.Equal(t, int64(sent)*1000, h.sentMicros(r, int64(4*historySize)*1_000_000))
	}
	n, ok := h.extend(newest - historySize)
	require.True(t, ok)
	assert.Nil(t, h.find(n), "forgotten")
	assert.Nil(t, h.find(h.highest+1), "not sent yet")
}

// Numbers that were never given out have no record, though an older packet has been where theirs would be.
func TestHistorySkippedNumbers(t *testing.T) {
	var h history
	for n := range uint16(historySize) {
		h.add(n, 100, 0, 0)
	}
	h.add(historySize+10, 200, 0, 0)
	for back := range uint64(10) {
		assert.Nil(t, h.find(h.highest-1-back))
	}
	assert.NotNil(t, h.find(h.highest-11))
	assert.NotNil(t, h.find(h.highest))
}

// The send time is kept in 32 bits of microseconds, which wrap each 71 minutes.
func TestHistoryTimesWrap(t *testing.T) {
	var h history
	const hour = int64(3600) * 1_000_000_000
	for i := range int64(5) {
		at := i*hour*71/60 + hour
		h.add(uint16(i), 1, 0, at)
		r := h.find(h.highest)
		require.NotNil(t, r)
		assert.Equal(t, at/1000, h.sentMicros(r, at+300_000_000))
	}
}

func TestHistoryFates(t *testing.T) {
	r := record{mark: 63 << 2}
	for _, fate := range []int{fateLost, fateArrived, fateUnknown} {
		r.setFate(fate)
		assert.Equal(t, fate, r.fate())
		assert.Equal(t, uint8(63), r.cluster())
	}
}

// Any order of calls, with any feedback, leaves an estimate within its bounds.
func TestViewerStaysSane(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := NewViewer(Config{}, 0)
		v.SetRungs([]Rung{{ID: 3, Bitrate: 100_000}, {ID: 4, Bitrate: 900_000}})
		now, number := int64(0), rapid.Uint16().Draw(t, "number")
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now += rapid.Int64Range(0, 3_000_000_000).Draw(t, "pause")
			switch rapid.IntRange(0, 5).Draw(t, "call") {
			case 0:
				for range rapid.IntRange(1, 50).Draw(t, "packets") {
					v.Sent(number, rapid.IntRange(0, 70_000).Draw(t, "bytes"), now)
					number++
				}
			case 1:
				_ = v.Feedback(buildReport(t), now)
			case 2:
				v.REMB(rapid.Uint64().Draw(t, "remb"), now)
			case 3:
				v.ReceiverReport(rapid.Byte().Draw(t, "lost"), rapid.Int64Range(0, 5_000_000_000).Draw(t, "round trip"), now)
			case 4:
				v.Tick(now)
				for range 100 {
					bytes, ok := v.Probe(now)
					if !ok {
						break
					}
					v.Sent(number, bytes, now)
					number++
				}
			case 5:
				choice := v.Choose(now)
				require.Contains(t, []int{3, 4}, choice.ID)
				require.GreaterOrEqual(t, v.NextAt(now), now)
			}
			checkSane(t, v)
		}
	})
}
