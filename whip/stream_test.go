package whip

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"rheomesh/sfu"
)

func newTestStream(events ...string) *stream {
	media := &fakeSession{id: "s", done: make(chan struct{})}
	return newStream("stream", newSession(address{session: "s"}, media, "/s"), events)
}

func TestStreamQueue(t *testing.T) {
	for _, row := range []struct {
		name   string
		events []string
		feed   func(*stream)
		want   []string
	}{
		{"inactive is not initial", eventNames, func(s *stream) { s.setActive(false) }, nil},
		{"no repetition", eventNames, func(s *stream) { s.setActive(true); s.setActive(true) }, []string{"active {}"}},
		{"both changes", eventNames, func(s *stream) { s.setActive(true); s.setActive(false) }, []string{"active {}", "inactive {}"}},
		{"filtered", []string{eventInactive}, func(s *stream) { s.setActive(true); s.setViewers(1); s.setActive(false) }, []string{"inactive {}"}},
		{"nothing wanted", nil, func(s *stream) { s.update(true, 1, true) }, nil},
		{"newest count only", eventNames, func(s *stream) { s.setViewers(1); s.setViewers(2) }, []string{`viewercount {"viewercount":2}`}},
		{"count of nobody", eventNames, func(s *stream) { s.setViewers(0) }, []string{`viewercount {"viewercount":0}`}},
		{"reconnect once", eventNames, func(s *stream) { s.setReconnecting(true); s.setReconnecting(true) }, []string{"reconnect {}"}},
		{"reconnect again after a new drain", eventNames, func(s *stream) {
			s.setReconnecting(true)
			s.setReconnecting(false)
			s.setReconnecting(true)
		}, []string{"reconnect {}"}},
		{"not draining", eventNames, func(s *stream) { s.setReconnecting(false) }, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newTestStream(row.events...)
			row.feed(s)
			assert.Equal(t, row.want, texts(s.take(s.attach())))
		})
	}
}

func texts(messages []message) (lines []string) {
	for _, m := range messages {
		lines = append(lines, m.event+" "+m.data)
	}
	return lines
}

// TestStreamQueueIsBounded: a publisher that flaps for ever leaves a bounded queue that still alternates.
func TestStreamQueueIsBounded(t *testing.T) {
	for flaps := range 3 * maxQueued {
		s := newTestStream(eventNames...)
		s.setViewers(1)
		for i := range flaps {
			s.setActive(i%2 == 0)
		}
		queue := s.take(s.attach())
		require.LessOrEqual(t, len(queue), maxQueued)
		checkAlternates(t, queue, flaps%2 == 1)
	}
}

// checkAlternates expects active first, then turns, and the last state to be the present one.
func checkAlternates(t *testing.T, queue []message, active bool) {
	t.Helper()
	state := false
	for _, m := range queue {
		if m.isState() {
			state = !state
			if state != (m.event == eventActive) {
				t.Fatalf("active and inactive do not take turns: %q", texts(queue))
			}
		}
	}
	if state != active {
		t.Fatalf("the last state is not active = %v: %q", active, texts(queue))
	}
}

