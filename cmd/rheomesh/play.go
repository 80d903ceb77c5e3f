package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rheomesh/client"
)

// errNoMedia is the failure of a viewer that saw nothing.
var errNoMedia = errors.New("no decodable media arrived")

type playFlags struct {
	save string
	json bool
}

func newPlay() *cobra.Command {
	var flags playFlags
	cmd := &cobra.Command{
		Use:   "play WHEP_URL",
		Short: "Play with WHEP and count what arrives",
		Long: `Play from any WHEP server, without a picture: count packets, losses and frames, and save the media if asked.
Exits 0 only if media that can be decoded has arrived.`,
		Example: "  rheomesh play http://127.0.0.1:8080/whep/live/clip --for 10s",
		Args:    cobra.ExactArgs(1),
	}
	common := addClientFlags(cmd)
	cmd.Flags().StringVar(&flags.save, "save", "", "write the media into `DIR`: video.ivf or video.h264, audio.ogg")
	cmd.Flags().BoolVar(&flags.json, "json", false, "print one JSON object, at the end")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		options, err := common.options(cmd, args[0])
		if err != nil {
			return err
		}
		return play(cmd, client.PlayOptions{Options: options, SaveDir: flags.save}, common.duration, flags.json)
	}
	return cmd
}

func play(cmd *cobra.Command, options client.PlayOptions, duration time.Duration, asJSON bool) error {
	ctx, cancel := lifetime(duration)
	defer cancel()
	playback, err := client.Play(ctx, options)
	if err != nil {
		return err
	}
	progress := io.Discard
	if !asJSON {
		progress = cmd.OutOrStdout()
	}
	fmt.Fprintf(progress, "playing %s\n", options.URL)
	line := newStatusLine(progress)
	err = watch(ctx, playback.Session, func() { line.show(describePlayback(playback.Stats())) })
	line.end()
	stats := playback.Stats()
	err = errors.Join(err, goodbye(playback.Session))
	saved, saveErr := playback.Saved()
	if printErr := printPlayback(cmd.OutOrStdout(), stats, saved, asJSON); printErr != nil {
		return printErr
	}
	if !stats.Decodable() {
		err = errors.Join(errNoMedia, err)
	}
	return errors.Join(err, saveErr)
}

func printPlayback(w io.Writer, stats client.PlayStats, saved []string, asJSON bool) error {
	if asJSON {
		report := reportPlayback(stats)
		report.Saved = append(report.Saved, saved...)
		return json.NewEncoder(w).Encode(report)
	}
	_, err := fmt.Fprintln(w, describePlayback(stats))
	for _, name := range saved {
		fmt.Fprintln(w, "saved", name)
	}
	return err
}

// playReport is what --json prints. Durations are in milliseconds.
type playReport struct {
	Decodable bool          `json:"decodable"`
	SetupMS   float64       `json:"setup_ms"` // from POST to connected
	Tracks    []trackReport `json:"tracks"`
	Saved     []string      `json:"saved"`
}

type trackReport struct {
	Kind            string  `json:"kind"`
	Codec           string  `json:"codec"`
	SSRC            uint32  `json:"ssrc"`
	Width           int     `json:"width"`
	Height          int     `json:"height"`
	Packets         uint64  `json:"packets"`
	Bytes           uint64  `json:"bytes"`
	PacketsLost     uint64  `json:"packets_lost"`
	BitrateBps      float64 `json:"bitrate_bps"`
	JitterMS        float64 `json:"jitter_ms"`
	Frames          uint64  `json:"frames"`
	DecodableFrames uint64  `json:"decodable_frames"`
	BrokenFrames    uint64  `json:"broken_frames"`
	Keyframes       uint64  `json:"keyframes"`
	FirstFrameMS    float64 `json:"first_frame_ms"` // from POST to the first decodable frame; 0 = none
	LatencyMS       float64 `json:"latency_ms"`     // mean, from capture to arrival; only if both ends share a clock
}

func reportPlayback(stats client.PlayStats) playReport {
	report := playReport{Decodable: stats.Decodable(), SetupMS: milliseconds(stats.SetupTime), Tracks: []trackReport{}, Saved: []string{}}
	for _, t := range stats.Tracks {
		report.Tracks = append(report.Tracks, trackReport{
			Kind: t.Kind, Codec: t.Codec, SSRC: t.SSRC, Width: t.Width, Height: t.Height, Packets: t.Packets, Bytes: t.Bytes,
			PacketsLost: t.Lost, BitrateBps: t.BitrateBps, JitterMS: milliseconds(t.Jitter), Frames: t.Frames,
			DecodableFrames: t.DecodableFrames, BrokenFrames: t.BrokenFrames, Keyframes: t.Keyframes,
			FirstFrameMS: milliseconds(t.FirstFrame), LatencyMS: milliseconds(t.Latency.Mean),
		})
	}
	return report
}

func describePlayback(stats client.PlayStats) string {
	if len(stats.Tracks) == 0 {
		return "waiting for media"
	}
	var parts []string
	for _, t := range stats.Tracks {
		size := ""
		if t.Width > 0 {
			size = fmt.Sprintf(" %dx%d", t.Width, t.Height)
		}
		parts = append(parts, fmt.Sprintf("%s %s%s %s, %d frames (%d broken), %d lost, latency %.1f ms",
			t.Kind, strings.TrimPrefix(t.Codec, t.Kind+"/"), size, megabits(t.BitrateBps), t.DecodableFrames, t.BrokenFrames, t.Lost,
			milliseconds(t.Latency.Last)))
	}
	return strings.Join(parts, " | ")
}
