package udpbatch

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	addrA = netip.MustParseAddrPort("192.0.2.1:5000")
	addrB = netip.MustParseAddrPort("192.0.2.2:5000")
)

func TestWriteBatchLimits(t *testing.T) {
	t.Run("datagrams", func(t *testing.T) {
		w := NewWriteBatch(2, 1000)
		queue(t, w, payload(1, 10), addrA)
		queue(t, w, nil, addrA)
		require.Nil(t, w.Next(0), "full by number, even for an empty datagram")
		w.reset()
		require.NotNil(t, w.Next(1000))
	})
	t.Run("bytes", func(t *testing.T) {
		w := NewWriteBatch(10, 1000)
		queue(t, w, payload(1, 600), addrA)
		require.Nil(t, w.Next(401))
		require.Len(t, w.Next(400), 400)
		require.Equal(t, 400, cap(w.Next(400)), "an append must not leave the room that was asked for")
	})
	t.Run("empty-datagram-at-the-end-of-the-arena", func(t *testing.T) {
		w := NewWriteBatch(10, 100)
		queue(t, w, payload(1, 100), addrA)
		queue(t, w, nil, addrA)
		require.Equal(t, 2, w.Len())
		require.Empty(t, w.datagram(&w.runs[1], 0))
	})
	t.Run("next-without-commit-returns-the-same-room", func(t *testing.T) {
		w := NewWriteBatch(10, 100)
		copy(w.Next(50), "abc")
		require.Equal(t, "abc", string(w.Next(3)))
		require.Zero(t, w.Len())
	})
}

func TestWriteBatchMisuse(t *testing.T) {
	tests := []struct {
		name   string
		misuse func(w *WriteBatch)
	}{
		{"commit-without-next", func(w *WriteBatch) { w.Commit(1, addrA) }},
		{"commit-more-than-reserved", func(w *WriteBatch) { w.Next(10); w.Commit(11, addrA) }},
		{"commit-twice", func(w *WriteBatch) { w.Next(10); w.Commit(10, addrA); w.Commit(1, addrA) }},
		{"commit-negative", func(w *WriteBatch) { w.Next(10); w.Commit(-1, addrA) }},
		{"datagram-larger-than-arena", func(w *WriteBatch) { w.Next(101) }},
		{"no-arena", func(*WriteBatch) { NewWriteBatch(1, 0) }},
		{"no-datagrams", func(*WriteBatch) { NewWriteBatch(0, 1) }},
		{"no-messages", func(*WriteBatch) { NewReadBatch(0, 1) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := NewWriteBatch(3, 100)
			require.Panics(t, func() { test.misuse(w) })
		})
	}
}

// TestRuns pins which datagrams share a run.
func TestRuns(t *testing.T) {
	type datagram struct {
		bytes int
		addr  netip.AddrPort
	}
	tests := []struct {
		name  string
		queue []datagram
		want  []int // datagrams in each run
	}{
		{"equal", []datagram{{9, addrA}, {9, addrA}, {9, addrA}}, []int{3}},
		{"last-shorter", []datagram{{9, addrA}, {9, addrA}, {8, addrA}}, []int{3}},
		{"nothing-follows-a-shorter-one", []datagram{{9, addrA}, {8, addrA}, {8, addrA}}, []int{2, 1}},
		{"longer", []datagram{{8, addrA}, {9, addrA}}, []int{1, 1}},
		{"last-empty", []datagram{{9, addrA}, {9, addrA}, {0, addrA}}, []int{2, 1}},
		{"only-empty", []datagram{{0, addrA}, {0, addrA}}, []int{1, 1}},
		{"other-address", []datagram{{9, addrA}, {9, addrB}, {9, addrA}}, []int{1, 1, 1}},
		{"two-addresses", []datagram{{9, addrA}, {9, addrA}, {9, addrB}, {9, addrB}}, []int{2, 2}},
		{"at-the-segment-limit", []datagram{{maxSegmentBytes, addrA}, {maxSegmentBytes, addrA}}, []int{2}},
		{"above-the-segment-limit", []datagram{{maxSegmentBytes + 1, addrA}, {maxSegmentBytes + 1, addrA}}, []int{1, 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := NewWriteBatch(10, 10000)
			for seq, d := range test.queue {
				queue(t, w, payload(seq, d.bytes), d.addr)
			}
			var got []int
			for _, r := range w.runs {
				got = append(got, r.datagrams)
			}
			require.Equal(t, test.want, got)
		})
	}
}

