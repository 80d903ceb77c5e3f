package relay_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"

	"rheomesh/relay"
	"rheomesh/sfu"
)

// dataPeer is a pion client with data channels and no media.
type dataPeer struct {
	t       testing.TB
	pc      *webrtc.PeerConnection
	session *sfu.Session
	inbox   chan peerMessage // capacity 4096

	mu     sync.Mutex
	opened map[string]*webrtc.DataChannel // by the server, by label
}

type peerMessage struct {
	label, protocol string
	text            bool
	data            string
}

func newDataPeer(t testing.TB) *dataPeer {
	t.Helper()
	var engine webrtc.SettingEngine
	engine.SetIncludeLoopbackCandidate(true)
	engine.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	engine.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(engine)).NewPeerConnection(webrtc.Configuration{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pc.Close()) })
	p := &dataPeer{t: t, pc: pc, inbox: make(chan peerMessage, 4096), opened: map[string]*webrtc.DataChannel{}}
	pc.OnDataChannel(func(c *webrtc.DataChannel) {
		p.listen(c)
		p.mu.Lock()
		p.opened[c.Label()] = c
		p.mu.Unlock()
	})
	return p
}

func (p *dataPeer) listen(c *webrtc.DataChannel) {
	c.OnMessage(func(m webrtc.DataChannelMessage) {
		p.inbox <- peerMessage{c.Label(), c.Protocol(), m.IsString, string(m.Data)}
	})
}

func (p *dataPeer) create(label string, init *webrtc.DataChannelInit) *webrtc.DataChannel {
	p.t.Helper()
	c, err := p.pc.CreateDataChannel(label, init)
	require.NoError(p.t, err)
	p.listen(c)
	return c
}

// negotiate runs the exchange of offer and answer.
func (p *dataPeer) negotiate(begin func(offer []byte) (*sfu.Session, error)) {
	p.t.Helper()
	offer, err := p.pc.CreateOffer(nil)
	require.NoError(p.t, err)
	gathered := webrtc.GatheringCompletePromise(p.pc)
	require.NoError(p.t, p.pc.SetLocalDescription(offer))
	<-gathered
	p.session, err = begin([]byte(p.pc.LocalDescription().SDP))
	require.NoError(p.t, err)
	require.NoError(p.t, p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: p.session.Description()}))
	eventually(p.t, "peer does not connect", p.session.Connected)
}

func (p *dataPeer) publish(router *sfu.Router, id sfu.PublisherID) {
	p.t.Helper()
	p.negotiate(func(offer []byte) (*sfu.Session, error) {
		return router.Publish(sfu.PublishRequest{Publisher: id, Offer: offer, ClientIP: netip.MustParseAddr("127.0.0.1")})
	})
}

func (p *dataPeer) watch(router *sfu.Router, id sfu.PublisherID) {
	p.t.Helper()
	p.negotiate(func(offer []byte) (*sfu.Session, error) {
		return router.Subscribe(sfu.SubscribeRequest{Publisher: id, Offer: offer, SendData: true, ClientIP: netip.MustParseAddr("127.0.0.1")})
	})
}

func (p *dataPeer) channel(label string) (found *webrtc.DataChannel) {
	p.t.Helper()
	eventually(p.t, "channel is not opened", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		found = p.opened[label]
		return found != nil && found.ReadyState() == webrtc.DataChannelStateOpen
	})
	return found
}

func (p *dataPeer) next() peerMessage {
	p.t.Helper()
	select {
	case m := <-p.inbox:
		return m
	case <-time.After(patience):
		p.t.Fatal("no message came")
		return peerMessage{}
	}
}

// chain makes nodes of which each relays everything to the next.
func chain(t testing.TB, nodes int) []*machine {
	t.Helper()
	var list []*machine
	for i := range nodes {
		list = append(list, newMachine(t, fmt.Sprintf("n%d", i), "127.0.0.1:0"))
		if i > 0 {
			list[i-1].put(t, list[i-1].order(list[i]))
		}
	}
	return list
}

