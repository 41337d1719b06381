package store_test

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
	"aiadmin/test/pgtest"
)

func openLog(t *testing.T) *store.Store {
	t.Helper()
	s, err := store.Open(store.Options{ConnString: pgtest.Database(t), MaxConnections: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func exec(t *testing.T, s *store.Store, query string, args ...any) {
	t.Helper()
	if _, err := s.DB().DB.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatal(err)
	}
}

// record appends an event of a user to the log, and to the outbox unless it is sent.
func record(t *testing.T, s *store.Store, of uuid.UUID, at time.Time, sent bool) uuid.UUID {
	t.Helper()
	id := user.NewID()
	exec(t, s, `WITH e AS (INSERT INTO events (id, user_id, version, type, at, actor, cause, data, changes)
		VALUES ($1, $2, 1, 'ai.admin.user.created', $3, 'a', 'c', '{}', '[]') RETURNING id, seq, user_id)
		INSERT INTO outbox (partition, seq, event_id, user_id) SELECT $4, seq, id, user_id FROM e WHERE NOT $5::boolean`,
		id, of, at, of[15]%store.Partitions, sent)
	return id
}

// feed waits until an event can be seen, for other tests' transactions hold it up, and
// returns all ids behind a place.
func feed(t *testing.T, s *store.Store, after user.Place, want uuid.UUID) (ids []uuid.UUID, last user.Place) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		entries, _, err := s.Feed(t.Context(), after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		ids = nil
		for _, e := range entries {
			ids, last = append(ids, e.ID), e.Place()
		}
		if slices.Contains(ids, want) {
			return ids, last
		}
		if time.Now().After(deadline) {
			t.Fatalf("the feed has %v, and not %v", ids, want)
		}
	}
}

// A log whose transaction ids are ahead of the cluster's must show what it has, and what
// comes later must be behind cursors that were made before.
func TestMendFeedGoesOnBehindRestoredLog(t *testing.T) {
	t.Parallel()
	s := openLog(t)
	var restored []uuid.UUID
	for range 3 {
		restored = append(restored, record(t, s, uuid.New(), time.Now(), true))
	}
	const ahead = 1 << 40
	exec(t, s, "UPDATE events SET xid = (xid::text::bigint + $1)::text::xid8", int64(ahead))
	if entries, _, err := s.Feed(t.Context(), user.Place{}, 10); err != nil || len(entries) != 0 {
		t.Fatalf("the fault is not there to be mended: %v, %v", entries, err)
	}
	stray := record(t, s, uuid.New(), time.Now(), true) // before the mending
	for i, want := range []bool{true, false} {
		if mended, err := s.MendFeed(t.Context()); err != nil || mended != want {
			t.Fatalf("MendFeed, call %d: %v, %v", i, mended, err)
		}
	}
	ids, last := feed(t, s, user.Place{}, stray)
	if want := append(restored, stray); !slices.Equal(ids, want) {
		t.Errorf("the feed has %v, not %v", ids, want)
	}
	lost := user.Place{XID: ahead + 1<<31, Seq: 1 << 40} // a cursor to an event that is not in the dump
	after := record(t, s, uuid.New(), time.Now(), true)
	for name, cursor := range map[string]user.Place{"last": last, "lost": lost} {
		if ids, _ := feed(t, s, cursor, after); name == "last" && len(ids) != 1 {
			t.Errorf("behind %s: %v", name, ids)
		}
	}
}

func TestMendFeedLeavesOwnLogAlone(t *testing.T) {
	t.Parallel()
	s := openLog(t)
	record(t, s, uuid.New(), time.Now(), true)
	if mended, err := s.MendFeed(t.Context()); mended || err != nil {
		t.Error(mended, err)
	}
}

func TestPruneKeepsWhatIsUnsentAndExpiresCursors(t *testing.T) {
	t.Parallel()
	s := openLog(t)
	old, now := time.Now().Add(-time.Hour), time.Now()
	first := record(t, s, uuid.New(), old, true)
	_, early := feed(t, s, user.Place{}, first)
	unsent := record(t, s, uuid.New(), old, false)
	record(t, s, uuid.New(), old, true)
	young := record(t, s, uuid.New(), now, true)
	feed(t, s, early, young)

	var removed int64
	var after user.Place
	for more := true; more; {
		page, err := s.Prune(t.Context(), now.Add(-time.Minute), false, after, 2)
		if err != nil {
			t.Fatal(err)
		}
		removed, after, more = removed+page.Removed, page.Next, page.More
	}
	if removed != 2 {
		t.Errorf("removed %d events, not 2", removed)
	}
	if ids, _ := feed(t, s, user.Place{}, young); !slices.Equal(ids, []uuid.UUID{unsent, young}) {
		t.Errorf("left are %v", ids)
	}
	if err := s.CheckFloor(t.Context(), early); user.KindOf(err) != user.CursorExpired {
		t.Errorf("a cursor before what was removed: %v", err)
	}
}

// With no sink nothing is ever sent: retention counts all the same, also for what is kept to answer
// a claim: a sink that comes later is not told a part of what happened.
func TestPruneRemovesUnsentWhenTold(t *testing.T) {
	t.Parallel()
	s := openLog(t)
	old := record(t, s, uuid.New(), time.Now().Add(-time.Hour), false)
	answers := record(t, s, uuid.New(), time.Now().Add(-time.Hour), false)
	exec(t, s, "INSERT INTO claims (key, event_id, expires_at) VALUES ('k', $1, now() + interval '1 h')", answers)
	young := record(t, s, uuid.New(), time.Now(), false)
	feed(t, s, user.Place{}, old)
	feed(t, s, user.Place{}, young)
	if page, err := s.Prune(t.Context(), time.Now().Add(-time.Minute), true, user.Place{}, 10); err != nil || page.Removed != 1 {
		t.Fatal(page, err)
	}
	var left []string
	if err := s.DB().NewRaw("SELECT event_id FROM outbox").Scan(t.Context(), &left); err != nil || !slices.Equal(left, []string{young.String()}) {
		t.Errorf("the outbox has %v, %v", left, err)
	}
}

func TestEraseWaitsForTheOutbox(t *testing.T) {
	t.Parallel()
	s := openLog(t)
	id := uuid.New()
	exec(t, s, `INSERT INTO events (id, user_id, version, type, at, actor, cause, data, changes) VALUES ($1, $2, 1,
		'ai.admin.user.created', now(), 'a', 'c', '{"user":{"id":"x","name":"Ada","email":"a@b","metadata":{"k":1e-99999}},"changed":["name"]}',
		'[{"field":"name","from":null,"to":"Ada"},{"field":"role","from":null,"to":"member"}]')`, user.NewID(), id)
	exec(t, s, `WITH e AS (INSERT INTO events (id, user_id, version, type, at, actor, cause, data, changes)
		VALUES ($1, $2, 2, 'ai.admin.user.deleted', now(), 'a', 'c', '{"user":{"id":"x","tag":"ada"},"changed":[]}', '[]') RETURNING id, seq, user_id),
		q AS (INSERT INTO outbox (partition, seq, event_id, user_id) SELECT $3, seq, id, user_id FROM e)
		INSERT INTO erasures SELECT user_id, seq FROM e`, user.NewID(), id, id[15]%store.Partitions)
	if n, err := s.Erase(t.Context(), true, 10); n != 0 || err != nil {
		t.Fatalf("erased before the deletion was sent: %d, %v", n, err)
	}
	exec(t, s, "DELETE FROM outbox")
	if n, err := s.Erase(t.Context(), true, 10); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	entries, _, err := s.History(context.Background(), id, 1<<62, 10)
	if err != nil || len(entries) != 2 {
		t.Fatal(entries, err)
	}
	var data []string
	if err := s.DB().NewSelect().Table("events").Column("data").Order("seq").Scan(t.Context(), &data); err != nil || len(data) != 2 {
		t.Fatal(data, err)
	}
	if got := compact(t, []byte(data[1])); got != `{"user":{"id":"x"},"changed":[]}` {
		t.Errorf("data of the deletion: %s", got)
	}
	if got := compact(t, []byte(data[0])); got != `{"user":{"id":"x"},"changed":["name"]}` {
		t.Errorf("data: %s", got)
	}
	if got := compact(t, entries[1].Changes); got != `[{"field":"name","from":null,"to":null},{"field":"role","from":null,"to":"member"}]` {
		t.Errorf("changes: %s", got)
	}
}

func compact(t *testing.T, text []byte) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, text); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
