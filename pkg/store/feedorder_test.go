package store_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
	"aiadmin/test/pgtest"
)

// TestFeedKeepsAUsersOrder has writers queue for one user's row: each has its transaction
// id before it gets the lock, so that ids alone would order their events wrongly.
func TestFeedKeepsAUsersOrder(t *testing.T) {
	t.Parallel()
	db, err := store.Open(store.Options{ConnString: pgtest.Database(t), MaxConnections: 12})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	u, err := user.Create{Patch: user.Patch{Tag: user.Some("raced"), Name: user.Some("R")}}.Apply(user.Stamp{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Insert(t.Context(), store.Write{User: u, Event: user.Recorded(nil, u, user.Command{})}); err != nil {
		t.Fatal(err)
	}
	const writers, rounds = 12, 10
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range rounds {
				if err := rename(t, db, u, fmt.Sprintf("w%d.%d", w, i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	// Events show once no older transaction is left, and other tests share the cluster.
	entries, _, err := db.Feed(t.Context(), user.Place{}, 1000)
	for deadline := time.Now().Add(time.Minute); err == nil && len(entries) < 1+writers*rounds; {
		if time.Now().After(deadline) {
			t.Fatalf("the feed shows %d events", len(entries))
		}
		entries, _, err = db.Feed(t.Context(), user.Place{}, 1000)
	}
	if err != nil || len(entries) != 1+writers*rounds {
		t.Fatalf("%d events, %v", len(entries), err)
	}
	for i, e := range entries {
		if e.Version != int64(i+1) {
			t.Fatalf("event %d of the feed is version %d", i, e.Version)
		}
	}
}

func rename(t *testing.T, db *store.Store, u *user.User, name string) error {
	return db.Locked(t.Context(), user.Ref{ID: u.ID}, func(l *store.Locked) error {
		after, err := user.Update{Patch: user.Patch{Name: user.Some(name)}}.Apply(l.User, user.Stamp{})
		if err != nil {
			return err
		}
		_, err = l.Update(t.Context(), store.Write{Before: l.User, User: after, Event: user.Recorded(l.User, after, user.Command{})})
		return err
	})
}
