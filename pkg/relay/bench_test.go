package relay

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
)

// BenchmarkThroughput sends a backlog to a sink that answers in 1 ms.
func BenchmarkThroughput(b *testing.B) {
	s := openStore(b)
	sink := newTestSink(b, func(http.ResponseWriter, received) int { time.Sleep(time.Millisecond); return 202 })
	const users = 1000
	versions := b.N/users + 1
	commitMany(b, s, newUsers(users), versions)
	b.ResetTimer()
	_, stop := start(b, Options{Store: s, Sink: sink.URL})
	for unsent(b, s) > 0 {
		time.Sleep(50 * time.Millisecond)
	}
	b.StopTimer()
	b.ReportMetric(float64(users*versions)/b.Elapsed().Seconds(), "events/s")
	stop()
}

// BenchmarkIdleLatency is the time from a commit to the sink while nothing else happens.
func BenchmarkIdleLatency(b *testing.B) {
	s := openStore(b)
	seen := make(chan time.Time, 1)
	sink := newTestSink(b, func(http.ResponseWriter, received) int { seen <- time.Now(); return 202 })
	x, stop := start(b, Options{Store: s, Sink: sink.URL})
	var took []time.Duration
	for range b.N {
		time.Sleep(7 * time.Millisecond)
		commit(b, s, uuid.New(), 1)
		committed := time.Now()
		x.Wake()
		took = append(took, (<-seen).Sub(committed))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "µs-median")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "µs-p99")
	stop()
}

// BenchmarkOneUser sends one user's backlog, one event after the other, to a sink that
// answers at once.
func BenchmarkOneUser(b *testing.B) {
	s, sink := openStore(b), newTestSink(b, nil)
	commitMany(b, s, newUsers(1), b.N)
	b.ResetTimer()
	_, stop := start(b, Options{Store: s, Sink: sink.URL})
	for unsent(b, s) > 0 {
		time.Sleep(10 * time.Millisecond)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	stop()
}
