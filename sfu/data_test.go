package sfu_test

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"rheomesh/sfu"
)

// dataMessage is a message as a client sees it.
type dataMessage struct {
	label  string
	text   bool
	data   string
	stream uint16
}

// dataPeer is a client that has data channels and no media.
type dataPeer struct {
	t       testing.TB
	pc      *webrtc.PeerConnection
	session *sfu.Session
	inbox   chan dataMessage // room for what a test sends

	mu     sync.Mutex
	opened map[string]*webrtc.DataChannel // channels that the server has opened, by label and protocol
	arrive chan struct{}                  // capacity 1, a note of an opened channel
}

func newDataPeer(t testing.TB) *dataPeer {
	t.Helper()
	p := &dataPeer{t: t, pc: newPeer(t), inbox: make(chan dataMessage, 1<<12), opened: map[string]*webrtc.DataChannel{}, arrive: make(chan struct{}, 1)}
	p.pc.OnDataChannel(func(c *webrtc.DataChannel) {
		p.listen(c)
		p.mu.Lock()
		p.opened[c.Label()+c.Protocol()] = c
		p.mu.Unlock()
		select {
		case p.arrive <- struct{}{}:
		default:
		}
	})
	return p
}

func (p *dataPeer) listen(c *webrtc.DataChannel) {
	c.OnMessage(func(m webrtc.DataChannelMessage) {
		p.inbox <- dataMessage{label: c.Label(), text: m.IsString, data: string(m.Data), stream: *c.ID()}
	})
}

// create makes a channel before the offer.
func (p *dataPeer) create(label string, init *webrtc.DataChannelInit) *webrtc.DataChannel {
	p.t.Helper()
	c, err := p.pc.CreateDataChannel(label, init)
	require.NoError(p.t, err)
	p.listen(c)
	return c
}

func (p *dataPeer) publish(router *sfu.Router, id sfu.PublisherID) {
	p.t.Helper()
	session, err := router.Publish(sfu.PublishRequest{Publisher: id, Offer: []byte(offer(p.t, p.pc))})
	require.NoError(p.t, err)
	p.session = session
	answer(p.t, p.pc, session.Description())
	connected(p.t, p.pc)
}

func (p *dataPeer) watch(router *sfu.Router, id sfu.PublisherID, maySend bool) {
	p.t.Helper()
	session, err := router.Subscribe(sfu.SubscribeRequest{Publisher: id, Offer: []byte(offer(p.t, p.pc)), SendData: maySend})
	require.NoError(p.t, err)
	p.session = session
	answer(p.t, p.pc, session.Description())
	connected(p.t, p.pc)
}

// channel waits for a channel that the server opens.
func (p *dataPeer) channel(key string) *webrtc.DataChannel {
	p.t.Helper()
	for deadline := time.After(patience); ; {
		p.mu.Lock()
		c := p.opened[key]
		p.mu.Unlock()
		if c != nil {
			return c
		}
		select {
		case <-p.arrive:
		case <-deadline:
			p.t.Fatalf("no channel %q was opened", key)
		}
	}
}

func (p *dataPeer) next() dataMessage {
	p.t.Helper()
	select {
	case m := <-p.inbox:
		return m
	case <-time.After(patience):
		p.t.Fatal("no message")
		return dataMessage{}
	}
}

// isOpen waits until a channel of the client's own is open.
func isOpen(t testing.TB, c *webrtc.DataChannel) {
	t.Helper()
	require.Eventually(t, func() bool { return c.ReadyState() == webrtc.DataChannelStateOpen }, patience, time.Millisecond)
}

// isAttached waits until the node has a channel of the viewer: to pion a channel is open before that.
func isAttached(t testing.TB, router *sfu.Router, viewer *dataPeer) {
	t.Helper()
	s, err := router.Subscriber(viewer.session.SubscriberID())
	require.NoError(t, err)
	until(t, "viewer has a channel", func() bool { return len(s.Info().Tracks) == 1 })
}

func until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, patience, time.Millisecond, what)
}

// neededChannel makes a peer offer a data section without a channel of interest.
func neededChannel(p *dataPeer) { p.create("own", nil) }

