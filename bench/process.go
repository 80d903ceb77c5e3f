package bench

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// userHZ is the unit of times in /proc: 100 per second on every architecture of Linux that Go runs on (USER_HZ).
const userHZ = 100

// Usage is what a process has used, as the kernel tells.
type Usage struct {
	CPU         time.Duration // user and system, all threads, since its start
	RSSBytes    int64         // resident memory
	Threads     int
	Descriptors int // open files; -1 when the kernel does not let us see them
}

// process reads /proc of one process.
type process struct{ pid int }

// usage reads the present figures.
func (p process) usage() (u Usage, err error) {
	if u.CPU, err = p.cpu(); err != nil {
		return u, err
	}
	status, err := os.ReadFile(p.path("status"))
	if err != nil {
		return u, fmt.Errorf("process %d: %w", p.pid, err)
	}
	if u.RSSBytes, u.Threads, err = parseStatus(status); err != nil {
		return u, fmt.Errorf("process %d: %w", p.pid, err)
	}
	u.Descriptors = -1
	if entries, err := os.ReadDir(p.path("fd")); err == nil {
		u.Descriptors = len(entries)
	}
	return u, nil
}

// cpu is the CPU time that the process has used. /proc counts it in hundredths of a second; the kernel's CPU clock of the
// process tells the same sum in nanoseconds, and is preferred.
func (p process) cpu() (time.Duration, error) {
	stat, err := os.ReadFile(p.path("stat"))
	if err != nil {
		return 0, fmt.Errorf("process %d: %w", p.pid, err)
	}
	coarse, err := parseStat(stat)
	if err != nil {
		return 0, fmt.Errorf("process %d: %w", p.pid, err)
	}
	if fine, ok := cpuClock(p.pid); ok {
		return fine, nil
	}
	return coarse, nil
}

func (p process) path(file string) string { return "/proc/" + strconv.Itoa(p.pid) + "/" + file }

var errStat = errors.New("unreadable /proc stat")

// parseStat adds utime and stime, fields 14 and 15 of /proc/PID/stat (proc(5)). The second field, the name, is in
// parentheses and may hold anything, so counting begins behind the last one.
func parseStat(stat []byte) (time.Duration, error) {
	end := bytes.LastIndexByte(stat, ')')
	if end < 0 {
		return 0, errStat
	}
	fields := strings.Fields(string(stat[end+1:]))
	const utime, stime = 14 - 3, 15 - 3 // the first field here is number 3
	if len(fields) <= stime {
		return 0, errStat
	}
	user, userErr := strconv.ParseUint(fields[utime], 10, 63)
	system, systemErr := strconv.ParseUint(fields[stime], 10, 63)
	if userErr != nil || systemErr != nil {
		return 0, errStat
	}
	return time.Duration(user+system) * (time.Second / userHZ), nil
}

var errStatus = errors.New("unreadable /proc status")

// parseStatus reads VmRSS and Threads of /proc/PID/status (proc(5)).
func parseStatus(status []byte) (rssBytes int64, threads int, err error) {
	var rss string
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		switch name {
		case "VmRSS":
			rss = strings.TrimSuffix(strings.TrimSpace(value), " kB")
		case "Threads":
			if threads, err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
				return 0, 0, errStatus
			}
		}
	}
	kilobytes, err := strconv.ParseInt(rss, 10, 53)
	if err != nil || threads == 0 {
		return 0, 0, errStatus
	}
	return kilobytes << 10, threads, nil
}

// machineCPU is the CPU time that the machine has spent on anything, time stolen by its hypervisor included; 0 when the
// system does not tell.
func machineCPU() time.Duration {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	return parseMachineStat(stat)
}

// parseMachineStat adds the first line of /proc/stat (proc(5)) but for idle and iowait, its fourth and fifth number, and
// guest times, which user time has in it.
func parseMachineStat(stat []byte) (total time.Duration) {
	line, _, _ := strings.Cut(string(stat), "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0
	}
	for i, field := range fields[1:9] {
		ticks, err := strconv.ParseUint(field, 10, 53)
		if err != nil {
			return 0
		}
		if i != 3 && i != 4 {
			total += time.Duration(ticks) * (time.Second / userHZ)
		}
	}
	return total
}
