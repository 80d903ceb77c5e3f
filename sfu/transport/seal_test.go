package transport

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"testing"

	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
	"github.com/stretchr/testify/require"
)

var sealProfiles = []srtp.ProtectionProfile{
	srtp.ProtectionProfileAeadAes128Gcm, srtp.ProtectionProfileAeadAes256Gcm, srtp.ProtectionProfileAes128CmHmacSha1_80,
}

func masterKeys(t testing.TB, profile srtp.ProtectionProfile) (key, salt []byte) {
	t.Helper()
	keyBytes, err := profile.KeyLen()
	require.NoError(t, err)
	saltBytes, err := profile.SaltLen()
	require.NoError(t, err)
	key, salt = make([]byte, keyBytes), make([]byte, saltBytes)
	_, _ = rand.Read(key)
	_, _ = rand.Read(salt)
	return key, salt
}

// packetWith marshals a header with an extension and contributing sources, and appends the payload.
func packetWith(t testing.TB, seq uint16, payload []byte) (packet []byte, headerLen int) {
	t.Helper()
	h := rtp.Header{Version: 2, Marker: true, PayloadType: 96, SequenceNumber: seq, Timestamp: uint32(seq) * 3000, SSRC: 0xdecafbad, CSRC: []uint32{1, 2}}
	require.NoError(t, h.SetExtension(3, []byte("mid")))
	header, err := h.Marshal()
	require.NoError(t, err)
	return append(header, payload...), len(header)
}

func seal(t testing.TB, s sealer, extSeq uint64, payload []byte) []byte {
	t.Helper()
	packet, headerLen := packetWith(t, uint16(extSeq), nil)
	buf := append(packet, make([]byte, len(payload)+Overhead)...)
	n, err := s.seal(buf, headerLen, payload, 0xdecafbad, extSeq)
	require.NoError(t, err)
	return buf[:n]
}

// TestSealAgainstPion seals across two roll-overs, with gaps, and has pion open the packets.
func TestSealAgainstPion(t *testing.T) {
	for _, profile := range sealProfiles {
		t.Run(profile.String(), func(t *testing.T) {
			key, salt := masterKeys(t, profile)
			ours, err := newSealer(profile, key, salt)
			require.NoError(t, err)
			theirs, err := srtp.CreateContext(key, salt, profile, srtp.SRTPReplayProtection(1<<15))
			require.NoError(t, err)
			pion, err := srtp.CreateContext(key, salt, profile)
			require.NoError(t, err)
			late := map[uint64][]byte{}
			payload := []byte("payload")
			for extSeq := uint64(65000); extSeq < 3<<16; extSeq += 97 {
				want, _ := packetWith(t, uint16(extSeq), payload)
				sealed := seal(t, ours, extSeq, payload)
				reference, err := pion.EncryptRTP(nil, want, nil)
				require.NoError(t, err)
				require.Equal(t, reference, sealed, "%d", extSeq)
				got, err := theirs.DecryptRTP(nil, sealed, nil)
				require.NoError(t, err, "%d", extSeq)
				require.Equal(t, want, got)
				late[extSeq] = sealed
			}
			for _, extSeq := range []uint64{3<<16 - 20000, 3<<16 - 97, 3<<16 - 30000} { // what a late NACK asks for
				extSeq -= (extSeq - 65000) % 97
				require.Equal(t, late[extSeq], seal(t, ours, extSeq, payload), "sealed again, %d is not the same", extSeq)
			}
			for extSeq := uint64(1<<17 + 1000); extSeq > 1<<17-1000; extSeq -= 97 { // across a roll-over, backwards
				again := extSeq - (extSeq-65000)%97
				if profile != srtp.ProtectionProfileAes128CmHmacSha1_80 {
					require.Equal(t, late[again], seal(t, ours, again, payload), "%d", again)
				}
			}
		})
	}
}

