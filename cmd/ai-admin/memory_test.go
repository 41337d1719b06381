package main

import "testing"

const mib = 1 << 20

func TestMemoryLimitFollowsUse(t *testing.T) {
	t.Parallel()
	for live, want := range map[int64]int64{0: 60 * mib, 38 * mib: 60 * mib, 40 * mib: 72 * mib, 100 * mib: 432 * mib} {
		if got := limitFor(live); got != want {
			t.Errorf("%d MiB in use: a limit of %d MiB, want %d", live/mib, got/mib, want/mib)
		}
	}
}

// TestMemoryIsGivenBackOnceItIsQuiet: once per rest, and not while there is work.
func TestMemoryIsGivenBackOnceItIsQuiet(t *testing.T) {
	t.Parallel()
	var r rest
	given := func(looks int, now memory) (times int) {
		for range looks {
			if r.begins(now) {
				times++
				now.collections++ // by giving back
				r.since = now.collections
			}
		}
		return times
	}
	for _, step := range []struct {
		what  string
		looks int
		now   memory
		want  int
	}{
		{"under load", quietLooks - 1, memory{kept: 300 * mib, collections: 7}, 0},
		{"still under load", quietLooks - 1, memory{kept: 300 * mib, collections: 8}, 0},
		{"at rest", 1, memory{kept: 300 * mib, collections: 8}, 1},
		{"still at rest", 10 * quietLooks, memory{kept: 200 * mib, collections: 9}, 0},
		{"at rest after more load", 10 * quietLooks, memory{kept: 200 * mib, collections: 20}, 1},
		{"at rest with little", 10 * quietLooks, memory{kept: 30 * mib, collections: 30}, 0},
	} {
		if got := given(step.looks, step.now); got != step.want {
			t.Errorf("%s: given back %d times, want %d", step.what, got, step.want)
		}
	}
}
