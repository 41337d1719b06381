package store_test

import (
	"regexp"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/uptrace/bun/migrate"

	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
	"aiadmin/test/pgtest"
)

// TestEightCopiesMigrateAtOnce starts on an empty database as a rollout's copies do: all
// come up, and each migration is applied by one of them.
func TestEightCopiesMigrateAtOnce(t *testing.T) {
	t.Parallel()
	db := pgtest.Empty(t)
	var (
		mu      sync.Mutex
		applied []string
		all     sync.WaitGroup
	)
	begin := make(chan struct{})
	for range 8 {
		// One connection: migrating must not need a second while it holds the first.
		s, err := store.Open(store.Options{ConnString: db, MaxConnections: 1})
		must(t, err)
		t.Cleanup(func() { _ = s.Close() })
		all.Go(func() {
			<-begin
			names, err := s.Migrate(t.Context(), nil)
			if err != nil {
				t.Error(err)
			}
			if err := s.Ping(t.Context()); err != nil {
				t.Error("not ready after migrating:", err)
			}
			mu.Lock()
			applied = append(applied, names...)
			mu.Unlock()
		})
	}
	close(begin)
	all.Wait()
	if want := len(store.Migrations().Sorted()); len(applied) != want {
		t.Errorf("applied %q, want each of %d migrations once", applied, want)
	}
}

// TestMigrationsGoDownAndUpAgain: a down migration leaves nothing behind that stands in the way of
// going up.
func TestMigrationsGoDownAndUpAgain(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Empty(t))
	for range 2 {
		_, err := s.Migrate(t.Context(), nil)
		must(t, err)
		m := migrate.NewMigrator(s.DB(), store.Migrations())
		for range store.Migrations().Sorted() {
			_, err := m.Rollback(t.Context())
			must(t, err)
		}
		var left int
		must(t, s.DB().QueryRowContext(t.Context(), `SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname NOT LIKE 'bun_%'`).Scan(&left))
		var functions int
		must(t, s.DB().QueryRowContext(t.Context(), `SELECT count(*) FROM pg_proc p WHERE pronamespace = 'public'::regnamespace
			AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')`).Scan(&functions))
		if left != 0 || functions != 0 {
			t.Errorf("%d relations and %d functions are left", left, functions)
		}
		if err := s.Ping(t.Context()); err == nil {
			t.Error("ready without a schema")
		}
	}
}

// TestPingTellsWhatIsMissing: an operator reads which migration to run.
func TestPingTellsWhatIsMissing(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Empty(t))
	if err := s.Ping(t.Context()); err == nil {
		t.Fatal("an empty database is ready")
	} else if got := err.Error(); !regexp.MustCompile(`^the database is at migration "", this version needs "\d{14}": run ai-admin migrate$`).MatchString(got) {
		t.Error(got)
	}
}

