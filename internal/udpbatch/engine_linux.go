package udpbatch

import (
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// batchEngine moves many datagrams per system call. The rest of it: receive_linux.go, send_linux.go, sockaddr_linux.go;
// probe_linux.go finds out what the kernel can do.
type batchEngine struct {
	raw      syscall.RawConn
	kernel   kernel
	family   family
	zones    zones
	counters *counters
	singles  sync.Pool // of *sendArrays for one message, for writeTo

	// gso is whether runs are sent segmented: the one bit of granted that the hot path reads.
	gso atomic.Bool
	// refusals counts segmented messages refused since the last one that was taken.
	refusals atomic.Int32

	mu      sync.Mutex // guards all below
	granted Capabilities
	dropped dropCounter
}

// kernel holds the system calls of the data path, so that tests can answer in the kernel's place.
type kernel struct {
	recvmmsg func(fd uintptr, headers []mmsghdr) (int, unix.Errno)
	sendmmsg func(fd uintptr, headers []mmsghdr) (int, unix.Errno)
	// waitWritable waits until the socket has room to send, or for the limit, and reports whether it has.
	waitWritable func(fd uintptr, limit time.Duration) bool
}

// mmsghdr is struct mmsghdr of recvmmsg(2): a message and the bytes that were moved for it.
type mmsghdr struct {
	header unix.Msghdr
	bytes  uint32
}

// newEngine makes the engine for Linux.
func newEngine(udp *net.UDPConn, cfg Config, counters *counters) (engine, error) {
	raw, err := udp.SyscallConn()
	if err != nil {
		return nil, err
	}
	e := &batchEngine{
		raw:      raw,
		kernel:   kernel{recvmmsg: recvmmsg, sendmmsg: sendmmsg, waitWritable: waitWritable},
		counters: counters,
	}
	e.singles.New = func() any { return newSendArrays(1) }
	if ctlErr := raw.Control(func(fd uintptr) {
		if e.family, err = socketFamily(int(fd)); err == nil {
			e.granted = probe(int(fd), cfg)
			if cfg.DontFragment {
				err = dontFragment(int(fd), e.family)
			}
		}
	}); ctlErr != nil {
		return nil, ctlErr
	}
	if err != nil {
		return nil, err
	}
	e.gso.Store(e.granted.GSO)
	return e, nil
}

// dontFragment sets the bit of that name in what the socket sends (ip(7), RFC 8200 section 4.5).
func dontFragment(fd int, f family) error {
	if f.ipv4 || f.dual {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE); err != nil {
			return os.NewSyscallError("setsockopt IP_MTU_DISCOVER", err)
		}
	}
	if f.ipv4 {
		return nil
	}
	return os.NewSyscallError("setsockopt IPV6_MTU_DISCOVER", unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE))
}

// setReusePort sets SO_REUSEPORT before the socket is bound.
func setReusePort(_, _ string, c syscall.RawConn) error {
	var err error
	if ctlErr := c.Control(func(fd uintptr) {
		err = os.NewSyscallError("setsockopt SO_REUSEPORT", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
	}); ctlErr != nil {
		return ctlErr
	}
	return err
}

func (e *batchEngine) capabilities() Capabilities {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.granted
}

// stopSegmenting turns GSO off for good and keeps the reason.
func (e *batchEngine) stopSegmenting(reason string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.granted.GSO {
		return
	}
	e.gso.Store(false)
	e.granted.GSO = false
	e.granted.Reason = joinReasons(e.granted.Reason, "GSO: "+reason)
}

// drops asks the kernel for its count by SO_MEMINFO (Linux 4.12). The older way, SO_RXQ_OVFL, puts the same number into a
// control message of each datagram, which costs on each datagram and tells nothing between two of them.
func (e *batchEngine) drops() uint64 {
	e.mu.Lock() // around the call too: an older answer coming last would look like a wrap
	defer e.mu.Unlock()
	// After Close the last value stands.
	_ = e.raw.Control(func(fd uintptr) {
		if now, err := kernelDrops(fd); err == nil {
			e.dropped.update(now)
		}
	})
	return e.dropped.total
}

func kernelDrops(fd uintptr) (uint32, error) {
	var info [unix.SK_MEMINFO_VARS]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0, os.NewSyscallError("getsockopt SO_MEMINFO", errno)
	}
	return info[unix.SK_MEMINFO_DROPS], nil
}

// dropCounter widens the kernel's 32-bit counter, which wraps.
type dropCounter struct {
	last  uint32
	total uint64
}

func (d *dropCounter) update(now uint32) {
	d.total += uint64(now - d.last)
	d.last = now
}

func recvmmsg(fd uintptr, headers []mmsghdr) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(unsafe.SliceData(headers))),
		uintptr(len(headers)), unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}

func sendmmsg(fd uintptr, headers []mmsghdr) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(unsafe.SliceData(headers))),
		uintptr(len(headers)), unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}

// waitWritable blocks its thread in ppoll. The runtime's poller would park the goroutine instead, but it knows one deadline
// and one waiter per socket, and several writers share the socket. A full send buffer is rare and the wait short.
func waitWritable(fd uintptr, limit time.Duration) bool {
	until := time.Now().Add(limit)
	for limit > 0 {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		timeout := unix.NsecToTimespec(limit.Nanoseconds())
		n, err := unix.Ppoll(fds, &timeout, nil)
		if err != unix.EINTR {
			return err == nil && n > 0
		}
		limit = time.Until(until) // a signal of the Go scheduler cut the wait short
	}
	return false
}

// refusedReason words the error with which the kernel refused a segmented message.
func refusedReason(errno unix.Errno) string {
	return fmt.Sprintf("kernel refused a segmented message: %v", errno)
}
