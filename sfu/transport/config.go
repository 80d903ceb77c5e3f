package transport

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/logging"

	"rheomesh/sfu/mediaport"
)

// Config is what all sessions of a node share. It is immutable after the first New.
type Config struct {
	Port        *mediaport.Port
	Certificate tls.Certificate
	// Lite makes the ICE agent lite (RFC 8445 section 2.5): it answers checks and sends none.
	Lite bool
	// AllowLoopback lets checks go to loopback candidates of the client, which is right only when the port itself is bound to loopback.
	AllowLoopback bool
	// ConnectTimeout is how long a session may take from New to connected.
	ConnectTimeout time.Duration
	// SilenceTimeout is how long a connected session may receive nothing authentic before it is closed. After a third of it, Paused reports true.
	SilenceTimeout time.Duration
	// Profiles are the SRTP protection profiles in our order of preference; nil means DefaultProfiles.
	Profiles []dtls.SRTPProtectionProfile
	Logger   *slog.Logger
	// PionLogger is handed to pion/dtls.
	PionLogger logging.LoggerFactory
}

// DefaultProfiles prefers AES-GCM with a 128-bit key (RFC 7714), which costs a fraction of what AES-CM with HMAC-SHA1 (RFC 3711) costs to seal; see BenchmarkSeal.
var DefaultProfiles = []dtls.SRTPProtectionProfile{
	dtls.SRTP_AEAD_AES_128_GCM,
	dtls.SRTP_AES128_CM_HMAC_SHA1_80,
	dtls.SRTP_AEAD_AES_256_GCM,
}

// Credentials are an ICE user name fragment and password (RFC 8445 section 5.3).
type Credentials struct{ Ufrag, Pwd string }

// Peer is what the client's description says about its transport.
type Peer struct {
	Credentials
	Lite bool
	// FingerprintAlgorithm and Fingerprint are the two parts of a=fingerprint (RFC 8122 section 5).
	FingerprintAlgorithm, Fingerprint string
	// Candidates are the client's UDP addresses; more may come by AddCandidates, or none at all.
	Candidates []netip.AddrPort
	// DTLSClient says that we start the DTLS handshake: our a=setup is active (RFC 5763 section 5).
	DTLSClient bool
	// Controlled says that the client answered an offer of ours, which makes us the controlling agent (RFC 8445 section 6.1.1).
	Controlled bool
	// Local are our own credentials when they were promised already, in an offer of ours; zero draws new ones.
	Local Credentials
	// Data takes the client's SCTP packets from the first one on, or from OpenData, until it returns; link ends with the session. It runs on a goroutine of
	// the session. initiate says that the client has sent nothing yet. Nil means that the description has no data section.
	Data func(link net.Conn, initiate bool)
}

// Handler receives what a session's client sends. Its methods are called on the port's reader goroutines, except HandleConnected and HandleClosed, and packets
// which came before the keys; data is valid until the return.
type Handler interface {
	// HandleRTP takes one sealed SRTP packet; Session.OpenRTP opens it, which makes it a sign of life.
	HandleRTP(sealed []byte, now time.Time)
	// HandleRTCP takes one opened compound RTCP packet.
	HandleRTCP(packet []byte, now time.Time)
	// HandleConnected is called once, when the keys are ready.
	HandleConnected()
	// HandleClosed is called once, after HandleConnected has returned if that was called. Packets that a reader held already may still come after it.
	HandleClosed(cause Cause)
}

// Cause says why a transport ended.
type Cause string

// The causes of a transport's end.
const (
	CauseLocal     Cause = "local"     // Close was called
	CausePeer      Cause = "peer"      // the client sent close_notify or a fatal alert, once connected
	CauseTimeout   Cause = "timeout"   // not connected in time
	CauseSilent    Cause = "silent"    // connected, then nothing was heard for SilenceTimeout
	CauseHandshake Cause = "handshake" // the DTLS handshake failed, for example by a wrong fingerprint or an alert
)
