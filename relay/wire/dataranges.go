package wire

// NumberRange is the numbers from From to below To.
type NumberRange struct{ From, To uint64 }

// numberSet is a set of numbers as ranges: ascending, not empty, and apart from each other. The zero value is empty.
type numberSet struct{ ranges []NumberRange }

// find is the index of the first range that ends at n or later.
func (s *numberSet) find(n uint64) int {
	low, high := 0, len(s.ranges)
	for low < high {
		middle := (low + high) / 2
		if s.ranges[middle].To < n {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low
}

// has reports whether n is in the set.
func (s *numberSet) has(n uint64) bool {
	i := s.find(n)
	if i < len(s.ranges) && s.ranges[i].To == n { // it ends just before n
		i++
	}
	return i < len(s.ranges) && s.ranges[i].From <= n
}

// overlaps reports whether a number of r is in the set.
func (s *numberSet) overlaps(r NumberRange) bool {
	i := s.find(r.From)
	if i < len(s.ranges) && s.ranges[i].To == r.From {
		i++
	}
	return i < len(s.ranges) && r.From < r.To && s.ranges[i].From < r.To
}

// add adds a range, joined with those that it touches.
func (s *numberSet) add(r NumberRange) {
	if r.From >= r.To {
		return
	}
	if last := len(s.ranges) - 1; last >= 0 && s.ranges[last].To == r.From { // mostly: the next number
		s.ranges[last].To = r.To
		return
	}
	i := s.find(r.From)
	j := i
	for ; j < len(s.ranges) && s.ranges[j].From <= r.To; j++ {
		r.From, r.To = min(r.From, s.ranges[j].From), max(r.To, s.ranges[j].To)
	}
	if i == j {
		s.ranges = append(s.ranges, NumberRange{})
		copy(s.ranges[i+1:], s.ranges[i:])
		s.ranges[i] = r
		return
	}
	s.ranges[i] = r
	s.ranges = append(s.ranges[:i+1], s.ranges[j:]...)
}

// cumulative is the least number that is not in the set.
func (s *numberSet) cumulative() uint64 {
	if len(s.ranges) == 0 || s.ranges[0].From != 0 {
		return 0
	}
	return s.ranges[0].To
}

// above are the ranges beyond cumulative. They stay the set's.
func (s *numberSet) above() []NumberRange {
	if s.cumulative() == 0 {
		return s.ranges
	}
	return s.ranges[1:]
}
