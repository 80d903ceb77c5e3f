package client

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/pion/logging"
)

// levelTrace is below Debug: pion's own debugging speaks per packet.
const levelTrace = slog.LevelDebug - 4

// pionLogs hands pion's log lines to slog. Their levels are lowered, because what pion warns of is
// ordinary life on a network, and what matters reaches the caller as an error or a state.
type pionLogs struct{ log *slog.Logger }

var _ logging.LoggerFactory = pionLogs{}

// NewLogger implements logging.LoggerFactory.
func (p pionLogs) NewLogger(scope string) logging.LeveledLogger {
	return pionLog{p.log.With("scope", scope)}
}

type pionLog struct{ log *slog.Logger }

func (p pionLog) line(level slog.Level, text string) {
	p.log.Log(context.Background(), level, "pion", "text", text)
}

// linef formats only what will be logged.
func (p pionLog) linef(level slog.Level, format string, args []any) {
	if p.log.Enabled(context.Background(), level) {
		p.line(level, fmt.Sprintf(format, args...))
	}
}

func (p pionLog) Trace(text string)            { p.line(levelTrace, text) }
func (p pionLog) Tracef(f string, args ...any) { p.linef(levelTrace, f, args) }
func (p pionLog) Debug(text string)            { p.line(levelTrace, text) }
func (p pionLog) Debugf(f string, args ...any) { p.linef(levelTrace, f, args) }
func (p pionLog) Info(text string)             { p.line(slog.LevelDebug, text) }
func (p pionLog) Infof(f string, args ...any)  { p.linef(slog.LevelDebug, f, args) }
func (p pionLog) Warn(text string)             { p.line(slog.LevelDebug, text) }
func (p pionLog) Warnf(f string, args ...any)  { p.linef(slog.LevelDebug, f, args) }
func (p pionLog) Error(text string)            { p.line(slog.LevelDebug, text) }
func (p pionLog) Errorf(f string, args ...any) { p.linef(slog.LevelDebug, f, args) }
