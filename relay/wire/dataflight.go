package wire

import "time"

// What is on its way, what has arrived, and what was lost.

// Acknowledged takes the payload of an acknowledgement. seq is the number of its datagram in the link's flow: the newest says how much room the receiver has.
func (s *DataSender) Acknowledged(b []byte, seq uint64, now int64) error {
	a, err := ParseDataAck(s.ranges[:0], b)
	if err != nil {
		return err
	}
	s.ranges = a.Ranges
	if a.Cumulative > s.next || len(a.Ranges) > 0 && a.Ranges[len(a.Ranges)-1].To > s.next {
		return ErrMessage // of what was never sent
	}
	if seq >= s.roomSeq {
		s.roomSeq, s.room = seq, a.Room
	}
	var got arrivals
	s.arrived(NumberRange{From: 0, To: a.Cumulative}, &got)
	for _, r := range a.Ranges {
		s.arrived(r, &got)
	}
	if got.datagrams > 0 {
		s.pace.sample(time.Duration(now-got.newestAt)-a.Delay, now)
		s.asked = 0
	}
	s.largest = max(s.largest, got.newest)
	s.forget()
	s.detect(now)
	if got.datagrams > 0 {
		s.pace.acked(got.bytes, s.largest, s.next)
	}
	s.askAt = 0
	if len(s.flight) > 0 || s.hungry != nil {
		s.askAt = now + s.pace.askDelay(s.asked)
	}
	return nil
}

// arrivals is what one acknowledgement says that is new.
type arrivals struct {
	datagrams, bytes int
	newest           uint64 // one above the highest number
	newestAt         int64
}

// arrived settles the datagrams of a range.
func (s *DataSender) arrived(r NumberRange, got *arrivals) {
	first := s.next - uint64(len(s.flight))
	for n := max(r.From, first); n < r.To; n++ {
		d := &s.flight[n-first]
		if d.settled {
			continue
		}
		got.datagrams++
		got.bytes += d.size
		if n >= got.newest {
			got.newest, got.newestAt = n+1, d.at
		}
		s.release(d)
		for i := range d.chunks {
			s.chunkArrived(&d.chunks[i])
		}
		s.recycle(d)
	}
}

func (s *DataSender) release(d *sentDatagram) {
	d.settled = true
	s.inFlight -= d.size
}

// recycle keeps the memory of a datagram's chunks for another.
func (s *DataSender) recycle(d *sentDatagram) {
	if cap(d.chunks) == 0 || len(s.spare) >= maxFlight {
		return
	}
	clear(d.chunks)
	s.spare = append(s.spare, d.chunks[:0])
	d.chunks = nil
}

func (s *DataSender) chunkArrived(c *sentChunk) {
	m := c.message
	if m == nil {
		if c.skip == c.lane.skip {
			c.lane.skip = 0
			s.settle(c.lane)
		}
		return
	}
	if m.finished {
		return
	}
	if m.outstanding--; m.outstanding == 0 && m.whole {
		s.finish(m)
	}
}

// forget lets the settled beginning of the flight go.
func (s *DataSender) forget() {
	n := 0
	for n < len(s.flight) && s.flight[n].settled {
		n++
	}
	s.flight = s.flight[n:]
	if len(s.flight) == 0 {
		s.flight = nil
	}
}

// detect finds the datagrams that were lost by now.
func (s *DataSender) detect(now int64) {
	if s.lossAt != 0 && now < s.lossAt && s.largest <= s.detected {
		return
	}
	s.lossAt, s.detected = 0, s.largest
	first, delay, outage := s.next-uint64(len(s.flight)), s.pace.lossDelay(), 0
	for i := range s.flight {
		d := &s.flight[i]
		if first+uint64(i) >= s.largest {
			break
		}
		if d.settled {
			continue
		}
		if now-d.at < delay {
			s.lossAt = d.at + delay
			break
		}
		outage++
		s.lose(d, now)
	}
	if outage > 0 {
		s.forget()
		if s.inFlight == 0 && outage >= leastPackets {
			s.pace.restart()
		}
	}
}

// lose takes a datagram for lost: what was in it is sent again, or left out as its lane says.
func (s *DataSender) lose(d *sentDatagram, now int64) {
	s.release(d)
	s.pace.lost(d.size)
	for i := range d.chunks {
		c := d.chunks[i]
		m := c.message
		switch {
		case m == nil:
			if c.skip == c.lane.skip {
				c.lane.skipSent = false
			}
		case m.finished:
		case m.spent(c.tries, now):
			s.drop(m)
		default:
			c.tries++
			s.again = append(s.again, c)
		}
	}
	s.recycle(d)
}

// spent reports whether a message whose chunk was sent again that often must not be tried any more.
func (m *sendMessage) spent(tries uint16, now int64) bool {
	limit := m.lane.options.MaxRetransmits
	return !m.reliable() && (limit != nil && tries >= *limit || m.expired(now))
}
