package admin_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"aiadmin/pkg/admin"
	"aiadmin/pkg/user"
	"aiadmin/test/pgtest"
)

// TestRacingKeysHaveOneEffect: deliveries of one request at once, some about a contended user
// and some about a new one, come to one change, whose answer all get that get one.
func TestRacingKeysHaveOneEffect(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	one, db := atNoon(t, url)
	other, _ := atNoon(t, url)
	hot := apply(t, one, once(create(t, "", `{"tag":"hot","name":"N"}`))).User.ID
	for round := range 15 {
		var events sync.Map
		key := &user.Claim{Kind: user.RequestClaim, Scope: "console", ID: fmt.Sprint(round)}
		together(12, func(i int) {
			s, command := []*admin.Service{one, other}[i%2], update(t, "", user.Ref{ID: hot}, fmt.Sprintf(`{"metadata":{"r%d":1}}`, round))
			switch {
			case i%4 == 3: // in the way of the others
				command.Claim = nil
				command = update(t, "", user.Ref{ID: hot}, fmt.Sprintf(`{"metadata":{"w%d":%d}}`, i, round))
				command.Claim = nil
			case i%4 == 2:
				command = create(t, "", fmt.Sprintf(`{"tag":"u%d","name":"N"}`, round))
				command.Claim = key
			default:
				command.Claim = key
			}
			outcome, err := s.Apply(t.Context(), command)
			switch {
			case user.KindOf(err) == user.InProgress:
			case err != nil:
				t.Error(err)
			case command.Claim != nil:
				events.Store(outcome.Event.ID, true)
			}
		})
		// Whoever was told to try again gets the one answer, too.
		again := create(t, "", fmt.Sprintf(`{"tag":"u%d","name":"N"}`, round))
		again.Claim = key
		outcome := apply(t, one, again)
		events.Store(outcome.Event.ID, true)
		n := 0
		events.Range(func(any, any) bool { n++; return true })
		if n != 1 || !outcome.Replayed {
			t.Fatalf("round %d: %d answers, replayed %v", round, n, outcome.Replayed)
		}
	}
	checkLog(t, db)
}

