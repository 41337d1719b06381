package admin_test

import (
	"testing"

	"aiadmin/pkg/user"
	"aiadmin/test/pgtest"
)

// TestDryRunChangesNothing: a later call knows what an earlier one would have changed, also under a claim, and
// at the end all is as before.
func TestDryRunChangesNothing(t *testing.T) {
	t.Parallel()
	s, _ := running(t, pgtest.Database(t))
	ann := apply(t, s, create(t, "e1", `{"tag":"ann","name":"A","email":"a@x.example"}`)).User
	applyAll, end := s.DryRun()
	for i, step := range []struct {
		command user.Command
		kind    user.Kind // empty: it would be done
	}{
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
