package main

import "testing"

func TestMemoryLimitFollowsUse(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	for live, want := range map[int64]int64{0: 60 * mib, 29 * mib: 60 * mib, 30 * mib: 120 * mib, 100 * mib: 400 * mib} {
		if got := limitFor(live); got != want {
			t.Errorf("%d MiB in use: a limit of %d MiB, want %d", live/mib, got/mib, want/mib)
		}
	}
}
