package store

import (
	"context"
	"database/sql"
	"fmt"
	"reflect"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"aiadmin/pkg/scim"
	"aiadmin/pkg/user"
)

// schemaOnly has no database behind it.
func schemaOnly() *bun.DB {
	return bun.NewDB(sql.OpenDB(stdlib.GetConnector(pgx.ConnConfig{})), pgdialect.New())
}

// Models returns the columns of each table as its model declares them.
func Models() map[string][]string {
	db := schemaOnly()
	return map[string][]string{"users": columnsOf(fieldsOf[userRow](db)), "credentials": columnsOf(fieldsOf[credentialRow](db)), "keys": columnsOf(fieldsOf[keyRow](db)),
		"events": columnsOf(fieldsOf[EventRow](db)), "outbox": columnsOf(fieldsOf[outboxRow](db)), "claims": columnsOf(fieldsOf[claimRow](db)), "erasures": columnsOf(fieldsOf[erasureRow](db)),
		"feed_floor": columnsOf(fieldsOf[feedFloorRow](db)), "groups": columnsOf(fieldsOf[groupRow](db)), "group_members": columnsOf(fieldsOf[memberRow](db)),
		"audit": columnsOf(fieldsOf[auditRow](db)), "unformed_users": columnsOf(fieldsOf[unformedRow](db))}
}

// CopyRows are users as COPY takes them, by the model that an insert goes through.
func CopyRows(n int, user func(i int) *user.User) ([]string, pgx.CopyFromSource) {
	db := schemaOnly()
	fields := fieldsOf[userRow](db)
	return columnsOf(fields), pgx.CopyFromSlice(n, func(i int) ([]any, error) {
		u := user(i)
		u.SetForms()
		row := rowOf(u)
		values := make([]any, len(fields))
		for k, f := range fields {
			values[k] = f.Value(reflect.ValueOf(&row).Elem()).Interface()
			if json, ok := values[k].(jsontext.Value); ok {
				values[k] = orEmptyObject(json)
			}
		}
		return values, nil
	})
}

// ForgetTotals makes the next listing count again.
func (s *Store) ForgetTotals() { s.totals = newTotals() }

// Scan serves a page by a scan in order of so many users; enough says that it is not given up.
func (s *Store) Scan(ctx context.Context, q user.Query, budget int64) (users []*user.User, enough bool, err error) {
	l := s.listing(q)
	users, err = s.queryUsers(ctx, l, l.scan(q, budget))
	return users, len(users) > q.Limit, err
}

// Sorted serves a page by selecting and sorting.
func (s *Store) Sorted(ctx context.Context, q user.Query) ([]*user.User, error) {
	users, _, err := s.sorted(ctx, q)
	return users, err
}

// Filtered says whether a query has a filter that no index has in its order.
func (s *Store) Filtered(q user.Query) bool { return len(s.listing(q).filter) > 0 }

// Plans are how PostgreSQL would run each statement that serves some page of a query, with
// the values that it has, by name.
func (s *Store) Plans(ctx context.Context, q user.Query) (map[string]string, error) {
	compose := map[string]func(*listing) *bun.SelectQuery{
		"count": func(l *listing) *bun.SelectQuery { return l.count(user.MaxExact) },
		"exact": func(l *listing) *bun.SelectQuery { return l.count(0) },
	}
	if s.Filtered(q) {
		compose["scan"] = func(l *listing) *bun.SelectQuery { return l.scan(q, 1000) }
		compose["sort"] = func(l *listing) *bun.SelectQuery { return l.sort(q) }
	} else {
		compose["in order"] = func(l *listing) *bun.SelectQuery { return l.inOrder(q) }
	}
	plans := map[string]string{}
	for name, statement := range compose {
		l := s.listing(q)
		lines, err := queryValues[string](ctx, s.pool, "EXPLAIN "+statement(l).String(), l.arguments())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		plans[name] = strings.Join(lines, "\n")
	}
	return plans, nil
}

// Conditions are how many conditions a filter has in SQL.
func (s *Store) Conditions(f user.Filter) int {
	l := s.listing(user.Query{Filter: f})
	return len(l.index) + len(l.filter)
}

// Counts is when each remembered count was made.
func (s *Store) Counts() (at int64) {
	for _, kept := range s.totals.kept.Values() {
		at += kept.countedAt.UnixNano()
	}
	return at
}

// HasAbsence says whether the parameter without has a condition for a name.
func (s *Store) HasAbsence(name string) bool { return absences[name] != "" }

// Migrations are all that there are.
var Migrations = migrations

// ListingText is the text of the page's statement of a listing without a filter, which is to
// be prepared.
func (s *Store) ListingText(q user.Query) string { return s.listing(q).inOrder(q).String() }

// SearchPlan is how PostgreSQL would run the statement that serves a SCIM search of users.
func (s *Store) SearchPlan(ctx context.Context, q scim.Query) (string, error) {
	find := s.userSearcher()
	c := find.compile(q)
	text := find.text(c, max(0, q.Start-1))
	if !c.where.exact {
		text = find.candidates(c)
	}
	lines, err := queryValues[string](ctx, s.pool, "EXPLAIN "+text, append([]any{pgx.QueryExecModeCacheDescribe}, c.args...))
	return strings.Join(lines, "\n"), err
}

// ForgetSearches makes the next search count again, and find its place by counting.
func (s *Store) ForgetSearches() { s.searches = newSearches() }

// SetLogBudget changes how many entries of the history one page looks at.
func SetLogBudget(s *Store, n int64) { s.logBudget = n }
