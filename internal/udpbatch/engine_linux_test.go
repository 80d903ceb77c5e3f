package udpbatch

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestParseKernelVersion(t *testing.T) {
	tests := []struct {
		release           string
		want              kernelVersion
		mangles, noMerges bool
	}{
		{"4.18.0-553.el8_10.x86_64", kernelVersion{4, 18, 0}, false, true},
		{"5.11.22-7-pve", kernelVersion{5, 11, 22}, false, true},
		{"5.12.0", kernelVersion{5, 12, 0}, false, false},
		{"6.1.0-25-amd64", kernelVersion{6, 1, 0}, false, false},
		{"6.18.44-1-amd64", kernelVersion{6, 18, 44}, false, false},
		{"6.99.99", kernelVersion{6, 99, 99}, false, false},
		{"7.0-rc1", kernelVersion{7, 0, 0}, true, false},
		{"7.0.0", kernelVersion{7, 0, 0}, true, false},
		{"7.0.12+deb14-amd64", kernelVersion{7, 0, 12}, true, false},
		{"7.1.0-rc3-next", kernelVersion{7, 1, 0}, true, false},
		{"7.1.3", kernelVersion{7, 1, 3}, true, false},
		{"7.1.4", kernelVersion{7, 1, 4}, false, false},
		{"7.1.10-arch1", kernelVersion{7, 1, 10}, false, false},
		{"7.2-rc1", kernelVersion{7, 2, 0}, false, false},
		{"10.0.1", kernelVersion{10, 0, 1}, false, false},
		{"5.15.167.4-microsoft-standard-WSL2", kernelVersion{5, 15, 167}, false, false},
		{"", kernelVersion{}, false, true},
		{"unknown", kernelVersion{}, false, true},
		{"6.x", kernelVersion{6, 0, 0}, false, false},
		{"99999999999999999999.1", kernelVersion{}, false, true},
	}
	for _, test := range tests {
		t.Run(test.release, func(t *testing.T) {
			got := parseKernelVersion(test.release)
			require.Equal(t, test.want, got)
			require.Equal(t, test.mangles, got.manglesSegments())
			require.Equal(t, test.noMerges, got.mergesUnreliably())
		})
	}
}

func FuzzParseKernelVersion(f *testing.F) {
	for _, release := range []string{"6.18.44-1-amd64", "7.1-rc3", "..", "1.", "-1.2"} {
		f.Add(release)
	}
	f.Fuzz(func(t *testing.T, release string) {
		for _, number := range parseKernelVersion(release) {
			if number < 0 {
				t.Fatalf("%q: negative", release)
			}
		}
	})
}

func TestProbeOnAMangledKernel(t *testing.T) {
	require.Contains(t, probeGSO(-1, kernelVersion{7, 1, 3}), "kernel 7.1.3")
	require.Contains(t, probeGSO(-1, kernelVersion{6, 18, 0}), "bad file descriptor")
	require.Contains(t, enableGRO(-1, kernelVersion{5, 11, 9}), "kernel 5.11.9")
	require.Contains(t, enableGRO(-1, kernelVersion{6, 18, 0}), "bad file descriptor")
	require.Zero(t, setBuffer(-1, 1, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF))
}

func TestJoinReasons(t *testing.T) {
	for _, test := range [][3]string{{"", "", ""}, {"a", "", "a"}, {"", "b", "b"}, {"a", "b", "a; b"}} {
		require.Equal(t, test[2], joinReasons(test[0], test[1]))
	}
}

func TestDropCounterWraps(t *testing.T) {
	var d dropCounter
	for _, now := range []uint32{0, 5, 1<<32 - 1, 3, 3} {
		d.update(now)
	}
	require.Equal(t, uint64(1<<32+3), d.total)
}

func TestWholeSegments(t *testing.T) {
	data := payload(1, 100)
	require.Empty(t, wholeSegments(data, 0), "one datagram, cut")
	require.Equal(t, data[:90], wholeSegments(data, 30))
	require.Equal(t, data, wholeSegments(data, 50))
	require.Empty(t, wholeSegments(data, 101))
}

