package faults

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"aiadmin/test/pgtest"
)

// before is the revision that is upgraded from, and rolled back to, with the last migration that it knows.
const (
	before          = "784a6aa"
	beforeMigration = "20261123000004"
)

// TestUpgrade has the revision from before write data, takes its schema back to each migration that was ever
// released, and upgrades from there: this revision migrates while its clients are at work, and everything from
// before is there, its unsent events included.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Cluster(t)
	admin := cluster.URL("postgres")
	must(t, pgtest.Exec(t.Context(), admin, "CREATE DATABASE released"))
	known := writtenBefore(t, oldBinary(t), cluster.URL("released"))
	for _, state := range released(t) {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			name := "at_" + state
			must(t, pgtest.Exec(t.Context(), admin, "CREATE DATABASE "+name+" TEMPLATE released"))
			url := cluster.URL(name)
			takeBack(t, url, state)
			sink := newSink(t)
			m := layMounts(t, url, "{maxBackoff: 300ms}")
			s := newService(t, m, sink.url())
			l := newLoad(t, m, s.url)
			l.name = "new-"
			l.asked, l.acked, l.users = maps.Clone(known.asked), maps.Clone(known.acked), maps.Clone(known.users)
			s.start()
			ctx, stop := context.WithTimeout(t.Context(), 3*time.Second)
			defer stop()
			l.begin(ctx, 2)
			l.running.Wait()
			waiting, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			s.awaitReady(waiting)
			awaitDrained(waiting, t, l.client, s.url)
			check(t, l, s.url, sink)
			if code := s.stop(); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

// TestRollBack has the revision from before and this one take turns on one database under load, as a rollout and
// its roll-back do. Migrations go forward alone.
func TestRollBack(t *testing.T) {
	t.Parallel()
	old := oldBinary(t)
	cluster := pgtest.Cluster(t)
	sink := newSink(t)
	m := layMounts(t, cluster.URL("postgres"), "{maxBackoff: 300ms}")
	was, is := newService(t, m, sink.url()), newService(t, m, sink.url())
	was.binary = old
	ready := func(s *service) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		s.start()
		s.awaitReady(ctx)
	}
	stopped := func(s *service) {
		if code := s.stop(); code != 0 {
			t.Errorf("exit code %d", code)
		}
	}
	ready(was)
	l := newLoad(t, m, was.url, is.url)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	l.begin(ctx, 3)
	for range 2 { // upgrade, and roll back
		time.Sleep(time.Second)
		ready(is)
		time.Sleep(time.Second)
		stopped(was)
		time.Sleep(time.Second)
		ready(was)
		stopped(is)
	}
	time.Sleep(time.Second)
	ready(is)
	stopped(was)
	stop()
	l.running.Wait()
	waiting, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	awaitDrained(waiting, t, l.client, is.url)
	check(t, l, is.url, sink)
	stopped(is)
}

// writtenBefore has the old revision make and change users, with a sink that nobody listens at.
func writtenBefore(t *testing.T, old, url string) *load {
	t.Helper()
	m := layMounts(t, url, "{maxBackoff: 300ms}")
	s := newService(t, m, fmt.Sprintf("http://127.0.0.1:%d/", freePort(t)))
	s.binary = old
	s.start()
	waiting, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s.awaitReady(waiting)
	l := newLoad(t, m, s.url)
	ctx, stop := context.WithTimeout(t.Context(), time.Second)
	defer stop()
	l.begin(ctx, 3)
	l.running.Wait()
	if code := s.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	return l
}

// oldBinary builds the revision from before out of the repository's history.
func oldBinary(t *testing.T) string {
	t.Helper()
	oldOnce.Do(func() {
		if exec.Command("git", "cat-file", "-e", before+"^{commit}").Run() != nil {
			return // a copy without history
		}
		dir := filepath.Join(filepath.Dir(binary), "before")
		script := `mkdir "$1" && git -C "$(git rev-parse --show-toplevel)" archive "$2" | tar -x -C "$1" && cd "$1" && go build -buildvcs=false -o ai-admin ./cmd/ai-admin`
		out, err := exec.Command("sh", "-c", script, "sh", dir, before).CombinedOutput()
		if err != nil {
			oldErr = fmt.Errorf("building %s: %w: %s", before, err, out)
			return
		}
		oldProgram = filepath.Join(dir, "ai-admin")
	})
	must(t, oldErr)
	if oldProgram == "" {
		t.Skipf("the repository's history, and with it revision %s, is not here", before)
	}
	return oldProgram
}

const migrationFolder = "../../pkg/store/migrations/"

// released are the migrations that the revision from before had.
func released(t *testing.T) (states []string) {
	t.Helper()
	files, err := filepath.Glob(migrationFolder + "*.up.sql")
	must(t, err)
	for _, file := range files {
		if state, _, _ := strings.Cut(filepath.Base(file), "_"); state <= beforeMigration {
			states = append(states, state)
		}
	}
	if len(states) < 5 {
		t.Fatalf("only %q were released", states)
	}
	return states
}

// takeBack undoes the migrations after a state, newest first.
func takeBack(t *testing.T, url, state string) {
	t.Helper()
	for _, later := range slices.Backward(released(t)) {
		if later <= state {
			return
		}
		files, err := filepath.Glob(migrationFolder + later + "_*.down.sql")
		must(t, err)
		text, err := os.ReadFile(files[0])
		must(t, err)
		for statement := range strings.SplitSeq(string(text), "--bun:split") {
			must(t, pgtest.Exec(t.Context(), url, statement))
		}
		must(t, pgtest.Exec(t.Context(), url, "DELETE FROM bun_migrations WHERE name = '"+later+"'"))
	}
}
