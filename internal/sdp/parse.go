package sdp

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Parse reads an offer or an answer. Text is not kept. Errors wrap ErrLimit,
// ErrMalformed, or ErrUnacceptable when the transport cannot be set up because
// credentials or the fingerprint are missing.
func Parse(text []byte, l Limits) (*Description, error) {
	if len(text) > l.Bytes {
		return nil, fmt.Errorf("%d bytes, at most %d: %w", len(text), l.Bytes, ErrLimit)
	}
	description, first, err := trimPreamble(text)
	if err != nil {
		return nil, err
	}
	if err := l.scan(description, first); err != nil {
		return nil, err
	}
	p := parser{limits: l}
	for n := first; len(description) > 0; n++ {
		var line []byte
		line, description = cutLine(description)
		if len(line) == 0 {
			continue
		}
		if err := p.line(line[0], string(line[2:])); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	return p.finish()
}

// parser holds what has been read so far.
type parser struct {
	limits   Limits
	origin   Origin
	bundle   []string
	session  section // what stands before the first m= line
	sections []*section
	// groupSSRCs counts the SSRCs in all groups, against Limits.SSRCs.
	groupSSRCs int
}

// section is a media section, or the session level, with what Parse needs of
// it besides Media.
type section struct {
	Media
	ice         ICE
	fingerprint Fingerprint
	// unknownHash is a fingerprint algorithm that we do not know, for the error.
	unknownHash string
	setup       Setup
	candidates  []string
	simulcast   []string
	// feedback for every payload type (a=rtcp-fb:*).
	feedback []string
	// byPT is 1 + the index in Codecs of each payload type, 0 = not listed.
	byPT [128]uint8
}

// current is where an attribute belongs: the last section, or the session level.
func (p *parser) current() *section {
	if len(p.sections) == 0 {
		return &p.session
	}
	return p.sections[len(p.sections)-1]
}

func (p *parser) line(kind byte, value string) error {
	switch kind {
	case 'o':
		p.origin = parseOrigin(value)
	case 'm':
		return p.startSection(value)
	case 'a':
		return p.attribute(value)
	}
	return nil
}

// parseOrigin reads `user session version …`; see Origin.
func parseOrigin(value string) Origin {
	fields := strings.Fields(value)
	if len(fields) < 3 {
		return Origin{}
	}
	id, _ := strconv.ParseUint(fields[1], 10, 64)
	version, _ := strconv.ParseUint(fields[2], 10, 64)
	return Origin{SessionID: id, Version: version}
}

// startSection reads `kind port protocol format…` (RFC 8866 §5.14).
func (p *parser) startSection(value string) error {
	fields := strings.Fields(value)
	if len(fields) < 4 {
		return fmt.Errorf("m-line %d: fewer than four fields: %w", len(p.sections), ErrMalformed)
	}
	number, _, _ := strings.Cut(fields[1], "/")
	port, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		return fmt.Errorf("m-line %d: port %q: %w", len(p.sections), quoted(number), ErrMalformed)
	}
	s := &section{Media: Media{
		Kind: Kind(strings.ToLower(fields[0])), Port: int(port), Protocol: fields[2], format: fields[3],
	}}
	if s.Kind == Application {
		s.SCTPPort, s.MaxMessageSize = defaultSCTPPort, defaultMaxMessageBytes
	} else {
		s.addFormats(fields[3:])
	}
	p.sections = append(p.sections, s)
	return nil
}

// addFormats enters the payload types of an m= line, each once. Those that stay
// without a name are dropped at the end.
func (s *section) addFormats(formats []string) {
	for _, format := range formats {
		pt, ok := parsePT(format)
		if !ok || s.byPT[pt] != 0 {
			continue
		}
		codec := Codec{PT: pt}
		if static, ok := staticCodecs[pt]; ok && s.Kind == Audio {
			codec = static
		}
		s.Codecs = append(s.Codecs, codec)
		s.byPT[pt] = uint8(len(s.Codecs))
	}
}