// control builds control messages; the result is aligned as the kernel's are.
func control(messages ...[]byte) []byte {
	var all []byte
	for _, m := range messages {
		all = append(all, m...)
	}
	return aligned(all)
}

// aligned copies b to where a cmsghdr may begin.
func aligned(b []byte) []byte {
	words := make([]uint64, len(b)/8+1)
	to := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), 8*len(words))
	return to[:copy(to, b):len(b)]
}

func controlMessage(level, kind int32, data []byte) []byte {
	m := make([]byte, unix.CmsgSpace(len(data)))
	words := make([]uint64, len(m)/8+1)
	h := (*unix.Cmsghdr)(unsafe.Pointer(&words[0]))
	h.Level, h.Type = level, kind
	h.SetLen(unix.CmsgLen(len(data)))
	copy(m, unsafe.Slice((*byte)(unsafe.Pointer(h)), unix.SizeofCmsghdr))
	copy(m[unix.CmsgLen(0):], data)
	return m
}

func nativeInt(v int32) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(v)) }

func TestParseSegmentBytes(t *testing.T) {
	gro := controlMessage(unix.SOL_UDP, unix.UDP_GRO, nativeInt(1200))
	other := controlMessage(unix.SOL_IP, unix.IP_PKTINFO, make([]byte, 12))
	tests := []struct {
		name    string
		control []byte
		want    int
	}{
		{"none", nil, 0},
		{"gro", control(gro), 1200},
		{"gro-after-another", control(other, gro), 1200},
		{"gro-before-another", control(gro, other), 1200},
		{"only-another", control(other), 0},
		{"same-type-of-another-level", control(controlMessage(unix.SOL_SOCKET, unix.UDP_GRO, nativeInt(9))), 0},
		{"too-short-for-an-int", control(controlMessage(unix.SOL_UDP, unix.UDP_GRO, []byte{1, 2})), 0},
		{"negative", control(controlMessage(unix.SOL_UDP, unix.UDP_GRO, nativeInt(-5))), 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			require.Equal(t, test.want, parseSegmentBytes(test.control))
		})
	}
}

func TestParseSegmentBytesOfPrefixes(t *testing.T) {
	gro := controlMessage(unix.SOL_UDP, unix.UDP_GRO, nativeInt(1200))
	for n := range unix.CmsgLen(4) {
		require.Zero(t, parseSegmentBytes(aligned(gro[:n])), "prefix of %d bytes", n)
	}
}

func FuzzParseSegmentBytes(f *testing.F) {
	f.Add(controlMessage(unix.SOL_UDP, unix.UDP_GRO, nativeInt(1200)))
	f.Add(append(controlMessage(unix.SOL_IP, unix.IP_PKTINFO, make([]byte, 12)), controlMessage(unix.SOL_UDP, unix.UDP_GRO, nativeInt(1))...))
	f.Add(make([]byte, 64))
	f.Add([]byte{255, 255, 255, 255, 255, 255, 255, 255, 17, 0, 0, 0, 104, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if parseSegmentBytes(aligned(b)) < 0 {
			t.Fatal("negative size")
		}
	})
}

