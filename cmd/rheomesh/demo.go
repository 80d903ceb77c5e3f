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
)

// The ports of the demo, if they are free.
const (
	demoHTTPPort  = 8080
	demoMediaPort = 10000
)

func newDemo() *cobra.Command {
	var duration time.Duration
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Try it: a node, a publisher and a viewer on this machine",
		Long: `Start a node on free loopback ports, publish the built-in clip to it with WHIP, play it with WHEP, and show what
arrives. Exits 0 only if media that can be decoded has arrived. It leaves nothing behind.`,
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
	n, err := startNode(demoConfig(), log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.stop()) }()
	progress := io.Discard
	if !asJSON {
		progress = cmd.OutOrStdout()
	}
	base := n.baseURLs()[0]
	fmt.Fprintf(progress, "node       %s\n", base)

	publication, err := client.Publish(ctx, client.PublishOptions{
		Options: client.Options{URL: base + "/whip/live/demo", Logger: log},
		Video:   clip.VP8(clip.Large), Audio: clip.Opus(), AnswerPLI: true,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, goodbye(publication.Session)) }()
	fmt.Fprintf(progress, "publishes  %s/whip/live/demo\n", base)

	playback, err := client.Play(ctx, client.PlayOptions{Options: client.Options{URL: base + "/whep/live/demo", Logger: log}})
	if err != nil {
		return err
	}
	fmt.Fprintf(progress, "plays      %s/whep/live/demo\nwatch it   %s/#/watch/live/demo\n", base, base)
	return watchDemo(ctx, cmd.OutOrStdout(), progress, playback, asJSON)
}

// watchDemo shows what the viewer gets until ctx ends, and judges it.
func watchDemo(ctx context.Context, out, progress io.Writer, playback *client.Playback, asJSON bool) error {
	line := newStatusLine(progress)
	err := watch(ctx, playback.Session, func() { line.show(describePlayback(playback.Stats())) })
	line.end()
	stats := playback.Stats()
	err = errors.Join(err, goodbye(playback.Session))
	if asJSON {
		err = errors.Join(err, json.NewEncoder(out).Encode(reportPlayback(stats)))
	} else {
		fmt.Fprintln(out, describePlayback(stats))
	}
	if !stats.Decodable() {
		return errors.Join(errNoMedia, err)
	}
	return err
}

// demoConfig is that of a node which nobody else reaches and which writes nothing to disk.
func demoConfig() config.Config {
	cfg := config.Default()
	cfg.DataDir = ""
	cfg.HTTP.Addr = loopbackAddr(portIfFree(demoHTTPPort, tcpFree))
	cfg.Media.Addr = loopbackAddr(portIfFree(demoMediaPort, func(addr string) bool { return tcpFree(addr) && udpFree(addr) }))
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