func TestDataReachesViewers(t *testing.T) {
	t.Parallel()
	unordered, retransmits, lifetime, negotiated, id := false, uint16(3), uint16(500), true, uint16(7)
	protocol := "json"
	tests := map[string]struct {
		label string
		init  *webrtc.DataChannelInit
	}{
		"reliable":              {"chat", nil},
		"unordered":             {"cursor", &webrtc.DataChannelInit{Ordered: &unordered}},
		"retransmits, protocol": {"state", &webrtc.DataChannelInit{MaxRetransmits: &retransmits, Protocol: &protocol}},
		"lifetime, unordered":   {"pose", &webrtc.DataChannelInit{MaxPacketLifeTime: &lifetime, Ordered: &unordered}},
		"empty label":           {"", nil},
		"negotiated":            {"#7", &webrtc.DataChannelInit{Negotiated: &negotiated, ID: &id}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, router := newNode(t)
			publisher, viewer := newDataPeer(t), newDataPeer(t)
			channel := publisher.create(test.label, test.init)
			publisher.publish(router, "cam")
			isOpen(t, channel)
			if test.init != nil && test.init.Negotiated != nil {
				require.NoError(t, channel.SendText("first")) // nothing else tells that the channel is there
			}
			neededChannel(viewer)
			viewer.watch(router, "cam", false)
			got := viewer.channel(test.label + channel.Protocol())
			assert.Equal(t, channel.Ordered(), got.Ordered())
			assert.Equal(t, channel.MaxRetransmits(), got.MaxRetransmits())
			assert.Equal(t, channel.MaxPacketLifeTime(), got.MaxPacketLifeTime())

			large := string(bytes.Repeat([]byte("x"), 64<<10))
			require.NoError(t, channel.SendText("text"))
			require.NoError(t, channel.Send([]byte{0, 1, 2}))
			require.NoError(t, channel.SendText(""))
			require.NoError(t, channel.Send(nil))
			require.NoError(t, channel.SendText(large))
			want := map[dataMessage]int{}
			for _, m := range []dataMessage{{text: true, data: "text"}, {data: "\x00\x01\x02"}, {text: true}, {}, {text: true, data: large}} {
				m.label, m.stream = test.label, *got.ID()
				want[m]++
			}
			for range 5 {
				want[viewer.next()]--
			}
			for m, n := range want {
				assert.Zero(t, n, "%s text %t, %d bytes", m.label, m.text, len(m.data))
			}

			p, err := router.Publisher("cam")
			require.NoError(t, err)
			info := p.Info()
			require.Len(t, info.Tracks, 1)
			assert.Equal(t, "live", info.State)
			assert.Equal(t, "data", info.Tracks[0].Kind)
			require.Len(t, info.Tracks[0].Channels, 1)
			assert.Equal(t, test.label, info.Tracks[0].Channels[0].Label)
		})
	}
}

// A message is as long as a description permits: 256 KiB, of which each side keeps its own.
func TestDataMessageOf256KiB(t *testing.T) {
	t.Parallel()
	node, router := newNode(t)
	publisher, viewer, small := newDataPeer(t), newDataPeer(t), newDataPeer(t)
	channel := publisher.create("file", nil)
	publisher.publish(router, "cam")
	neededChannel(viewer)
	viewer.watch(router, "cam", false)
	viewer.channel("file")
	neededChannel(small)
	text := offer(t, small.pc) // pion announces no limit, or a large one; this one takes the default of RFC 8841
	text = withoutLine(text, "a=max-message-size")
	session, err := router.Subscribe(sfu.SubscribeRequest{Publisher: "cam", Offer: []byte(text)})
	require.NoError(t, err)
	answer(t, small.pc, session.Description())
	small.channel("file")

	require.NoError(t, channel.Send(bytes.Repeat([]byte("x"), 256<<10)))
	require.NoError(t, channel.SendText("after"))
	assert.Len(t, viewer.next().data, 256<<10)
	assert.Equal(t, "after", viewer.next().data)
	assert.Equal(t, "after", small.next().data, "65,536 bytes are the most that this viewer takes")
	assert.Equal(t, uint64(1), node.Stats().Data.Dropped["too-large"])
}

func withoutLine(text, prefix string) string {
	var kept []byte
	for line := range bytes.Lines([]byte(text)) {
		if !bytes.HasPrefix(line, []byte(prefix)) {
			kept = append(kept, line...)
		}
	}
	return string(kept)
}

