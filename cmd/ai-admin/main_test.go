package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

// TestWaysToAsk: help and the version are given however people ask for them.
func TestWaysToAsk(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		args []string
		code int
		want string
	}{
		"nothing":           {nil, 2, "Usage: ai-admin <command>"},
		"help":              {[]string{"help"}, 0, "Usage: ai-admin <command>"},
		"help of a command": {[]string{"help", "users", "export"}, 0, "Usage: ai-admin users export"},
		"formats":           {[]string{"users", "export", "--help"}, 0, "ndjson (default) or csv."},
		"--help":            {[]string{"--help"}, 0, "Usage: ai-admin <command>"},
		"version":           {[]string{"version"}, 0, "ai-admin "},
		"--version":         {[]string{"--version"}, 0, "ai-admin "},
		"-v":                {[]string{"-v"}, 0, "ai-admin "},
		"something else":    {[]string{"halp"}, 2, "halp"},
	} {
		var out, faults bytes.Buffer
		code := run(t.Context(), test.args, streams{&out, &faults})
		if code != test.code || !strings.Contains(out.String()+faults.String(), test.want) {
			t.Errorf("%s: code %d, %s%s", name, code, &out, &faults)
		}
	}
}

// TestDevLog: lines for people are short, those for programs are JSON.
func TestDevLog(t *testing.T) {
	t.Parallel()
	for form, want := range map[string]string{"text": "INF request status=200 duration=1.5ms", "json": `"msg":"request","status":200,"duration":"1.5ms"}`, "auto": `"duration":"1.5ms"}`} {
		var out bytes.Buffer
		slog.New(devCmd{Log: form}.logHandler(&out, &slog.HandlerOptions{})).Info("request", "status", 200, "duration", "1.5ms")
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s: %s", form, &out)
		}
	}
}
