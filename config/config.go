// Package config is what an operator may set: the Config structs, their defaults, and the one road by which
// values reach them. A value comes from the defaults, then a YAML file, then RHEOMESH_ variables, then flags; the
// later wins. Every key is described once, by the tags of its struct field: `koanf` is its name in the file, `doc` its
// meaning in the printed reference. An unknown key is an error, since a misspelt limit that is ignored is no limit.
//
// The package reads no environment and no flags of the process itself: its caller hands them over in Sources.
package config

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"reflect"
	"time"
)

// Config is the whole configuration of a node. Start from Default or Load; it is immutable afterwards.
type Config struct {
	DataDir    string      `koanf:"data_dir" doc:"Directory for what outlives a restart: certificates and webhooks. Created when missing."`
	Routers    []string    `koanf:"routers" doc:"Routers that exist from the start; an id has 1 to 64 of A-Z a-z 0-9 . _ ~ -"`
	HTTP       HTTP        `koanf:"http" doc:"Pages, WHIP, WHEP and the REST API, all on one port."`
	Media      Media       `koanf:"media" doc:"WebRTC media: one port, UDP and TCP, for every session."`
	Relay      Relay       `koanf:"relay" doc:"Relays between nodes: one port, TCP for requests of nodes and UDP for media."`
	Auth       Auth        `koanf:"auth" doc:"Who may do what. Without any credential the default addresses are those of loopback alone."`
	WHIP       WHIP        `koanf:"whip" doc:"Publishing."`
	WHEP       WHEP        `koanf:"whep" doc:"Playing."`
	Data       Data        `koanf:"data" doc:"Data channels."`
	Webhooks   Webhooks    `koanf:"webhooks" doc:"HTTP receivers of events, which are registered under /api/v1/webhooks, and the one that is asked whom to admit."`
	ICEServers []ICEServer `koanf:"ice_servers" doc:"STUN and TURN servers that clients are told of in Link headers (RFC 9725 section 4.6).\nFor example: [{urls: [\"turn:turn.example.org:3478\"], username: u, credential: c}]. In place of credential: credential_file."`
	Limits     Limits      `koanf:"limits" doc:"What is beyond a limit is refused with 413, 429 or 503 and a problem document."`
	Log        Log         `koanf:"log" doc:"Log lines go to standard error."`
}

// Data is how data channels are served.
type Data struct {
	RetainLast bool `koanf:"retain_last" doc:"Keep the last message of each open channel for viewers that come later."`
}

// HTTP is the listener of pages and APIs.
type HTTP struct {
	Addr      string `koanf:"addr" doc:"host:port; an empty host is every address, port 0 a free port. Without credentials the default is 127.0.0.1:8080."`
	PublicURL string `koanf:"public_url" doc:"The URL that users reach this node by, when a proxy stands in front: session URLs and printed URLs begin with it."`
	TLS       TLS    `koanf:"tls" doc:"HTTPS in place of HTTP: with a certificate in two PEM files, which are read again when they change, or with one from an ACME server."`
}

// TLS says where the certificate of the HTTP listener comes from; all empty means plain HTTP.
type TLS struct {
	CertFile      string   `koanf:"cert_file" doc:"Certificate chain."`
	KeyFile       string   `koanf:"key_file" doc:"Private key."`
	ACMEDomains   []string `koanf:"acme_domains" doc:"Names to get certificates for by ACME (RFC 8555), kept in data_dir. The server's port 443 must lead to http.addr. It means agreeing to the issuer's terms."`
	ACMEDirectory string   `koanf:"acme_directory" doc:"URL of the ACME server; empty is Let's Encrypt."`
}

// Enabled tells whether the HTTP listener speaks TLS.
func (t TLS) Enabled() bool { return t.CertFile != "" || len(t.ACMEDomains) > 0 }

// Media is the listener of WebRTC media.
type Media struct {
	Addr      string       `koanf:"addr" doc:"host:port for UDP and TCP; localhost is 127.0.0.1 and ::1. Without credentials the default is localhost:10000."`
	PublicIPs []netip.Addr `koanf:"public_ips" doc:"Addresses to put into answers in place of the node's own: the outside of a 1:1 NAT."`
	ICELite   bool         `koanf:"ice_lite" doc:"Answer as ICE lite (RFC 8445 section 2.5): for nodes that every client reaches directly."`
}

