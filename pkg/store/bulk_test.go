package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
	"aiadmin/test/pgtest"
)

// TestBulkChangesAllOrNothing deletes two users of which one does not exist: no count comes
// back before the end, so the database itself must refuse.
func TestBulkChangesAllOrNothing(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	u := ann(t, "here")
	insert(t, s, u)
	for name, group := range map[string]store.Group{
		"deletion": {Delete: []uuid.UUID{u.ID, user.NewID()}},
		"update":   {Update: []*user.User{u, {ID: user.NewID(), Tag: "gone", Metadata: []byte("{}")}}},
	} {
		err := s.Bulk(t.Context(), 2, time.Second, store.Wanted{IDs: []uuid.UUID{u.ID}}, func(b *store.Bulk, known store.Known) error {
			if len(known.Users) != 1 {
				t.Errorf("%s: %d users are known, want 1", name, len(known.Users))
			}
			return b.Finish(t.Context(), group, nil)
		})
		if user.KindOf(err) != user.Internal {
			t.Errorf("%s of a user that is not there: %v", name, err)
		}
		if found, err := s.Get(t.Context(), user.Ref{ID: u.ID}); err != nil || found.Tag != "here" {
			t.Errorf("after a failed %s: %+v, %v", name, found, err)
		}
	}
}

// TestBulkGivesItsConnectionBack ends bulks in every way there is on the one connection of
// a pool, which has to be fit for use after each.
func TestBulkGivesItsConnectionBack(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	s, beside := openOne(t, url), open(t, url)
	u := ann(t, "here")
	insert(t, s, u)
	wanted := store.Wanted{IDs: []uuid.UUID{u.ID}}
	planted := errors.New("planted")
	for name, end := range map[string]func(context.Context, *store.Bulk) error{
		"an error":  func(context.Context, *store.Bulk) error { return planted },
		"a panic":   func(context.Context, *store.Bulk) error { panic(planted) },
		"no finish": func(context.Context, *store.Bulk) error { return nil },
		"a bad statement": func(ctx context.Context, b *store.Bulk) error {
			return b.Write(ctx, store.Group{Delete: []uuid.UUID{user.NewID()}})
		},
		"an ended context": func(_ context.Context, b *store.Bulk) error {
			ended, cancel := context.WithCancel(t.Context())
			cancel()
			return b.Write(ended, store.Group{Delete: []uuid.UUID{u.ID}})
		},
	} {
		func() {
			defer func() { _ = recover() }()
			_ = s.Bulk(t.Context(), 1, time.Second, wanted, func(b *store.Bulk, _ store.Known) error { return end(t.Context(), b) })
		}()
		if n := idleInTransaction(t, beside); n != 0 {
			t.Errorf("after %s a connection waits within its transaction", name)
		}
		if found, err := s.Get(t.Context(), user.Ref{ID: u.ID}); err != nil || found.Tag != "here" {
			t.Errorf("after %s: %+v, %v", name, found, err)
		}
	}
}

func idleInTransaction(t *testing.T, s *store.Store) (n int) {
	t.Helper()
	must(t, s.DB().NewRaw("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'").Scan(t.Context(), &n))
	return n
}
