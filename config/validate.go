package config

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// minSecretLength is the least number of characters of a secret: 32 of base32 or hex are 128 bits or more,
// which makes an unsalted SHA-256 as good as a slow hash.
const minSecretLength = 32

var (
	idPattern     = regexp.MustCompile(`^[A-Za-z0-9._~-]{1,64}$`)
	routerPattern = regexp.MustCompile(`^[A-Za-z0-9._~*-]{1,64}$`)

	actions     = []string{"publish", "play", "data", "relay", "admin"}
	iceSchemes  = []string{"stun", "stuns", "turn", "turns"}
	logLevels   = []string{"debug", "info", "warn", "error"}
	logFormats  = []string{"auto", "text", "json"}
	onConflicts = []string{OnConflictReplace, OnConflictReject}
	withoutPubs = []string{WithoutPublisherWait, WithoutPublisherConflict}
)

// Actions are what a grant may permit.
func Actions() []string { return slices.Clone(actions) }

// problems collects what is wrong, so that an operator sees all of it at once.
type problems []error

func (p *problems) addf(format string, args ...any) { *p = append(*p, fmt.Errorf(format, args...)) }

func (p *problems) oneOf(path, value string, allowed []string) {
	if !slices.Contains(allowed, value) {
		p.addf("%s: %q is none of %s", path, value, strings.Join(allowed, ", "))
	}
}

// validate is the one place where values are judged.
func (c *Config) validate() error {
	var p problems
	if c.DataDir == "" {
		p.addf("data_dir: must not be empty")
	}
	for i, id := range c.Routers {
		if !validID(id) {
			p.addf("routers[%d]: %q is no id (1 to 64 of A-Z a-z 0-9 . _ ~ -)", i, id)
		}
		if slices.Contains(c.Routers[:i], id) {
			p.addf("routers[%d]: %q is there twice", i, id)
		}
	}
	c.HTTP.validate(&p)
	p.address("media.addr", c.Media.Addr)
	for i, ip := range c.Media.PublicIPs {
		if ip.IsUnspecified() || ip.IsMulticast() || ip.Zone() != "" {
			p.addf("media.public_ips[%d]: %s is not the address of a host", i, ip)
		}
	}
	c.Relay.validate(&p)
	c.Auth.validate(&p)
	c.Auth.JWT.validate(&p)
	p.oneOf("whip.on_conflict", c.WHIP.OnConflict, onConflicts)
	p.oneOf("whep.without_publisher", c.WHEP.WithoutPublisher, withoutPubs)
	c.Webhooks.validate(&p)
	for i, server := range c.ICEServers {
		server.validate(fmt.Sprintf("ice_servers[%d]", i), &p)
	}
	c.Limits.validate(&p)
	p.oneOf("log.level", c.Log.Level, logLevels)
	p.oneOf("log.format", c.Log.Format, logFormats)
	return errors.Join(p...)
}

func validID(id string) bool { return idPattern.MatchString(id) && id != "." && id != ".." }

func (h HTTP) validate(p *problems) {
	p.address("http.addr", h.Addr)
	h.TLS.validate(p)
	if h.PublicURL == "" {
		return
	}
	u, err := url.Parse(h.PublicURL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		p.addf("http.public_url: must be an http or https URL without user, query and fragment")
	}
}

