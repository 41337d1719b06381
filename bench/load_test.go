package main

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"
)

func TestTemplateAimsAtOtherUsers(t *testing.T) {
	t.Parallel()
	const made = "019ac3b2-7d10-7abc-8def-0123456789ab" // of an event
	text := "u-100000000007 100000000008 400000000000 " + made + ` \x` + strings.Repeat("ab", 32)
	kept := newTemplate(text, 100_000_000_007, 500_000_000_000, 2, nil)
	got := string(kept.render(200_000_000_000, 600_000_000_000))
	if want := "u-200000000000 200000000001 400000000000 " + text[41:]; got != want {
		t.Errorf("a request: %s", got)
	}
	renewed := newTemplate(text, 100_000_000_007, 500_000_000_000, 2, map[string]int64{})
	got = string(renewed.render(200_000_000_000, 600_000_000_000))
	want := "019ac3b2-7d10-7abc-8def-600000000000 " + `\x` + strings.Repeat("ab", 26) + "600000000001"
	if !strings.HasSuffix(got, want) {
		t.Errorf("an argument: %s", got)
	}
}

// TestYardstickThatDoesNothingFails: a load that has to succeed does not pass for a fast one.
func TestYardstickThatDoesNothingFails(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]error{"finds nobody": errors.New("0 rows"), "has no time": nil} {
		slow := time.Duration(0)
		if answer == nil {
			slow = 200 * time.Millisecond
		}
		l := load{clients: 2, time: 50 * time.Millisecond, strict: true, numbers: func() (n, m int64) { return 0, 0 },
			connect: func(context.Context) (client, error) {
				conn, _ := net.Pipe()
				return client{conn, func(int64, int64) (time.Duration, error) {
					time.Sleep(slow)
					return 0, answer
				}}, nil
			}}
		if _, err := l.run(t.Context()); err == nil {
			t.Errorf("a yardstick that %s passes", name)
		}
	}
}
