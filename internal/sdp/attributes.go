package sdp

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

const (
	// defaultSCTPPort is what every WebRTC stack uses (RFC 8841 §5).
	defaultSCTPPort = 5000
	// defaultMaxMessageBytes holds when a data section is silent (RFC 8841 §6.1).
	defaultMaxMessageBytes = 64 << 10
	// maxTokenBytes bounds mids and rids: the longest that a two-byte header
	// extension can carry (RFC 8285 §4.3).
	maxTokenBytes = 255
	// The next bound lists that a description could otherwise make long enough
	// to cost time. What is beyond them is skipped. WebRTC defines about ten
	// feedback messages, twenty extensions and three ICE options.
	maxFeedback   = 16
	maxExtensions = 32
	maxICEOptions = 16
	// maxFmtpBytes bounds the parameters joined from several fmtp lines.
	maxFmtpBytes = 1024
)

// attribute reads one a= line. Attributes that we have no use for, and those
// whose loss does no harm when they do not parse, are skipped.
func (p *parser) attribute(text string) error {
	name, value, _ := strings.Cut(text, ":")
	value = strings.TrimSpace(value)
	s := p.current()
	if known, err := s.transportAttribute(name, value); known {
		return err
	}
	switch name {
	case "sendrecv", "sendonly", "recvonly", "inactive":
		s.Direction = Direction(name)
	case "extmap":
		s.parseExtension(value)
	case "extmap-allow-mixed":
		s.MixedExtensions = true
	case "group":
		p.parseGroup(value)
	default:
		if len(p.sections) > 0 {
			return p.mediaAttribute(s, name, value)
		}
	}
	return nil
}

// transportAttribute reads the attributes that may stand at either level and
// reports whether name is one.
func (s *section) transportAttribute(name, value string) (known bool, err error) {
	switch name {
	case "ice-ufrag":
		s.ice.Ufrag, err = value, CheckUfrag(value)
	case "ice-pwd":
		s.ice.Pwd, err = value, checkCredential(name, value, minPwdBytes)
	case "ice-lite":
		s.ice.Lite = true
	case "ice-options":
		s.ice.Options = appendOptions(s.ice.Options, strings.Fields(value))
	case "fingerprint":
		err = s.parseFingerprint(value)
	case "setup":
		s.setup, err = parseSetup(value)
	case "candidate":
		s.addCandidate(value)
	default:
		return false, nil
	}
	return true, err
}

// mediaAttribute reads the attributes that only media sections have.
func (p *parser) mediaAttribute(s *section, name, value string) error {
	switch name {
	case "mid":
		s.MID = value
		return p.checkToken(name, value)
	case "rid":
		return p.parseRID(s, value)
	case "ssrc-group":
		return p.parseSSRCGroup(s, value)
	case "simulcast":
		s.parseSimulcast(value)
	case "ssrc":
		s.parseSSRC(value)
	case "rtpmap", "fmtp", "rtcp-fb":
		s.parseCodecAttribute(name, value)
	case "msid":
		s.StreamID, s.TrackID, _ = strings.Cut(value, " ")
	case "rtcp-mux":
		s.RTCPMux = true
	case "rtcp-rsize":
		s.RTCPReducedSize = true
	case "bundle-only":
		s.BundleOnly = true
	case "sctp-port":
		s.SCTPPort = parsePort(value)
	case "sctpmap": // the form before RFC 8841: `port protocol streams`
		port, _, _ := strings.Cut(value, " ")
		s.SCTPPort = parsePort(port)
	case "max-message-size":
		s.parseMaxMessageSize(value)
	}
	return nil
}

// parsePort reads a port, 0 when it is none.
func parsePort(value string) int {
	port, err := strconv.ParseUint(value, 10, 16)
	if err != nil {
		return 0
	}
	return int(port)
}

// parseMaxMessageSize keeps the default when value is not a number, and the
// largest size that we can express when it is larger.
func (s *section) parseMaxMessageSize(value string) {
	size, err := strconv.ParseUint(value, 10, 31)
	if err == nil || errors.Is(err, strconv.ErrRange) {
		s.MaxMessageSize = int(size)
	}
}

// Lengths of the credentials (RFC 8839 §5.4).
const (
	minUfragBytes       = 4
	minPwdBytes         = 22
	maxCredentialsBytes = 256
)

// CheckCredentials reports credentials which RFC 8839 §5.4 does not allow. The
// error wraps ErrMalformed.
func CheckCredentials(ufrag, pwd string) error {
	if err := CheckUfrag(ufrag); err != nil {
		return err
	}
	return checkCredential("ice-pwd", pwd, minPwdBytes)
}

// CheckUfrag is the first half of CheckCredentials.
func CheckUfrag(ufrag string) error { return checkCredential("ice-ufrag", ufrag, minUfragBytes) }

