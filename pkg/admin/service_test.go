package admin_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"aiadmin/pkg/admin"
	"aiadmin/pkg/pgtest"
	"aiadmin/pkg/postgres"
	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
	"aiadmin/pkg/vault"
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
	after, err := one.Get(t.Context(), id)
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
		if diff := cmp.Diff(string(test.want.AppendJSON(nil)), string(outcome.Event.UserJSON())); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if outcome := apply(t, s, remove("gone", user.Ref{ID: first.User.ID})); !outcome.Replayed || outcome.Event.Type != user.Deleted {
		t.Errorf("deletion: %+v", outcome)
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
	if got, err := s.Get(t.Context(), u.ID); err != nil || got.Name != "B" || got.Version != 2 {
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

// TestTamperedValues: what was copied from another row or bent is refused, told and
// counted, harms nothing else, and is replaced by the next write.
func TestTamperedValues(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	db, err := store.Open(store.Options{ConnString: url, MaxConnections: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	keys, err := vault.ParseKeyRing(map[string]string{"one": keyOne, "PRIMARY": "one"})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	refused := 0
	s := admin.New(db, keys, admin.Retention{}, admin.Options{Log: slog.New(slog.NewJSONHandler(&log, nil)), Refused: func() { refused++ }})
	ann := apply(t, s, once(create(t, "", `{"tag":"ann","name":"N","credentials":{"openai":"sk-planted-ann","azure":"sk-planted-az"}}`))).User
	bob := apply(t, s, once(create(t, "", `{"tag":"bob","name":"N","credentials":{"openai":"sk-planted-bob"}}`))).User
	tamper := func(assignment string) {
		t.Helper()
		if err := pgtest.Exec(t.Context(), url, fmt.Sprintf("UPDATE credentials SET sealed = %s WHERE user_id = '%s' AND provider = 'openai'", assignment, ann.ID)); err != nil {
			t.Fatal(err)
		}
	}
	for i, assignment := range []string{
		fmt.Sprintf("(SELECT sealed FROM credentials WHERE user_id = '%s')", bob.ID),
		fmt.Sprintf("(SELECT sealed FROM credentials WHERE user_id = '%s' AND provider = 'azure')", ann.ID),
		"overlay(sealed PLACING CASE WHEN substr(sealed, 40, 1) = 'A' THEN 'B' ELSE 'A' END FROM 40 FOR 1)",
		"'rubbish'", "''",
	} {
		tamper(assignment)
		if plain, err := s.Reveal(t.Context(), ann.ID, "openai"); err == nil || user.KindOf(err) != user.Internal {
			t.Fatalf("tampered with as %s, it opens as %s: %v", assignment, plain, err)
		}
		if refused != i+1 || !strings.Contains(log.String(), ann.ID.String()) {
			t.Errorf("refused %d times, log: %s", refused, log.String())
		}
		for _, c := range []struct {
			of       uuid.UUID
			provider string
			want     string
		}{{ann.ID, "azure", "sk-planted-az"}, {bob.ID, "openai", "sk-planted-bob"}} {
			if plain, err := s.Reveal(t.Context(), c.of, c.provider); err != nil || plain.Reveal() != c.want {
				t.Errorf("another credential: %v", err)
			}
		}
		// The same secret again is written, since what is stored is not it.
		if outcome := apply(t, s, once(update(t, "", user.Ref{ID: ann.ID}, `{"credentials":{"openai":"sk-planted-ann"}}`))); outcome.Event == nil {
			t.Error("what was tampered with passes for the secret")
		}
		if plain, err := s.Reveal(t.Context(), ann.ID, "openai"); err != nil || plain.Reveal() != "sk-planted-ann" {
			t.Errorf("after it was written anew: %v", err)
		}
	}
	if strings.Contains(log.String(), "planted") {
		t.Errorf("the log has a secret: %s", log.String())
	}
}

// TestPlantedSecretsStayIn goes through everything that handles secrets and then looks for
// them in the log, in all answers, in the events and in a dump of the whole database.
func TestPlantedSecretsStayIn(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	var out bytes.Buffer // log, answers and errors
	s := withKeys(t, url, "one", &out)
	do := func(command user.Command) user.Outcome {
		outcome, err := s.Apply(t.Context(), command)
		tell(&out, outcome, err, command)
		return outcome
	}
	secret := func(i int) string { return fmt.Sprintf(`"sk-planted-%d-\"é🔑 <&>"`, i) }
	u := do(create(t, "1", `{"tag":"ann","name":"N","credentials":{"openai":`+secret(1)+`,"azure":`+secret(2)+`}}`)).User
	ref := user.Ref{ID: u.ID}
	do(create(t, "1", `{"tag":"ann","name":"N","credentials":{"openai":`+secret(1)+`}}`))
	do(create(t, "2", `{"tag":"ann","name":"N","credentials":{"openai":`+secret(3)+`}}`))
	do(create(t, "3", `{"tag":"-","name":"N","credentials":{"Open AI":`+secret(4)+`,"openai":["sk-planted-5"]}}`))
	do(update(t, "4", ref, `{"credentials":{"openai":`+secret(1)+`}}`))
	do(update(t, "5", ref, `{"credentials":{"openai":`+secret(6)+`,"azure":null}}`))
	do(update(t, "6", user.Ref{Tag: "nobody"}, `{"credentials":{"openai":`+secret(7)+`}}`))
	stale := update(t, "7", ref, `{"credentials":{"openai":`+secret(8)+`}}`)
	stale.IfMatch = &user.Precondition{}
	do(stale)
	results, err := s.ApplyAll(t.Context(), []user.Command{create(t, "8", `{"tag":"bob","name":"N","credentials":{"openai":`+secret(9)+`}}`), stale})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		tell(&out, r.Outcome, r.Err, r)
	}
	plain, err := s.Reveal(t.Context(), u.ID, "openai")
	if err != nil || !strings.HasPrefix(plain.Reveal(), "sk-planted-6") {
		t.Fatalf("%v", err)
	}
	fmt.Fprintf(&out, "%v %+v %#v %s %q", plain, plain, plain, plain, plain)
	history, err := s.History(t.Context(), u.ID, "", 100)
	changes, err2 := s.Changes(t.Context(), "", 100)
	page, err3 := s.List(t.Context(), user.Query{Sort: []user.SortKey{{Field: "tag"}}, Limit: 10})
	if err := errors.Join(err, err2, err3); err != nil {
		t.Fatal(err)
	}
	for _, e := range append(history.Entries, changes.Entries...) {
		fmt.Fprintf(&out, "%s %s %+v\n", e.Data, e.Changes, e)
	}
	for _, u := range page.Users {
		out.Write(u.AppendJSON(nil))
	}
	out.Write(dumped(t, url))
	if text := out.String(); len(text) < 10_000 || !strings.Contains(text, "one:") {
		t.Errorf("only %d bytes were looked at", len(text))
	} else if i := strings.Index(text, "planted"); i >= 0 {
		t.Errorf("a secret got out: …%s…", text[max(0, i-300):min(len(text), i+50)])
	}
	do(remove("9", ref))
	if dump := string(dumped(t, url)); strings.Count(dump, "one:") != 1 {
		t.Errorf("sealed values of the deleted are kept, or the others' are not: %d", strings.Count(dump, "one:"))
	}
}

// tell writes what a command came to in every way that a careless line of code would.
func tell(w io.Writer, outcome user.Outcome, err error, what any) {
	fmt.Fprintf(w, "%v %+v %v\n%+v %#v\n", outcome, outcome, err, what, what)
	if outcome.User != nil {
		_, _ = w.Write(outcome.User.AppendJSON(nil))
	}
	if outcome.Event != nil {
		fmt.Fprintf(w, "%s %s\n", outcome.Event.Data, outcome.Event.Changes)
	}
	slog.New(slog.NewJSONHandler(w, nil)).Info("x", "what", what, "outcome", outcome, "error", err)
}

// dumped is the database as pg_dump tells it.
func dumped(t *testing.T, url string) []byte {
	t.Helper()
	binaries, err := postgres.Find(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(filepath.Join(binaries.Dir, "pg_dump"), "--dbname", url) //nolint:gosec // a program of the installation
	var fault bytes.Buffer
	command.Stderr = &fault
	dump, err := command.Output()
	if err != nil {
		t.Fatalf("pg_dump: %v: %s", err, fault.String())
	}
	return dump
}
