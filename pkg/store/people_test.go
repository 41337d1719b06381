package store_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"aiadmin/pkg/store"
	"aiadmin/pkg/user"
)

// epoch is when the first of the people was made.
var epoch = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

// person is the i-th of n users of an organization as they are found in practice, which is
// where planners go wrong: columns depend on each other and on time. The services came by
// an import at the beginning and share a tag's beginning, suspensions befell the old ones,
// no administrator is suspended, a legacy provider was given up long ago.
func person(i, n int) *user.User {
	r := rand.New(rand.NewPCG(uint64(i), 4711)) //nolint:gosec // the same people in every run
	age := float64(i) / float64(n)              // 0 is the oldest
	given, family := givenNames[r.IntN(len(givenNames))], familyNames[r.IntN(len(familyNames))]
	u := &user.User{
		Tag:  fmt.Sprintf("%s.%s.%d", strings.ToLower(given), strings.ToLower(family), i),
		Name: given + " " + family, Role: user.Member, Status: user.Active, Version: 1,
		CreatedAt: epoch.Add(time.Duration(i/3) * 20 * time.Second), // three at a time: ties
	}
	u.ID = timedID(u.CreatedAt, r)
	u.UpdatedAt = u.CreatedAt
	if !chance(r, 0.1) {
		email := fmt.Sprintf("%s.%s.%d@corp%d.example", given, family, i, r.IntN(300))
		u.Email = &email
	}
	if chance(r, 0.3) {
		external := fmt.Sprintf("00u%016x", r.Uint64())
		u.ExternalID = &external
	}
	employ(u, i, age, r)
	equip(u, age, r)
	return u
}

func employ(u *user.User, i int, age float64, r *rand.Rand) {
	switch {
	case age < 0.05 && chance(r, 0.6): // 3 % of all, at the beginning
		u.Role, u.Tag, u.Name, u.Email = user.Service, fmt.Sprintf("svc-%07d", i), "Service "+fmt.Sprint(i), nil
	case chance(r, 0.01):
		u.Role = user.Admin
	case chance(r, 0.08):
		u.Role = user.Viewer
	}
	if u.Role != user.Admin && age < 0.5 && chance(r, 0.12) {
		u.Status = user.Suspended
	}
}

func equip(u *user.User, age float64, r *rand.Rand) {
	switch x := r.Float64(); {
	case x < 0.05:
		u.Models = []string{}
	case x < 0.25:
		u.Models = []string{"gpt-5*", "claude-*"}
	case x < 0.33:
		u.Models = []string{"gpt-5", "gpt-5-mini"}
	case x < 0.34:
		u.Models = []string{"*-mini", "gpt-?-turbo"}
	}
	hold := func(provider string) {
		hint := "abcd"
		u.Credentials = append(u.Credentials, user.Credential{Provider: provider, Hint: &hint, KeyID: "k1", UpdatedAt: u.UpdatedAt})
	}
	if chance(r, 0.2) {
		hold("anthropic")
	}
	if age < 0.3 && chance(r, 0.1) {
		hold("legacy")
	}
	if chance(r, 0.005) {
		hold("mistral")
	}
	if chance(r, 0.4) {
		hold("openai")
	}
	u.Metadata = fmt.Appendf(nil, `{"cost":{"center":"cc-%04d"},"region":"%s","team":"team-%d"}`,
		r.IntN(1000), []string{"eu", "us", "ap", "af", "sa"}[min(4, r.IntN(20))], r.IntN(200))
}

func chance(r *rand.Rand, p float64) bool { return r.Float64() < p }

// timedID is a UUID of version 7 of some time.
func timedID(at time.Time, r *rand.Rand) uuid.UUID {
	var id uuid.UUID
	binary.BigEndian.PutUint64(id[:8], uint64(at.UnixMilli())<<16|uint64(r.Uint32N(1<<16)))
	binary.BigEndian.PutUint64(id[8:], r.Uint64())
	id[6], id[8] = id[6]&0x0f|0x70, id[8]&0x3f|0x80
	return id
}

