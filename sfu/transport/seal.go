package transport

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"

	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"

	"rheomesh/internal/aesgcm"
)

// Overhead is the most that sealing adds to a packet: the 16-byte tag of AES-GCM (RFC 7714 section 14.2).
const Overhead = 16

var errSealRoom = errors.New("transport: no room to seal the packet")

// sealer seals RTP packets of one direction. It is not safe for concurrent use.
type sealer interface {
	// seal works as Session.SealRTP says and returns the length of the sealed packet.
	seal(buf []byte, headerLen int, payload []byte, ssrc uint32, extSeq uint64) (int, error)
}

func newSealer(profile srtp.ProtectionProfile, key, salt []byte) (sealer, error) {
	switch profile {
	case srtp.ProtectionProfileAeadAes128Gcm, srtp.ProtectionProfileAeadAes256Gcm:
		return newGCMSealer(key, salt)
	default:
		context, err := srtp.CreateContext(key, salt, profile)
		return &contextSealer{context: context}, err
	}
}

// gcmSealer is AES-GCM for SRTP (RFC 7714). It encrypts from the payload's place in the log straight into the send batch, so that a packet's bytes are
// touched once.
type gcmSealer struct {
	aead cipher.AEAD
	salt [12]byte
	iv   [12]byte
}

func newGCMSealer(key, salt []byte) (*gcmSealer, error) {
	sessionKey, err := deriveKey(labelEncryption, key, salt, len(key))
	if err != nil {
		return nil, err
	}
	sessionSalt, err := deriveKey(labelSalt, key, salt, len(salt))
	if err != nil {
		return nil, err
	}
	s := &gcmSealer{}
	copy(s.salt[:], sessionSalt)
	s.aead, err = newGCM(sessionKey)
	return s, err
}

// newGCM makes the cipher of a 16- or 32-byte key.
func newGCM(key []byte) (cipher.AEAD, error) {
	if len(key) == aesgcm.KeySize {
		return aesgcm.New(key)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// seal is the hot path. The nonce is 00 00 ‖ SSRC ‖ ROC ‖ SEQ, xored with the salt (RFC 7714 section 8.1); the header is the associated data.
func (s *gcmSealer) seal(buf []byte, headerLen int, payload []byte, ssrc uint32, extSeq uint64) (int, error) {
	end := headerLen + len(payload) + Overhead
	if end > len(buf) {
		return 0, errSealRoom
	}
	s.iv = s.salt
	binary.BigEndian.PutUint32(s.iv[2:], binary.BigEndian.Uint32(s.salt[2:])^ssrc)
	binary.BigEndian.PutUint32(s.iv[6:], binary.BigEndian.Uint32(s.salt[6:])^uint32(extSeq>>16))
	binary.BigEndian.PutUint16(s.iv[10:], binary.BigEndian.Uint16(s.salt[10:])^uint16(extSeq))
	s.aead.Seal(buf[headerLen:headerLen], s.iv[:], payload, buf[:headerLen])
	return end, nil
}

// Labels of the key derivation, RFC 3711 section 4.3.1.
const (
	labelEncryption = 0x00
	labelSalt       = 0x02
)

// deriveKey is the AES-CM key derivation of RFC 3711 section 4.3.3 with a key derivation rate of zero; the 12-byte salts of AES-GCM are padded on the right
// (RFC 7714 section 11).
func deriveKey(label byte, masterKey, masterSalt []byte, n int) ([]byte, error) {
	block, err := aes.NewCipher(masterKey)
	if err != nil {
		return nil, err
	}
	var counter [aes.BlockSize]byte
	copy(counter[:14], masterSalt)
	counter[7] ^= label
	out := make([]byte, n)
	cipher.NewCTR(block, counter[:]).XORKeyStream(out, out)
	return out, nil
}

// contextSealer seals with pion's context: AES-CM with HMAC-SHA1 (RFC 3711), for clients which offer nothing better.
type contextSealer struct {
	context *srtp.Context
	header  rtp.Header
}

func (s *contextSealer) seal(buf []byte, headerLen int, payload []byte, _ uint32, _ uint64) (int, error) {
	end := headerLen + len(payload)
	if end+Overhead > len(buf) {
		return 0, errSealRoom
	}
	copy(buf[headerLen:], payload)
	sealed, err := s.context.EncryptRTP(buf[:0:len(buf)], buf[:end], &s.header)
	return len(sealed), err
}
