package relay

import (
	"time"

	"rheomesh/relay/wire"
)

// RekeyEvery makes keys change that often.
func RekeyEvery(d time.Duration) func(*Config) { return func(c *Config) { c.rekeyEvery = d } }

// SendNonsense sends messages that are sealed as they should be and mean nothing, over every link.
func (n *Node) SendNonsense(messages int) {
	for _, l := range n.allLinks() {
		for range messages {
			l.control.send(wire.TypeDemand, []byte{1})
		}
	}
}