func TestSockaddr(t *testing.T) {
	ipv4, ipv6, dual := family{ipv4: true}, family{}, family{dual: true}
	tests := []struct {
		name   string
		family family
		addr   string
		want   string // as the receiver shows it; empty if the socket cannot reach it
	}{
		{"ipv4", ipv4, "192.0.2.7:4711", "192.0.2.7:4711"},
		{"ipv4-mapped", ipv4, "[::ffff:192.0.2.7]:4711", "192.0.2.7:4711"},
		{"ipv6-on-ipv4", ipv4, "[2001:db8::1]:4711", ""},
		{"ipv6", ipv6, "[2001:db8::1]:4711", "[2001:db8::1]:4711"},
		{"ipv4-on-ipv6-only", ipv6, "192.0.2.7:4711", ""},
		{"ipv4-mapped-on-ipv6-only", ipv6, "[::ffff:192.0.2.7]:4711", ""},
		{"ipv4-on-dual", dual, "192.0.2.7:4711", "192.0.2.7:4711"},
		{"ipv6-on-dual", dual, "[2001:db8::1]:65535", "[2001:db8::1]:65535"},
		{"zone-by-name", ipv6, "[fe80::1%lo]:4711", "[fe80::1%lo]:4711"},
		{"zone-by-number", ipv6, "[fe80::1%1]:4711", "[fe80::1%lo]:4711"},
		{"zone-of-no-interface", ipv6, "[fe80::1%4000000]:4711", "[fe80::1%4000000]:4711"},
		{"zone-unknown", ipv6, "[fe80::1%nowhere]:4711", "[fe80::1]:4711"},
		{"port-zero", dual, "192.0.2.7:0", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := &batchEngine{family: test.family}
			name := unix.RawSockaddrInet6{Flowinfo: 1, Scope_id: 2} // left over from another address
			ok := e.encodeAddr(&name, netip.MustParseAddrPort(test.addr))
			require.Equal(t, test.want != "", ok)
			if ok {
				require.Equal(t, test.want, e.decodeAddr(&name).String())
			}
		})
	}
	require.False(t, (&batchEngine{}).encodeAddr(&unix.RawSockaddrInet6{}, netip.AddrPort{}))
}

func TestZonesAreReadAgain(t *testing.T) {
	var z zones
	require.EqualValues(t, 1, z.index("lo"))
	z.snapshot.Store(&zoneTable{read: time.Now().Add(-2 * zonesMaxAge)})
	require.Equal(t, "lo", z.name(1))
}

// TestOffload expects that the kernel really segments and merges, where it says it can.
func TestOffload(t *testing.T) {
	from := mustListen(t, "udp4", "127.0.0.1:0", Config{}, newEngine)
	to := mustListen(t, "udp4", "127.0.0.1:0", Config{}, newEngine)
	if granted := from.Capabilities(); !granted.GSO || !granted.GRO {
		t.Skip(granted.Reason)
	}
	w := NewWriteBatch(maxSegments, maxSegments*1000)
	for seq := range maxSegments {
		queue(t, w, payload(seq, 1000), to.LocalAddr())
	}
	flush(t, from, w)
	got, _ := collect(t, to, maxSegments)
	for seq, p := range got {
		require.Equal(t, payload(seq, 1000), p)
	}
	require.EqualValues(t, 1, from.Counters().SentMessages)
	require.EqualValues(t, 1, to.Counters().ReceivedMessages)
}

// TestTruncatedRun cuts a merged message: what lies whole in the buffer is delivered.
func TestTruncatedRun(t *testing.T) {
	from := mustListen(t, "udp4", "127.0.0.1:0", Config{}, newEngine)
	to := mustListen(t, "udp4", "127.0.0.1:0", Config{}, newEngine)
	if granted := from.Capabilities(); !granted.GSO || !granted.GRO {
		t.Skip(granted.Reason)
	}
	w := NewWriteBatch(5, 5000)
	for seq := range 5 {
		queue(t, w, payload(seq, 1000), to.LocalAddr())
	}
	flush(t, from, w)
	b := NewReadBatch(1, 2500)
	readWithin(t, to, b)
	require.Equal(t, 2, b.Len())
	require.Equal(t, payload(1, 1000), b.Packet(1).Data)
	require.EqualValues(t, 1, to.Counters().Truncated)
}

// TestDrops fills a small receive buffer and expects the kernel's count of what did not fit.
func TestDrops(t *testing.T) {
	from := mustListen(t, "udp4", "127.0.0.1:0", Config{}, newEngine)
	to := mustListen(t, "udp4", "127.0.0.1:0", Config{ReadBufferBytes: 8 << 10}, newEngine)
	const sent = 200
	for range sent {
		require.NoError(t, from.WriteTo(payload(1, 1000), to.LocalAddr()))
	}
	drops := to.Drops()
	require.Positive(t, drops)
	got, _ := collect(t, to, int(sent-drops))
	require.Len(t, got, int(sent-drops), "each datagram is delivered or counted")

	require.NoError(t, to.Close())
	require.Equal(t, drops, to.Drops(), "the count outlives the socket")
}

