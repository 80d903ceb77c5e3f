package client

import "strings"

// Link is one link of a response (RFC 8288): a TURN server with rel "ice-server" (RFC 9725 §4.6), or an
// extension with a URN as rel.
type Link struct {
	URL    string
	Params map[string]string // rel, username, events, …; names in lower case
}

// Rel is the relation type of the link.
func (l Link) Rel() string { return l.Params["rel"] }

// parseLinks reads the lines of a Link header. A line may hold several links; what is no link is left out.
func parseLinks(lines []string) (links []Link) {
	for _, line := range lines {
		for _, text := range splitUnquoted(line, ',') {
			if link, ok := parseLink(text); ok {
				links = append(links, link)
			}
		}
	}
	return links
}

func parseLink(text string) (Link, bool) {
	target, rest, ok := strings.Cut(strings.TrimSpace(text), ">")
	if !ok || !strings.HasPrefix(target, "<") {
		return Link{}, false
	}
	link := Link{URL: target[1:], Params: map[string]string{}}
	for _, parameter := range splitUnquoted(rest, ';') {
		name, value, _ := strings.Cut(strings.TrimSpace(parameter), "=")
		if name = strings.ToLower(strings.TrimSpace(name)); name != "" {
			link.Params[name] = unquote(strings.TrimSpace(value))
		}
	}
	return link, true
}

// splitUnquoted splits at a separator that stands outside quotes and outside angle brackets.
func splitUnquoted(text string, separator byte) (parts []string) {
	quoted, target, start := false, false, 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"' && !target:
			quoted = !quoted
		case c == '<' && !quoted:
			target = true
		case c == '>' && !quoted:
			target = false
		case c == separator && !quoted && !target:
			parts = append(parts, text[start:i])
			start = i + 1
		}
	}
	return append(parts, text[start:])
}

// unquote removes the quotes and escapes of a quoted string (RFC 9110 §5.6.4); a token stays.
func unquote(value string) string {
	if len(value) < 2 || value[0] != '"' || value[len(value)-1] != '"' {
		return value
	}
	var out strings.Builder
	for inner := value[1 : len(value)-1]; inner != ""; inner = inner[1:] {
		if inner[0] == '\\' && len(inner) > 1 {
			inner = inner[1:]
		}
		out.WriteByte(inner[0])
	}
	return out.String()
}
