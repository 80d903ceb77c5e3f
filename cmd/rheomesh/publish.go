package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rheomesh/client"
	"rheomesh/clip"
)

// publishFlags say what to publish.
type publishFlags struct {
	video, audio string
	simulcast    bool
}

func newPublish() *cobra.Command {
	var files publishFlags
	cmd := &cobra.Command{
		Use:   "publish WHIP_URL",
		Short: "Publish the built-in clip, or files, with WHIP",
		Long: `Publish to any WHIP server, in a loop and in real time. Without files it is the built-in clip: VP8 video
with a clock, and Opus sound. Of files, one alone publishes that medium alone.`,
		Example: "  rheomesh publish http://127.0.0.1:8080/whip/live/clip",
		Args:    cobra.ExactArgs(1),
	}
	common := addClientFlags(cmd)
	cmd.Flags().StringVar(&files.video, "video", "", "video `FILE`: VP8, VP9 or AV1 in .ivf, or H.264 in .h264")
	cmd.Flags().StringVar(&files.audio, "audio", "", "audio `FILE`: Opus in .ogg")
	cmd.Flags().BoolVar(&files.simulcast, "simulcast", false, "send the built-in clip in three sizes at once")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		options, err := common.options(cmd, args[0])
		if err != nil {
			return err
		}
		publishOptions, err := files.sources()
		if err != nil {
			return err
		}
		publishOptions.Options = options
		return publish(cmd, publishOptions, common.duration)
	}
	return cmd
}

// sources opens what the flags name.
func (f publishFlags) sources() (o client.PublishOptions, err error) {
	o.AnswerPLI = true
	if f.video == "" && f.audio == "" {
		o.Audio = clip.Opus()
		if f.simulcast {
			o.Simulcast = clipEncodings()
			return o, nil
		}
		o.Video = clip.VP8(clip.Large)
		return o, nil
	}
	if f.simulcast {
		return o, usageError(fmt.Errorf("--simulcast is for the built-in clip, not for files"))
	}
	if f.video != "" {
		source, err := clip.OpenVideo(f.video)
		if err != nil {
			return o, err
		}
		o.Video = source
	}
	if f.audio != "" {
		source, err := clip.OpenAudio(f.audio)
		if err != nil {
			return o, err
		}
		o.Audio = source
	}
	return o, nil
}

// clipEncodings are named as OBS and browsers name three sizes: high, medium, low.
func clipEncodings() []client.Encoding {
	return []client.Encoding{
		{RID: "h", Source: clip.VP8(clip.Large)}, {RID: "m", Source: clip.VP8(clip.Medium)}, {RID: "l", Source: clip.VP8(clip.Small)},
	}
}

func publish(cmd *cobra.Command, options client.PublishOptions, duration time.Duration) error {
	ctx, cancel := lifetime(duration)
	defer cancel()
	publication, err := client.Publish(ctx, options)
	if err != nil {
		return err
	}
	if err := publication.Connected(ctx); err != nil {
		_ = goodbye(publication.Session) // the first error tells more
		return err
	}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "publishing to %s, connected in %.0f ms\n", options.URL, milliseconds(publication.Stats().SetupTime))
	line := newStatusLine(out)
	err = watch(ctx, publication.Session, func() { line.show(describePublication(publication.Stats())) })
	line.end()
	fmt.Fprintln(out, describePublication(publication.Stats()))
	if closeErr := goodbye(publication.Session); err == nil {
		err = closeErr
	}
	return err
}

func describePublication(stats client.PublishStats) string {
	var parts []string
	for _, t := range stats.Tracks {
		name := strings.TrimSpace(t.Kind + " " + t.RID)
		parts = append(parts, fmt.Sprintf("%s %d frames, %d packets, %.1f MB, %d NACK, %d PLI",
			name, t.Frames, t.Packets, float64(t.Bytes)/1e6, t.NACKs, t.PLIs))
	}
	return strings.Join(parts, " | ")
}
