package whip

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestIfMatch(t *testing.T) {
	for _, row := range []struct {
		name            string
		lines           []string
		present         bool
		lenient, strict bool // whether it matches the tag "abc"
	}{
		{"absent", nil, false, false, false},
		{"empty", []string{""}, false, false, false},
		{"separators only", []string{" , ,\t"}, false, false, false},
		{"strong", []string{`"abc"`}, true, true, true},
		{"other", []string{`"abd"`}, true, false, false},
		{"weak", []string{`W/"abc"`}, true, true, false},
		{"weak in lower case", []string{`w/"abc"`}, true, true, false},
		{"unquoted", []string{`abc`}, true, true, false},
		{"unquoted weak", []string{`W/abc`}, true, true, false},
		{"unclosed", []string{`"abc`}, true, true, false},
		{"wildcard", []string{`*`}, true, true, true},
		{"quoted wildcard", []string{`"*"`}, true, true, true},
		{"weak wildcard is a tag", []string{`W/"*"`}, true, false, false},
		{"second in a list", []string{`"x", "abc"`}, true, true, true},
		{"second line", []string{`"x"`, `"abc"`}, true, true, true},
		{"comma inside quotes", []string{`"x,abc"`}, true, false, false},
		{"no space", []string{`"x","abc"`}, true, true, true},
		{"unquoted list", []string{`x, abc`}, true, true, false},
		{"prefix", []string{`"ab"`}, true, false, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := parseIfMatch(row.lines)
			assert.Equal(t, row.present, c.present(), "present")
			assert.Equal(t, row.lenient, c.matches("abc", false), "lenient")
			assert.Equal(t, row.strict, c.matches("abc", true), "strict")
		})
	}
}

func FuzzIfMatch(f *testing.F) {
	for _, seed := range []string{"", "*", `"*"`, `"abc"`, `W/"abc"`, "abc", `"a,b", W/"c" ,d`, `"`, `W/`, `W/"`, ",,\t", `"a"b"c"`, "\x00\xff"} {
		f.Add(seed, "abc")
	}
	f.Fuzz(func(t *testing.T, line, tag string) {
		c := parseIfMatch([]string{line})
		if c.matches(tag, true) && !c.matches(tag, false) {
			t.Errorf("%q matches %q strictly but not leniently", line, tag)
		}
		if len(c.tags) > len(line) {
			t.Errorf("%d tags in %q", len(c.tags), line)
		}
		if strings.Contains(tag, `"`) || tag == "" {
			return
		}
		// Our own tags come back, whatever stands behind them.
		if !parseIfMatch([]string{quoteTag(tag) + "," + line}).matches(tag, true) {
			t.Errorf("%q does not match itself before %q", tag, line)
		}
	})
}
