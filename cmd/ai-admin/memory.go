package main

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// The service itself needs a few MiB: collecting whenever they have doubled took a tenth of
// its time. So garbage may grow to several times that, up to a limit that keeps 500 requests
// at once for lists of 500 under 100 MiB. GOGC, where it is set, says otherwise; GOMEMLIMIT
// is the highest that the limit gets.
const (
	garbagePercent = 300
	memoryLimit    = 60 << 20
	comfortable    = 38 << 20
)

// tuneCollector sets both and has the limit follow what is in use, until stop is called.
func tuneCollector() (stop func()) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
	highest := debug.SetMemoryLimit(-1) // which changes nothing
	debug.SetMemoryLimit(min(memoryLimit, highest))
	done := make(chan struct{})
	go followUse(done, highest)
	return func() { close(done) }
}

const useLookedAt = 200 * time.Millisecond

// followUse raises the limit while more is in use than collecting can give back, such as
// the buffers of thousands of connections: under a limit that it cannot keep, Go does
// little but collect. Once nothing more is asked for, it gives back what was kept for more.
func followUse(done <-chan struct{}, highest int64) {
	tick := time.NewTicker(useLookedAt)
	defer tick.Stop()
	var rest rest
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			now := memoryNow()
			debug.SetMemoryLimit(min(limitFor(now.live), highest))
			if rest.begins(now) {
				debug.FreeOSMemory()
				rest.since = memoryNow().collections
			}
		}
	}
}

// limitFor is the limit when so much is in use: past comfortable, six times what is
// added, so that with much in use garbagePercent ends garbage's growth by itself.
func limitFor(live int64) int64 {
	return memoryLimit + 6*max(0, live-comfortable)
}

// memory is what Go has of it, in bytes.
type memory struct {
	live        int64 // in use after the last collection
	kept        int64 // had from the system
	collections int64 // so far
}

func memoryNow() memory {
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"}, {Name: "/gc/cycles/total:gc-cycles"}}
	metrics.Read(samples)
	value := func(i int) int64 { return int64(samples[i].Value.Uint64()) } //nolint:gosec // none is that large
	return memory{live: value(0), kept: value(1) - value(2), collections: value(3)}
}

// rest tells when much memory is kept although no collection was needed for a while:
// there will be none that gives it back.
type rest struct {
	since int64 // the collection after which it was quiet
	looks int   // since then
}

// quietLooks are two seconds.
const quietLooks = 10

// begins is true once when a rest does.
func (r *rest) begins(now memory) bool {
	if now.collections != r.since {
		*r = rest{since: now.collections}
	}
	r.looks++
	return r.looks == quietLooks && now.kept > memoryLimit
}
