// Package aesgcm is AES-128-GCM (NIST SP 800-38D) for packets of about a kilobyte. It gives the standard library's, which takes 16 bytes per instruction, unless
// the processor takes 64 (VAES and VPCLMULQDQ with AVX-512): then a packet of 1,200 bytes costs less than half. Both make the same bytes.
//
// The fast form is two passes, each small enough to be read at once (gcm_amd64.s): crypt is counter mode, and authenticate is GHASH over up to 16 blocks at a time with that
// many powers of the hash key. A pass takes any number of bytes, since loads and stores of the last ones are masked. Neither branches on, nor looks up by, keys or data.
package aesgcm

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
)

// Sizes in bytes.
const (
	KeySize   = 16
	NonceSize = 12
	TagSize   = 16
)

// ErrOpen says that what was to be opened was not sealed so.
var ErrOpen = errors.New("message does not authenticate")

// New makes the cipher of a 16-byte key, safe for concurrent use. Nonces have 12 bytes. Seal and Open may work in place (dst = plaintext[:0], dst = ciphertext[:0]);
// otherwise dst must not overlap what is read.
func New(key []byte) (cipher.AEAD, error) {
	if len(key) != KeySize {
		return nil, aes.KeySizeError(len(key))
	}
	if fast := newFast(key); fast != nil {
		return fast, nil
	}
	return newStandard(key)
}

func newStandard(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