func TestReusePort(t *testing.T) {
	first := mustListen(t, "udp4", "127.0.0.1:0", Config{ReusePort: true}, newEngine)
	second := mustListen(t, "udp4", first.LocalAddr().String(), Config{ReusePort: true}, newEngine)
	require.Equal(t, first.LocalAddr(), second.LocalAddr())
}

// answer is what the scripted kernel returns for one sendmmsg: it takes so many messages, and all if 0, or fails.
type answer struct {
	take  int
	errno unix.Errno
}

// scriptedKernel answers sendmmsg from a script, then passes calls on to the kernel.
type scriptedKernel struct {
	answers []answer
	waits   int  // calls of waitWritable
	room    bool // what waitWritable returns
}

func (k *scriptedKernel) sendmmsg(fd uintptr, headers []mmsghdr) (int, unix.Errno) {
	if len(k.answers) == 0 {
		return sendmmsg(fd, headers)
	}
	next := k.answers[0]
	k.answers = k.answers[1:]
	if next.errno != 0 {
		return 0, next.errno
	}
	if next.take > 0 && next.take < len(headers) {
		headers = headers[:next.take]
	}
	return sendmmsg(fd, headers)
}

func (k *scriptedKernel) waitWritable(uintptr, time.Duration) bool {
	k.waits++
	return k.room
}

func scripted(t *testing.T, cfg Config, k *scriptedKernel) *Conn {
	c := mustListen(t, "udp4", "127.0.0.1:0", cfg, newEngine)
	e := c.engine.(*batchEngine)
	e.kernel.sendmmsg, e.kernel.waitWritable = k.sendmmsg, k.waitWritable
	return c
}

// TestSendFailures answers in the kernel's place. The batch is five messages of one datagram each, of different sizes.
func TestSendFailures(t *testing.T) {
	tests := []struct {
		name    string
		answers []answer
		room    bool
		want    []int // numbers of the datagrams that arrive
		waits   int
		counted Counters
	}{
		{name: "partial", answers: []answer{{take: 2}, {take: 1}}, want: []int{0, 1, 2, 3, 4}},
		{name: "interrupted", answers: []answer{{errno: unix.EINTR}, {take: 1}, {errno: unix.EINTR}}, want: []int{0, 1, 2, 3, 4}},
		{name: "no-room-then-room", answers: []answer{{take: 1}, {errno: unix.EAGAIN}}, room: true, want: []int{0, 1, 2, 3, 4}, waits: 1},
		{
			name: "no-room-for-long", answers: []answer{{take: 2}, {errno: unix.EAGAIN}}, want: []int{0, 1}, waits: 1,
			counted: Counters{DroppedBusy: 3},
		},
		{
			name: "no-buffers-in-the-middle", answers: []answer{{take: 1}, {errno: unix.ENOBUFS}, {take: 1}, {errno: unix.ENOMEM}},
			want: []int{0, 2, 4}, counted: Counters{DroppedNoBuffers: 2},
		},
		{
			name:    "firewall-unreachable-invalid",
			answers: []answer{{errno: unix.EPERM}, {errno: unix.ENETUNREACH}, {errno: unix.EINVAL}, {errno: unix.EIO}},
			want:    []int{4}, counted: Counters{DroppedRefused: 4},
		},
		{name: "last-fails", answers: []answer{{take: 4}, {errno: unix.EPERM}}, want: []int{0, 1, 2, 3}, counted: Counters{DroppedRefused: 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := &scriptedKernel{answers: test.answers, room: test.room}
			from := scripted(t, Config{}, k)
			to := mustListen(t, "udp4", "127.0.0.1:0", Config{}, newEngine)
			w := NewWriteBatch(5, 5000)
			for seq := range 5 {
				queue(t, w, payload(seq, 100+seq), to.LocalAddr())
			}
			sent, err := from.Write(w)
			require.NoError(t, err)
			require.Equal(t, len(test.want), sent)
			got, _ := collect(t, to, len(test.want))
			for i, seq := range test.want {
				require.Equal(t, payload(seq, 100+seq), got[i])
			}
			require.Equal(t, test.waits, k.waits)
			counted := from.Counters()
			require.EqualValues(t, len(test.want), counted.SentDatagrams)
			require.Equal(t, test.counted.DroppedBusy, counted.DroppedBusy)
			require.Equal(t, test.counted.DroppedNoBuffers, counted.DroppedNoBuffers)
			require.Equal(t, test.counted.DroppedRefused, counted.DroppedRefused)
		})
	}
}

