package admin_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"aiadmin/pkg/user"
	"aiadmin/test/pgtest"
)

// TestDryRunChangesNothing: a later call knows what an earlier one would have changed, also under a claim, and
// at the end all is as before.
func TestDryRunChangesNothing(t *testing.T) {
	t.Parallel()
	s, _ := running(t, pgtest.Database(t))
	ann := apply(t, s, create(t, "e1", `{"tag":"ann","name":"A","email":"a@x.example"}`)).User
	dee := apply(t, s, create(t, "e5", `{"tag":"dee","name":"D","userName":"dora"}`)).User
	apply(t, s, create(t, "e6", `{"tag":"eve","name":"E","userName":"dee"}`))
	applyAll, end := s.DryRun()
	for i, step := range []struct {
		command user.Command
		kind    user.Kind // empty: it would be done
	}{
		{update(t, "e7", user.Ref{ID: dee.ID}, `{"userName":null}`), user.DuplicateUserName}, // its tag is eve's userName
		{create(t, "e2", `{"tag":"bob","name":"B","email":"b@x.example"}`), ""},
		{create(t, "e3", `{"tag":"bob","name":"B"}`), user.DuplicateTag},
		{create(t, "e2", `{"tag":"cy","name":"C","email":"b@x.example"}`), user.DuplicateEmail},
		{user.Command{Change: user.Delete{}, User: user.Ref{ID: ann.ID}}, ""},
		{user.Command{Change: user.Delete{}, User: user.Ref{ID: ann.ID}}, user.NotFound},
		{create(t, "", `{"tag":"ann","name":"another"}`), ""},
	} {
		results, err := applyAll(t.Context(), []user.Command{step.command})
		if err != nil {
			t.Fatal(i, err)
		}
		if got := results[0].Err; step.kind == "" && got != nil || step.kind != "" && user.KindOf(got) != step.kind {
			t.Errorf("%d: %v, want %q", i, got, step.kind)
		}
	}
	end()
	if u, err := s.Get(t.Context(), user.Ref{Tag: "ann"}); err != nil || u.ID != ann.ID || u.Version != 1 {
		t.Errorf("after the dry run: %+v, %v", u, err)
	}
	if _, err := s.Get(t.Context(), user.Ref{Tag: "bob"}); user.KindOf(err) != user.NotFound {
		t.Errorf("bob was made: %v", err)
	}
	page, err := s.History(t.Context(), ann.ID, "", 10)
	if err != nil || len(page.Entries) != 1 {
		t.Errorf("%d events, %v", len(page.Entries), err)
	}
}

// TestADryRunForesees makes up commands about a few users that are often in each other's way, and carries them out
// twice, in groups: what becomes of each must be what the dry run said.
func TestADryRunForesees(t *testing.T) {
	t.Parallel()
	s, _ := running(t, pgtest.Database(t))
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // no secret
	names := []string{"ann", "bob", "cy", "dee", "ann@x.example", "BOB@x.example"}
	pick := func() string { return names[random.IntN(len(names))] }
	line := func() string {
		var members []string
		for _, member := range []struct {
			name   string
			values []string
		}{{"tag", []string{`"` + pick() + `"`}}, {"email", []string{`"` + pick()[:2] + `@x.example"`, "null"}}, {"userName", []string{`"` + pick() + `"`, "null"}},
			{"externalId", []string{`"` + pick() + `"`, "null"}}, {"name", []string{`"` + pick() + `"`}}, {"metadata", []string{`{"a":"b"}`, `{"a":null}`}},
			{"credentials", []string{`{"openai":"sk-1"}`, `{"openai":"sk-2"}`, `{"openai":null}`}}} {
			if random.IntN(3) > 0 {
				members = append(members, `"`+member.name+`":`+member.values[random.IntN(len(member.values))])
			}
		}
		return "{" + strings.Join(members, ",") + "}"
	}
	run := func(round int, mode user.ImportMode) {
		how := user.Import{Mode: mode, Match: []string{"tag", "email", "externalId", "userName"}[random.IntN(4)]}
		var commands []user.Command
		for range 30 {
			object, err := user.ParseBody([]byte(line()))
			if err != nil {
				t.Fatal(err)
			}
			if change, ref, err := how.Command(object); err == nil {
				commands = append(commands, user.Command{Change: change, User: ref, Origin: user.Origin{Actor: "test"}})
			}
		}
		dryly, end := s.DryRun()
		defer end()
		told := outcomes(t, dryly, commands, random)
		for i, got := range outcomes(t, s.ApplyAll, commands, random) {
			if got != told[i] {
				t.Fatalf("round %d, %s by %s: command %d of %v came out as %s, and the dry run said %s", round, mode, how.Match, i, commands[i], got, told[i])
			}
		}
	}
	for round := range 60 {
		run(round, []user.ImportMode{user.ImportUpsert, user.ImportCreate, user.ImportUpdate, user.ImportDelete}[round%4])
	}
}

