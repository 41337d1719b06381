package store_test

import (
	"testing"

	"aiadmin/pkg/user"
	"aiadmin/test/pgtest"
)

// TestConnectionsOfAReadOnlyTimeAreNotKept has all connections made while the database only reads, as
// a standby does that a failover leads to for a moment: once it writes again, so does the store.
func TestConnectionsOfAReadOnlyTimeAreNotKept(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	s := open(t, url)
	must(t, pgtest.ReadOnly(t.Context(), url, true))
	warm(t, s, 4)
	must(t, pgtest.ReadOnly(t.Context(), url, false))
	if err := insertAll(t.Context(), s, nil, ann(t, "ann")); user.KindOf(err) != user.Unavailable {
		t.Errorf("a change by a connection that only reads: %v", err)
	}
	insert(t, s, ann(t, "ann"))
	for range 4 {
		conn, err := s.DB().Conn(t.Context())
		must(t, err)
		defer func() { _ = conn.Close() }()
		var old bool
		must(t, conn.QueryRowContext(t.Context(), "SELECT current_setting('transaction_read_only')::bool").Scan(&old))
		if old {
			t.Error("a connection to a server that only reads was kept")
		}
	}
}
