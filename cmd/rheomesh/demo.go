package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"rheomesh/client"
	"rheomesh/clip"
	"rheomesh/config"
	"rheomesh/relay"
	"rheomesh/sfu"
)

// The ports of the demo, if they are free.
const (
	demoHTTPPort  = 8080
	demoMediaPort = 10000
	demoRelayPort = 9443
)

func newDemo() *cobra.Command {
	var duration time.Duration
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Try it: two nodes, a publisher, a relay and a viewer on this machine",
		Long: `Start two nodes on free loopback ports, publish the built-in clip to the first with WHIP, relay it to the second, play it there
with WHEP, and show what arrives. Exits 0 only if media has arrived on both nodes and can be decoded. It leaves nothing behind.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return demo(cmd, duration, asJSON) },
	}
	cmd.Flags().DurationVar(&duration, "for", 0, "stop after this `DURATION` (default: at Ctrl-C)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object, at the end")
	return cmd
}

func demo(cmd *cobra.Command, duration time.Duration, asJSON bool) (err error) {
	ctx, cancel := lifetime(duration)
	defer cancel()
	log := clientLogger(cmd.ErrOrStderr())
	var nodes [2]*node                                                 // the origin, where it is published, and the edge, where it is watched
	for i, cfg := range [2]config.Config{edgeConfig(), demoConfig()} { // so that the origin, which has the relay, ends first
		n, startErr := startNode(cfg, log)
		if startErr != nil {
			return startErr
		}
		defer func() { err = errors.Join(err, n.stop()) }()
		nodes[1-i] = n
	}
	progress := io.Discard
	if !asJSON {
		progress = cmd.OutOrStdout()
	}
	origin, edge := nodes[0].baseURLs()[0], nodes[1].baseURLs()[0]
	fmt.Fprintf(progress, "origin     %s\nedge       %s\n", origin, edge)

	publication, err := client.Publish(ctx, client.PublishOptions{
		Options: client.Options{URL: origin + "/whip/live/demo", Logger: log},
		Video:   clip.VP8(clip.Large), Audio: clip.Opus(), AnswerPLI: true,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, goodbye(publication.Session)) }()
	fmt.Fprintf(progress, "publishes  %s/whip/live/demo\n", origin)
	if err := relayDemo(ctx, nodes[0], nodes[1]); err != nil {
		return err
	}
	fmt.Fprintf(progress, "relays     %s to %s\n", nodes[0].relay.Addr(), nodes[1].relay.Addr())

	playback, err := client.Play(ctx, client.PlayOptions{Options: client.Options{URL: edge + "/whep/live/demo", Logger: log}})
	if err != nil {
		return err
	}
	fmt.Fprintf(progress, "plays      %s/whep/live/demo\nwatch it   %s/#/watch/live/demo\n", edge, edge)
	return watchDemo(ctx, cmd.OutOrStdout(), progress, playback, nodes, asJSON)
}

// relayDemo carries everything of the origin's router to the edge.
func relayDemo(ctx context.Context, origin, edge *node) error {
	_, _, err := origin.relay.Put(ctx, relay.Order{Router: "live", ID: "demo", Peer: edge.relay.Addr().String()})
	return err
}

// watchDemo shows what the viewer gets until ctx ends, and judges it.
func watchDemo(ctx context.Context, out, progress io.Writer, playback *client.Playback, nodes [2]*node, asJSON bool) error {
	line := newStatusLine(progress)
	err := watch(ctx, playback.Session, func() { line.show(describePlayback(playback.Stats())) })
	line.end()
	stats := playback.Stats()
	err = errors.Join(err, goodbye(playback.Session))
	if asJSON {
		err = errors.Join(err, json.NewEncoder(out).Encode(reportDemo(stats, nodes)))
	} else {
		fmt.Fprintln(out, describePlayback(stats))
	}
	if !stats.Decodable() || nodes[0].received() == 0 || nodes[1].received() == 0 {
		return errors.Join(errNoMedia, err)
	}
	return err
}

// demoReport is what --json prints: what the viewer got, and how many packets came to each node.
type demoReport struct {
	playReport
	Origin demoNode `json:"origin"`
	Edge   demoNode `json:"edge"`
}

type demoNode struct {
	NodeID  sfu.NodeID `json:"node_id"`
	Packets uint64     `json:"packets"`
}

func reportDemo(stats client.PlayStats, nodes [2]*node) demoReport {
	show := func(n *node) demoNode { return demoNode{NodeID: n.media.ID(), Packets: n.received()} }
	return demoReport{playReport: reportPlayback(stats), Origin: show(nodes[0]), Edge: show(nodes[1])}
}

// received is how many RTP packets have come to the node, from its clients or over relays.
func (n *node) received() uint64 {
	stats := n.media.Stats()
	return stats.AudioPacketsIn + stats.VideoPacketsIn
}

// demoConfig is that of a node which nobody else reaches and which writes nothing to disk.
func demoConfig() config.Config {
	cfg := config.Default()
	cfg.DataDir = ""
	cfg.HTTP.Addr, cfg.Media.Addr, cfg.Relay.Addr = loopbackAddr(0), loopbackAddr(0), loopbackAddr(0)
	return cfg
}

// edgeConfig gives the node that people look at the usual ports, if they are free.
func edgeConfig() config.Config {
	cfg := demoConfig()
	free := func(addr string) bool { return tcpFree(addr) && udpFree(addr) }
	cfg.HTTP.Addr = loopbackAddr(portIfFree(demoHTTPPort, tcpFree))
	cfg.Media.Addr = loopbackAddr(portIfFree(demoMediaPort, free))
	cfg.Relay.Addr = loopbackAddr(portIfFree(demoRelayPort, free))
	return cfg
}

func loopbackAddr(port uint16) string {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port).String()
}

// portIfFree returns port, or 0 for a free one. Another program may still take the port in between; then the start fails
// with a clear message.
func portIfFree(port uint16, free func(addr string) bool) uint16 {
	if free(loopbackAddr(port)) {
		return port
	}
	return 0
}

func tcpFree(addr string) bool {
	l, err := net.Listen("tcp", addr)
	return err == nil && l.Close() == nil
}

func udpFree(addr string) bool {
	conn, err := net.ListenPacket("udp", addr)
	return err == nil && conn.Close() == nil
}
