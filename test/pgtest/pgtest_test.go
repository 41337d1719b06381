package pgtest_test

import (
	"testing"

	"aiadmin/test/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestDatabasesAreApart(t *testing.T) {
	t.Parallel()
	one, two := pgtest.Database(t), pgtest.Database(t)
	if err := pgtest.Exec(t.Context(), one, "INSERT INTO erasures VALUES (gen_random_uuid(), 1)"); err != nil {
		t.Fatal("the template is not migrated:", err)
	}
	if err := pgtest.Exec(t.Context(), two, "SELECT 1 / (1 - (SELECT count(*) FROM erasures))"); err != nil {
		t.Fatal("one test sees another's rows:", err)
	}
	if err := pgtest.Exec(t.Context(), pgtest.Empty(t), "SELECT FROM users"); err == nil {
		t.Fatal("the empty database is not empty")
	}
}
