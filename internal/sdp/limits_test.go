package sdp

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func isOurs(err error) bool {
	return errors.Is(err, ErrMalformed) || errors.Is(err, ErrLimit) || errors.Is(err, ErrUnacceptable)
}

// repeat writes n lines, each from format and its number.
func repeat(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format+"\n", i)
	}
	return b.String()
}

// Each limit holds at its value and refuses one more.
func TestLimits(t *testing.T) {
	const head = 12 // lines of offerWith
	tests := map[string]struct {
		text  func(n int) string
		limit int
		says  string
	}{
		"bytes": {func(n int) string {
			text := offerWith()
			for len(text) < n {
				text += "s=" + strings.Repeat("x", min(1000, max(0, n-len(text)-3))) + "\n"
			}
			return text[:n]
		}, 64 << 10, "bytes, at most 65536"},
		"lines":      {func(n int) string { return offerWith() + strings.Repeat("a=x\n", n-head) }, 2000, "line 2001: more than 2000 lines"},
		"line":       {func(n int) string { return offerWith() + "a=" + strings.Repeat("x", n-2) }, 2048, "line 13: more than 2048 bytes in a line"},
		"sections":   {func(n int) string { return offerWith() + repeat(n-1, "m=video 0 UDP/TLS/RTP/SAVPF 96\na=mid:v%d") }, 32, "more than 32 media sections"},
		"candidates": {func(n int) string { return offerWith() + repeat(n, "a=candidate:%d 1 udp 1 192.0.2.1 1 typ host") }, 30, "more than 30 candidates"},
		"ssrcs":      {func(n int) string { return offerWith() + repeat(n, "a=ssrc:%d cname:x") }, 64, "more than 64 ssrc lines"},
		"grouped":    {func(n int) string { return offerWith() + "a=ssrc-group:SIM" + strings.Repeat(" 1", n) }, 64, "more than 64 SSRCs in groups"},
		"rids":       {func(n int) string { return offerWith() + repeat(n, "a=rid:r%d send") }, 8, "more than 8 rid lines"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(test.text(test.limit)), DefaultLimits)
			require.NoError(t, err)
			for _, n := range []int{test.limit + 1, test.limit * 10} {
				if _, err = Parse([]byte(test.text(n)), DefaultLimits); name != "lines" || n < 5000 {
					require.ErrorContains(t, err, test.says)
				}
				require.ErrorIs(t, err, ErrLimit)
			}
		})
	}
}

// bombs are texts made to cost time. Those with refused must fail at a limit;
// the others stay inside the limits and are only to be cheap.
var bombs = []struct {
	name    string
	text    string
	refused bool
}{
	{"10,000 candidates", offerWith() + repeat(10000, "a=candidate:%d 1 udp 2122260223 192.0.2.1 1000 typ host"), true},
	{"1,000 candidates", offerWith() + repeat(1000, "a=candidate:%d 1 udp 2122260223 192.0.2.1 1000 typ host"), true},
	{"10,000 ssrc lines", offerWith() + repeat(10000, "a=ssrc:%d cname:x"), true},
	{"2,000 ssrc lines", offerWith() + repeat(1900, "a=ssrc:%d cname:x"), true},
	{"1,000 sections", offerWith() + repeat(1000, "m=video 9 UDP/TLS/RTP/SAVPF 96\na=mid:v%d"), true},
	{"1,000 rids", offerWith() + repeat(1000, "a=rid:r%d send"), true},
	{"1 MiB", offerWith() + strings.Repeat("a=x\n", 1<<18), true},
	{"one long line", offerWith() + "a=" + strings.Repeat("x", 60000), true},
	{"15,000 blank lines", offerWith() + strings.Repeat("\n", 15000), true},
	{"64 KiB before v=0", strings.Repeat("x\n", 31<<10) + offerWith(), false},
	{"candidates in each section", offerWith() + strings.Repeat("m=video 9 UDP/TLS/RTP/SAVPF 96\n"+repeat(30, "a=candidate:%d 1 udp 1 192.0.2.1 1 typ host"), 31), false},
	{"payload types", offerWith() + strings.Repeat("m=video 9 UDP/TLS/RTP/SAVPF"+strings.Repeat(" 96 97 98 99", 150)+"\n", 31), false},
	{"feedback for all", offerWith() + "m=video 9 UDP/TLS/RTP/SAVPF " + manyPTs() + "\n" + manyMaps() + repeat(1800, "a=rtcp-fb:* x%d"), false},
	{"fmtp joined", offerWith() + repeat(1700, "a=fmtp:111 parameter=%d;and=more"), false},
	{"extensions", strings.Replace(offerWith(), "m=audio", repeat(1800, "a=extmap:%d urn:x")+"m=audio", 1) + strings.Repeat("m=video 9 UDP/TLS/RTP/SAVPF 96\n", 31), false},
	{"ice options", offerWith() + strings.Repeat(repeat(1, "m=video 9 UDP/TLS/RTP/SAVPF 96%d\na=ice-options:"+words(480)), 31), false},
	{"bundle group", offerWith() + repeat(25, "a=group:BUNDLE %d"+words(480)), false},
	{"simulcast", offerWith() + "a=rid:0 send\n" + repeat(30, "a=simulcast:send %d"+strings.Repeat(";0", 1000)), false},
	{"fingerprints", offerWith() + strings.Repeat("a=fingerprint:sha-256 "+testFingerprint.Value+"\n", 500), false},
}

func manyPTs() string {
	var pts []string
	for pt := range 128 {
		pts = append(pts, fmt.Sprint(pt))
	}
	return strings.Join(pts, " ")
}

func manyMaps() string { return repeat(128, "a=rtpmap:%d VP8/90000") }

// words are n different short words.
func words(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, " %x", i)
	}
	return b.String()
}

// maxParseTime is what reading any text may cost; the race detector multiplies.
const maxParseTime = 2 * time.Millisecond

func TestBombs(t *testing.T) {
	for _, bomb := range bombs {
		t.Run(bomb.name, func(t *testing.T) {
			text := []byte(bomb.text)
			best := time.Hour
			for range 10 { // the least of several is what the parser costs
				start := time.Now()
				_, err := Parse(text, DefaultLimits)
				best = min(best, time.Since(start))
				if bomb.refused {
					require.ErrorIs(t, err, ErrLimit)
				} else {
					require.NotErrorIs(t, err, ErrLimit)
				}
			}
			t.Log(best)
			if !raceEnabled {
				require.Less(t, best, maxParseTime)
			}
		})
	}
}

// The pass over the limits allocates nothing.
func TestScanAllocations(t *testing.T) {
	text := []byte(load(t, "chromium_play"))
	allocations := testing.AllocsPerRun(100, func() {
		if err := DefaultLimits.scan(text, 1); err != nil {
			t.Fatal(err)
		}
	})
	require.Zero(t, allocations)
}

func BenchmarkParse(b *testing.B) {
	text := []byte(load(b, "chromium_play"))
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := Parse(text, DefaultLimits); err != nil {
			b.Fatal(err)
		}
	}
}
