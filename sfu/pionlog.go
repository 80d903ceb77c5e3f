package sfu

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/pion/logging"
)

// pionLoggers hands pion's log lines on at debug level: what matters of them the session says itself, and clients must not be able to fill the log.
type pionLoggers struct{ log *slog.Logger }

// NewLogger implements logging.LoggerFactory.
func (p pionLoggers) NewLogger(scope string) logging.LeveledLogger {
	return pionLogger{log: p.log.With("scope", scope)}
}

type pionLogger struct{ log *slog.Logger }

func (l pionLogger) line(format string, args ...any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug("pion", "text", fmt.Sprintf(format, args...))
	}
}

func (l pionLogger) Trace(string)                      {}
func (l pionLogger) Tracef(string, ...any)             {}
func (l pionLogger) Debug(string)                      {}
func (l pionLogger) Debugf(string, ...any)             {}
func (l pionLogger) Info(msg string)                   { l.line("%s", msg) }
func (l pionLogger) Infof(format string, args ...any)  { l.line(format, args...) }
func (l pionLogger) Warn(msg string)                   { l.line("%s", msg) }
func (l pionLogger) Warnf(format string, args ...any)  { l.line(format, args...) }
func (l pionLogger) Error(msg string)                  { l.line("%s", msg) }
func (l pionLogger) Errorf(format string, args ...any) { l.line(format, args...) }
