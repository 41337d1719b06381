package store_test

import (
	"testing"

	"aiadmin/pkg/store"
	"aiadmin/test/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// open is a store on a database, which ends with the test.
func open(t testing.TB, connString string) *store.Store {
	t.Helper()
	s, err := store.Open(store.Options{ConnString: connString, MaxConnections: 12})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// fresh is a store on a migrated database of the test's own.
func fresh(t testing.TB) *store.Store {
	t.Helper()
	return open(t, pgtest.Database(t))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