// checkCredential also refuses characters that break a STUN username or an SDP
// line; the alphabet of RFC 8839 itself is narrower than what clients use.
func checkCredential(name, value string, least int) error {
	if len(value) < least || len(value) > maxCredentialsBytes {
		return fmt.Errorf("%s of %d characters, not %d to %d: %w", name, len(value), least, maxCredentialsBytes, ErrMalformed)
	}
	for i := range len(value) {
		if c := value[i]; c <= ' ' || c >= 0x7f || c == ':' {
			return fmt.Errorf("%s with the character %q: %w", name, c, ErrMalformed)
		}
	}
	return nil
}

// appendOptions keeps each ICE option once, up to maxICEOptions.
func appendOptions(list, options []string) []string {
	for _, option := range options {
		if len(list) < maxICEOptions && !slices.Contains(list, option) {
			list = append(list, option)
		}
	}
	return list
}

// hashBytes lists the digests that we verify (RFC 8122 §5) with their length.
// SHA-1 and older are left out: no WebRTC stack needs them.
var hashBytes = map[string]int{"sha-256": 32, "sha-384": 48, "sha-512": 64}

// parseFingerprint keeps the first digest with a known hash, and prefers
// SHA-256, the one that every stack has.
func (s *section) parseFingerprint(value string) error {
	algorithm, digest, _ := strings.Cut(value, " ")
	algorithm, digest = strings.ToLower(algorithm), strings.ToUpper(strings.TrimSpace(digest))
	size, known := hashBytes[algorithm]
	if !known {
		s.unknownHash = algorithm
		return nil
	}
	raw, err := hex.DecodeString(strings.ReplaceAll(digest, ":", ""))
	if err != nil || len(raw) != size || len(digest) != 3*size-1 {
		return fmt.Errorf("%s fingerprint is not %d hex pairs: %w", algorithm, size, ErrMalformed)
	}
	if s.fingerprint.Algorithm == "" || s.fingerprint.Algorithm != "sha-256" && algorithm == "sha-256" {
		s.fingerprint = Fingerprint{Algorithm: algorithm, Value: digest}
	}
	return nil
}

func parseSetup(value string) (Setup, error) {
	switch setup := Setup(strings.ToLower(value)); setup {
	case SetupActPass, SetupActive, SetupPassive:
		return setup, nil
	}
	return "", fmt.Errorf("setup %q: %w", quoted(value), ErrUnacceptable)
}

// addCandidate keeps a candidate once. The empty one, with which browsers mark
// the end, is no candidate.
func (s *section) addCandidate(value string) {
	if value != "" && !slices.Contains(s.candidates, value) {
		s.candidates = append(s.candidates, value)
	}
}

// parseGroup keeps the mids of the first BUNDLE group (RFC 9143 §7). Others,
// such as LS, do not concern us.
func (p *parser) parseGroup(value string) {
	fields := strings.Fields(value)
	if len(fields) > 1 && strings.EqualFold(fields[0], "BUNDLE") && p.bundle == nil {
		p.bundle = fields[1:]
	}
}

// parseExtension reads `id[/direction] uri …`. Ids above 255 exist only in
// offers that leave the choice to us (RFC 8285 §7), which no client makes.
func (s *section) parseExtension(value string) {
	fields := strings.Fields(value)
	if len(fields) < 2 {
		return
	}
	number, direction, _ := strings.Cut(fields[0], "/")
	id, err := strconv.ParseUint(number, 10, 8)
	if err != nil || id == 0 || id == 15 { // RFC 8285 §4.2: 15 is reserved
		return
	}
	if direction == "" {
		direction = string(SendRecv)
	}
	s.addExtension(Extension{ID: int(id), URI: fields[1], Direction: Direction(direction)})
}

// addExtension keeps an extension unless its id or URI is taken, up to
// maxExtensions.
func (s *section) addExtension(e Extension) {
	taken := func(other Extension) bool { return other.ID == e.ID || other.URI == e.URI }
	if len(s.Extensions) < maxExtensions && !slices.ContainsFunc(s.Extensions, taken) {
		s.Extensions = append(s.Extensions, e)
	}
}

// parseCodecAttribute reads `pt …`; for rtcp-fb the payload type may be `*`.
func (s *section) parseCodecAttribute(name, value string) {
	format, value, _ := strings.Cut(value, " ")
	value = strings.TrimSpace(value)
	if name == "rtcp-fb" && format == "*" {
		s.feedback = appendFeedback(s.feedback, value)
		return
	}
	pt, ok := parsePT(format)
	if !ok || s.byPT[pt] == 0 {
		return
	}
	codec := &s.Codecs[s.byPT[pt]-1]
	switch name {
	case "rtpmap":
		codec.setFormat(value, s.Kind)
	case "fmtp":
		codec.addFmtp(value)
	case "rtcp-fb":
		codec.addFeedback(value)
	}
}

