package store_test

import (
	"sync"
	"testing"

	"github.com/uptrace/bun/migrate"

	"aiadmin/pkg/pgtest"
	"aiadmin/pkg/store"
)

// TestEightCopiesMigrateAtOnce starts on an empty database as a rollout's copies do: all
// come up, and each migration is applied by one of them.
func TestEightCopiesMigrateAtOnce(t *testing.T) {
	t.Parallel()
	db := pgtest.Empty(t)
	var (
		mu      sync.Mutex
		applied []string
		all     sync.WaitGroup
	)
	begin := make(chan struct{})
	for range 8 {
		// One connection: migrating must not need a second while it holds the first.
		s, err := store.Open(store.Options{ConnString: db, MaxConnections: 1})
		must(t, err)
		t.Cleanup(func() { _ = s.Close() })
		all.Go(func() {
			<-begin
			names, err := s.Migrate(t.Context())
			if err != nil {
				t.Error(err)
			}
			if err := s.Ping(t.Context()); err != nil {
				t.Error("not ready after migrating:", err)
			}
			mu.Lock()
			applied = append(applied, names...)
			mu.Unlock()
		})
	}
	close(begin)
	all.Wait()
	if want := len(store.Migrations().Sorted()); len(applied) != want {
		t.Errorf("applied %q, want each of %d migrations once", applied, want)
	}
}

// TestMigrationsGoDownAndUpAgain: what goes down leaves nothing behind that stands in the
// way of going up.
func TestMigrationsGoDownAndUpAgain(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Empty(t))
	for range 2 {
		_, err := s.Migrate(t.Context())
		must(t, err)
		m := migrate.NewMigrator(s.DB(), store.Migrations())
		for range store.Migrations().Sorted() {
			_, err := m.Rollback(t.Context())
			must(t, err)
		}
		var left int
		must(t, s.DB().QueryRowContext(t.Context(), `SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname NOT LIKE 'bun_%'`).Scan(&left))
		var functions int
		must(t, s.DB().QueryRowContext(t.Context(), `SELECT count(*) FROM pg_proc p WHERE pronamespace = 'public'::regnamespace
			AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')`).Scan(&functions))
		if left != 0 || functions != 0 {
			t.Errorf("%d relations and %d functions are left", left, functions)
		}
		if err := s.Ping(t.Context()); err == nil {
			t.Error("ready without a schema")
		}
	}
}

// TestPingTellsWhatIsMissing: an operator reads which migration to run.
func TestPingTellsWhatIsMissing(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Empty(t))
	if err := s.Ping(t.Context()); err == nil {
		t.Fatal("an empty database is ready")
	} else if got := err.Error(); got != `the database is at migration "", this version needs "20261122000001": run ai-admin migrate` {
		t.Error(got)
	}
}
