package udpbatch

import (
	"net/netip"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// minSegments is the shortest run that is sent segmented. Measured on Linux 6.18 over loopback with 1,200-byte datagrams
	// to 100 sockets that do not merge, so that the kernel segments in software as it does for a card that cannot
	// (BenchmarkFanOut, ns of CPU per datagram, one message per datagram against one message per run): runs of 2: 3,690
	// and 2,690; 3: 3,540 and 1,490; 4: 3,580 and 2,030; 8: 3,440 and 1,070; 32: 3,690 and 450. So it pays at once.
	minSegments = 2

	// maxRefusals is how many segmented messages in a row the kernel may refuse with EINVAL or EMSGSIZE, and take in pieces,
	// before segmenting stops. One such refusal may be about the path (an MTU below the segment size) and cost one viewer
	// his runs; this many without a success between are about the kernel or the only path there is.
	maxRefusals = 8
)

// segmentControl is the control message that asks for segmenting, laid out as the kernel wants it: a cmsghdr, then the
// size of a segment, then padding to the alignment of a cmsghdr (cmsg(3)).
type segmentControl struct {
	header unix.Cmsghdr
	bytes  uint16
}

// sendArrays is what sendmmsg needs beside a WriteBatch: for each message a header, and what the header points to. The
// pointers are Go pointers into the sibling arrays, so the garbage collector sees all of it.
type sendArrays struct {
	headers   []mmsghdr
	iovecs    []unix.Iovec
	names     []unix.RawSockaddrInet6
	controls  []segmentControl
	datagrams []uint8 // in each message, at most maxSegments
	count     int     // messages loaded
	next      int     // first message that is neither sent nor dropped

	// send is the function that RawConn.Control calls, made once: a closure made per call would be allocated per call.
	send     func(fd uintptr)
	engine   *batchEngine
	deadline time.Time // of waiting for room, set when there is none for the first time
	tally    tally
	errno    unix.Errno  // why the last drop happened
	pieces   *sendArrays // for a refused segmented message, made when first needed
}

func newSendArrays(messages int) *sendArrays {
	s := &sendArrays{
		headers:   make([]mmsghdr, messages),
		iovecs:    make([]unix.Iovec, messages),
		names:     make([]unix.RawSockaddrInet6, messages),
		controls:  make([]segmentControl, messages),
		datagrams: make([]uint8, messages),
	}
	for i := range s.headers {
		s.headers[i].header.Iov = &s.iovecs[i]
		s.headers[i].header.SetIovlen(1)
		c := &s.controls[i]
		c.header.Level = unix.SOL_UDP
		c.header.Type = unix.UDP_SEGMENT
		c.header.SetLen(unix.CmsgLen(int(unsafe.Sizeof(c.bytes))))
	}
	s.send = s.transmit
	return s
}

// start empties the arrays for one Write over the engine's socket.
func (s *sendArrays) start(e *batchEngine) {
	s.engine = e
	s.count, s.next = 0, 0
	s.deadline = time.Time{}
	s.tally = tally{}
	s.errno = 0
}

// write sends a batch. It runs under RawConn.Control, which only keeps the socket from being closed meanwhile, and not under
// RawConn.Write, which would let one writer at a time into the kernel. Hot path.
func (e *batchEngine) write(w *WriteBatch) (int, error) {
	s := w.arrays
	if s == nil {
		s = newSendArrays(w.limit)
		w.arrays = s
	}
	s.start(e)
	s.load(w, e.gso.Load())
	err := e.raw.Control(s.send)
	e.counters.addSent(s.tally)
	return s.tally.datagrams, err
}

// writeTo sends one datagram through arrays borrowed from a pool.
func (e *batchEngine) writeTo(p []byte, addr netip.AddrPort) error {
	s := e.singles.Get().(*sendArrays)
	defer e.singles.Put(s)
	s.start(e)
	if e.encodeAddr(&s.names[0], addr) {
		s.add(p, 1, 0, 0)
	} else {
		s.drop(&s.tally.refused, 1, unix.EAFNOSUPPORT)
	}
	err := e.raw.Control(s.send)
	s.iovecs[0].Base = nil // p is the caller's
	e.counters.addSent(s.tally)
	if err == nil && s.errno != 0 {
		err = os.NewSyscallError("sendmmsg", s.errno)
	}
	return err
}

// load turns the runs of a batch into messages: one segmented message for a run that is long enough, else one message per
// datagram. Runs to an address that the socket cannot reach are dropped here. Hot path.
func (s *sendArrays) load(w *WriteBatch, gso bool) {
	for i := range w.runs {
		r := &w.runs[i]
		name := s.count
		if !s.engine.encodeAddr(&s.names[name], r.addr) {
			s.drop(&s.tally.refused, r.datagrams, unix.EAFNOSUPPORT)
			continue
		}
		if gso && r.datagrams >= minSegments {
			s.add(w.arena[r.offset:r.offset+r.bytes], r.datagrams, r.segmentBytes, name)
			continue
		}
		for j := range r.datagrams {
			s.add(w.datagram(r, j), 1, 0, name)
		}
	}
}

