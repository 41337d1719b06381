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
	u := ann(t, "raced")
	insert(t, db, u)
	const writers, rounds = 12, 10
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range rounds {
				if _, err := change(t.Context(), db, u.ID, func(u *user.User) { u.Name = fmt.Sprintf("w%d.%d", w, i) }); err != nil {
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
