package store_test

import (
	"errors"
	"net/url"
	"testing"
	"time"

	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
	"aiadmin/test/pgtest"
)

// TestExport compares exports with a sort in memory, in every sort by one field or two.
func TestExport(t *testing.T) {
	t.Parallel()
	all, db := crowded(t, 150, 7)
	s := open(t, db)
	for i, sort := range everySort() {
		if i%7 != 0 {
			continue
		}
		values := url.Values{"sort": {sort}, "limit": {"3"}}
		if i%2 == 0 {
			values.Set("status", "active")
			values.Set("q", "ann")
		}
		q := parse(t, values.Encode())
		same(t, values.Encode(), reference(t, all, q), exported(t, s, q))
	}
}

func exported(t *testing.T, s *store.Store, q user.Query) (users []*user.User) {
	t.Helper()
	_, err := s.Export(t.Context(), q, func(u *user.User) error {
		users = append(users, u)
		return nil
	})
	must(t, err)
	return users
}

// TestTheFeedGoesOnFromAnExport: a change that commits while an export runs, or had begun before it, is
// not in the export and is in the feed after its place.
func TestTheFeedGoesOnFromAnExport(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Database(t))
	before, under, during := ann(t, "before"), ann(t, "under-way"), ann(t, "during")
	insert(t, s, before)
	tx, _, err := s.Begin(t.Context(), store.Blind, &store.Wanted{})
	must(t, err)
	defer tx.Rollback()
	event := user.Recorded(nil, under, command)
	must(t, tx.Write(t.Context(), &store.Writes{Insert: []*user.User{under}}))
	var tags []string
	place, err := s.Export(t.Context(), parse(t, ""), func(u *user.User) error {
		tags = append(tags, u.Tag)
		must(t, tx.Commit(t.Context(), &store.Writes{}, []store.Record{{Event: &event}}))
		insert(t, s, during)
		return nil
	})
	must(t, err)
	if len(tags) != 1 || tags[0] != "before" {
		t.Fatalf("exported %v", tags)
	}
	must(t, s.CheckFloor(t.Context(), place))
	later := map[string]bool{}
	for deadline := time.Now().Add(20 * time.Second); !(later[under.ID.String()] && later[during.ID.String()]) && time.Now().Before(deadline); { // the feed waits for older transactions of other tests
		entries, _, err := s.Feed(t.Context(), place, 10)
		must(t, err)
		for _, e := range entries {
			later[e.UserID.String()] = true
		}
	}
	if !later[under.ID.String()] || !later[during.ID.String()] { // what came before may come again, while older transactions of other tests are open
		t.Errorf("after the export, the feed has %v", later)
	}
}

// TestAnExportEndsWithItsReader: the reader's error comes back as it is, and the connection is free again.
func TestAnExportEndsWithItsReader(t *testing.T) {
	t.Parallel()
	_, db := crowded(t, 50, 7)
	s := openOne(t, db)
	gone := &url.Error{Op: "write", Err: errors.New("gone")} // a net.Error, and none of the database's
	for range 3 {
		if _, err := s.Export(t.Context(), parse(t, ""), func(*user.User) error { return gone }); !errors.Is(err, error(gone)) {
			t.Fatalf("got %v", err)
		}
	}
	if users := exported(t, s, parse(t, "")); len(users) != 50 {
		t.Errorf("%d users", len(users))
	}
}
