package bench

import (
	"context"
	"errors"
	"os"
	"time"
)

// reading is what counters say at one moment.
type reading struct {
	at             time.Time
	server, load   time.Duration // CPU
	machine        time.Duration // CPU of all processes, and what the hypervisor took
	sent           uint64        // packets, by the publishers
	packets, bytes uint64        // received by all viewers
	missing        uint64        // at the viewers that count
	duplicates     uint64
	resent         uint64
	unstamped      uint64
	silent         int // viewers that count and got nothing since the window's start
	each           []uint64
}

// window is what happened between two readings.
type window struct {
	reading
	length time.Duration
	delay  []time.Duration
}

// measure watches for the length of the window.
func (l *load) measure(ctx context.Context, server process) (w window, err error) {
	l.record(true)
	defer l.record(false)
	l.delays.take()
	before, err := l.read(server)
	if err != nil {
		return w, err
	}
	select {
	case <-time.After(l.config.Window):
	case <-ctx.Done():
		return w, ctx.Err()
	}
	after, err := l.read(server)
	if err != nil {
		return w, err
	}
	return window{reading: after.since(before), length: after.at.Sub(before.at), delay: l.delays.take()}, nil
}

func (l *load) record(on bool) {
	for _, v := range l.viewers {
		v.mu.Lock()
		v.recording = on
		v.mu.Unlock()
	}
}

// read takes one reading. A thousand counters take less than a millisecond.
func (l *load) read(server process) (r reading, err error) {
	if server.pid != 0 {
		if r.server, err = server.cpu(); err != nil {
			return r, err
		}
	}
	if r.load, err = (process{os.Getpid()}).cpu(); err != nil && !errors.Is(err, os.ErrNotExist) {
		return r, err
	}
	r.machine = machineCPU()
	r.at = time.Now()
	for _, p := range l.publishers {
		r.sent += p.sent.Load()
	}
	counted := len(l.wellBehaved())
	for i, v := range l.viewers {
		v.addTo(&r, i < counted)
	}
	return r, nil
}

func (v *viewer) addTo(r *reading, counted bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	r.packets += v.packets
	r.bytes += v.bytes
	if !counted {
		return
	}
	r.each = append(r.each, v.packets)
	r.resent += v.resent
	r.unstamped += v.unstamped
	for i := range v.streams {
		r.missing += v.streams[i].missing()
		r.duplicates += v.streams[i].duplicates
	}
}

func (r reading) since(before reading) reading {
	d := reading{
		server: r.server - before.server, load: r.load - before.load, machine: r.machine - before.machine, sent: r.sent - before.sent,
		packets: r.packets - before.packets, bytes: r.bytes - before.bytes, duplicates: r.duplicates - before.duplicates,
		resent: r.resent - before.resent, unstamped: r.unstamped - before.unstamped,
	}
	if r.missing > before.missing { // what was missing before may have been repaired meanwhile
		d.missing = r.missing - before.missing
	}
	for i := range r.each {
		if r.each[i] == before.each[i] {
			d.silent++
		}
	}
	return d
}