// outcomes carries commands out in groups, and tells what became of each.
func outcomes(t *testing.T, applyAll func(context.Context, []user.Command) ([]user.Result, error), commands []user.Command, random *rand.Rand) (told []string) {
	t.Helper()
	for group := range slices.Chunk(commands, 1+random.IntN(10)) {
		results, err := applyAll(t.Context(), group)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			switch {
			case r.Err != nil:
				told = append(told, string(user.KindOf(r.Err))+": "+r.Err.Error())
			case r.Event == nil:
				told = append(told, "nothing")
			case r.User == nil:
				told = append(told, "deleted "+r.Before.Tag)
			default:
				told = append(told, fmt.Sprintf("%s %s %d %s", r.Event.Type, r.User.Tag, r.User.Version, r.User.UserNameKey))
			}
		}
	}
	return told
}

// TestADryRunHoldsNobodyUp: while one goes on, others change the users that it is about, take names that it gave, and
// read the change feed.
func TestADryRunHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	s, _ := running(t, pgtest.Database(t))
	ann := apply(t, s, create(t, "e1", `{"tag":"ann","name":"A"}`)).User
	applyAll, end := s.DryRun()
	defer end()
	dryly := func(command user.Command) user.Kind {
		t.Helper()
		results, err := applyAll(t.Context(), []user.Command{command})
		if err != nil {
			t.Fatal(err)
		}
		if results[0].Err == nil {
			return ""
		}
		return user.KindOf(results[0].Err)
	}
	if got := dryly(update(t, "d1", user.Ref{Tag: "ann"}, `{"name":"Other"}`)); got != "" {
		t.Fatal(got)
	}
	if got := dryly(create(t, "d2", `{"tag":"bob","name":"B"}`)); got != "" {
		t.Fatal(got)
	}
	begun := time.Now()
	apply(t, s, update(t, "e2", user.Ref{ID: ann.ID}, `{"name":"Ann"}`))
	apply(t, s, create(t, "e3", `{"tag":"bob","name":"Bob"}`))
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("two changes beside a dry run took %v", took)
	}
	for shown := 0; shown < 3; time.Sleep(time.Millisecond) { // other tests' transactions hold the feed up for a moment
		page, err := s.Changes(t.Context(), "", 10)
		if shown = len(page.Entries); err != nil || time.Since(begun) > 30*time.Second {
			t.Fatalf("%d events in the feed, %v", shown, err)
		}
	}
	if got := dryly(create(t, "d3", `{"tag":"bob","name":"B"}`)); got != user.DuplicateTag {
		t.Errorf("a tag that the dry run gave: %s", got)
	}
	apply(t, s, remove("e4", user.Ref{ID: ann.ID}))
}

// TestUpsert: the same command creates, then updates, and says so; what a creation needs is asked of it alone.
func TestUpsert(t *testing.T) {
	t.Parallel()
	s, _ := running(t, pgtest.Database(t))
	how := user.Import{Mode: user.ImportUpsert, Match: "tag"}
	upsert := func(line string) (user.Outcome, error) {
		object, err := user.ParseBody([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		change, ref, err := how.Command(object)
		if err != nil {
			t.Fatal(err)
		}
		return s.Apply(t.Context(), user.Command{Change: change, User: ref, Origin: user.Origin{Actor: "test"}})
	}
	if _, err := upsert(`{"tag":"ann","role":"viewer"}`); user.KindOf(err) != user.Invalid {
		t.Errorf("a creation without a name: %v", err)
	}
	for i, step := range []struct {
		line string
		want user.EventType // empty: no change
	}{
		{`{"id":"01936d2e-7a4b-7c1e-9f00-3b1a2c4d5e6f","tag":"ann","name":"A","credentials":{"openai":"sk-1"}}`, user.Created},
		{`{"id":"01936d2e-7a4b-7c1e-9f00-3b1a2c4d5e70","tag":"ann","role":"viewer"}`, user.Updated},
		{`{"tag":"ann","role":"viewer","credentials":{"openai":"sk-1"}}`, ""},
		{`{"tag":"ann","credentials":{"openai":"sk-2"}}`, user.Updated},
	} {
		outcome, err := upsert(step.line)
		got := user.EventType("")
		if outcome.Event != nil {
			got = outcome.Event.Type
		}
		if err != nil || got != step.want || outcome.UserID.String() != "01936d2e-7a4b-7c1e-9f00-3b1a2c4d5e6f" {
			t.Errorf("%d: %s of %s, %v", i, got, outcome.UserID, err)
		}
	}
}
