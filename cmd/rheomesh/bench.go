package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"rheomesh/bench"
	"rheomesh/config"
)

// benchFlags are the flags whose types differ from the configuration's.
type benchFlags struct {
	bitrate string
	floor   bool
	profile string
	table   string
	json    bool
}

func newBench() *cobra.Command {
	c, flags := bench.DefaultConfig(), benchFlags{}
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Load a WHIP and WHEP server and measure what it costs",
		Long: `Publish a synthetic H.264 and Opus stream with WHIP, watch it with many WHEP viewers, and print the server's CPU time per
forwarded packet, one-way delay, loss, time to the first frame and memory per viewer. It works with any server; its
process is only looked at through /proc. Without URLs a node of this program is started for each run.

The server and the load share this machine: the table says what the load itself cost. Exits 0 only if media arrived.`,
		Example: `  rheomesh bench --viewers 100 --repeat 3 --floor
  rheomesh bench --table --repeat 3 --json
  rheomesh bench --viewers 102 --stalled 1 --slow 1
  rheomesh bench --churn 30s --join 4 --publishers 0
  rheomesh bench --whip http://127.0.0.1:8889/bench{n}/whip --whep http://127.0.0.1:8889/bench{n}/whep --pid 4711`,
		Args: cobra.NoArgs,
	}
	addBenchFlags(cmd, &c, &flags)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := flags.apply(&c); err != nil {
			return err
		}
		return runBench(cmd, c, flags.json)
	}
	cmd.AddCommand(newBenchFloor())
	return cmd
}

func addBenchFlags(cmd *cobra.Command, c *bench.Config, flags *benchFlags) {
	f := cmd.Flags()
	f.StringVar(&c.WHIP, "whip", "", "WHIP `URL`; {n} stands for the number of the publisher")
	f.StringVar(&c.WHEP, "whep", "", "WHEP `URL`; {n} as above")
	f.StringVar(&c.Token, "token", "", "bearer `TOKEN`, {n} as above; better in "+config.EnvToken)
	f.IntVar(&c.PID, "pid", 0, "process id of the server, for its CPU time and memory")
	f.IntVar(&c.Publishers, "publishers", c.Publishers, "publishers; the viewers take them in turn")
	f.IntVar(&c.Viewers, "viewers", c.Viewers, "viewers, all together")
	f.DurationVar(&c.Window, "window", c.Window, "how long to measure")
	f.StringVar(&flags.bitrate, "bitrate", "2.5M", "bits per second of each publisher's video; k and M are understood")
	f.IntVar(&c.Stream.FPS, "fps", c.Stream.FPS, "frames per second")
	f.DurationVar(&c.Stream.GOP, "gop", c.Stream.GOP, "time from key frame to key frame")
	f.IntVar(&c.Stream.Burst, "burst", 0, "packets of a frame sent back to back, the bursts spread over the frame's time (default: the whole frame)")
	f.StringVar(&flags.profile, "profile", string(c.Profile), "SRTP profiles that clients offer: gcm (AES-128-GCM first) or sha1 (AES-CM with HMAC-SHA1 alone)")
	f.BoolVar(&c.NACK, "nack", false, "viewers ask for lost packets")
	f.IntVar(&c.Join, "join", c.Join, "clients that join at the same moment")
	f.IntVar(&c.Stalled, "stalled", 0, "of the viewers, how many stop reading and answering after a first window; a second one tells what that does to the others")
	f.IntVar(&c.Slow, "slow", 0, "likewise, how many get a tenth of the bandwidth and ask for the rest")
	f.DurationVar(&c.Churn, "churn", 0, "for this long, join and leave as fast as possible instead; publishers do so when only --whip is given")
	f.BoolVar(&flags.floor, "floor", false, "measure after each run what merely sealing and sending the same packets costs")
	f.StringVar(&flags.table, "table", "", "measure row after row: viewers (1 to 400) or publishers (1 to 50, four viewers each)")
	f.Lookup("table").NoOptDefVal = string(bench.TableViewers)
	f.IntVar(&c.Repeat, "repeat", c.Repeat, "runs of each row, of which the worst figures are printed")
	f.BoolVar(&flags.json, "json", false, "print one JSON object")
}

// apply completes the configuration from the flags, the environment and this program.
func (f benchFlags) apply(c *bench.Config) error {
	bitrate, err := parseBitrate(f.bitrate)
	if err != nil {
		return usageError(err)
	}
	c.Stream.BitrateBps, c.Profile, c.Table = bitrate, bench.Profile(f.profile), bench.Table(f.table)
	if c.Token == "" {
		c.Token = os.Getenv(config.EnvToken)
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	c.Serve = []string{program, "serve", "--http", "127.0.0.1:0", "--media", "127.0.0.1:0", "--log-level", "warn"}
	c.ServeEnv = []string{"RHEOMESH_LIMITS_MAX_PUBLISHERS_PER_ROUTER=64"} // the table goes to 50
	if f.floor {
		c.Floor = []string{program, "bench", "floor"}
	}
	if err := c.Check(); err != nil {
		return usageError(err)
	}
	return nil
}

func runBench(cmd *cobra.Command, c bench.Config, asJSON bool) (err error) {
	ctx, restore := firstSignal()
	defer restore()
	dataDir, err := os.MkdirTemp("", "rheomesh-bench-")
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dataDir)) }()
	c.Serve = append(c.Serve, "--data-dir", dataDir)
	line := newStatusLine(cmd.ErrOrStderr())
	c.Progress = line.show
	report, err := bench.Run(ctx, c)
	line.end()
	if err != nil && !errors.Is(err, bench.ErrNoMedia) {
		return err
	}
	return errors.Join(err, printBench(cmd, report, asJSON))
}

func printBench(cmd *cobra.Command, report bench.Report, asJSON bool) error {
	if !asJSON {
		return report.Print(cmd.OutOrStdout())
	}
	encoder := json.NewEncoder(cmd.OutOrStdout())
	encoder.SetIndent("", "  ")
	return encoder.Encode(report)
}

// parseBitrate reads bits per second such as 2500000, 800k or 2.5M.
func parseBitrate(text string) (int, error) {
	factor := 1.0
	number := text
	for suffix, f := range map[string]float64{"k": 1e3, "M": 1e6} {
		if rest, ok := strings.CutSuffix(text, suffix); ok {
			number, factor = rest, f
		}
	}
	value, err := strconv.ParseFloat(number, 64)
	if err != nil || !(value > 0 && value < 1e12) {
		return 0, fmt.Errorf("%q is not a bitrate", text)
	}
	return int(value * factor), nil
}

// newBenchFloor is the process that --floor measures.
func newBenchFloor() *cobra.Command {
	return &cobra.Command{
		Use: "floor", Short: "Seal and send, as standard input orders", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, restore := firstSignal()
			defer restore()
			return bench.RunFloor(ctx, cmd.InOrStdin())
		},
	}
}