var (
	givenNames  = syllables("Ma", "Jo", "An", "El", "Li", "Ka", "Sa", "To", "Ra", "Ni")
	familyNames = syllables("Mül", "Ber", "Schmi", "Kow", "Ro", "Fer", "Ngu", "Smi", "Tana", "Ivan", "O'", "Al")
)

// syllables makes names of two to three parts: 40 for each beginning.
func syllables(beginnings ...string) []string {
	var names []string
	for _, beginning := range beginnings {
		for _, middle := range []string{"", "na", "ri", "le", "to", "mo", "vi", "sha"} {
			for _, end := range []string{"n", "ra", "ski", "son", "dt"} {
				names = append(names, beginning+middle+end)
			}
		}
	}
	return names
}

// load copies users into a database that has none and brings its statistics up to date,
// as autovacuum does in time.
func load(t testing.TB, connString string, n int, make func(i int) *user.User) {
	t.Helper()
	loadTimes(t, connString, n, 1, make)
}

// loadTimes loads each user so many times, with unique fields of its own, which takes a
// tenth of the time of making as many.
func loadTimes(t testing.TB, connString string, n, times int, make func(i int) *user.User) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, connString)
	must(t, err)
	defer func() { _ = conn.Close(ctx) }()
	indexes := dropIndexes(t, conn)
	_, err = conn.Exec(ctx, "SET ai_admin.forms = '1'")
	must(t, err)
	columns, rows := store.CopyRows(n, func(i int) *user.User { return keyed(make(i)) })
	_, err = conn.CopyFrom(ctx, pgx.Identifier{"users"}, columns, rows)
	must(t, err)
	own := map[string]string{"id": "gen_random_uuid()", "tag": "tag || '.' || k", "external_id": "external_id || '.' || k",
		"email": "k || email", "email_key": "k || email_key", "user_name_key": "k || user_name_key",
		"search": `tag || '.' || k || E'\n' || name_key || E'\n' || k || coalesce(email_key, '')`, "created_at": "created_at + k * interval '1 ms'"}
	values := slices.Clone(columns)
	for i, column := range columns {
		if value, ok := own[column]; ok {
			values[i] = value
		}
	}
	multiply := fmt.Sprintf("INSERT INTO users (%s) SELECT %s FROM users, generate_series(2, %d) AS k ORDER BY created_at",
		strings.Join(columns, ", "), strings.Join(values, ", "), times)
	const seal = `INSERT INTO credentials SELECT id, held->>'provider', 'k1:', created_at FROM users, json_array_elements(credentials) AS held`
	for _, statement := range slices.Concat([]string{multiply, seal}, indexes, []string{"VACUUM (ANALYZE) users, credentials"}) {
		if _, err := conn.Exec(ctx, statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// keyed sets the comparison forms, as applying a change does.
func keyed(u *user.User) *user.User {
	if u.Email != nil {
		u.EmailKey = user.FoldAddress(*u.Email)
	}
	u.UserNameKey, u.SCIM = user.FoldAddress(u.EffectiveUserName()), []byte("{}")
	return u
}

// dropIndexes spares the load the upkeep of each index, and returns what makes them again.
func dropIndexes(t testing.TB, conn *pgx.Conn) []string {
	t.Helper()
	rows, err := conn.Query(context.Background(), `SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid),
			coalesce((SELECT attstattarget FROM pg_attribute a WHERE a.attrelid = i.indexrelid AND a.attnum = 1), -1)
		FROM pg_index i WHERE i.indrelid = 'users'::regclass AND NOT i.indisprimary`)
	must(t, err)
	var drop, remake []string
	var name, definition string
	var statistics int
	_, err = pgx.ForEachRow(rows, []any{&name, &definition, &statistics}, func() error {
		drop = append(drop, "DROP INDEX "+name)
		remake = append(remake, definition)
		if statistics > 0 {
			remake = append(remake, fmt.Sprintf("ALTER INDEX %s ALTER COLUMN 1 SET STATISTICS %d", name, statistics))
		}
		return nil
	})
	must(t, err)
	for _, statement := range drop {
		if _, err := conn.Exec(context.Background(), statement); err != nil {
			t.Fatal(err)
		}
	}
	return remake
}
