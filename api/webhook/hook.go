package webhook

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// hook is a registered webhook at work.
type hook struct {
	Registration
	set    *Set
	lanes  [lanes]*lane
	cancel context.CancelFunc
	lost   func(e Event, reason string) // logs

	running sync.WaitGroup // the lanes

	mu     sync.Mutex // guards status
	status Status     // without Queued
}

// start starts the lanes. They end when remove is called, or after the set's stop once they have tried all that waits.
func (s *Set) start(r Registration) *hook {
	h := &hook{Registration: r, set: s}
	log := s.log.With("webhook_id", r.ID)
	h.lost = func(e Event, reason string) {
		if s.lossLog.Allow() {
			log.Warn("webhook event lost", "event_id", e.ID, "type", e.Type, "reason", reason)
		}
	}
	var ctx context.Context
	ctx, h.cancel = context.WithCancel(context.Background())
	for i := range h.lanes {
		h.lanes[i] = newLane(h)
		h.running.Go(func() { h.lanes[i].run(ctx, s.stop) })
	}
	return h
}

// remove ends the lanes, in the middle of a request if need be, and returns when nothing is sent any more.
func (h *hook) remove() {
	h.cancel()
	h.running.Wait()
}

func (h *hook) wants(eventType string) bool {
	return len(h.Events) == 0 || slices.Contains(h.Events, eventType)
}

func (h *hook) push(e Event) {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(e.Key)) // never fails
	dropped := h.lanes[hash.Sum32()%lanes].push(e)
	if dropped == 0 {
		return
	}
	h.set.dropped.Add(uint64(dropped))
	h.mu.Lock()
	h.status.Dropped += uint64(dropped)
	h.mu.Unlock()
	h.lost(e, "queue full")
}

// try sends an event once and reports whether the receiver took it.
func (h *hook) try(ctx context.Context, e Event) bool {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	status, err := h.set.post(ctx, h.URL, h.Secret, e.ID, e.Body)
	problem := describe(status, err)
	h.mu.Lock()
	defer h.mu.Unlock()
	if problem == "" {
		h.status.Delivered++
		h.set.delivered.Add(1)
		return true
	}
	h.status.Failed++
	h.status.LastError, h.status.LastErrorAt = problem, time.Now()
	h.set.failed.Add(1)
	return false
}

func (h *hook) expire(e Event, tries int) {
	h.set.expired.Add(1)
	h.mu.Lock()
	h.status.Expired++
	last := h.status.LastError
	h.mu.Unlock()
	h.lost(e, fmt.Sprintf("given up after %d tries, the last: %s", tries, last))
}

func (h *hook) snapshot() Hook {
	h.mu.Lock()
	out := Hook{Registration: h.Registration, Status: h.status}
	h.mu.Unlock()
	out.Events = slices.Clone(h.Events)
	for _, l := range h.lanes {
		out.Queued += l.waiting()
	}
	return out
}

// describe says what is wrong with an answer, in words that hold no part of the URL; nothing is wrong with 2xx.
func describe(status int, err error) string {
	var timeout net.Error
	switch {
	case err == nil && status/100 == 2:
		return ""
	case err == nil && status/100 == 3:
		return fmt.Sprintf("redirect %d, which is not followed", status)
	case err == nil:
		return fmt.Sprintf("status %d %s", status, http.StatusText(status))
	case errors.Is(err, ErrTarget):
		return "address not permitted"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "interrupted"
	}
	return "no answer: " + cause(err)
}

// cause is the innermost error, without the URL that package net/http puts before it.
func cause(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}
