package store

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/uptrace/bun"

	"aiadmin/pkg/user"
)

// List returns one page of users.
func (s *Store) List(ctx context.Context, q user.Query) (user.Page, error) {
	users, err := s.pageOf(ctx, q)
	if err != nil {
		return user.Page{}, err
	}
	page := user.Page{Users: users}
	if len(users) > q.Limit {
		page.Users, page.More = users[:q.Limit], true
	}
	if q.Count == user.CountNone {
		return page, nil
	}
	if q.After == nil && q.Page <= 1 && !page.More { // the first page is all there is
		total := int64(len(users))
		page.Total, page.TotalIsExact = &total, true
		return page, nil
	}
	total, exact, err := s.total(ctx, q.Filter, q.Count)
	page.Total, page.TotalIsExact = &total, exact
	return page, err
}

// pageOf returns the page's users and, when there is one, the user after them.
//
// Users without an e-mail address sort last either way. No one index gives that order in
// both directions, so a listing by e-mail address is two: those with one, then those without.
func (s *Store) pageOf(ctx context.Context, q user.Query) ([]*user.User, error) {
	offset := 0
	if q.Page > 1 {
		offset = (q.Page - 1) * q.Limit
	}
	if q.Sort[0].Field != "email" {
		return s.run(ctx, q, q.Sort, q.After, "", offset, q.Limit+1)
	}
	var users []*user.User
	if q.After == nil || q.After.Keys[0] != nil {
		var err error
		users, err = s.run(ctx, q, q.Sort, q.After, "u.email_key IS NOT NULL", offset, q.Limit+1)
		if err != nil || len(users) > q.Limit {
			return users, err
		}
		if offset, err = s.offsetPast(ctx, q, offset, len(users)); err != nil {
			return nil, err
		}
	}
	after := q.After
	if after != nil && after.Keys[0] != nil {
		after = nil
	}
	if after != nil {
		after = &user.Cursor{Keys: after.Keys[1:], ID: after.ID}
	}
	rest := q.Sort[1:]
	if len(rest) == 0 && q.Sort[0].Descending {
		rest = []user.SortKey{{Field: "id", Descending: true}}
	}
	without, err := s.run(ctx, q, rest, after, "u.email_key IS NULL", offset, q.Limit+1-len(users))
	return append(users, without...), err
}

// offsetPast is what is left of an offset behind the users with an e-mail address.
func (s *Store) offsetPast(ctx context.Context, q user.Query, offset, found int) (int, error) {
	if offset == 0 || found > 0 {
		return 0, nil
	}
	b := s.filtered(q.Filter)
	b.where("u.email_key IS NOT NULL")
	b.q.ColumnExpr("1").Limit(int64(offset))
	counts, err := queryValues[int](ctx, s.pool, "SELECT count(*) FROM ("+b.q.String()+") AS few", b.arguments())
	if err != nil {
		return 0, err
	}
	return offset - counts[0], nil
}

// run runs one ordered, bounded statement.
func (s *Store) run(ctx context.Context, q user.Query, sort []user.SortKey, after *user.Cursor, part string, offset, limit int) ([]*user.User, error) {
	text, args := s.statement(q, sort, after, part, offset, limit)
	return queryUsers(ctx, s.pool, text, args)
}

func (s *Store) statement(q user.Query, sort []user.SortKey, after *user.Cursor, part string, offset, limit int) (string, []any) {
	b := s.filtered(q.Filter)
	b.q.ColumnExpr(userColumns)
	if part != "" {
		b.where(part)
	}
	b.order(sort, part == "")
	if after != nil {
		b.after(sort, after)
	}
	// The text must not change with the values, so that it can be prepared.
	text := b.q.String() + " LIMIT " + b.arg(limit)
	if offset > 0 {
		text += " OFFSET " + b.arg(offset)
	}
	return text, b.arguments()
}

// listing builds a statement whose values are numbered parameters, with Bun building the
// text. With a filter the planner must see the values, for how common one is decides
// which index serves best; without one, the plan is always the same and is kept.
type listing struct {
	q        *bun.SelectQuery
	args     []any
	filtered bool
}

