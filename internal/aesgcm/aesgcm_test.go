package aesgcm

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"
)

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return b
}

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	require.NoError(t, err)
	return b
}

// The test cases for 128-bit keys and 96-bit nonces of the GCM specification (McGrew and Viega, appendix B).
func TestSpecification(t *testing.T) {
	const key, nonce = "feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888"
	const plain = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255"
	for _, row := range []struct{ name, key, nonce, plain, additional, sealed string }{
		{"1", "00000000000000000000000000000000", "000000000000000000000000", "", "", "58e2fccefa7e3061367f1d57a4e7455a"},
		{"2", "00000000000000000000000000000000", "000000000000000000000000", "00000000000000000000000000000000", "", "0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf"},
		{"3", key, nonce, plain, "", "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091473f59854d5c2af327cd64a62cf35abd2ba6fab4"},
		{"4", key, nonce, plain[:120], "feedfacedeadbeeffeedfacedeadbeefabaddad2", "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e0915bc94fbc3221a5db94fae95ae7121a47"},
	} {
		t.Run(row.name, func(t *testing.T) {
			c, err := New(unhex(t, row.key))
			require.NoError(t, err)
			sealed := c.Seal(nil, unhex(t, row.nonce), unhex(t, row.plain), unhex(t, row.additional))
			require.Equal(t, row.sealed, hex.EncodeToString(sealed))
			plain, err := c.Open(nil, unhex(t, row.nonce), sealed, unhex(t, row.additional))
			require.NoError(t, err)
			require.Equal(t, row.plain, hex.EncodeToString(plain))
		})
	}
}

// Every length makes what the standard library makes, and is opened by it and by us; beyond the end nothing is written.
func TestAgainstStandard(t *testing.T) {
	key := random(KeySize)
	ours, err := New(key)
	require.NoError(t, err)
	standard, err := newStandard(key)
	require.NoError(t, err)
	for size := range 2100 {
		nonce, plain, additional := random(NonceSize), random(size), random(size%70)
		want := standard.Seal(nil, nonce, plain, additional)
		room := bytes.Repeat([]byte{0xee}, 5+size+TagSize+64)
		got := ours.Seal(room[:5], nonce, plain, additional)
		require.Equal(t, want, got[5:], "%d bytes", size)
		require.Equal(t, bytes.Repeat([]byte{0xee}, 64), room[len(got):len(got)+64], "%d bytes", size)
		room = bytes.Repeat([]byte{0xee}, 5+size+64)
		opened, err := ours.Open(room[:5], nonce, want, additional)
		require.NoError(t, err)
		require.True(t, bytes.Equal(plain, opened[5:]), "%d bytes", size)
		require.Equal(t, bytes.Repeat([]byte{0xee}, 64), room[len(opened):len(opened)+64], "%d bytes", size)
	}
}

func TestInPlace(t *testing.T) {
	c, err := New(random(KeySize))
	require.NoError(t, err)
	for _, size := range []int{0, 1, 15, 16, 17, 63, 64, 65, 255, 256, 257, 1200, 1500, 9000} {
		plain, nonce := random(size), random(NonceSize)
		buffer := append(make([]byte, 0, size+TagSize), plain...)
		sealed := c.Seal(buffer[:0], nonce, buffer, nil)
		require.Equal(t, c.Seal(nil, nonce, plain, nil), sealed)
		opened, err := c.Open(sealed[:0], nonce, sealed, nil)
		require.NoError(t, err)
		require.True(t, bytes.Equal(plain, opened))
	}
}