// add appends a message of so many datagrams to the address at index name. Zero segmentBytes sends it unsegmented.
func (s *sendArrays) add(data []byte, datagrams, segmentBytes, name int) {
	i := s.count
	s.iovecs[i].Base = unsafe.SliceData(data)
	s.iovecs[i].SetLen(len(data))
	h := &s.headers[i].header
	h.Name = (*byte)(unsafe.Pointer(&s.names[name]))
	h.Namelen = s.engine.family.sockaddrBytes()
	if segmentBytes > 0 {
		s.controls[i].bytes = uint16(segmentBytes)
		h.Control = (*byte)(unsafe.Pointer(&s.controls[i]))
		h.SetControllen(int(unsafe.Sizeof(s.controls[i])))
	} else {
		h.Control = nil
		h.SetControllen(0)
	}
	s.datagrams[i] = uint8(datagrams)
	s.count++
}

// segmented reports whether message i asks for segmenting.
func (s *sendArrays) segmented(i int) bool { return s.headers[i].header.Control != nil }

// transmit hands the loaded messages to the kernel until all are sent or dropped. sendmmsg stops at the first message that
// fails and reports its error only when that message is the first of the next call, so each failure concerns message next.
// Hot path.
func (s *sendArrays) transmit(fd uintptr) {
	for s.next < s.count {
		n, errno := s.engine.kernel.sendmmsg(fd, s.headers[s.next:s.count])
		s.tally.calls++
		if errno == 0 && n > 0 {
			s.sent(n)
			continue
		}
		s.failed(fd, errno)
	}
}

// sent counts n messages as sent.
func (s *sendArrays) sent(n int) {
	segmented := false
	for i := s.next; i < s.next+n; i++ {
		s.tally.datagrams += int(s.datagrams[i])
		segmented = segmented || s.segmented(i)
	}
	s.tally.messages += n
	s.next += n
	if segmented && s.engine.refusals.Load() != 0 {
		s.engine.refusals.Store(0)
	}
}

// failed deals with the error that message next met.
func (s *sendArrays) failed(fd uintptr, errno unix.Errno) {
	switch {
	case errno == unix.EINTR:
	case errno == unix.EAGAIN:
		if !s.waitForRoom(fd) {
			s.dropRest(errno)
		}
	case errno == unix.ENOBUFS || errno == unix.ENOMEM:
		s.dropNext(&s.tally.noBuffers, errno)
	case s.segmented(s.next) && refusesSegments(errno):
		s.sendPieces(fd, errno)
	default: // a matter of this destination, or of this datagram: EPERM, ENETUNREACH, EINVAL, EMSGSIZE …
		s.dropNext(&s.tally.refused, errno)
	}
}

// waitForRoom waits for room in the send buffer, in all for at most sendWait per Write.
func (s *sendArrays) waitForRoom(fd uintptr) bool {
	now := time.Now()
	if s.deadline.IsZero() {
		s.deadline = now.Add(sendWait)
	}
	left := s.deadline.Sub(now)
	return left > 0 && s.engine.kernel.waitWritable(fd, left)
}

func (s *sendArrays) dropRest(errno unix.Errno) {
	for s.next < s.count {
		s.dropNext(&s.tally.busy, errno)
	}
}

// dropNext gives message next up.
func (s *sendArrays) dropNext(reason *int, errno unix.Errno) {
	s.drop(reason, int(s.datagrams[s.next]), errno)
	s.next++
}

func (s *sendArrays) drop(reason *int, datagrams int, errno unix.Errno) {
	*reason += datagrams
	s.errno = errno
}

// refusesSegments reports whether an error may be about segmenting: EIO where the route cannot checksum segments (a card
// without checksum offload, IPsec), EINVAL and EMSGSIZE where a segment exceeds the path's MTU, and EINVAL on
// kernels with a faulty check (6.6.44).
func refusesSegments(errno unix.Errno) bool {
	return errno == unix.EIO || errno == unix.EINVAL || errno == unix.EMSGSIZE
}

// sendPieces sends the segmented message next again, each datagram as its own message. If the kernel takes any of them, it
// was the segmenting that it refused, and not the address.
func (s *sendArrays) sendPieces(fd uintptr, errno unix.Errno) {
	if s.pieces == nil {
		s.pieces = newSendArrays(maxSegments)
	}
	p := s.pieces
	p.start(s.engine)
	p.deadline = s.deadline
	p.names[0] = *(*unix.RawSockaddrInet6)(unsafe.Pointer(s.headers[s.next].header.Name))
	data := unsafe.Slice(s.iovecs[s.next].Base, int(s.iovecs[s.next].Len))
	size := int(s.controls[s.next].bytes)
	for ; len(data) > size; data = data[size:] {
		p.add(data[:size], 1, 0, 0)
	}
	p.add(data, 1, 0, 0)
	p.transmit(fd)

	s.deadline = p.deadline
	s.tally.add(p.tally)
	s.tally.segmentationRefused++
	s.next++
	if p.tally.datagrams > 0 {
		s.engine.refusedSegments(errno)
	}
}

// refusedSegments notes that the kernel refused a message only because it was segmented, and stops segmenting on the whole
// socket: at once for EIO, which no smaller segment would avoid, else when it happens again and again.
func (e *batchEngine) refusedSegments(errno unix.Errno) {
	if refusals := e.refusals.Add(1); errno == unix.EIO || refusals >= maxRefusals {
		e.stopSegmenting(refusedReason(errno))
	}
}

// add adds what became of a message sent in pieces.
func (t *tally) add(other tally) {
	t.datagrams += other.datagrams
	t.messages += other.messages
	t.calls += other.calls
	t.busy += other.busy
	t.noBuffers += other.noBuffers
	t.refused += other.refused
	t.segmentationRefused += other.segmentationRefused
}
