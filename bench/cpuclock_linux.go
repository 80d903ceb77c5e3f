package bench

import (
	"time"

	"golang.org/x/sys/unix"
)

// cpuClock reads the CPU clock of a process, all threads together, exited ones included. Its number is the complement of
// the process id above three bits for the kind: 2 is time that the scheduler counted (clock_getcpuclockid(3)).
func cpuClock(pid int) (time.Duration, bool) {
	var at unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|2), &at); err != nil {
		return 0, false
	}
	return time.Duration(at.Nano()), true
}