// Channels cross with all that they are, messages with their kind, both ways, and the end of a channel crosses too: over one relay and over two.
func TestDataCrosses(t *testing.T) {
	for _, nodes := range []int{2, 3} {
		t.Run(fmt.Sprintf("%d nodes", nodes), func(t *testing.T) {
			machines := chain(t, nodes)
			origin, edge := machines[0], machines[nodes-1]
			publisher, viewer := newDataPeer(t), newDataPeer(t)
			protocol, unordered, never, life := "p1", false, uint16(0), uint16(250)
			chat := publisher.create("chat", &webrtc.DataChannelInit{Protocol: &protocol})
			publisher.create("fast", &webrtc.DataChannelInit{Ordered: &unordered, MaxRetransmits: &never})
			publisher.create("brief", &webrtc.DataChannelInit{MaxPacketLifeTime: &life})
			publisher.publish(origin.router, "cam")
			edge.live(t, "cam")
			viewer.create("own", nil) // so that the offer has a section for data
			viewer.watch(edge.router, "cam")
			seen := viewer.channel("chat")
			require.Equal(t, "p1", seen.Protocol())
			require.True(t, seen.Ordered())
			require.Nil(t, seen.MaxRetransmits())
			fast := viewer.channel("fast")
			require.False(t, fast.Ordered())
			require.Equal(t, never, *fast.MaxRetransmits())
			require.Equal(t, life, *viewer.channel("brief").MaxPacketLifeTime())

			long := strings.Repeat("x", 60_000)
			require.NoError(t, chat.SendText("hello"))
			require.NoError(t, chat.Send([]byte{1, 2, 3}))
			require.NoError(t, chat.SendText(""))
			require.NoError(t, chat.SendText(long))
			require.Equal(t, peerMessage{"chat", "p1", true, "hello"}, viewer.next())
			require.Equal(t, peerMessage{"chat", "p1", false, "\x01\x02\x03"}, viewer.next())
			require.Equal(t, peerMessage{"chat", "p1", true, ""}, viewer.next())
			require.Equal(t, peerMessage{"chat", "p1", true, long}, viewer.next())

			require.NoError(t, seen.SendText("from below"))
			require.NoError(t, seen.Send([]byte{9}))
			from := "rheomesh.from=" + string(viewer.session.SubscriberID())
			require.Equal(t, peerMessage{"chat", from, true, "from below"}, publisher.next())
			require.Equal(t, peerMessage{"chat", from, false, "\x09"}, publisher.next())

			row := dataRow(t, origin)
			require.Equal(t, "flowing", row.State)
			require.Equal(t, uint64(6), row.Packets)
			require.NoError(t, chat.Close())
			eventually(t, "the end does not cross", func() bool { return seen.ReadyState() == webrtc.DataChannelStateClosed })
			require.Equal(t, webrtc.DataChannelStateOpen, fast.ReadyState())
		})
	}
}

// dataRow is the row of a data track among the streams of a machine's relay.
func dataRow(t testing.TB, m *machine) relay.StreamInfo {
	t.Helper()
	for _, s := range m.relay.Relays("live")[0].Info().Streams {
		if s.TrackID == "data" {
			return s
		}
	}
	t.Fatal("the relay has no row for data")
	return relay.StreamInfo{}
}

// dataFeed feeds a publisher's data on its origin without a client.
type dataFeed struct {
	source
	up chan sfu.DataMessage // capacity 4096
}

func (f *dataFeed) DataUp(_ *sfu.Feed, m sfu.DataMessage) { f.up <- m }

func (m *machine) publishData(t testing.TB, id sfu.PublisherID) *dataFeed {
	t.Helper()
	f := &dataFeed{up: make(chan sfu.DataMessage, 4096)}
	feed, err := m.router.NewFeed(sfu.FeedRequest{Publisher: id, Source: f, Origin: sfu.Origin{NodeID: m.media.ID(), RouterID: "live", PublisherID: id}})
	require.NoError(t, err)
	f.feed = feed
	feed.Start()
	t.Cleanup(func() { feed.Close(sfu.CloseDeleted) })
	return f
}

// dataReader reads a publisher's data where it is relayed to.
type dataReader struct {
	messages chan sfu.DataMessage // capacity 65536
	events   chan string          // capacity 64
}

func (r *dataReader) ChannelOpened(c sfu.DataChannel) { r.events <- "open " + c.Label }
func (r *dataReader) ChannelClosed(label string)      { r.events <- "close " + label }
func (r *dataReader) Message(m sfu.DataMessage) bool  { r.messages <- m; return true }
func (r *dataReader) event(t testing.TB, want string) {
	t.Helper()
	select {
	case got := <-r.events:
		require.Equal(t, want, got)
	case <-time.After(patience):
		t.Fatalf("%q did not happen", want)
	}
}