func TestDataViewersOwnChannel(t *testing.T) {
	t.Parallel()
	_, router := newNode(t)
	publisher, viewer := newDataPeer(t), newDataPeer(t)
	channel := publisher.create("chat", nil)
	publisher.publish(router, "cam")
	isOpen(t, channel)
	own := viewer.create("chat", nil)
	viewer.watch(router, "cam", true)
	isAttached(t, router, viewer)

	require.NoError(t, channel.SendText("down"))
	got := viewer.next()
	assert.Equal(t, "down", got.data)
	assert.Equal(t, *own.ID(), got.stream, "it came in the viewer's channel")

	require.NoError(t, own.SendText("up"))
	got = publisher.next()
	assert.Equal(t, "chat", got.label)
	assert.Equal(t, "up", got.data)
	up := publisher.channel("chatrheomesh.from=" + string(viewer.session.SubscriberID()))
	assert.NotEqual(t, *channel.ID(), *up.ID())
	viewer.mu.Lock()
	assert.Empty(t, viewer.opened, "none of ours beside the viewer's")
	viewer.mu.Unlock()

	require.NoError(t, viewer.pc.Close())
	until(t, "the viewer's channel up is closed with it", func() bool { return up.ReadyState() == webrtc.DataChannelStateClosed })
}

func TestDataViewerThatMayNotSend(t *testing.T) {
	t.Parallel()
	node, router := newNode(t)
	publisher, viewer := newDataPeer(t), newDataPeer(t)
	publisher.create("chat", nil)
	publisher.publish(router, "cam")
	own := viewer.create("chat", nil)
	viewer.watch(router, "cam", false)
	isOpen(t, own)
	require.NoError(t, own.SendText("up"))
	until(t, "dropped", func() bool { return node.Stats().Data.Dropped["not-permitted"] == 1 })
	assert.Empty(t, publisher.inbox)
}

func TestDataNegotiatedPairs(t *testing.T) {
	t.Parallel()
	_, router := newNode(t)
	publisher, viewer := newDataPeer(t), newDataPeer(t)
	negotiated, id := true, uint16(4)
	init := &webrtc.DataChannelInit{Negotiated: &negotiated, ID: &id}
	channel := publisher.create("mine", init)
	publisher.publish(router, "cam")
	isOpen(t, channel)
	require.NoError(t, channel.SendText("first"))
	p, err := router.Publisher("cam")
	require.NoError(t, err)
	until(t, "channel known", func() bool { return len(p.DataChannels()) == 1 })
	viewer.create("yours", init)
	viewer.watch(router, "cam", true)
	isAttached(t, router, viewer)
	require.NoError(t, channel.SendText("second"))
	assert.Equal(t, dataMessage{label: "yours", text: true, data: "second", stream: 4}, viewer.next())
}

func TestDataComesAndGoes(t *testing.T) {
	t.Parallel()
	node, router := newNode(t)
	events := node.Listen(func(e sfu.Event) bool { return e.Data != nil })
	defer events.Close()
	viewer := newDataPeer(t)
	neededChannel(viewer)
	viewer.watch(router, "cam", false)
	publisher := newDataPeer(t)
	chat := publisher.create("chat", nil)
	publisher.publish(router, "cam")
	down := viewer.channel("chat")
	requireEvent(t, events, sfu.EventDataOpened, "chat", "")

	_, err := publisher.pc.CreateDataChannel("later", nil)
	require.NoError(t, err)
	viewer.channel("later")
	requireEvent(t, events, sfu.EventDataOpened, "later", "")

	require.NoError(t, chat.Close())
	requireEvent(t, events, sfu.EventDataClosed, "chat", "peer")
	until(t, "closed for the viewer", func() bool { return down.ReadyState() == webrtc.DataChannelStateClosed })

	require.NoError(t, publisher.pc.Close())
	requireEvent(t, events, sfu.EventDataClosed, "later", "association")
}

func requireEvent(t testing.TB, events *sfu.Listening, kind sfu.EventType, label, reason string) {
	t.Helper()
	select {
	case e := <-events.C():
		require.Equal(t, kind, e.Type)
		require.Equal(t, label, e.Data.Channel.Label)
		require.Equal(t, reason, e.Data.Reason)
		require.Equal(t, sfu.PublisherID("cam"), e.PublisherID)
	case <-time.After(patience):
		t.Fatalf("no event %s of %q", kind, label)
	}
}

func TestDataFromTheServer(t *testing.T) {
	t.Parallel()
	_, router := newNode(t, func(c *sfu.Config) { c.RetainLastData = true })
	viewer := newDataPeer(t)
	neededChannel(viewer)
	viewer.watch(router, "cam", false)
	p, err := router.Publisher("cam")
	require.NoError(t, err)
	require.NoError(t, p.SendData(sfu.DataMessage{Channel: "news", Data: []byte("one")}))
	got := viewer.next()
	assert.Equal(t, "one", got.data)
	assert.True(t, got.text)

	late := newDataPeer(t)
	neededChannel(late)
	late.watch(router, "cam", false)
	assert.Equal(t, "one", late.next().data, "retained")

	require.ErrorIs(t, p.SendData(sfu.DataMessage{Channel: "news", Data: make([]byte, 256<<10+1)}), sfu.ErrDataTooLarge)
	require.ErrorIs(t, p.SendData(sfu.DataMessage{Channel: "\xff"}), sfu.ErrDataLabelInvalid)
	for i := range sfu.MaxDataChannels - 1 {
		require.NoError(t, p.SendData(sfu.DataMessage{Channel: fmt.Sprint(i)}))
	}
	require.ErrorIs(t, p.SendData(sfu.DataMessage{Channel: "one more"}), sfu.ErrDataChannelLimit)
	require.ErrorIs(t, p.DeliverUp(sfu.DataMessage{Channel: "news"}), sfu.ErrDataUndeliverable)
}

