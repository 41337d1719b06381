package store

import (
	"database/sql"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
)

// TestDecoderHasEveryColumn holds the decoder of users against their model.
func TestDecoderHasEveryColumn(t *testing.T) {
	t.Parallel()
	db := bun.NewDB(sql.OpenDB(stdlib.GetConnector(pgx.ConnConfig{})), pgdialect.New()) // for its schema alone
	read := columnsOf[userRow](db, derivedColumns...)
	if diff := cmp.Diff(slices.Sorted(slices.Values(append(read, "groups"))), slices.Sorted(maps.Keys(decodeUserColumn))); diff != "" {
		t.Errorf("(-model +decoder):\n%s", diff)
	}
}
