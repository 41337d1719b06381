package store

import (
	"slices"
	"strconv"
	"strings"

	"github.com/uptrace/bun"

	"aiadmin/pkg/user"
)

// sortKey is one column of a listing's order. Pages are cut by keyset: each begins after the values that the
// last user of the page before it has.
type sortKey struct {
	column, sqlType string
	collation       string // appended to the column where it is compared
	descending      bool
	nullable        bool    // NULL sorts last, in both directions
	after           *string // the value to begin after; nil is NULL, or no place at all on the first page
}

// sortColumns are the columns that listings sort by, in order, for each field. Names sort by their search
// form; equal ones sort as written.
var sortColumns = map[string][]sortKey{
	"createdAt": {{column: "u.created_at", sqlType: "timestamptz"}},
	"tag":       {{column: "u.tag", sqlType: "text"}},
	"name":      {{column: "u.name_key", sqlType: "text"}, {column: "u.name", collation: ` COLLATE "C"`, sqlType: "text"}},
	"email":     {{column: "u.email_key", sqlType: "text", nullable: true}},
	"id":        {{column: "u.id", sqlType: "uuid"}},
}

// sortKeys returns the columns that decide the order, up to one that leaves no ties.
func (l *listing) sortKeys(q user.Query) []sortKey {
	if len(q.Sort) == 0 {
		return nil
	}
	sort := append(slices.Clip(q.Sort), user.SortKey{Field: "id", Descending: q.Sort[len(q.Sort)-1].Descending})
	var keys []sortKey
	for i, by := range sort {
		after := valuesAfter(q.After, i, by.Field)
		for n, key := range sortColumns[by.Field] {
			key.descending = by.Descending
			if after != nil {
				key.after = after[n]
			}
			keys = append(keys, key)
		}
		if by.Field == "tag" {
			break
		}
	}
	return keys
}

// valuesAfter returns a cursor's values of a field's columns.
func valuesAfter(cursor *user.Cursor, i int, field string) []*string {
	switch {
	case cursor == nil:
		return nil
	case field == "id":
		id := cursor.ID.String()
		return []*string{&id}
	case field == "name":
		form := user.SearchForm(*cursor.Keys[i])
		return []*string{&form, cursor.Keys[i]}
	default:
		return []*string{cursor.Keys[i]}
	}
}

// orderBy sorts a statement.
func orderBy(q *bun.SelectQuery, keys []sortKey) *bun.SelectQuery {
	for _, key := range keys {
		term := key.expression()
		if key.descending {
			term += " DESC"
		}
		if key.nullable {
			term += " NULLS LAST"
		}
		q.OrderExpr(term)
	}
	return q
}

// keyset returns the conditions that a user comes after the cursor, none on the first page. The first key
// bounds the scan of an index; among users who tie on it, the other keys decide.
func (l *listing) keyset(keys []sortKey) []string {
	if !l.hasCursor {
		return nil
	}
	nullable := slices.ContainsFunc(keys, func(k sortKey) bool { return k.nullable })
	if !nullable && !slices.ContainsFunc(keys, func(k sortKey) bool { return k.descending != keys[0].descending }) {
		return []string{l.tuple(keys)}
	}
	conditions := []string{l.isAfter(keys)}
	if first := keys[0]; !first.nullable {
		conditions = append(conditions, l.compare(first, first.operator()+"="))
	}
	return conditions
}

// tuple compares all keys at once: an index on them can begin there.
func (l *listing) tuple(keys []sortKey) string {
	var columns, values []string
	for _, key := range keys {
		columns, values = append(columns, key.expression()), append(values, l.bind("?::"+key.sqlType, *key.after))
	}
	return "(" + strings.Join(columns, ", ") + ") " + keys[0].operator() + " (" + strings.Join(values, ", ") + ")"
}

// isAfter is the condition that a user comes after the keys' values: after the first one, or equal in it and
// after the others.
func (l *listing) isAfter(keys []sortKey) string {
	key, others := keys[0], keys[1:]
	if key.nullable && key.after == nil { // NULL comes last: nothing is after it, and NULL alone is equal to it
		return "(" + key.column + " IS NULL AND " + l.isAfter(others) + ")"
	}
	condition := l.compare(key, key.operator())
	if key.nullable {
		condition = "(" + condition + " OR " + key.column + " IS NULL)"
	}
	if len(others) == 0 {
		return condition
	}
	return "(" + condition + " OR (" + l.compare(key, "=") + " AND " + l.isAfter(others) + "))"
}

func (l *listing) compare(key sortKey, operator string) string {
	return l.bind(key.expression()+" "+operator+" ?::"+key.sqlType, *key.after)
}

func (k sortKey) expression() string { return k.column + k.collation }

func (k sortKey) operator() string {
	if k.descending {
		return "<"
	}
	return ">"
}

func placeholder(n int) string { return "$" + strconv.Itoa(n) }
