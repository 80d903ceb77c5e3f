package sfu

import (
	"crypto/tls"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"rheomesh/internal/sdp"
	"rheomesh/sfu/mediaport"
)

func TestCertificateIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	first, err := loadCertificate(dir)
	require.NoError(t, err)
	second, err := loadCertificate(dir)
	require.NoError(t, err)
	require.Equal(t, first.Certificate, second.Certificate)
	info, err := os.Stat(filepath.Join(dir, certificateFile))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	require.Greater(t, time.Until(first.Leaf.NotAfter), 4*365*24*time.Hour)
}

func TestCertificateInMemoryIsNew(t *testing.T) {
	first, err := loadCertificate("")
	require.NoError(t, err)
	second, err := loadCertificate("")
	require.NoError(t, err)
	require.NotEqual(t, first.Certificate, second.Certificate)
}

// Whatever stood in the file, what stands there afterwards is a good certificate that only the owner can read.
func TestBadCertificateIsReplaced(t *testing.T) {
	good := func(t *testing.T) []byte {
		var text []byte
		_, err := newCertificate(func(pem []byte) error { text = pem; return nil })
		require.NoError(t, err)
		return text
	}
	for _, row := range []struct {
		name string
		text func(*testing.T) []byte
	}{
		{"empty", func(*testing.T) []byte { return nil }},
		{"garbage", func(*testing.T) []byte { return []byte("not a certificate") }},
		{"cut", func(t *testing.T) []byte { return good(t)[:300] }},
		{"key of another", func(t *testing.T) []byte {
			a, b := string(good(t)), string(good(t))
			at := func(s string) int { return strings.Index(s, "-----BEGIN PRIVATE") }
			return []byte(a[:at(a)] + b[at(b):])
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, certificateFile)
			require.NoError(t, os.WriteFile(path, row.text(t), 0o644))
			made, err := loadCertificate(dir)
			require.NoError(t, err)
			kept, err := tls.LoadX509KeyPair(path, path)
			require.NoError(t, err)
			require.Equal(t, made.Certificate, kept.Certificate)
			info, err := os.Stat(path)
			require.NoError(t, err)
			require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "others could read the private key")
		})
	}
}

func TestCertificateDirectoryThatCannotBeUsed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := loadCertificate(file)
	require.ErrorContains(t, err, "dtls certificate")
	_, err = NewNode(Config{MediaAddr: "127.0.0.1:0", DataDir: file})
	require.ErrorContains(t, err, "dtls certificate")
}

func TestCandidates(t *testing.T) {
	public4, public6, other4 := netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("2001:db8::7"), netip.MustParseAddr("203.0.113.8")
	for _, row := range []struct {
		name   string
		addr   string
		tcp    bool
		public []netip.Addr
		want   []string // address/protocol; P stands for the port
	}{
		{"IPv4", "127.0.0.1:0", true, nil, []string{"127.0.0.1:P/udp", "127.0.0.1:P/tcp"}},
		{"both families: UDP before TCP, IPv4 before IPv6", "localhost:0", true, nil, []string{"127.0.0.1:P/udp", "[::1]:P/udp", "127.0.0.1:P/tcp", "[::1]:P/tcp"}},
		{"without TCP", "127.0.0.1:0", false, nil, []string{"127.0.0.1:P/udp"}},
		{"public address in place of ours", "127.0.0.1:0", true, []netip.Addr{public4}, []string{"203.0.113.7:P/udp", "203.0.113.7:P/tcp"}},
		{"public addresses of both families", ":0", false, []netip.Addr{public6, public4}, []string{"203.0.113.7:P/udp", "[2001:db8::7]:P/udp"}},
		{"the family without a public one is hidden", ":0", false, []netip.Addr{public4}, []string{"203.0.113.7:P/udp"}},
		{"two public ones in their order", "127.0.0.1:0", false, []netip.Addr{other4, public4}, []string{"203.0.113.8:P/udp", "203.0.113.7:P/udp"}},
		{"mapped", "127.0.0.1:0", false, []netip.Addr{netip.MustParseAddr("::ffff:203.0.113.7")}, []string{"203.0.113.7:P/udp"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			port, err := mediaport.Listen(mediaport.Config{Addr: row.addr, DisableTCP: !row.tcp})
			require.NoError(t, err)
			defer port.Close()
			list, err := hostCandidates(port, row.public)
			require.NoError(t, err)
			number := netip.AddrPortFrom(netip.IPv4Unspecified(), port.LocalAddrs()[0].Port()).String()[len("0.0.0.0:"):]
			var got []string
			var priorities []uint32
			for _, value := range list {
				c, err := sdp.ParseCandidate(value)
				require.NoError(t, err)
				require.Equal(t, "host", c.Type)
				got = append(got, strings.Replace(c.Address.String(), ":"+number, ":P", 1)+"/"+c.Transport)
				if c.Transport == "tcp" {
					require.Equal(t, "passive", c.TCPType)
				}
				priorities = append(priorities, c.Priority)
			}
			require.Equal(t, row.want, got)
			for i := 1; i < len(priorities); i++ {
				require.Less(t, priorities[i], priorities[i-1], "priorities follow the order")
			}
		})
	}
}

