package bench

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	readNap          = 5 * time.Millisecond // between two rounds of reading
	readPatience     = 2                    // milliseconds to wait for datagrams in place of a nap, while a session is connecting
	readEvents       = 512                  // sockets per round
	readMessages     = 32                   // datagrams per recvmmsg
	readBytes        = 2048                 // more than any datagram of a session
	glanceBytes      = 256                  // read of each datagram once headers suffice; STUN fits
	controlBytes     = 64                   // room for one timestamp
	receiveBufferMiB = 2                    // a keyframe at 30 Mbit/s with the kernel's bookkeeping
)

// datagram is one received datagram. Data is valid until the receiver returns.
type datagram struct {
	data []byte
	size int   // bytes of the datagram, of which data may be the beginning only
	at   int64 // arrival, nanoseconds since the Unix epoch; the kernel's time where the socket asks for it
	name *unix.RawSockaddrInet6
}

// from is the sender.
func (d *datagram) from() netip.AddrPort {
	port := (*[2]byte)(unsafe.Pointer(&d.name.Port))
	if d.name.Family == unix.AF_INET {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(d.name))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), binary.BigEndian.Uint16(port[:]))
	}
	return netip.AddrPortFrom(netip.AddrFrom16(d.name.Addr), binary.BigEndian.Uint16(port[:]))
}

// poller reads all sockets in one goroutine, which ends with close. The sockets are not known to the Go runtime, whose own
// poller would wake for each of their datagrams.
type poller struct {
	epoll      int
	connecting atomic.Int32 // sessions that want their answers at once
	closed     atomic.Bool
	done       chan struct{}

	mu      sync.RWMutex // guards sockets; held for reading while receivers run
	sockets map[int32]*socket

	arrays readArrays
}

func newPoller() (*poller, error) {
	p := &poller{done: make(chan struct{}), sockets: map[int32]*socket{}}
	var err error
	if p.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	p.arrays.init()
	go p.run()
	return p, nil
}

func (p *poller) watch(fd int) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &event))
}

// close ends the reading and waits for its end. All sockets must be closed already.
func (p *poller) close() {
	p.closed.Store(true)
	<-p.done
	_ = unix.Close(p.epoll)
}

// run reads in rounds. A nap costs less than waiting for the next datagram: the goroutine does not block its thread, and
// each round finds whole frames.
func (p *poller) run() {
	defer close(p.done)
	var events [readEvents]unix.EpollEvent
	for !p.closed.Load() {
		wait := 0
		if p.connecting.Load() > 0 {
			wait = readPatience
		}
		n, err := unix.EpollWait(p.epoll, events[:], wait)
		if err == nil {
			p.dispatch(events[:n])
		}
		if wait == 0 && n < readEvents {
			time.Sleep(readNap)
		}
	}
}

// dispatch reads what is there, once from each socket.
func (p *poller) dispatch(events []unix.EpollEvent) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	for _, event := range events {
		s := p.sockets[event.Fd]
		if s == nil {
			continue
		}
		if batch := p.arrays.read(s.fd, int(s.want.Load())); len(batch) > 0 {
			s.receive(s, batch)
		}
	}
}

// socket is one UDP socket, bound to every address of a family.
type socket struct {
	poller  *poller
	receive func(*socket, []datagram) // on the poller's goroutine; must not block, nor close the socket
	addr    netip.AddrPort            // with the address that the peer sees
	want    atomic.Int32              // bytes to read of each datagram

	mu     sync.RWMutex // guards closed, and the descriptor's use by senders
	fd     int
	closed bool
}

// open makes a socket that receives. local is the address by which peers reach it.
func (p *poller) open(local netip.Addr, receive func(*socket, []datagram)) (*socket, error) {
	family, bind := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{})
	if local.Is6() {
		family, bind = unix.AF_INET6, &unix.SockaddrInet6{}
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	s := &socket{poller: p, receive: receive, fd: fd}
	if err := s.start(bind, local); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return s, nil
}