// A client that opens more channels than it may loses those, and no more.
func TestDataChannelFlood(t *testing.T) {
	t.Parallel()
	node, router := newNode(t)
	publisher := newDataPeer(t)
	first := publisher.create("0", nil)
	publisher.publish(router, "cam")
	isOpen(t, first)
	const flood = 300
	for i := 1; i < flood; i++ {
		_, err := publisher.pc.CreateDataChannel(fmt.Sprint(i), nil)
		require.NoError(t, err)
	}
	until(t, "refused", func() bool { return node.Stats().Data.Dropped["refused"] == flood-sfu.MaxDataChannels })
	p, err := router.Publisher("cam")
	require.NoError(t, err)
	assert.Len(t, p.DataChannels(), sfu.MaxDataChannels)

	viewer := newDataPeer(t)
	neededChannel(viewer)
	viewer.watch(router, "cam", false)
	viewer.channel("0")
	require.NoError(t, first.SendText("still here"))
	assert.Equal(t, "still here", viewer.next().data)
}

// A viewer that does not read loses its reliable channel, and only that.
func TestDataSlowViewer(t *testing.T) {
	t.Parallel()
	node, router := newNode(t)
	events := node.Listen(func(e sfu.Event) bool { return e.Type == sfu.EventDataClosed })
	defer events.Close()
	publisher, slow, quick := newDataPeer(t), newDataPeer(t), newDataPeer(t)
	retransmits := uint16(0)
	channel := publisher.create("chat", nil)
	lossy := publisher.create("lossy", &webrtc.DataChannelInit{MaxRetransmits: &retransmits})
	publisher.publish(router, "cam")
	neededChannel(slow)
	slow.watch(router, "cam", false)
	neededChannel(quick)
	quick.watch(router, "cam", false)
	stop := make(chan struct{})
	defer close(stop)
	for _, label := range []string{"chat", "lossy"} {
		slow.channel(label).OnMessage(func(webrtc.DataChannelMessage) { <-stop })
		quick.channel(label)
	}
	// The viewer's window, what SCTP is handed, the queue, and more.
	const message, enough = 32 << 10, 5 << 20
	data := bytes.Repeat([]byte("x"), message)
	for sent := 0; sent < enough; sent += message {
		require.NoError(t, channel.Send(data))
		require.Equal(t, "chat", quick.next().label, "nobody waits for the slow one")
	}
	requireEvent(t, events, sfu.EventDataClosed, "chat", "slow")
	s, err := router.Subscriber(slow.session.SubscriberID())
	require.NoError(t, err)
	closed := map[string]string{}
	for _, c := range s.Info().Tracks[0].Channels {
		closed[c.Label] = c.Closed
	}
	assert.Equal(t, map[string]string{"own": "", "lossy": "", "chat": "slow"}, closed)
	assert.NotZero(t, node.Stats().Data.Dropped["slow"])

	for range 3 {
		require.NoError(t, lossy.Send(data))
		require.Equal(t, "lossy", quick.next().label)
	}
}

// sinkRecorder is a sink with room for so many messages.
type sinkRecorder struct {
	mu     sync.Mutex
	room   int
	events []string
}

func (s *sinkRecorder) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, fmt.Sprintf(format, args...))
}

func (s *sinkRecorder) ChannelOpened(c sfu.DataChannel) { s.note("open %s %t", c.Label, c.Reliable()) }
func (s *sinkRecorder) ChannelClosed(label string)      { s.note("close %s", label) }

func (s *sinkRecorder) Message(m sfu.DataMessage) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.room == 0 {
		return false
	}
	s.room--
	s.events = append(s.events, m.Channel+" "+string(m.Data[:min(len(m.Data), 1)]))
	return true
}

func (s *sinkRecorder) give(room int) {
	s.mu.Lock()
	s.room = room
	s.mu.Unlock()
}