// FuzzRuns queues datagrams of fuzzed sizes and addresses, and takes them out of the runs again: the list must be the same,
// and each run one that the kernel would cut at the same places.
func FuzzRuns(f *testing.F) {
	f.Add([]byte{1, 100, 1, 100, 1, 100})
	f.Add([]byte{1, 100, 1, 50, 1, 50, 2, 50, 2, 0})
	f.Add(bytes.Repeat([]byte{3, 255}, 70))
	f.Add(bytes.Repeat([]byte{1, 1}, 130))
	f.Fuzz(func(t *testing.T, script []byte) {
		addrs := [2]netip.AddrPort{addrA, addrB}
		w := NewWriteBatch(200, 300<<10)
		var want [][]byte
		var to []netip.AddrPort
		for seq := 0; len(script) >= 2 && seq < 200; seq++ {
			// Each pair of bytes is an address, the upper part of the size, and the lower part.
			addr, size := addrs[script[0]&1], int(script[0]>>1&7)*256+int(script[1])
			script = script[2:]
			if w.Next(size) == nil {
				break
			}
			want, to = append(want, payload(seq, size)), append(to, addr)
			queue(t, w, want[seq], addr)
		}
		seq := 0
		for i := range w.runs {
			r := &w.runs[i]
			checkRun(t, r)
			for j := range r.datagrams {
				if !bytes.Equal(want[seq], w.datagram(r, j)) || r.addr != to[seq] {
					t.Fatalf("datagram %d changed", seq)
				}
				seq++
			}
		}
		if seq != len(want) || w.Len() != len(want) {
			t.Fatalf("%d datagrams in runs, batch of %d, want %d", seq, w.Len(), len(want))
		}
	})
}

func checkRun(t *testing.T, r *run) {
	t.Helper()
	if r.datagrams == 1 {
		return
	}
	last := r.bytes - (r.datagrams-1)*r.segmentBytes
	if r.datagrams > maxSegments || r.bytes > MaxDatagramBytes || r.segmentBytes > maxSegmentBytes ||
		last < 1 || last > r.segmentBytes {
		t.Fatalf("no run for the kernel: %+v", r)
	}
}

// FuzzSplit cuts fuzzed messages up and compares with the plain rule: joined they are the message, and all but the last have
// the segment size.
func FuzzSplit(f *testing.F) {
	f.Add([]byte("aaaabbbbcc"), 4)
	f.Add([]byte("aaaabbbb"), 4)
	f.Add([]byte(""), 4)
	f.Add([]byte("abc"), 0)
	f.Add([]byte("abc"), -1)
	f.Add([]byte("abc"), 1<<30)
	f.Fuzz(func(t *testing.T, data []byte, segmentBytes int) {
		b := NewReadBatch(1, 16)
		b.add(data, segmentBytes, addrA, 0)
		var joined []byte
		for i := range b.Len() {
			p := b.Packet(i).Data
			if i < b.Len()-1 && len(p) != segmentBytes || segmentBytes > 0 && len(p) > segmentBytes {
				t.Fatalf("datagram %d of %d has %d bytes", i, b.Len(), len(p))
			}
			if len(p) == 0 && len(data) > 0 {
				t.Fatalf("datagram %d is empty", i)
			}
			joined = append(joined, p...)
		}
		if !bytes.Equal(joined, data) || b.Len() == 0 {
			t.Fatal("bytes changed")
		}
	})
}
