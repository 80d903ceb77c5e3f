package bench

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Table names a series of rows to measure one after the other.
type Table string

// The tables.
const (
	TableNone       Table = ""
	TableViewers    Table = "viewers"    // one publisher, 1 to 400 viewers
	TablePublishers Table = "publishers" // 1 to 50 publishers with four viewers each
)

// Config says what to measure. Start from DefaultConfig.
type Config struct {
	// WHIP and WHEP are the server's URLs, in which {n} stands for the number of the publisher, from 1. Token is sent as
	// bearer token, {n} replaced too. Both URLs empty: Serve is run as the server, a new one for each run.
	WHIP, WHEP, Token string
	// PID is the server's process; 0 leaves its costs unmeasured.
	PID int
	// Serve is the command line of a server that prints its URLs as "rheomesh serve" does, and ServeEnv what is added to
	// its environment.
	Serve, ServeEnv []string

	Publishers int
	Viewers    int // all together; they take the publishers in turn
	Window     time.Duration
	Settle     time.Duration // pause before a window; publishers also send that long, and two key frame intervals, before viewers join
	Stream     Stream
	Profile    Profile
	NACK       bool // viewers ask for lost packets
	Join       int  // viewers that join at the same moment
	Stalled    int  // viewers that stop reading and answering; a second window tells what that does to the others
	Slow       int  // viewers that get a tenth of the bandwidth, likewise

	// Churn, when not zero, measures joining and leaving for that long instead of media: POST, connected, DELETE, with Join
	// clients at once. They are viewers, or publishers when there is no WHEP URL.
	Churn time.Duration

	// Floor is the command line of RunFloor in a process of its own; with it the floor is measured after each run.
	Floor []string

	Table  Table
	Repeat int // runs of each row, of which the worst counts
	// Progress is told what is going on; nil for silence.
	Progress func(text string)
}

// DefaultConfig is the stream that the project's figures are for.
func DefaultConfig() Config {
	return Config{
		Publishers: 1, Viewers: 10, Window: 10 * time.Second, Settle: time.Second, Profile: ProfileGCM, Join: 1, Repeat: 1,
		Stream: Stream{BitrateBps: 2_500_000, FPS: 30, GOP: 2 * time.Second},
	}
}

// row is one line of a table.
type row struct{ publishers, viewers int }

func (c Config) rows() (rows []row) {
	switch c.Table {
	case TableViewers:
		for _, n := range []int{1, 10, 50, 100, 200, 400} {
			rows = append(rows, row{1, n})
		}
	case TablePublishers:
		for _, n := range []int{1, 5, 10, 25, 50} {
			rows = append(rows, row{n, 4 * n})
		}
	default:
		rows = []row{{c.Publishers, c.Viewers}}
	}
	return rows
}

// ErrConfig is wrapped by what Check reports.
var ErrConfig = errors.New("bench configuration")

// Check reports the first mistake.
func (c Config) Check() error {
	for _, rule := range c.rules() {
		if rule.broken {
			return fmt.Errorf("%w: %s", ErrConfig, rule.text)
		}
	}
	for _, target := range []string{c.WHIP, c.WHEP} {
		if target == "" {
			continue
		}
		if _, err := hostPort(target); err != nil {
			return fmt.Errorf("%w: %w", ErrConfig, err)
		}
	}
	return nil
}

type rule struct {
	broken bool
	text   string
}

func (c Config) rules() []rule {
	own := c.ownServer()
	most, least := 0, c.Viewers
	for _, r := range c.rows() {
		most, least = max(most, r.publishers), min(least, r.viewers)
	}
	return []rule{
		{own && len(c.Serve) == 0, "no WHIP and WHEP URL"},
		{own && c.PID != 0, "a process id needs the URLs of its server"},
		{!own && c.Churn == 0 && (c.WHIP == "" || c.WHEP == ""), "both a WHIP and a WHEP URL are needed"},
		{c.WHEP != "" && c.Churn > 0 && c.Publishers > 0 && c.WHIP == "", "publishers need a WHIP URL"},
		{!own && most > 1 && !strings.Contains(c.WHIP+c.Token, "{n}"), "several publishers need {n} in the URLs or in the token"},
		{c.Publishers < 1 && c.Churn == 0, "at least one publisher is needed"},
		{c.Publishers < 0 || c.Viewers < 1, "at least one viewer is needed"},
		{c.Stalled < 0 || c.Slow < 0, "numbers of stalled and slow viewers must not be negative"},
		{c.Stalled+c.Slow >= least, "there must be more viewers than stalled and slow ones"},
		{c.Stalled+c.Slow > 0 && c.Churn > 0, "stalled and slow viewers do not churn"},
		{c.Table != TableNone && c.Churn > 0, "a table has no churn"},
		{c.Window <= 0 || c.Settle < 0 || c.Churn < 0, "durations must be positive"},
		{c.Join < 1 || c.Repeat < 1, "join and repeat are at least 1"},
		{c.Profile != ProfileGCM && c.Profile != ProfileSHA1, "the profile is gcm or sha1"},
		{c.Table != TableNone && c.Table != TableViewers && c.Table != TablePublishers, "the table is viewers or publishers"},
		{c.Stream.FPS < 1 || c.Stream.FPS > 240, "frames per second are 1 to 240"},
		{c.Stream.BitrateBps < 50_000 || c.Stream.BitrateBps > 200_000_000, "the bitrate is 50 kbit/s to 200 Mbit/s"},
		{c.Stream.GOP < 100*time.Millisecond || c.Stream.GOP > time.Minute, "the key frame interval is 100 ms to 1 min"},
		{c.Stream.Burst < 0, "burst must not be negative"},
	}
}

func (c Config) ownServer() bool { return c.WHIP == "" && c.WHEP == "" }

func (c Config) progress(format string, args ...any) {
	if c.Progress != nil {
		c.Progress(fmt.Sprintf(format, args...))
	}
}
