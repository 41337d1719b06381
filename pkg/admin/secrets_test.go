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
	"testing"

	"github.com/google/uuid"

	"aiadmin/pkg/admin"
	"aiadmin/pkg/postgres"
	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
	"aiadmin/pkg/vault"
	"aiadmin/test/pgtest"
)

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
		if plain, err := s.Reveal(t.Context(), ann.ID, "openai", user.AuditEntry{}); err == nil || user.KindOf(err) != user.Internal {
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
			if plain, err := s.Reveal(t.Context(), c.of, c.provider, user.AuditEntry{}); err != nil || plain.Reveal() != c.want {
				t.Errorf("another credential: %v", err)
			}
		}
		// The same secret again is written, since what is stored is not it.
		if outcome := apply(t, s, once(update(t, "", user.Ref{ID: ann.ID}, `{"credentials":{"openai":"sk-planted-ann"}}`))); outcome.Event == nil {
			t.Error("what was tampered with passes for the secret")
		}
		if plain, err := s.Reveal(t.Context(), ann.ID, "openai", user.AuditEntry{}); err != nil || plain.Reveal() != "sk-planted-ann" {
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
	plain, err := s.Reveal(t.Context(), u.ID, "openai", user.AuditEntry{})
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
