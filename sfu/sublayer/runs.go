package sublayer

import "slices"

const (
	runsKept   = 56 // a picture of a stream with dropped layers takes one: two seconds at 30 pictures a second
	filledKept = 32 // numbers filled with padding that are remembered
)

// run is a stretch of the input that goes out with one offset. It ends where the numbers of the next begin.
type run struct {
	in, out      uint64
	pictureShift uint16
	sent         Target // the layers kept
	intact       uint8  // spatial layers that this viewer could decode
}

// runs maps numbers. Hot path.
type runs struct {
	ring    [runsKept]run
	added   uint64 // runs ever; the newest is added-1
	kept    uint64 // the oldest run of use
	first   uint64 // the first run of the current input; numbers of an earlier one mean other packets
	next    uint64 // number for the viewer after the newest one in use
	open    bool   // the newest run goes on
	filled  [filledKept]uint64
	fills   uint64
	floor   uint64 // numbers up to this one can no longer be told: whether they were filled is forgotten
	started bool
}

func (r *runs) at(i uint64) *run { return &r.ring[i%runsKept] }

// restart begins another input, whose numbers have nothing to do with those before; the viewer's go on at out.
func (r *runs) restart(out uint64) {
	if !r.started || out != r.next {
		r.kept = r.added
	}
	r.started, r.first, r.next, r.open = true, r.added, out, false
}

// begin starts a run at an input number.
func (r *runs) begin(in uint64, pictureShift uint16, sent Target, intact uint8) {
	*r.at(r.added) = run{in: in, out: r.next, pictureShift: pictureShift, sent: sent, intact: intact}
	r.added++
	if r.added-r.kept > runsKept {
		r.kept = r.added - runsKept
	}
	r.first = max(r.first, r.kept)
	r.open = true
}

// end is the number after the last one of run i.
func (r *runs) end(i uint64) uint64 {
	if i+1 == r.added {
		return r.next
	}
	return r.at(i + 1).out
}

// holding is the run of an input number, and its number for the viewer; nil when it was dropped or is too old.
func (r *runs) holding(in uint64) (*run, uint64) {
	for i := r.added; i > r.first; i-- {
		x := r.at(i - 1)
		if in < x.in {
			continue
		}
		if out := x.out + (in - x.in); out < r.end(i-1) {
			return x, out
		}
		return nil, 0
	}
	return nil, 0
}

// spoil notes that from a run on the viewer cannot decode some spatial layers, but for runs that begin behind an input number.
func (r *runs) spoil(from *run, until uint64, spatial uint8) {
	for i := r.added; i > r.first; i-- {
		x := r.at(i - 1)
		if x.in <= until {
			x.intact &^= spatial
		}
		if x == from {
			return
		}
	}
}

// origin finds what went out under a number.
func (r *runs) origin(out uint64) (Origin, bool) {
	if out >= r.next || out < r.floor {
		return Origin{}, false
	}
	for i := r.added; i > r.kept; i-- {
		if x := r.at(i - 1); out >= x.out {
			return Origin{In: x.in + (out - x.out), PictureShift: x.pictureShift, top: x.sent.Spatial, Filled: r.isFilled(out)}, true
		}
	}
	return Origin{}, false
}

func (r *runs) isFilled(out uint64) bool {
	return slices.Contains(r.filled[:min(r.fills, filledKept)], out)
}

// fill remembers that a number went out as padding.
func (r *runs) fill(out uint64) {
	place := &r.filled[r.fills%filledKept]
	if r.fills >= filledKept {
		r.floor = max(r.floor, *place+1)
	}
	*place = out
	r.fills++
}