func TestUnspecifiedCandidatesAreRealAddresses(t *testing.T) {
	port, err := mediaport.Listen(mediaport.Config{Addr: ":0"})
	require.NoError(t, err)
	defer port.Close()
	list, err := hostCandidates(port, nil)
	require.NoError(t, err)
	require.NotEmpty(t, list)
	for _, value := range list {
		c, err := sdp.ParseCandidate(value)
		require.NoError(t, err)
		require.False(t, c.Address.Addr().IsUnspecified() || c.Address.Addr().IsLinkLocalUnicast(), value)
	}
}

func TestValidID(t *testing.T) {
	for id, want := range map[string]bool{
		"a": true, "room-1.~_Z": true, strings.Repeat("x", 64): true, "...": true,
		"": false, ".": false, "..": false, strings.Repeat("x", 65): false, "a/b": false, "a b": false, "é": false, "a\x00": false, "a%20": false, "*": false,
	} {
		require.Equal(t, want, ValidID(id), "%q", id)
	}
}

func TestSessionIDsCannotBeGuessed(t *testing.T) {
	seen := map[SessionID]bool{}
	for range 10000 {
		id := newSessionID()
		require.False(t, seen[id])
		seen[id] = true
		require.True(t, ValidID(string(id)))
		require.GreaterOrEqual(t, len(id)*5, 128, "base32 characters of 5 bits")
	}
	require.True(t, ValidID(string(newSubscriberID())))
}

func TestLimitsDefaults(t *testing.T) {
	require.Equal(t, Limits{
		MaxSessions: 2000, MaxSessionsPerIP: 64, MaxHalfOpen: 256, MaxHalfOpenPerIP: 16, MaxRouters: 500, MaxPublishersPerRouter: 32, MaxSubscribersPerRouter: 1000, MaxSSRCsPerSession: 32,
		ConnectTimeout: 10 * time.Second, SilenceTimeout: 15 * time.Second,
	}, Limits{}.withDefaults())
	var set Limits // every field set to 7 stays
	value := reflect.ValueOf(&set).Elem()
	for _, field := range value.Fields() {
		field.SetInt(7)
	}
	require.Equal(t, set, set.withDefaults())
}

func TestRoles(t *testing.T) {
	require.Equal(t, "publish", RolePublish.String())
	require.Equal(t, "subscribe", RoleSubscribe.String())
}

func TestCountersOfClosedSets(t *testing.T) {
	var s statistics
	s.init()
	for _, reason := range rejectReasons {
		s.reject(reason)
	}
	for _, reason := range skipReasons {
		s.skip(reason)
	}
	for i := range s.rejected {
		require.EqualValues(t, 1, s.rejected[i].Load())
	}
	for i := range s.skipped {
		require.EqualValues(t, 1, s.skipped[i].Load())
	}
	for _, result := range keyframeResults {
		s.keyframe(result)
	}
	for i := range s.keyframes {
		require.EqualValues(t, 1, s.keyframes[i].Load())
	}
	totals := [2]sentTotals{{packets: 1, bytes: 10}, {packets: 2, bytes: 20}}
	s.sent(&totals)
	s.sent(&totals)
	require.Zero(t, totals)
	require.EqualValues(t, 2, s.packetsOut[1].Load())
	require.EqualValues(t, 10, s.bytesOut[0].Load())
}

func TestHistogram(t *testing.T) {
	h := histogram{bounds: batchBounds}
	for _, n := range []int64{1, 2, 3, 512, 513} {
		h.observe(n)
	}
	got := h.snapshot(1)
	require.EqualValues(t, 1, got.Counts[0])
	require.EqualValues(t, 1, got.Counts[2], "3 is at most 4")
	require.EqualValues(t, 1, got.Counts[len(batchBounds)-1])
	require.EqualValues(t, 1, got.Counts[len(batchBounds)])
	require.EqualValues(t, 1+2+3+512+513, got.Sum)
	require.EqualValues(t, 5, got.Count())

	delay := histogram{bounds: delayBounds}
	delay.observeSince(time.Now().Add(time.Minute).UnixNano())
	require.EqualValues(t, 1, delay.snapshot(1e9).Counts[0], "a clock that was set back")
	require.InDelta(t, 50e-6, delay.snapshot(1e9).Bounds[0], 1e-12)
	for _, bounds := range [][]int64{batchBounds, delayBounds, setupBounds} {
		require.LessOrEqual(t, len(bounds), maxBounds)
		require.IsIncreasing(t, bounds)
	}
	require.Zero(t, testing.AllocsPerRun(100, func() { delay.observe(7) }))
}
