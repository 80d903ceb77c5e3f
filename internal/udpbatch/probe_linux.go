package udpbatch

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// probe sets the socket's buffers, turns GRO on, and tells what the kernel granted.
func probe(fd int, cfg Config) Capabilities {
	granted := Capabilities{
		ReadBufferBytes:  setBuffer(fd, cfg.ReadBufferBytes, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF),
		WriteBufferBytes: setBuffer(fd, cfg.WriteBufferBytes, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF),
	}
	if cfg.DisableOffload {
		granted.Reason = "disabled by configuration"
		return granted
	}
	kernel := runningKernel()
	gso, gro := probeGSO(fd, kernel), enableGRO(fd, kernel)
	granted.GSO, granted.GRO = gso == "", gro == ""
	granted.Reason = joinReasons(gso, gro)
	return granted
}

// setBuffer asks for a socket buffer, beyond the system's limit if the process may (CAP_NET_ADMIN), and returns the size
// granted, without the doubling that the kernel adds (socket(7)).
func setBuffer(fd, bytes, forceOption, option int) int {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, forceOption, bytes) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, bytes) // what was granted is read back below
	}
	granted, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, option)
	if err != nil {
		return 0
	}
	return granted / 2
}

// probeGSO returns why segmented messages cannot be sent, or nothing. Linux knows the option from 4.18 on.
func probeGSO(fd int, kernel kernelVersion) string {
	if kernel.manglesSegments() {
		return fmt.Sprintf("GSO: kernel %v mangles runs of equal-sized datagrams (7.0 to 7.1.3 do)", kernel)
	}
	if _, err := unix.GetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT); err != nil {
		return fmt.Sprintf("GSO: UDP_SEGMENT: %v", err)
	}
	return ""
}

// enableGRO turns merging on, or returns why not.
func enableGRO(fd int, kernel kernelVersion) string {
	if kernel.mergesUnreliably() {
		return fmt.Sprintf("GRO: kernel %v is older than 5.12", kernel)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_GRO, 1); err != nil {
		return fmt.Sprintf("GRO: UDP_GRO: %v", err)
	}
	return ""
}

// joinReasons lists two reasons, either of which may be empty.
func joinReasons(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}

// kernelVersion is a release of Linux: major, minor, patch. The zero value stands for an unknown one.
type kernelVersion [3]int

func (v kernelVersion) String() string { return fmt.Sprintf("%d.%d.%d", v[0], v[1], v[2]) }

func (v kernelVersion) before(major, minor, patch int) bool {
	for i, limit := range [3]int{major, minor, patch} {
		if v[i] != limit {
			return v[i] < limit
		}
	}
	return false
}

// manglesSegments reports a kernel whose UDP_SEGMENT writes wrong headers when all segments are equal. Release candidates
// of 7.0 and what followed up to 7.1.3 are affected (tailscale's net/batching guards against the same, 2026-05).
func (v kernelVersion) manglesSegments() bool { return !v.before(7, 0, 0) && v.before(7, 1, 4) }

// mergesUnreliably reports a kernel whose UDP_GRO is not to be trusted: Linux has it from 5.0, wireguard-go uses it from 5.12
// only. An unknown version is not trusted either.
func (v kernelVersion) mergesUnreliably() bool { return v.before(5, 12, 0) }

func runningKernel() kernelVersion {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return kernelVersion{}
	}
	return parseKernelVersion(unix.ByteSliceToString(name.Release[:]))
}

// parseKernelVersion reads the numbers that a release such as "6.18.44-1-amd64" or "7.1-rc3" begins with. What is missing
// counts as 0.
func parseKernelVersion(release string) kernelVersion {
	var v kernelVersion
	for i := range v {
		end := 0
		for end < len(release) && release[end] >= '0' && release[end] <= '9' {
			end++
		}
		number, err := strconv.Atoi(release[:end])
		if err != nil {
			break
		}
		v[i] = number
		var more bool
		if release, more = strings.CutPrefix(release[end:], "."); !more {
			break
		}
	}
	return v
}
