package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"rheomesh/client"
	"rheomesh/clip"
)

// The other machine: a network namespace at the end of a virtual cable.
const (
	farSpace = "rheomesh-far"
	nearIP   = "10.213.77.1"
	farIP    = "10.213.77.2"
)

func shell(t *testing.T, command string) {
	t.Helper()
	fields := strings.Fields(command)
	out, err := exec.CommandContext(t.Context(), fields[0], fields[1:]...).CombinedOutput()
	require.NoError(t, err, "%s: %s", command, out)
}

// newFarMachine makes the namespace, or skips where that is not permitted.
func newFarMachine(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root for network namespaces")
	}
	for _, tool := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("needs " + tool)
		}
	}
	remove := func() { _ = exec.Command("ip", "netns", "delete", farSpace).Run() } // its end of the cable goes with it
	remove()
	if out, err := exec.CommandContext(t.Context(), "ip", "netns", "add", farSpace).CombinedOutput(); err != nil {
		t.Skipf("network namespaces are not permitted: %s", out)
	}
	t.Cleanup(remove)
	for _, command := range []string{
		"ip link add rm-near type veth peer name rm-far netns " + farSpace,
		"ip addr add " + nearIP + "/24 dev rm-near", "ip link set rm-near up",
		"ip -n " + farSpace + " addr add " + farIP + "/24 dev rm-far", "ip -n " + farSpace + " link set rm-far up", "ip -n " + farSpace + " link set lo up",
	} {
		shell(t, command)
	}
}

// lose makes the far machine lose relay datagrams at random, in both directions.
func lose(t *testing.T, port string, percent int) {
	t.Helper()
	in := "ip netns exec " + farSpace + " nft "
	shell(t, in+"flush ruleset")
	if percent == 0 {
		return
	}
	shell(t, in+"add table inet loss")
	for _, chain := range []struct{ hook, match string }{{"input", "dport"}, {"output", "sport"}} {
		shell(t, fmt.Sprintf("%sadd chain inet loss %s { type filter hook %s priority 0 ; }", in, chain.hook, chain.hook))
		shell(t, fmt.Sprintf("%sadd rule inet loss %s udp %s %s numgen random mod 100 < %d drop", in, chain.hook, chain.match, port, min(percent, 99)))
		if percent >= 100 {
			shell(t, fmt.Sprintf("%sadd rule inet loss %s udp %s %s drop", in, chain.hook, chain.match, port))
		}
	}
}

// Two machines with a cable between them that loses datagrams and is pulled: viewers see nothing of the loss, and stay over the cut.
func TestRelayOverBadCable(t *testing.T) {
	newFarMachine(t)
	env := []string{"RHEOMESH_RELAY_SECRET=" + testSecret}
	serve := func(ip string) *exec.Cmd {
		return command(t, env, "serve", "--insecure", "--http", ip+":0", "--media", ip+":0", "--relay", ip+":0")
	}
	far := serve(farIP)
	far.Args = append([]string{"ip", "netns", "exec", farSpace, far.Path}, far.Args[1:]...)
	far.Path, _ = exec.LookPath("ip")
	edge, origin := started(t, far), started(t, serve(nearIP))
	publication, err := client.Publish(t.Context(), client.PublishOptions{
		Options: client.Options{URL: origin.url + "/whip/live/cam"}, Video: clip.VP8(clip.Large), Audio: clip.Opus(), AnswerPLI: true,
	})
	require.NoError(t, err)
	defer func() { _ = publication.Close(t.Context()) }() // its node may be gone
	require.NoError(t, publication.Connected(t.Context()))
	origin.putRelay(t, edge.relayAddr(t))
	port := edge.relayAddr(t)[strings.LastIndex(edge.relayAddr(t), ":")+1:]
	for _, percent := range []int{1, 5, 10} {
		lose(t, port, percent)
		code, stdout, stderr := execute(t, nil, "play", edge.url+"/whep/live/cam", "--for", "4s", "--json")
		require.Zero(t, code, stderr)
		var report playReport
		require.NoError(t, json.Unmarshal([]byte(stdout), &report))
		for _, track := range report.Tracks {
			t.Logf("%d %% loss: %s: %d packets, %d lost, %d of %d frames broken", percent, track.Kind, track.Packets, track.PacketsLost, track.BrokenFrames, track.Frames)
			assert.Zero(t, track.PacketsLost)
		}
	}
	lose(t, port, 0)
	playback, err := client.Play(t.Context(), client.PlayOptions{Options: client.Options{URL: edge.url + "/whep/live/cam"}})
	require.NoError(t, err)
	defer func() { _ = playback.Close(t.Context()) }() // the same
	packets := func() (n uint64) {
		for _, track := range playback.Stats().Tracks {
			n += track.Packets
		}
		return n
	}
	require.Eventually(t, func() bool { return packets() > 50 }, 10*time.Second, 5*time.Millisecond)
	for _, cut := range []time.Duration{200 * time.Millisecond, time.Second, 3 * time.Second} {
		// the relay's datagrams alone are cut, so that the viewer, who is on the near machine, keeps his connection
		lose(t, port, 100)
		time.Sleep(cut) // the cut is the test
		before, back := packets(), time.Now()
		lose(t, port, 0)
		require.Eventually(t, func() bool { return packets() > before+5 }, 10*time.Second, time.Millisecond)
		t.Logf("cut of %v: media again after %v", cut, time.Since(back).Round(time.Millisecond))
		assert.Less(t, time.Since(back), time.Second)
	}
}
