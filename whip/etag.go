package whip

import "strings"

// entityTag is one element of If-Match as it was written.
type entityTag struct {
	opaque string
	weak   bool // had W/
	quoted bool
}

// condition is a parsed If-Match (RFC 9110 §13.1.1). Without tags and wildcard there is no condition.
type condition struct {
	wildcard bool
	tags     []entityTag
}

func (c condition) present() bool { return c.wildcard || len(c.tags) > 0 }

// matches reports whether the current tag meets the condition. Strict is the strong comparison of
// RFC 9110 §8.8.3.2; otherwise W/ and missing quotes are forgiven.
func (c condition) matches(current string, strict bool) bool {
	if c.wildcard {
		return true
	}
	for _, tag := range c.tags {
		if tag.opaque == current && (!strict || (tag.quoted && !tag.weak)) {
			return true
		}
	}
	return false
}

// parseIfMatch reads all If-Match lines. It never fails: what is not well-formed becomes a tag that
// only a lenient comparison can match. "*" with quotes is the wildcard too, because the examples of
// RFC 9725 §4.3.3 print it so.
func parseIfMatch(lines []string) condition {
	var c condition
	for _, line := range lines {
		for rest := skipSeparators(line); rest != ""; rest = skipSeparators(rest) {
			var tag entityTag
			tag, rest = cutTag(rest)
			if tag.opaque == "*" && !tag.weak {
				c.wildcard = true
				continue
			}
			c.tags = append(c.tags, tag)
		}
	}
	return c
}

func skipSeparators(s string) string { return strings.TrimLeft(s, ", \t") }

// cutTag takes the first tag off s, which is not empty and does not start with a separator.
func cutTag(s string) (tag entityTag, rest string) {
	if len(s) >= 2 && (s[0] == 'W' || s[0] == 'w') && s[1] == '/' {
		tag.weak, s = true, s[2:]
	}
	if strings.HasPrefix(s, `"`) {
		if opaque, after, closed := strings.Cut(s[1:], `"`); closed {
			tag.opaque, tag.quoted = opaque, true
			return tag, after
		}
		s = s[1:]
	}
	opaque, rest, _ := strings.Cut(s, ",")
	tag.opaque = strings.TrimRight(opaque, " \t")
	return tag, rest
}

// quoteTag writes a strong entity tag (RFC 9110 §8.8.3).
func quoteTag(tag string) string { return `"` + tag + `"` }
