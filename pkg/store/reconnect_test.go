package store_test

import (
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"aiadmin/pkg/user"
	"aiadmin/test/pgtest"
)

// TestReconnectRetiresOldConnections changes the database user under load, again and again:
// no query fails, and soon no connection of an earlier user is left.
func TestReconnectRetiresOldConnections(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	s := open(t, db)
	u := ann(t, "ann")
	insert(t, s, u)
	base, err := url.Parse(db)
	must(t, err)
	var accounts []string
	for i := range 3 {
		name := fmt.Sprintf("%s_%d", base.Path[1:], i)
		must(t, pgtest.Exec(t.Context(), db, "CREATE ROLE "+name+" LOGIN SUPERUSER PASSWORD 'p'"))
		t.Cleanup(func() { _ = pgtest.Exec(t.Context(), db, "DROP ROLE "+name) })
		accounts = append(accounts, name)
	}
	var (
		all     sync.WaitGroup
		done    atomic.Bool
		queries atomic.Int64
	)
	for i := range 6 {
		all.Go(func() {
			for !done.Load() {
				var err error
				if i%2 == 0 {
					_, err = s.Get(t.Context(), user.Ref{ID: u.ID})
				} else {
					_, err = s.List(t.Context(), parse(t, "role=viewer"))
				}
				if err != nil {
					t.Error(err)
					return
				}
				queries.Add(1)
			}
		})
	}
	current := ""
	for round := range 12 {
		current = accounts[round%len(accounts)]
		change := *base
		change.User = url.UserPassword(current, "p")
		must(t, s.Reconnect(t.Context(), change.String()))
		for seen := queries.Load(); queries.Load() < seen+20 && !t.Failed(); {
			time.Sleep(time.Millisecond)
		}
	}
	done.Store(true)
	all.Wait()
	// An idle connection of an earlier user is closed at its next use.
	for range 12 {
		var who string
		must(t, s.DB().QueryRowContext(t.Context(), "SELECT current_user").Scan(&who))
		if who != current {
			t.Errorf("a statement runs as %s", who)
		}
	}
	if err := s.Reconnect(t.Context(), "postgres://\x00"); err == nil {
		t.Error("rubbish is taken for settings")
	}
}
