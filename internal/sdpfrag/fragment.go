// Package sdpfrag reads and writes trickle ICE fragments: the
// `application/trickle-ice-sdpfrag` bodies (RFC 8840 §9) with which WHIP and
// WHEP clients send further candidates or restart ICE, and with which we
// answer a restart (RFC 9725 §4.3).
//
// Reading is lenient: LF or CRLF, credentials at either level, any media type
// and mid, the same candidate under every mid, no end mark. Whether a fragment
// trickles or restarts is for the caller to tell, by its credentials.
package sdpfrag

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"rheomesh/internal/sdp"
)

// The errors are those of package sdp, so that a caller matches one set.
var (
	ErrMalformed = sdp.ErrMalformed
	ErrLimit     = sdp.ErrLimit
)

// Limits bound what Parse reads.
type Limits struct {
	// Bytes of the body, and LineBytes of one line without its line end.
	Bytes, LineBytes int
	// Candidates is the number of different candidates.
	Candidates int
}

// DefaultLimits leave room for clients that repeat all candidates per mid.
var DefaultLimits = Limits{Bytes: 16 << 10, LineBytes: 2048, Candidates: 30}

// Fragment is the content of one body, over all its media sections: in a
// bundle they share one transport.
type Fragment struct {
	// Ufrag and Pwd are both empty when the fragment only trickles; a ufrag may
	// come alone.
	Ufrag, Pwd string
	// MIDs that the fragment names, each once.
	MIDs []string
	// Candidates are the values after "candidate:", each once, in order.
	Candidates      []string
	EndOfCandidates bool
	Lite            bool
	Options         []string
}

// Parse reads a body and does not keep it. Errors wrap ErrLimit or ErrMalformed
// and name the line.
func Parse(body []byte, l Limits) (Fragment, error) {
	if len(body) > l.Bytes {
		return Fragment{}, fmt.Errorf("%d bytes, at most %d: %w", len(body), l.Bytes, ErrLimit)
	}
	var f Fragment
	number := 0
	for line := range bytes.Lines(body) {
		number++
		if err := f.line(bytes.Trim(line, "\r\n \t"), l); err != nil {
			return Fragment{}, fmt.Errorf("line %d: %w", number, err)
		}
	}
	if err := f.check(); err != nil {
		return Fragment{}, err
	}
	return f, nil
}

func (f *Fragment) line(line []byte, l Limits) error {
	switch {
	case len(line) == 0:
		return nil
	case len(line) > l.LineBytes:
		return fmt.Errorf("more than %d bytes: %w", l.LineBytes, ErrLimit)
	case bytes.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
		return fmt.Errorf("control character: %w", ErrMalformed)
	case bytes.HasPrefix(line, []byte("candidate:")): // as browsers hand it to scripts
		return f.attribute(string(line), l)
	case len(line) < 2 || line[1] != '=':
		return fmt.Errorf("not of the form type=value: %w", ErrMalformed)
	case line[0] == 'a':
		return f.attribute(string(line[2:]), l)
	}
	return nil
}

func (f *Fragment) attribute(text string, l Limits) error {
	name, value, _ := strings.Cut(text, ":")
	value = strings.TrimSpace(value)
	switch name {
	case "ice-ufrag":
		return setOnce(&f.Ufrag, name, value)
	case "ice-pwd":
		return setOnce(&f.Pwd, name, value)
	case "candidate":
		return f.addCandidate(value, l)
	case "mid":
		f.MIDs = appendNew(f.MIDs, value, maxListed)
	case "end-of-candidates":
		f.EndOfCandidates = true
	case "ice-lite":
		f.Lite = true
	case "ice-options":
		for option := range strings.FieldsSeq(value) {
			f.Options = appendNew(f.Options, option, maxListed)
		}
	}
	return nil
}

// setOnce sets a credential, which may be repeated but not changed.
func setOnce(credential *string, name, value string) error {
	if *credential != "" && *credential != value {
		return fmt.Errorf("%s conflicts with an earlier one: %w", name, ErrMalformed)
	}
	*credential = value
	return nil
}

// addCandidate keeps a candidate once; an empty one is how browsers mark the end.
func (f *Fragment) addCandidate(value string, l Limits) error {
	if value == "" {
		f.EndOfCandidates = true
		return nil
	}
	// One more than allowed shows that there are too many.
	f.Candidates = appendNew(f.Candidates, value, l.Candidates+1)
	if len(f.Candidates) > l.Candidates {
		return fmt.Errorf("more than %d candidates: %w", l.Candidates, ErrLimit)
	}
	return nil
}

// maxListed bounds the mids and the options that are kept, so that looking for
// repetitions stays cheap; an offer has three sections and about three options.
const maxListed = 32

// appendNew appends value unless the list has it or is full.
func appendNew(list []string, value string, most int) []string {
	if len(list) >= most || slices.Contains(list, value) {
		return list
	}
	return append(list, value)
}

// check refuses fragments that say nothing, and credentials that cannot be used.
func (f *Fragment) check() error {
	switch {
	case f.Ufrag == "" && f.Pwd != "":
		return fmt.Errorf("ice-pwd without ice-ufrag: %w", ErrMalformed)
	case f.Ufrag == "" && len(f.Candidates) == 0 && !f.EndOfCandidates:
		return fmt.Errorf("neither candidates, credentials nor end-of-candidates: %w", ErrMalformed)
	case f.Ufrag == "":
		return nil
	}
	return f.checkCredentials()
}

// checkCredentials bounds the ufrag, and the password if there is one (RFC 8839
// §5.4).
func (f *Fragment) checkCredentials() error {
	if f.Pwd == "" {
		return sdp.CheckUfrag(f.Ufrag)
	}
	return sdp.CheckCredentials(f.Ufrag, f.Pwd)
}

// Marshal writes the fragment as the answer to a restart, with one section of
// the given kind and mid: the BUNDLE-tagged one (RFC 9725 §4.3.3). Candidates
// are always the full list, and the end mark follows when f has it.
func (f Fragment) Marshal(kind, mid string) string {
	var b strings.Builder
	line := func(text ...string) {
		for _, part := range text {
			b.WriteString(part)
		}
		b.WriteString("\r\n")
	}
	if f.Lite {
		line("a=ice-lite")
	}
	if len(f.Options) > 0 {
		line("a=ice-options:", strings.Join(f.Options, " "))
	}
	// RFC 8840 §4.4: port and format of the m= line mean nothing here.
	line("m=", kind, " 9 UDP/TLS/RTP/SAVPF 0")
	line("a=mid:", mid)
	line("a=ice-ufrag:", f.Ufrag)
	line("a=ice-pwd:", f.Pwd)
	for _, candidate := range f.Candidates {
		line("a=candidate:", candidate)
	}
	if f.EndOfCandidates {
		line("a=end-of-candidates")
	}
	return b.String()
}
