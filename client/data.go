package client

import (
	"fmt"

	"github.com/pion/webrtc/v4"
)

// openChannels adds the data channels of the options to the offer.
func (s *Session) openChannels() error {
	for _, wanted := range s.options.DataChannels {
		channel, err := s.pc.CreateDataChannel(wanted.Label, wanted.Init)
		if err != nil {
			return fmt.Errorf("data channel %q: %w", wanted.Label, err)
		}
		s.channels[wanted.Label] = channel
		s.listen(channel)
	}
	return nil
}

// listen hands on the messages of a channel, ours or one that the server opened.
func (s *Session) listen(channel *webrtc.DataChannel) {
	if s.options.OnData == nil {
		return
	}
	channel.OnMessage(func(message webrtc.DataChannelMessage) { s.options.OnData(channel.Label(), message) })
}

// Channel returns the data channel of the options with that label, or nil.
func (s *Session) Channel(label string) *webrtc.DataChannel { return s.channels[label] }
