//go:build !linux

package udpbatch

import (
	"errors"
	"net"
	"syscall"
)

// newEngine makes the best engine of the system: without recvmmsg and sendmmsg, one datagram per call.
func newEngine(udp *net.UDPConn, cfg Config, counters *counters) (engine, error) {
	return newSingleEngine(udp, cfg, counters)
}

// setReusePort refuses: the option exists on some of these systems, but does not spread senders over the sockets.
func setReusePort(string, string, syscall.RawConn) error {
	return errors.Join(errors.New("SO_REUSEPORT"), errors.ErrUnsupported)
}

// receiveArrays and sendArrays are what the Linux engine adds to a batch.
type (
	receiveArrays struct{}
	sendArrays    struct{}
)
