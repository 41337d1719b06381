package main

import (
	"context"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/lmittmann/tint"
)

// devLog is how dev logs: short lines for a person, or JSON for a program. While it is quiet, no request has a line.
type devLog struct {
	form  string // auto, text or json
	quiet atomic.Bool
}

// handler is the LogHandler of the service.
func (l *devLog) handler(w io.Writer, options *slog.HandlerOptions) slog.Handler {
	person := isTerminal(w)
	if l.form == "json" || l.form == "auto" && !person {
		return quietHandler{slog.NewJSONHandler(w, options), &l.quiet}
	}
	return quietHandler{tint.NewTextHandler(w, &tint.Options{Level: options.Level, TimeFormat: time.TimeOnly, NoColor: !person}), &l.quiet}
}

// quietHandler leaves out the lines of requests while it is told to be quiet.
type quietHandler struct {
	slog.Handler
	quiet *atomic.Bool
}

// Handle implements [slog.Handler].
func (h quietHandler) Handle(ctx context.Context, r slog.Record) error {
	if h.quiet.Load() && r.Message == "request" && r.Level < slog.LevelWarn {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements [slog.Handler].
func (h quietHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return quietHandler{h.Handler.WithAttrs(attrs), h.quiet}
}

// WithGroup implements [slog.Handler].
func (h quietHandler) WithGroup(name string) slog.Handler {
	return quietHandler{h.Handler.WithGroup(name), h.quiet}
}
