package client

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// lines joins with the line ends of SDP.
func lines(text ...string) string { return strings.Join(text, "\r\n") + "\r\n" }

var description = lines("v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "a=group:BUNDLE a b",
	"m=audio 9 UDP/TLS/RTP/SAVPF 111", "a=mid:a", "a=ice-ufrag:old", "a=ice-pwd:oldpwd", "a=candidate:1 x", "a=candidate:2 y", "a=end-of-candidates",
	"m=video 9 UDP/TLS/RTP/SAVPF 96", "a=mid:b", "a=ice-ufrag:old", "a=ice-pwd:oldpwd", "a=candidate:1 x", "a=sendrecv")

func TestFragmentOf(t *testing.T) {
	want := fragment{ufrag: "old", pwd: "oldpwd", candidates: []string{"candidate:1 x", "candidate:2 y"}, complete: true}
	assert.Equal(t, want, fragmentOf(description))
	assert.Equal(t, want, fragmentOf(strings.ReplaceAll(description, "\r\n", "\n")), "lax line ends")
	assert.Equal(t, fragment{}, fragmentOf(""))
}

func TestFragmentMarshal(t *testing.T) {
	f := fragment{ufrag: "u", pwd: "p", candidates: []string{"candidate:1 x"}, complete: true}
	assert.Equal(t, lines("a=ice-ufrag:u", "a=ice-pwd:p", "m=audio 9 UDP/TLS/RTP/SAVPF 111", "a=mid:a", "a=candidate:1 x", "a=end-of-candidates"),
		f.marshal(description))
	assert.Equal(t, f, fragmentOf(f.marshal(description)))
	f.complete = false
	assert.NotContains(t, f.marshal(description), "end-of-candidates")
}

func TestFragmentApply(t *testing.T) {
	f := fragment{ufrag: "new", pwd: "newpwd", candidates: []string{"candidate:3 z"}}
	assert.Equal(t, lines("v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "a=group:BUNDLE a b",
		"m=audio 9 UDP/TLS/RTP/SAVPF 111", "a=mid:a", "a=ice-ufrag:new", "a=ice-pwd:newpwd", "a=candidate:3 z", "a=end-of-candidates",
		"m=video 9 UDP/TLS/RTP/SAVPF 96", "a=mid:b", "a=ice-ufrag:new", "a=ice-pwd:newpwd", "a=sendrecv"), f.apply(description))
}

func TestSections(t *testing.T) {
	assert.Len(t, sections(description), 3)
	assert.Equal(t, description, strings.Join(sections(description), ""))
	assert.Len(t, sections(""), 1)
}

func TestRefused(t *testing.T) {
	tests := []struct {
		name, answer string
		want         bool
	}{
		{"accepted", description, false},
		{"port 0", strings.Replace(description, "m=video 9", "m=video 0", 1), true},
		{"inactive", strings.Replace(description, "a=sendrecv", "a=inactive", 1), true},
		{"absent", strings.Replace(description, "a=mid:b", "a=mid:c", 1), true},
		{"no port", strings.Replace(description, "m=video 9 UDP/TLS/RTP/SAVPF 96", "m=video", 1), true},
		{"empty", "", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { assert.Equal(t, test.want, refused(test.answer, "b")) })
	}
}

func FuzzFragment(f *testing.F) {
	f.Add(description)
	f.Add("m=\nm=")
	f.Fuzz(func(t *testing.T, text string) {
		read := fragmentOf(text)
		read.marshal(text)
		applied := read.apply(text)
		again := fragmentOf(applied)
		if len(sections(text)) > 1 {
			assert.Len(t, again.candidates, len(read.candidates))
		}
		refused(text, "0")
	})
}
