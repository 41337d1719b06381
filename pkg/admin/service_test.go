package admin_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-json-experiment/json"

	"aiadmin/pkg/admin"
	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
	"aiadmin/test/pgtest"
)

// once is a command without a claim.
func once(command user.Command) user.Command {
	command.Claim = nil
	return command
}

func apply(t testing.TB, s *admin.Service, command user.Command) user.Outcome {
	t.Helper()
	outcome, err := s.Apply(t.Context(), command)
	if err != nil {
		t.Fatal(err)
	}
	return outcome
}

// together runs f so many times at once.
func together(n int, f func(i int)) {
	var all sync.WaitGroup
	begin := make(chan struct{})
	for i := range n {
		all.Go(func() {
			<-begin
			f(i)
		})
	}
	close(begin)
	all.Wait()
}

// TestConcurrentUpdatesLoseNone: each of 80 adds a member of its own to one user's metadata,
// through two services as in a rollout; the user ends with all of them.
func TestConcurrentUpdatesLoseNone(t *testing.T) {
	t.Parallel()
	const updates = 80
	url := pgtest.Database(t)
	one, db := atNoon(t, url)
	other, _ := atNoon(t, url)
	id := apply(t, one, once(create(t, "", `{"tag":"hot","name":"N"}`))).User.ID
	together(updates, func(i int) {
		s := []*admin.Service{one, other}[i%2]
		outcome, err := s.Apply(t.Context(), once(update(t, "", user.Ref{ID: id}, fmt.Sprintf(`{"metadata":{"m%d":%d}}`, i, i))))
		if err != nil || outcome.Event == nil {
			t.Errorf("update %d: %v", i, err)
		}
	})
	after, err := one.Get(t.Context(), user.Ref{ID: id})
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]int
	if err := json.Unmarshal(after.Metadata, &members); err != nil || len(members) != updates || after.Version != updates+1 {
		t.Errorf("%d members at version %d: %v", len(members), after.Version, err)
	}
	page, err := one.History(t.Context(), id, "", 500)
	if err != nil || len(page.Entries) != updates+1 {
		t.Fatalf("%d entries: %v", len(page.Entries), err)
	}
	for i, e := range page.Entries {
		if want := int64(updates + 1 - i); e.Version != want {
			t.Errorf("entry %d is of version %d, want %d", i, e.Version, want)
		}
	}
	checkLog(t, db)
}

func TestRacingCreatesHaveOneWinner(t *testing.T) {
	t.Parallel()
	s, db := atNoon(t, pgtest.Database(t))
	var won atomic.Int32
	together(16, func(i int) {
		_, err := s.Apply(t.Context(), create(t, fmt.Sprint(i), `{"tag":"`+[]string{"ANN", "ann"}[i%2]+`","name":"N"}`))
		switch {
		case err == nil:
			won.Add(1)
		case user.KindOf(err) != user.DuplicateTag:
			t.Error(err)
		}
	})
	if won.Load() != 1 {
		t.Errorf("%d won", won.Load())
	}
	checkLog(t, db)
}

// TestChangesOfNothing make no event and no version, and their claim is taken all the same:
// the same event later, when it would change something, still changes nothing.
func TestChangesOfNothing(t *testing.T) {
	t.Parallel()
	s, db := atNoon(t, pgtest.Database(t))
	u := apply(t, s, create(t, "made", `{"tag":"ann","name":"N","credentials":{"openai":"sk-1234567890"}}`)).User
	ref := user.Ref{ID: u.ID}
	for i, body := range []string{`{}`, `{"name":"N"}`, `{"credentials":{"openai":"sk-1234567890","azure":null}}`} {
		for _, command := range []user.Command{update(t, fmt.Sprint("nothing", i), ref, body), once(update(t, "", ref, body))} {
			if outcome := apply(t, s, command); outcome.Event != nil || outcome.User.Version != 1 || outcome.Replayed {
				t.Errorf("%s: %+v", body, outcome)
			}
		}
	}
	apply(t, s, once(update(t, "", ref, `{"name":"B"}`)))
	if outcome := apply(t, s, update(t, "nothing1", ref, `{"name":"N"}`)); outcome.Event != nil || !outcome.Replayed {
		t.Errorf("%+v", outcome)
	}
	if got, err := s.Get(t.Context(), user.Ref{ID: u.ID}); err != nil || got.Name != "B" || got.Version != 2 {
		t.Errorf("%+v %v", got, err)
	}
	checkLog(t, db)
}

func TestPreconditions(t *testing.T) {
	t.Parallel()
	s, _ := atNoon(t, pgtest.Database(t))
	u := apply(t, s, create(t, "", `{"tag":"ann","name":"N"}`)).User
	for _, test := range []struct {
		condition *user.Precondition
		want      user.Kind
	}{
		{&user.Precondition{Versions: []int64{2}}, user.PreconditionFailed}, {&user.Precondition{}, user.PreconditionFailed},
		{&user.Precondition{Versions: []int64{9, 1}}, ""}, {&user.Precondition{Any: true}, ""},
	} {
		changed, gone := once(update(t, "", user.Ref{ID: u.ID}, `{"name":"N"}`)), once(remove("", user.Ref{ID: u.ID}))
		changed.IfMatch, gone.IfMatch = test.condition, test.condition
		if _, err := s.Apply(t.Context(), changed); test.want == "" && err != nil || test.want != "" && user.KindOf(err) != test.want {
			t.Errorf("update %+v: %v", test.condition, err)
		}
		if test.want == "" {
			continue
		}
		if _, err := s.Apply(t.Context(), gone); user.KindOf(err) != test.want {
			t.Errorf("deletion %+v: %v", test.condition, err)
		}
	}
	// Of racing changes that expect the same version one is made.
	var made atomic.Int32
	together(12, func(i int) {
		command := once(update(t, "", user.Ref{ID: u.ID}, fmt.Sprintf(`{"name":"N%d"}`, i)))
		command.IfMatch = &user.Precondition{Versions: []int64{1}}
		if _, err := s.Apply(t.Context(), command); err == nil {
			made.Add(1)
		} else if user.KindOf(err) != user.PreconditionFailed {
			t.Error(err)
		}
	})
	if made.Load() != 1 {
		t.Errorf("%d changes of version 1 were made", made.Load())
	}
}

// hold keeps a user's row locked, as another copy of the service would, until f returns.
func hold(t *testing.T, db *store.Store, ref user.Ref, f func() error) error {
	t.Helper()
	tx, known, err := db.Begin(t.Context(), store.Wait, &store.Wanted{Users: []user.Ref{ref}})
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if len(known.Users) != 1 {
		t.Errorf("%v names %d users", ref, len(known.Users))
	}
	return f()
}

// TestApplyOfWhatWasGivenUp holds that a request whose time is up before its command begins gets an error,
// never an outcome without a user.
func TestApplyOfWhatWasGivenUp(t *testing.T) {
	t.Parallel()
	s, _ := atNoon(t, pgtest.Database(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for i := range 2000 { // which of the two is seen first is a matter of luck
		outcome, err := s.Apply(ctx, once(create(t, "", fmt.Sprintf(`{"tag":"gone%d","name":"N"}`, i))))
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("attempt %d: %+v, %v", i, outcome, err)
		}
	}
}