// Relay is the listener of other nodes.
type Relay struct {
	Addr           string   `koanf:"addr" doc:"host:port for TCP and UDP; localhost is 127.0.0.1 and ::1. Without a secret the default is localhost:9443."`
	Secret         Secret   `koanf:"secret" doc:"What the nodes of a cluster share, at least 32 characters. Without it, only nodes of one machine relay to each other."`
	SecretFile     string   `koanf:"secret_file" doc:"File that holds the secret."`
	PreviousSecret Secret   `koanf:"previous_secret" doc:"Accepted too, and offered to nodes that do not know the secret yet: for as long as a cluster changes it (docs/relay.md)."`
	PreviousFile   string   `koanf:"previous_secret_file" doc:"File that holds the previous secret."`
	AllowedTargets []string `koanf:"allowed_targets" doc:"Networks that relays may reach."`
}

// Targets are the networks of AllowedTargets, which have passed Load.
func (r Relay) Targets() []netip.Prefix {
	targets := make([]netip.Prefix, 0, len(r.AllowedTargets))
	for _, text := range r.AllowedTargets {
		if p, err := netip.ParsePrefix(text); err == nil { // validate has seen that it is one
			targets = append(targets, p)
		}
	}
	return targets
}

// DefaultAddr tells whether the address is one of the defaults.
func (r Relay) DefaultAddr() bool {
	return r.Addr == defaultRelayAddr || r.Addr == defaultRelayAddrLocal
}

// Auth lists the credentials.
type Auth struct {
	APIKeys []APIKey `koanf:"api_keys" doc:"Sent as \"Authorization: Bearer <secret>\", in OBS as Bearer Token. Give each a secret of 32 characters or more,\na secret_file, or secret_sha256 (hex); actions are publish, play, data, relay, admin. For example:\n[{id: ops, secret_file: /run/secrets/ops, grants: [{routers: [\"*\"], actions: [publish, play, admin]}]}]"`
	JWT     JWT      `koanf:"jwt" doc:"Signed tokens with a claim \"grants\" like that of a key, and if they like a claim \"publishers\": the only ones they are for.\nThey need exp, and live for 24 hours at most. rheomesh token create makes one. One of hs256_secret and jwks_url turns them on."`
}

// JWT says which JSON Web Tokens (RFC 7519) are accepted.
type JWT struct {
	HS256Secret     Secret `koanf:"hs256_secret" doc:"Secret of HS256, at least 32 characters."`
	HS256SecretFile string `koanf:"hs256_secret_file" doc:"File that holds the secret."`
	JWKSURL         string `koanf:"jwks_url" doc:"Where the issuer publishes its RS256 keys (RFC 7517): https, or http on this machine."`
	Issuer          string `koanf:"issuer" doc:"What the claim iss must be; empty accepts any."`
	Audience        string `koanf:"audience" doc:"What the claim aud must hold; empty accepts any."`
}

// Enabled tells whether any JWT is accepted.
func (j JWT) Enabled() bool { return j.HS256Secret != "" || j.JWKSURL != "" }

// APIKey is one credential. Of its three forms of secret exactly one is set in the sources; Load leaves only
// SecretSHA256.
type APIKey struct {
	ID           string  `koanf:"id" doc:"Name in logs."`
	Secret       Secret  `koanf:"secret" doc:"At least 32 characters."`
	SecretFile   string  `koanf:"secret_file" doc:"File that holds the secret."`
	SecretSHA256 string  `koanf:"secret_sha256" doc:"SHA-256 of the secret in hex."`
	Grants       []Grant `koanf:"grants" doc:"What the key may do."`
}

// Digest is the SHA-256 of the key's secret. The key has passed Load.
func (k APIKey) Digest() (digest [sha256.Size]byte) {
	_, _ = hex.Decode(digest[:], []byte(k.SecretSHA256)) // validate has seen 64 hex digits
	return digest
}

// Grant permits actions in the routers that match one of its patterns.
type Grant struct {
	Routers []string `koanf:"routers" doc:"Router ids, where * stands for any characters."`
	Actions []string `koanf:"actions" doc:"publish, play, data, relay, admin."`
}

