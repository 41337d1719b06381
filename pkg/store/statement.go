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
	return b.users(userColumns, b.along, b.behind()).String() + b.order() + b.limit(limit, offset)
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
	return "SELECT " + userColumns + " FROM (" + b.users("u.*", b.along, b.behind()).String() + b.order() +
		" LIMIT " + b.arg(steps) + ") AS u WHERE " + strings.Join(b.rest, " AND ") + b.order() +
		" LIMIT " + b.arg(q.Limit+1) + " OFFSET " + b.arg(q.Offset())
}

// collect finds users by the filter, sorts them and tells how many they are in a column
// behind their own: also of an empty page, in a row with nobody in it.
func (b *listing) collect(q user.Query, bound *int) string {
	columns := "u.id"
	for _, key := range b.sort {
		if key.Field != "id" {
			columns += ", " + sortColumns[key.Field]
		}
	}
	text := "WITH found AS MATERIALIZED (" + b.users(columns, b.along, b.rest).String() +
		" LIMIT " + b.arg(bound) + "::bigint), page AS MATERIALIZED (SELECT u.id FROM found AS u"
	if behind := b.behind(); len(behind) > 0 {
		text += " WHERE " + strings.Join(behind, " AND ")
	}
	return text + b.order() + " LIMIT " + b.arg(q.Limit+1) + " OFFSET " + b.arg(q.Offset()) + ") SELECT " + userColumns +
		", counted.found FROM (SELECT count(*) AS found FROM found) AS counted LEFT JOIN (page JOIN users AS u USING (id)) ON true" + b.order()
}

// count counts what the conditions find, up to a bound if that is not nil.
func (b *listing) count(bound *int) string {
	return "SELECT count(*) FROM (" + b.users("1", b.along, b.rest).String() + " LIMIT " + b.arg(bound) + "::bigint) AS found"
}

// users selects columns of the users that the conditions find.
func (b *listing) users(columns string, conditions ...[]string) *bun.SelectQuery {
	q := b.db.NewSelect().TableExpr("users AS u").ColumnExpr(columns)
	for _, condition := range slices.Concat(conditions...) {
		q.Where(condition)
	}
	return q
}