// TestWaitIsBoundedPerWrite lets the buffer be full again after each wait.
func TestWaitIsBoundedPerWrite(t *testing.T) {
	k := &scriptedKernel{room: true}
	from := scripted(t, Config{}, k)
	from.engine.(*batchEngine).kernel.sendmmsg = func(uintptr, []mmsghdr) (int, unix.Errno) { return 0, unix.EAGAIN }
	start := time.Now()
	require.ErrorIs(t, from.WriteTo([]byte("x"), from.LocalAddr()), unix.EAGAIN)
	require.GreaterOrEqual(t, time.Since(start), sendWait)
	require.EqualValues(t, 1, from.Counters().DroppedBusy)
}

func TestWaitWritable(t *testing.T) {
	c := mustListen(t, "udp4", "127.0.0.1:0", Config{}, newEngine)
	require.NoError(t, c.engine.(*batchEngine).raw.Control(func(fd uintptr) {
		require.True(t, waitWritable(fd, time.Second), "an idle socket has room")
		require.False(t, waitWritable(fd, 0))
	}))
}

// TestSegmentationRefused answers EIO, EINVAL or EMSGSIZE to segmented messages. All datagrams must arrive all the same.
func TestSegmentationRefused(t *testing.T) {
	tests := []struct {
		name   string
		errnos []unix.Errno // answers to the runs, in turn; 0 passes
		gso    bool         // whether runs are still segmented afterwards
	}{
		{"no-checksum-offload", []unix.Errno{unix.EIO}, false},
		{"one-small-path", []unix.Errno{unix.EINVAL}, true},
		{"one-small-path-on-newer-kernels", []unix.Errno{unix.EMSGSIZE}, true},
		{"one-below-the-limit", repeatErrno(unix.EINVAL, maxRefusals-1), true},
		{"at-the-limit", repeatErrno(unix.EINVAL, maxRefusals), false},
		{"success-between", append(append(repeatErrno(unix.EINVAL, maxRefusals-1), 0), repeatErrno(unix.EINVAL, maxRefusals-1)...), true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			from := mustListen(t, "udp4", "127.0.0.1:0", Config{}, newEngine)
			if !from.Capabilities().GSO {
				t.Skip(from.Capabilities().Reason)
			}
			to := mustListen(t, "udp4", "127.0.0.1:0", Config{}, newEngine)
			errnos := test.errnos
			from.engine.(*batchEngine).kernel.sendmmsg = func(fd uintptr, headers []mmsghdr) (int, unix.Errno) {
				if headers[0].header.Control == nil || len(errnos) == 0 {
					return sendmmsg(fd, headers)
				}
				errno := errnos[0]
				errnos = errnos[1:]
				if errno != 0 {
					return 0, errno
				}
				return sendmmsg(fd, headers[:1])
			}
			w := NewWriteBatch(3*len(test.errnos), 1<<20)
			var want [][]byte
			for run := range len(test.errnos) {
				for i, size := range []int{500 + run, 500 + run, 400} {
					p := payload(3*run+i, size)
					want = append(want, p)
					queue(t, w, p, to.LocalAddr())
				}
			}
			flush(t, from, w)
			got, _ := collect(t, to, len(want))
			require.Equal(t, want, got)

			granted := from.Capabilities()
			require.Equal(t, test.gso, granted.GSO)
			require.Equal(t, test.gso, granted.Reason == "")
			before := from.Counters().SentMessages
			queue(t, w, payload(1, 100), to.LocalAddr())
			queue(t, w, payload(2, 100), to.LocalAddr())
			flush(t, from, w)
			messages := uint64(2)
			if test.gso {
				messages = 1
			}
			require.Equal(t, messages, from.Counters().SentMessages-before)
		})
	}
}

