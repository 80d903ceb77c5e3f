package sdpfrag

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	ufrag = "ysXw"
	pwd   = "vw5LmwG4y/e6dPP/zAP9Gp5k"
	host  = "1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw network-id 1"
	tcp   = "3498147984 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active"
)

func credentials(level string) string {
	return strings.ReplaceAll("a=ice-ufrag:"+ufrag+"\na=ice-pwd:"+pwd+"\n", "\n", level)
}

// lines joins lines with CRLF.
func lines(text ...string) string { return strings.Join(text, "\r\n") + "\r\n" }

// bodies are what clients send.
var bodies = []struct {
	name string
	body string
	want Fragment
}{
	{
		"RFC 9725 example", lines("a=group:BUNDLE 0 1", "m=audio 9 UDP/TLS/RTP/SAVPF 111", "a=mid:0",
			"a=ice-ufrag:"+ufrag, "a=ice-pwd:"+pwd, "a=candidate:"+host, "a=candidate:"+tcp, "a=end-of-candidates"),
		Fragment{Ufrag: ufrag, Pwd: pwd, MIDs: []string{"0"}, Candidates: []string{host, tcp}, EndOfCandidates: true},
	},
	{
		"restart with options", lines("a=ice-options:trickle ice2", "a=ice-lite", "a=group:BUNDLE 0 1", "m=audio 9 UDP/TLS/RTP/SAVPF 111", "a=mid:0",
			"a=ice-ufrag:"+ufrag, "a=ice-pwd:"+pwd),
		Fragment{Ufrag: ufrag, Pwd: pwd, MIDs: []string{"0"}, Lite: true, Options: []string{"trickle", "ice2"}},
	},
	{
		"simple-whip-client: session level, plain AVP", lines("a=ice-ufrag:"+ufrag, "a=ice-pwd:"+pwd, "m=audio 9 RTP/AVP 0", "a=mid:audio0", "a=candidate:"+host),
		Fragment{Ufrag: ufrag, Pwd: pwd, MIDs: []string{"audio0"}, Candidates: []string{host}},
	},
	{
		"Eyevinn: repeated per mid, component 0, LF", "a=ice-ufrag:" + ufrag + "\na=ice-pwd:" + pwd +
			"\nm=audio RTP/AVP 0\na=mid:0\na=candidate:1 0 udp 1 192.0.2.1 1 typ host\nm=audio RTP/AVP 0\na=mid:1\na=candidate:1 0 udp 1 192.0.2.1 1 typ host",
		Fragment{Ufrag: ufrag, Pwd: pwd, MIDs: []string{"0", "1"}, Candidates: []string{"1 0 udp 1 192.0.2.1 1 typ host"}},
	},
	{
		"credentials in each section", lines("m=audio 9 RTP/AVP 0", "a=mid:a", "a=ice-ufrag:"+ufrag, "a=ice-pwd:"+pwd,
			"m=video 9 RTP/AVP 0", "a=mid:v", "a=ice-ufrag:"+ufrag, "a=ice-pwd:"+pwd, "a=end-of-candidates"),
		Fragment{Ufrag: ufrag, Pwd: pwd, MIDs: []string{"a", "v"}, EndOfCandidates: true},
	},
	{
		"candidates alone", lines("m=video 9 UDP/TLS/RTP/SAVPF 96", "a=mid:0", "a=candidate:"+host),
		Fragment{MIDs: []string{"0"}, Candidates: []string{host}},
	},
	{"as scripts get them", "candidate:" + host + "\ncandidate:\n", Fragment{Candidates: []string{host}, EndOfCandidates: true}},
	{"ufrag alone", lines("a=ice-ufrag:"+ufrag, "a=candidate:"+host), Fragment{Ufrag: ufrag, Candidates: []string{host}}},
	{"the end alone", "a=end-of-candidates", Fragment{EndOfCandidates: true}},
	{"mDNS, blank lines, blanks", "\r\n  a=candidate:1 1 udp 1 4f1d.local 1 typ host \r\n\r\n", Fragment{Candidates: []string{"1 1 udp 1 4f1d.local 1 typ host"}}},
	{"a whole description", "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n" + credentials("\r\n"), Fragment{Ufrag: ufrag, Pwd: pwd}},
}

func TestParse(t *testing.T) {
	for _, test := range bodies {
		t.Run(test.name, func(t *testing.T) {
			got, err := Parse([]byte(test.body), DefaultLimits)
			require.NoError(t, err)
			require.Equal(t, test.want, got)
		})
	}
}

func TestParseErrors(t *testing.T) {
	tests := map[string]struct{ body, says string }{
		"empty":                 {"", "neither candidates, credentials nor end-of-candidates"},
		"nothing about ICE":     {lines("m=audio 9 RTP/AVP 0", "a=mid:0"), "neither candidates"},
		"web page":              {"<html>", "line 1: not of the form"},
		"JSON":                  {`{"candidate":"x"}`, "line 1: not of the form"},
		"control character":     {"a=mid:0\na=candidate:\x00", "line 2: control character"},
		"CR inside":             {"a=candidate:x\ry", "line 1: control character"},
		"two ufrags":            {credentials("\n") + "a=ice-ufrag:other\n", "line 3: ice-ufrag conflicts"},
		"two passwords":         {credentials("\n") + "m=audio 9 RTP/AVP 0\na=ice-pwd:other" + pwd, "line 4: ice-pwd conflicts"},
		"password without name": {"a=ice-pwd:" + pwd, "ice-pwd without ice-ufrag"},
		"short ufrag":           {"a=ice-ufrag:abc", "ice-ufrag of 3 characters"},
		"short password":        {"a=ice-ufrag:abcd\na=ice-pwd:abc", "ice-pwd of 3 characters"},
		"long password":         {"a=ice-ufrag:abcd\na=ice-pwd:" + strings.Repeat("x", 257), "ice-pwd of 257 characters"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(test.body), DefaultLimits)
			require.ErrorIs(t, err, ErrMalformed)
			require.ErrorContains(t, err, test.says)
		})
	}
}

