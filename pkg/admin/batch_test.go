package admin_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"aiadmin/pkg/admin"
	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
	"aiadmin/pkg/vault"
	"aiadmin/test/pgtest"
)

var noon = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

// connections are those of a service in tests.
const connections = 12

// atNoon opens a service whose clock stands still.
func atNoon(t testing.TB, url string) (*admin.Service, *store.Store) {
	t.Helper()
	return impatient(t, url, 0)
}

// impatient is such a service whose changes wait only so long for a row.
func impatient(t testing.TB, url string, patience time.Duration) (*admin.Service, *store.Store) {
	t.Helper()
	return open(t, url, patience, func() time.Time { return noon })
}

// running opens a service whose clock runs.
func running(t testing.TB, url string) (*admin.Service, *store.Store) {
	t.Helper()
	return open(t, url, 0, time.Now)
}

func open(t testing.TB, url string, patience time.Duration, now func() time.Time) (*admin.Service, *store.Store) {
	t.Helper()
	db, err := store.Open(store.Options{ConnString: url, MaxConnections: connections, Patience: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	keys, err := vault.ParseKeyRing(map[string]string{"one": keyOne, "PRIMARY": "one"})
	if err != nil {
		t.Fatal(err)
	}
	return admin.New(db, keys, admin.Retention{Events: time.Hour, Requests: time.Hour},
		admin.Options{Log: slog.New(slog.DiscardHandler), Now: now}), db
}

func event(id string) *user.Claim { return &user.Claim{Kind: user.EventClaim, Scope: "/test", ID: id} }

func create(t testing.TB, id, body string) user.Command {
	t.Helper()
	change, err := user.ParseCreate([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return user.Command{Change: change, Origin: user.Origin{Actor: "test", Cause: id}, Claim: event(id)}
}

func update(t testing.TB, id string, ref user.Ref, body string) user.Command {
	t.Helper()
	change, err := user.ParseUpdate([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return user.Command{Change: change, User: ref, Origin: user.Origin{Actor: "test", Cause: id}, Claim: event(id)}
}

func remove(id string, ref user.Ref) user.Command {
	return user.Command{Change: user.Delete{}, User: ref, Origin: user.Origin{Actor: "test", Cause: id}, Claim: event(id)}
}

// applyAll carries a batch out and writes each result in a word.
func applyAll(t testing.TB, s *admin.Service, commands ...user.Command) []string {
	t.Helper()
	results, err := s.ApplyAll(t.Context(), commands)
	if err != nil {
		t.Fatal(err)
	}
	words := make([]string, len(results))
	for i, result := range results {
		words[i] = word(result.Outcome, result.Err)
	}
	return words
}

func word(outcome user.Outcome, err error) string {
	switch {
	case err != nil:
		return string(user.KindOf(err))
	case outcome.Event == nil && outcome.Replayed:
		return "nothing, again"
	case outcome.Event == nil:
		return "nothing"
	}
	replayed := ""
	if outcome.Replayed {
		replayed = ", again"
	}
	return fmt.Sprintf("%s v%d %s%s", outcome.Event.Type, outcome.Event.Version, outcome.Event.Data, replayed)
}

func TestBatchBuildsOnItself(t *testing.T) {
	t.Parallel()
	s, _ := atNoon(t, pgtest.Database(t))
	results, err := s.ApplyAll(t.Context(), []user.Command{
		create(t, "1", `{"tag":"ada","name":"Ada"}`),
		update(t, "2", user.Ref{Tag: "ada"}, `{"status":"suspended"}`),
		update(t, "3", user.Ref{Tag: "ada"}, `{"tag":"lovelace"}`),
		create(t, "4", `{"tag":"ada","name":"Another"}`),
		remove("5", user.Ref{Tag: "lovelace"}),
		create(t, "6", `{"tag":"lovelace","name":"A third"}`),
		update(t, "7", user.Ref{Tag: "nobody"}, `{"name":"x"}`),
		create(t, "8", `{"tag":"ada","name":"Taken"}`),
		create(t, "1", `{"tag":"other","name":"The same event again"}`),
		update(t, "9", user.Ref{Tag: "ada"}, `{"name":"Another"}`),
		update(t, "9", user.Ref{Tag: "ada"}, `{"name":"Not looked at"}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"ai.admin.user.created v1", "ai.admin.user.updated v2", "ai.admin.user.updated v3", "ai.admin.user.created v1",
		"ai.admin.user.deleted v4", "ai.admin.user.created v1", "NOT_FOUND", "DUPLICATE_TAG", "ai.admin.user.created v1 again", "nothing", "nothing again"}
	var got []string
	for _, r := range results {
		one := "nothing"
		if r.Err != nil {
			one = string(user.KindOf(r.Err))
		} else if r.Event != nil {
			one = fmt.Sprintf("%s v%d", r.Event.Type, r.Event.Version)
		}
		if r.Replayed {
			one += " again"
		}
		got = append(got, one)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	if results[8].Event.ID != results[0].Event.ID {
		t.Error("an event that is in a batch twice has two answers")
	}
}

// TestBatchEqualsSingles runs random commands over few users, once one by one and once in
// batches, and wants the same answers, the same history and the same users. From some seeds come
// batches of creations alone, with some of deletions in between.
func TestBatchEqualsSingles(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a test's sequence, to be repeated
			single, singleDB := atNoon(t, pgtest.Database(t))
			bulk, bulkDB := atNoon(t, pgtest.Database(t))
			for batch := range 12 {
				commands := make([]user.Command, 1+random.IntN(40))
				for i := range commands {
					kind := random.IntN(8)
					if seed >= 6 {
						kind = []int{0, 0, 0, 7}[batch%4]
					}
					commands[i] = randomCommand(t, random, batch*3+i, kind)
				}
				var want []string
				for _, command := range commands {
					want = append(want, word(single.Apply(t.Context(), command)))
				}
				if diff := cmp.Diff(want, applyAll(t, bulk, commands...)); diff != "" {
					t.Fatalf("batch %d (-one by one +at once):\n%s", batch, diff)
				}
			}
			if diff := cmp.Diff(dump(t, singleDB), dump(t, bulkDB)); diff != "" {
				t.Errorf("what is stored (-one by one +at once):\n%s", diff)
			}
		})
	}
}

var someUsers = [4]uuid.UUID{{15: 1}, {15: 2}, {15: 3}, {15: 20}}

func randomCommand(t *testing.T, random *rand.Rand, n, kind int) user.Command {
	pick := func(options ...string) string { return options[random.IntN(len(options))] }
	id := someUsers[random.IntN(len(someUsers))]
	ref := user.Ref{ID: id}
	if random.IntN(3) == 0 {
		ref = user.Ref{Tag: pick("a", "b", "c", "d")}
	}
	cause := fmt.Sprint(n) // those at the end of one batch come again at the start of the next
	secret := pick("null", `"sk-0123456789"`, `"sk-abcdefghij"`)
	var command user.Command
	switch kind {
	case 0, 1, 2:
		command = create(t, cause, fmt.Sprintf(`{"id":%q,"tag":%q,"name":"N","email":%s,"externalId":%s,"models":%s,"credentials":{"openai":%s}}`,
			id, pick("a", "b", "c", "d"), pick("null", `"x@example.com"`, `"Y@example.com"`), pick("null", `"1"`, `""`),
			pick("null", "[]", `["gpt-5*","a\"b\\{}, c"]`), secret))
	case 3, 4, 5:
		command = update(t, cause, ref, pick(`{"tag":"a"}`, `{"tag":"b"}`, `{"tag":"C"}`, `{"email":"y@EXAMPLE.com"}`, `{"email":null}`,
			`{"externalId":"1"}`, `{"externalId":""}`, `{"name":"M"}`, `{"name":"N","metadata":{"k":{"l":"m"}}}`, `{"name":""}`,
			`{"limits":{"tokensPerMinute":5}}`, `{"credentials":{"openai":`+secret+`,"other":"tiny"}}`, `{}`))
	default:
		command = remove(cause, ref)
	}
	if random.IntN(6) == 0 {
		command.IfMatch = &user.Precondition{Versions: []int64{random.Int64N(4)}}
	}
	if random.IntN(20) == 0 {
		command.Claim = nil
	}
	return command
}

// dump is all that is stored, but for random values: the events' ids and the sealed boxes.
func dump(t *testing.T, db *store.Store) []string {
	t.Helper()
	var lines []string
	for _, query := range []string{
		`SELECT 'user ' || (to_jsonb(u) - 'feed_xid')::text FROM users u ORDER BY id`,
		`SELECT 'event ' || (to_jsonb(e) - 'id' - 'seq' - 'xid')::text FROM events e ORDER BY seq`,
		`SELECT 'credential ' || user_id || ' ' || provider || ' ' || split_part(sealed, ':', 1) FROM credentials ORDER BY user_id, provider`,
		`SELECT 'claim ' || encode(key, 'hex') || ' ' || coalesce(user_id::text, '-') || ' ' || (event_id IS NULL) || ' ' || expires_at FROM claims ORDER BY key`,
		`SELECT 'outbox ' || partition || ' ' || o.user_id || ' ' || version FROM outbox o JOIN events e ON e.id = o.event_id AND e.seq = o.seq ORDER BY o.seq`,
		`SELECT 'erasure ' || e.user_id || ' ' || e.version FROM erasures r JOIN events e ON e.seq = r.seq ORDER BY r.seq`,
	} {
		rows, err := db.DB().QueryContext(t.Context(), query)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var line string
			if err := rows.Scan(&line); err != nil {
				t.Fatal(err)
			}
			lines = append(lines, line)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
	}
	return lines
}

// TestSwappedTags holds that users may hand their unique values round within a batch,
// which one statement for all would find violated.
func TestSwappedTags(t *testing.T) {
	t.Parallel()
	s, _ := atNoon(t, pgtest.Database(t))
	a, b := user.Ref{ID: uuid.UUID{15: 1}}, user.Ref{ID: uuid.UUID{15: 2}}
	applyAll(t, s, create(t, "1", `{"id":"00000000-0000-0000-0000-000000000001","tag":"a","name":"A"}`),
		create(t, "2", `{"id":"00000000-0000-0000-0000-000000000002","tag":"b","name":"B"}`))
	for i, got := range applyAll(t, s, update(t, "3", a, `{"tag":"x"}`), update(t, "4", b, `{"tag":"a"}`), update(t, "5", a, `{"tag":"b"}`)) {
		if !bytes.HasPrefix([]byte(got), []byte("ai.admin.user.updated")) {
			t.Errorf("step %d: %s", i, got)
		}
	}
	if u, err := s.Get(t.Context(), user.Ref{ID: a.ID}); err != nil || u.Tag != "b" {
		t.Errorf("the swap came to %+v, %v", u, err)
	}
}

func TestBatchEndsWithItsContext(t *testing.T) {
	t.Parallel()
	s, db := atNoon(t, pgtest.Database(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.ApplyAll(ctx, []user.Command{create(t, "1", `{"tag":"a","name":"A"}`)}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled batch says %v", err)
	}
	if _, err := db.Get(t.Context(), user.Ref{Tag: "a"}); user.KindOf(err) != user.NotFound {
		t.Errorf("a cancelled batch was carried out: %v", err)
	}
}
