package transport

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// record is a DTLS 1.2 record.
func record(kind byte, epoch byte, body ...byte) []byte {
	return append([]byte{kind, 254, 253, 0, epoch, 0, 0, 0, 0, 0, 99, byte(len(body) >> 8), byte(len(body))}, body...)
}

func TestInspectRecords(t *testing.T) {
	join := func(records ...[]byte) (joined []byte) {
		for _, r := range records {
			joined = append(joined, r...)
		}
		return joined
	}
	handshake, ccs, finished := record(recordHandshake, 0, 1, 2), record(recordChangeCipherSpec, 0, 1), record(recordHandshake, 1, 1, 2)
	tests := []struct {
		name            string
		datagram        []byte
		ok, application bool
	}{
		{"last flight again", join(handshake, ccs, finished), true, false},
		{"sealed alert", record(21, 1, 1, 2, 3), true, false},
		{"application data", record(recordApplicationData, 1, 1), true, true},
		{"application data behind an alert", join(record(21, 1, 1), record(recordApplicationData, 1, 1)), true, true},
		{"alert in the clear", record(21, 0, 1, 0), false, false},
		{"alert in the clear behind a flight", join(handshake, record(21, 0, 2, 40)), false, false},
		{"application data in the clear", record(recordApplicationData, 0, 1), false, false},
		{"odd change of cipher", record(recordChangeCipherSpec, 0, 2), false, false},
		{"long change of cipher", record(recordChangeCipherSpec, 0, 1, 1), false, false},
		{"unknown type in the clear", record(30, 0, 1), false, false},
		{"empty", nil, true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ok, application := inspectRecords(tt.datagram)
			require.Equal(t, tt.ok, ok)
			require.Equal(t, tt.application, application)
		})
	}
	whole := join(handshake, finished)
	for n := range len(whole) {
		ok, _ := inspectRecords(whole[:n])
		require.Equal(t, n == 0 || n == len(handshake), ok, "%d bytes", n)
	}
}

func FuzzInspectRecords(f *testing.F) {
	f.Add(record(recordHandshake, 0, 1, 2))
	f.Add(append(record(21, 1, 1, 2), record(recordApplicationData, 1, 3)...))
	f.Add(record(21, 0, 1, 0))
	f.Fuzz(func(t *testing.T, datagram []byte) {
		if ok, _ := inspectRecords(datagram); ok && len(datagram) > 0 && len(datagram) < recordHeaderBytes {
			t.Fatal("less than a header is ok")
		}
	})
}

// TestForgedRecords gives a connected session records that anybody could forge, in the client's name. Nothing may come of them.
func TestForgedRecords(t *testing.T) {
	s := newServer(t)
	c, session := pairUp(t, s)
	c.connect(session)
	path := s.pathTo(c.addr())
	for _, datagram := range [][]byte{
		record(21, 0, 1, 0),                     // close_notify
		record(21, 0, 2, 40),                    // handshake_failure
		record(recordApplicationData, 0, 1),     // application data
		record(recordChangeCipherSpec, 0, 7),    // not a change of cipher
		record(30, 0, 1, 2, 3),                  // no such type
		record(21, 1, make([]byte, 40)...),      // sealed with no key of ours
		record(recordHandshake, 0, 1, 2, 3),     // no handshake message
		record(recordHandshake, 0),              // nor this
		record(21, 9, 1, 0),                     // an epoch to come
		append([]byte{22}, make([]byte, 50)...), // nothing
		{22},
	} {
		for range 20 { // more than pion/dtls has room for
			session.HandlePacket(datagram, path, time.Now())
		}
	}
	c.sendRTP(1, "still here")
	receive(t, session.rtp, "no RTP")
	require.True(t, session.Connected())
	require.NoError(t, c.link.Close())
	session.waitClosed(CausePeer)
}

// TestGarbageInHandshake sends records that are none before and during the handshake.
func TestGarbageInHandshake(t *testing.T) {
	s := newServer(t)
	c, session := pairUp(t, s)
	garbage := func() {
		for _, datagram := range [][]byte{{22}, {63, 1, 2, 3}, record(recordHandshake, 0, 1, 2, 3), record(recordHandshake, 5, 1), append([]byte{22}, make([]byte, 1200)...)} {
			c.write(datagram)
		}
	}
	garbage() // nobody's yet
	c.ping(useCandidate)
	garbage()
	c.connect(session)
}

// TestClientHelloFromStrangers sprays records at the port from other addresses: they reach no session.
func TestClientHelloFromStrangers(t *testing.T) {
	s := newServer(t)
	c, session := pairUp(t, s)
	c.ping(useCandidate)
	stranger := newClient(t, s)
	before := s.port.Unknown()
	for range 50 {
		stranger.write(record(21, 0, 2, 40))
		stranger.write(record(recordHandshake, 0, 1, 0, 0, 0))
	}
	eventually(t, func() bool { return s.port.Unknown() == before+100 }, "not all counted")
	c.connect(session)
}

// TestApplicationData has a client send much that nobody reads, before it says goodbye.
func TestApplicationData(t *testing.T) {
	s := newServer(t)
	c, session := pairUp(t, s)
	c.connect(session)
	for range 200 {
		_, err := c.link.Write(make([]byte, 1000))
		require.NoError(t, err)
		c.settle()
	}
	require.NoError(t, c.link.Close())
	session.waitClosed(CausePeer)
}

// TestFingerprint holds the text against what a browser would write.
func TestFingerprint(t *testing.T) {
	tests := []struct{ algorithm, want string }{
		{"sha-256", "BA:78:16:BF:8F:01:CF:EA:41:41:40:DE:5D:AE:22:23:B0:03:61:A3:96:17:7A:9C:B4:10:FF:61:F2:00:15:AD"}, // FIPS 180-2, "abc"
		{"SHA-256", "BA:78:16:BF:8F:01:CF:EA:41:41:40:DE:5D:AE:22:23:B0:03:61:A3:96:17:7A:9C:B4:10:FF:61:F2:00:15:AD"},
	}
	for _, tt := range tests {
		got, err := Fingerprint(tt.algorithm, []byte("abc"))
		require.NoError(t, err)
		require.Equal(t, tt.want, got)
	}
	for algorithm, bytes := range map[string]int{"sha-384": 48, "sha-512": 64} {
		got, err := Fingerprint(algorithm, []byte("abc"))
		require.NoError(t, err)
		require.Len(t, got, 3*bytes-1)
	}
	for _, algorithm := range []string{"", "sha-1", "md5"} {
		_, err := Fingerprint(algorithm, nil)
		require.ErrorIs(t, err, errAlgorithm)
	}
	s := newServer(t)
	session := s.newSession(Peer{FingerprintAlgorithm: "SHA-256", Fingerprint: "ba:78:16:bf:8f:01:cf:ea:41:41:40:de:5d:ae:22:23:b0:03:61:a3:96:17:7a:9c:b4:10:ff:61:f2:00:15:ad"})
	require.NoError(t, session.verifyFingerprint([][]byte{[]byte("abc")}, nil), "case does not matter")
	require.ErrorIs(t, session.verifyFingerprint([][]byte{[]byte("abd")}, nil), errFingerprint)
	require.ErrorIs(t, session.verifyFingerprint(nil, nil), errFingerprint)
}
