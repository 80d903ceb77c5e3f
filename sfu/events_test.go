package sfu

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestListeningGetsWhatItMatches(t *testing.T) {
	var h hub
	all, some := h.listen(nil), h.listen(func(e Event) bool { return e.RouterID == "b" })
	h.emit(Event{Type: EventRouterCreated, RouterID: "a"})
	h.emit(Event{Type: EventRouterCreated, RouterID: "b"})
	later := h.listen(nil)
	require.Zero(t, all.Start())
	require.EqualValues(t, 2, later.Start())
	first, second := <-all.C(), <-all.C()
	require.Equal(t, []uint64{1, 2}, []uint64{first.Seq, second.Seq})
	require.WithinDuration(t, time.Now(), first.Time, time.Minute)
	require.Equal(t, second, <-some.C())
	require.Empty(t, some.C())
}

func TestLateListenerLosesTheOldest(t *testing.T) {
	var h hub
	l := h.listen(nil)
	for range listeningCapacity {
		h.emit(Event{Type: EventPublisherLive})
	}
	require.Zero(t, l.Missed(), "at the limit")
	for range 10 {
		h.emit(Event{Type: EventPublisherLive})
	}
	require.EqualValues(t, 10, l.Missed())
	require.Len(t, l.C(), listeningCapacity)
	require.EqualValues(t, 11, (<-l.C()).Seq)
}

func TestListeningCloses(t *testing.T) {
	var h hub
	l := h.listen(nil)
	h.emit(Event{})
	l.Close()
	l.Close()
	h.emit(Event{})
	require.EqualValues(t, 1, (<-l.C()).Seq)
	_, open := <-l.C()
	require.False(t, open)
	require.Empty(t, h.listeners)
	h.listen(nil).Close()
}

// Emitting never waits for listeners, and events keep their order, whatever happens at the same time.
func TestEventsUnderConcurrency(t *testing.T) {
	var h hub
	var emitters, listeners sync.WaitGroup
	for range 4 {
		listeners.Go(func() {
			l := h.listen(nil)
			previous := uint64(0)
			for range 200 {
				e := <-l.C()
				if e.Seq <= previous {
					t.Errorf("event %d after %d", e.Seq, previous)
				}
				previous = e.Seq
			}
			l.Close()
		})
	}
	stop := make(chan struct{})
	for range 2 {
		emitters.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					h.emit(Event{Type: EventPublisherLive})
				}
			}
		})
	}
	listeners.Wait()
	close(stop)
	emitters.Wait()
}
