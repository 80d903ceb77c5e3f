package sdp

import (
	"bytes"
	"fmt"
)

// Limits bound what Parse reads. Without them a text of a few hundred
// kilobytes costs whoever processes it hundreds of milliseconds.
type Limits struct {
	// Bytes of the whole text.
	Bytes int
	// Lines of the description, blank ones included.
	Lines int
	// LineBytes of one line, without its line end.
	LineBytes int
	// MediaSections is the number of m= lines.
	MediaSections int
	// Candidates is the number of a=candidate lines in one section, so also the
	// most that a Description holds.
	Candidates int
	// SSRCs is the number of a=ssrc and a=ssrc-group lines, and the number of
	// SSRCs that the groups list.
	SSRCs int
	// RIDs is the number of a=rid lines.
	RIDs int
}

// DefaultLimits leave every real client well inside: a browser's offer with
// all its codecs has about 300 lines and 10 KiB.
var DefaultLimits = Limits{
	Bytes:         64 << 10,
	Lines:         2000,
	LineBytes:     2048,
	MediaSections: 32,
	Candidates:    30,
	SSRCs:         64,
	RIDs:          8,
}

// versionLine is how every description starts (RFC 8866 §5.1).
var versionLine = []byte("v=0")

// trimPreamble drops what some clients send before the version line and
// returns the number of the line that the description starts on.
func trimPreamble(text []byte) (description []byte, line int, err error) {
	at := bytes.Index(text, versionLine)
	if at < 0 {
		return nil, 0, fmt.Errorf("no v=0 line: %w", ErrMalformed)
	}
	return text[at:], 1 + bytes.Count(text[:at], []byte{'\n'}), nil
}

// cutLine returns the first line of text without its line end (LF or CRLF) and
// the blanks around it, and what follows it.
func cutLine(text []byte) (line, rest []byte) {
	line, rest, _ = bytes.Cut(text, []byte{'\n'})
	return bytes.Trim(line, "\r \t"), rest
}

// scan refuses a description that is beyond l or has lines that are not
// `type=value`. It allocates nothing unless it fails; first is the number of
// the first line, for the error text.
func (l Limits) scan(description []byte, first int) error {
	var sections, candidates, ssrcs, rids int
	for n := 0; len(description) > 0; n++ {
		var line []byte
		line, description = cutLine(description)
		if n >= l.Lines {
			return limitError(first+n, "lines", l.Lines)
		}
		if len(line) > l.LineBytes {
			return limitError(first+n, "bytes in a line", l.LineBytes)
		}
		if !wellFormed(line) {
			return fmt.Errorf("line %d: not of the form type=value: %w", first+n, ErrMalformed)
		}
		switch {
		case bytes.HasPrefix(line, []byte("m=")):
			candidates = 0
			if sections++; sections > l.MediaSections {
				return limitError(first+n, "media sections", l.MediaSections)
			}
		case bytes.HasPrefix(line, []byte("a=candidate:")):
			if candidates++; candidates > l.Candidates {
				return limitError(first+n, "candidates in a section", l.Candidates)
			}
		case bytes.HasPrefix(line, []byte("a=ssrc")):
			if ssrcs++; ssrcs > l.SSRCs {
				return limitError(first+n, "ssrc lines", l.SSRCs)
			}
		case bytes.HasPrefix(line, []byte("a=rid:")):
			if rids++; rids > l.RIDs {
				return limitError(first+n, "rid lines", l.RIDs)
			}
		}
	}
	return nil
}

// wellFormed reports whether line is blank or `type=value` (RFC 8866 §5)
// without control characters, which must not get into an answer.
func wellFormed(line []byte) bool {
	if len(line) == 0 {
		return true
	}
	if len(line) < 2 || line[1] != '=' {
		return false
	}
	for _, c := range line {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

func limitError(line int, what string, limit int) error {
	return fmt.Errorf("line %d: more than %d %s: %w", line, limit, what, ErrLimit)
}
