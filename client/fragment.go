package client

import (
	"fmt"
	"strings"
)

// fragment is the ICE part of a description (RFC 8840 §4.4): the credentials, and candidate lines
// without their "a=".
type fragment struct {
	ufrag, pwd string
	candidates []string
	complete   bool // end-of-candidates: none will follow
}

// fragmentOf reads the ICE part of an SDP or of a fragment. Under max-bundle there is one transport, so
// the first credentials are those of all, and a candidate that stands in several sections counts once.
func fragmentOf(text string) fragment {
	var f fragment
	seen := map[string]bool{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch {
		case name == "a=ice-ufrag" && f.ufrag == "":
			f.ufrag = value
		case name == "a=ice-pwd" && f.pwd == "":
			f.pwd = value
		case name == "a=candidate" && !seen[value]:
			seen[value] = true
			f.candidates = append(f.candidates, "candidate:"+value)
		case name == "a=end-of-candidates":
			f.complete = true
		}
	}
	return f
}

// marshal writes the fragment for the first section of offer, to which everything is bundled
// (RFC 9725 §4.3.2: only the offerer-tagged section appears).
func (f fragment) marshal(offer string) string {
	var out strings.Builder
	section := sections(offer)[1:]
	media, mid := "m=audio 9 UDP/TLS/RTP/SAVPF 0", "0"
	if len(section) > 0 {
		media = lineOf(section[0], "m=")
		mid = strings.TrimPrefix(lineOf(section[0], "a=mid:"), "a=mid:")
	}
	fmt.Fprintf(&out, "a=ice-ufrag:%s\r\na=ice-pwd:%s\r\n%s\r\na=mid:%s\r\n", f.ufrag, f.pwd, media, mid)
	for _, candidate := range f.candidates {
		fmt.Fprintf(&out, "a=%s\r\n", candidate)
	}
	if f.complete {
		out.WriteString("a=end-of-candidates\r\n")
	}
	return out.String()
}

// apply replaces the ICE part of an SDP by that of the fragment: in each section the credentials, and in
// the first the candidates. Everything else of a session stays as it is (RFC 9725 §4.3.3).
func (f fragment) apply(sdp string) string {
	var out strings.Builder
	for i, section := range sections(sdp) {
		for line := range strings.Lines(section) {
			switch name, _, _ := strings.Cut(strings.TrimSpace(line), ":"); name {
			case "a=ice-ufrag":
				line = "a=ice-ufrag:" + f.ufrag + "\r\n"
			case "a=ice-pwd":
				line = "a=ice-pwd:" + f.pwd + "\r\n"
			case "a=candidate", "a=end-of-candidates":
				continue
			}
			out.WriteString(line)
			if !strings.HasSuffix(line, "\n") { // the end of a text whose last line is not ended
				out.WriteString("\r\n")
			}
		}
		if i == 1 {
			f.writeCandidates(&out)
		}
	}
	return out.String()
}

func (f fragment) writeCandidates(out *strings.Builder) {
	for _, candidate := range f.candidates {
		out.WriteString("a=" + candidate + "\r\n")
	}
	out.WriteString("a=end-of-candidates\r\n")
}

// sections splits an SDP before each m-line; the first part is the session's.
func sections(sdp string) (parts []string) {
	start := 0
	for at := 0; ; {
		next := strings.Index(sdp[at:], "\nm=")
		if next < 0 {
			return append(parts, sdp[start:])
		}
		at += next + 1
		parts = append(parts, sdp[start:at])
		start = at
	}
}

// lineOf returns the first line that begins with prefix, without its end.
func lineOf(section, prefix string) string {
	for line := range strings.Lines(section) {
		if strings.HasPrefix(line, prefix) {
			return strings.TrimRight(line, "\r\n")
		}
	}
	return ""
}

// refused reports whether an answer lacks the section with that mid, or rejects it with port 0
// (RFC 8829 §5.3.1), or lets nothing flow.
func refused(answer, mid string) bool {
	for _, section := range sections(answer)[1:] {
		if lineOf(section, "a=mid:") == "a=mid:"+mid {
			fields := strings.Fields(lineOf(section, "m="))
			return len(fields) < 2 || fields[1] == "0" || lineOf(section, "a=inactive") != ""
		}
	}
	return true
}
