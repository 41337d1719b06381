package store_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
	"aiadmin/test/pgtest"
)

var morning = time.Date(2026, 1, 31, 8, 0, 0, 123456000, time.UTC)

// ann is a user with every field, under a tag.
func ann(t testing.TB, tag string, change ...func(*user.User)) *user.User {
	t.Helper()
	create, err := user.ParseCreate([]byte(`{"tag":"` + tag + `","name":"Ann Ä","email":"` + tag + `@X.example","role":"viewer","status":"suspended",
		"models":["gpt-5*","a,b","\"q\"",""],"limits":{"requestsPerMinute":5,"tokensPerMinute":6,"monthlyBudgetUSD":7.25},
		"credentials":{"openai":"sk-1234567890"},"metadata":{"team":"a","x":{"n":1.50}},"externalId":"e-` + tag + `"}`))
	must(t, err)
	u, err := create.Apply(user.Stamp{Now: morning, KeyID: "k1"})
	must(t, err)
	for _, f := range change {
		f(u)
	}
	return u
}

func creation(u *user.User) store.Write {
	return store.Write{User: u, Event: user.Recorded(nil, u, user.Command{Actor: "test", Cause: "req"}),
		Sealed: map[string]string{"openai": "k1:sealed"}, Expires: time.Now().Add(time.Hour)}
}

func revision(before *user.User, change func(*user.User)) store.Write {
	after := *before
	change(&after)
	after.Version++
	return store.Write{Before: before, User: &after, Event: user.Recorded(before, &after, user.Command{Actor: "test", Cause: "req"}), Expires: time.Now().Add(time.Hour)}
}

func removal(u *user.User) *store.Removal {
	return &store.Removal{ID: u.ID, Expires: time.Now().Add(time.Hour),
		Event: user.Event{ID: user.NewID(), Type: user.Deleted, UserID: u.ID, At: morning, Actor: "test", Cause: "req", Changes: []byte("[]")}}
}

func claim(id string) *user.Claim {
	return &user.Claim{Kind: user.EventClaim, Scope: "test", ID: id, Digest: []byte("digest")}
}

func insert(t testing.TB, s *store.Store, u *user.User) {
	t.Helper()
	outcome, err := s.Insert(t.Context(), creation(u))
	expect(t, store.Done, outcome, err)
}

func expect(t testing.TB, want, got store.Outcome, err error) {
	t.Helper()
	must(t, err)
	if got != want {
		t.Fatalf("outcome %d, want %d", got, want)
	}
}

// TestUsersComeBackAsWritten writes, changes and deletes a user with every field.
func TestUsersComeBackAsWritten(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	u := ann(t, "ann")
	insert(t, s, u)
	for _, ref := range []user.Ref{{ID: u.ID}, {Tag: "ann"}} {
		got, err := s.Get(t.Context(), ref)
		must(t, err)
		if diff := cmp.Diff(u, got); diff != "" {
			t.Errorf("read by %v (-want +got):\n%s", ref, diff)
		}
	}
	least := &user.User{ID: user.NewID(), Tag: "l", Name: "l", Role: user.Member, Status: user.Active, Metadata: []byte("{}"), Version: 1, CreatedAt: morning, UpdatedAt: morning, Models: []string{}}
	insert(t, s, least)
	got, err := s.Get(t.Context(), user.Ref{ID: least.ID})
	must(t, err)
	if diff := cmp.Diff(least, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	write := revision(u, func(u *user.User) {
		u.Models, u.Email, u.Credentials, u.UpdatedAt = nil, nil, nil, morning.Add(time.Hour)
	})
	write.Dropped = []string{"openai"}
	outcome, err := s.Update(t.Context(), write)
	expect(t, store.Done, outcome, err)
	if got, err = s.Get(t.Context(), user.Ref{ID: u.ID}); cmp.Diff(write.User, got) != "" {
		t.Errorf("%v %s", err, cmp.Diff(write.User, got))
	}
	if _, err := s.Sealed(t.Context(), u.ID, "openai"); user.KindOf(err) != user.NotFound {
		t.Errorf("a dropped credential: %v", err)
	}
}

// TestOutcomes goes through what a mutation can come to, with a claim and without.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	for _, claimed := range []bool{false, true} {
		t.Run(fmt.Sprintf("claimed %v", claimed), func(t *testing.T) {
			t.Parallel()
			n, tag := 0, fmt.Sprintf("ann%v", claimed)
			missed := store.Missed
			if claimed {
				missed = store.Claimed // which tells the caller to look for the answer
			}
			next := func() *user.Claim {
				if n++; claimed {
					return claim(fmt.Sprint(tag, n))
				}
				return nil
			}
			u := ann(t, tag)
			write := creation(u)
			write.Claim = next()
			outcome, err := s.Insert(t.Context(), write)
			expect(t, store.Done, outcome, err)

			stale := *u
			stale.Version = 7
			write = revision(&stale, func(u *user.User) { u.Name = "B" })
			write.Claim = next()
			outcome, err = s.Update(t.Context(), write)
			expect(t, missed, outcome, err)

			resealed := *u
			resealed.Credentials = nil
			write = revision(&resealed, func(u *user.User) { u.Name = "B" })
			write.Claim = next()
			outcome, err = s.Update(t.Context(), write) // the credentials are not those that were read
			expect(t, missed, outcome, err)

			earlier := *u
			earlier.CreatedAt = u.CreatedAt.Add(-time.Microsecond)
			write = revision(&earlier, func(u *user.User) { u.Name = "B" })
			write.Claim = next()
			outcome, err = s.Update(t.Context(), write) // it is not the user that was read, but one made again
			expect(t, missed, outcome, err)

			write = revision(u, func(u *user.User) { u.Name = "B" })
			write.Claim = next()
			outcome, err = s.Update(t.Context(), write)
			expect(t, store.Done, outcome, err)

			r := removal(u)
			r.IfMatch, r.Claim = &user.Precondition{Versions: []int64{1, 7}}, next()
			outcome, err = s.Delete(t.Context(), r)
			expect(t, missed, outcome, err)
			r.IfMatch, r.Claim = &user.Precondition{}, next() // tags that are none of ours
			outcome, err = s.Delete(t.Context(), r)
			expect(t, missed, outcome, err)
			r.IfMatch, r.Claim = &user.Precondition{Versions: []int64{1, 2}}, next()
			outcome, err = s.Delete(t.Context(), r)
			expect(t, store.Done, outcome, err)
			if want := fmt.Sprintf(`{"user":{"id":"%s","tag":"%s"},"changed":[]}`, u.ID, tag); r.Event.Version != 3 || string(r.Event.Data) != want {
				t.Errorf("version %d, data %s", r.Event.Version, r.Event.Data)
			}
			again := removal(u)
			again.Claim = next()
			outcome, err = s.Delete(t.Context(), again)
			expect(t, missed, outcome, err)
		})
	}
}

