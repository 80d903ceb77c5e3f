package wire

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"rheomesh/internal/aesgcm"
)

// SecretLen is the length of a direction's secret in bytes.
const SecretLen = 32

// ErrSeal says that a datagram was not sealed with the key.
var ErrSeal = errors.New("datagram does not authenticate")

// Key seals or opens the datagrams of one direction of a link during one phase. It has scratch space, so it is for one goroutine at a time.
type Key struct {
	phase uint64
	next  []byte // the secret of the next phase
	aead  cipher.AEAD
	salt  uint32
	nonce [12]byte
}

// NewKey makes the key of a direction's first phase from its secret.
func NewKey(secret []byte) (*Key, error) { return newKey(secret, 0) }

// newKey expands a phase's secret (RFC 5869) into its key, its salt, and the secret of the phase after it, as RFC 9001 section 6 does.
func newKey(secret []byte, phase uint64) (*Key, error) {
	if len(secret) != SecretLen {
		return nil, fmt.Errorf("link key: secret has %d bytes, not %d", len(secret), SecretLen)
	}
	expanded, err := hkdf.Expand(sha256.New, secret, "rheomesh relay 1 phase", 16+4+SecretLen)
	if err != nil {
		return nil, fmt.Errorf("link key: %w", err)
	}
	aead, err := aesgcm.New(expanded[:16])
	if err != nil {
		return nil, fmt.Errorf("link key: %w", err)
	}
	return &Key{phase: phase, next: expanded[20:], aead: aead, salt: binary.BigEndian.Uint32(expanded[16:])}, nil
}

// Next is the key of the phase after this one.
func (k *Key) Next() (*Key, error) { return newKey(k.next, k.phase+1) }

// Phase is the bit that tells the key from those before and after it.
func (k *Key) Phase() uint8 { return uint8(k.phase & 1) }

// setNonce is salt and number. The salt's first bit tells the flows apart, whose numbers repeat each other's. Hot path.
func (k *Key) setNonce(h Header) {
	salt := k.salt &^ (1 << 31)
	if h.Type.Media() {
		salt |= 1 << 31
	}
	binary.BigEndian.PutUint32(k.nonce[:], salt)
	binary.BigEndian.PutUint64(k.nonce[4:], h.Seq)
}

// Seal writes the datagram of h and payload to b, which must have room for Overhead more bytes than payload has, and returns its length. It puts its
// own phase into the header. payload must not overlap b. Hot path.
func (k *Key) Seal(b []byte, h Header, payload []byte) int {
	h.Phase = k.Phase()
	h.Put(b)
	k.setNonce(h)
	return len(k.aead.Seal(b[:HeaderLen], k.nonce[:], payload, b[:HeaderLen]))
}

// Open appends the payload of a datagram, whose header h is, to dst. dst must not overlap the datagram, which stays as it is. Hot path.
func (k *Key) Open(dst, datagram []byte, h Header) ([]byte, error) {
	k.setNonce(h)
	out, err := k.aead.Open(dst, k.nonce[:], datagram[HeaderLen:], datagram[:HeaderLen])
	if err != nil {
		return nil, ErrSeal
	}
	return out, nil
}

// Opener opens the datagrams of one direction through its phases. The sender decides when a new one begins; the opener follows with the first datagram that the
// next key opens. It is for one goroutine at a time.
type Opener struct {
	previous, current, next *Key // previous is nil in the first phase
}

// NewOpener makes the opener of a direction from its secret.
func NewOpener(secret []byte) (*Opener, error) {
	current, err := NewKey(secret)
	if err != nil {
		return nil, err
	}
	next, err := current.Next()
	if err != nil {
		return nil, err
	}
	return &Opener{current: current, next: next}, nil
}

// Open is Key.Open with the key of the datagram's phase. Hot path.
func (o *Opener) Open(dst, datagram []byte, h Header) ([]byte, error) {
	if h.Phase == o.current.Phase() {
		return o.current.Open(dst, datagram, h)
	}
	return o.openOther(dst, datagram, h)
}

// openOther takes a datagram of the other phase: a late one of the previous key, or the first of the next.
func (o *Opener) openOther(dst, datagram []byte, h Header) ([]byte, error) {
	if o.previous != nil {
		if out, err := o.previous.Open(dst, datagram, h); err == nil {
			return out, nil
		}
	}
	out, err := o.next.Open(dst, datagram, h)
	if err != nil {
		return nil, err
	}
	afterNext, err := o.next.Next()
	if err != nil {
		return nil, err
	}
	o.previous, o.current, o.next = o.current, o.next, afterNext
	return out, nil
}