func repeated(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format+"\n", i)
	}
	return b.String()
}

// words are n different short words.
func words(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, " x%x", i)
	}
	return b.String()
}

func TestLimits(t *testing.T) {
	tests := map[string]struct {
		body  func(n int) string
		limit int
		says  string
	}{
		"bytes": {func(n int) string {
			return ("a=end-of-candidates\n" + strings.Repeat("a=x\n", n/4))[:n]
		}, 16 << 10, "bytes, at most 16384"},
		"line":       {func(n int) string { return "a=end-of-candidates\na=" + strings.Repeat("x", n-2) }, 2048, "line 2: more than 2048 bytes"},
		"candidates": {func(n int) string { return repeated(n, "a=candidate:%d") }, 30, "line 31: more than 30 candidates"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(test.body(test.limit)), DefaultLimits)
			if !errors.Is(err, ErrMalformed) { // a body cut inside a line may be that
				require.NoError(t, err)
			}
			for _, n := range []int{test.limit + 1, test.limit * 10} {
				_, err = Parse([]byte(test.body(n)), DefaultLimits)
				require.ErrorIs(t, err, ErrLimit)
			}
			_, err = Parse([]byte(test.body(test.limit+1)), DefaultLimits)
			require.ErrorContains(t, err, test.says)
		})
	}
}

// Nothing that fits is kept in lists so long that looking through them costs,
// however it is filled. The time is generous, for the race detector.
func TestBombs(t *testing.T) {
	for name, body := range map[string]string{
		"mids":               repeated(1500, "a=mid:%x"),
		"options":            repeated(8, "a=ice-options:%d"+words(320)),
		"candidates":         repeated(900, "a=candidate:%d"),
		"repeated candidate": strings.Repeat("a=candidate:"+host+"\n", 150),
		"sections":           strings.Repeat("m=x\n", 4000),
		"credentials":        strings.Repeat(credentials("\n"), 250),
	} {
		t.Run(name, func(t *testing.T) {
			require.LessOrEqual(t, len(body), DefaultLimits.Bytes)
			best := time.Hour
			for range 10 {
				start := time.Now()
				f, _ := Parse([]byte(body), DefaultLimits)
				best = min(best, time.Since(start))
				require.LessOrEqual(t, len(f.MIDs), maxListed)
				require.LessOrEqual(t, len(f.Options), maxListed)
			}
			require.Less(t, best, 20*time.Millisecond)
		})
	}
}

func TestParsePrefixes(t *testing.T) {
	for _, test := range bodies {
		for n := range test.body {
			_, err := Parse([]byte(test.body[:n]), DefaultLimits)
			require.True(t, err == nil || errors.Is(err, ErrMalformed), "%s cut at %d: %v", test.name, n, err)
		}
	}
}

func TestMarshal(t *testing.T) {
	f := Fragment{Ufrag: ufrag, Pwd: pwd, Candidates: []string{host, tcp}, EndOfCandidates: true, Lite: true, Options: []string{"trickle"}}
	require.Equal(t, lines("a=ice-lite", "a=ice-options:trickle", "m=audio 9 UDP/TLS/RTP/SAVPF 0", "a=mid:audio0",
		"a=ice-ufrag:"+ufrag, "a=ice-pwd:"+pwd, "a=candidate:"+host, "a=candidate:"+tcp, "a=end-of-candidates"),
		f.Marshal("audio", "audio0"))

	got, err := Parse([]byte(f.Marshal("audio", "audio0")), DefaultLimits)
	require.NoError(t, err)
	f.MIDs = []string{"audio0"}
	require.Equal(t, f, got)
	require.NotContains(t, Fragment{Ufrag: ufrag, Pwd: pwd}.Marshal("video", "1"), "end-of-candidates")
}

// What Parse accepts and has credentials comes back the same from Marshal.
func FuzzParse(f *testing.F) {
	for _, test := range bodies {
		f.Add([]byte(test.body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := Parse(body, DefaultLimits)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrLimit) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		if len(got.Candidates) > DefaultLimits.Candidates {
			t.Fatalf("%d candidates", len(got.Candidates))
		}
		if got.Pwd == "" {
			return
		}
		text := got.Marshal("audio", "0")
		again, err := Parse([]byte(text), Limits{Bytes: len(text), LineBytes: 1 << 20, Candidates: 30})
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		got.MIDs, again.MIDs = nil, nil
		if fmt.Sprint(got) != fmt.Sprint(again) {
			t.Fatalf("%v became %v", got, again)
		}
	})
}