// addFmtp joins the parameters of several fmtp lines into one, up to
// maxFmtpBytes.
func (c *Codec) addFmtp(value string) {
	switch {
	case c.Fmtp == "":
		c.Fmtp = value
	case value != "" && len(c.Fmtp)+len(value) < maxFmtpBytes:
		c.Fmtp = strings.TrimRight(c.Fmtp, "; ") + ";" + value
	}
}

func (c *Codec) addFeedback(value string) { c.Feedback = appendFeedback(c.Feedback, value) }

// appendFeedback keeps each feedback once, with single spaces, up to maxFeedback.
func appendFeedback(list []string, value string) []string {
	value = strings.ToLower(strings.Join(strings.Fields(value), " "))
	if value == "" || len(list) >= maxFeedback || slices.Contains(list, value) {
		return list
	}
	return append(list, value)
}

// parseRID reads `id direction [restrictions]` (RFC 8851 §10). Restrictions
// describe what the sender will do; we forward whatever comes.
func (p *parser) parseRID(s *section, value string) error {
	fields := strings.Fields(value)
	if len(fields) < 2 || fields[1] != "send" && fields[1] != "recv" {
		return fmt.Errorf("m-line %d: rid %q without direction: %w", len(p.sections)-1, quoted(value), ErrMalformed)
	}
	if err := p.checkToken("rid", fields[0]); err != nil {
		return err
	}
	if slices.ContainsFunc(s.RIDs, func(r RID) bool { return r.ID == fields[0] }) {
		return fmt.Errorf("m-line %d: rid %q is taken: %w", len(p.sections)-1, quoted(fields[0]), ErrMalformed)
	}
	s.RIDs = append(s.RIDs, RID{ID: fields[0], Direction: fields[1]})
	return nil
}

// parseSimulcast reads the send half of `send a;b,c recv d` (RFC 8853 §5.1),
// also in the form `send rid=a;b` of its drafts. There is one such line; more
// are skipped.
func (s *section) parseSimulcast(value string) {
	if len(s.simulcast) > 0 {
		return
	}
	fields := strings.Fields(value)
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i] != "send" {
			continue
		}
		for stream := range strings.SplitSeq(strings.TrimPrefix(fields[i+1], "rid="), ";") {
			rid, _, _ := strings.Cut(stream, ",")
			s.simulcast = append(s.simulcast, strings.TrimPrefix(rid, "~"))
		}
	}
}

// parseSSRC reads `id attribute[:value]` (RFC 5576 §4.1).
func (s *section) parseSSRC(value string) {
	number, attribute, _ := strings.Cut(value, " ")
	id, err := strconv.ParseUint(number, 10, 32)
	if err != nil {
		return
	}
	source := s.source(uint32(id))
	switch name, value, _ := strings.Cut(strings.TrimSpace(attribute), ":"); name {
	case "cname":
		source.CNAME = value
	case "msid":
		source.StreamID, _, _ = strings.Cut(value, " ")
	}
}

// source is the entry of an SSRC, made when new.
func (s *section) source(id uint32) *SSRC {
	for i := range s.SSRCs {
		if s.SSRCs[i].ID == id {
			return &s.SSRCs[i]
		}
	}
	s.SSRCs = append(s.SSRCs, SSRC{ID: id})
	return &s.SSRCs[len(s.SSRCs)-1]
}

// parseSSRCGroup reads `semantics id…` (RFC 5576 §4.2).
func (p *parser) parseSSRCGroup(s *section, value string) error {
	fields := strings.Fields(value)
	if len(fields) < 2 {
		return nil
	}
	if p.groupSSRCs += len(fields) - 1; p.groupSSRCs > p.limits.SSRCs {
		return fmt.Errorf("m-line %d: more than %d SSRCs in groups: %w", len(p.sections)-1, p.limits.SSRCs, ErrLimit)
	}
	group := SSRCGroup{Semantics: strings.ToUpper(fields[0])}
	for _, field := range fields[1:] {
		id, err := strconv.ParseUint(field, 10, 32)
		if err != nil {
			return nil //nolint:nilerr // a group that cannot be read ties nothing together; the description is still of use
		}
		group.IDs = append(group.IDs, uint32(id))
	}
	s.Groups = append(s.Groups, group)
	return nil
}

// checkToken refuses a mid or rid that could not stand in our answer.
func (p *parser) checkToken(name, value string) error {
	if len(value) > maxTokenBytes || !isToken(value) {
		return fmt.Errorf("m-line %d: %s %q is not a token: %w", len(p.sections)-1, name, quoted(value), ErrMalformed)
	}
	return nil
}

// isToken reports whether s is a token (RFC 8866 §9) without the characters
// that separate rids.
func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]~`, c) >= 0 {
			return false
		}
	}
	return s != ""
}
