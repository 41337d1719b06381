package store_test

import (
	"net/url"
	"strings"
	"testing"

	"aiadmin/pkg/pgtest"
	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
)

// crowd makes users of which some values are common and some rare, as they are in life;
// $1 is their number.
const crowd = `INSERT INTO users (id, tag, name, name_key, email, email_key, role, status, models, credentials, metadata,
		external_id, version, created_at, updated_at, facets)
	SELECT gen_random_uuid(), 'user-' || n, 'Name ' || md5(n::text), 'name ' || md5(n::text),
		CASE WHEN n % 5 > 0 THEN md5(n::text) || '@example.com' END, CASE WHEN n % 5 > 0 THEN md5(n::text) || '@example.com' END,
		CASE WHEN n % 1000 = 0 THEN 'admin' WHEN n % 50 = 0 THEN 'service' WHEN n % 3 = 0 THEN 'viewer' ELSE 'member' END,
		CASE WHEN n % 40 = 0 THEN 'suspended' ELSE 'active' END, NULL, '[]', '{}',
		'ext-' || n, 1, now() - n * interval '1 second', now(),
		ARRAY[CASE WHEN n % 10 = 0 THEN 'model=gpt-5*' WHEN n % 500 = 0 THEN 'model~' ELSE 'model=*' END,
			CASE WHEN n % 2 = 0 THEN 'provider=openai' WHEN n % 700 = 0 THEN 'provider=rare' ELSE 'provider=other' END,
			'meta/team=t' || n % 3000]
	FROM generate_series(1, 60000) AS n`

func TestNoListingReadsTheWholeTable(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	for _, statement := range []string{crowd, "ANALYZE users"} {
		if err := pgtest.Exec(t.Context(), url, statement); err != nil {
			t.Fatal(err)
		}
	}
	db, err := store.Open(store.Options{ConnString: url, MaxConnections: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for _, filter := range []string{
		"", "id=01936d2e-7a4b-7c1e-9f00-3b1a2c4d5e6f", "tag=user-7", "tag=user-7&tag=user-8", "email=X@example.com",
		"role=admin", "role=member", "role=admin&role=service", "status=suspended", "status=active", "role=admin&status=suspended",
		"externalId=ext-9", "model=gpt-5-mini", "model=claude", "provider=openai", "provider=rare", "metadata.team=t7",
		"provider=openai&metadata.team=t7&model=gpt-5", "q=user-123", "q=name", "q=e-m", "q=us", "q=z", "q=9",
		"createdFrom=2100-01-01T00:00:00Z", "createdTo=2000-01-01T00:00:00Z", "createdFrom=2020-01-01T00:00:00Z&status=suspended",
	} {
		for _, sort := range []string{"createdAt", "-createdAt", "tag", "-tag", "name", "-name", "email", "-email", "name,-createdAt"} {
			q := parse(t, filter+"&sort="+sort)
			checkPlan(t, db, q, filter+" by "+sort)
		}
	}
	last := user.User{Tag: "user-3", Name: "Name m", ID: user.NewID()}
	for _, sort := range []string{"createdAt", "-createdAt", "tag", "-name", "name,-createdAt"} {
		first := parse(t, "sort="+sort)
		q := parse(t, "sort="+sort+"&cursor="+first.CursorAfter(&last))
		checkPlan(t, db, q, "behind a cursor by "+sort)
	}
}

func parse(t *testing.T, query string) user.Query {
	t.Helper()
	values, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	q, err := user.ParseQuery(values)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return q
}

func checkPlan(t *testing.T, db *store.Store, q user.Query, what string) {
	t.Helper()
	plan, err := db.Plan(t.Context(), q)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if strings.Contains(plan, "Seq Scan on users") || !strings.Contains(plan, "users") {
		t.Errorf("%s reads the whole table:\n%s", what, plan)
	}
}
