package store_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
)

// TestHistoryOutlivesTheUser reads a user's log in pages, after its deletion too, and that
// of another who took the id's tag over.
func TestHistoryOutlivesTheUser(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	if known, err := s.Known(t.Context(), uuid.New()); known || err != nil {
		t.Errorf("nobody is known: %v", err)
	}
	u := ann(t, "ann")
	insert(t, s, u)
	_, err := change(t.Context(), s, u.ID, func(u *user.User) { u.Name = "B" })
	must(t, err)
	must(t, remove(t.Context(), s, u.ID, nil))
	insert(t, s, ann(t, "ann"))

	var types []user.EventType
	before := int64(math.MaxInt64)
	for {
		page, _, err := s.History(t.Context(), u.ID, before, 2)
		must(t, err)
		for _, e := range page {
			types, before = append(types, e.Type), e.Seq
			if e.UserID != u.ID || e.Actor != "test" || e.Cause != "req" {
				t.Errorf("%+v", e)
			}
		}
		if len(page) < 2 {
			break
		}
	}
	if diff := cmp.Diff([]user.EventType{user.Deleted, user.Updated, user.Created}, types); diff != "" {
		t.Error(diff)
	}
	if known, err := s.Known(t.Context(), u.ID); !known || err != nil {
		t.Errorf("the deleted are known: %v", err)
	}
	if _, err := s.Reveal(t.Context(), u.ID, "openai", user.AuditEntry{}); user.KindOf(err) != user.NotFound {
		t.Errorf("a deleted user's credential: %v", err)
	}
}

// TestFeedSkipsNothing holds one writer's transaction open while others commit: what came
// after it is not shown until it has ended, and then all is, in order.
func TestFeedSkipsNothing(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	u := ann(t, "early")
	insert(t, s, u)
	place := waitForFeed(t, s, user.Place{}, 1)
	inside, release := make(chan struct{}), make(chan struct{})
	ended := make(chan error)
	go func() {
		tx, err := s.DB().BeginTx(t.Context(), nil)
		if err == nil {
			_, err = tx.ExecContext(t.Context(), `INSERT INTO events (id, user_id, version, type, at, actor, cause, data, changes)
				SELECT gen_random_uuid(), id, 2, 'ai.admin.user.updated', now(), 'test', '', '{}', '[]' FROM users`)
			close(inside)
			<-release
		}
		ended <- errors.Join(err, tx.Commit())
	}()
	<-inside
	for _, tag := range []string{"x", "y", "z"} {
		insert(t, s, ann(t, tag))
	}
	if shown, _, err := s.Feed(t.Context(), place, 100); len(shown) != 0 || err != nil {
		t.Errorf("%d events are shown past one that is not committed: %v", len(shown), err)
	}
	close(release)
	must(t, <-ended)
	waitForFeed(t, s, place, 4)
	shown, _, err := s.Feed(t.Context(), place, 100)
	must(t, err)
	if shown[0].Type != user.Updated {
		t.Errorf("the one that began first is not shown first: %s", shown[0].Type)
	}
	again, _, err := s.Feed(t.Context(), shown[1].Place(), 100)
	must(t, err)
	if diff := cmp.Diff(shown[2:], again); diff != "" {
		t.Errorf("behind the second (-want +got):\n%s", diff)
	}
}

// waitForFeed waits until so many events behind a place are shown: other tests' transactions
// hold them back as well, since they share the cluster.
func waitForFeed(t *testing.T, s *store.Store, after user.Place, want int) user.Place {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		shown, _, err := s.Feed(t.Context(), after, 1000)
		must(t, err)
		if len(shown) >= want {
			return shown[len(shown)-1].Place()
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d events are shown", len(shown), want)
		}
	}
}
