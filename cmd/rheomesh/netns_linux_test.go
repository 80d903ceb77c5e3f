package main

import (
	"bytes"
	"context"
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
	remove := func() {
		_ = exec.Command("ip", "link", "delete", "rm-near").Run() // first, since a namespace takes its time to let go of its end
		_ = exec.Command("ip", "netns", "delete", farSpace).Run()
	}
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

// farPair starts a node on each machine with a publication on the near one.
func farPair(t *testing.T) (origin, edge *process) {
	t.Helper()
	env := []string{"RHEOMESH_RELAY_SECRET=" + testSecret}
	serve := func(ip string) *exec.Cmd {
		return command(t, env, "serve", "--insecure", "--http", ip+":0", "--media", ip+":0", "--relay", ip+":0")
	}
	far := serve(farIP)
	far.Args = append([]string{"ip", "netns", "exec", farSpace, far.Path}, far.Args[1:]...)
	far.Path, _ = exec.LookPath("ip")
	edge, origin = started(t, far), started(t, serve(nearIP))
	publication, err := client.Publish(t.Context(), client.PublishOptions{
		Options: client.Options{URL: origin.url + "/whip/live/cam"}, Video: clip.VP8(clip.Large), Audio: clip.Opus(), AnswerPLI: true,
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = publication.Close(context.Background()) }) // its node may be gone
	require.NoError(t, publication.Connected(t.Context()))
	origin.putRelay(t, edge.relayAddr(t))
	return origin, edge
}

// sent is how many packets the relay's streams have sent.
func (p *process) sent(t *testing.T) (n uint64) {
	t.Helper()
	_, body := get(t, p.url+"/api/v1/routers/live/relays/edge", "")
	var shown struct{ Streams []struct{ Packets uint64 } }
	require.NoError(t, json.Unmarshal([]byte(body), &shown))
	for _, s := range shown.Streams {
		n += s.Packets
	}
	return n
}

// The interface goes down, and with it its addresses' routes, and comes up again: the relay goes on, without a word to anybody.
func TestRelayOverInterfaceThatGoesDown(t *testing.T) {
	newFarMachine(t)
	origin, edge := farPair(t)
	// the viewer is on the far machine with the edge, so that the cable is the relay's alone
	player := command(t, nil, "play", edge.url+"/whep/live/cam", "--for", "25s", "--json")
	player.Args = append([]string{"ip", "netns", "exec", farSpace, player.Path}, player.Args[1:]...)
	player.Path, _ = exec.LookPath("ip")
	var stdout bytes.Buffer
	player.Stdout = &stdout
	require.NoError(t, player.Start())
	require.Eventually(t, func() bool { return origin.sent(t) > 50 }, 10*time.Second, 10*time.Millisecond)
	for _, down := range []time.Duration{500 * time.Millisecond, 2 * time.Second, 6 * time.Second} {
		shell(t, "ip link set rm-near down")
		time.Sleep(down) // the outage is the test
		before, back := origin.sent(t), time.Now()
		shell(t, "ip link set rm-near up")
		require.Eventually(t, func() bool { return origin.sent(t) > before+20 && origin.relayState(t) == "active" }, 10*time.Second, 5*time.Millisecond)
		t.Logf("down for %v: media again after %v", down, time.Since(back).Round(time.Millisecond))
		assert.Less(t, time.Since(back), 2*time.Second)
	}
	require.NoError(t, player.Wait(), stdout.String())
	var report playReport
	require.NoError(t, json.Unmarshal(stdout.Bytes(), &report), stdout.String())
	require.NotEmpty(t, report.Tracks)
}

// A cable of 1,400 bytes: what fits crosses, nothing is fragmented, and the link tells its width.
func TestRelayOverNarrowCable(t *testing.T) {
	newFarMachine(t)
	shell(t, "ip link set rm-near mtu 1400")
	shell(t, "ip -n "+farSpace+" link set rm-far mtu 1400")
	origin, edge := farPair(t)
	code, _, stderr := execute(t, nil, "play", edge.url+"/whep/live/cam", "--for", "2s", "--json")
	require.Zero(t, code, stderr)
	require.Eventually(t, func() bool {
		_, body := get(t, origin.url+"/api/v1/links", "")
		return strings.Contains(body, `"path_bytes":1372`)
	}, 10*time.Second, 20*time.Millisecond)
	out, err := exec.CommandContext(t.Context(), "ip", "netns", "exec", farSpace, "cat", "/proc/net/snmp").Output()
	require.NoError(t, err)
	assert.Equal(t, "0", ipCounter(t, string(out), "ReasmReqds"), "fragments came")
}

// ipCounter reads one of the counters of the line "Ip:" of /proc/net/snmp.
func ipCounter(t *testing.T, snmp, name string) string {
	t.Helper()
	lines := strings.Split(snmp, "\n")
	require.Greater(t, len(lines), 1)
	values := strings.Fields(lines[1])
	for i, field := range strings.Fields(lines[0]) {
		if field == name {
			return values[i]
		}
	}
	t.Fatal("no counter", name)
	return ""
}

// Two machines with a cable between them that loses datagrams and is pulled: viewers see nothing of the loss, and stay over the cut.
func TestRelayOverBadCable(t *testing.T) {
	newFarMachine(t)
	_, edge := farPair(t)
	port := edge.relayAddr(t)[strings.LastIndex(edge.relayAddr(t), ":")+1:]
	for _, percent := range []int{1, 5, 10} {
		lose(t, port, percent)
		player := command(t, nil, "play", edge.url+"/whep/live/cam", "--for", "5s", "--json")
		var stdout bytes.Buffer
		player.Stdout = &stdout
		require.NoError(t, player.Start())
		time.Sleep(4 * time.Second) // of loss, which is the test
		lose(t, port, 0)            // and then what is missing is repaired before the viewer goes
		require.NoError(t, player.Wait())
		var report playReport
		require.NoError(t, json.Unmarshal(stdout.Bytes(), &report))
		for _, track := range report.Tracks {
			t.Logf("%d %% loss: %s: %d packets, %d lost, %d of %d frames broken", percent, track.Kind, track.Packets, track.PacketsLost, track.BrokenFrames, track.Frames)
			assert.Zero(t, track.PacketsLost)
			assert.Zero(t, track.BrokenFrames)
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