// hostName is what a certificate can be asked for: letters, digits, hyphens and at least one dot (RFC 1034 section 3.5).
var hostName = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z]([A-Za-z0-9-]*[A-Za-z0-9])?$`)

func (t TLS) validate(p *problems) {
	if (t.CertFile == "") != (t.KeyFile == "") {
		p.addf("http.tls: cert_file and key_file go together")
	}
	if t.CertFile != "" && len(t.ACMEDomains) > 0 {
		p.addf("http.tls: set cert_file and key_file or acme_domains, not both")
	}
	for i, domain := range t.ACMEDomains {
		if len(domain) > 253 || !hostName.MatchString(domain) {
			p.addf("http.tls.acme_domains[%d]: %q is not a host name", i, domain)
		}
	}
	if t.ACMEDirectory != "" {
		p.secureURL("http.tls.acme_directory", t.ACMEDirectory)
	}
}

// secureURL accepts an https URL, and http to this machine alone.
func (p *problems) secureURL(path, text string) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" ||
		u.Scheme != "https" && (u.Scheme != "http" || !Loopback(net.JoinHostPort(u.Hostname(), "0"))) {
		p.addf("%s: must be an https URL without user and fragment (http only to this machine)", path)
	}
}

func (j JWT) validate(p *problems) {
	if j.HS256Secret != "" && len(j.HS256Secret) < minSecretLength {
		p.addf("auth.jwt.hs256_secret: must have at least %d characters, has %d", minSecretLength, len(j.HS256Secret))
	}
	if j.JWKSURL != "" {
		p.secureURL("auth.jwt.jwks_url", j.JWKSURL)
	}
	if !j.Enabled() && (j.Issuer != "" || j.Audience != "") {
		p.addf("auth.jwt: issuer and audience need hs256_secret or jwks_url")
	}
}

// signingSecret is the form of Standard Webhooks, with 24 to 64 bytes.
var signingSecret = regexp.MustCompile(`^whsec_[A-Za-z0-9+/]{32,86}={0,2}$`)

func (w Webhooks) validate(p *problems) {
	if w.AdmissionURL != "" {
		u, err := url.Parse(w.AdmissionURL)
		if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || (u.Scheme != "http" && u.Scheme != "https") {
			p.addf("webhooks.admission_url: must be an http or https URL without user and fragment")
		}
	}
	if w.AdmissionSecret != "" && !signingSecret.MatchString(w.AdmissionSecret.Reveal()) {
		p.addf("webhooks.admission_secret: must be whsec_ and the base64 of 24 to 64 bytes")
	}
	if w.AdmissionURL == "" && (w.AdmissionSecret != "" || w.AdmissionFailOpen) {
		p.addf("webhooks: admission_secret and admission_fail_open need admission_url")
	}
}

// address accepts host:port where host is empty, localhost or an IP address.
func (p *problems) address(path, addr string) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		p.addf("%s: %q is not host:port", path, addr)
		return
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		p.addf("%s: %q is not a port (0 to 65535)", path, port)
	}
	if _, err := netip.ParseAddr(host); err != nil && host != "" && host != "localhost" {
		p.addf("%s: %q is neither an IP address nor localhost", path, host)
	}
}

func (a Auth) validate(p *problems) {
	var ids, digests []string
	for i, key := range a.APIKeys {
		path := fmt.Sprintf("auth.api_keys[%d]", i)
		if !validID(key.ID) {
			p.addf("%s.id: %q is no id (1 to 64 of A-Z a-z 0-9 . _ ~ -)", path, key.ID)
		}
		if slices.Contains(ids, key.ID) {
			p.addf("%s.id: %q is there twice", path, key.ID)
		}
		if slices.Contains(digests, key.SecretSHA256) {
			p.addf("%s: has the same secret as another key", path)
		}
		ids, digests = append(ids, key.ID), append(digests, key.SecretSHA256)
		if len(key.Grants) == 0 {
			p.addf("%s.grants: a key without grants permits nothing", path)
		}
		for j, grant := range key.Grants {
			grant.validate(fmt.Sprintf("%s.grants[%d]", path, j), p)
		}
	}
}

func (g Grant) validate(path string, p *problems) {
	if len(g.Routers) == 0 || len(g.Actions) == 0 {
		p.addf("%s: needs routers and actions", path)
	}
	for i, pattern := range g.Routers {
		if !routerPattern.MatchString(pattern) {
			p.addf("%s.routers[%d]: %q is neither an id nor a pattern with *", path, i, pattern)
		}
	}
	for i, action := range g.Actions {
		p.oneOf(fmt.Sprintf("%s.actions[%d]", path, i), action, actions)
	}
}

// hashSecret leaves only the digest of whichever form of secret was given.
func (k *APIKey) hashSecret(path string) error {
	given := 0
	for _, form := range []string{k.Secret.Reveal(), k.SecretFile, k.SecretSHA256} {
		if form != "" {
			given++
		}
	}
	if given != 1 {
		return fmt.Errorf("%s: needs exactly one of secret, secret_file, secret_sha256", path)
	}
	if k.SecretSHA256 != "" {
		k.SecretSHA256 = strings.ToLower(k.SecretSHA256)
		if digest, err := hex.DecodeString(k.SecretSHA256); err != nil || len(digest) != sha256.Size {
			return fmt.Errorf("%s.secret_sha256: must be %d hex digits", path, 2*sha256.Size)
		}
		return nil
	}
	if err := readSecret(&k.Secret, &k.SecretFile, path+".secret"); err != nil {
		return err
	}
	if len(k.Secret) < minSecretLength {
		return fmt.Errorf("%s.secret: must have at least %d characters, has %d", path, minSecretLength, len(k.Secret))
	}
	digest := sha256.Sum256([]byte(k.Secret.Reveal()))
	k.Secret, k.SecretSHA256 = "", hex.EncodeToString(digest[:])
	return nil
}

// validate keeps out what would break a Link header: clients split it at commas and semicolons without a parser.
func (s ICEServer) validate(path string, p *problems) {
	if len(s.URLs) == 0 {
		p.addf("%s.urls: is empty", path)
	}
	for i, text := range s.URLs {
		scheme, rest, _ := strings.Cut(text, ":")
		if !slices.Contains(iceSchemes, scheme) || rest == "" || strings.ContainsAny(text, ` ,;<>"`) {
			p.addf("%s.urls[%d]: %q is not a stun:, stuns:, turn: or turns: URL", path, i, text)
		}
		if strings.HasPrefix(scheme, "turn") && (s.Username == "" || s.Credential == "") {
			p.addf("%s: a TURN server needs username and credential", path)
		}
	}
	for name, value := range map[string]string{"username": s.Username, "credential": s.Credential.Reveal()} {
		if strings.ContainsFunc(value, func(r rune) bool { return r < '!' || r > '~' || strings.ContainsRune(`,;"\`, r) }) {
			p.addf("%s.%s: a comma, semicolon, quote, backslash, space or non-ASCII character breaks clients' Link parsers", path, name)
		}
	}
}

// validate asks that every limit is above zero: no limit can be switched off, only raised.
func (l Limits) validate(p *problems) {
	v := reflect.ValueOf(l)
	for field := range fields(v.Type()) {
		path, value := "limits."+field.name, v.Field(field.index).Int()
		switch {
		case field.name == "drain_grace" && value >= 0: // 0 stops at once
		case value <= 0:
			p.addf("%s: must be above zero", path)
		case field.typ == typeDuration && time.Duration(value) > 24*time.Hour:
			p.addf("%s: is longer than a day", path)
		}
	}
}

func (r Relay) validate(p *problems) {
	p.address("relay.addr", r.Addr)
	if r.Secret != "" && len(r.Secret) < minSecretLength {
		p.addf("relay.secret: must have at least %d characters, has %d", minSecretLength, len(r.Secret))
	}
	switch {
	case r.PreviousSecret == "":
	case r.Secret == "":
		p.addf("relay.previous_secret: is set and relay.secret is not")
	case len(r.PreviousSecret) < minSecretLength:
		p.addf("relay.previous_secret: must have at least %d characters, has %d", minSecretLength, len(r.PreviousSecret))
	}
	for i, text := range r.AllowedTargets {
		if _, err := netip.ParsePrefix(text); err != nil {
			p.addf("relay.allowed_targets[%d]: %q is not a network such as 10.0.0.0/8", i, text)
		}
	}
}

// refuseOpen refuses addresses that others reach when nobody needs a credential.
func (c *Config) refuseOpen() error {
	if c.Relay.Secret == "" && !Loopback(c.Relay.Addr) {
		return fmt.Errorf("relay.addr %q: other machines can reach this address and relay.secret is not set: set the secret that the nodes of the cluster share", c.Relay.Addr)
	}
	if c.HasCredentials() {
		return nil
	}
	for key, addr := range map[string]string{"http.addr": c.HTTP.Addr, "media.addr": c.Media.Addr} {
		if !Loopback(addr) {
			return &OpenError{Key: key, Addr: addr}
		}
	}
	return nil
}

// OpenError says that a node without credentials was to listen on an address that others reach.
type OpenError struct{ Key, Addr string }

func (e *OpenError) Error() string {
	return fmt.Sprintf(`%s %q: others can reach this address and no credentials are configured. Two ways out:
  1. ask for a credential:  %sAUTH_API_KEYS='[{"id":"ops","secret":"<at least %d characters>","grants":[{"routers":["*"],"actions":["publish","play","admin"]}]}]'
  2. let anybody in:        --insecure`, e.Key, e.Addr, EnvPrefix, minSecretLength)
}

// Loopback tells whether only this machine reaches the listening address addr (host:port).
func Loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}