func (r *dataReader) next(t testing.TB) sfu.DataMessage {
	t.Helper()
	select {
	case m := <-r.messages:
		return m
	case <-time.After(patience):
		t.Fatal("no message came")
		return sfu.DataMessage{}
	}
}

func readData(t testing.TB, m *machine, id sfu.PublisherID) *dataReader {
	t.Helper()
	r := &dataReader{messages: make(chan sfu.DataMessage, 65536), events: make(chan string, 64)}
	p := m.live(t, id)
	p.AttachDataSink(r)
	t.Cleanup(func() { p.DetachDataSink(r) })
	return r
}

// numbered is a message that tells its number, and differs from others all along.
func numbered(n, length int) []byte {
	b := bytes.Repeat([]byte{byte(n), byte(n >> 8), 7}, length/3+3)
	binary.BigEndian.PutUint64(b, uint64(n))
	return b[:max(length, 8)]
}

// Reliable messages of every length arrive whole, once and in order over a path that loses 5 % both ways and swaps datagrams; viewers' messages on their way up too.
func TestDataOverLoss(t *testing.T) {
	a, b := newMachine(t, "a", "127.0.0.1:0"), newMachine(t, "b", "127.0.0.1:0")
	network := newShim(t, b.relay.Addr().String(), nil)
	network.loss.Store(50)
	network.duplicates.Store(20)
	network.delay.Store(int64(2 * time.Millisecond))
	network.jitter.Store(int64(3 * time.Millisecond))
	feed := a.publishData(t, "cam")
	order := a.order(b)
	order.Peer = network.addr
	a.put(t, order)
	reader := readData(t, b, "cam")
	require.NoError(t, feed.feed.OpenDataChannel(sfu.DataChannel{Label: "file", Ordered: true}))
	reader.event(t, "open file")
	sizes := []int{256 << 10, 100, 16 << 10, 1152, 256 << 10, 1, 70_000, 256 << 10}
	const rounds = 3
	sent := 0
	for range rounds {
		for _, size := range sizes {
			require.True(t, feed.feed.AppendData(sfu.DataMessage{Channel: "file", Binary: sent%2 == 0, Data: numbered(sent, size)}))
			sent++
		}
		for n := sent - len(sizes); n < sent; n++ {
			m := reader.next(t)
			require.True(t, bytes.Equal(numbered(n, sizes[n%len(sizes)]), m.Data), "message %d", n)
			require.Equal(t, n%2 == 0, m.Binary)
		}
	}
	require.NotZero(t, a.relay.Stats().DataResent)
	viewer := b.live(t, "cam")
	for n := range 500 {
		require.NoError(t, viewer.DeliverUp(sfu.DataMessage{Channel: "file", Data: numbered(n, 300), From: "s-viewer"}))
	}
	for n := range 500 {
		m := <-feed.up
		require.True(t, bytes.Equal(numbered(n, 300), m.Data), "message %d", n)
		require.Equal(t, sfu.SubscriberID("s-viewer"), m.From)
	}
	require.Empty(t, reader.messages)
	require.Empty(t, feed.up)
	require.Zero(t, b.relay.Stats().DataDropped)
}

// What is sent while the path is cut arrives when it is back, as far as the channel is reliable.
func TestDataOverCut(t *testing.T) {
	for _, cut := range []time.Duration{300 * time.Millisecond, 3500 * time.Millisecond} {
		t.Run(cut.String(), func(t *testing.T) {
			a, b := newMachine(t, "a", "127.0.0.1:0"), newMachine(t, "b", "127.0.0.1:0")
			network := newShim(t, b.relay.Addr().String(), nil)
			feed := a.publishData(t, "cam")
			order := a.order(b)
			order.Peer = network.addr
			a.put(t, order)
			reader := readData(t, b, "cam")
			brief := 100 * time.Millisecond
			require.NoError(t, feed.feed.OpenDataChannel(sfu.DataChannel{Label: "brief", Ordered: true, MaxLifetime: &brief}))
			require.NoError(t, feed.feed.OpenDataChannel(sfu.DataChannel{Label: "sure", Ordered: true}))
			send := func(label string, n int) {
				require.True(t, feed.feed.AppendData(sfu.DataMessage{Channel: label, Data: numbered(n, 2000)}))
			}
			send("brief", 0)
			send("sure", 0)
			reader.next(t)
			reader.next(t)
			network.cut.Store(true)
			for n := 1; n <= 50; n++ {
				send("brief", n)
				send("sure", n)
			}
			time.Sleep(cut) // the cut itself
			network.cut.Store(false)
			back := time.Now()
			for n := 1; n <= 50; n++ {
				m := reader.next(t)
				require.Equal(t, "sure", m.Channel, "what has expired does not come")
				require.True(t, bytes.Equal(numbered(n, 2000), m.Data), "message %d", n)
			}
			t.Logf("all is there %v after the path is back", time.Since(back).Round(time.Millisecond))
			send("brief", 51)
			require.True(t, bytes.Equal(numbered(51, 2000), reader.next(t).Data))
			require.Empty(t, reader.messages)
		})
	}
}

// A node that has restarted gets the channels anew.
func TestDataAfterRestart(t *testing.T) {
	a, b := newMachine(t, "a", "127.0.0.1:0"), newMachine(t, "b", "127.0.0.1:0")
	feed := a.publishData(t, "cam")
	a.put(t, a.order(b))
	require.NoError(t, feed.feed.OpenDataChannel(sfu.DataChannel{Label: "chat", Ordered: true}))
	reader := readData(t, b, "cam")
	reader.event(t, "open chat")
	addr := b.relay.Addr().String()
	require.NoError(t, b.relay.Close())
	require.NoError(t, b.media.Close())
	b = newMachine(t, "b", addr)
	reader = readData(t, b, "cam")
	reader.event(t, "open chat")
	for n := range 20 {
		require.True(t, feed.feed.AppendData(sfu.DataMessage{Channel: "chat", Data: numbered(n, 5000)}))
	}
	for n := range 20 {
		require.True(t, bytes.Equal(numbered(n, 5000), reader.next(t).Data), "message %d", n)
	}
	feed.feed.CloseDataChannel("chat")
	reader.event(t, "close chat")
}

// A channel that is closed and opened again under its label comes after the rest of the one before it.
func TestDataChannelAgain(t *testing.T) {
	a, b := newMachine(t, "a", "127.0.0.1:0"), newMachine(t, "b", "127.0.0.1:0")
	network := newShim(t, b.relay.Addr().String(), nil)
	network.loss.Store(200)
	feed := a.publishData(t, "cam")
	order := a.order(b)
	order.Peer = network.addr
	a.put(t, order)
	reader := readData(t, b, "cam")
	for round := range 5 {
		require.NoError(t, feed.feed.OpenDataChannel(sfu.DataChannel{Label: "chat", Ordered: true}))
		for n := range 10 {
			require.True(t, feed.feed.AppendData(sfu.DataMessage{Channel: "chat", Data: numbered(10*round+n, 3000)}))
		}
		feed.feed.CloseDataChannel("chat")
	}
	for range 5 {
		reader.event(t, "open chat")
		reader.event(t, "close chat")
	}
	for n := range 50 {
		require.True(t, bytes.Equal(numbered(n, 3000), reader.next(t).Data), "message %d", n)
	}
}

// The operator of the edge ends the publisher there: it comes back, with its channels.
func TestDataAfterEndOnEdge(t *testing.T) {
	a, b := newMachine(t, "a", "127.0.0.1:0"), newMachine(t, "b", "127.0.0.1:0")
	feed := a.publishData(t, "cam")
	a.put(t, a.order(b))
	require.NoError(t, feed.feed.OpenDataChannel(sfu.DataChannel{Label: "chat", Ordered: true}))
	readData(t, b, "cam").event(t, "open chat")
	b.live(t, "cam").Close(sfu.CloseDeleted)
	var reader *dataReader
	eventually(t, "the publisher does not come back", func() bool {
		p, err := b.router.Publisher("cam")
		return err == nil && p.Live() && len(p.DataChannels()) == 1
	})
	reader = readData(t, b, "cam")
	reader.event(t, "open chat")
	require.True(t, feed.feed.AppendData(sfu.DataMessage{Channel: "chat", Data: []byte("again")}))
	require.Equal(t, "again", string(reader.next(t).Data))
}
