package depdesc_test

import "rheomesh/internal/depdesc"

// spec is a descriptor to write, field by field as in appendix A.8.
type spec struct {
	first, last bool
	template    uint8
	number      uint16
	structure   *structureSpec
	active      *uint32
	dtis        []depdesc.DTI
	diffs       []int // nil for the template's
	chains      []uint8
	// known is the structure in force when none is attached; only its number of decode targets counts.
	known *structureSpec
}

type structureSpec struct {
	offset      uint8
	targets     int
	templates   []templateSpec
	protectedBy []uint8 // per decode target; nil without chains
	sizes       []depdesc.Resolution
}

type templateSpec struct {
	spatial, temporal uint8
	dtis              string // - D S R
	diffs             []int
	chains            []uint8
}

type writer struct {
	out  []byte
	left int
}

func (w *writer) bits(v, n int) {
	for n--; n >= 0; n-- {
		if w.left == 0 {
			w.out, w.left = append(w.out, 0), 8
		}
		w.left--
		w.out[len(w.out)-1] |= byte(v>>n&1) << w.left
	}
}

func (w *writer) flag(on bool) {
	if on {
		w.bits(1, 1)
		return
	}
	w.bits(0, 1)
}

func (w *writer) nonSymmetric(v, n int) {
	width := 0
	for x := n; x > 0; x >>= 1 {
		width++
	}
	short := 1<<width - n
	if v < short {
		w.bits(v, width-1)
		return
	}
	w.bits(v+short, width)
}

func letters(s string) (dtis []depdesc.DTI) {
	for _, c := range s {
		dtis = append(dtis, map[rune]depdesc.DTI{'-': depdesc.NotPresent, 'D': depdesc.Discardable, 'S': depdesc.Switch, 'R': depdesc.Required}[c])
	}
	return dtis
}

func (s spec) bytes() []byte {
	w := &writer{}
	w.flag(s.first)
	w.flag(s.last)
	w.bits(int(s.template), 6)
	w.bits(int(s.number), 16)
	if s.structure == nil && s.active == nil && s.dtis == nil && s.diffs == nil && s.chains == nil {
		return w.out
	}
	w.flag(s.structure != nil)
	w.flag(s.active != nil)
	w.flag(s.dtis != nil)
	w.flag(s.diffs != nil)
	w.flag(s.chains != nil)
	known := s.known
	if s.structure != nil {
		known = s.structure
		known.write(w)
	}
	if s.active != nil {
		for i := known.targets - 1; i >= 0; i-- {
			w.bits(int(*s.active>>i&1), 1)
		}
	}
	for _, d := range s.dtis {
		w.bits(int(d), 2)
	}
	if s.diffs != nil {
		for _, d := range s.diffs {
			size := 1
			for d > 1<<(4*size) {
				size++
			}
			w.bits(size, 2)
			w.bits(d-1, 4*size)
		}
		w.bits(0, 2)
	}
	for _, c := range s.chains {
		w.bits(int(c), 8)
	}
	return w.out
}

func (s *structureSpec) write(w *writer) {
	w.bits(int(s.offset), 6)
	w.bits(s.targets-1, 5)
	for i, t := range s.templates {
		next := 3
		if i+1 < len(s.templates) {
			switch after := s.templates[i+1]; {
			case after.spatial > t.spatial:
				next = 2
			case after.temporal > t.temporal:
				next = 1
			default:
				next = 0
			}
		}
		w.bits(next, 2)
	}
	for _, t := range s.templates {
		for _, d := range letters(t.dtis) {
			w.bits(int(d), 2)
		}
	}
	for _, t := range s.templates {
		for _, d := range t.diffs {
			w.bits(1, 1)
			w.bits(d-1, 4)
		}
		w.bits(0, 1)
	}
	chains := 0
	for _, c := range s.protectedBy {
		chains = max(chains, int(c)+1)
	}
	w.nonSymmetric(chains, s.targets+1)
	for _, c := range s.protectedBy {
		w.nonSymmetric(int(c), chains)
	}
	if chains > 0 {
		for _, t := range s.templates {
			for _, c := range t.chains {
				w.bits(int(c), 4)
			}
		}
	}
	w.flag(len(s.sizes) > 0)
	for _, r := range s.sizes {
		w.bits(r.Width-1, 16)
		w.bits(r.Height-1, 16)
	}
}

