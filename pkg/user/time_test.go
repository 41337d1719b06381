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
