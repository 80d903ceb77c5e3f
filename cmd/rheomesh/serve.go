package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"rheomesh/config"
)

func newServe() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a node until it is told to stop",
		Long: `Run a node. Flags win over RHEOMESH_ variables, variables over the file, the file over the defaults;
"rheomesh config print" shows every key. Without credentials only this machine reaches the node.

SIGHUP reads file and variables again and takes up log level, credentials, limits of the HTTP side and certificates; a
mistake in them changes nothing. SIGTERM or Ctrl-C drains: no new sessions, then the present ones get their grace. A second one stops at once.`,
		Args: cobra.NoArgs,
	}
	load := nodeFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := load()
		if err != nil {
			return err
		}
		return serve(cmd, cfg, load)
	}
	return cmd
}

func serve(cmd *cobra.Command, cfg config.Config, load func() (config.Config, error)) error {
	stop, restore := firstSignal()
	defer restore()
	reload := make(chan os.Signal, 1) // one that waits is enough: it reads what is newest
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)
	log, level := newAdjustableLogger(cmd.ErrOrStderr(), cfg.Log)
	n, err := startNode(cfg, log)
	if err != nil {
		return err
	}
	if err := printBanner(cmd.OutOrStdout(), n); err != nil {
		log.Warn("start lines not printed", "err", err)
	}
	for {
		select {
		case <-reload:
			n.reloadFrom(load, level)
		case <-stop.Done():
			drain(n, log)
			return n.stop()
		case err := <-n.served: // the listener broke
			n.served <- nil // stop waits for it once more
			log.Error("http server ended", "err", err)
			_ = n.stop() // the first error tells more
			return err
		}
	}
}

func drain(n *node, log *slog.Logger) {
	log.Info("draining", "grace", n.cfg.Limits.DrainGrace, "sessions", n.sessions())
	n.drain(context.Background())
	log.Info("stopping", "sessions", n.sessions())
}

// firstSignal returns a context that ends with the first SIGINT or SIGTERM. The second ends the process as if there
// were no handler.
func firstSignal() (ctx context.Context, restore func()) {
	ctx, restore = signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, restore)
	return ctx, restore
}
