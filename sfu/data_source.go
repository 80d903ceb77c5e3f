package sfu

import (
	"fmt"
	"net"
	"sync"

	"rheomesh/internal/sdp"
	"rheomesh/sfu/datachan"
	"rheomesh/sfu/transport"
)

const (
	// maxUpChannels is how many viewers' channels lead up to a publisher's client at a time; for one more the one that was silent longest is closed.
	maxUpChannels = 64
	// upProtocol is followed by the id of the subscriber whose messages a channel carries.
	upProtocol = "rheomesh.from="
)

// dataSource is the data channels of a publisher's client. It implements datachan.Handler. Viewers' messages go to the client in channels that we open, one
// for each viewer and label, so that the bytes stay as they are; see docs/data-channels.md.
type dataSource struct {
	session     *Session
	association *datachan.Association

	// mu guards the fields below. It is taken before locks of package datachan.
	mu   sync.Mutex
	ups  map[upKey]*upChannel
	uses uint64
}

type upKey struct {
	from  SubscriberID
	label string
}

type upChannel struct {
	channel *datachan.Channel
	used    uint64 // dataSource.uses when it carried a message last
}

// Ready implements datachan.Handler.
func (s *dataSource) Ready() {}

// Opened implements datachan.Handler.
func (s *dataSource) Opened(c *datachan.Channel) bool {
	err := s.session.publisher.openChannel(s.session, c.Parameters())
	if err != nil {
		s.session.log.Debug("data channel refused", "err", err)
	}
	return err == nil
}

// Message implements datachan.Handler. In viewers' channels the publisher has nothing to say.
func (s *dataSource) Message(c *datachan.Channel, binary bool, data []byte) {
	if c.Ours() {
		s.Dropped(dropReply, 1)
		return
	}
	s.session.publisher.fanOut(s.session, DataMessage{Channel: c.Parameters().Label, Binary: binary, Data: data})
}

// Closed implements datachan.Handler.
func (s *dataSource) Closed(c *datachan.Channel, reason datachan.Reason) {
	if !c.Ours() {
		s.session.publisher.closeChannel(s.session, c.Parameters().Label, reason)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, up := range s.ups {
		if up.channel == c {
			delete(s.ups, key)
		}
	}
}

// Dropped implements datachan.Handler.
func (s *dataSource) Dropped(reason datachan.Drop, n int) {
	s.session.router.node.stats.data.drop(string(reason), n)
}

// dataUp implements feeder.
func (s *Session) dataUp(m DataMessage) error {
	if s.source == nil {
		s.router.node.stats.data.drop(dropNoPublisher, 1)
		return ErrDataUndeliverable
	}
	channel, err := s.source.upChannel(upKey{from: m.From, label: m.Channel})
	if err != nil {
		s.router.node.stats.data.drop(dropNoPublisher, 1)
		return fmt.Errorf("%w: %w", ErrDataUndeliverable, err)
	}
	s.router.node.stats.data.sent(channel, m)
	return nil
}

// upChannel finds or opens the channel of a viewer and a label.
func (s *dataSource) upChannel(key upKey) (*datachan.Channel, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uses++
	if up := s.ups[key]; up != nil {
		up.used = s.uses
		return up.channel, nil
	}
	s.makeRoomLocked()
	channel, err := s.association.Open(DataChannel{Label: key.label, Protocol: upProtocol + string(key.from), Ordered: true})
	if err != nil {
		return nil, err
	}
	s.ups[key] = &upChannel{channel: channel, used: s.uses}
	return channel, nil
}

// makeRoomLocked closes the channel that was silent longest when there is no room for another.
func (s *dataSource) makeRoomLocked() {
	if len(s.ups) < maxUpChannels {
		return
	}
	var oldest upKey
	for key, up := range s.ups {
		if s.ups[oldest] == nil || up.used < s.ups[oldest].used {
			oldest = key
		}
	}
	s.ups[oldest].channel.Close(datachan.ReasonReplaced)
	delete(s.ups, oldest)
}

// viewerLeft closes the channels of a viewer.
func (s *dataSource) viewerLeft(id SubscriberID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, up := range s.ups {
		if key.from == id {
			up.channel.Close(datachan.ReasonSource)
			delete(s.ups, key)
		}
	}
}

// dataPeer makes what carries the client's data, if its description has a section for it, and adds it to the transport's parameters.
func (s *Session) dataPeer(d *sdp.Description, peer *transport.Peer) {
	section, ok := dataSection(d)
	if !ok {
		return
	}
	config := datachan.Config{
		DTLSClient: peer.DTLSClient, MaxMessageBytes: MaxDataMessageBytes, MaxOpened: MaxDataChannels, LoggerFactory: s.router.node.transport.PionLogger,
	}
	if section.MaxMessageSize > 0 {
		config.MaxMessageBytes = min(config.MaxMessageBytes, section.MaxMessageSize)
	}
	var association *datachan.Association
	if s.role == RolePublish {
		s.source = &dataSource{session: s, ups: map[upKey]*upChannel{}}
		config.Handler = s.source
		association = datachan.New(config)
		s.source.association = association
	} else {
		v := &dataViewer{
			subscriber: s.subscriber, maySend: s.maySendData, channels: map[string]*datachan.Channel{}, refused: map[string]DataChannelInfo{},
		}
		config.Handler = v
		association = datachan.New(config)
		v.association, s.subscriber.data = association, v
	}
	peer.Data = func(link net.Conn, initiate bool) {
		if err := association.Run(link, initiate); err != nil {
			s.log.Debug("data channels ended", "err", err)
		}
	}
}

// dataSection finds the section of data channels (RFC 8841).
func dataSection(d *sdp.Description) (sdp.Media, bool) {
	for _, m := range d.Media {
		if m.Kind == sdp.Application && m.Active() {
			return m, true
		}
	}
	return sdp.Media{}, false
}

// connectData begins a viewer's association when there is something to send. The client's own packets begin it too.
func (s *Subscriber) connectData() {
	if s.data != nil && len(s.publisher.DataChannels()) > 0 {
		s.transport.OpenData()
	}
}

// leaveData takes the session's channels out of everything that knows them.
func (s *Session) leaveData() {
	if s.subscriber != nil && s.subscriber.data != nil {
		s.publisher.leaveData(s.subscriber.data)
		s.publisher.mu.Lock()
		feeder, ok := s.publisher.feeder.(*Session)
		s.publisher.mu.Unlock()
		if ok && feeder.source != nil {
			feeder.source.viewerLeft(s.subscriber.id)
		}
	}
	if s.source != nil {
		s.publisher.releaseData(s)
	}
}