func repeatErrno(errno unix.Errno, n int) []unix.Errno {
	all := make([]unix.Errno, n)
	for i := range all {
		all[i] = errno
	}
	return all
}

// TestRefusedAddressIsNoRefusedSegmentation refuses runs in pieces too: then it is the address, and segmenting stays.
func TestRefusedAddressIsNoRefusedSegmentation(t *testing.T) {
	from := mustListen(t, "udp4", "127.0.0.1:0", Config{}, newEngine)
	if !from.Capabilities().GSO {
		t.Skip(from.Capabilities().Reason)
	}
	to := mustListen(t, "udp4", "127.0.0.1:0", Config{}, newEngine)
	bad := netip.MustParseAddrPort("192.0.2.1:9") // not reachable from loopback: EINVAL
	w := NewWriteBatch(4*maxRefusals, 1<<20)
	for range maxRefusals {
		queue(t, w, payload(1, 100), bad)
		queue(t, w, payload(2, 100), bad)
		queue(t, w, payload(3, 100), to.LocalAddr())
	}
	sent, err := from.Write(w)
	require.NoError(t, err)
	require.Equal(t, maxRefusals, sent)
	collect(t, to, maxRefusals)
	require.True(t, from.Capabilities().GSO)
	require.EqualValues(t, 2*maxRefusals, from.Counters().DroppedRefused)
}

// TestInterruptedReceive answers a receive call with EINTR and an error.
func TestInterruptedReceive(t *testing.T) {
	c := mustListen(t, "udp4", "127.0.0.1:0", Config{}, newEngine)
	answers := []unix.Errno{unix.EINTR, 0, unix.ENOMEM}
	c.engine.(*batchEngine).kernel.recvmmsg = func(fd uintptr, headers []mmsghdr) (int, unix.Errno) {
		errno := answers[0]
		answers = answers[1:]
		if errno != 0 {
			return -1, errno
		}
		return recvmmsg(fd, headers)
	}
	require.NoError(t, c.WriteTo([]byte("x"), c.LocalAddr()))
	b := NewReadBatch(1, 0)
	readWithin(t, c, b)
	require.Equal(t, "x", string(b.Packet(0).Data))
	require.ErrorIs(t, c.Read(b), unix.ENOMEM)
}

// With DontFragment the kernel sets the bit on every family that the socket speaks, and keeps no opinion of the path.
func TestDontFragment(t *testing.T) {
	for _, row := range []struct{ network, addr string }{{"udp4", "127.0.0.1:0"}, {"udp6", "[::1]:0"}, {"udp", "[::]:0"}} {
		t.Run(row.network, func(t *testing.T) {
			conn, err := Listen(row.network, row.addr, Config{DontFragment: true})
			require.NoError(t, err)
			defer conn.Close()
			raw, err := conn.udp.SyscallConn()
			require.NoError(t, err)
			require.NoError(t, raw.Control(func(fd uintptr) {
				if row.network != "udp6" {
					mode, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER)
					require.NoError(t, err)
					require.Equal(t, unix.IP_PMTUDISC_PROBE, mode)
				}
				if row.network != "udp4" {
					mode, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER)
					require.NoError(t, err)
					require.Equal(t, unix.IPV6_PMTUDISC_PROBE, mode)
				}
			}))
		})
	}
}
