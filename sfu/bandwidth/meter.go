package bandwidth

const (
	meterSlotMicros = 25_000
	meterSlots      = 48 // 1.2 s
	meterWindow     = 40 // slots of a rate: 1 s holds every frame of a usual pattern but the keyframe
)

// meter counts bytes in slots of time, on any clock in microseconds.
type meter struct {
	bytes  [meterSlots]uint32
	first  int64 // slot of the first packet
	latest int64
	used   bool
}

// add counts a packet. One that is older than the slots is left out. Hot path.
func (m *meter) add(micros int64, bytes int) {
	slot := micros / meterSlotMicros
	if !m.used || slot-m.latest > meterSlots || m.latest-slot > 8*meterSlots {
		*m = meter{used: true, first: slot, latest: slot}
	}
	for m.latest < slot {
		m.latest++
		m.bytes[uint64(m.latest)%meterSlots] = 0
	}
	if slot > m.latest-meterSlots {
		m.bytes[uint64(slot)%meterSlots] += uint32(bytes)
	}
}

// sum is the bytes in the slots from and to, both included. Those out of reach count nothing.
func (m *meter) sum(from, to int64) (bytes uint64) {
	for slot := max(from, m.latest-meterSlots+1); slot <= min(to, m.latest); slot++ {
		bytes += uint64(m.bytes[uint64(slot)%meterSlots])
	}
	return bytes
}

// rate is bit/s over the last second up to the last slot that is complete, 0 while there is less than a quarter of that.
func (m *meter) rate() float64 {
	to := m.latest - 1
	from := max(m.first, to-meterWindow+1)
	return m.over(from, to)
}

// since is bit/s from a time until the last complete slot, over at most limit slots; 0 when that is less than least slots.
func (m *meter) since(micros int64, least, limit int64) float64 {
	to := m.latest - 1
	from := max(micros/meterSlotMicros+1, to-limit+1)
	if to-from+1 < least {
		return 0
	}
	return m.over(from, to)
}

func (m *meter) over(from, to int64) float64 {
	if !m.used || to-from+1 < 4 {
		return 0
	}
	return float64(m.sum(from, to)) * 8e6 / float64((to-from+1)*meterSlotMicros)
}
