package store

import (
	"context"

	"aiadmin/pkg/user"
)

// find returns a page's users and, when there is one, the user after them; also how many
// users the filter finds, or uncounted where that did not come up.
//
// An index that the filter and the order share gives a page at once. Without one there are
// two ways, and when the filter depends on the order (services that were all made on the
// first day, newest first) the planner takes the wrong one and reads the whole table. So
// the way is chosen here: few users are collected and counted; of many, a page of them comes
// soon along the order, and if it does not, they are collected all the same, or sorted
// where they are too many to be counted along.
func (s *Store) find(ctx context.Context, q user.Query) ([]*user.User, int64, error) {
	if len(s.listing(q).rest) == 0 {
		users, err := s.ordered(ctx, q)
		return users, uncounted, err
	}
	ways, err := s.ways(ctx, q)
	if err != nil {
		return nil, uncounted, err
	}
	var users []*user.User
	found, enough := int64(uncounted), false
	for i := 0; !enough && err == nil; i++ {
		users, found, enough, err = ways[i](ctx, q)
	}
	return users, found, err
}

// way finds a page's users. It is enough unless it was given up.
type way func(context.Context, user.Query) (users []*user.User, found int64, enough bool, err error)

// ways are what to try, in this order. The last is enough.
func (s *Store) ways(ctx context.Context, q user.Query) ([]way, error) {
	found, err := s.expected(ctx, q.Filter)
	if err != nil {
		return nil, err
	}
	steps, err := s.steps(ctx, q, found)
	switch {
	case steps == 0:
		return []way{s.collect, s.walk(s.reach.collected), s.sorted}, err
	case found < s.reach.collected:
		return []way{s.walk(steps), s.collect, s.sorted}, err
	default:
		return []way{s.walk(steps), s.sorted}, err
	}
}

// reach is how far the ways to a page go before they are given up.
type reach struct {
	collected int64 // users, at most
	walked    int64 // rows along the order, at least
}

var usualReach = reach{collected: 2 * user.MaxExact, walked: 500}

// steps is how far to walk at most, 0 to collect. Of n users of whom m match, m are collected
// and n/m walked for each that is wanted; a walk that takes far longer than that tells that
// filter and order depend on each other. Where they do not, one walk in thousands is given up.
func (s *Store) steps(ctx context.Context, q user.Query, found int64) (int64, error) {
	all, err := s.expected(ctx, user.Filter{})
	walked := int64(q.Offset()+q.Limit+1) * all / max(found, 1)
	if walked > found {
		return 0, err
	}
	return 3*walked/2 + s.reach.walked, err
}

// uncounted stands for a number that is not known.
const uncounted = -1

// ordered reads along an index.
func (s *Store) ordered(ctx context.Context, q user.Query) ([]*user.User, error) {
	offset := q.Offset()
	if q.Sort[0].Field != "email" {
		return s.section(ctx, q, whole, offset, q.Limit+1)
	}
	var users []*user.User
	if s.listing(q).begins() == withEmail {
		var err error
		users, err = s.section(ctx, q, withEmail, offset, q.Limit+1)
		if err != nil || len(users) > q.Limit {
			return users, err
		}
		if offset, err = s.offsetPast(ctx, q, offset, len(users)); err != nil {
			return nil, err
		}
		q.After = nil
	}
	without, err := s.section(ctx, q, withoutEmail, offset, q.Limit+1-len(users))
	return append(users, without...), err
}

// offsetPast is what is left of an offset behind the users with an e-mail address.
func (s *Store) offsetPast(ctx context.Context, q user.Query, offset, found int) (int, error) {
	if offset == 0 || found > 0 {
		return 0, nil
	}
	b := s.listing(q)
	b.restrictTo(withEmail)
	passed, err := s.count(ctx, b, &offset)
	return offset - int(passed), err
}

func (s *Store) section(ctx context.Context, q user.Query, p part, offset, limit int) ([]*user.User, error) {
	b := s.listing(q)
	users, err := s.queryUsers(ctx, b.section(p, offset, limit), b.arguments())
	return users[:min(limit, len(users))], err
}

// walk goes along the order for a number of steps and returns what matches: with less than
// a page and one more, there may be others behind.
func (s *Store) walk(steps int64) way {
	return func(ctx context.Context, q user.Query) ([]*user.User, int64, bool, error) {
		b := s.listing(q)
		users, err := s.queryUsers(ctx, b.walk(q, steps), b.planned())
		return users, uncounted, len(users) > q.Limit, err
	}
}

// sorted finds all users by the filter's own indexes and sorts them.
func (s *Store) sorted(ctx context.Context, q user.Query) ([]*user.User, int64, bool, error) {
	b := s.listing(q)
	users, err := s.queryUsers(ctx, b.sorted(q), b.planned())
	return users, uncounted, true, err
}

// collect finds users by the filter's own indexes, counts and sorts them. Past its reach
// it gives up, and what it returns is no page.
func (s *Store) collect(ctx context.Context, q user.Query) ([]*user.User, int64, bool, error) {
	var users []*user.User
	found := int64(uncounted)
	b := s.listing(q)
	rows, err := s.pool.Query(ctx, b.collect(q, s.reach.collected), b.planned()...)
	if err != nil {
		return nil, uncounted, false, translate(err)
	}
	defer rows.Close()
	fields := s.statements.reading.users
	for rows.Next() {
		var row userRow
		if rows.RawValues()[0] == nil { // of an empty page, the number alone is told
			err = rows.Scan(append(make([]any, len(fields)), &found)...)
		} else if err = rows.Scan(append(targetsOf(&row, fields), &found)...); err == nil {
			var u *user.User
			u, err = row.user()
			users = append(users, u)
		}
		if err != nil {
			return nil, uncounted, false, translate(err)
		}
	}
	return users, found, found <= s.reach.collected, translate(rows.Err())
}

// queryUsers runs a listing's statement.
func (s *Store) queryUsers(ctx context.Context, text string, args []any) ([]*user.User, error) {
	rows, err := s.pool.Query(ctx, text, args...)
	if err != nil {
		return nil, translate(err)
	}
	found, err := scanRows[userRow](rows, s.statements.reading.users)
	if err != nil {
		return nil, err
	}
	users := make([]*user.User, len(found))
	for i := range found {
		if users[i], err = found[i].user(); err != nil {
			return nil, err
		}
	}
	return users, nil
}
