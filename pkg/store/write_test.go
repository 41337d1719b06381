package store_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
	"aiadmin/test/pgtest"
)

// TestUsersComeBackAsWritten writes, changes and deletes a user with every field.
func TestUsersComeBackAsWritten(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	u := ann(t, "ann")
	insert(t, s, u)
	for _, ref := range []user.Ref{{ID: u.ID}, {Tag: "ann"}, {Email: "ann@x.example"}, {UserName: "ann/ann"}, {ExternalID: "e-ann"}} {
		got, err := s.Get(t.Context(), ref)
		must(t, err)
		if diff := cmp.Diff(u, got); diff != "" {
			t.Errorf("read by %v (-want +got):\n%s", ref, diff)
		}
	}
	least := &user.User{ID: user.NewID(), Tag: "l", Name: "l", Role: user.Member, Status: user.Active, Metadata: []byte("{}"), SCIM: []byte("{}"),
		Version: 1, CreatedAt: morning, UpdatedAt: morning, Models: []string{}, UserNameKey: "l"}
	insert(t, s, least)
	got, err := s.Get(t.Context(), user.Ref{ID: least.ID})
	must(t, err)
	if diff := cmp.Diff(least, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	after, err := change(t.Context(), s, u.ID, func(u *user.User) {
		u.Models, u.Email, u.EmailKey, u.Credentials, u.UpdatedAt = nil, nil, "", nil, morning.Add(time.Hour)
	}, store.Seal{Provider: "openai"})
	must(t, err)
	if got, err = s.Get(t.Context(), user.Ref{ID: u.ID}); cmp.Diff(after, got) != "" {
		t.Errorf("%v %s", err, cmp.Diff(after, got))
	}
	if _, err := s.Reveal(t.Context(), u.ID, "openai", user.AuditEntry{}); user.KindOf(err) != user.NotFound {
		t.Errorf("a dropped credential: %v", err)
	}
}

// TestDuplicates holds which unique key a refusal tells of, and that it is a conflict that changed nothing.
func TestDuplicates(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	u := ann(t, "ann")
	insert(t, s, u)
	for want, alter := range map[user.Kind]func(*user.User){
		user.DuplicateID:         func(o *user.User) { o.ID = u.ID },
		user.DuplicateTag:        func(o *user.User) { o.Tag = u.Tag },
		user.DuplicateEmail:      func(o *user.User) { o.EmailKey = u.EmailKey },
		user.DuplicateExternalID: func(o *user.User) { o.ExternalID = u.ExternalID },
		user.DuplicateUserName:   func(o *user.User) { o.UserNameKey = u.UserNameKey },
	} {
		err := insertAll(t.Context(), s, nil, ann(t, "other", alter))
		if user.KindOf(err) != want || !store.Conflict(err) || !store.RolledBack(err) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// TestClaimsAnswerAgain: a claim is taken with its change, and gives the event again; in a blind transaction
// a taken one fails.
func TestClaimsAnswerAgain(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	u := ann(t, "ann")
	must(t, insertAll(t.Context(), s, claim("1"), u))
	if err := insertAll(t.Context(), s, claim("1"), ann(t, "bob")); !store.Conflict(err) {
		t.Errorf("a taken claim: %v", err)
	}
	tx, known, err := s.Begin(t.Context(), store.Skip, &store.Wanted{Claims: []store.Claim{{}, {Claim: claim("1")}, {Claim: claim("2")}}})
	must(t, err)
	defer tx.Rollback()
	replay := known.Claims[1].Replay
	if known.Claims[0].Replay != nil || known.Claims[2].Replay != nil || replay == nil || replay.Event == nil || replay.Event.UserID != u.ID ||
		string(replay.Digest) != "digest" || len(replay.Event.Data) == 0 {
		t.Errorf("claims: %+v", known.Claims)
	}
	other, state, err := s.Begin(t.Context(), store.Skip, &store.Wanted{Claims: []store.Claim{{Claim: claim("2")}}})
	must(t, err)
	other.Rollback()
	if !state.Claims[0].Busy {
		t.Error("a claim that another transaction works on is not busy")
	}
}

// TestRacingStores has eight stores race for the same: one wins, and the others find what it did.
func TestRacingStores(t *testing.T) {
	t.Parallel()
	database := pgtest.Database(t)
	stores := make([]*store.Store, 8)
	for i := range stores {
		stores[i] = open(t, database)
	}
	u := ann(t, "raced")
	insert(t, stores[0], u)
	const rounds = 5
	var all sync.WaitGroup
	for i, s := range stores {
		all.Go(func() {
			for round := range rounds {
				if _, err := change(t.Context(), s, u.ID, func(u *user.User) { u.Name = fmt.Sprint(i, round) }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	got, err := stores[0].Get(t.Context(), user.Ref{ID: u.ID})
	if err != nil || got.Version != u.Version+int64(rounds*len(stores)) {
		t.Errorf("version %d, %v", got.Version, err)
	}
	won := make(chan bool, len(stores))
	for _, s := range stores {
		all.Go(func() { won <- insertAll(t.Context(), s, nil, ann(t, "tag")) == nil })
	}
	all.Wait()
	close(won)
	winners := 0
	for w := range won {
		if w {
			winners++
		}
	}
	if winners != 1 {
		t.Errorf("%d users were made with one tag", winners)
	}
}

// TestHeldUsersAreSkipped: a batch does not wait for a user that another session has locked, and reports
// the user.
func TestHeldUsersAreSkipped(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	held, free := ann(t, "held"), ann(t, "free")
	insert(t, s, held, free)
	lock, err := s.DB().BeginTx(t.Context(), nil)
	must(t, err)
	defer func() { _ = lock.Rollback() }()
	_, err = lock.ExecContext(t.Context(), "SELECT FROM users WHERE tag = 'held' FOR UPDATE")
	must(t, err)
	tx, known, err := s.Begin(t.Context(), store.Skip, &store.Wanted{Users: []user.Ref{{Tag: "held"}, {ID: free.ID}, {Tag: "nobody"}}})
	must(t, err)
	defer tx.Rollback()
	if len(known.Users) != 1 || known.Users[0].ID != free.ID || len(known.Held) != 1 || known.Held[0].ID != held.ID || known.Held[0].Tag != "held" {
		t.Errorf("users %v, held %v", known.Users, known.Held)
	}
}

// TestADeletionTakesWhatItCouldNotSee has a deletion wait for an update that stores a credential: when
// both are done, nothing of the user's is left.
func TestADeletionTakesWhatItCouldNotSee(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	u := ann(t, "ann", func(u *user.User) { u.Credentials = nil })
	insert(t, s, u)
	gone := make(chan error, 1)
	_, err := change(t.Context(), s, u.ID, func(u *user.User) {
		u.Credentials = []user.Credential{{Provider: "openai", KeyID: "k1", UpdatedAt: morning}}
		go func() { gone <- remove(t.Context(), s, u.ID, claim("removal")) }()
		for waits := 0; waits == 0; runtime.Gosched() {
			must(t, s.DB().QueryRowContext(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").Scan(&waits))
		}
	}, store.Seal{Provider: "openai", Sealed: "k1:late"})
	must(t, err)
	must(t, <-gone)
	var left int
	must(t, s.DB().QueryRowContext(t.Context(), "SELECT (SELECT count(*) FROM users) + (SELECT count(*) FROM credentials)").Scan(&left))
	if left != 0 {
		t.Errorf("%d rows are left", left)
	}
}