// TestUsersFromBeforeAreListed takes all but the first migration back, with what they added to rows, and
// applies them to users that were there before.
func TestUsersFromBeforeAreListed(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Database(t))
	u := ann(t, "ann-1.b_c", func(u *user.User) { u.Name = "Ann B. Ça-va" })
	u.Credentials = append(u.Credentials, user.Credential{Provider: "mistral", KeyID: "k1", UpdatedAt: morning})
	insert(t, s, u)
	facets := func() (facets string) {
		must(t, s.DB().QueryRowContext(t.Context(), "SELECT facets::text FROM users").Scan(&facets))
		return facets
	}
	want := facets()
	for _, statement := range []string{"DROP FUNCTION credentials_time CASCADE", "ALTER TABLE credentials DROP CONSTRAINT credentials_user",
		"INSERT INTO credentials (user_id, provider, sealed, user_created_at) VALUES (gen_random_uuid(), 'openai', 'k1:orphan', now())",
		"ALTER TABLE credentials DROP COLUMN user_created_at",
		"UPDATE users SET facets = ARRAY(SELECT facet FROM unnest(facets) AS facet WHERE facet !~ '^q~[a-z0-9][^a-z0-9][a-z0-9]$')",
		"DROP TABLE unformed_users, keys, group_members, groups, audit", "DROP FUNCTION users_forms CASCADE", "DROP INDEX users_search_forms, users_by_name",
		"ALTER TABLE users DROP COLUMN user_name, DROP COLUMN user_name_key, DROP COLUMN expires_at, DROP COLUMN keys, DROP COLUMN scim, DROP COLUMN search",
		"ALTER TABLE claims DROP COLUMN secret", "ALTER TABLE events DROP COLUMN trace_parent", "CREATE INDEX users_name ON users (name_key, id)",
		"CREATE INDEX users_facets ON users USING gin (facets)", "CREATE INDEX users_search ON users (name_key)",
		"DELETE FROM bun_migrations WHERE name > (SELECT min(name) FROM bun_migrations)"} {
		_, err := s.DB().ExecContext(t.Context(), statement)
		must(t, err)
	}
	if facets() == want {
		t.Fatalf("nothing was taken away of %s", want)
	}
	names, err := s.Migrate(t.Context(), nil)
	must(t, err)
	if diff := cmp.Diff(want, facets()); len(names) != len(store.Migrations().Sorted())-1 || diff != "" {
		t.Errorf("%q makes facets (-want +got):\n%s", names, diff)
	}
	// A revision from before may still be at work.
	_, err = s.DB().ExecContext(t.Context(), "INSERT INTO credentials (user_id, provider, sealed) VALUES (?, 'azure', 'k1:z')", u.ID)
	must(t, err)
	var copied bool
	must(t, s.DB().QueryRowContext(t.Context(), "SELECT c.user_created_at = u.created_at FROM credentials c JOIN users u ON u.id = c.user_id WHERE provider = 'azure'").Scan(&copied))
	if !copied {
		t.Error("the credential of an older revision lacks the time of the user's creation")
	}
	for _, listing := range []string{"provider=openai", "provider=mistral&sort=createdAt", "provider=openai&createdFrom=2000-01-01T00:00:00Z&q=ann", "q=n-1", "q=1.b&provider=openai"} {
		page, err := s.List(t.Context(), parse(t, listing+"&count=exact"))
		must(t, err)
		if len(page.Users) != 1 || *page.Total != 1 {
			t.Errorf("%s finds %d of %d users", listing, len(page.Users), *page.Total)
		}
	}
}

// TestMigratingKnowsWhatIsSearched: estimates of a search are as good right after a migration as before it.
func TestMigratingKnowsWhatIsSearched(t *testing.T) {
	t.Parallel()
	_, db := crowded(t, 400, 1)
	s := open(t, db)
	for _, statement := range []string{"DROP TABLE unformed_users, keys, group_members, groups, audit", "DROP FUNCTION users_forms CASCADE", "DROP INDEX users_search_forms, users_by_name",
		"ALTER TABLE users DROP COLUMN user_name, DROP COLUMN user_name_key, DROP COLUMN expires_at, DROP COLUMN keys, DROP COLUMN scim, DROP COLUMN search",
		"ALTER TABLE claims DROP COLUMN secret", "ALTER TABLE events DROP COLUMN trace_parent", "CREATE INDEX users_name ON users (name_key, id)",
		"DELETE FROM bun_migrations WHERE name >= '20261123000002'"} {
		_, err := s.DB().ExecContext(t.Context(), statement)
		must(t, err)
	}
	_, err := s.Migrate(t.Context(), nil)
	must(t, err)
	var bounds int
	must(t, s.DB().QueryRowContext(t.Context(), `SELECT coalesce(max(array_length(histogram_bounds::text::text[], 1)), 0)
		FROM pg_stats WHERE tablename = 'users' AND attname = 'search'`).Scan(&bounds))
	if bounds <= 101 { // what a column has that asks for no more
		t.Errorf("only %d bounds of the searched text are known", bounds)
	}
}

// TestModelsAreTheTables holds the models against a migrated database.
func TestModelsAreTheTables(t *testing.T) {
	t.Parallel()
	conn, err := pgx.Connect(t.Context(), pgtest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	const ofDatabase = `SELECT table_name, array_agg(column_name::text ORDER BY column_name COLLATE "C") FROM information_schema.columns
		WHERE table_schema = 'public' AND table_name NOT LIKE 'bun_migration%' AND NOT (table_name = 'users' AND column_name = 'feed_xid')
		GROUP BY table_name` // feed_xid is written by its default alone, for former revisions
	rows, err := conn.Query(t.Context(), ofDatabase)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]string{}
	var table string
	var columns []string
	if _, err := pgx.ForEachRow(rows, []any{&table, &columns}, func() error { found[table] = slices.Clone(columns); return nil }); err != nil {
		t.Fatal(err)
	}
	declared := store.Models()
	for _, columns := range declared {
		slices.Sort(columns)
	}
	if diff := cmp.Diff(declared, found); diff != "" {
		t.Errorf("(-models +database):\n%s", diff)
	}
}