// TestClaimsAnswerAgain: a claim is taken with its change, and gives the event again.
func TestClaimsAnswerAgain(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	if replay, err := s.Replay(t.Context(), claim("x")); replay != nil || err != nil {
		t.Fatalf("a claim that nobody took: %+v %v", replay, err)
	}
	u := ann(t, "ann")
	write := creation(u)
	write.Claim = claim("x")
	outcome, err := s.Insert(t.Context(), write)
	expect(t, store.Done, outcome, err)
	replay, err := s.Replay(t.Context(), claim("x"))
	must(t, err)
	got := *replay.Event
	got.Changes = write.Event.Changes // which no answer has
	if diff := cmp.Diff(write.Event, got); diff != "" || !bytes.Equal(replay.Digest, []byte("digest")) {
		t.Errorf("digest %q (-want +got):\n%s", replay.Digest, diff)
	}

	second := creation(ann(t, "bob"))
	second.Claim = claim("x")
	outcome, err = s.Insert(t.Context(), second)
	expect(t, store.Claimed, outcome, err)
	if _, err := s.Get(t.Context(), user.Ref{Tag: "bob"}); user.KindOf(err) != user.NotFound {
		t.Errorf("the second delivery made a user: %v", err)
	}

	// A request that changed nothing has an answer without an event.
	outcome, err = s.TakeClaim(t.Context(), claim("nothing"), time.Now().Add(time.Hour))
	expect(t, store.Done, outcome, err)
	outcome, err = s.TakeClaim(t.Context(), claim("nothing"), time.Now().Add(time.Hour))
	expect(t, store.Claimed, outcome, err)
	if replay, err := s.Replay(t.Context(), claim("nothing")); err != nil || replay == nil || replay.Event != nil {
		t.Errorf("%+v %v", replay, err)
	}
	if removed, err := s.RemoveExpiredClaims(t.Context(), time.Now(), 100); removed != 0 || err != nil {
		t.Errorf("%d claims expired early: %v", removed, err)
	}
	if removed, err := s.RemoveExpiredClaims(t.Context(), time.Now().Add(2*time.Hour), 1); removed != 1 || err != nil {
		t.Errorf("%d claims were removed of one asked for: %v", removed, err)
	}
}

// TestDuplicates names each unique key that two users would share.
func TestDuplicates(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	insert(t, s, ann(t, "ann"))
	first, err := s.Get(t.Context(), user.Ref{Tag: "ann"})
	must(t, err)
	other := ann(t, "other")
	insert(t, s, other)
	for kind, change := range map[user.Kind]func(*user.User){
		user.DuplicateID:         func(u *user.User) { u.ID = first.ID },
		user.DuplicateTag:        func(u *user.User) { u.Tag = "ann" },
		user.DuplicateEmail:      func(u *user.User) { email := "ANN@x.EXAMPLE"; u.Email = &email },
		user.DuplicateExternalID: func(u *user.User) { u.ExternalID = first.ExternalID },
	} {
		write := creation(ann(t, "new", change))
		write.Claim = claim(string(kind))
		if _, err := s.Insert(t.Context(), write); user.KindOf(err) != kind {
			t.Errorf("insert: %v, want %s", err, kind)
		}
		if replay, err := s.Replay(t.Context(), write.Claim); replay != nil || err != nil {
			t.Errorf("what was rejected is claimed: %v", err)
		}
		if kind == user.DuplicateID {
			continue
		}
		if _, err := s.Update(t.Context(), revision(other, change)); user.KindOf(err) != kind {
			t.Errorf("update: %v, want %s", err, kind)
		}
	}
	// Two users without an address or externalId do not share one.
	for _, tag := range []string{"x", "y"} {
		insert(t, s, ann(t, tag, func(u *user.User) { u.Email, u.ExternalID = nil, nil }))
	}
}