// TestSealAgainAcrossRollOver re-seals numbers of before a roll-over just after it, with every profile.
func TestSealAgainAcrossRollOver(t *testing.T) {
	for _, profile := range sealProfiles {
		t.Run(profile.String(), func(t *testing.T) {
			key, salt := masterKeys(t, profile)
			s, err := newSealer(profile, key, salt)
			require.NoError(t, err)
			first := map[uint64][]byte{}
			for extSeq := uint64(65400); extSeq < 65700; extSeq++ {
				first[extSeq] = seal(t, s, extSeq, []byte("payload"))
			}
			for _, extSeq := range []uint64{65400, 65535, 65536, 65699, 65534} {
				require.Equal(t, first[extSeq], seal(t, s, extSeq, []byte("payload")), "%d", extSeq)
			}
			require.NotEqual(t, first[65699], seal(t, s, 65700, []byte("payload")))
		})
	}
}

func TestSealSizes(t *testing.T) {
	for _, profile := range sealProfiles {
		t.Run(profile.String(), func(t *testing.T) {
			key, salt := masterKeys(t, profile)
			s, err := newSealer(profile, key, salt)
			require.NoError(t, err)
			opener, err := srtp.CreateContext(key, salt, profile)
			require.NoError(t, err)
			for extSeq, size := range []int{0, 1, 15, 16, 17, 1200, 1460} {
				payload := bytes.Repeat([]byte{7}, size)
				want, headerLen := packetWith(t, uint16(extSeq), payload)
				got, err := opener.DecryptRTP(nil, seal(t, s, uint64(extSeq), payload), nil)
				require.NoError(t, err)
				require.Equal(t, want, got)

				header, _ := packetWith(t, uint16(extSeq), nil)
				tight := append(header, make([]byte, size+Overhead-1)...)
				_, err = s.seal(tight, headerLen, payload, 0xdecafbad, uint64(extSeq))
				require.ErrorIs(t, err, errSealRoom)
			}
		})
	}
	_, err := newSealer(srtp.ProtectionProfileAeadAes128Gcm, []byte("short"), make([]byte, 12))
	require.Error(t, err)
	_, err = newSealer(srtp.ProtectionProfileAes128CmHmacSha1_80, []byte("short"), nil)
	require.Error(t, err)
}

// keyPair makes the keys of both sides.
func keyPair(t testing.TB, profile srtp.ProtectionProfile) (ours, theirs *keys) {
	t.Helper()
	a, b := configPair(t, profile)
	ours, err := keysFrom(a)
	require.NoError(t, err)
	theirs, err = keysFrom(b)
	require.NoError(t, err)
	return ours, theirs
}

func configPair(t testing.TB, profile srtp.ProtectionProfile) (ours, theirs srtp.Config) {
	t.Helper()
	var a, b srtp.SessionKeys
	a.LocalMasterKey, a.LocalMasterSalt = masterKeys(t, profile)
	a.RemoteMasterKey, a.RemoteMasterSalt = masterKeys(t, profile)
	b.LocalMasterKey, b.LocalMasterSalt, b.RemoteMasterKey, b.RemoteMasterSalt = a.RemoteMasterKey, a.RemoteMasterSalt, a.LocalMasterKey, a.LocalMasterSalt
	return srtp.Config{Profile: profile, Keys: a}, srtp.Config{Profile: profile, Keys: b}
}

// TestStreamLimit has a client with keys send from ever new SSRCs.
func TestStreamLimit(t *testing.T) {
	for _, profile := range sealProfiles {
		t.Run(profile.String(), func(t *testing.T) {
			ours, theirs := keyPair(t, profile)
			send := func(ssrc uint32, seq uint16) error {
				packet := append(rtpPacket(seq, ssrc, "x"), make([]byte, Overhead)...)
				n, err := theirs.sealer.seal(packet, 12, []byte("x"), ssrc, uint64(seq))
				require.NoError(t, err)
				_, err = ours.openRTP(nil, packet[:n])
				return err
			}
			for ssrc := range uint32(maxStreams) {
				require.Error(t, func() error {
					_, err := ours.openRTP(nil, rtpPacket(1, 1e6+ssrc, "a forgery of some length"))
					return err
				}(), "forgeries take no place")
				require.NoError(t, send(ssrc, 1))
			}
			require.ErrorIs(t, send(maxStreams, 1), errStreams)
			require.NoError(t, send(0, 2))
			require.NoError(t, send(maxStreams-1, 2))
			require.Error(t, send(0, 2), "a packet counts once")
		})
	}
	ours, _ := keyPair(t, srtp.ProtectionProfileAeadAes128Gcm)
	for n := range 12 {
		_, err := ours.openRTP(nil, make([]byte, n))
		require.ErrorIs(t, err, errShort)
	}
	for n := range 8 {
		_, err := ours.openRTCP(nil, make([]byte, n))
		require.ErrorIs(t, err, errShort)
	}
}