// TestReplays: the answer is the first one's, whatever became of the user since.
func TestReplays(t *testing.T) {
	t.Parallel()
	s, _ := atNoon(t, pgtest.Database(t))
	made := create(t, "made", `{"tag":"ann","name":"N"}`)
	first := apply(t, s, made)
	renamed := update(t, "renamed", user.Ref{ID: first.User.ID}, `{"name":"B"}`)
	second := apply(t, s, renamed)
	apply(t, s, remove("gone", user.Ref{ID: first.User.ID}))
	for name, test := range map[string]struct {
		command user.Command
		want    *user.User
	}{"creation": {made, first.User}, "update": {renamed, second.User}} {
		outcome := apply(t, s, test.command)
		if !outcome.Replayed || outcome.User != nil {
			t.Errorf("%s: %+v", name, outcome)
		}
		want := strings.Replace(string(test.want.AppendJSON(nil)), `"groups":[],`, "", 1) // which no event has
		if diff := cmp.Diff(want, string(outcome.Event.UserJSON())); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if outcome := apply(t, s, remove("gone", user.Ref{ID: first.User.ID})); !outcome.Replayed || outcome.Event.Type != user.Deleted {
		t.Errorf("deletion: %+v", outcome)
	}
}

// TestAnErasedCreationIsRepeatedInFull: what the log no longer has of a deleted user, the
// repeated request brings along.
func TestAnErasedCreationIsRepeatedInFull(t *testing.T) {
	t.Parallel()
	s, db := atNoon(t, pgtest.Database(t))
	for i, body := range []string{
		`{"tag":"ann","name":"N"}`,
		`{"metadata":{"z":1e-99999,"a":"<\u00fc>"},"tag":"Bob","name":"B \"ob\"","email":"Bob@example.com","externalId":"e-1","models":["gpt-*"],
			"limits":{"monthlyBudgetUSD":12.50},"credentials":{"openai":"sk-1234567890abcdef"}}`,
	} {
		command := create(t, "", body)
		command.Claim = &user.Claim{Kind: user.RequestClaim, Scope: "console", ID: fmt.Sprint(i), Digest: []byte(body)}
		first := apply(t, s, command)
		apply(t, s, once(remove("", user.Ref{ID: first.User.ID})))
		if n, err := db.Erase(t.Context(), false, 10); n != 1 || err != nil {
			t.Fatalf("%d erased: %v", n, err)
		}
		again := apply(t, s, command)
		if diff := cmp.Diff(string(first.User.AppendJSON(nil)), string(again.Event.UserJSON())); diff != "" || !again.Replayed {
			t.Errorf("replayed %v (-want +got):\n%s", again.Replayed, diff)
		}
	}
}

// TestRepeatedWithinABatch: the answer to the second of two equal requests, which has all that a read shows, leaves
// the recorded event as it is.
func TestRepeatedWithinABatch(t *testing.T) {
	t.Parallel()
	s, db := atNoon(t, pgtest.Database(t))
	command := create(t, "", `{"tag":"ann","name":"N"}`)
	command.Claim = &user.Claim{Kind: user.RequestClaim, Scope: "console", ID: "k", Digest: []byte("d")}
	results, err := s.ApplyAll(t.Context(), []user.Command{command, command})
	if err != nil || results[0].Err != nil || !results[1].Outcome.Replayed {
		t.Fatalf("%+v %v", results, err)
	}
	var recorded string
	if err := db.DB().QueryRow("SELECT data->'user' FROM events").Scan(&recorded); err != nil {
		t.Fatal(err)
	}
	shown := string(results[0].Outcome.User.AppendJSON(nil))
	if want := strings.Replace(shown, `"groups":[],`, "", 1); recorded != want {
		t.Errorf("recorded %s, want %s", recorded, want)
	}
	if again := string(results[1].Outcome.Event.UserJSON()); again != shown {
		t.Errorf("answered %s, want %s", again, shown)
	}
}

// TestRejectedIsNotClaimed: sent again after its cause is mended, a request is judged afresh.
func TestRejectedIsNotClaimed(t *testing.T) {
	t.Parallel()
	s, _ := atNoon(t, pgtest.Database(t))
	apply(t, s, create(t, "", `{"tag":"ann","name":"N"}`))
	tooMuch := `{"tag":"bob","name":"N","metadata":{"x":"` + strings.Repeat("x", 17<<10) + `"}}`
	for i, test := range []struct {
		command user.Command
		want    user.Kind
	}{
		{create(t, "key", `{"tag":"ann","name":"N"}`), user.DuplicateTag},
		{create(t, "key", `{"tag":"-","name":"N"}`), user.Invalid},
		{create(t, "key", tooMuch), user.Invalid},
		{update(t, "key", user.Ref{Tag: "nobody"}, `{"name":"B"}`), user.NotFound},
		{update(t, "key", user.Ref{Tag: "ann"}, `{"id":"`+uuid.NewString()+`"}`), user.Invalid},
		{remove("key", user.Ref{Tag: "nobody"}), user.NotFound},
	} {
		if _, err := s.Apply(t.Context(), test.command); user.KindOf(err) != test.want {
			t.Errorf("command %d: %v, want %s", i, err, test.want)
		}
	}
	late := update(t, "key", user.Ref{Tag: "ann"}, `{"name":"B"}`)
	late.IfMatch = &user.Precondition{Versions: []int64{9}}
	if _, err := s.Apply(t.Context(), late); user.KindOf(err) != user.PreconditionFailed {
		t.Errorf("a failed expectation: %v", err)
	}
	if outcome := apply(t, s, create(t, "key", `{"tag":"bob","name":"N"}`)); outcome.Replayed {
		t.Error("a rejected request was claimed")
	}
}

// TestKeysBelongToABody: the same key with another body is refused, also where the first
// changed nothing.
func TestKeysBelongToABody(t *testing.T) {
	t.Parallel()
	s, _ := atNoon(t, pgtest.Database(t))
	keyed := func(body, digest string) user.Command {
		command := create(t, "", body)
		command.Claim = &user.Claim{Kind: user.RequestClaim, Scope: "console", ID: "k", Digest: []byte(digest)}
		return command
	}
	first := apply(t, s, keyed(`{"tag":"ann","name":"N"}`, "1"))
	if outcome := apply(t, s, keyed(`{"tag":"ann","name":"N"}`, "1")); !outcome.Replayed || outcome.Event.ID != first.Event.ID {
		t.Errorf("%+v", outcome)
	}
	for _, body := range []string{`{"tag":"bob","name":"N"}`, `{"tag":"-","name":"N"}`, `{"tag":"ann","name":"N"}`} {
		if _, err := s.Apply(t.Context(), keyed(body, "2")); user.KindOf(err) != user.KeyReused {
			t.Errorf("%s: %v", body, err)
		}
	}
	mine := keyed(`{"tag":"eve","name":"N"}`, "2")
	mine.Claim.Scope = "another caller"
	if outcome := apply(t, s, mine); outcome.Replayed {
		t.Error("two callers share a key")
	}
}
