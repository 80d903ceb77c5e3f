package udpbatch

import (
	"errors"
	"syscall"
)

// wsaENOBUFS is Windows' number for "no buffer space available"; package syscall names another, invented one.
const wsaENOBUFS = syscall.Errno(10055)

// isNoBuffers reports whether a send failed for want of memory or queue room.
func isNoBuffers(err error) bool { return errors.Is(err, wsaENOBUFS) }