// TestMediaAllocations is the guard of the hot path: sealing and opening a packet allocates nothing.
func TestMediaAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	const packets = 100
	for _, profile := range sealProfiles {
		t.Run(profile.String(), func(t *testing.T) {
			sender, receiver := keyPair(t, profile)
			from, to := &Session{}, &Session{}
			from.srtp.Store(sender)
			to.srtp.Store(receiver)
			payload := make([]byte, 1200)
			header, headerLen := packetWith(t, 0, nil)
			buf, plain := append(header, make([]byte, 1200+Overhead)...), make([]byte, 0, 1500)
			extSeq := uint64(0)
			run := func() {
				for range packets {
					extSeq++
					buf[2], buf[3] = byte(extSeq>>8), byte(extSeq)
					n, err := from.SealRTP(buf, headerLen, payload, 0xdecafbad, extSeq)
					if err == nil {
						_, err = to.OpenRTP(plain, buf[:n])
					}
					if err != nil {
						t.Fatal(err)
					}
				}
			}
			run()
			require.Zero(t, testing.AllocsPerRun(10, run))
		})
	}
}

// BenchmarkSeal seals 1,200-byte packets: our AES-GCM against pion's, and the older AES-CM with HMAC-SHA1.
func BenchmarkSeal(b *testing.B) {
	const bytes = 1200
	run := func(b *testing.B, seal func(buf []byte, headerLen int, payload []byte, extSeq uint64) error) {
		header, headerLen := packetWith(b, 0, nil)
		buf, payload := append(header, make([]byte, bytes+Overhead)...), make([]byte, bytes-headerLen)
		extSeq := uint64(0)
		b.ReportAllocs()
		for b.Loop() {
			extSeq++
			buf[2], buf[3] = byte(extSeq>>8), byte(extSeq)
			if err := seal(buf, headerLen, payload, extSeq); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N), "ns/packet")
	}
	for _, profile := range sealProfiles {
		key, salt := masterKeys(b, profile)
		b.Run(fmt.Sprintf("ours/%v", profile), func(b *testing.B) {
			s, err := newSealer(profile, key, salt)
			require.NoError(b, err)
			run(b, func(buf []byte, headerLen int, payload []byte, extSeq uint64) error {
				_, err := s.seal(buf, headerLen, payload, 0xdecafbad, extSeq)
				return err
			})
		})
		b.Run(fmt.Sprintf("pion/%v", profile), func(b *testing.B) {
			context, err := srtp.CreateContext(key, salt, profile)
			require.NoError(b, err)
			out, scratch := make([]byte, 0, 1500), rtp.Header{}
			run(b, func(buf []byte, headerLen int, payload []byte, _ uint64) error {
				copy(buf[headerLen:], payload)
				_, err := context.EncryptRTP(out, buf[:headerLen+len(payload)], &scratch)
				return err
			})
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	for _, profile := range sealProfiles {
		b.Run(profile.String(), func(b *testing.B) {
			ours, theirs := configPair(b, profile)
			sender, err := keysFrom(theirs)
			require.NoError(b, err)
			to := &Session{}
			var sealed [][]byte
			for seq := range 1 << 15 {
				sealed = append(sealed, seal(b, sender.sealer, uint64(seq), make([]byte, 1200)))
			}
			plain := make([]byte, 0, 1500)
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; i++ {
				if i%len(sealed) == 0 { // a fresh context: each number opens once
					b.StopTimer()
					fresh, err := keysFrom(ours)
					require.NoError(b, err)
					to.srtp.Store(fresh)
					b.StartTimer()
				}
				if _, err := to.OpenRTP(plain, sealed[i%len(sealed)]); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N), "ns/packet")
		})
	}
}