// finish turns what was read into a Description.
func (p *parser) finish() (*Description, error) {
	if len(p.sections) == 0 {
		return nil, fmt.Errorf("no media section: %w", ErrUnacceptable)
	}
	d := &Description{Origin: p.origin, Bundle: p.bundle}
	seen := make(map[string]bool, len(p.sections))
	for i, s := range p.sections {
		if s.MID != "" && seen[s.MID] {
			return nil, fmt.Errorf("m-line %d: mid %q is taken: %w", i, quoted(s.MID), ErrMalformed)
		}
		seen[s.MID] = true
		s.complete(&p.session)
		d.Media = append(d.Media, s.Media)
	}
	if err := p.transport(d); err != nil {
		return nil, err
	}
	return d, nil
}

// complete fills in what the session level says for the section, and drops
// what the section mentions but does not declare.
func (s *section) complete(session *section) {
	s.Direction = Direction(firstOf(string(s.Direction), string(session.Direction), string(SendRecv)))
	s.MixedExtensions = s.MixedExtensions || session.MixedExtensions
	for _, extension := range session.Extensions {
		s.addExtension(extension)
	}
	s.Codecs = slices.DeleteFunc(s.Codecs, func(c Codec) bool { return c.Name == "" })
	for i := range s.Codecs {
		for _, feedback := range s.feedback {
			s.Codecs[i].addFeedback(feedback)
		}
	}
	for _, rid := range s.simulcast {
		if slices.Contains(s.RIDs, RID{ID: rid, Direction: "send"}) && !slices.Contains(s.SimulcastSend, rid) {
			s.SimulcastSend = append(s.SimulcastSend, rid)
		}
	}
}

// transport fills in the description of the shared transport from the levels
// that may hold it, the first that does winning.
func (p *parser) transport(d *Description) error {
	unknownHash := ""
	for _, level := range p.levels() {
		if d.ICE.Ufrag == "" && d.ICE.Pwd == "" {
			d.ICE.Ufrag, d.ICE.Pwd = level.ice.Ufrag, level.ice.Pwd
		}
		if d.Fingerprint.Algorithm == "" {
			d.Fingerprint = level.fingerprint
		}
		if d.Setup == "" {
			d.Setup = level.setup
		}
		if len(d.Candidates) == 0 {
			d.Candidates = level.candidates
		}
		d.ICE.Options = appendOptions(d.ICE.Options, level.ice.Options)
		d.ICE.Lite = d.ICE.Lite || level.ice.Lite
		unknownHash = firstOf(unknownHash, level.unknownHash)
	}
	return checkTransport(d, unknownHash)
}

// levels orders the session level and the sections by how much they have to
// say about the transport: the BUNDLE-tagged section, the session, the others.
func (p *parser) levels() []*section {
	tagged := p.tagged()
	levels := []*section{p.sections[tagged], &p.session}
	for i, s := range p.sections {
		if i != tagged {
			levels = append(levels, s)
		}
	}
	return levels
}

// tagged is the index of the active section that the BUNDLE group lists first,
// else of the first active one, else 0 (RFC 9143 §7.2). Groups may list mids
// that do not exist: FFmpeg's does when it sends one track.
func (p *parser) tagged() int {
	for _, mid := range p.bundle {
		at := slices.IndexFunc(p.sections, func(s *section) bool { return s.MID == mid && s.Active() })
		if at >= 0 {
			return at
		}
	}
	return max(0, slices.IndexFunc(p.sections, func(s *section) bool { return s.Active() }))
}

func checkTransport(d *Description, unknownHash string) error {
	var missing []string
	if d.ICE.Ufrag == "" {
		missing = append(missing, "ice-ufrag")
	}
	if d.ICE.Pwd == "" {
		missing = append(missing, "ice-pwd")
	}
	if d.Fingerprint.Algorithm == "" {
		missing = append(missing, "fingerprint")
	}
	if len(missing) == 0 {
		return nil
	}
	if unknownHash != "" {
		return fmt.Errorf("no %s (hash %q is not supported): %w", strings.Join(missing, ", "), quoted(unknownHash), ErrUnacceptable)
	}
	return fmt.Errorf("no %s: %w", strings.Join(missing, ", "), ErrUnacceptable)
}

// firstOf is the first value that is not empty.
func firstOf(values ...string) string {
	for _, value := range values {
		if value != "" {
			return value
		}
	}
	return ""
}
