package wire

import "time"

// Sizes of datagrams, UDP payload in bytes, that paths are tried for: least first.
var pathSizes = [...]int{
	1232, // IPv6's least MTU of 1,280 (RFC 8200 section 5); it is not tried but taken for granted
	1372, // WireGuard's usual MTU of 1,420, over IPv6
	1452, // Ethernet, IPv6
	1472, // Ethernet, IPv4
	8952, // jumbo frames
}

// MaxPath is the largest datagram that a path is tried for.
const MaxPath = 8952

// When a size is tried (RFC 8899 section 5.1).
const (
	pathTries   = 3
	pathTimeout = 300 * time.Millisecond // for the answer to one try, on top of the round trip
	pathVerify  = 5 * time.Second        // a size that passed is tried again after this long, since paths change
	pathRetry   = time.Minute            // one that did not, after this long
)

// Path finds out by padded pings how large a datagram may be that passes whole: nothing of a link is fragmented. The zero value is ready; it is for one goroutine at a
// time.
type Path struct {
	passed  int // index of the largest size that passed
	failed  int // of the least that did not; 0 when there is none
	trying  int // of the size that is being tried; 0 when none is
	tries   int
	triedAt time.Time
	settled time.Time // when all there was to try had been tried
}

// Size is the largest datagram that has passed.
func (p *Path) Size() int { return pathSizes[p.passed] }

// Limit is the largest datagram that is not known to be too large.
func (p *Path) Limit() int {
	if p.failed == 0 {
		return 1<<16 - 1
	}
	return pathSizes[p.failed] - 1
}

// Due is the size of the padded ping to send now; 0 for none. Small pings must be answered at present, or else silence says nothing.
func (p *Path) Due(now time.Time, rtt time.Duration) int {
	if p.trying == 0 && !p.choose(now) {
		return 0
	}
	if p.tries > 0 && now.Sub(p.triedAt) < pathTimeout+rtt {
		return 0
	}
	if p.tries == pathTries {
		p.refute(now)
		return 0
	}
	p.tries++
	p.triedAt = now
	return pathSizes[p.trying]
}

// choose picks the size to try: the next larger one, or the present one again after a while, or after a longer while one that has failed.
func (p *Path) choose(now time.Time) bool {
	next := p.passed + 1
	waited := now.Sub(p.settled)
	switch {
	case next < len(pathSizes) && (p.failed == 0 || waited >= pathRetry):
		p.trying = next
	case p.passed > 0 && waited >= pathVerify && now.Sub(p.triedAt) >= pathVerify:
		p.trying = p.passed
	default:
		return false
	}
	p.tries = 0
	return true
}

// refute notes that the size that was tried does not pass. If it has passed before, the path has changed, and the next smaller one is looked at without delay.
func (p *Path) refute(now time.Time) {
	narrowed := p.trying == p.passed
	p.failed, p.trying, p.settled = p.trying, 0, now
	if narrowed {
		p.passed--
		p.trying, p.tries = p.passed, 0
	}
}

// Passed notes that a padded ping of the size was answered.
func (p *Path) Passed(size int, now time.Time) {
	for i, s := range pathSizes {
		if s != size || i == 0 {
			continue
		}
		p.passed = max(p.passed, i)
		if p.failed != 0 && p.failed <= i {
			p.failed = 0
		}
		if p.trying == i {
			p.trying = 0
		}
		if p.passed == len(pathSizes)-1 {
			p.settled = now
		}
	}
}