func (s *socket) start(bind unix.Sockaddr, local netip.Addr) error {
	_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBufferMiB<<20) // less is granted where less is allowed
	s.want.Store(readBytes)
	s.timestamps(true)
	if err := unix.Bind(s.fd, bind); err != nil {
		return os.NewSyscallError("bind", err)
	}
	bound, err := unix.Getsockname(s.fd)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	s.addr = netip.AddrPortFrom(local, portOf(bound))
	s.poller.mu.Lock()
	s.poller.sockets[int32(s.fd)] = s
	s.poller.mu.Unlock()
	return s.poller.watch(s.fd)
}

func portOf(addr unix.Sockaddr) uint16 {
	switch a := addr.(type) {
	case *unix.SockaddrInet4:
		return uint16(a.Port)
	case *unix.SockaddrInet6:
		return uint16(a.Port)
	}
	return 0
}

// timestamps says whether the kernel tells when each datagram arrived (SO_TIMESTAMPNS, socket(7)).
func (s *socket) timestamps(on bool) {
	value := 0
	if on {
		value = 1
	}
	_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, value) // without it the time of reading stands in
}

// glance reads only the beginning of each datagram from now on, and no longer asks when it came.
func (s *socket) glance() {
	s.timestamps(false)
	s.want.Store(glanceBytes)
}

// send sends one datagram. One that the kernel refuses is lost like any other.
func (s *socket) send(b []byte, to netip.AddrPort) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return
	}
	if to.Addr().Is4() {
		_ = unix.Sendto(s.fd, b, 0, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
		return
	}
	_ = unix.Sendto(s.fd, b, 0, &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()})
}

// mute stops reading; datagrams fill the socket's buffer, and then are dropped by the kernel.
func (s *socket) mute() { _ = unix.EpollCtl(s.poller.epoll, unix.EPOLL_CTL_DEL, s.fd, nil) }

// close closes the socket; its receiver is not running when it returns. It may be called twice.
func (s *socket) close() {
	s.poller.mu.Lock()
	delete(s.poller.sockets, int32(s.fd))
	s.poller.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		_ = unix.Close(s.fd)
	}
}

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	header unix.Msghdr
	bytes  uint32
}

// readArrays are the arguments of recvmmsg. They point into themselves and must not be copied.
type readArrays struct {
	headers [readMessages]mmsghdr
	vectors [readMessages]unix.Iovec
	names   [readMessages]unix.RawSockaddrInet6
	control [readMessages][controlBytes / 8]uint64 // aligned as control messages must be
	buffers [readMessages][readBytes]byte
	batch   [readMessages]datagram
}

func (a *readArrays) init() {
	for i := range a.headers {
		a.vectors[i].Base = &a.buffers[i][0]
		h := &a.headers[i].header
		h.Iov = &a.vectors[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&a.names[i]))
		h.Control = (*byte)(unsafe.Pointer(&a.control[i]))
	}
}

// read takes up to readMessages datagrams, and of each the first bytes.
func (a *readArrays) read(fd, bytes int) []datagram {
	for i := range a.headers {
		a.vectors[i].SetLen(bytes)
		a.headers[i].header.Namelen = unix.SizeofSockaddrInet6
		a.headers[i].header.SetControllen(controlBytes)
	}
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&a.headers)), readMessages, unix.MSG_DONTWAIT|unix.MSG_TRUNC, 0, 0)
	if errno != 0 {
		return nil
	}
	now := time.Now().UnixNano()
	for i := range int(n) {
		h := &a.headers[i]
		a.batch[i] = datagram{data: a.buffers[i][:min(int(h.bytes), bytes)], size: int(h.bytes), at: now, name: &a.names[i]}
		if h.header.Controllen > 0 {
			a.batch[i].at = a.timestamp(i, now)
		}
	}
	return a.batch[:n]
}

// timestamp reads the SCM_TIMESTAMPNS control message of a datagram (socket(7)); otherwise is the time without one.
func (a *readArrays) timestamp(i int, otherwise int64) int64 {
	h := (*unix.Cmsghdr)(unsafe.Pointer(&a.control[i]))
	if h.Level != unix.SOL_SOCKET || h.Type != unix.SCM_TIMESTAMPNS || h.Len < uint64(unix.CmsgLen(int(unsafe.Sizeof(unix.Timespec{})))) {
		return otherwise
	}
	at := (*unix.Timespec)(unsafe.Add(unsafe.Pointer(h), unix.CmsgLen(0)))
	return at.Nano()
}
