package rtcpx_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"

	"rheomesh/internal/rtcpx"
)

func TestNTP(t *testing.T) {
	for _, row := range []struct {
		name string
		time time.Time
		want uint64
	}{
		{"Unix epoch", time.Unix(0, 0), 2208988800 << 32},
		{"half a second", time.Date(2024, 1, 1, 0, 0, 0, 5e8, time.UTC), 3913056000<<32 | 1<<31},
		{"last nanosecond of a second", time.Date(2024, 1, 1, 0, 0, 0, 999999999, time.UTC), 3913056000<<32 | 4294967292},
		{"last second of era 0", time.Date(2036, 2, 7, 6, 28, 15, 0, time.UTC), (1<<32 - 1) << 32},
		{"first second of era 1", time.Date(2036, 2, 7, 6, 28, 16, 0, time.UTC), 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			assert.Equal(t, row.want, rtcpx.NTP(row.time))
			assert.True(t, row.time.Equal(rtcpx.NTPTime(row.want)), "got %s", rtcpx.NTPTime(row.want))
		})
	}
	assert.Equal(t, uint32(0x12345678), rtcpx.MiddleNTP(0xabcd12345678ef01))
}

func TestNTPRoundTrip(t *testing.T) {
	first, last := time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		seconds := rapid.Int64Range(first.Unix(), last.Unix()).Draw(t, "seconds")
		want := time.Unix(seconds, rapid.Int64Range(0, 999999999).Draw(t, "nanoseconds")).UTC()
		assert.Equal(t, want, rtcpx.NTPTime(rtcpx.NTP(want)))
	})
}

func TestRoundTrip(t *testing.T) {
	sent := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	block := rtcpx.ReportBlock{LastSR: rtcpx.MiddleNTP(rtcpx.NTP(sent)), Delay: 1 << 16}
	for _, row := range []struct {
		name  string
		block rtcpx.ReportBlock
		now   time.Time
		want  time.Duration
		ok    bool
	}{
		{"a quarter second", block, sent.Add(1250 * time.Millisecond), 250 * time.Millisecond, true},
		{"none", block, sent.Add(time.Second), 0, true},
		{"negative", block, sent.Add(900 * time.Millisecond), 0, false},
		{"no sender report", rtcpx.ReportBlock{}, sent, 0, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, ok := row.block.RoundTrip(row.now)
			assert.Equal(t, row.ok, ok)
			assert.Equal(t, row.want, got)
		})
	}
}
