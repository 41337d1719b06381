package faults

import (
	"context"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"aiadmin/pkg/postgres"
	"aiadmin/test/pgtest"
)

// world is all that can fail.
type world struct {
	t       testing.TB
	cluster *postgres.Cluster
	sink    *sink
	copies  [2]*service
	load    *load
}

const (
	patience = 60 * time.Second
	workers  = 6
)

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, cluster: pgtest.Cluster(t), sink: newSink(t)}
	m := layMounts(t, w.cluster.URL("postgres"), "{maxAttempts: 4, maxBackoff: 300ms}")
	var urls []string
	for i := range w.copies {
		w.copies[i] = newService(t, m, w.sink.url())
		w.copies[i].start()
		urls = append(urls, w.copies[i].url)
	}
	w.load = newLoad(t, m, urls...)
	for _, s := range w.copies {
		w.ready(s)
	}
	return w
}

func (w *world) ready(s *service) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	s.awaitReady(ctx)
}

// fault is something that goes wrong and, when it returns, is well again.
type fault struct {
	name string
	does func(*world)
}

func (w *world) lasting(least time.Duration) {
	time.Sleep(least + rand.N(least))
}

var faults = append(sinkFaults(), []fault{
	{"kill one copy", func(w *world) {
		s := w.copies[rand.IntN(len(w.copies))]
		s.kill()
		w.lasting(200 * time.Millisecond)
		s.start()
		w.ready(s)
	}},
	{"kill both copies", func(w *world) {
		for _, s := range w.copies {
			s.kill()
		}
		for _, s := range w.copies {
			s.start()
		}
		for _, s := range w.copies {
			w.ready(s)
		}
	}},
	{"restart a copy", func(w *world) {
		s := w.copies[rand.IntN(len(w.copies))]
		if code := s.stop(); code != 0 {
			w.t.Errorf("exit code %d", code)
		}
		s.start()
		w.ready(s)
	}},
	{"crash PostgreSQL", func(w *world) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		must(w.t, w.cluster.StopImmediate(ctx))
		w.lasting(200 * time.Millisecond)
		must(w.t, w.cluster.Start(ctx))
		for _, s := range w.copies {
			w.ready(s)
		}
	}},
}...)

func sinkFaults() []fault {
	var list []fault
	for _, m := range moods {
		list = append(list, fault{"sink is " + m.name, func(w *world) {
			w.sink.become(w.t, m)
			w.lasting(500 * time.Millisecond)
			w.sink.become(w.t, well)
		}})
	}
	return list
}

// happen lets a fault happen while the load goes on, and then a moment pass.
func (w *world) happen(f fault) {
	before := w.load.changes.Load()
	began := time.Now()
	f.does(w)
	w.lasting(200 * time.Millisecond)
	w.t.Logf("%s: %d changes in %v", f.name, w.load.changes.Load()-before, time.Since(began).Round(time.Millisecond))
}

// finish ends the load, waits until all is sent, and checks everything.
func (w *world) finish(stop context.CancelFunc) {
	w.t.Helper()
	stop()
	w.load.running.Wait()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	awaitDrained(ctx, w.t, w.load.client, w.copies[0].url)
	check(w.t, w.load, w.copies[1].url, w.sink)
	if w.load.changes.Load() < 200 {
		w.t.Errorf("only %d changes were made: the test says little", w.load.changes.Load())
	}
	for _, s := range w.copies {
		if code := s.stop(); code != 0 {
			w.t.Errorf("exit code %d", code)
		}
	}
}

// TestFaults lets every fault happen once, or random ones for as long as AI_ADMIN_SOAK says.
func TestFaults(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	w.load.begin(ctx, workers)
	time.Sleep(500 * time.Millisecond)
	for _, i := range rand.Perm(len(faults)) {
		w.happen(faults[i])
	}
	for end := time.Now().Add(soak(t)); time.Now().Before(end) && !t.Failed(); {
		w.happen(faults[rand.IntN(len(faults))])
	}
	w.finish(stop)
}

func soak(t testing.TB) time.Duration {
	text := os.Getenv("AI_ADMIN_SOAK")
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	must(t, err)
	return d
}

// A sink that refuses one user's events for good holds up that user alone, and the
// command has them sent again.
func TestSinkRefusesOneUser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	maker := &worker{load: w.load, name: "refused"}
	refused := maker.create(ctx)
	refuses := mood{name: "refusing one user", answer: func(_ http.ResponseWriter, d delivery) int {
		if d.subject == refused {
			return 400
		}
		return 202
	}}
	w.sink.become(t, refuses)
	maker.mine = []string{refused}
	for range 3 {
		maker.put(ctx)
	}
	w.load.begin(ctx, 2)
	time.Sleep(3 * time.Second)
	if out := w.command("resend", "--dry-run"); !strings.Contains(out, refused) || !strings.Contains(out, "parked events: 1") {
		t.Errorf("resend --dry-run: %s", out)
	}
	w.sink.become(t, well)
	if out := w.command("resend", "--user", refused); !strings.Contains(out, "will be sent again: 1") {
		t.Errorf("resend: %s", out)
	}
	w.finish(stop)
}

// command runs a command of the same binary on the same mounts.
func (w *world) command(args ...string) string {
	w.t.Helper()
	out, err := exec.Command(binary, append(args, "--mounts", w.copies[0].mounts)...).CombinedOutput()
	if err != nil {
		w.t.Errorf("%v: %v\n%s", args, err, out)
	}
	return string(out)
}