// FuzzStreamQueue drives a stream with changes, reads and failed reads, and compares what readers got
// and what is queued with the states that were set.
func FuzzStreamQueue(f *testing.F) {
	f.Add([]byte{0, 1, 0, 2, 3, 4, 5, 1, 6})
	f.Add(slices.Repeat([]byte{0, 1, 5}, 100))
	f.Add(slices.Repeat([]byte{0, 1, 0, 5, 1, 4, 2, 3}, 40))
	f.Fuzz(func(t *testing.T, steps []byte) {
		s := newTestStream(eventNames...)
		var sent []message
		active, viewers := false, -1
		for i, step := range steps {
			switch step % 7 {
			case 0:
				active = true
				s.setActive(true)
			case 1:
				active = false
				s.setActive(false)
			case 2:
				viewers = i
				s.setViewers(i)
			case 3:
				s.setReconnecting(i%2 == 0)
			case 4: // read and sent
				sent = append(sent, s.take(s.attach())...)
			case 5: // read, lost, given back after another change
				r := s.attach()
				taken := s.take(r)
				active = !active
				s.setActive(active)
				viewers = i
				s.setViewers(i)
				s.giveBack(taken)
			case 6: // a reader that was replaced gets nothing
				old := s.attach()
				s.attach()
				require.Nil(t, s.take(old))
			}
			if len(s.queue) > maxQueued {
				t.Fatalf("%d messages in the queue", len(s.queue))
			}
		}
		rest := s.take(s.attach())
		for _, name := range []string{eventViewerCount, eventReconnect, eventLayers} {
			count := 0
			for _, m := range rest {
				if m.event == name {
					count++
				}
			}
			require.LessOrEqual(t, count, 1, "only the newest %s is kept", name)
		}
		all := append(sent, rest...)
		checkAlternates(t, all, active)
		if viewers >= 0 {
			last := ""
			for _, m := range all {
				if m.event == eventViewerCount {
					last = m.data
				}
			}
			require.Equal(t, fmt.Sprintf(`{"viewercount":%d}`, viewers), last)
		}
	})
}

// TestGiveBackWakesTheNewReader: messages that a dying connection could not send reach its successor.
func TestGiveBackWakesTheNewReader(t *testing.T) {
	s := newTestStream(eventNames...)
	old := s.attach()
	s.setActive(true)
	taken := s.take(old)
	successor := s.attach()
	require.Nil(t, s.take(successor))
	s.giveBack(taken)
	<-successor.wake
	assert.Equal(t, []string{"active {}"}, texts(s.take(successor)))
	<-old.gone
	s.detach(old)
	require.Same(t, successor, s.reader, "only the reader itself detaches")
}

// failingWriter is a connection that has died.
type failingWriter struct{ http.ResponseWriter }

func (failingWriter) Write([]byte) (int, error) { return 0, net.ErrClosed }

// TestFailedWriteKeepsMessages: what could not be written waits for the next reader.
func TestFailedWriteKeepsMessages(t *testing.T) {
	s := newTestStream(eventNames...)
	s.setActive(true)
	out := newEventWriter(echo.NewResponse(failingWriter{httptest.NewRecorder()}, echo.New()))
	require.False(t, out.send(s, s.attach()))
	assert.Equal(t, []string{"active {}"}, texts(s.take(s.attach())))
}

// TestHubForgets: nothing is kept of streams that are gone.
func TestHubForgets(t *testing.T) {
	b := hub{node: newFakeNode()}
	s := newTestStream(eventNames...)
	require.NoError(t, b.add(s))
	require.Len(t, b.streams, 1)
	require.Same(t, s, b.find(s.session, s.id))
	require.True(t, b.drop(s.session, s.id))
	require.False(t, b.drop(s.session, s.id))
	require.Empty(t, b.streams)

	// A session that ended while its stream was being added keeps none.
	s.session.media.Close(sfu.CloseDeleted)
	late := newStream("late", s.session, eventNames)
	require.NoError(t, b.add(late))
	require.Empty(t, b.streams)
	<-late.dropped
}

// TestRegistryIsBounded: ended sessions are remembered for a minute and never more than the limit.
func TestRegistryIsBounded(t *testing.T) {
	var r registry
	now := time.Unix(0, 0)
	for i := range maxEnded + 100 {
		at := address{session: sfu.SessionID(fmt.Sprint(i))}
		media := &fakeSession{id: at.session, done: make(chan struct{})}
		r.add(newSession(at, media, ""))
		media.Close(sfu.CloseSilent)
	}
	require.Len(t, r.sweep(now), maxEnded+100)
	require.Empty(t, r.live)
	require.Len(t, r.ends, maxEnded)
	require.Empty(t, r.sweep(now.Add(endedMemory)))
	require.Len(t, r.ends, maxEnded)
	r.sweep(now.Add(endedMemory + 1))
	require.Empty(t, r.ends)
	require.Empty(t, r.order)
}
