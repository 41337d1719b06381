package main

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// The service itself needs a few MiB: collecting whenever they have doubled took a tenth of
// its time. So garbage may grow to several times that, up to a limit that keeps 500 requests
// at once for lists of 500 under 100 MiB. GOGC and GOMEMLIMIT, where they are set, say otherwise.
const (
	garbagePercent = 300
	memoryLimit    = 60 << 20
)

// tuneCollector sets both and has the limit follow what is in use, until stop is called.
func tuneCollector() (stop func()) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
	if os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	debug.SetMemoryLimit(memoryLimit)
	done := make(chan struct{})
	go followUse(done)
	return func() { close(done) }
}

const useLookedAt = 200 * time.Millisecond

// followUse raises the limit while more is in use than collecting can give back, such as
// the buffers of thousands of connections: under a limit that it cannot keep, Go does
// little but collect.
func followUse(done <-chan struct{}) {
	tick := time.NewTicker(useLookedAt)
	defer tick.Stop()
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			metrics.Read(live)
			debug.SetMemoryLimit(limitFor(int64(live[0].Value.Uint64()))) //nolint:gosec // no heap has so many bytes
		}
	}
}

// limitFor is the limit when so much is in use: with half of it taken, four times that,
// where garbagePercent ends garbage's growth by itself.
func limitFor(live int64) int64 {
	if live < memoryLimit/2 {
		return memoryLimit
	}
	return 4 * live
}
