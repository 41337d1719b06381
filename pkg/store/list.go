package store

import (
	"context"
	"reflect"

	"github.com/jackc/pgx/v5"
	"github.com/uptrace/bun"

	"aiadmin/pkg/user"
)

// List returns one page of users.
func (s *Store) List(ctx context.Context, q user.Query) (user.Page, error) {
	if index, value := uniqueValue(q); value != "" {
		return s.listOne(ctx, q, index, value)
	}
	users, found, err := s.find(ctx, q)
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
		found = int64(len(users))
	}
	total, exact, err := s.total(ctx, q, found, page.More)
	page.Total, page.TotalIsExact = &total, exact
	return page, err
}

// uniqueValue returns a value and its index of [UniqueKeys] if a query asks for one unique value and
// nothing else.
func uniqueValue(q user.Query) (index int, value string) {
	if q.After != nil {
		return 0, ""
	}
	f := q.Filter
	for index, only := range [uniqueIndexes]user.Filter{KeyTag: {Tags: f.Tags}, KeyEmail: {Emails: f.Emails},
		KeyExternalID: {ExternalIDs: f.ExternalIDs}, KeyUserName: {UserNames: f.UserNames}} {
		for _, values := range [][]string{only.Tags, only.Emails, only.ExternalIDs, only.UserNames} {
			if len(values) == 1 && reflect.DeepEqual(f, only) {
				return index, values[0]
			}
		}
	}
	return 0, ""
}

// listOne serves a page by the statement that [Store.Get] uses.
func (s *Store) listOne(ctx context.Context, q user.Query, index int, value string) (user.Page, error) {
	page := user.Page{TotalIsExact: q.Count != user.CountNone}
	var total int64
	found, err := s.lookups.get(ctx, index, value)
	switch {
	case user.KindOf(err) == user.NotFound:
	case err != nil:
		return page, err
	case q.Offset() == 0:
		page.Users, total = []*user.User{found}, 1
	default:
		total = 1
	}
	if page.TotalIsExact {
		page.Total = &total
	}
	return page, nil
}

// uncounted stands for an unknown number.
const uncounted = -1

// minScan is the least number of users that a scan in the listing's order may examine.
const minScan = 500

// find returns a page's users and, if there is one, the user after them; also how many users the filter
// selects, or uncounted.
//
// A filter that an index has in the listing's order gives a page at once. For all others there are two
// plans: scan users in order and check each, or select by the filter's indexes and sort. Where filter and
// order depend on each other (service users that were all made on the first day, newest first), the planner
// takes the wrong one and reads the whole table. So the choice is made here: few users are sorted; among
// many, a scan finds a page soon. A scan that exceeds its budget is given up, and the users are sorted.
func (s *Store) find(ctx context.Context, q user.Query) ([]*user.User, int64, error) {
	l := s.listing(q)
	if len(l.filter) == 0 {
		users, err := s.queryUsers(ctx, l, l.inOrder(q))
		return users, uncounted, err
	}
	budget, err := s.scanBudget(ctx, q)
	if err != nil {
		return nil, uncounted, err
	}
	if budget > 0 {
		users, err := s.queryUsers(ctx, l, l.scan(q, budget))
		if err != nil || len(users) > q.Limit {
			return users, uncounted, err
		}
	}
	return s.sorted(ctx, q)
}

// scanBudget returns how many users to scan at most, 0 to sort. If m of n users match, sorting reads m, and a
// scan reads n/m for each user wanted. A scan that reads far more shows that filter and order depend on each
// other; where they do not, one scan in thousands is given up.
func (s *Store) scanBudget(ctx context.Context, q user.Query) (int64, error) {
	found, err := s.expected(ctx, q.Filter)
	if err != nil {
		return 0, err
	}
	all, err := s.expected(ctx, user.Filter{})
	scanned := int64(q.Offset()+q.Limit+1) * all / max(found, 1)
	if scanned > found {
		return 0, err
	}
	return 3*scanned/2 + minScan, err
}

// sorted selects users by the filter's indexes, sorts and counts them.
func (s *Store) sorted(ctx context.Context, q user.Query) (users []*user.User, found int64, err error) {
	l := s.listing(q)
	found = uncounted // an empty page may come after others
	rows, err := s.pool.Query(ctx, l.sort(q).String(), l.arguments()...)
	if err != nil {
		return nil, found, Translate(err)
	}
	err = eachUser(rows, l.read, func(u *user.User) error {
		users, found = append(users, u), integer(rows.RawValues()[len(l.read.decoder)])
		return nil
	})
	return users, found, Translate(err)
}

func (s *Store) queryUsers(ctx context.Context, l *listing, statement *bun.SelectQuery) ([]*user.User, error) {
	args := l.arguments()
	if len(l.index)+len(l.filter) == 0 { // planned once: nothing depends on how common a value is
		args = prepared(l.args...)
	}
	rows, err := s.pool.Query(ctx, statement.String(), args...)
	if err != nil {
		return nil, Translate(err)
	}
	var users []*user.User
	err = eachUser(rows, l.read, func(u *user.User) error {
		users = append(users, u)
		return nil
	})
	return users, Translate(err)
}

// eachUser calls yield with the user of each row, which may have further columns.
func eachUser(rows pgx.Rows, read *reading, yield func(*user.User) error) error {
	defer rows.Close()
	for rows.Next() {
		u, err := read.decoder.user(rows.RawValues())
		if err != nil {
			return err
		}
		if err := yield(u); err != nil {
			return err
		}
	}
	return rows.Err()
}

// inOrder reads a page of the users whom an index selects in the listing's order.
func (l *listing) inOrder(q user.Query) *bun.SelectQuery {
	if l.keys[0].nullable {
		return l.byEmail(q)
	}
	return l.page(q, where(l.read.shown(l.users(nil)), l.index, l.keyset(l.keys)))
}

// byEmail reads a page in the order of e-mail addresses. Users without one come last, which no single
// index provides in both directions, so users with and without an address are each read by an index of
// their own.
func (l *listing) byEmail(q user.Query) *bun.SelectQuery {
	most := int64(q.Offset() + q.Limit + 1)
	part := func(keys []sortKey, conditions ...[]string) *bun.SelectQuery {
		return orderBy(l.users(l.keyColumns(), conditions...), keys).Limit(most)
	}
	with, without := l.emailParts()
	found := part(without.keys, l.index, without.conditions)
	if with != nil {
		found = part(with.keys, l.index, with.conditions).UnionAll(found)
	}
	return l.withUsers(l.page(q, l.db.NewSelect().TableExpr("(?) AS u", found).Column("id")))
}

// emailPart is the users of a listing who have an e-mail address, or who have none.
type emailPart struct {
	keys       []sortKey
	conditions []string // the part's own, and the keyset's
}

// emailParts returns the parts of a page in the order of e-mail addresses; with is nil if the page begins
// among the users without one.
func (l *listing) emailParts() (with, without *emailPart) {
	email := l.keys[0]
	email.nullable = false
	with = &emailPart{[]sortKey{email}, []string{"u.email_key IS NOT NULL"}} // which leaves no ties
	without = &emailPart{l.keys[1:], []string{"u.email_key IS NULL"}}
	switch {
	case !l.hasCursor:
	case email.after == nil:
		without.conditions = append(without.conditions, l.keyset(without.keys)...)
		return nil, without
	default:
		with.conditions = append(with.conditions, l.keyset(with.keys)...)
	}
	return with, without
}

// scan reads at most budget users in the listing's order, and returns a page of those that the filter
// selects. In the order of e-mail addresses it reads one part.
func (l *listing) scan(q user.Query, budget int64) *bun.SelectQuery {
	part := &emailPart{keys: l.keys}
	if l.keys[0].nullable {
		with, without := l.emailParts()
		if part = with; part == nil {
			part = without
		}
	} else {
		part.conditions = l.keyset(l.keys)
	}
	scanned := orderBy(l.users(l.read.all, l.index, part.conditions), part.keys).Limit(budget)
	return l.page(q, where(l.read.shown(l.db.NewSelect().Model((*userRow)(nil)).ModelTableExpr("(?) AS u", scanned)), l.filter, l.recheck()))
}

// sort selects users by the filter, counts and sorts them, and reads a page. The count is the last column.
func (l *listing) sort(q user.Query) *bun.SelectQuery {
	found := l.users(l.keyColumns(), l.index, l.filter, l.recheck())
	page := l.page(q, where(l.db.NewSelect().TableExpr("found AS u").Column("id"), l.keyset(l.keys)))
	return l.withUsers(page).With("found", found).ColumnExpr("(SELECT count(*) FROM found)")
}

// withUsers reads the users of a page of ids.
func (l *listing) withUsers(page *bun.SelectQuery) *bun.SelectQuery {
	return orderBy(l.read.shown(l.db.NewSelect().Model((*userRow)(nil))).Join("JOIN (?) AS page ON page.id = u.id", page), l.keys)
}

// keyColumns are the columns that sorting needs, and the id that finds the user again.
func (l *listing) keyColumns() []string {
	columns := []string{"id"}
	for _, key := range l.keys {
		if column := key.column[len("u."):]; column != "id" {
			columns = append(columns, column)
		}
	}
	return columns
}

func (l *listing) users(columns []string, conditions ...[]string) *bun.SelectQuery {
	return where(l.db.NewSelect().Model((*userRow)(nil)).Column(columns...), conditions...)
}

func where(q *bun.SelectQuery, conditions ...[]string) *bun.SelectQuery {
	for _, list := range conditions {
		for _, condition := range list {
			q.Where(condition)
		}
	}
	return q
}

// page orders a statement and bounds it to the page and the user after it. The limit is not a parameter:
// for one, the planner would expect a tenth of the table.
func (l *listing) page(q user.Query, statement *bun.SelectQuery) *bun.SelectQuery {
	orderBy(statement, l.keys).Limit(int64(q.Limit + 1))
	if offset := int64(q.Offset()); offset > 0 {
		statement.Offset(offset)
	}
	return statement
}

// TidySearch moves what changes have appended to the search index's pending list into the index itself. Otherwise
// the change that fills the list has to, and it and all behind it take up to 40 ms. Only the owner of the index
// may do this.
func (s *Store) TidySearch(ctx context.Context) error {
	_, err := s.pool.Exec(ctx, "SELECT gin_clean_pending_list('users_search_forms')", prepared()...)
	return Translate(err)
}

// Export calls yield with every user that a query's filter selects, in its order, without holding more than
// one. All come from one snapshot; the place that it returns is that snapshot's in the change feed: whoever
// follows the feed from there misses no later change, and sees again at most what was in progress at the time. An
// error of yield ends the export and is returned as it is. The query's page, cursor and count do not matter.
// It keeps a connection for as long as it runs.
func (s *Store) Export(ctx context.Context, q user.Query, yield func(*user.User) error) (user.Place, error) {
	q.After, q.Page = nil, 0
	var place user.Place
	var stopped error
	err := pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		var err error
		if place, err = s.headOn(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "SET LOCAL enable_seqscan = on"); err != nil { // all users are what is asked for
			return err
		}
		l := s.listing(q)
		statement := orderBy(where(l.read.shown(l.users(nil)), l.index, l.filter, l.recheck()), l.keys)
		rows, err := tx.Query(ctx, statement.String(), l.arguments()...)
		if err != nil {
			return err
		}
		return eachUser(rows, l.read, func(u *user.User) error {
			stopped = yield(u)
			return stopped
		})
	})
	if stopped != nil {
		return place, stopped
	}
	return place, Translate(err)
}