func (b *listing) arg(value any) string {
	b.args = append(b.args, value)
	return "$" + strconv.Itoa(len(b.args))
}

func (b *listing) where(condition string) { b.q.Where(condition) }

func (b *listing) arguments() []any {
	mode := pgx.QueryExecModeCacheStatement
	if b.filtered {
		mode = pgx.QueryExecModeCacheDescribe
	}
	return append([]any{mode}, b.args...)
}

// order sorts; where e-mail addresses may be absent they sort last. Where none is, not to
// say so lets an index be read backwards.
func (b *listing) order(sort []user.SortKey, absent bool) {
	direction := ""
	for _, key := range sort {
		column := sortColumns[key.Field]
		direction = ""
		if key.Descending {
			direction = " DESC"
		}
		nulls := ""
		if key.Field == "email" && absent {
			nulls = " NULLS LAST"
		}
		b.q.OrderExpr(column + direction + nulls)
	}
	b.q.OrderExpr("u.id" + direction)
}

var sortColumns = map[string]string{"createdAt": "u.created_at", "tag": "u.tag", "name": "u.name_key", "email": "u.email_key", "id": "u.id"}

// after keeps the rows behind a cursor. The first key bounds the index scan; which rows
// of those that tie on it are behind is spelt out key by key.
func (b *listing) after(sort []user.SortKey, cursor *user.Cursor) {
	keys := append([]user.SortKey{}, sort...)
	values := append([]*string{}, cursor.Keys...)
	id := cursor.ID.String()
	descending := len(sort) > 0 && sort[len(sort)-1].Descending
	if len(sort) == 0 || sort[len(sort)-1].Field != "id" {
		keys = append(keys, user.SortKey{Field: "id", Descending: descending})
	}
	values = append(values, &id)
	if sameDirection(keys) && !emailBreaksTie(keys) {
		b.where(b.tuple(keys, values))
		return
	}
	b.where(b.behind(keys, values))
	if values[0] != nil && keys[0].Field != "email" {
		b.where(sortColumns[keys[0].Field] + strings.TrimSuffix(comparison(keys[0]), " ") + "= " + b.value(keys[0], values[0]))
	}
}

// tuple compares all keys at once, which an index on them can start at.
func (b *listing) tuple(keys []user.SortKey, values []*string) string {
	var left, right []string
	for i, key := range keys {
		left, right = append(left, sortColumns[key.Field]), append(right, b.value(key, values[i]))
	}
	return "(" + strings.Join(left, ", ") + ")" + comparison(keys[0]) + "(" + strings.Join(right, ", ") + ")"
}

// behind is the condition that a row sorts after values: it is behind in the first key,
// or equal in it and behind in the rest.
func (b *listing) behind(keys []user.SortKey, values []*string) string {
	column := sortColumns[keys[0].Field]
	if values[0] == nil { // the absent ones come last: none is behind, those absent too tie
		return "(" + column + " IS NULL AND " + b.behind(keys[1:], values[1:]) + ")"
	}
	value := b.value(keys[0], values[0])
	first := column + comparison(keys[0]) + value
	if keys[0].Field == "email" {
		first = "(" + first + " OR " + column + " IS NULL)"
	}
	if len(keys) == 1 {
		return first
	}
	return "(" + first + " OR (" + column + " = " + value + " AND " + b.behind(keys[1:], values[1:]) + "))"
}

func (b *listing) value(key user.SortKey, value *string) string {
	casts := map[string]string{"createdAt": "::timestamptz", "id": "::uuid"}
	cast := casts[key.Field]
	if cast == "" {
		cast = "::text"
	}
	return b.arg(*value) + cast
}

func comparison(key user.SortKey) string {
	if key.Descending {
		return " < "
	}
	return " > "
}

func sameDirection(keys []user.SortKey) bool {
	return !slices.ContainsFunc(keys, func(k user.SortKey) bool { return k.Descending != keys[0].Descending })
}

// emailBreaksTie says whether an e-mail address that may be absent decides between rows
// that tie on the first key: a comparison of tuples would lose the absent ones.
func emailBreaksTie(keys []user.SortKey) bool {
	return slices.ContainsFunc(keys[1:], func(k user.SortKey) bool { return k.Field == "email" })
}