// WHIP configures publishing over HTTP (RFC 9725).
type WHIP struct {
	StrictETag bool   `koanf:"strict_etag" doc:"Ask for If-Match on every PATCH (428 without). Many clients send none, so the default is lenient."`
	OnConflict string `koanf:"on_conflict" doc:"A second publisher of one name: replace (it takes over) or reject (409 with Retry-After)."`
}

// WHEP configures playing over HTTP.
type WHEP struct {
	WithoutPublisher string `koanf:"without_publisher" doc:"A viewer of a name that nobody publishes: wait (201, media comes later) or conflict (409 with Retry-After)."`
	CounterOffer     bool   `koanf:"counter_offer" doc:"Answer an offer that cannot be met with 406 and an offer of ours, as newer WHEP drafts say."`
}

// Webhooks configures what the node sends to HTTP receivers.
type Webhooks struct {
	AllowPrivate        bool   `koanf:"allow_private" doc:"Permit receivers at loopback and private addresses; link-local ones, and clouds' metadata services, never. The default is true on a node whose own addresses are loopback."`
	AdmissionURL        string `koanf:"admission_url" doc:"Asked by POST before anybody may publish or play: 2xx admits, 401 and 403 refuse. It has two seconds to answer."`
	AdmissionSecret     Secret `koanf:"admission_secret" doc:"Signs the questions as Standard Webhooks: whsec_ and the base64 of 24 to 64 bytes."`
	AdmissionSecretFile string `koanf:"admission_secret_file" doc:"File that holds that secret."`
	AdmissionFailOpen   bool   `koanf:"admission_fail_open" doc:"Admit when the receiver gives no usable answer. Otherwise nobody is admitted then (503)."`
}

// ICEServer is one STUN or TURN server told to clients.
type ICEServer struct {
	URLs           []string `koanf:"urls" doc:"stun:, turn: or turns: URLs."`
	Username       string   `koanf:"username" doc:"TURN user name."`
	Credential     Secret   `koanf:"credential" doc:"TURN password."`
	CredentialFile string   `koanf:"credential_file" doc:"File that holds the TURN password."`
}

// Limits bounds what clients can make a node hold. Every figure is for the whole node unless its name says otherwise.
type Limits struct {
	MaxSessions             int           `koanf:"max_sessions" doc:"Sessions, publishing and playing together (503)."`
	MaxSessionsPerIP        int           `koanf:"max_sessions_per_ip" doc:"The same for one client address, loopback excepted (429)."`
	MaxHalfOpen             int           `koanf:"max_half_open" doc:"Sessions that were answered and have not connected yet (503)."`
	MaxHalfOpenPerIP        int           `koanf:"max_half_open_per_ip" doc:"The same for one client address, loopback excepted (429)."`
	MaxRouters              int           `koanf:"max_routers" doc:"Routers (503)."`
	MaxPublishersPerRouter  int           `koanf:"max_publishers_per_router" doc:"Publishers in one router (503)."`
	MaxSubscribersPerRouter int           `koanf:"max_subscribers_per_router" doc:"Viewers in one router (503)."`
	MaxSSRCsPerSession      int           `koanf:"max_ssrcs_per_session" doc:"RTP streams that one publisher may send; more closes its session."`
	ConnectTimeout          time.Duration `koanf:"connect_timeout" doc:"A session that has not connected this long after its answer is closed."`
	SilenceTimeout          time.Duration `koanf:"silence_timeout" doc:"A session from which nothing was heard for this long is closed."`
	MaxJSONBytes            int           `koanf:"max_json_bytes" doc:"JSON body of a request under /api/v1 (413)."`
	MaxHTTPConnections      int           `koanf:"max_http_connections" doc:"Open HTTP connections; more are closed at once."`
	MaxHTTPConnectionsPerIP int           `koanf:"max_http_connections_per_ip" doc:"The same for one client address (one /64 in IPv6)."`
	PostsPerSecond          int           `koanf:"posts_per_second" doc:"POST requests with one credential (429)."`
	PostBurst               int           `koanf:"post_burst" doc:"How many of them may come at once."`
	PostsPerSecondPerIP     int           `koanf:"posts_per_second_per_ip" doc:"POST requests of one client address (one /64 in IPv6), loopback excepted (429)."`
	PostBurstPerIP          int           `koanf:"post_burst_per_ip" doc:"How many of them may come at once."`
	FailedCredentialsPerIP  int           `koanf:"failed_credentials_per_minute_per_ip" doc:"Wrong credentials of one client address, loopback excepted; beyond it no credential of it is looked at (429)."`
	MaxWebhooks             int           `koanf:"max_webhooks" doc:"Registered webhooks (409)."`
	MaxEventStreams         int           `koanf:"max_event_streams" doc:"Open streams of /api/v1/events (429)."`
	DrainGrace              time.Duration `koanf:"drain_grace" doc:"How long a stopping node lets sessions finish; it does not wait when there are none."`
}

