package user

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestTimesAreWrittenAsTheLayoutSays compares the writing by hand with the standard library's.
func TestTimesAreWrittenAsTheLayoutSays(t *testing.T) {
	t.Parallel()
	check := func(at time.Time) {
		t.Helper()
		if got, want := string(appendTime([]byte("x"), at)), `x"`+FormatTime(at)+`"`; got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	}
	for _, at := range []time.Time{{}, time.Unix(0, 0), time.Date(2026, 1, 2, 3, 4, 5, 999, time.UTC),
		time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC), time.Date(2024, 2, 29, 23, 0, 0, 1000, time.FixedZone("", -7*3600))} {
		check(at)
	}
	for range 10_000 {
		check(time.UnixMicro(rand.Int64N(250_000_000_000_000_000)))
	}
}

func TestParseTime(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"2026-01-31T00:00:00Z": "2026-01-31T00:00:00Z", "2026-01-31t01:02:03.5z": "2026-01-31T01:02:03.5Z",
		"2016-12-31T23:59:60Z": "2017-01-01T00:00:00Z", "2016-12-31t18:59:60.25-05:00": "2017-01-01T00:00:00.25Z",
		"2026-01-31T00:00:00+01:00": "2026-01-30T23:00:00Z", "2026-01-31T00:00:00-23:59": "2026-01-31T23:59:00Z", "2026-01-31T00:00:00+24:00": "", "2026-01-31T00:00:00-24:00": "", "2026-01-31T00:00:00+01:60": "",
		"": "", "60": "", "2026-01-31": "", "2026-01-31 00:00:00Z": "", "2026-01-31T1:00:00Z": "", "2026-01-31T00:00:00,5Z": "",
		"2026-01-31T00:60:00Z": "", "2026-01-31T00:00:61Z": "", "0000-01-01T00:00:00Z": "", "9999-12-31T23:59:60Z": "", "9999-12-31T23:59:59-01:00": "",
	} {
		got, err := ParseTime(text)
		if (err == nil) != (want != "") || err == nil && got.Format(time.RFC3339Nano) != want {
			t.Errorf("%q is %s, %v, want %q", text, got.Format(time.RFC3339Nano), err, want)
		}
	}
}
