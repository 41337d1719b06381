package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
	"aiadmin/test/pgtest"
)

// TestReadsTogetherSeeWhatWasWritten races readers that have just written: each must read
// its own user as it was last acknowledged, whatever statement its read goes along with.
func TestReadsTogetherSeeWhatWasWritten(t *testing.T) {
	t.Parallel()
	db, err := store.Open(store.Options{ConnString: pgtest.Database(t), MaxConnections: 8})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	const readers, rounds = 32, 10
	var all sync.WaitGroup
	for r := range readers {
		all.Go(func() {
			if err := writeAndRead(t.Context(), db, fmt.Sprintf("reader-%d", r), rounds); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func writeAndRead(ctx context.Context, db *store.Store, tag string, rounds int) error {
	u, err := user.Create{Patch: user.Patch{Tag: user.Some(tag), Name: user.Some("R")}}.Apply(0, user.Stamp{})
	if err != nil {
		return err
	}
	if err := insertAll(ctx, db, nil, u); err != nil {
		return err
	}
	for i := range rounds {
		after, err := change(ctx, db, u.ID, func(u *user.User) { u.Name = fmt.Sprintf("%s.%d", tag, i) })
		if err != nil {
			return err
		}
		if u, err = db.Get(ctx, user.Ref{ID: u.ID}); err != nil {
			return err
		}
		if u.Name != after.Name || u.Version != after.Version {
			return fmt.Errorf("%s: read %s at version %d after %s at version %d was written", tag, u.Name, u.Version, after.Name, after.Version)
		}
		if _, err := db.Get(ctx, user.Ref{ID: user.NewID()}); user.KindOf(err) != user.NotFound {
			return fmt.Errorf("an unknown user: %w", err)
		}
	}
	return nil
}

// TestReadEndsWithItsContext asks while all lanes are taken by reads of a locked table.
func TestReadEndsWithItsContext(t *testing.T) {
	t.Parallel()
	db, err := store.Open(store.Options{ConnString: pgtest.Database(t), MaxConnections: 8})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	lock, err := db.DB().BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock.ExecContext(t.Context(), "LOCK TABLE users IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	for range 20 {
		go func() {
			_, err := db.Get(ctx, user.Ref{ID: user.NewID()})
			ended <- err
		}()
	}
	cancel()
	for range 20 {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("a read whose context ended: %v", err)
		}
	}
	if err := lock.Rollback(); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Get(t.Context(), user.Ref{ID: user.NewID()}); user.KindOf(err) != user.NotFound {
		t.Errorf("a read after that: %v", err)
	}
}

// TestReadsArePlannedOnce holds that PostgreSQL keeps the plans of reads of one user and of several.
func TestReadsArePlannedOnce(t *testing.T) {
	t.Parallel()
	s := openOne(t, pgtest.Database(t))
	for round := range 100 {
		var all sync.WaitGroup
		for range round % 12 {
			all.Go(func() {
				if _, err := s.Get(t.Context(), user.Ref{ID: user.NewID()}); user.KindOf(err) != user.NotFound {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	rows, err := s.DB().QueryContext(t.Context(), "SELECT statement, generic_plans, custom_plans FROM pg_prepared_statements WHERE statement LIKE '%\"id\" IN (%'")
	must(t, err)
	defer func() { _ = rows.Close() }()
	read := 0
	for rows.Next() {
		var statement string
		var generic, custom int
		must(t, rows.Scan(&statement, &generic, &custom))
		read += generic + custom
		if custom > 5 { // PostgreSQL tries that many before it compares
			t.Errorf("planned %d times, and %d times not: %s", custom, generic, statement)
		}
	}
	must(t, rows.Err())
	if read < 100 {
		t.Errorf("%d reads are known to PostgreSQL", read)
	}
}
