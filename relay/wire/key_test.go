package wire

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

var secret = bytes.Repeat([]byte{7}, SecretLen)

func sealed(t testing.TB, k *Key, h Header, payload []byte) []byte {
	t.Helper()
	b := make([]byte, len(payload)+Overhead)
	require.Equal(t, len(b), k.Seal(b, h, payload))
	return b
}

func open(t testing.TB, o *Opener, b []byte) ([]byte, error) {
	t.Helper()
	h, err := ParseHeader(b)
	require.NoError(t, err)
	return o.Open(nil, b, h)
}

func TestSealAndOpen(t *testing.T) {
	k, err := NewKey(secret)
	require.NoError(t, err)
	o, err := NewOpener(secret)
	require.NoError(t, err)
	for _, payload := range [][]byte{nil, {1}, bytes.Repeat([]byte{9}, 1200)} {
		h := Header{Type: TypeMedia, Handle: 5, Seq: 77}
		b := sealed(t, k, h, payload)
		require.Equal(t, b, sealed(t, k, h, payload), "sealing again makes the same bytes")
		plain, err := open(t, o, b)
		require.NoError(t, err)
		require.True(t, bytes.Equal(payload, plain))
	}
	media, control := sealed(t, k, Header{Type: TypeMedia, Seq: 1}, secret), sealed(t, k, Header{Type: TypePing, Seq: 1}, secret)
	require.NotEqual(t, media[HeaderLen:], control[HeaderLen:], "flows have nonces of their own")
}

// Every bit counts, of the header as well.
func TestEveryFlippedBitIsRefused(t *testing.T) {
	k, err := NewKey(secret)
	require.NoError(t, err)
	good := sealed(t, k, Header{Type: TypeMedia, Handle: 5, Seq: 77}, []byte("payload"))
	for bit := range 8 * len(good) {
		bad := bytes.Clone(good)
		bad[bit/8] ^= 1 << (bit % 8)
		h, err := ParseHeader(bad)
		if err != nil {
			continue
		}
		o, err := NewOpener(secret)
		require.NoError(t, err)
		_, err = o.Open(nil, bad, h)
		require.ErrorIs(t, err, ErrSeal, "bit %d", bit)
	}
	for n := Overhead; n < len(good); n++ {
		o, err := NewOpener(secret)
		require.NoError(t, err)
		_, err = open(t, o, good[:n])
		require.ErrorIs(t, err, ErrSeal, "prefix of %d bytes", n)
	}
}

func TestPhases(t *testing.T) {
	k, err := NewKey(secret)
	require.NoError(t, err)
	o, err := NewOpener(secret)
	require.NoError(t, err)
	var late []byte
	for seq := range uint64(10) {
		b := sealed(t, k, Header{Type: TypeMedia, Seq: 2 * seq}, []byte{byte(seq)})
		plain, err := open(t, o, b)
		require.NoError(t, err)
		require.Equal(t, []byte{byte(seq)}, plain)
		if late != nil {
			_, err = open(t, o, late)
			require.NoError(t, err, "a repair of the phase before")
		}
		late = sealed(t, k, Header{Type: TypeMedia, Seq: 2*seq + 1}, nil)
		k, err = k.Next()
		require.NoError(t, err)
	}
	forged := sealed(t, k, Header{Type: TypeMedia, Seq: 99}, nil)
	forged[len(forged)-1] ^= 1
	before := *o
	_, err = open(t, o, forged)
	require.ErrorIs(t, err, ErrSeal)
	require.Equal(t, before.current, o.current, "a forged datagram begins no phase")
}

func TestSecretLength(t *testing.T) {
	_, err := NewKey(secret[1:])
	require.Error(t, err)
	_, err = NewOpener(nil)
	require.Error(t, err)
}

func FuzzOpen(f *testing.F) {
	k, err := NewKey(secret)
	require.NoError(f, err)
	f.Add(sealed(f, k, Header{Type: TypeMedia, Seq: 3}, []byte("x")))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHeader(b)
		if err != nil {
			return
		}
		o, err := NewOpener(secret)
		require.NoError(t, err)
		plain, err := o.Open(nil, b, h)
		if err != nil {
			return
		}
		k, err := NewKey(secret)
		require.NoError(t, err)
		require.Equal(t, b, sealed(t, k, h, plain), "what opens was sealed")
	})
}

// The path of a packet allocates nothing, in either direction.
func TestAllocations(t *testing.T) {
	k, err := NewKey(secret)
	require.NoError(t, err)
	o, err := NewOpener(secret)
	require.NoError(t, err)
	var window Window
	var gaps Gaps
	var history History
	payload, b, out := bytes.Repeat([]byte{9}, 1200), make([]byte, 1300), make([]byte, 0, 1300)
	seq := uint64(0)
	run := func() {
		for range 100 {
			h := Header{Type: TypeMedia, Seq: seq}
			n := k.Seal(b, h, payload)
			history.Add(h, payload, k)
			h, _ = ParseHeader(b[:n])
			if window.Seen(h.Seq) {
				t.Fatal("seen")
			}
			if _, err := o.Open(out, b[:n], h); err != nil {
				t.Fatal(err)
			}
			window.Mark(h.Seq)
			gaps.On(h.Seq, int64(seq))
			seq++
		}
	}
	run()
	require.Zero(t, testing.AllocsPerRun(10, run))
}
