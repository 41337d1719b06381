package admin_test

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
	"aiadmin/test/pgtest"
)

// TestBatchIsOneTransaction ends every connection of the service while a batch waits for
// a lock: nothing of it may stay, and the same batch succeeds later.
func TestBatchIsOneTransaction(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	s, db := atNoon(t, url)
	held := create(t, "held", `{"id":"00000000-0000-0000-0000-000000000009","tag":"held","name":"N"}`)
	applyAll(t, s, held)
	_, otherDB := atNoon(t, url)
	release, locked := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		err := hold(t, otherDB, user.Ref{Tag: "held"}, func() error {
			close(locked)
			<-release
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-locked
	batch := []user.Command{create(t, "1", `{"tag":"a","name":"A"}`), update(t, "2", user.Ref{Tag: "held"}, `{"name":"M"}`)}
	failed := make(chan error)
	go func() {
		_, err := s.ApplyAll(t.Context(), batch)
		failed <- err
	}()
	cut(t, otherDB)
	if err := <-failed; user.KindOf(err) != user.Unavailable {
		t.Errorf("a batch whose connection was cut says %v", err)
	}
	close(release)
	all.Wait()
	if _, err := db.Get(t.Context(), user.Ref{Tag: "a"}); user.KindOf(err) != user.NotFound {
		t.Errorf("a part of the batch was carried out: %v", err)
	}
	for i, got := range applyAll(t, s, batch...) {
		if got[:8] != "ai.admin" {
			t.Errorf("sent again, event %d is %s", i, got)
		}
	}
}

// TestOthersGoOnBesideAHeldUser holds a user's row while it and many others are changed:
// only what is about that user waits.
func TestOthersGoOnBesideAHeldUser(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	s, _ := atNoon(t, url)
	ref := user.Ref{ID: uuid.UUID{15: 1}}
	applyAll(t, s, create(t, "held", `{"id":"00000000-0000-0000-0000-000000000001","tag":"held","name":"N"}`))
	_, otherDB := atNoon(t, url)
	var held, others sync.WaitGroup
	err := hold(t, otherDB, ref, func() error {
		for n := range 240 {
			others.Go(func() {
				if _, err := s.Apply(t.Context(), create(t, fmt.Sprint("c", n), fmt.Sprintf(`{"tag":"u%d","name":"N"}`, n))); err != nil {
					t.Errorf("a creation beside it: %v", err)
				}
			})
			if n%40 != 15 { // six: fewer than there are connections, and more than lanes
				continue
			}
			held.Go(func() { // alone, or in a group
				if _, err := s.Apply(t.Context(), update(t, fmt.Sprint("u", n), ref, fmt.Sprintf(`{"metadata":{"u%d":"x"}}`, n))); err != nil {
					t.Errorf("an update of the held user: %v", err)
				}
			})
		}
		others.Wait() // for good, if they had to wait for the held user
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	held.Wait()
	if u, err := s.Get(t.Context(), ref); err != nil || u.Version != 7 {
		t.Errorf("the held user: %+v, %v", u, err)
	}
}

// TestAHeldUserStopsNobodyElse has more changes wait for a held user than there are connections:
// reads and changes of others go on beside them, and they are refused in the end.
func TestAHeldUserStopsNobodyElse(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	s, db := impatient(t, url, 5*time.Second)
	ref := user.Ref{ID: uuid.UUID{15: 1}}
	applyAll(t, s, create(t, "held", `{"id":"00000000-0000-0000-0000-000000000001","tag":"held","name":"N"}`), create(t, "free", `{"tag":"free","name":"N"}`))
	_, otherDB := atNoon(t, url)
	err := hold(t, otherDB, ref, func() error {
		var waiting sync.WaitGroup
		var refused atomic.Int64
		for n := range 40 {
			waiting.Go(func() {
				_, err := s.Apply(t.Context(), update(t, fmt.Sprint("u", n), ref, fmt.Sprintf(`{"name":"N%d"}`, n)))
				if user.KindOf(err) == user.Unavailable {
					refused.Add(1)
				}
			})
		}
		for lockWaits(t, otherDB) == 0 {
			runtime.Gosched()
		}
		for n := range 20 {
			if _, err := s.Get(t.Context(), ref); err != nil {
				t.Errorf("a read beside them: %v", err)
			}
			if _, err := s.Apply(t.Context(), update(t, fmt.Sprint("f", n), user.Ref{Tag: "free"}, fmt.Sprintf(`{"name":"N%d"}`, n))); err != nil {
				t.Errorf("a change of another user beside them: %v", err)
			}
		}
		if refused.Load() > 0 {
			t.Error("the others came only after changes had given up")
		}
		waiting.Wait()
		if refused.Load() != 40 {
			t.Errorf("%d of 40 changes of the held user were told to try again", refused.Load())
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if u, err := db.Get(t.Context(), ref); err != nil || u.Version != 1 {
		t.Errorf("the held user: %+v, %v", u, err)
	}
}

// TestReadsGoOnBesideHeldUsers has more users held than changes may take connections: reads go on, and
// changes of others too.
func TestReadsGoOnBesideHeldUsers(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	s, _ := impatient(t, url, 3*time.Second)
	var commands []user.Command
	for n := range 2 * connections {
		commands = append(commands, create(t, fmt.Sprint(n), fmt.Sprintf(`{"tag":"u%d","name":"N"}`, n)))
	}
	applyAll(t, s, commands...)
	_, otherDB := atNoon(t, url)
	tx, err := otherDB.DB().BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(t.Context(), "SELECT FROM users FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	var waiting sync.WaitGroup
	var refused atomic.Int64
	for n := range 2 * connections {
		waiting.Go(func() {
			if _, err := s.Apply(t.Context(), update(t, fmt.Sprint("u", n), user.Ref{Tag: fmt.Sprint("u", n)}, `{"name":"M"}`)); user.KindOf(err) != user.Unavailable {
				t.Errorf("a change of a held user: %v", err)
			}
			refused.Add(1)
		})
	}
	for lockWaits(t, otherDB) < (connections-2)/2 { // until no more can wait
		runtime.Gosched()
	}
	if _, err := s.List(t.Context(), user.Query{Sort: []user.SortKey{{Field: "tag"}}, Limit: 1}); err != nil {
		t.Errorf("a read beside them: %v", err)
	}
	if refused.Load() > 0 {
		t.Error("the read came only after changes had given up")
	}
	if _, err := s.Apply(t.Context(), create(t, "beside", `{"tag":"beside","name":"N"}`)); err != nil {
		t.Errorf("a change beside them: %v", err)
	}
	waiting.Wait()
}

// lockWaits counts the sessions that wait for a lock.
func lockWaits(t *testing.T, db *store.Store) (waiting int) {
	t.Helper()
	err := db.DB().NewRaw(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(t.Context(), &waiting)
	if err != nil {
		t.Fatal(err)
	}
	return waiting
}

// TestABatchWaitsForAHeldUser, however small it is: it cannot be taken apart.
func TestABatchWaitsForAHeldUser(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	s, _ := atNoon(t, url)
	applyAll(t, s, create(t, "1", `{"tag":"held","name":"N"}`))
	_, otherDB := atNoon(t, url)
	var batch sync.WaitGroup
	err := hold(t, otherDB, user.Ref{Tag: "held"}, func() error {
		batch.Go(func() {
			results, err := s.ApplyAll(t.Context(), []user.Command{update(t, "2", user.Ref{Tag: "held"}, `{"name":"M"}`), create(t, "3", `{"tag":"b","name":"B"}`)})
			if err != nil || results[0].Err != nil || results[1].Err != nil {
				t.Errorf("%v: %v", results, err)
			}
		})
		time.Sleep(400 * time.Millisecond) // twice as long as a group would wait
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	batch.Wait()
}

// cut ends the connection that waits for a row's lock.
func cut(t *testing.T, db *store.Store) {
	t.Helper()
	for ctx := t.Context(); ctx.Err() == nil; {
		var ended int
		err := db.DB().NewRaw(`SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%FOR UPDATE%'`).Scan(ctx, &ended)
		if err != nil {
			t.Fatal(err)
		}
		if ended > 0 {
			return
		}
	}
}

// TestFeedOrderOfAUserMadeAgain deletes a user while a batch that makes it again, and has its
// transaction id already, waits for another user's row: the feed must tell of the deletion first.
func TestFeedOrderOfAUserMadeAgain(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	s, db := atNoon(t, url)
	_, holder := atNoon(t, url)
	const id = "00000000-0000-0000-0000-000000000001"
	applyAll(t, s, create(t, "0", `{"tag":"first-held","name":"N"}`), create(t, "1", `{"id":"`+id+`","tag":"first","name":"N"}`))
	var batch sync.WaitGroup
	err := hold(t, holder, user.Ref{Tag: "first-held"}, func() error {
		batch.Go(func() {
			applyAll(t, s, update(t, "2", user.Ref{Tag: "first-held"}, `{"name":"M"}`), create(t, "3", `{"id":"`+id+`","tag":"second","name":"N"}`))
		})
		for lockWaits(t, db) == 0 {
			runtime.Gosched()
		}
		_, err := s.Apply(t.Context(), remove("4", user.Ref{ID: uuid.UUID{15: 1}}))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	batch.Wait()
	var told []string
	if err := db.DB().NewRaw(`SELECT type || version FROM events WHERE user_id = ? ORDER BY xid, seq`, id).Scan(t.Context(), &told); err != nil {
		t.Fatal(err)
	}
	want := []string{"ai.admin.user.created1", "ai.admin.user.deleted2", "ai.admin.user.created3"}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("the feed (-want +got):\n%s", diff)
	}
}
