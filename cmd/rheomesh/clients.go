package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rheomesh/client"
	"rheomesh/config"
)

// refreshInterval is how often a client command tells how it is going.
const refreshInterval = time.Second

// goodbyeTimeout is how long the DELETE at the end may take.
const goodbyeTimeout = 3 * time.Second

// clientFlags are what publish and play have in common.
type clientFlags struct {
	token    string
	duration time.Duration
}

func addClientFlags(cmd *cobra.Command) *clientFlags {
	f := &clientFlags{}
	cmd.Flags().StringVar(&f.token, "token", "", "bearer `TOKEN`; better in "+config.EnvToken+", which other users of this machine cannot see")
	cmd.Flags().DurationVar(&f.duration, "for", 0, "stop after this `DURATION` (default: at Ctrl-C)")
	return f
}

func (f *clientFlags) options(cmd *cobra.Command, url string) (client.Options, error) {
	if !strings.HasPrefix(url, "http://") && !strings.HasPrefix(url, "https://") {
		return client.Options{}, usageError(fmt.Errorf("%q is not an http or https URL", url))
	}
	token := f.token
	if token == "" {
		token = os.Getenv(config.EnvToken)
	}
	return client.Options{URL: url, Token: token, Logger: clientLogger(cmd.ErrOrStderr())}, nil
}

func clientLogger(w io.Writer) *slog.Logger {
	return newLogger(w, config.Log{Level: "warn", Format: "text"})
}

// lifetime ends with a signal, or after the duration if it is above zero.
func lifetime(duration time.Duration) (ctx context.Context, cancel func()) {
	ctx, restore := firstSignal()
	if duration <= 0 {
		return ctx, restore
	}
	ctx, stop := context.WithTimeout(ctx, duration)
	return ctx, func() { stop(); restore() }
}

// watch calls tick each second until the session or ctx ends. It returns nil when it was ctx, which is how a client
// command is meant to end.
func watch(ctx context.Context, session *client.Session, tick func()) error {
	ticker := time.NewTicker(refreshInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			tick()
		case <-session.Done():
			return session.Err()
		case <-ctx.Done():
			return nil
		}
	}
}

// goodbye deletes the session. That it is gone already is no failure.
func goodbye(session *client.Session) error {
	ctx, cancel := context.WithTimeout(context.Background(), goodbyeTimeout)
	defer cancel()
	if err := session.Close(ctx); err != nil && !errors.Is(err, client.ErrClosed) {
		return fmt.Errorf("close session: %w", err)
	}
	return nil
}

// statusLine is a line that refreshes itself on a terminal; elsewhere, where it would fill a file, it is not written.
type statusLine struct {
	w        io.Writer
	terminal bool
	used     bool
}

func newStatusLine(w io.Writer) *statusLine { return &statusLine{w: w, terminal: isTerminal(w)} }

func (l *statusLine) show(text string) {
	if l.terminal {
		if width := terminalWidth(l.w); len(text) > width { // a line that wraps cannot be refreshed; the text is ASCII
			text = text[:width]
		}
		fmt.Fprintf(l.w, "\r\x1b[K%s", text) // erase to the end of the line (ECMA-48 EL)
		l.used = true
	}
}

// end leaves the last text standing.
func (l *statusLine) end() {
	if l.used {
		fmt.Fprintln(l.w)
	}
}

// megabits formats a bit rate.
func megabits(bps float64) string { return fmt.Sprintf("%.2f Mbit/s", bps/1e6) }

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }
