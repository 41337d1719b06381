package store

import (
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/uptrace/bun"

	"aiadmin/pkg/user"
)

// listing builds the statements of one listing, whose text is Bun's. Values are numbered parameters, so that
// the text of a listing without a filter is always the same and can be prepared.
type listing struct {
	db      *bun.DB
	columns string // of users
	args    []any
	part    part
	// sort are the keys that decide the order, up to one that leaves no ties; cursor their
	// values in the user that the page comes behind, nil on the first page.
	sort   []user.SortKey
	cursor []*string
	// along are the conditions that an index in the order of the listing serves as well, and
	// which may select many users at no cost; rest are the others.
	along, rest []string
	provider    string // whose holders' index may be read along; empty: none
	source      source
	whole       string // the text to be in what rest finds by parts of it; empty: it finds just that
	filtered    bool
}

func (s *Store) listing(q user.Query) *listing {
	b := &listing{db: s.db, columns: s.statements.reading.columns, sort: slices.Clone(q.Sort), source: fromUsers}
	if q.After != nil {
		b.cursor = slices.Clone(q.After.Keys)
	}
	if i := slices.IndexFunc(b.sort, func(k user.SortKey) bool { return k.Field == "tag" }); i >= 0 {
		b.sort, b.cursor = b.sort[:i+1], b.cursor[:min(i+1, len(b.cursor))]
	} else if len(b.sort) > 0 {
		b.sort = append(b.sort, user.SortKey{Field: "id", Descending: b.sort[len(b.sort)-1].Descending})
		if q.After != nil {
			id := q.After.ID.String()
			b.cursor = append(b.cursor, &id)
		}
	}
	b.filter(q.Filter)
	b.filtered = len(b.along)+len(b.rest)+len(b.provider) > 0
	return b
}

func (b *listing) arg(value any) string {
	b.args = append(b.args, value)
	return "$" + strconv.Itoa(len(b.args))
}

// planned are the arguments of a statement whose best plan depends on their values: on how
// common each is.
func (b *listing) planned() []any { return append([]any{pgx.QueryExecModeCacheDescribe}, b.args...) }

// arguments are those of a statement that is planned once for all where there is no filter.
func (b *listing) arguments() []any {
	if b.filtered {
		return b.planned()
	}
	return prepared(b.args...)
}

// part is the part of a listing that one statement reads. Users without an e-mail address
// sort last either way. No one index gives that order in both directions, so a listing by
// e-mail address along an index is two: those with one, then those without.
type part int

const (
	whole part = iota
	withEmail
	withoutEmail
)

// begins is the part that a page of an order by e-mail address begins in.
func (b *listing) begins() part {
	if b.cursor != nil && b.cursor[0] == nil {
		return withoutEmail
	}
	return withEmail
}

// restrictTo makes the listing one of a part of its users.
func (b *listing) restrictTo(p part) {
	b.part = p
	switch p {
	case withEmail: // which leaves no ties
		b.along = append(b.along, "u.email_key IS NOT NULL")
		b.sort, b.cursor = b.sort[:1], b.cursor[:min(1, len(b.cursor))]
	case withoutEmail:
		b.along = append(b.along, "u.email_key IS NULL")
		b.sort, b.cursor = b.sort[1:], b.cursor[min(1, len(b.cursor)):]
	}
}