func (s *sinkRecorder) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.events...)
}

// feedSource feeds a publisher from elsewhere and notes what goes up.
type feedSource struct{ up chan sfu.DataMessage }

func (feedSource) RequestKeyframe(*sfu.FeedLayer) bool     { return false }
func (feedSource) Watched(*sfu.FeedLayer)                  {}
func (feedSource) FeedClosed(*sfu.Feed, sfu.CloseReason)   {}
func (s feedSource) DataUp(_ *sfu.Feed, m sfu.DataMessage) { s.up <- m }

var _ sfu.DataUpstream = feedSource{}

func TestDataFeed(t *testing.T) {
	t.Parallel()
	_, router := newNode(t)
	source := feedSource{up: make(chan sfu.DataMessage, 1)}
	feed, err := router.NewFeed(sfu.FeedRequest{Publisher: "cam", Source: source})
	require.NoError(t, err)
	feed.Start()
	assert.True(t, feed.Publisher().Live())
	require.NoError(t, feed.OpenDataChannel(sfu.DataChannel{Label: "chat", Protocol: "json", Ordered: true}))
	require.ErrorIs(t, feed.OpenDataChannel(sfu.DataChannel{Label: "chat"}), sfu.ErrDataChannelLimit)
	viewer := newDataPeer(t)
	own := viewer.create("own", nil)
	viewer.watch(router, "cam", true)
	viewer.channel("chatjson")
	assert.True(t, feed.AppendData(sfu.DataMessage{Channel: "chat", Binary: true, Data: []byte("down")}))
	got := viewer.next()
	assert.Equal(t, "down", got.data)
	assert.False(t, got.text)
	assert.False(t, feed.AppendData(sfu.DataMessage{Channel: "none"}))

	require.NoError(t, own.SendText("up"))
	select {
	case m := <-source.up:
		assert.Equal(t, sfu.DataMessage{Channel: "own", Data: []byte("up"), From: viewer.session.SubscriberID()}, m)
	case <-time.After(patience):
		t.Fatal("nothing went up")
	}
	feed.CloseDataChannel("chat")
	until(t, "closed", func() bool { return viewer.channel("chatjson").ReadyState() == webrtc.DataChannelStateClosed })
	require.NoError(t, feed.OpenDataChannel(sfu.DataChannel{Label: "last"}))
	feed.Close(sfu.CloseDeleted)
	assert.Empty(t, feed.Publisher().DataChannels())
	require.ErrorIs(t, feed.OpenDataChannel(sfu.DataChannel{Label: "more"}), sfu.ErrClosed)
}

func TestDataSink(t *testing.T) {
	t.Parallel()
	node, router := newNode(t)
	feed, err := router.NewFeed(sfu.FeedRequest{Publisher: "cam", Source: feedSource{}})
	require.NoError(t, err)
	feed.Start()
	defer feed.Close(sfu.CloseDeleted)
	p, retransmits := feed.Publisher(), uint16(1)
	sink := &sinkRecorder{room: 1}
	require.NoError(t, feed.OpenDataChannel(sfu.DataChannel{Label: "a", Ordered: true}))
	p.AttachDataSink(sink)
	p.AttachDataSink(sink)
	send := func(label, text string) { feed.AppendData(sfu.DataMessage{Channel: label, Data: []byte(text)}) }
	send("a", "1")
	until(t, "first", func() bool { return len(sink.seen()) == 2 })
	send("a", "2")
	require.NoError(t, feed.OpenDataChannel(sfu.DataChannel{Label: "b", MaxRetransmits: &retransmits}))
	send("b", "x")
	until(t, "dropped for want of room", func() bool { return node.Stats().Data.Dropped["sink"] == 1 })
	sink.give(1)
	until(t, "the reliable one waited", func() bool { return len(sink.seen()) == 4 })
	assert.Equal(t, []string{"open a true", "a 1", "open b false"}, sink.seen()[:3])
	assert.Equal(t, "a 2", sink.seen()[3])

	large := string(bytes.Repeat([]byte("y"), 200<<10))
	for range 6 {
		send("a", large)
	}
	until(t, "closed for being behind", func() bool { return len(sink.seen()) == 5 })
	assert.Equal(t, "close a", sink.seen()[4])
	sink.give(10)
	send("a", "gone")
	send("b", "z")
	until(t, "the other one goes on", func() bool { return len(sink.seen()) == 6 })
	assert.Equal(t, "b z", sink.seen()[5])
	p.DetachDataSink(sink)
	p.DetachDataSink(sink)
	send("b", "late")
	assert.Len(t, sink.seen(), 6)
}