// Log configures log lines.
type Log struct {
	Level  string `koanf:"level" doc:"debug, info, warn or error."`
	Format string `koanf:"format" doc:"auto (coloured text on a terminal, otherwise JSON), text or json."`
}

// Default addresses: those of a node with credentials, and those of a node that anyone may use.
const (
	defaultHTTPAddr       = ":8080"
	defaultMediaAddr      = ":10000"
	defaultRelayAddr      = ":9443"
	defaultHTTPAddrLocal  = "127.0.0.1:8080"
	defaultMediaAddrLocal = "localhost:10000"
	defaultRelayAddrLocal = "localhost:9443"
)

// Default is the configuration of a node that was told nothing.
func Default() Config {
	return Config{
		DataDir: "./rheomesh-data",
		Routers: []string{"live"},
		HTTP:    HTTP{Addr: defaultHTTPAddr, TLS: TLS{ACMEDomains: []string{}}},
		Media:   Media{Addr: defaultMediaAddr, PublicIPs: []netip.Addr{}},
		Relay: Relay{
			Addr:           defaultRelayAddr,
			AllowedTargets: []string{"127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"},
		},
		Auth: Auth{APIKeys: []APIKey{}},
		WHIP: WHIP{OnConflict: OnConflictReplace},
		WHEP: WHEP{WithoutPublisher: WithoutPublisherWait},

		ICEServers: []ICEServer{},
		Limits: Limits{
			MaxSessions:             2000,
			MaxSessionsPerIP:        64,
			MaxHalfOpen:             256,
			MaxHalfOpenPerIP:        16,
			MaxRouters:              500,
			MaxPublishersPerRouter:  32,
			MaxSubscribersPerRouter: 1000,
			MaxSSRCsPerSession:      32,
			ConnectTimeout:          10 * time.Second,
			SilenceTimeout:          15 * time.Second,
			MaxJSONBytes:            64 << 10,
			MaxHTTPConnections:      8192,
			MaxHTTPConnectionsPerIP: 256,
			PostsPerSecond:          20,
			PostBurst:               40,
			PostsPerSecondPerIP:     5,
			PostBurstPerIP:          10,
			FailedCredentialsPerIP:  10,
			MaxWebhooks:             32,
			MaxEventStreams:         64,
			DrainGrace:              10 * time.Second,
		},
		Log: Log{Level: "info", Format: "auto"},
	}
}

// Changed lists the paths of the keys that differ between a and b, in the order of the reference file.
func Changed(a, b Config) []string { return changed(nil, reflect.ValueOf(a), reflect.ValueOf(b), "") }

func changed(paths []string, a, b reflect.Value, prefix string) []string {
	for field := range fields(a.Type()) {
		path, from, to := join(prefix, field.name), a.Field(field.index), b.Field(field.index)
		switch {
		case isSection(field.typ):
			paths = changed(paths, from, to, path)
		case !reflect.DeepEqual(from.Interface(), to.Interface()):
			paths = append(paths, path)
		}
	}
	return paths
}

// Values of whip.on_conflict and whep.without_publisher.
const (
	OnConflictReplace        = "replace"
	OnConflictReject         = "reject"
	WithoutPublisherWait     = "wait"
	WithoutPublisherConflict = "conflict"
)

// HasCredentials tells whether anything in the node asks for a credential.
func (c Config) HasCredentials() bool { return len(c.Auth.APIKeys) > 0 || c.Auth.JWT.Enabled() }

// Secret is a string that must not be printed; every way to format it shows a mask.
type Secret string

const mask = "********"

// String returns a mask, or nothing when there is no secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return mask
}

// GoString keeps the secret out of %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalText keeps the secret out of JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }
