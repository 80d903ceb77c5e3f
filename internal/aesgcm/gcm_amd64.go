package aesgcm

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"slices"
	"unsafe"

	"golang.org/x/sys/cpu"
)

const (
	blockSize = 16
	rounds    = 10 // of AES-128 (FIPS 197 section 5)
	// hashBlocks is how many blocks authenticate multiplies before it reduces once.
	hashBlocks = 16
	// maxPlain is the most that 32 bits of counter encrypt (SP 800-38D section 5.2.1.1).
	maxPlain = (1<<32 - 2) * blockSize
)

// wide says that the processor, and the system, have what gcm_amd64.s is written in.
var wide = cpu.X86.HasAES && cpu.X86.HasSSE41 && cpu.X86.HasBMI2 && cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VL &&
	cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VAES && cpu.X86.HasAVX512VPCLMULQDQ

// gcm is the fast form. It does not change once it is made.
type gcm struct {
	keys [(rounds + 1) * blockSize]byte
	// powers of the hash key from the 16th down to the first, each times x as authenticate wants it, and three zero blocks, since it loads four at a time.
	powers [hashBlocks + 3]element
}

// element is one of GF(2^128) as authenticate has them: the bytes of a block in reverse, so that the lowest coefficient is the highest bit.
type element struct{ low, high uint64 }

//go:noescape
func expand(key *byte, keys *byte)

// crypt encrypts or decrypts n bytes, and makes the mask of the tag.
//
//go:noescape
func crypt(dst, src *byte, n int, keys, nonce *byte, mask *[blockSize]byte)

// authenticate makes the tag.
//
//go:noescape
func authenticate(tag *[TagSize]byte, powers *element, additional *byte, nAdditional int, sealed *byte, nSealed int, mask *[blockSize]byte)

func newFast(key []byte) cipher.AEAD {
	if !wide {
		return nil
	}
	g := &gcm{}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil
	}
	expand(unsafe.SliceData(key), &g.keys[0])
	var zero [blockSize]byte
	block.Encrypt(zero[:], zero[:]) // the hash key (SP 800-38D section 7.1)
	h := element{low: binary.BigEndian.Uint64(zero[8:]), high: binary.BigEndian.Uint64(zero[:])}.double()
	power := h
	for i := hashBlocks - 1; i >= 0; i-- {
		g.powers[i] = power
		power = power.times(h)
	}
	return g
}

// polynomial is x^128 + x^7 + x^2 + x + 1 without its highest term, bits in reverse.
var polynomial = element{low: 1, high: 0xc2 << 56}

// double multiplies by x, which the reduction in authenticate takes out again.
func (e element) double() element {
	carry := -(e.high >> 63)
	return element{low: e.low<<1 ^ polynomial.low&carry, high: e.high<<1 ^ e.low>>63 ^ polynomial.high&carry}
}

// times multiplies as authenticate does: without carries, and reduced from below in two steps, of which each divides by x^64.
func (e element) times(other element) element {
	lowHigh, lowLow := multiply(e.low, other.low)
	highHigh, highLow := multiply(e.high, other.high)
	a, b := multiply(e.low, other.high)
	c, d := multiply(e.high, other.low)
	middle := element{low: b ^ d, high: a ^ c}
	high, low := multiply(lowLow, polynomial.high)
	middle = element{low: middle.low ^ lowHigh ^ low, high: middle.high ^ lowLow ^ high}
	high, low = multiply(middle.low, polynomial.high)
	return element{low: highLow ^ middle.high ^ low, high: highHigh ^ middle.low ^ high}
}

// multiply is the product without carries. It takes the same time for all factors.
func multiply(a, b uint64) (high, low uint64) {
	for i := range 64 {
		mask := -(b >> i & 1)
		low ^= a << i & mask
		high ^= a >> 1 >> (63 - i) & mask
	}
	return high, low
}

// NonceSize implements cipher.AEAD.
func (g *gcm) NonceSize() int { return NonceSize }

// Overhead implements cipher.AEAD.
func (g *gcm) Overhead() int { return TagSize }

// Seal implements cipher.AEAD.
func (g *gcm) Seal(dst, nonce, plaintext, additional []byte) []byte {
	check(nonce, len(plaintext))
	out := slices.Grow(dst, len(plaintext)+TagSize)[:len(dst)+len(plaintext)+TagSize]
	sealed, tag := out[len(dst):len(out)-TagSize], out[len(out)-TagSize:]
	var mask [blockSize]byte
	crypt(unsafe.SliceData(sealed), unsafe.SliceData(plaintext), len(plaintext), &g.keys[0], &nonce[0], &mask)
	authenticate((*[TagSize]byte)(tag), &g.powers[0], unsafe.SliceData(additional), len(additional), unsafe.SliceData(sealed), len(sealed), &mask)
	return out
}

// Open implements cipher.AEAD. It decrypts nothing that does not authenticate.
func (g *gcm) Open(dst, nonce, ciphertext, additional []byte) ([]byte, error) {
	if len(ciphertext) < TagSize {
		return nil, ErrOpen
	}
	sealed, tag := ciphertext[:len(ciphertext)-TagSize], ciphertext[len(ciphertext)-TagSize:]
	check(nonce, len(sealed))
	var mask, want [TagSize]byte
	crypt(nil, nil, 0, &g.keys[0], &nonce[0], &mask)
	authenticate(&want, &g.powers[0], unsafe.SliceData(additional), len(additional), unsafe.SliceData(sealed), len(sealed), &mask)
	if differ(&want, (*[TagSize]byte)(tag)) != 0 {
		return nil, ErrOpen
	}
	out := slices.Grow(dst, len(sealed))[:len(dst)+len(sealed)]
	crypt(unsafe.SliceData(out[len(dst):]), unsafe.SliceData(sealed), len(sealed), &g.keys[0], &nonce[0], &mask)
	return out, nil
}

// differ is 0 for equal tags, and takes the same time for all.
func differ(a, b *[TagSize]byte) uint64 {
	first := binary.NativeEndian.Uint64(a[:8]) ^ binary.NativeEndian.Uint64(b[:8])
	return first | (binary.NativeEndian.Uint64(a[8:]) ^ binary.NativeEndian.Uint64(b[8:]))
}

func check(nonce []byte, size int) {
	if len(nonce) != NonceSize {
		panic("aesgcm: a nonce has 12 bytes")
	}
	if size > maxPlain {
		panic("aesgcm: message is too long")
	}
}