// TestRacingStores has two processes' stores carry the same out at once: one does it.
func TestRacingStores(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	stores := []*store.Store{open(t, db), open(t, db)}
	u := ann(t, "ann")
	insert(t, stores[0], u)
	for round := range 20 {
		before, err := stores[0].Get(t.Context(), user.Ref{ID: u.ID})
		must(t, err)
		race(t, stores, fmt.Sprintf("update %d", round), store.Missed, func(ctx context.Context, s *store.Store, i int) (store.Outcome, error) {
			return s.Update(ctx, revision(before, func(u *user.User) { u.Name = fmt.Sprint(round, i) }))
		})
		race(t, stores, fmt.Sprintf("claim %d", round), store.Claimed, func(ctx context.Context, s *store.Store, i int) (store.Outcome, error) {
			write := creation(ann(t, fmt.Sprintf("c%d-%d", round, i)))
			write.Claim = claim(fmt.Sprint(round))
			return s.Insert(ctx, write)
		})
		race(t, stores, fmt.Sprintf("tag %d", round), -1, func(ctx context.Context, s *store.Store, i int) (store.Outcome, error) {
			outcome, err := s.Insert(ctx, creation(ann(t, fmt.Sprintf("t%d", round), func(u *user.User) { u.Email, u.ExternalID = nil, nil })))
			if user.KindOf(err) == user.DuplicateTag {
				return -1, nil
			}
			return outcome, err
		})
		gone, err := stores[0].Get(t.Context(), user.Ref{Tag: fmt.Sprintf("t%d", round)})
		must(t, err)
		race(t, stores, fmt.Sprintf("delete %d", round), store.Missed, func(ctx context.Context, s *store.Store, _ int) (store.Outcome, error) {
			return s.Delete(ctx, removal(gone))
		})
	}
	after, err := stores[0].Get(t.Context(), user.Ref{ID: u.ID})
	must(t, err)
	history, _, err := stores[1].History(t.Context(), u.ID, 1<<62, 100)
	must(t, err)
	if after.Version != 21 || len(history) != 21 {
		t.Errorf("version %d and %d entries after 20 updates", after.Version, len(history))
	}
}

// race has eight at it at once, of whom one must be done and the others must have lost. A
// claim's losers may also be told that the winner is still at it.
func race(t *testing.T, stores []*store.Store, what string, lost store.Outcome, f func(context.Context, *store.Store, int) (store.Outcome, error)) {
	t.Helper()
	var (
		all   sync.WaitGroup
		begin = make(chan struct{})
		got   [8]store.Outcome
	)
	for i := range got {
		all.Go(func() {
			<-begin
			var err error
			if got[i], err = f(t.Context(), stores[i%len(stores)], i); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		})
	}
	close(begin)
	all.Wait()
	done := 0
	for _, outcome := range got {
		switch {
		case outcome == store.Done:
			done++
		case outcome != lost && (lost != store.Claimed || outcome != store.Busy):
			t.Errorf("%s: outcome %d", what, outcome)
		}
	}
	if done != 1 {
		t.Errorf("%s: done %d times", what, done)
	}
}

// TestLocked runs as a change that lost a race does: with the row's lock, all or nothing.
func TestLocked(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	u := ann(t, "ann")
	insert(t, s, u)
	err := s.Locked(t.Context(), user.Ref{Tag: "ann"}, func(l *store.Locked) error {
		if l.User.ID != u.ID {
			t.Errorf("locked %s", l.User.ID)
		}
		seals, err := l.Seals(t.Context())
		if diff := cmp.Diff(map[string]string{"openai": "k1:sealed"}, seals); diff != "" || err != nil {
			t.Errorf("%v %s", err, diff)
		}
		if replay, err := l.Replay(t.Context(), claim("x")); replay != nil || err != nil {
			t.Errorf("%v %v", replay, err)
		}
		outcome, err := l.Update(t.Context(), revision(l.User, func(u *user.User) { u.Name = "B" }))
		expect(t, store.Done, outcome, err)
		return errNo
	})
	if err != errNo { //nolint:errorlint // the very one
		t.Fatal(err)
	}
	if got, err := s.Get(t.Context(), user.Ref{ID: u.ID}); err != nil || got.Version != 1 {
		t.Errorf("what failed was kept: %v", err)
	}
	if err := s.Locked(t.Context(), user.Ref{ID: uuid.New()}, func(*store.Locked) error { return nil }); user.KindOf(err) != user.NotFound {
		t.Errorf("a user that is not there: %v", err)
	}
}

var errNo = fmt.Errorf("no")
