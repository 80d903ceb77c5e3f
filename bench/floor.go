package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"rheomesh/internal/rtpx"
)

// floorSpec is what the floor's process is told, as one line of JSON.
type floorSpec struct {
	Sinks      []netip.AddrPort `json:"sinks"`
	Publishers int              `json:"publishers"` // sinks take their streams in turn
	Stream     Stream           `json:"stream"`
}

// addFloor measures the floor for a row, and what it makes of the server's figure.
func (r *Result) addFloor(ctx context.Context, c Config, row row) error {
	c.progress("%d publishers, %d viewers, floor", row.publishers, row.viewers)
	floor, err := measureFloor(ctx, c, row)
	if err != nil {
		return fmt.Errorf("floor: %w", err)
	}
	r.FloorMicros, r.FloorRatio = floor, per(r.ServerMicros, floor)
	return nil
}

// measureFloor runs the floor's process and returns its CPU time per packet, in microseconds. Packets are counted where
// they arrive, by the same reading as in a run.
func measureFloor(ctx context.Context, c Config, row row) (micros float64, err error) {
	p, err := newPoller()
	if err != nil {
		return 0, err
	}
	defer p.close()
	var received atomic.Uint64
	spec := floorSpec{Publishers: row.publishers, Stream: c.Stream}
	for range row.viewers {
		s, err := p.open(netip.AddrFrom4([4]byte{127, 0, 0, 1}), func(_ *socket, batch []datagram) { received.Add(uint64(countRTP(batch))) })
		if err != nil {
			return 0, err
		}
		defer s.close()
		s.glance()
		spec.Sinks = append(spec.Sinks, s.addr)
	}
	child, stop, err := startFloor(c.Floor, spec)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if err := pause(ctx, c.Settle); err != nil {
		return 0, err
	}
	return watchFloor(ctx, c.Window, process{child.pid()}, &received)
}

func countRTP(batch []datagram) (n int) {
	for i := range batch {
		if rtpx.Classify(batch[i].data) == rtpx.RTP {
			n++
		}
	}
	return n
}

func watchFloor(ctx context.Context, length time.Duration, p process, received *atomic.Uint64) (float64, error) {
	cpu, err := p.cpu()
	packets := received.Load()
	if err != nil {
		return 0, err
	}
	if err := pause(ctx, length); err != nil {
		return 0, err
	}
	after, err := p.cpu()
	packets = received.Load() - packets
	if err == nil && packets == 0 {
		err = ErrNoMedia
	}
	return per(micros(after-cpu), packets), err
}

// startFloor starts the process, which runs until its standard input ends.
func startFloor(command []string, spec floorSpec) (c *child, stop func() error, err error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	c, stdout, err := startChild(command, nil, read)
	err = errors.Join(err, read.Close())
	if err != nil {
		return nil, nil, errors.Join(err, write.Close())
	}
	c.tasks.Go(func() { _, _ = io.Copy(io.Discard, stdout) })
	stop = func() error {
		closeErr := write.Close()
		c.tasks.Wait()
		return errors.Join(closeErr, c.cmd.Wait())
	}
	if err := json.NewEncoder(write).Encode(spec); err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	return c, stop, nil
}

func readFloorSpec(in *bufio.Reader) (spec floorSpec, err error) {
	line, err := in.ReadBytes('\n')
	if err != nil {
		return spec, err
	}
	return spec, json.Unmarshal(line, &spec)
}