// The structures as Chromium announces them.
func l1t1() *structureSpec {
	return &structureSpec{
		offset: 0, targets: 1, protectedBy: []uint8{0}, sizes: []depdesc.Resolution{{Width: 1280, Height: 720}},
		templates: []templateSpec{{0, 0, "S", nil, []uint8{0}}, {0, 0, "S", []int{1}, []uint8{1}}},
	}
}

func l1t3() *structureSpec {
	return &structureSpec{
		offset: 62, targets: 3, protectedBy: []uint8{0, 0, 0}, sizes: []depdesc.Resolution{{Width: 640, Height: 360}},
		templates: []templateSpec{
			{0, 0, "SSS", nil, []uint8{0}},
			{0, 0, "SSS", []int{4}, []uint8{4}},
			{0, 1, "-DS", []int{2}, []uint8{2}},
			{0, 2, "--D", []int{1}, []uint8{1}},
			{0, 2, "--D", []int{1}, []uint8{3}},
		},
	}
}

func l3t3() *structureSpec {
	return &structureSpec{
		offset: 10, targets: 9, protectedBy: []uint8{0, 0, 0, 1, 1, 1, 2, 2, 2},
		sizes: []depdesc.Resolution{{Width: 320, Height: 180}, {Width: 640, Height: 360}, {Width: 1280, Height: 720}},
		templates: []templateSpec{
			{0, 0, "SSSSSSSSS", nil, []uint8{0, 0, 0}},
			{0, 0, "SSSRRRRRR", []int{12}, []uint8{12, 11, 10}},
			{0, 1, "-DS-RR-RR", []int{6}, []uint8{6, 5, 4}},
			{0, 2, "--D--R--R", []int{3}, []uint8{3, 2, 1}},
			{1, 0, "---SSSSSS", []int{1}, []uint8{1, 1, 1}},
			{1, 0, "---SSSRRR", []int{12, 1}, []uint8{1, 1, 1}},
			{1, 1, "----DS-RR", []int{6, 1}, []uint8{7, 6, 5}},
			{1, 2, "-----D--R", []int{3, 1}, []uint8{4, 3, 2}},
			{2, 0, "------SSS", []int{1}, []uint8{2, 1, 1}},
			{2, 0, "------SSS", []int{12, 1}, []uint8{2, 1, 1}},
			{2, 1, "-------DS", []int{6, 1}, []uint8{8, 7, 6}},
			{2, 2, "--------D", []int{3, 1}, []uint8{5, 4, 3}},
		},
	}
}

func l3t3Key() *structureSpec {
	return &structureSpec{
		offset: 40, targets: 9, protectedBy: []uint8{0, 0, 0, 1, 1, 1, 2, 2, 2},
		templates: []templateSpec{
			{0, 0, "SSSSSSSSS", nil, []uint8{0, 0, 0}},
			{0, 0, "SSS------", []int{12}, []uint8{12, 11, 10}},
			{0, 1, "-DS------", []int{6}, []uint8{6, 5, 4}},
			{0, 2, "--D------", []int{3}, []uint8{3, 2, 1}},
			{1, 0, "---SSSSSS", []int{1}, []uint8{1, 1, 1}},
			{1, 0, "---SSS---", []int{12}, []uint8{1, 12, 11}},
			{1, 1, "----DS---", []int{6}, []uint8{7, 6, 5}},
			{1, 2, "-----D---", []int{3}, []uint8{4, 3, 2}},
			{2, 0, "------SSS", []int{1}, []uint8{2, 1, 1}},
			{2, 0, "------SSS", []int{12}, []uint8{2, 1, 12}},
			{2, 1, "-------DS", []int{6}, []uint8{8, 7, 6}},
			{2, 2, "--------D", []int{3}, []uint8{5, 4, 3}},
		},
	}
}
