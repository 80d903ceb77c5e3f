package bench

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrNoMedia means that some viewers got nothing that could be decoded.
var ErrNoMedia = errors.New("media did not arrive")

// Run measures what the configuration asks for. With an error that wraps ErrNoMedia the report is complete all the same.
func Run(ctx context.Context, c Config) (Report, error) {
	if err := c.Check(); err != nil {
		return Report{}, err
	}
	report := newReport(c)
	if c.ownServer() {
		report.Server = strings.Join(c.Serve, " ")
	}
	report.Notes = append(report.Notes, c.notes()...)
	if c.Churn > 0 {
		churn, err := runChurn(ctx, c)
		report.Churn = &churn
		return report, err
	}
	var missed error
	for _, row := range c.rows() {
		r := Row{Publishers: row.publishers, Viewers: row.viewers}
		for i := range c.Repeat {
			c.progress("%d publishers, %d viewers, run %d of %d", row.publishers, row.viewers, i+1, c.Repeat)
			result, err := runOnce(ctx, c, row)
			if err != nil {
				return report, fmt.Errorf("%d viewers: %w", row.viewers, err)
			}
			if result.WithoutMedia > 0 {
				missed = errors.Join(missed, fmt.Errorf("%w: %d of %d viewers", ErrNoMedia, result.WithoutMedia, row.viewers))
			}
			r.Runs = append(r.Runs, result)
		}
		r.Worst = worst(r.Runs)
		report.Rows = append(report.Rows, r)
	}
	return report, missed
}

// notes say what a reader must know of the figures.
func (c Config) notes() []string {
	notes := []string{"server and load share the cores of this machine; figures are the worst of the runs"}
	if !c.ownServer() {
		notes = append(notes, "rows share one server process, so its memory may hold what earlier rows needed")
		if c.PID == 0 {
			notes = append(notes, "without --pid the server's CPU and memory are not measured")
		}
	}
	return notes
}

// runOnce measures one row once, with a server of its own if the configuration names none.
func runOnce(ctx context.Context, c Config, r row) (result Result, err error) {
	target, err := c.target(ctx)
	if err != nil {
		return result, err
	}
	result, err = runLoad(ctx, c, r, target)
	if err == nil && c.Floor != nil {
		err = result.addFloor(ctx, c, r)
	}
	return result, errors.Join(err, target.stop())
}

// runLoad joins, measures and leaves.
func runLoad(ctx context.Context, c Config, r row, t *target) (result Result, err error) {
	l, err := newLoad(ctx, c, t.whip, t.whep)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	if err := l.publish(ctx, r.publishers); err != nil {
		return result, err
	}
	// By then the server holds all that it keeps of a stream, which is not to count as memory of viewers.
	if err := pause(ctx, c.Settle+2*c.Stream.GOP); err != nil {
		return result, err
	}
	before, err := t.usage()
	if err != nil {
		return result, err
	}
	if err := l.watch(ctx, r.viewers); err != nil {
		return result, err
	}
	without := l.awaitMedia(ctx)
	if result, err = l.windows(ctx, t.process, without); err != nil {
		return result, err
	}
	after, err := t.usage()
	result.addMemory(before, after, r.viewers)
	return result, err
}

// windows measures once, or before and after some viewers misbehave.
func (l *load) windows(ctx context.Context, server process, without int) (Result, error) {
	if err := pause(ctx, l.config.Settle); err != nil {
		return Result{}, err
	}
	w, err := l.measure(ctx, server)
	if err != nil || l.config.Stalled+l.config.Slow == 0 {
		return l.result(w, without), err
	}
	before := l.result(w, without)
	l.misbehave()
	if err := pause(ctx, l.config.Settle); err != nil {
		return Result{}, err
	}
	w, err = l.measure(ctx, server)
	result := l.result(w, without)
	result.Disturbance = &Disturbance{
		Stalled: l.config.Stalled, Slow: l.config.Slow, DelayBefore: before.Delay, AddedP99MS: result.Delay.P99MS - before.Delay.P99MS,
		ServerBefore: before.ServerMicros, LostBefore: before.Lost, OthersLost: result.Lost, OthersWithout: w.silent,
	}
	return result, err
}

func (r *Result) addMemory(before, after Usage, viewers int) {
	r.RSSPerViewerKB = per(float64(after.RSSBytes-before.RSSBytes)/1e3, viewers)
	r.RSSMB, r.Threads, r.Descriptors = float64(after.RSSBytes)/1e6, after.Threads, after.Descriptors
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
