package store

import (
	"slices"
	"strconv"
	"strings"

	"github.com/uptrace/bun"

	"aiadmin/pkg/user"
)

// The statements of a listing. Each may be composed once, for it fills in the arguments.

// section reads a part of the listing along an index.
func (b *listing) section(p part, offset, limit int) string {
	b.restrictTo(p)
	b.alongHolders()
	return b.users(b.columns, b.along, b.behind()).String() + b.order() + b.limit(limit, offset)
}

// limit bounds a statement by a number in its text: of a parameter, the planner would
// expect a tenth of the table. A few numbers make few texts to prepare.
func (b *listing) limit(limit, offset int) string {
	for _, rounded := range []int{2, 11, 21, 51, 101, 201, 501} {
		if limit <= rounded {
			limit = rounded
			break
		}
	}
	text := " LIMIT " + strconv.Itoa(limit)
	if offset > 0 {
		text += " OFFSET " + b.arg(offset)
	}
	return text
}

// walk looks at so many rows in the order of the listing; for the order by e-mail address,
// those of one part.
func (b *listing) walk(q user.Query, steps int64) string {
	if q.Sort[0].Field == "email" {
		b.restrictTo(b.begins())
	}
	columns, outside := "u.*", fromUsers
	if b.provider != "" {
		columns, outside = "u.*, c.user_created_at, c.user_id", fromWalked
	}
	b.alongHolders()
	walked := b.users(columns, b.along, b.behind()).String() + b.order() + " LIMIT " + b.arg(steps)
	b.source = outside
	return "SELECT " + b.columns + " FROM (" + walked + ") AS u WHERE " + strings.Join(b.exactly(), " AND ") + b.order() + b.page(q)
}

// sorted finds users by the filter and sorts them. The offset keeps the planner from reading
// along the order instead, and spares the copy that materializing would make of them all.
func (b *listing) sorted(q user.Query) string {
	found := b.users(b.keys(), b.along, b.exactly(), b.holders(), b.behind()).String()
	return "WITH page AS MATERIALIZED (SELECT u.id FROM (" + found + " OFFSET 0) AS u" + b.order() + b.page(q) +
		") SELECT " + b.columns + " FROM page JOIN users AS u USING (id)" + b.order()
}

// collect finds up to one user more than most by the filter, sorts them and tells
// how many they are in a column behind their own: also of an empty page, in a row with
// nobody in it.
func (b *listing) collect(q user.Query, most int64) string {
	text := "WITH found AS MATERIALIZED (" + b.users(b.keys(), b.along, b.exactly(), b.holders()).String() +
		" LIMIT " + b.arg(most+1) + "), page AS MATERIALIZED (SELECT u.id FROM found AS u"
	if behind := b.behind(); len(behind) > 0 {
		text += " WHERE " + strings.Join(behind, " AND ")
	}
	return text + b.order() + b.page(q) + ") SELECT " + b.columns +
		", counted.found FROM (SELECT count(*) AS found FROM found) AS counted LEFT JOIN (page JOIN users AS u USING (id)) ON true" + b.order()
}

// keys are the columns that sorting needs, and the id that finds the others again.
func (b *listing) keys() string {
	columns := "u.id"
	for _, key := range b.sort {
		if key.Field != "id" {
			columns += ", " + fromUsers.sort[key.Field]
		}
	}
	return columns
}

// page bounds a statement to the page and the user after it.
func (b *listing) page(q user.Query) string {
	return " LIMIT " + b.arg(q.Limit+1) + " OFFSET " + b.arg(q.Offset())
}

// count counts what the conditions find, up to a bound if that is not nil.
func (b *listing) count(bound *int) string {
	if len(b.rest) == 0 && b.provider != "" {
		b.alongHolders()
		b.source.tables, b.provider = holdersAlone, ""
	}
	return "SELECT count(*) FROM (" + b.users("1", b.along, b.exactly(), b.holders()).String() + " LIMIT " + b.arg(bound) + "::bigint) AS found"
}

// users selects columns of the users that the conditions find.
func (b *listing) users(columns string, conditions ...[]string) *bun.SelectQuery {
	q := b.db.NewSelect().TableExpr(b.source.tables).ColumnExpr(columns)
	for _, condition := range slices.Concat(conditions...) {
		q.Where(condition)
	}
	return q
}
