//go:build !windows

package udpbatch

import (
	"errors"
	"syscall"
)

// isNoBuffers reports whether a send failed for want of memory or queue room.
func isNoBuffers(err error) bool {
	return errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM)
}
