package janitor

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
	"aiadmin/test/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const longEnough = 25 * time.Second // for a busy machine

func openStore(t testing.TB) *store.Store {
	t.Helper()
	s, err := store.Open(store.Options{ConnString: pgtest.Database(t), MaxConnections: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func start(t testing.TB, o Options) *Janitor {
	t.Helper()
	j := New(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); j.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return j
}

func exec(t testing.TB, s *store.Store, statement string, args ...any) {
	t.Helper()
	if _, err := s.DB().DB.Exec(statement, args...); err != nil {
		t.Fatal(err)
	}
}

func count(t testing.TB, s *store.Store, table string) (n int) {
	t.Helper()
	if err := s.DB().DB.QueryRow("SELECT count(*) FROM " + table).Scan(&n); err != nil {
		t.Error(err)
	}
	return n
}

func eventually(t testing.TB, within time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("did not happen within %v: %s", within, what)
		}
	}
}

// deleteUser records a creation and a deletion as changes do, and queues the erasure.
func deleteUser(t testing.TB, s *store.Store) uuid.UUID {
	t.Helper()
	id := uuid.New()
	personal := map[string]any{"id": id, "role": "member"}
	var changes []map[string]any
	for _, field := range append(user.PersonalFields(), "role") {
		personal[field] = "planted"
		changes = append(changes, map[string]any{"field": field, "from": nil, "to": "planted"})
	}
	data, _ := json.Marshal(map[string]any{"user": personal, "changed": []string{"role"}})
	changed, _ := json.Marshal(changes)
	const event = `WITH e AS (INSERT INTO events (id, user_id, version, type, at, actor, cause, data, changes)
			VALUES (gen_random_uuid(), $1, $2, $3, now(), 'a', 'c', $4::json, $5::json) RETURNING id, seq, user_id)
		INSERT INTO outbox (partition, seq, event_id, user_id) SELECT $6, seq, id, user_id FROM e`
	exec(t, s, event, id, 1, string(user.Created), string(data), string(changed), int16(id[15]%store.Partitions))
	exec(t, s, event, id, 2, string(user.Deleted), `{"user":{"id":"`+id.String()+`","tag":"planted"},"changed":[]}`, "[]", int16(id[15]%store.Partitions))
	exec(t, s, "INSERT INTO erasures SELECT user_id, max(seq) FROM events WHERE user_id = $1 GROUP BY user_id", id)
	return id
}

// Without a sink personal values of the deleted are erased at once, though events wait.
func TestErasesAtOnceWithoutASink(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	j := start(t, Options{Store: s})
	deleteUser(t, s)
	j.Wake()
	eventually(t, eraseEvery/2, "erased", func() bool { return count(t, s, "erasures") == 0 })
	if n := count(t, s, "outbox"); n != 2 {
		t.Errorf("%d events wait", n)
	}
}

// With a sink, erasing waits for the deletion's event, and comes soon after it. What is
// erased is what the domain calls personal, and nothing else.
func TestErasesWhatIsPersonalOnceSent(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	id := deleteUser(t, s)
	j := start(t, Options{Store: s, Sends: func(context.Context) bool { return true }})
	exec(t, s, "DELETE FROM outbox WHERE seq < (SELECT max(seq) FROM outbox)")
	j.Wake()
	time.Sleep(2 * eraseSoon)
	if count(t, s, "erasures") != 1 {
		t.Error("erased before the deletion's event was sent")
	}
	exec(t, s, "DELETE FROM outbox")
	j.Wake()
	eventually(t, eraseEvery/2, "erased", func() bool { return count(t, s, "erasures") == 0 })
	feed, _, err := s.Feed(t.Context(), user.Place{}, 10)
	history, _, err2 := s.History(t.Context(), id, 1<<62, 10)
	if err != nil || err2 != nil || len(feed) != 2 || len(history) != 2 {
		t.Fatalf("%d, %d, %v, %v", len(feed), len(history), err, err2)
	}
	if got := string(feed[1].Data); got != `{"user" : { "id" : "`+id.String()+`" }, "changed" : []}` {
		t.Errorf("the deletion: %s", got)
	}
	var creation struct{ User map[string]any }
	if err := json.Unmarshal(feed[0].Data, &creation); err != nil || creation.User["role"] != "planted" || creation.User["id"] != id.String() {
		t.Errorf("the creation lost too much: %v, %s", err, feed[0].Data)
	}
	var changes []struct {
		Field string
		To    any
	}
	if err := json.Unmarshal(history[1].Changes, &changes); err != nil || len(changes) != len(user.PersonalFields())+1 {
		t.Fatalf("%v, %s", err, history[1].Changes)
	}
	for _, c := range changes {
		if kept := c.To != nil; kept != (c.Field == "role") {
			t.Errorf("the history's %s: %v", c.Field, c.To)
		}
	}
	for _, field := range user.PersonalFields() {
		if value, there := creation.User[field]; there {
			t.Errorf("%s is still %v", field, value)
		}
	}
}

func TestExpiredClaimsAreRemoved(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	exec(t, s, `INSERT INTO claims (key, expires_at) SELECT int4send(n), now() + CASE WHEN n <= 1200 THEN interval '-1 s' ELSE interval '1 h' END
		FROM generate_series(1, 1300) AS n`)
	left := func(want int) func() bool { return func() bool { return count(t, s, "claims") == want } }
	start(t, Options{Store: s, Retention: func() Retention { return Retention{Claims: time.Second} }})
	eventually(t, longEnough, "100 claims are left", left(100))
	exec(t, s, "UPDATE claims SET expires_at = now()")
	eventually(t, eraseEvery/2, "claims that are kept for a second are looked for each second", left(0))
}

// TestSearchIndexIsTidied fills the index's pending list: once a change is announced, the list is empty.
func TestSearchIndexIsTidied(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	j := start(t, Options{Store: s})
	exec(t, s, "CREATE EXTENSION pgstattuple")
	exec(t, s, `INSERT INTO users (id, tag, name, name_key, role, status, credentials, metadata, version, created_at, updated_at, search, facets)
		SELECT gen_random_uuid(), 't' || n, 'Ada', 'ada', 'member', 'active', '[]', '{}', 1, now(), now(), 'ada ' || n, '{model=*}' FROM generate_series(1, 20) AS n`)
	pending := func() (tuples int64) {
		if err := s.DB().DB.QueryRow("SELECT pending_tuples FROM pgstatginindex('users_search_forms')").Scan(&tuples); err != nil {
			t.Fatal(err)
		}
		return tuples
	}
	if pending() == 0 {
		t.Fatal("nothing is in the pending list")
	}
	j.Changed()
	eventually(t, longEnough, "the list is empty", func() bool { return pending() == 0 })
}
