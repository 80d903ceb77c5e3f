package main

import (
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/lmittmann/tint"
	"golang.org/x/term"

	"rheomesh/config"
)

// newLogger writes to w as cfg says; cfg has been validated.
func newLogger(w io.Writer, cfg config.Log) *slog.Logger {
	log, _ := newAdjustableLogger(w, cfg)
	return log
}

// newAdjustableLogger is newLogger with a level that can be changed.
func newAdjustableLogger(w io.Writer, cfg config.Log) (*slog.Logger, *slog.LevelVar) {
	level := &slog.LevelVar{}
	level.Set(levelOf(cfg))
	terminal := isTerminal(w)
	if cfg.Format == "text" || cfg.Format == "auto" && terminal {
		return slog.New(tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: time.TimeOnly, NoColor: !terminal})), level
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})), level
}

func levelOf(cfg config.Log) (level slog.Level) {
	if err := level.UnmarshalText([]byte(cfg.Level)); err != nil {
		panic(err) // config knows the levels
	}
	return level
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// terminalWidth is in columns; 80 when w is none.
func terminalWidth(w io.Writer) int {
	if file, ok := w.(*os.File); ok {
		if width, _, err := term.GetSize(int(file.Fd())); err == nil && width > 0 {
			return width
		}
	}
	return 80
}
