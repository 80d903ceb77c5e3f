package udpbatch

import (
	"encoding/binary"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// receiveControlWords is the room for control messages per message, in 8-byte words: UDP_GRO takes three (a header of 16
// bytes and an int), the rest is spare.
const receiveControlWords = 8

// receiveArrays is what recvmmsg needs beside a ReadBatch: for each message a header, and what the header points to. The
// pointers are Go pointers into the sibling arrays, so the garbage collector sees all of it.
type receiveArrays struct {
	headers  []mmsghdr
	iovecs   []unix.Iovec
	names    []unix.RawSockaddrInet6
	controls [][receiveControlWords]uint64 // words, for the alignment of a cmsghdr
	used     int                           // headers that the kernel wrote to since prepare

	// receive is the function that RawConn.Read calls, made once: a closure made per call would be allocated per call.
	receive func(fd uintptr) (done bool)
	kernel  *kernel
	count   int // messages received
	errno   unix.Errno
}

func newReceiveArrays(messages int) *receiveArrays {
	a := &receiveArrays{
		headers:  make([]mmsghdr, messages),
		iovecs:   make([]unix.Iovec, messages),
		names:    make([]unix.RawSockaddrInet6, messages),
		controls: make([][receiveControlWords]uint64, messages),
		used:     messages,
	}
	for i := range a.headers {
		h := &a.headers[i].header
		h.Iov = &a.iovecs[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&a.names[i]))
		h.Control = (*byte)(unsafe.Pointer(&a.controls[i]))
	}
	a.receive = func(fd uintptr) bool {
		a.count, a.errno = a.kernel.recvmmsg(fd, a.headers)
		for a.errno == unix.EINTR {
			a.count, a.errno = a.kernel.recvmmsg(fd, a.headers)
		}
		return a.errno != unix.EAGAIN
	}
	return a
}

// prepare makes the headers used last time ready again: the kernel overwrites the lengths, and Keep replaces buffers.
func (a *receiveArrays) prepare(b *ReadBatch) {
	for i := range a.used {
		a.iovecs[i].Base = unsafe.SliceData(b.buffers[i])
		a.iovecs[i].SetLen(b.messageBytes)
		h := &a.headers[i].header
		h.Namelen = unix.SizeofSockaddrInet6
		h.SetControllen(int(unsafe.Sizeof(a.controls[i])))
		h.Flags = 0
	}
	a.used = 0
}

// control returns the control messages the kernel left for message i.
func (a *receiveArrays) control(i int) []byte {
	words := &a.controls[i]
	all := unsafe.Slice((*byte)(unsafe.Pointer(words)), unsafe.Sizeof(*words))
	return all[:min(int(a.headers[i].header.Controllen), len(all))]
}

// read fills b by one recvmmsg, after the runtime's poller has waited for the first datagram. Hot path.
func (e *batchEngine) read(b *ReadBatch) error {
	a := b.arrays
	if a == nil {
		a = newReceiveArrays(len(b.buffers))
		b.arrays = a
	}
	a.kernel = &e.kernel
	for {
		b.start()
		a.prepare(b)
		if err := e.raw.Read(a.receive); err != nil {
			return err
		}
		if a.errno != 0 {
			return os.NewSyscallError("recvmmsg", a.errno)
		}
		a.used = a.count
		e.collect(b, a)
		e.counters.addReceived(len(b.packets), a.count)
		if len(b.packets) > 0 { // else all were truncated
			return nil
		}
	}
}

// collect turns the received messages into packets.
func (e *batchEngine) collect(b *ReadBatch, a *receiveArrays) {
	for i := range a.count {
		message := &a.headers[i]
		data := b.buffers[i][:message.bytes]
		segmentBytes := 0
		if message.header.Controllen > 0 {
			segmentBytes = parseSegmentBytes(a.control(i))
		}
		if message.header.Flags&unix.MSG_TRUNC != 0 {
			e.counters.truncated.Add(1)
			if data = wholeSegments(data, segmentBytes); len(data) == 0 {
				continue
			}
		}
		b.add(data, segmentBytes, e.decodeAddr(&a.names[i]), i)
	}
}

// wholeSegments returns the part of a truncated message that was not cut: nothing, unless it is a run.
func wholeSegments(data []byte, segmentBytes int) []byte {
	if segmentBytes <= 0 {
		return nil
	}
	return data[:len(data)/segmentBytes*segmentBytes]
}

// parseSegmentBytes finds the segment size of a merged message among its control messages (UDP_GRO, a C int, udp(7)). It
// returns 0 for a message that is one datagram. The start of control must be aligned for a cmsghdr.
func parseSegmentBytes(control []byte) int {
	for len(control) >= unix.SizeofCmsghdr {
		header, data, rest, err := unix.ParseOneSocketControlMessage(control)
		if err != nil {
			return 0
		}
		if header.Level == unix.SOL_UDP && header.Type == unix.UDP_GRO && len(data) >= 4 {
			return max(0, int(int32(binary.NativeEndian.Uint32(data))))
		}
		control = rest
	}
	return 0
}
