package transport

import (
	"fmt"
	"sync"

	"github.com/pion/dtls/v3"
	"github.com/pion/srtp/v3"

	"rheomesh/sfu/mediaport"
)

// replayWindow is how many packets late an SRTP packet may come (RFC 3711 section 3.3.2). pion's default of 64 is too small for video at a high rate.
const replayWindow = 1024

// keys are the SRTP contexts of a connected session (RFC 5764 section 4.2).
type keys struct {
	profile string
	sealer  sealer

	// recvMu guards recv: packets of one client may come through two sockets while it changes its address.
	recvMu sync.Mutex
	recv   *srtp.Context

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

func (k *keys) openRTP(dst, sealed []byte) ([]byte, error) {
	k.recvMu.Lock()
	defer k.recvMu.Unlock()
	return k.recv.DecryptRTP(dst, sealed, nil)
}

func (k *keys) openRTCP(dst, sealed []byte) ([]byte, error) {
	k.recvMu.Lock()
	defer k.recvMu.Unlock()
	return k.recv.DecryptRTCP(dst, sealed, nil)
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
