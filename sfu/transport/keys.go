package transport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/pion/dtls/v3"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"

	"rheomesh/sfu/mediaport"
)

// replayWindow is how many packets late an SRTP packet may come (RFC 3711 section 3.3.2). pion's default of 64 is too small for video at a high rate.
const replayWindow = 1024

const (
	rtpHeaderBytes  = 12 // RFC 3550 section 5.1
	rtcpHeaderBytes = 8  // RFC 3550 section 6.4: header and sender's SSRC
)

var errShort = errors.New("transport: packet is too short")

// keys are the SRTP contexts of a connected session (RFC 5764 section 4.2).
type keys struct {
	profile string
	sealer  sealer

	// recvMu guards recv: packets of one client may come through two sockets while it changes its address.
	recvMu      sync.Mutex
	recv        *srtp.Context
	header      rtp.Header // scratch of openRTP
	rtpStreams  streams
	rtcpStreams streams

	// sendMu guards send, which seals RTCP only.
	sendMu sync.Mutex
	send   *srtp.Context
	out    []byte // scratch of sendRTCP
}

func newKeys(link *dtls.Conn, isClient bool) (*keys, error) {
	selected, ok := link.SelectedSRTPProtectionProfile()
	if !ok {
		return nil, fmt.Errorf("no SRTP protection profile in common")
	}
	state, ok := link.ConnectionState()
	if !ok {
		return nil, ErrNotConnected
	}
	config := srtp.Config{Profile: srtp.ProtectionProfile(selected)}
	if err := config.ExtractSessionKeysFromDTLS(&state, isClient); err != nil {
		return nil, fmt.Errorf("export SRTP keys: %w", err)
	}
	return keysFrom(config)
}

func keysFrom(config srtp.Config) (k *keys, err error) {
	k = &keys{profile: config.Profile.String()}
	k.recv, err = srtp.CreateContext(config.Keys.RemoteMasterKey, config.Keys.RemoteMasterSalt, config.Profile,
		srtp.SRTPReplayProtection(replayWindow), srtp.SRTCPReplayProtection(replayWindow))
	if err != nil {
		return nil, err
	}
	k.send, err = srtp.CreateContext(config.Keys.LocalMasterKey, config.Keys.LocalMasterSalt, config.Profile)
	if err != nil {
		return nil, err
	}
	k.sealer, err = newSealer(config.Profile, config.Keys.LocalMasterKey, config.Keys.LocalMasterSalt)
	return k, err
}

// maxStreams is how many SSRCs one client may send in a session, for RTP and for RTCP: the context keeps some state of each for good. Three simulcast layers
// and audio, each with retransmission and repair, are a dozen.
const maxStreams = 256

var errStreams = errors.New("transport: too many SSRCs")

// streams are the SSRCs from which an authentic packet came.
type streams struct {
	known []uint32
	last  int // index of the one that was looked up last
}

// index finds ssrc, or is -1.
func (s *streams) index(ssrc uint32) int {
	if s.last < len(s.known) && s.known[s.last] == ssrc {
		return s.last
	}
	return slices.Index(s.known, ssrc)
}

// open runs decrypt for a packet of ssrc, unless it is one SSRC too many.
func (s *streams) open(ssrc uint32, decrypt func() ([]byte, error)) ([]byte, error) {
	i := s.index(ssrc)
	if i < 0 && len(s.known) >= maxStreams {
		return nil, errStreams
	}
	plain, err := decrypt()
	if err != nil {
		return nil, err
	}
	if i < 0 {
		i = len(s.known)
		s.known = append(s.known, ssrc)
	}
	s.last = i
	return plain, nil
}

func (k *keys) openRTP(dst, sealed []byte) ([]byte, error) {
	if len(sealed) < rtpHeaderBytes {
		return nil, errShort
	}
	k.recvMu.Lock()
	defer k.recvMu.Unlock()
	return k.rtpStreams.open(binary.BigEndian.Uint32(sealed[8:]), func() ([]byte, error) { return k.recv.DecryptRTP(dst, sealed, &k.header) })
}

func (k *keys) openRTCP(dst, sealed []byte) ([]byte, error) {
	if len(sealed) < rtcpHeaderBytes {
		return nil, errShort
	}
	k.recvMu.Lock()
	defer k.recvMu.Unlock()
	return k.rtcpStreams.open(binary.BigEndian.Uint32(sealed[4:]), func() ([]byte, error) { return k.recv.DecryptRTCP(dst, sealed, nil) })
}

func (k *keys) sendRTCP(packet []byte, path mediaport.Path) error {
	k.sendMu.Lock()
	defer k.sendMu.Unlock()
	sealed, err := k.send.EncryptRTCP(k.out[:0], packet, nil)
	if err != nil {
		return err
	}
	k.out = sealed
	return path.Write(sealed)
}
