package store_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
	"aiadmin/test/pgtest"
)

// TestADraftNeedsTemporaryTables: a role that may not make them is told what it lacks.
func TestADraftNeedsTemporaryTables(t *testing.T) {
	t.Parallel()
	address := pgtest.Database(t)
	id := user.NewID()
	role := fmt.Sprintf("draftless_%x", id[10:])
	for _, statement := range []string{"CREATE ROLE " + role, "GRANT ALL ON ALL TABLES IN SCHEMA public TO " + role,
		"DO $$ BEGIN EXECUTE 'REVOKE TEMPORARY ON DATABASE ' || quote_ident(current_database()) || ' FROM PUBLIC'; END $$"} {
		must(t, pgtest.Exec(t.Context(), address, statement))
	}
	t.Cleanup(func() {
		_ = pgtest.Exec(t.Context(), address, "DROP OWNED BY "+role)
		_ = pgtest.Exec(t.Context(), address, "DROP ROLE "+role)
	})
	if draft, err := open(t, asRole(address, role)).Draft(t.Context()); err == nil || !strings.Contains(err.Error(), "GRANT TEMPORARY ON DATABASE") {
		t.Errorf("%v, %v", draft, err)
	}
	draft, err := open(t, address).Draft(t.Context())
	must(t, err)
	draft.Close()
}

// TestADraftComesFirst whatever the search path says: what is written to it must never reach the real table.
func TestADraftComesFirst(t *testing.T) {
	t.Parallel()
	address := pgtest.Database(t)
	u := person(1, 10)
	insert(t, open(t, address), u)
	for _, path := range []string{"public", "public,pg_temp", "pg_temp,public", `"$user",public,pg_catalog,pg_temp`} {
		s := open(t, withOption(address, "search_path="+path))
		draft, err := s.Draft(t.Context())
		must(t, err)
		tx, known, err := draft.Begin(t.Context(), &store.Wanted{Users: []user.Ref{{ID: u.ID}}})
		must(t, err)
		if len(known.Users) != 1 {
			t.Fatalf("%s: %d users", path, len(known.Users))
		}
		must(t, tx.Commit(t.Context(), &store.Writes{Delete: []uuid.UUID{u.ID}}, nil))
		tx.Rollback()
		draft.Close()
		if _, err := s.Get(t.Context(), user.Ref{ID: u.ID}); err != nil {
			t.Fatalf("%s: the dry run deleted a user: %v", path, err)
		}
	}
}

// TestASilentDatabaseEndsADraft in the time of other requests, one that is open and one that is to be opened.
func TestASilentDatabaseEndsADraft(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	proxy := pgtest.NewProxy(t, db)
	s := open(t, proxy.URL(db))
	draft, err := s.Draft(t.Context())
	must(t, err)
	defer draft.Close()
	proxy.Silence()
	for what, ask := range map[string]func() error{
		"open":    func() error { _, _, err := draft.Begin(t.Context(), &store.Wanted{}); return err },
		"to open": func() error { _, err := s.Draft(t.Context()); return err },
	} {
		began := time.Now()
		if err := ask(); user.KindOf(err) != user.Unavailable || time.Since(began) > silenceBound {
			t.Errorf("%s: %v after %v", what, err, time.Since(began))
		}
	}
}
