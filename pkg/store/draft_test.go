package store_test

import (
	"fmt"
	"strings"
	"testing"

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