// Whatever is changed, nothing is opened, and nothing is written.
func TestOpenRefuses(t *testing.T) {
	c, err := New(random(KeySize))
	require.NoError(t, err)
	nonce, additional := random(NonceSize), random(12)
	sealed := c.Seal(nil, nonce, random(300), additional)
	room := make([]byte, 400)
	refused := func(nonce, sealed, additional []byte, what string, at int) {
		t.Helper()
		_, err := c.Open(room[:0], nonce, sealed, additional)
		require.Error(t, err, "%s %d", what, at)
	}
	for bit := range len(sealed) * 8 {
		sealed[bit/8] ^= 1 << (bit % 8)
		refused(nonce, sealed, additional, "bit", bit)
		sealed[bit/8] ^= 1 << (bit % 8)
	}
	for size := range sealed {
		refused(nonce, sealed[:size], additional, "prefix", size)
	}
	for i := range additional {
		refused(nonce, sealed, additional[:i], "additional data", i)
	}
	for i := range nonce {
		other := bytes.Clone(nonce)
		other[i] ^= 1
		refused(other, sealed, additional, "nonce", i)
	}
	require.Equal(t, make([]byte, 400), room)
	_, err = c.Open(nil, nonce, sealed, additional)
	require.NoError(t, err)
}

func TestBounds(t *testing.T) {
	for _, size := range []int{0, 15, 17, 24, 32} {
		_, err := New(make([]byte, size))
		require.Error(t, err, size)
	}
	c, err := New(make([]byte, KeySize))
	require.NoError(t, err)
	require.Equal(t, NonceSize, c.NonceSize())
	require.Equal(t, TagSize, c.Overhead())
	require.Panics(t, func() { c.Seal(nil, make([]byte, 8), nil, nil) })
}

func FuzzAgainstStandard(f *testing.F) {
	f.Add([]byte("0123456789abcdef"), []byte("nonce"), []byte("plain"), []byte("additional"))
	f.Fuzz(func(t *testing.T, key, nonce, plain, additional []byte) {
		key = append(key, make([]byte, KeySize)...)[:KeySize]
		nonce = append(nonce, make([]byte, NonceSize)...)[:NonceSize]
		ours, err := New(key)
		require.NoError(t, err)
		standard, err := newStandard(key)
		require.NoError(t, err)
		sealed := ours.Seal(nil, nonce, plain, additional)
		require.Equal(t, standard.Seal(nil, nonce, plain, additional), sealed)
		_, theirs := standard.Open(nil, nonce, plain, additional)
		_, mine := ours.Open(nil, nonce, plain, additional)
		require.Equal(t, theirs == nil, mine == nil)
	})
}

func TestNothingIsAllocated(t *testing.T) {
	c, err := New(random(KeySize))
	require.NoError(t, err)
	plain, nonce, room := random(1200), random(NonceSize), make([]byte, 0, 1300)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		sealed := c.Seal(room, nonce, plain, nonce)
		_, _ = c.Open(plain[:0], nonce, sealed, nonce)
	}))
}

// BenchmarkSeal and BenchmarkOpen compare with the standard library at the size of a video packet.
func BenchmarkSeal(b *testing.B) {
	benchmark(b, func(c sealer, nonce, plain, room []byte) func() {
		return func() { c.Seal(room, nonce, plain, nonce) }
	})
}

func BenchmarkOpen(b *testing.B) {
	benchmark(b, func(c sealer, nonce, plain, room []byte) func() {
		sealed := c.Seal(nil, nonce, plain, nonce)
		return func() { _, _ = c.Open(room, nonce, sealed, nonce) }
	})
}

type sealer interface {
	Seal(dst, nonce, plaintext, additional []byte) []byte
	Open(dst, nonce, ciphertext, additional []byte) ([]byte, error)
}

func benchmark(b *testing.B, prepare func(c sealer, nonce, plain, room []byte) func()) {
	key := random(KeySize)
	ours, _ := New(key)
	standard, _ := newStandard(key)
	for name, c := range map[string]sealer{"ours": ours, "standard": standard} {
		for _, size := range []int{100, 1200} {
			b.Run(name+"-"+map[int]string{100: "100", 1200: "1200"}[size], func(b *testing.B) {
				work := prepare(c, random(NonceSize), random(size), make([]byte, 0, size+TagSize))
				b.SetBytes(int64(size))
				for b.Loop() {
					work()
				}
			})
		}
	}
}
