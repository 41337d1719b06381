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

	"aiadmin/pkg/user"
)

// CopyRows are users as COPY takes them, by the model that an insert goes through.
func CopyRows(n int, user func(i int) *user.User) ([]string, pgx.CopyFromSource) {
	db := bun.NewDB(sql.OpenDB(stdlib.GetConnector(pgx.ConnConfig{})), pgdialect.New()) // for its schema alone
	columns := columnsOf[userRow](db)
	fields := fieldsOf[userRow](db, columns)
	return columns, pgx.CopyFromSlice(n, func(i int) ([]any, error) {
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

// Reach changes how far the ways to a page go before they are given up.
func (s *Store) Reach(collected, walked int64) { s.reach = reach{collected, walked} }

// ForgetTotals makes the next listing count again.
func (s *Store) ForgetTotals() { s.totals = newTotals() }

// Ways are the ways to a page of a listing, by name: all that have enough must come to the same.
func (s *Store) Ways() map[string]func(context.Context, user.Query) ([]*user.User, bool, error) {
	ways := map[string]func(context.Context, user.Query) ([]*user.User, bool, error){}
	for name, way := range map[string]way{"collect": s.collect, "sorted": s.sorted, "walk": s.walk(1_000_000), "short walk": s.walk(10)} {
		ways[name] = func(ctx context.Context, q user.Query) ([]*user.User, bool, error) {
			users, _, enough, err := way(ctx, q)
			return users, enough, err
		}
	}
	return ways
}

// Walk is the way of so many steps.
func (s *Store) Walk(ctx context.Context, q user.Query, steps int64) ([]*user.User, bool, error) {
	users, _, enough, err := s.walk(steps)(ctx, q)
	return users, enough, err
}

// Walkable says whether a walk serves a query, which needs a condition of its own.
func (s *Store) Walkable(q user.Query) bool { return len(s.listing(q).rest) > 0 }

// Plans are how PostgreSQL would run each statement that serves some page of a query, with
// the values that it has, by name.
func (s *Store) Plans(ctx context.Context, q user.Query) (map[string]string, error) {
	bound := int(usualReach.collected)
	compose := map[string]func(*listing) string{
		"count":         func(b *listing) string { return b.count(&bound) },
		"whole count":   func(b *listing) string { return b.count(nil) },
		"section":       func(b *listing) string { return b.section(whole, q.Offset(), q.Limit+1) },
		"with email":    func(b *listing) string { return b.section(withEmail, q.Offset(), q.Limit+1) },
		"without email": func(b *listing) string { return b.section(withoutEmail, q.Offset(), q.Limit+1) },
		"walk":          func(b *listing) string { return b.walk(q, 1000) },
		"collect":       func(b *listing) string { return b.collect(q, usualReach.collected) },
		"sorted":        func(b *listing) string { return b.sorted(q) },
	}
	byEmail := q.Sort[0].Field == "email"
	plans := map[string]string{}
	for name, text := range compose {
		b := s.listing(q)
		if strings.Contains(name, "email") != byEmail && (name == "section" || strings.Contains(name, "email")) ||
			len(b.rest) == 0 && (name == "walk" || name == "collect" || name == "sorted") ||
			len(b.rest) > 0 && (name == "section" || strings.Contains(name, "email")) {
			continue // not how this query is served
		}
		statement := text(b)
		lines, err := queryValues[string](ctx, s.pool, "EXPLAIN "+statement, append([]any{pgx.QueryExecModeCacheDescribe}, b.args...))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		plans[name] = strings.Join(lines, "\n")
	}
	return plans, nil
}

// Migrations are all that there are.
var Migrations = migrations

// Translate gives a database error its kind.
var Translate = translate

// ListingText is the text of the page's statement of a listing without a filter, which is to
// be prepared.
func (s *Store) ListingText(q user.Query) string {
	return s.listing(q).section(whole, q.Offset(), q.Limit+1)
}
